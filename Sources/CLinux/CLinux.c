#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <grp.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/udp.h>
#include <malloc.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <sched.h>
#include <spawn.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/eventfd.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/un.h>
#include <unistd.h>

_Static_assert(sizeof(struct clinux_mmsghdr) == sizeof(struct mmsghdr), "mmsghdr");
_Static_assert(offsetof(struct clinux_mmsghdr, msg_len) == offsetof(struct mmsghdr, msg_len), "msg_len");
_Static_assert(sizeof(struct in6_pktinfo) == 20 && sizeof(struct sockaddr_in6) == 28, "see Relay/SocketAddress.swift");
_Static_assert(sizeof(struct clinux_in_pktinfo) == sizeof(struct in_pktinfo), "in_pktinfo");
_Static_assert(offsetof(struct clinux_in_pktinfo, local) == offsetof(struct in_pktinfo, ipi_spec_dst), "ipi_spec_dst");
_Static_assert(offsetof(struct clinux_in_pktinfo, destination) == offsetof(struct in_pktinfo, ipi_addr), "ipi_addr");
_Static_assert(CLINUX_MSG_WAITFORONE == MSG_WAITFORONE, "MSG_WAITFORONE");
_Static_assert(CLINUX_SOL_UDP == IPPROTO_UDP, "SOL_UDP");
_Static_assert(CLINUX_UDP_SEGMENT == UDP_SEGMENT, "UDP_SEGMENT");
_Static_assert(CLINUX_UDP_GRO == UDP_GRO, "UDP_GRO");

int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags) {
    return recvmmsg(fd, (struct mmsghdr *)messages, count, flags, NULL);
}

int clinux_sendmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags) {
    return sendmmsg(fd, (struct mmsghdr *)messages, count, flags);
}

struct clinux_receive_queue clinux_receive_queue(int fd) {
    uint32_t information[SK_MEMINFO_VARS] = { 0 };
    socklen_t length = sizeof information;
    getsockopt(fd, SOL_SOCKET, SO_MEMINFO, information, &length);
    return (struct clinux_receive_queue){
        .drops = information[SK_MEMINFO_DROPS],
        .bytes = information[SK_MEMINFO_RMEM_ALLOC],
        .limit = information[SK_MEMINFO_RCVBUF],
    };
}

ssize_t clinux_send_to_path(
    int fd, const uint8_t *name, size_t name_length, const uint8_t *bytes, size_t count, int passed) {
    struct sockaddr_un address = { .sun_family = AF_UNIX };
    if (name_length >= sizeof address.sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    memcpy(address.sun_path, name, name_length);
    struct iovec vector = { .iov_base = (void *)bytes, .iov_len = count };
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof passed)] = { 0 };
    struct msghdr message = {
        .msg_name = &address,
        .msg_namelen = (socklen_t)(offsetof(struct sockaddr_un, sun_path) + name_length),
        .msg_iov = &vector,
        .msg_iovlen = 1,
    };
    if (passed >= 0) {
        message.msg_control = control;
        message.msg_controllen = sizeof control;
        struct cmsghdr *header = CMSG_FIRSTHDR(&message);
        header->cmsg_level = SOL_SOCKET;
        header->cmsg_type = SCM_RIGHTS;
        header->cmsg_len = CMSG_LEN(sizeof passed);
        memcpy(CMSG_DATA(header), &passed, sizeof passed);
    }
    return sendmsg(fd, &message, MSG_NOSIGNAL);
}

int clinux_processor_count(void) {
    cpu_set_t processors;
    if (sched_getaffinity(0, sizeof processors, &processors) != 0) return 1;
    int count = CPU_COUNT(&processors);
    return count > 0 ? count : 1;
}

int clinux_eventfd(void) {
    return eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
}

int clinux_signalfd(const sigset_t *signals) {
    return signalfd(-1, signals, SFD_CLOEXEC | SFD_NONBLOCK);
}

int clinux_read_signal(int fd) {
    struct signalfd_siginfo info;
    ssize_t length = read(fd, &info, sizeof info);
    return length == sizeof info ? (int)info.ssi_signo : length < 0 ? -1 : 0;
}

int clinux_unix_socket(void) {
    return socket(AF_UNIX, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
}

static int unix_address(struct sockaddr_un *address, const char *path) {
    memset(address, 0, sizeof *address);
    address->sun_family = AF_UNIX;
    if (strlen(path) >= sizeof address->sun_path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    strcpy(address->sun_path, path);
    return 0;
}

int clinux_unix_bind(int fd, const char *path) {
    struct sockaddr_un address;
    int result = unix_address(&address, path);
    return result < 0 ? result : bind(fd, (struct sockaddr *)&address, sizeof address);
}

int clinux_unix_connect(int fd, const char *path) {
    struct sockaddr_un address;
    int result = unix_address(&address, path);
    return result < 0 ? result : connect(fd, (struct sockaddr *)&address, sizeof address);
}

long clinux_unix_send(int fd, const void *bytes, size_t count) {
    return send(fd, bytes, count, MSG_NOSIGNAL);
}

int clinux_peer_user(int fd, uint32_t *user, int32_t *process) {
    struct ucred peer = { 0 };
    socklen_t length = sizeof peer;
    int result = getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length);
    *user = peer.uid;
    *process = peer.pid;
    return result;
}

int clinux_peer_has_group(int fd, uint32_t group) {
    struct ucred peer = { 0 };
    socklen_t length = sizeof peer;
    if (getsockopt(fd, SOL_SOCKET, SO_PEERCRED, &peer, &length) == 0 && peer.gid == group) {
        return 1;
    }
    /* NGROUPS_MAX, as many as a process can have. */
    enum { group_limit = 65536 };
    length = group_limit * sizeof(gid_t);
    gid_t *groups = malloc(length);
    int found = 0;
    if (groups != NULL && getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, groups, &length) == 0) {
        for (size_t index = 0; index < length / sizeof(gid_t); index++) {
            found |= groups[index] == group;
        }
    }
    free(groups);
    return found;
}

int64_t clinux_group(const char *name) {
    /* Members of large groups take a lot; a group that does not fit is as good as unknown. */
    enum { byte_limit = 1 << 20 };
    char *memory = malloc(byte_limit);
    struct group entry;
    struct group *found = NULL;
    if (memory != NULL && getgrnam_r(name, &entry, memory, byte_limit, &found) != 0) {
        found = NULL;
    }
    int64_t number = found != NULL ? (int64_t)found->gr_gid : -1;
    free(memory);
    return number;
}

int clinux_is_ignored(int number) {
    struct sigaction action;
    return sigaction(number, NULL, &action) == 0 && action.sa_handler == SIG_IGN;
}

int clinux_forbid_dumps(void) {
    return prctl(PR_SET_DUMPABLE, 0, 0, 0, 0);
}

int clinux_may_dump(void) {
    return prctl(PR_GET_DUMPABLE, 0, 0, 0, 0) == 1;
}

void clinux_sleep_exactly(void) {
    /* 0 would mean the default. */
    prctl(PR_SET_TIMERSLACK, 1, 0, 0, 0);
}

int clinux_map_blocks_from(int bytes) {
    return mallopt(M_MMAP_THRESHOLD, bytes) == 1;
}

void clinux_name_thread(const char *name) {
    pthread_setname_np(pthread_self(), name);
}

/* Enough for the registers of any processor (11 KiB with AMX) and for what a handler calls. */
enum { signal_stack_bytes = 64 * 1024 };

void *clinux_add_signal_stack(void) {
    void *memory = malloc(signal_stack_bytes);
    if (memory == NULL) {
        return NULL;
    }
    stack_t stack = { .ss_sp = memory, .ss_size = signal_stack_bytes };
    sigaltstack(&stack, NULL);
    return memory;
}

void clinux_remove_signal_stack(void *memory) {
    stack_t none = { .ss_flags = SS_DISABLE };
    sigaltstack(&none, NULL);
    free(memory);
}

int clinux_wait_for_word(int fd) {
    for (;;) {
        struct pollfd file = { .fd = fd, .events = POLLIN };
        uint64_t word = 0;
        if (poll(&file, 1, -1) == 1 && read(fd, &word, sizeof word) == sizeof word) {
            return (int)word;
        }
    }
}

int clinux_memory_file(const char *name) {
    return memfd_create(name, MFD_CLOEXEC);
}

static bool has_name_of(const char *entry, char *const *variables, int count) {
    for (int i = 0; i < count; i++) {
        if (strncmp(entry, variables[i], strcspn(variables[i], "=") + 1) == 0) return true;
    }
    return false;
}

/* The environment with `variables` in place of those of their names; to be freed, not its strings. */
static char **environment_with(char *const *variables, int count) {
    size_t length = 0;
    while (environ[length] != NULL) length++;
    char **result = calloc(length + (size_t)count + 1, sizeof *result);
    if (result == NULL) return NULL;
    size_t kept = 0;
    for (size_t i = 0; i < length; i++) {
        if (!has_name_of(environ[i], variables, count)) result[kept++] = environ[i];
    }
    for (int i = 0; i < count; i++) result[kept++] = variables[i];
    return result;
}

int clinux_start_program(const char *path, char *const *arguments, char *const *variables,
    int variable_count, const int *inherited, int count, int errors) {
    char **environment = environment_with(variables, variable_count);
    if (environment == NULL) return -1;
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t none;
    sigemptyset(&none);
    posix_spawn_file_actions_init(&actions);
    posix_spawnattr_init(&attributes);
    /* Libraries open descriptors that would stay open on exec (SwiftNIO's epoll). Nothing else is
     * ever started, so all may be marked here; what cannot be marked is only inherited. */
    (void)close_range(3, ~0U, CLOSE_RANGE_CLOEXEC);
    int code = posix_spawn_file_actions_adddup2(&actions, errors, 2);
    /* A descriptor onto itself is not closed on exec (posix_spawn(3), glibc 2.29). */
    for (int i = 0; code == 0 && i < count; i++) {
        code = posix_spawn_file_actions_adddup2(&actions, inherited[i], inherited[i]);
    }
    if (code == 0) code = posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    if (code == 0) code = posix_spawnattr_setsigmask(&attributes, &none);
    pid_t pid = -1;
    if (code == 0) code = posix_spawn(&pid, path, &actions, &attributes, arguments, environment);
    posix_spawnattr_destroy(&attributes);
    posix_spawn_file_actions_destroy(&actions);
    free(environment);
    if (code == 0) return pid;
    errno = code;
    return -1;
}

const char *clinux_signal_name(int number) {
    const char *name = sigabbrev_np(number);
    return name != NULL ? name : "unknown";
}

static void do_nothing(int number) {
    (void)number;
}

int clinux_ignore_but_interrupt(int number) {
    /* Without SA_RESTART: the point is that the interrupted call returns. */
    struct sigaction action = { .sa_handler = do_nothing };
    sigemptyset(&action.sa_mask);
    return sigaction(number, &action, NULL);
}

bool clinux_hold_signal(int number, bool hold) {
    sigset_t set, before;
    sigemptyset(&set);
    sigaddset(&set, number);
    pthread_sigmask(hold ? SIG_BLOCK : SIG_UNBLOCK, &set, &before);
    return sigismember(&before, number) == 1;
}

int clinux_open_route_changes(void) {
    int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC | SOCK_NONBLOCK, NETLINK_ROUTE);
    if (fd < 0) {
        return -1;
    }
    struct sockaddr_nl name = {
        .nl_family = AF_NETLINK,
        .nl_groups = RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE,
    };
    if (bind(fd, (struct sockaddr *)&name, sizeof name) != 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    return fd;
}

void clinux_skip_route_changes(int fd) {
    /* What is cut short, or was lost when the buffer was full (ENOBUFS), is no loss: that something
     * changed is all that is wanted. */
    char buffer[4096];
    while (recv(fd, buffer, sizeof buffer, MSG_DONTWAIT) > 0 || errno == ENOBUFS || errno == EINTR) {
    }
}

int clinux_terminal_columns(int fd) {
    struct winsize size = { 0 };
    return ioctl(fd, TIOCGWINSZ, &size) == 0 ? size.ws_col : 0;
}
