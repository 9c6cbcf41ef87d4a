/* What the parts of the load generator share; main.c says what it is. */
#ifndef LOAD_H
#define LOAD_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>

enum {
    SESSION_LIMIT = 100000,
    THREAD_LIMIT = 16,
    BURST_LIMIT = 128,
    CORE_LIMIT = 64,
    SIZE_LIMIT = 65507,     /* the largest payload of UDP over IPv4 */
    TRAIN_BYTES = 65507,
    CHANNEL_BYTES = 4,      /* the header of ChannelData (RFC 8656, section 12.4) */
};

/* How much is offered. */
enum pace {
    PACE_CLOSED, /* so many datagrams under way at once */
    PACE_RATE,   /* so many a second, whatever comes of them */
    PACE_FLOOD,  /* as many as the sender can */
};

/* How a session is set up. */
enum protocol {
    PROTOCOL_REGISTER, /* REG lines, as quic-relay has it */
    PROTOCOL_SINK,     /* a proxy, NAT or agent that sends everything to one address */
    PROTOCOL_TURN,     /* TURN: the sender has a channel (RFC 8656), the other side is plain UDP */
};

struct address {
    struct sockaddr_storage storage;
    socklen_t length;
};

struct options {
    enum pace pace;
    enum protocol protocol;
    struct address relay, relay_b; /* the relay as A and as B reach it */
    struct address a, b;           /* where A and B are bound; port 0 is any */
    const char *namespace_a, *namespace_b;
    int sessions, threads, burst, train;
    int size;                      /* bytes of each datagram; 0 for mixed ones */
    bool coalesce, duplex, spin, beside;
    double seconds, warm_seconds, rate;
    long window;
    int cores[CORE_LIMIT], core_count;
    int meter_group;               /* the process group whose CPU time is taken; 0 for none */
};

extern struct options options;

/* Reads the command line; ends the program with 64 and one line if it makes no sense. */
void read_options(int argc, char **argv);

/* Ends the program with `status` and one line; with errno's text if `status` is 71 (EX_OSERR). */
_Noreturn void give_up(int status, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* CLOCK_MONOTONIC. */
uint64_t now_nanoseconds(void);

/* ---- Figures ------------------------------------------------------------------------------ */

/* Counts of durations, each known to 1/64 of itself: 64 steps for each power of two. */
enum { HISTOGRAM_STEPS = 64, HISTOGRAM_BUCKETS = 42 * HISTOGRAM_STEPS };

struct histogram {
    uint64_t buckets[HISTOGRAM_BUCKETS];
    uint64_t count, most;
};

void histogram_add(struct histogram *histogram, uint64_t nanoseconds);
void histogram_merge(struct histogram *into, const struct histogram *from);
/* The duration that `share` (0 to 1) of all did not exceed, in microseconds; 0 if there is none. */
double histogram_microseconds(const struct histogram *histogram, double share);

/* CPU time since some beginning, in seconds. */
struct cpu_times {
    double group;                      /* of the metered process group, exact */
    double group_user, group_system;   /* the same, by the tick */
    double kernel_threads;             /* of those that take soft interrupts over, exact */
    double machine, soft_interrupts;   /* of all that ran, by the tick */
    double stolen;                     /* what the hypervisor gave to others */
    double self;                       /* this program's */
    int processes;                     /* how many the group has */
};

struct cpu_times read_cpu_times(int group);

/* ---- Peers -------------------------------------------------------------------------------- */

/* One direction of a session, as far as its datagrams arrived. */
struct arrivals {
    uint64_t next;   /* one more than the highest sequence number */
    uint64_t recent; /* which of the 64 below that came: bit 0 is next - 1 */
};

struct peer {
    int descriptor;          /* -1: behind the sink */
    bool is_direct;          /* speaks to its partner without the relay */
    uint8_t channel[CHANNEL_BYTES];
    uint64_t sent;           /* the next sequence number */
    struct arrivals arrivals;
};

/* Session n has the peers 2n (A) and 2n + 1 (B). Those from `options.sessions` on are direct. */
extern struct peer *peers;
extern int session_count, sink;

/* Opens all sockets and makes the relay forward between them. */
void open_sessions(void);

/* Acknowledges a registration that came to the sink: to an agent that is the relay. Whether it was
 * one. */
bool acknowledge(const uint8_t *bytes, int length, const void *source, socklen_t source_bytes);

/* Asks a TURN server for an allocation, and for a channel to `target`. */
void open_channel(struct peer *peer, const struct sockaddr *target);

/* ---- Datagrams ---------------------------------------------------------------------------- */

/* The beginning of every datagram; what follows is made of the first two. */
struct stamp {
    uint32_t magic;
    uint32_t flow;       /* the number of the peer that sent it */
    uint64_t sequence;
    uint64_t due;        /* when it was, or should have been, sent */
    uint32_t length;
    uint32_t is_measured; /* sent while measuring */
};

enum { STAMP_BYTES = sizeof(struct stamp) };

/* What came of the datagrams; of the sent and received ones only those sent while measuring. */
struct outcome {
    uint64_t sent, received, received_bytes, misdelivered, corrupted, reordered, duplicated, strange;
    uint64_t refused, stalls;
};

void prepare_datagrams(void);
/* The length of the datagram with this number of this flow. */
int datagram_length(uint32_t flow, uint64_t sequence);
void write_datagram(uint8_t *bytes, struct stamp stamp);
/* Whether these are a datagram of ours, whole. */
bool read_datagram(const uint8_t *bytes, int length, struct stamp *stamp);
/* Notes that a datagram arrived, in order or not; whether for the first time. One that comes again
 * after 64 later ones counts as overtaken. */
bool note_arrival(struct arrivals *arrivals, uint64_t sequence, struct outcome *outcome);

/* ---- Traffic ------------------------------------------------------------------------------ */

struct worker {
    pthread_t thread;
    int number, poll;
    uint32_t *senders;   /* flows of this worker, in the order of their turns */
    int sender_count, turn;
    /* Of all, measured or not; written by the worker, read by others. */
    _Atomic uint64_t taken, taken_bytes;
    uint64_t offered, forgiven;
    struct outcome outcome;
    struct histogram relayed, direct, lateness;
    uint8_t *outgoing, *incoming, *control;
    struct sockaddr_storage *names; /* whom the sink hears */
    struct mmsghdr *out, *in;
    struct iovec *out_parts, *in_parts;
    int slot_bytes;
};

extern _Atomic bool is_measuring, is_over;
extern struct worker workers[THREAD_LIMIT];

void start_workers(void);
void join_workers(void);

#endif
