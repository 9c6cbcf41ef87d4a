/* What the relay needs of Linux and Swift's Glibc module does not have.
 *
 * The module is built without _GNU_SOURCE, and must be: with it, files that import Glibc as well
 * fail on types that then have two definitions. So what glibc hides behind it is mirrored here, and
 * CLinux.c, which defines it, checks each mirror against the original when it is compiled. */
#ifndef CLINUX_H
#define CLINUX_H

#include <signal.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#pragma clang assume_nonnull begin

/* struct mmsghdr, recvmmsg(2). */
struct clinux_mmsghdr {
    struct msghdr msg_hdr;
    unsigned int msg_len;
};

/* struct in_pktinfo, ip(7); addresses in network order. */
struct clinux_in_pktinfo {
    int32_t interface;
    uint32_t local;
    uint32_t destination;
};

#define CLINUX_MSG_WAITFORONE 0x10000
#define CLINUX_SOL_UDP 17
#define CLINUX_UDP_SEGMENT 103
#define CLINUX_UDP_GRO 104

/* recvmmsg(2) without its timeout, which does not end a wait for the first datagram. */
int clinux_recvmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags);
/* sendmmsg(2). */
int clinux_sendmmsg(int fd, struct clinux_mmsghdr *messages, unsigned int count, int flags);

/* A socket's receive queue: SO_MEMINFO (linux/sock_diag.h, since 4.12); zeros where the kernel does not
 * tell. */
struct clinux_receive_queue {
    /* Datagrams dropped since the socket was opened, as the queue was full or a filter refused them. */
    uint32_t drops;
    /* The memory that those in the queue take, and how much they may take. */
    uint32_t bytes, limit;
};
struct clinux_receive_queue clinux_receive_queue(int fd);

/* What the kernel lets the socket have while more comes than the relay can read: a program for its
 * filter, and maps that it shares with us (admission/admission.bpf.c). */
struct clinux_admission_limits {
    /* What a peer pays for 1,024 bytes, and how far it may be in debt, in nanoseconds; price 0: nothing. */
    uint64_t peer_price, peer_room;
    /* What a prefix pays for a stranger's datagram, and all strangers together. */
    uint64_t prefix_price, prefix_room;
    uint64_t stranger_price, stranger_room;
    uint64_t strangers_full_at;
    /* What was refused; a delivery is a datagram or a train. */
    uint64_t stranger_datagrams, stranger_deliveries;
    uint64_t peer_datagrams, peer_deliveries;
};
struct clinux_admission_peer {
    uint8_t ip[16];
    uint16_t port_in_network_order;
    uint16_t unused;
};
struct clinux_admission {
    int limits_map, peers_map, prefixes_map, program;
    struct clinux_admission_limits *_Nullable limits;
};
/* Creates the maps and loads the program (bpf(2)); needs CAP_BPF. 0, or -1 with errno. */
int clinux_open_admission(struct clinux_admission *admission, uint32_t peer_limit, uint32_t prefix_limit);
void clinux_close_admission(struct clinux_admission *admission);
/* Puts the limits in force; what was refused stays. */
void clinux_limit_admission(
    struct clinux_admission admission, struct clinux_admission_limits limits);
/* What is in force, and what was refused. */
struct clinux_admission_limits clinux_admission_limits(struct clinux_admission admission);
/* Makes addresses known as peers'. Says how many there was room for. */
int clinux_admit(
    struct clinux_admission admission, const struct clinux_admission_peer *peers, int count);
/* Puts the program before a socket's queue, or takes away whatever is there. 0, or -1 with errno. */
int clinux_attach_admission(struct clinux_admission admission, int socket);
int clinux_detach_filter(int socket);

/* Sends a datagram to a Unix socket (unix(7)), with the descriptor `passed` in it unless that is -1
 * (SCM_RIGHTS). A name in the abstract name space begins with a zero byte. */
ssize_t clinux_send_to_path(
    int fd, const uint8_t *name, size_t name_length, const uint8_t *bytes, size_t count, int passed);

/* How many processors this process may use (sched_getaffinity(2)), at least 1. */
int clinux_processor_count(void);

/* eventfd(2), signalfd(2): both non-blocking and closed on exec. */
int clinux_eventfd(void);
int clinux_signalfd(const sigset_t *signals);
/* The signal number of the next of a signalfd's signals, 0 when there is none, -1 with errno. */
int clinux_read_signal(int fd);

/* Whether a signal is ignored. One that is held back as well would be readable all the same. */
int clinux_is_ignored(int number);

/* Leaves no core dump of this process (PR_SET_DUMPABLE, prctl(2)), which is lost when it executes
 * another program; 0, or -1 with errno. */
int clinux_forbid_dumps(void);
/* Whether this process leaves core dumps as far as that is its own affair. */
int clinux_may_dump(void);

/* What a relay can do without (sandbox.c). Each says 0, or -1 with errno. */
/* No program that this process executes gets rights that this one has not (PR_SET_NO_NEW_PRIVS). */
int clinux_forbid_privileges(void);
/* The capabilities that the calling thread may use, a bit each (capabilities(7)). */
uint64_t clinux_capabilities(void);
/* Takes from all threads every capability but these. */
int clinux_keep_capabilities(uint64_t kept);
/* Refuses all system calls, to all threads and whatever they execute, that no relay makes. */
int clinux_confine(void);
/* Whether that was done, by this process or by one before it. */
int clinux_is_confined(void);

/* Lets the calling thread sleep as long as it asks for, and not up to 50 us longer so that the system
 * can wake several threads at once (PR_SET_TIMERSLACK, prctl(2)). */
void clinux_sleep_exactly(void);

/* Lets malloc(3) map blocks of so many bytes, and longer ones, by themselves, now and always. */
int clinux_map_blocks_from(int bytes);

/* Names the calling thread, as top(1) and gdb show it; at most 15 characters. */
void clinux_name_thread(const char *name);
/* Gives the calling thread a stack of its own for signal handlers (sigaltstack(2)): one that runs
 * because the thread's own stack is used up needs it. NULL if there is no memory. To be removed by
 * the thread before it ends. It comes from malloc(3), which gives the thread its arena. */
void *_Nullable clinux_add_signal_stack(void);
void clinux_remove_signal_stack(void *_Nullable memory);

/* Waits until something other than 0 is written to an eventfd, and returns that. */
int clinux_wait_for_word(int fd);

/* A file in memory alone, closed on exec (memfd_create(2)). */
int clinux_memory_file(const char *name);
/* Starts a program (posix_spawn(3)) with this process's environment and `variable_count` more,
 * "NAME=…", in place of those with their names. It gets no signal held back, standard output as it is, `errors` as
 * its standard error, and of the other descriptors those that are `inherited`, under their numbers.
 * Returns its process id, or -1 with errno. */
int clinux_start_program(const char *path, char *_Nullable const *_Nonnull arguments,
    char *_Nullable const *_Nonnull variables, int variable_count, const int *inherited, int count,
    int errors);

/* A signal's name without SIG, such as SEGV. */
const char *clinux_signal_name(int number);

/* Makes `number` interrupt system calls of the thread that gets it, and do nothing else. */
int clinux_ignore_but_interrupt(int number);

/* Lets a signal wait that comes to this thread and to those that it starts from now on, or no longer;
 * returns whether it did so before. */
bool clinux_hold_signal(int number, bool hold);

/* Unix sockets for streams, unix(7): non-blocking and closed on exec. The address of a path is laid
 * out here; one that is too long fails with ENAMETOOLONG. */
int clinux_unix_socket(void);
int clinux_unix_bind(int fd, const char *path);
int clinux_unix_connect(int fd, const char *path);
/* Writes without a signal to one that is closed at the other end. */
long clinux_unix_send(int fd, const void *bytes, size_t count);

/* Who is at the other end of a Unix socket: SO_PEERCRED. Says -1, with errno, if that is not known. */
int clinux_peer_user(int fd, uint32_t *user, int32_t *process);
/* Whether a group is among those of whoever is there: SO_PEERCRED, SO_PEERGROUPS (since 4.13). */
int clinux_peer_has_group(int fd, uint32_t group);
/* A group's number by its name, getgrnam_r(3); -1 if there is none. */
int64_t clinux_group(const char *name);

/* A socket that is readable when an address or a route of this host changed (rtnetlink(7)); needs no
 * rights. -1 with errno. */
int clinux_open_route_changes(void);
/* Makes it unreadable until the next change. */
void clinux_skip_route_changes(int fd);

/* How wide a terminal is, 0 where that is not known (ioctl_tty(2)). */
int clinux_terminal_columns(int fd);

/* The control message macros of cmsg(3). */
static inline struct cmsghdr *_Nullable clinux_cmsg_first(const struct msghdr *message) {
    return CMSG_FIRSTHDR(message);
}
static inline struct cmsghdr *_Nullable clinux_cmsg_next(
    struct msghdr *message, struct cmsghdr *control) {
    return CMSG_NXTHDR(message, control);
}
static inline uint8_t *clinux_cmsg_data(struct cmsghdr *control) {
    return CMSG_DATA(control);
}
static inline size_t clinux_cmsg_space(size_t length) {
    return CMSG_SPACE(length);
}
static inline size_t clinux_cmsg_length(size_t length) {
    return CMSG_LEN(length);
}

#pragma clang assume_nonnull end

#endif
