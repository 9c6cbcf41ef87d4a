#include "CNcurses.h"

#include <unistd.h>

bool cncurses_can_draw(const char *name) {
    int status = 0;
    /* setupterm reads the database only; it neither writes to nor changes the terminal. */
    if (setupterm(name, STDOUT_FILENO, &status) != OK) {
        return false;
    }
    bool can_draw = cursor_address != NULL && clear_screen != NULL && !generic_type;
    del_curterm(cur_term);
    return can_draw;
}
