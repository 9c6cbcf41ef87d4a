#define _GNU_SOURCE
#include "CNcurses.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static SCREEN *screen;
static FILE *output;
static FILE *input;
static off_t taken;
static bool colors;

/* The file begins anew, so that it never grows beyond a frame. */
static void drop_output(void) {
    fflush(output);
    if (ftruncate(fileno(output), 0) == 0) {
        rewind(output);
        taken = 0;
    }
}

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

bool cncurses_use_locale(const char *name) {
    return setlocale(LC_CTYPE, name) != NULL && strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

bool cncurses_is_foreground(int descriptor) {
    pid_t group = tcgetpgrp(descriptor);
    return group < 0 || group == getpgrp();
}

bool cncurses_was_sent_to_background(void) {
    struct sigaction interrupt, quit;
    return sigaction(SIGINT, NULL, &interrupt) == 0 && interrupt.sa_handler == SIG_IGN
           && sigaction(SIGQUIT, NULL, &quit) == 0 && quit.sa_handler == SIG_IGN;
}

bool cncurses_open(const char *type, int height, int width, bool uses_colors) {
    int memory = memfd_create("quic-relay-screen", MFD_CLOEXEC);
    if (memory < 0) {
        return false;
    }
    output = fdopen(memory, "w");
    input = fopen("/dev/null", "re");
    if (output == NULL || input == NULL) {
        if (output == NULL) {
            close(memory);
        }
        cncurses_close();
        return false;
    }
    /* The size is told below, not asked for: the library sees a file, not the terminal. It starts
     * with the one in the database; where there is none, as for the Linux console, it has to be
     * allowed to start with LINES and COLUMNS or with 24 and 80. */
    use_env(FALSE);
    int status = 0;
    bool has_size = setupterm(type, memory, &status) == OK && lines > 0 && columns > 0;
    if (status == 1) {
        del_curterm(cur_term);
    }
    use_env(!has_size);
    screen = newterm(type, output, input);
    if (screen == NULL) {
        cncurses_close();
        return false;
    }
    taken = 0;
    raw();
    noecho();
    nonl();
    colors = uses_colors && has_colors();
    if (colors) {
        start_color();
        use_default_colors();
        for (short color = 0; color < 8; color++) {
            init_pair((short)(color + 1), color, -1);
        }
    }
    /* What the library says when it starts is for the size that it starts with, such as which rows
     * scroll. It is made to say all of that, which is thrown away and said again for this size. */
    doupdate();
    resizeterm(height, width);
    cncurses_prepare_last(height);
    cncurses_enter();
    return true;
}

bool cncurses_has_colors(void) { return colors; }

/* Puts strings of the terminal's database into the output, ahead of the library's next. */
static int put_byte(int byte) { return fputc(byte, output); }

static void put_string(const char *string) {
    if (string != NULL) {
        tputs(string, 1, put_byte);
        fflush(output);
    }
}

/* All rows scroll. The library believes in what it said when it started. */
static void scroll_everywhere(void) {
    if (change_scroll_region != NULL) {
        put_string(tparm(change_scroll_region, 0L, (long)(LINES - 1)));
    }
}

void cncurses_resize(int height, int width) {
    resizeterm(height, width);
    scroll_everywhere();
    cncurses_prepare_last(height);
}

void cncurses_repaint(void) { clearok(curscr, TRUE); }

void cncurses_put(int row, int column, const uint32_t *characters, int count, int color,
                  unsigned attributes) {
    attr_t set = A_NORMAL;
    set |= attributes & CNCURSES_BOLD ? A_BOLD : 0;
    set |= attributes & CNCURSES_DIM ? A_DIM : 0;
    set |= attributes & CNCURSES_REVERSE ? A_REVERSE : 0;
    set |= attributes & CNCURSES_UNDERLINE ? A_UNDERLINE : 0;
    attr_set(set, (short)(colors ? color + 1 : 0), NULL);
    /* The last place of the screen is filled all the same when the cursor cannot go on from it. */
    mvaddnwstr(row, column, (const wchar_t *)characters, count);
}

uint32_t cncurses_character(int row, int column, int *color, unsigned *attributes) {
    cchar_t cell;
    wchar_t text[CCHARW_MAX + 1] = {0};
    attr_t set = 0;
    short pair = 0;
    if (mvin_wch(row, column, &cell) == ERR) {
        return 0;
    }
    getcchar(&cell, text, &set, &pair, NULL);
    *color = pair - 1;
    *attributes = 0;
    *attributes |= set & A_BOLD ? CNCURSES_BOLD : 0;
    *attributes |= set & A_DIM ? CNCURSES_DIM : 0;
    *attributes |= set & A_REVERSE ? CNCURSES_REVERSE : 0;
    *attributes |= set & A_UNDERLINE ? CNCURSES_UNDERLINE : 0;
    return (uint32_t)text[0];
}

void cncurses_end_frame(int row, int column) {
    curs_set(row < 0 ? 0 : 1);
    if (row >= 0) {
        move(row, column);
    }
    wnoutrefresh(stdscr);
    doupdate();
    fflush(output);
}

void cncurses_leave(void) {
    curs_set(1);
    drop_output();
}

void cncurses_enter(void) {
    drop_output();
    put_string(enter_ca_mode);
    put_string(exit_attribute_mode);
    put_string(exit_insert_mode);
    put_string(enter_am_mode);
    scroll_everywhere();
    cncurses_repaint();
}

ssize_t cncurses_take(void *bytes, size_t size) {
    int memory = fileno(output);
    ssize_t count = pread(memory, bytes, size, taken);
    if (count > 0) {
        taken += count;
        return count;
    }
    if (taken > 0) {
        drop_output();
    }
    return 0;
}

ssize_t cncurses_send(int descriptor, const void *bytes, size_t count) {
    ssize_t sent = write(descriptor, bytes, count);
    return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

ssize_t cncurses_receive(int descriptor, void *bytes, size_t size) {
    ssize_t received = read(descriptor, bytes, size);
    if (received > 0) {
        return received;
    }
    /* Nothing to read, or the end of the input, or an error may all come of a mode that somebody
     * else has set, or of being in the background; a terminal that is gone has hung up. */
    struct pollfd file = {.fd = descriptor};
    return poll(&file, 1, 0) == 1 && (file.revents & (POLLHUP | POLLERR | POLLNVAL)) ? -1 : 0;
}

void cncurses_close(void) {
    if (screen != NULL) {
        delscreen(screen);
        screen = NULL;
    }
    if (output != NULL) {
        fclose(output);
        output = NULL;
    }
    if (input != NULL) {
        fclose(input);
        input = NULL;
    }
}
