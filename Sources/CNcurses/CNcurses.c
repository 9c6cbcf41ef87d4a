#define _GNU_SOURCE
#include "CNcurses.h"

#include <errno.h>
#include <langinfo.h>
#include <locale.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <termios.h>
#include <unistd.h>

static SCREEN *screen;
static FILE *output;
static FILE *input;
static off_t taken;

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

bool cncurses_is_utf8(void) {
    setlocale(LC_CTYPE, "");
    return strcmp(nl_langinfo(CODESET), "UTF-8") == 0;
}

bool cncurses_open(const char *type, int height, int width) {
    int memory = memfd_create("quic-relay-screen", MFD_CLOEXEC);
    if (memory < 0) {
        return false;
    }
    output = fdopen(memory, "w");
    input = fopen("/dev/null", "re");
    if (output == NULL || input == NULL) {
        cncurses_close();
        return false;
    }
    setlocale(LC_CTYPE, "");
    /* The size is told, not asked for: the library sees a file, not the terminal. */
    use_env(FALSE);
    screen = newterm(type, output, input);
    if (screen == NULL) {
        cncurses_close();
        return false;
    }
    taken = 0;
    raw();
    noecho();
    nonl();
    if (has_colors()) {
        start_color();
        use_default_colors();
        for (short color = 0; color < 8; color++) {
            init_pair((short)(color + 1), color, -1);
        }
    }
    cncurses_resize(height, width);
    return true;
}

bool cncurses_has_colors(void) { return has_colors(); }

void cncurses_resize(int height, int width) { resizeterm(height, width); }

void cncurses_repaint(void) { clearok(curscr, TRUE); }

void cncurses_put(int row, int column, const uint32_t *characters, int count, int color,
                  unsigned attributes) {
    attr_t set = A_NORMAL;
    set |= attributes & CNCURSES_BOLD ? A_BOLD : 0;
    set |= attributes & CNCURSES_DIM ? A_DIM : 0;
    set |= attributes & CNCURSES_REVERSE ? A_REVERSE : 0;
    set |= attributes & CNCURSES_UNDERLINE ? A_UNDERLINE : 0;
    attr_set(set, (short)(has_colors() ? color + 1 : 0), NULL);
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
    endwin();
    fflush(output);
}

ssize_t cncurses_take(void *bytes, size_t size) {
    int memory = fileno(output);
    ssize_t count = pread(memory, bytes, size, taken);
    if (count > 0) {
        taken += count;
        return count;
    }
    /* All is taken: the file begins anew, so that it never grows beyond a frame. */
    if (taken > 0 && ftruncate(memory, 0) == 0) {
        rewind(output);
        taken = 0;
    }
    return 0;
}

ssize_t cncurses_send(int descriptor, const void *bytes, size_t count) {
    ssize_t sent = write(descriptor, bytes, count);
    return sent >= 0 ? sent : errno == EAGAIN || errno == EINTR ? 0 : -1;
}

ssize_t cncurses_receive(int descriptor, void *bytes, size_t size) {
    ssize_t received = read(descriptor, bytes, size);
    /* The end of a terminal's input is its end. */
    return received > 0 ? received : received < 0 && (errno == EAGAIN || errno == EINTR) ? 0 : -1;
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

/* The rescue. A handler may use only what these variables hold when it runs (signal-safety(7)). */
static struct termios rescue_mode;
static char rescue_text[512];
static size_t rescue_length;
static volatile sig_atomic_t rescue_descriptor = -1;
static const int fatal_signals[] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};

static void rescue(int number) {
    int descriptor = rescue_descriptor;
    if (descriptor >= 0) {
        rescue_descriptor = -1;
        ssize_t ignored = write(descriptor, rescue_text, rescue_length);
        (void)ignored;
        tcsetattr(descriptor, TCSANOW, &rescue_mode);
    }
    /* The default action is in place again: it ends the process with this signal's status. */
    raise(number);
}

void cncurses_rescue(int descriptor, const void *mode, const char *text, size_t length) {
    memcpy(&rescue_mode, mode, sizeof rescue_mode);
    rescue_length = length < sizeof rescue_text ? length : sizeof rescue_text;
    memcpy(rescue_text, text, rescue_length);
    rescue_descriptor = descriptor;
    struct sigaction action = {0};
    action.sa_handler = rescue;
    action.sa_flags = (int)(SA_RESETHAND | SA_NODEFER | SA_ONSTACK);
    sigemptyset(&action.sa_mask);
    for (size_t index = 0; index < sizeof fatal_signals / sizeof *fatal_signals; index++) {
        sigaction(fatal_signals[index], &action, NULL);
    }
}

void cncurses_no_rescue(void) { rescue_descriptor = -1; }
