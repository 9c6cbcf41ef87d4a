/* The terminal library, and what of it Swift cannot reach by itself.
 *
 * The library draws into a file in memory, which the caller empties and writes to the terminal as
 * it can take it: the library itself would write in some seventy pieces and wait for a terminal
 * that has stalled. One screen at a time, one thread. */
#ifndef CNCURSES_H
#define CNCURSES_H

#define _XOPEN_SOURCE_EXTENDED 1
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <stdint.h>
#include <sys/types.h>
#include <term.h>

/* Whether the terminal database knows `name`, and as a screen that can be drawn on: one with a way
 * to put the cursor somewhere and to clear the screen. Leaves no state behind. */
bool cncurses_can_draw(const char *name);

/* How text looks: a colour of the terminal's eight (0 to 7), -1 for its own, and attributes. */
#define CNCURSES_BOLD 1
#define CNCURSES_DIM 2
#define CNCURSES_REVERSE 4
#define CNCURSES_UNDERLINE 8

/* Starts to draw for a terminal of that type and size. Says whether that worked. */
bool cncurses_open(const char *type, int height, int width);

/* Whether there are colours. */
bool cncurses_has_colors(void);

/* Whether the locale's encoding is UTF-8. Reads the environment. */
bool cncurses_is_utf8(void);

/* The screen has another size from now on. */
void cncurses_resize(int height, int width);

/* The next frame is drawn anew, whatever is believed to be on the terminal. */
void cncurses_repaint(void);

/* Puts `count` characters, each one column wide, into the frame. */
void cncurses_put(int row, int column, const uint32_t *characters, int count, int color,
                  unsigned attributes);

/* What the frame holds at a place: for tests. */
uint32_t cncurses_character(int row, int column, int *color, unsigned *attributes);

/* Ends the frame, with the cursor at a place, or hidden if `row` is negative: what the terminal
 * must be sent to show it is there to be taken. */
void cncurses_end_frame(int row, int column);

/* Ends drawing: what puts the terminal back as it was is there to be taken. */
void cncurses_leave(void);

/* Takes what is to be sent to the terminal: at most `size` bytes, and says how many; 0 when there
 * is no more. */
ssize_t cncurses_take(void *bytes, size_t size);

/* Sends bytes to a terminal, or takes what was typed, without waiting: how many bytes that were, 0
 * if it would have to wait, -1 if the terminal is gone. */
ssize_t cncurses_send(int descriptor, const void *bytes, size_t count);
ssize_t cncurses_receive(int descriptor, void *bytes, size_t size);

/* Frees everything. */
void cncurses_close(void);

/* Puts the terminal `descriptor` back into `mode` and sends it `text` before the process dies of
 * SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE or SIGABRT, which is its end all the same. Once it has
 * been told, it does so until told that there is nothing to do. */
void cncurses_rescue(int descriptor, const void *mode, const char *text, size_t length);
void cncurses_no_rescue(void);

#endif
