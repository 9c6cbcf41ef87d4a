/* Lets a program's system calls fail as a test says, without a change to the program: it is loaded
 * before the C library (LD_PRELOAD, ld.so(8)) and has the library's names.
 *
 * The test and the program share a file, which the variable FAULTS names. In it each call has a rule
 * that the test may change at any time, and counters that it may read. faults.py lays it out, too. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <linux/bpf.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum call {
    RECEIVE,   /* recvmmsg(2) */
    CUT,       /* it loses the control messages of what it receives (MSG_CTRUNC) */
    SEND,      /* each message of sendmmsg(2) */
    WAIT,      /* epoll_wait(2) */
    ACCEPT,    /* accept4(2) */
    SETOPTION, /* setsockopt(2), where `value` is an option's number or 0 for all */
    OPEN,      /* open(2) */
    READ,      /* read(2), pread(2) */
    WRITE,     /* write(2), pwrite(2) */
    RENAME,    /* rename(2) */
    SYNC,      /* fsync(2) */
    REALTIME,  /* clock_gettime(2): `value` is added, in nanoseconds */
    MONOTONIC, /* the same */
    LOAD,      /* bpf(2) that loads a program */
    CALLS
};

struct rule {
    int32_t error;    /* what it fails with; 0: it does not */
    uint32_t chance;  /* of 65,536 calls so many fail */
    int64_t times;    /* how often it is still to fail; below 0: for ever */
    int64_t value;    /* what else belongs to the rule; of RECEIVE and SEND: messages at once, if not 0 */
    uint64_t calls;   /* how often it was called, as far as the rule is for that file */
    uint64_t faults;  /* how often it failed */
    char only[88];    /* a part of the path of the files that the rule is for; "train" of SEND */
};

struct script {
    uint64_t random;
    struct rule rules[CALLS];
};

static struct script *script;

/* The paths that descriptors were opened by, cut off. */
enum { FILES = 1024, NAME = 192 };
static char names[FILES][NAME];

__attribute__((constructor)) static void begin(void) {
    const char *path = getenv("FAULTS");
    if (path == NULL) return;
    int (*opens)(const char *, int, ...) = dlsym(RTLD_NEXT, "open");
    int file = opens(path, O_RDWR | O_CLOEXEC);
    if (file < 0) abort();
    void *memory = mmap(NULL, sizeof(struct script), PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (memory == MAP_FAILED) abort();
    close(file);
    strcpy(names[1], "standard output");
    strcpy(names[2], "standard error");
    script = memory;
}

static const char *name_of(int file) { return file >= 0 && file < FILES ? names[file] : ""; }

/* xorshift64*, shared by all threads: which of them draws a number does not matter. */
static uint32_t draw(void) {
    uint64_t state = __atomic_load_n(&script->random, __ATOMIC_RELAXED);
    state ^= state >> 12;
    state ^= state << 25;
    state ^= state >> 27;
    __atomic_store_n(&script->random, state, __ATOMIC_RELAXED);
    return (uint32_t)(state * 0x2545f4914f6cdd1dULL >> 48);
}

/* Counts a call on a file, and says whether it is to fail; errno is set then. */
static bool fails(enum call call, const char *name) {
    if (script == NULL) return false;
    struct rule *rule = &script->rules[call];
    if (rule->only[0] != 0 && strstr(name, rule->only) == NULL) return false;
    __atomic_fetch_add(&rule->calls, 1, __ATOMIC_RELAXED);
    int error = __atomic_load_n(&rule->error, __ATOMIC_RELAXED);
    if (error == 0 || draw() >= rule->chance) return false;
    int64_t times = __atomic_load_n(&rule->times, __ATOMIC_RELAXED);
    if (times == 0) return false;
    if (times > 0) __atomic_fetch_sub(&rule->times, 1, __ATOMIC_RELAXED);
    __atomic_fetch_add(&rule->faults, 1, __ATOMIC_RELAXED);
    errno = error;
    return true;
}

#define REAL(name) ((__typeof__(&name))dlsym(RTLD_NEXT, #name))

/* The library's function, looked up once. */
#define LOOK_UP(name) \
    static __typeof__(&name) real; \
    if (real == NULL) real = REAL(name)

/* MARK: Datagrams */

int recvmmsg(int file, struct mmsghdr *messages, unsigned count, int flags, struct timespec *time) {
    LOOK_UP(recvmmsg);
    if (fails(RECEIVE, "")) return -1;
    if (script != NULL && script->rules[RECEIVE].value > 0 && count > script->rules[RECEIVE].value)
        count = (unsigned)script->rules[RECEIVE].value;
    int received = real(file, messages, count, flags, time);
    for (int number = 0; number < received; number++) {
        if (!fails(CUT, "")) continue;
        messages[number].msg_hdr.msg_controllen = 0;
        messages[number].msg_hdr.msg_flags |= MSG_CTRUNC;
    }
    return received;
}

static bool is_train(struct msghdr *message) {
    for (struct cmsghdr *control = CMSG_FIRSTHDR(message); control != NULL;
         control = CMSG_NXTHDR(message, control))
        if (control->cmsg_level == SOL_UDP && control->cmsg_type == UDP_SEGMENT) return true;
    return false;
}

/* As in the kernel: the messages before the first that fails are sent, and its error is told when it
 * is the first itself. */
int sendmmsg(int file, struct mmsghdr *messages, unsigned count, int flags) {
    LOOK_UP(sendmmsg);
    if (script == NULL) return real(file, messages, count, flags);
    if (script->rules[SEND].value > 0 && count > script->rules[SEND].value)
        count = (unsigned)script->rules[SEND].value;
    for (unsigned number = 0; number < count; number++) {
        if (!fails(SEND, is_train(&messages[number].msg_hdr) ? "train" : "datagram")) continue;
        if (number == 0) return -1;
        count = number;
    }
    return real(file, messages, count, flags);
}

int setsockopt(int file, int level, int option, const void *value, socklen_t length) {
    LOOK_UP(setsockopt);
    bool is_meant =
        script != NULL && (script->rules[SETOPTION].value == 0 || script->rules[SETOPTION].value == option);
    if (is_meant && fails(SETOPTION, "")) return -1;
    return real(file, level, option, value, length);
}

/* Whatever the C library has no function for. */
long syscall(long number, ...) {
    LOOK_UP(syscall);
    long arguments[6];
    va_list list;
    va_start(list, number);
    for (int index = 0; index < 6; index++) arguments[index] = va_arg(list, long);
    va_end(list);
    if (number == SYS_bpf && arguments[0] == BPF_PROG_LOAD && fails(LOAD, "")) return -1;
    return real(number, arguments[0], arguments[1], arguments[2], arguments[3], arguments[4], arguments[5]);
}

/* MARK: Connections */

int epoll_wait(int file, struct epoll_event *events, int count, int milliseconds) {
    LOOK_UP(epoll_wait);
    return fails(WAIT, "") ? -1 : real(file, events, count, milliseconds);
}

int accept4(int file, struct sockaddr *address, socklen_t *length, int flags) {
    LOOK_UP(accept4);
    return fails(ACCEPT, "") ? -1 : real(file, address, length, flags);
}

/* MARK: Files */

static int opened(const char *path, int file) {
    if (file >= 0 && file < FILES) snprintf(names[file], NAME, "%s", path);
    return file;
}

static mode_t mode_in(int flags, va_list *arguments) {
    return flags & (O_CREAT | O_TMPFILE) ? va_arg(*arguments, mode_t) : 0;
}

#define OPEN_AS(name) \
    int name(const char *path, int flags, ...) { \
        LOOK_UP(name); \
        va_list arguments; \
        va_start(arguments, flags); \
        mode_t mode = mode_in(flags, &arguments); \
        va_end(arguments); \
        return fails(OPEN, path) ? -1 : opened(path, real(path, flags, mode)); \
    }
OPEN_AS(open)
OPEN_AS(open64)

ssize_t read(int file, void *bytes, size_t count) {
    LOOK_UP(read);
    return name_of(file)[0] != 0 && fails(READ, name_of(file)) ? -1 : real(file, bytes, count);
}

ssize_t pread(int file, void *bytes, size_t count, off_t offset) {
    LOOK_UP(pread);
    return name_of(file)[0] != 0 && fails(READ, name_of(file)) ? -1 : real(file, bytes, count, offset);
}

ssize_t write(int file, const void *bytes, size_t count) {
    LOOK_UP(write);
    if (name_of(file)[0] != 0 && fails(WRITE, name_of(file))) return -1;
    return real(file, bytes, count);
}

ssize_t pwrite(int file, const void *bytes, size_t count, off_t offset) {
    LOOK_UP(pwrite);
    if (name_of(file)[0] != 0 && fails(WRITE, name_of(file))) return -1;
    return real(file, bytes, count, offset);
}

int rename(const char *from, const char *to) {
    LOOK_UP(rename);
    return fails(RENAME, to) ? -1 : real(from, to);
}

int fsync(int file) {
    LOOK_UP(fsync);
    return fails(SYNC, name_of(file)) ? -1 : real(file);
}

int close(int file) {
    LOOK_UP(close);
    if (file > 2 && file < FILES) names[file][0] = 0;
    return real(file);
}

/* MARK: Clocks */

int clock_gettime(clockid_t clock, struct timespec *time) {
    LOOK_UP(clock_gettime);
    int result = real(clock, time);
    if (script == NULL || result != 0) return result;
    int64_t shift = clock == CLOCK_REALTIME ? script->rules[REALTIME].value
        : clock == CLOCK_MONOTONIC          ? script->rules[MONOTONIC].value
                                            : 0;
    int64_t nanoseconds = time->tv_nsec + shift % 1000000000;
    time->tv_sec += shift / 1000000000;
    if (nanoseconds < 0) nanoseconds += 1000000000, time->tv_sec -= 1;
    if (nanoseconds >= 1000000000) nanoseconds -= 1000000000, time->tv_sec += 1;
    time->tv_nsec = nanoseconds;
    return result;
}
