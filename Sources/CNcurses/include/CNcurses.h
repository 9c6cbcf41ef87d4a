/* The terminal library, and what of it Swift cannot reach by itself. */
#ifndef CNCURSES_H
#define CNCURSES_H

#define _XOPEN_SOURCE_EXTENDED 1
#define NCURSES_WIDECHAR 1
#include <curses.h>
#include <term.h>

/* Whether the terminal database knows `name`, and as a screen that can be drawn on: one with a way
 * to put the cursor somewhere and to clear the screen. Leaves no state behind. */
bool cncurses_can_draw(const char *name);

#endif
