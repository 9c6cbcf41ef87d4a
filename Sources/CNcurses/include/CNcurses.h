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

/* Starts to draw for a terminal of that type and size, with colours if it has some and they are
 * wanted. Says whether that worked. */
bool cncurses_open(const char *type, int height, int width, bool uses_colors);

/* Whether colours are used. */
bool cncurses_has_colors(void);

/* Uses the encoding of a locale, of the environment's if its name is empty, and says whether that
 * is UTF-8. */
bool cncurses_use_locale(const char *name);

/* Whether the process may read from and write to a terminal as it likes: the terminal's shell has
 * not put it into the background. A terminal that has no shell does not know the difference. */
bool cncurses_is_foreground(int descriptor);

/* Whether a shell without job control has started the process in the background: then it is deaf to
 * what is typed to end it (POSIX XCU 2.11). */
bool cncurses_was_sent_to_background(void);

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

/* The terminal is put back by `cncurses_send_last`: nothing else is to be taken, and the next frame
 * comes after `cncurses_enter`, which begins anew on a terminal in whatever state. What endwin(3)
 * does instead sets the terminal's colours to those that it was made with, too. */
void cncurses_leave(void);
void cncurses_enter(void);

/* Takes what is to be sent to the terminal: at most `size` bytes, and says how many; 0 when there
 * is no more. */
ssize_t cncurses_take(void *bytes, size_t size);

/* Sends bytes to a terminal, or takes what was typed, without waiting: how many bytes that were, 0
 * if it would have to wait, -1 if the terminal is gone. */
ssize_t cncurses_send(int descriptor, const void *bytes, size_t count);
ssize_t cncurses_receive(int descriptor, void *bytes, size_t size);

/* Frees everything. */
void cncurses_close(void);

/* Prepares what puts a terminal of this height back: attributes off, its own colours, all rows
 * scrolling, a cursor that is shown, away from the alternate screen, in the words of the terminal's
 * own database. Opening and resizing do so. */
void cncurses_prepare_last(int height);

/* Sends that to a terminal, without waiting. What the terminal has not shown yet is thrown away if
 * it leaves no room. */
void cncurses_send_last(int descriptor);

/* From now on the terminal is put back, into `mode` (a struct termios), before SIGSEGV, SIGBUS,
 * SIGILL, SIGTRAP, SIGFPE or SIGABRT end the process, which they do all the same; with one
 * exception. Where the calling thread, which is the one that draws, is at fault itself and `heir`
 * is an eventfd(2), the signal's number is written there and the thread rests for ever, while the
 * others go on. Standard error is held back meanwhile if it is a terminal. */
void cncurses_guard(int descriptor, const void *mode, int heir);

/* The terminal is put back by other means. What standard error held is sent to it. */
void cncurses_unguard(int descriptor);

#endif
