/* What puts the terminal back when the program dies, or its drawing thread does. What the handler
 * calls is in signal-safety(7), and what it reads was put there before the handler could run. */
#define _GNU_SOURCE
#include "CNcurses.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <string.h>
#include <sys/syscall.h>
#include <termios.h>
#include <unistd.h>

/* The text is changed in the one that is not in use, as a handler may run at any time. */
struct text {
    char bytes[512];
    size_t length;
};
static struct text texts[2];
static atomic_int text_in_use;

static struct termios found_mode;
static atomic_int terminal = -1;
static atomic_int successor = -1;
static atomic_int drawing_thread;

/* The reading end of what stands in for standard error, and the real one. */
static atomic_int caught_errors = -1;
static atomic_int real_errors = -1;

#define SIGNAL_COUNT 6
static const int fatal_signals[SIGNAL_COUNT] = {SIGSEGV, SIGBUS, SIGILL, SIGTRAP, SIGFPE, SIGABRT};
static struct sigaction actions_before[SIGNAL_COUNT];
static struct sigaction default_action = {.sa_handler = SIG_DFL};

/* A handler has to run on a stack that is left when the thread's own is used up. 64 KiB are enough
 * for the registers of any processor (11 KiB with AMX) and for what the handler calls. */
static char handler_stack[64 * 1024];

/* Sends as much as the terminal takes, and says how much that was. */
static size_t send_now(int descriptor, const char *bytes, size_t count) {
    size_t total = 0;
    while (total < count) {
        ssize_t sent = write(descriptor, bytes + total, count - total);
        if (sent > 0) {
            total += (size_t)sent;
        } else if (sent == 0 || errno != EINTR) {
            break;
        }
    }
    return total;
}

void cncurses_send_last(int descriptor) {
    const struct text *text = &texts[atomic_load(&text_in_use)];
    if (send_now(descriptor, text->bytes, text->length) < text->length) {
        /* What a stalled terminal has not shown yet is worth less than this is. */
        tcflush(descriptor, TCOFLUSH);
        send_now(descriptor, text->bytes, text->length);
    }
}

/* Gives standard error back, and tells on the terminal what was written to it meanwhile. The pipe
 * holds 64 KiB at the most. */
static void release_errors(int descriptor) {
    int real = atomic_exchange(&real_errors, -1);
    int caught = atomic_exchange(&caught_errors, -1);
    if (real < 0 || caught < 0) {
        return;
    }
    dup2(real, STDERR_FILENO);
    close(real);
    char bytes[512];
    for (ssize_t count; (count = read(caught, bytes, sizeof bytes)) > 0;) {
        for (ssize_t index = 0; index < count; index++) {
            unsigned char byte = (unsigned char)bytes[index];
            if (byte != '\n' && byte != '\t' && (byte < 0x20 || byte > 0x7e)) {
                bytes[index] = '?';
            }
        }
        send_now(descriptor, bytes, (size_t)count);
    }
    close(caught);
}

/* The thread that draws is lost, and nothing else is: a fault that the kernel found in it, or its
 * own call of abort(3). What another process sends is meant for the whole process. */
static bool is_only_the_drawing_thread(int number, const siginfo_t *info) {
    if ((int)syscall(SYS_gettid) != atomic_load(&drawing_thread)) {
        return false;
    }
    return info->si_code > 0
           || (number == SIGABRT && info->si_code == SI_TKILL && info->si_pid == getpid());
}

static void rescue(int number, siginfo_t *info, void *context) {
    (void)context;
    int code = errno;
    int descriptor = atomic_exchange(&terminal, -1);
    if (descriptor >= 0) {
        cncurses_send_last(descriptor);
        if (cncurses_is_foreground(descriptor)) {
            tcsetattr(descriptor, TCSANOW, &found_mode);
        }
        release_errors(descriptor);
    }
    int heir = atomic_load(&successor);
    if (heir >= 0 && is_only_the_drawing_thread(number, info)) {
        uint64_t word = (uint64_t)number;
        if (write(heir, &word, sizeof word) == sizeof word) {
            /* This thread can neither go on nor be taken away; it gets no signals any more. */
            sigset_t all;
            sigfillset(&all);
            pthread_sigmask(SIG_BLOCK, &all, NULL);
            for (;;) {
                pause();
            }
        }
    }
    /* Held back until this handler returns, the signal comes once more before anything else, and
     * ends the process with its status. What was there before us is not asked: it may be Swift's,
     * which holds a dialog on the terminal, while peers wait for a relay that a supervisor would
     * have started again. */
    sigaction(number, &default_action, NULL);
    raise(number);
    errno = code;
}

/* A pipe stands in for standard error while the screen is drawn, if that is a terminal, too: what
 * is written there would spoil the screen, be gone with it, and wait for a terminal that stalls.
 * What the pipe has no room for is lost, as its writer does not wait. */
static void catch_errors(void) {
    int ends[2];
    if (!isatty(STDERR_FILENO) || pipe2(ends, O_CLOEXEC | O_NONBLOCK) != 0) {
        return;
    }
    int real = fcntl(STDERR_FILENO, F_DUPFD_CLOEXEC, 3);
    if (real >= 0 && dup2(ends[1], STDERR_FILENO) >= 0) {
        atomic_store(&real_errors, real);
        atomic_store(&caught_errors, ends[0]);
    } else {
        close(ends[0]);
        if (real >= 0) {
            close(real);
        }
    }
    close(ends[1]);
}

void cncurses_guard(int descriptor, const void *mode, int heir) {
    memcpy(&found_mode, mode, sizeof found_mode);
    stack_t stack = {.ss_sp = handler_stack, .ss_size = sizeof handler_stack};
    sigaltstack(&stack, NULL);
    catch_errors();
    atomic_store(&drawing_thread, (int)syscall(SYS_gettid));
    atomic_store(&successor, heir);
    atomic_store(&terminal, descriptor);
    struct sigaction action = {.sa_sigaction = rescue, .sa_flags = SA_SIGINFO | SA_ONSTACK};
    sigemptyset(&action.sa_mask);
    for (size_t index = 0; index < SIGNAL_COUNT; index++) {
        sigaddset(&action.sa_mask, fatal_signals[index]);
    }
    for (size_t index = 0; index < SIGNAL_COUNT; index++) {
        sigaction(fatal_signals[index], &action, &actions_before[index]);
    }
}

void cncurses_unguard(int descriptor) {
    if (atomic_exchange(&terminal, -1) < 0) {
        return;
    }
    atomic_store(&successor, -1);
    for (size_t index = 0; index < SIGNAL_COUNT; index++) {
        sigaction(fatal_signals[index], &actions_before[index], NULL);
    }
    release_errors(descriptor);
}

/* The text is put together by tputs(3), which knows about delays and calls this for each byte. */
static struct text *text_in_work;

static int collect(int byte) {
    if (byte != 0 && text_in_work->length < sizeof text_in_work->bytes) {
        text_in_work->bytes[text_in_work->length++] = (char)byte;
    }
    return byte;
}

static void add(const char *capability) {
    if (capability != NULL) {
        tputs(capability, 1, collect);
    }
}

void cncurses_prepare_last(int height) {
    int next = 1 - atomic_load(&text_in_use);
    text_in_work = &texts[next];
    text_in_work->length = 0;
    add(exit_attribute_mode);
    if (cncurses_has_colors()) {
        add(orig_pair);
    }
    add(exit_alt_charset_mode);
    if (change_scroll_region != NULL) {
        add(tparm(change_scroll_region, 0L, (long)(height - 1)));
    }
    if (cursor_address != NULL) {
        add(tparm(cursor_address, (long)(height - 1), 0L));
    }
    add(keypad_local);
    add(cursor_normal);
    add(exit_ca_mode);
    if (exit_ca_mode == NULL) {
        /* The last frame stays; whatever comes next begins below it. */
        collect('\r');
        collect('\n');
    }
    atomic_store(&text_in_use, next);
}
