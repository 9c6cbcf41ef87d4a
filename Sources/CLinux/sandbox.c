/* What a relay does without once it has its sockets: privileges that it does not need, and system
 * calls that neither it nor the program makes that it hands over to (seccomp(2)). */
#define _GNU_SOURCE
#include "CLinux.h"

#include <dirent.h>
#include <errno.h>
#include <linux/audit.h>
#include <linux/capability.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

/* ---- Capabilities ------------------------------------------------------------------------- */

static int read_capabilities(struct __user_cap_data_struct sets[2]) {
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    return (int)syscall(SYS_capget, &header, sets);
}

uint64_t clinux_capabilities(void) {
    struct __user_cap_data_struct sets[2] = { 0 };
    if (read_capabilities(sets) != 0) return 0;
    return (uint64_t)sets[1].permitted << 32 | sets[0].permitted;
}

/* Of the calling thread alone: each has its own. */
static int keep_own_capabilities(uint64_t kept) {
    struct __user_cap_data_struct sets[2] = { 0 };
    if (read_capabilities(sets) != 0) return -1;
    for (int half = 0; half < 2; half++) {
        uint32_t mask = (uint32_t)(kept >> (32 * half));
        sets[half].permitted &= mask;
        sets[half].effective = sets[half].permitted;
        sets[half].inheritable = 0;
    }
    struct __user_cap_header_struct header = { .version = _LINUX_CAPABILITY_VERSION_3 };
    return (int)syscall(SYS_capset, &header, sets);
}

static _Atomic uint64_t kept_by_all;
static _Atomic int dropped, failed;

static void drop_in_handler(int number) {
    (void)number;
    int error = errno;
    if (keep_own_capabilities(atomic_load(&kept_by_all)) != 0) atomic_fetch_add(&failed, 1);
    atomic_fetch_add(&dropped, 1);
    errno = error;
}

/* How many threads got the signal, the calling one left out; -1 with errno. */
static int signal_others(int number) {
    DIR *threads = opendir("/proc/self/task");
    if (threads == NULL) return -1;
    int count = 0;
    for (struct dirent *entry; (entry = readdir(threads)) != NULL;) {
        pid_t thread = atoi(entry->d_name);
        if (thread <= 0 || thread == gettid()) continue;
        if (syscall(SYS_tgkill, getpid(), thread, number) == 0) count++;
    }
    closedir(threads);
    return count;
}

int clinux_keep_capabilities(uint64_t kept) {
    atomic_store(&kept_by_all, kept);
    atomic_store(&dropped, 0);
    atomic_store(&failed, 0);
    /* As glibc does it for setuid(2): no thread holds this signal back, which nobody else uses. */
    int number = SIGRTMAX - 1;
    struct sigaction action = { .sa_handler = drop_in_handler, .sa_flags = SA_RESTART }, former;
    sigfillset(&action.sa_mask);
    if (sigaction(number, &action, &former) != 0) return -1;
    int count = signal_others(number);
    /* A thread that does not run for a second is as good as one that holds the signal back. */
    for (int tries = 0; count > 0 && atomic_load(&dropped) < count && tries < 1000; tries++) {
        struct timespec millisecond = { 0, 1000000 };
        nanosleep(&millisecond, NULL);
    }
    bool is_done = count >= 0 && atomic_load(&dropped) >= count && atomic_load(&failed) == 0;
    sigaction(number, &former, NULL);
    if (keep_own_capabilities(kept) != 0) return -1;
    if (is_done) return 0;
    if (count >= 0) errno = ETIMEDOUT;
    return -1;
}

int clinux_forbid_privileges(void) {
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0);
}

/* ---- System calls ------------------------------------------------------------------------- */

#if defined(__x86_64__)
#define MACHINE AUDIT_ARCH_X86_64
#elif defined(__aarch64__)
#define MACHINE AUDIT_ARCH_AARCH64
#endif

/* The latest call that was known when the list was made (mseal): what comes later does not exist, as
 * far as the relay can tell, so that libraries do what they do on older kernels. */
enum { LATEST_KNOWN_CALL = 462 };

/* A call to prctl(2) that no kernel has is answered by the filter, and by it alone. */
enum { FILTER_QUESTION = 0x51527362, FILTER_ANSWER = EUCLEAN };

#ifdef MACHINE

/* What may be called whatever its arguments are: found by tracing the relay in all of its modes, and
 * completed by what the C library may call in place of each. Some are not there on all machines. */
static const uint16_t allowed[] = {
    /* Files. */
    SYS_read, SYS_write, SYS_readv, SYS_writev, SYS_pread64, SYS_pwrite64, SYS_preadv, SYS_pwritev,
    SYS_close, SYS_close_range, SYS_lseek, SYS_openat, SYS_fstat, SYS_newfstatat, SYS_statx,
    SYS_faccessat, SYS_faccessat2, SYS_readlinkat, SYS_getdents64, SYS_getcwd, SYS_chdir, SYS_fcntl,
    SYS_flock, SYS_fsync, SYS_fdatasync, SYS_ftruncate, SYS_fallocate, SYS_renameat, SYS_renameat2,
    SYS_unlinkat, SYS_mkdirat, SYS_fchmod, SYS_fchmodat, SYS_fchown, SYS_fchownat, SYS_umask,
    SYS_dup, SYS_dup3, SYS_pipe2, SYS_eventfd2, SYS_signalfd4, SYS_timerfd_create,
    SYS_timerfd_settime, SYS_timerfd_gettime, SYS_epoll_create1, SYS_epoll_ctl, SYS_epoll_pwait,
    SYS_epoll_pwait2, SYS_ppoll, SYS_pselect6, SYS_memfd_create, SYS_statfs, SYS_fstatfs,
    SYS_utimensat,
#ifdef __x86_64__
    SYS_open, SYS_stat, SYS_lstat, SYS_access, SYS_readlink, SYS_rename, SYS_unlink, SYS_mkdir,
    SYS_rmdir, SYS_chmod, SYS_chown, SYS_lchown, SYS_dup2, SYS_pipe, SYS_eventfd, SYS_signalfd,
    SYS_epoll_create, SYS_epoll_wait, SYS_poll, SYS_select,
#endif
    /* Sockets; socket(2) itself depends. */
    SYS_socketpair, SYS_bind, SYS_connect, SYS_listen, SYS_accept, SYS_accept4, SYS_getsockname,
    SYS_getpeername, SYS_setsockopt, SYS_getsockopt, SYS_sendto, SYS_recvfrom, SYS_sendmsg,
    SYS_recvmsg, SYS_sendmmsg, SYS_recvmmsg, SYS_shutdown,
    /* The overload filter; the kernel asks for CAP_BPF. */
    SYS_bpf,
    /* Memory; mmap(2) and mprotect(2) depend. */
    SYS_munmap, SYS_mremap, SYS_madvise, SYS_brk, SYS_mincore, SYS_membarrier,
    /* Threads and processes; clone(2) depends. The relay starts the program that it hands over to,
     * and waits for it. */
    SYS_execve, SYS_exit, SYS_exit_group, SYS_wait4, SYS_waitid, SYS_kill, SYS_tkill, SYS_tgkill,
    SYS_getpid, SYS_gettid, SYS_getppid, SYS_getuid, SYS_geteuid, SYS_getgid, SYS_getegid,
    SYS_getresuid, SYS_getresgid, SYS_getgroups, SYS_getpgid, SYS_setpgid, SYS_getsid, SYS_setsid,
    SYS_set_tid_address, SYS_set_robust_list, SYS_get_robust_list, SYS_rseq, SYS_futex,
    SYS_sched_yield, SYS_sched_getaffinity, SYS_sched_getparam, SYS_sched_getscheduler,
    SYS_getpriority, SYS_setpriority, SYS_getrlimit, SYS_setrlimit, SYS_prlimit64, SYS_getrusage,
    SYS_times, SYS_uname, SYS_sysinfo, SYS_getcpu, SYS_capget, SYS_capset, SYS_seccomp,
#ifdef __x86_64__
    SYS_fork, SYS_vfork, SYS_arch_prctl, SYS_getpgrp,
#endif
    /* Signals, time, chance. */
    SYS_rt_sigaction, SYS_rt_sigprocmask, SYS_rt_sigreturn, SYS_rt_sigsuspend, SYS_rt_sigpending,
    SYS_rt_sigtimedwait, SYS_sigaltstack, SYS_restart_syscall, SYS_clock_gettime, SYS_clock_getres,
    SYS_clock_nanosleep, SYS_nanosleep, SYS_gettimeofday, SYS_getrandom,
#ifdef __x86_64__
    SYS_time, SYS_pause, SYS_alarm,
#endif
};

/* Both machines are little-endian: the lower half of an argument comes first. */
#define ARGUMENT(number) (offsetof(struct seccomp_data, args) + 8 * (number))
#define RETURN(action) BPF_STMT(BPF_RET | BPF_K, (action))
#define REFUSE(error) RETURN(SECCOMP_RET_ERRNO | (error))
#define LOAD(offset) BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (offset))
#define IF_EQUAL(value, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (value), then, otherwise)
#define IF_ANY(bits, then, otherwise) BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, (bits), then, otherwise)
#define IF_AT_LEAST(value, then, otherwise) \
    BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, (value), then, otherwise)
#define ALLOW RETURN(SECCOMP_RET_ALLOW)

/* Namespaces of its own are where a process without privileges finds most of the kernel. */
#define NAMESPACES \
    (CLONE_NEWNS | CLONE_NEWCGROUP | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWUSER | CLONE_NEWPID | \
        CLONE_NEWNET)
#define TERMINAL_INPUT 0x5412u /* TIOCSTI, which types for whoever uses the terminal. */

/* A number that is none of those below goes on behind them. */
static const struct sock_filter beginning[] = {
    LOAD(offsetof(struct seccomp_data, arch)),
    IF_EQUAL(MACHINE, 1, 0),
    REFUSE(EPERM),
    LOAD(offsetof(struct seccomp_data, nr)),
    /* The numbers of x32 are beyond that, too. */
    IF_AT_LEAST(LATEST_KNOWN_CALL + 1, 0, 1),
    REFUSE(ENOSYS),
    /* Its flags lie in memory, where a filter cannot look: the C library knows how to do without. */
    IF_EQUAL(SYS_clone3, 0, 1),
    REFUSE(ENOSYS),
    IF_EQUAL(SYS_clone, 0, 4),
    LOAD(ARGUMENT(0)),
    IF_ANY(NAMESPACES, 0, 1),
    REFUSE(EPERM),
    ALLOW,
    /* Nothing is written where it can be executed. */
    IF_EQUAL(SYS_mmap, 1, 0),
    IF_EQUAL(SYS_mprotect, 0, 5),
    LOAD(ARGUMENT(2)),
    IF_ANY(PROT_EXEC, 0, 2),
    IF_ANY(PROT_WRITE, 0, 1),
    REFUSE(EPERM),
    ALLOW,
    IF_EQUAL(SYS_ioctl, 0, 4),
    LOAD(ARGUMENT(1)),
    IF_EQUAL(TERMINAL_INPUT, 0, 1),
    REFUSE(EPERM),
    ALLOW,
    IF_EQUAL(SYS_prctl, 0, 4),
    LOAD(ARGUMENT(0)),
    IF_EQUAL(FILTER_QUESTION, 0, 1),
    REFUSE(FILTER_ANSWER),
    ALLOW,
    /* Unix sockets; streams and datagrams of IP; netlink for addresses and routes. */
    IF_EQUAL(SYS_socket, 0, 13),
    LOAD(ARGUMENT(0)),
    IF_EQUAL(AF_UNIX, 10, 0),
    IF_EQUAL(AF_INET, 4, 0),
    IF_EQUAL(AF_INET6, 3, 0),
    IF_EQUAL(AF_NETLINK, 0, 6),
    LOAD(ARGUMENT(2)),
    IF_EQUAL(0 /* NETLINK_ROUTE */, 5, 4),
    LOAD(ARGUMENT(1)),
    BPF_STMT(BPF_ALU | BPF_AND | BPF_K, 0xf),
    IF_EQUAL(SOCK_STREAM, 2, 0),
    IF_EQUAL(SOCK_DGRAM, 1, 0),
    REFUSE(EPERM),
    ALLOW,
};

#define COUNT(array) (sizeof(array) / sizeof(array)[0])

int clinux_confine(void) {
    enum { size = COUNT(beginning) + 2 * COUNT(allowed) + 1 };
    static struct sock_filter program[size];
    size_t length = 0;
    for (size_t i = 0; i < COUNT(beginning); i++) program[length++] = beginning[i];
    for (size_t i = 0; i < COUNT(allowed); i++) {
        program[length++] = (struct sock_filter)IF_EQUAL(allowed[i], 0, 1);
        program[length++] = (struct sock_filter)ALLOW;
    }
    program[length++] = (struct sock_filter)REFUSE(EPERM);
    struct sock_fprog filter = { .len = (unsigned short)length, .filter = program };
    /* All threads at once. What is refused stands in the kernel's log where that is asked for
     * (kernel.seccomp.actions_logged). */
    unsigned long flags = SECCOMP_FILTER_FLAG_TSYNC | SECCOMP_FILTER_FLAG_LOG;
    long result = syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &filter);
    if (result > 0) errno = ESRCH;
    return result == 0 ? 0 : -1;
}

#else

int clinux_confine(void) {
    errno = ENOSYS;
    return -1;
}

#endif

int clinux_is_confined(void) {
    int error = errno;
    bool is_confined = prctl(FILTER_QUESTION, 0, 0, 0, 0) == -1 && errno == FILTER_ANSWER;
    errno = error;
    return is_confined;
}
