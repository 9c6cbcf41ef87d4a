#define _GNU_SOURCE
#include "load.h"

#include <errno.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <time.h>

_Atomic bool is_measuring, is_over;
struct worker workers[THREAD_LIMIT];

enum { RECEIVE_SLOTS = 32, CONTROL_BYTES = 64, EVENT_LIMIT = 64 };
static const uint32_t sink_receiver = UINT32_MAX; /* in a peer's place */
enum { TURN_LIMIT = 64 };                    /* turns before a look at what has arrived */
static const uint64_t stall_nanoseconds = 50000000;  /* so late, what is under way is lost */
/* At the end: how long nothing comes until all has come, and until what is missing is lost. */
static const uint64_t settled_nanoseconds = 100000000, lost_nanoseconds = 1000000000;
static const uint64_t drain_nanoseconds = 20000000000; /* and how long that may go on */
static uint64_t start;

static int prefix_bytes(void) { return options.protocol == PROTOCOL_TURN ? CHANNEL_BYTES : 0; }

/* ---- Sending ------------------------------------------------------------------------------ */

/* Fills a message with datagrams of a flow; its length in bytes. */
static int fill(uint8_t *bytes, uint32_t flow, uint64_t sequence, int count, uint64_t due,
                bool is_measured) {
    int length = 0, prefix = peers[flow].is_direct ? 0 : prefix_bytes();
    for (int i = 0; i < count; i++) {
        struct stamp stamp = {
            .flow = flow, .sequence = sequence + (uint64_t)i,
            .due = due, .is_measured = is_measured};
        stamp.length = (uint32_t)datagram_length(flow, stamp.sequence);
        if (prefix) {
            memcpy(bytes + length, peers[flow].channel, 2);
            bytes[length + 2] = (uint8_t)(stamp.length >> 8);
            bytes[length + 3] = (uint8_t)stamp.length;
        }
        write_datagram(bytes + length + prefix, stamp);
        length += prefix + (int)stamp.length;
    }
    return length;
}

/* Lets the flow whose turn it is send up to `count` datagrams that are due at `due`; how many the
 * system took. */
static int send_turn(struct worker *worker, int count, uint64_t due) {
    uint32_t flow = worker->senders[worker->turn];
    struct peer *peer = &peers[flow];
    bool is_measured = atomic_load_explicit(&is_measuring, memory_order_relaxed);
    int datagrams[BURST_LIMIT]; /* of each message */
    int message_count = 0, filled = 0;
    uint8_t *bytes = worker->outgoing;
    for (; filled < count; message_count++) {
        int train = count - filled < options.train ? count - filled : options.train;
        int length = fill(bytes, flow, peer->sent + (uint64_t)filled, train, due, is_measured);
        datagrams[message_count] = train;
        worker->out_parts[message_count] = (struct iovec){bytes, (size_t)length};
        bytes += length;
        filled += train;
    }
    int sent_messages = sendmmsg(peer->descriptor, worker->out, (unsigned)message_count, 0);
    if (sent_messages < 0) {
        /* The socket's buffer is full, or an earlier datagram was refused: this one is not sent. */
        if (errno != EAGAIN && errno != ENOBUFS && errno != ECONNREFUSED) give_up(71, "sendmmsg");
        worker->outcome.refused++;
        sent_messages = 0;
    }
    int sent = 0;
    for (int i = 0; i < sent_messages; i++) sent += datagrams[i];
    peer->sent += (uint64_t)sent;
    worker->offered += (uint64_t)sent;
    if (is_measured) worker->outcome.sent += (uint64_t)sent;
    /* On a schedule whoever could not send tries again; it is late then, and that shows. */
    if (sent > 0 || options.pace != PACE_RATE)
        worker->turn = (worker->turn + 1) % worker->sender_count;
    return sent;
}

/* Offers what is to be offered by now; whether that was anything. */
static bool offer_closed(struct worker *worker) {
    int64_t window = options.window / options.threads;
    if (window < options.burst) window = options.burst;
    for (int turn = 0; turn < TURN_LIMIT; turn++) {
        int64_t under_way = (int64_t)(worker->offered - worker->taken - worker->forgiven);
        if (under_way + options.burst > window
            || !send_turn(worker, options.burst, now_nanoseconds()))
            return turn > 0;
    }
    return true;
}

static bool offer_rate(struct worker *worker) {
    double rate = options.rate * (options.beside ? 2 : 1) / options.threads;
    for (int turn = 0; turn < TURN_LIMIT; turn++) {
        uint64_t due = start + (uint64_t)((double)worker->offered * 1e9 / rate);
        uint64_t now = now_nanoseconds();
        if (now < due) return turn > 0;
        if (atomic_load_explicit(&is_measuring, memory_order_relaxed))
            histogram_add(&worker->lateness, now - due);
        if (!send_turn(worker, options.burst, due)) return turn > 0;
    }
    return true;
}

/* ---- Receiving ---------------------------------------------------------------------------- */

static void take_datagram(struct worker *worker, uint32_t receiver, const uint8_t *bytes,
                          int length, uint64_t now) {
    struct outcome *outcome = &worker->outcome;
    struct stamp stamp;
    if (!read_datagram(bytes, length, &stamp)) {
        if (length == 4 && !memcmp(bytes, "ACK\n", 4)) outcome->strange++;
        else outcome->corrupted++;
        return;
    }
    bool is_right = receiver == sink_receiver ? !(stamp.flow & 1) : stamp.flow == (receiver ^ 1);
    /* One that comes again makes no room for another: it would widen the window. */
    if (is_right && !note_arrival(&peers[stamp.flow ^ 1].arrivals, stamp.sequence, outcome)) return;
    atomic_store_explicit(&worker->taken, worker->taken + 1, memory_order_relaxed);
    atomic_store_explicit(&worker->taken_bytes, worker->taken_bytes + (uint64_t)length,
                          memory_order_relaxed);
    if (!is_right) {
        outcome->misdelivered++;
        return;
    }
    if (!stamp.is_measured) return;
    outcome->received++;
    outcome->received_bytes += (uint64_t)length;
    histogram_add(peers[stamp.flow].is_direct ? &worker->direct : &worker->relayed,
                  now > stamp.due ? now - stamp.due : 0);
}

/* The length of the datagrams of a train, or `length` if it is none. */
static int segment_length(struct msghdr *message, int length) {
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c))
        if (c->cmsg_level == SOL_UDP && c->cmsg_type == UDP_GRO) {
            int segment;
            memcpy(&segment, CMSG_DATA(c), sizeof segment);
            return segment > 0 ? segment : length;
        }
    return length;
}

/* Takes what a socket holds, a few batches at most; how many datagrams. */
static int drain(struct worker *worker, uint32_t receiver) {
    int descriptor = receiver == sink_receiver ? sink : peers[receiver].descriptor, total = 0;
    for (int batch = 0; batch < 4; batch++) {
        for (int i = 0; i < RECEIVE_SLOTS; i++) {
            worker->in[i].msg_hdr.msg_controllen = options.coalesce ? CONTROL_BYTES : 0;
            if (receiver != sink_receiver) continue;
            worker->in[i].msg_hdr.msg_name = &worker->names[i];
            worker->in[i].msg_hdr.msg_namelen = sizeof worker->names[i];
        }
        int count = recvmmsg(descriptor, worker->in, RECEIVE_SLOTS, MSG_DONTWAIT, NULL);
        if (count <= 0) {
            if (count < 0 && errno != EAGAIN && errno != ECONNREFUSED && errno != EINTR)
                give_up(71, "recvmmsg");
            break;
        }
        uint64_t now = now_nanoseconds();
        for (int i = 0; i < count; i++) {
            int length = (int)worker->in[i].msg_len;
            int segment = segment_length(&worker->in[i].msg_hdr, length);
            const uint8_t *bytes = worker->in_parts[i].iov_base;
            if (receiver == sink_receiver
                && acknowledge(bytes, length, &worker->names[i],
                               worker->in[i].msg_hdr.msg_namelen)) continue;
            for (int at = 0; at < length; at += segment, total++)
                take_datagram(worker, receiver, bytes + at,
                              length - at < segment ? length - at : segment, now);
        }
        if (count < RECEIVE_SLOTS) break;
    }
    return total;
}

/* Takes what has arrived after waiting for it for so long; how many datagrams. */
static int collect(struct worker *worker, long nanoseconds) {
    struct epoll_event events[EVENT_LIMIT];
    struct timespec time = {0, nanoseconds};
    int count = epoll_pwait2(worker->poll, events, EVENT_LIMIT, &time, NULL), total = 0;
    for (int i = 0; i < count; i++) total += drain(worker, events[i].data.u32);
    return total;
}

/* ---- Workers ------------------------------------------------------------------------------ */

static bool offer(struct worker *worker) {
    switch (options.pace) {
    case PACE_CLOSED: return offer_closed(worker);
    case PACE_RATE: return offer_rate(worker);
    case PACE_FLOOD: return send_turn(worker, options.burst, now_nanoseconds()) > 0;
    }
    return false;
}

static void pin(int number) {
    if (!options.core_count) return;
    cpu_set_t set;
    CPU_ZERO(&set);
    CPU_SET((size_t)options.cores[number % options.core_count], &set);
    if (pthread_setaffinity_np(pthread_self(), sizeof set, &set))
        give_up(64, "--cores: there is no core %d", options.cores[number % options.core_count]);
}

/* Takes what is still under way. What is lost shows only by its silence, and a relay on a busy
 * machine may be silent for long: that is waited for only if something is missing. */
static void collect_rest(struct worker *worker) {
    uint64_t now = now_nanoseconds(), last = now, end = now + drain_nanoseconds;
    for (; now < end; now = now_nanoseconds()) {
        uint64_t patience = worker->taken < worker->offered ? lost_nanoseconds : settled_nanoseconds;
        if (now - last >= patience) return;
        if (collect(worker, 1000000) > 0) last = now;
    }
}

static void *work(void *argument) {
    struct worker *worker = argument;
    pin(worker->number);
    /* Otherwise a wait of some microseconds takes 50 more (prctl(2)). */
    prctl(PR_SET_TIMERSLACK, 1);
    uint64_t progress = now_nanoseconds();
    while (!atomic_load_explicit(&is_over, memory_order_relaxed)) {
        bool is_busy = offer(worker);
        long wait = is_busy || options.spin ? 0 : options.pace == PACE_RATE ? 10000 : 1000000;
        uint64_t now = now_nanoseconds();
        if (collect(worker, wait) > 0) progress = now;
        if (options.pace == PACE_CLOSED && now > progress + stall_nanoseconds) {
            worker->forgiven = worker->offered - worker->taken;
            worker->outcome.stalls++;
            progress = now;
        }
    }
    collect_rest(worker);
    return NULL;
}

static void listen_to(struct worker *worker, uint32_t receiver, int descriptor) {
    struct epoll_event event = {.events = EPOLLIN, .data.u32 = receiver};
    if (epoll_ctl(worker->poll, EPOLL_CTL_ADD, descriptor, &event)) give_up(71, "epoll_ctl");
}

static void *allocate(size_t count, size_t size) {
    void *memory = calloc(count, size);
    if (!memory) give_up(71, "memory");
    return memory;
}

static void prepare_buffers(struct worker *worker) {
    int length = options.size ? options.size : 1472;
    worker->slot_bytes = options.coalesce ? 65536 : length + 64;
    worker->outgoing = allocate(BURST_LIMIT, (size_t)(length + CHANNEL_BYTES));
    worker->out = allocate(BURST_LIMIT, sizeof *worker->out);
    worker->out_parts = allocate(BURST_LIMIT, sizeof *worker->out_parts);
    for (int i = 0; i < BURST_LIMIT; i++)
        worker->out[i].msg_hdr =
            (struct msghdr){.msg_iov = &worker->out_parts[i], .msg_iovlen = 1};
    worker->incoming = allocate(RECEIVE_SLOTS, (size_t)worker->slot_bytes);
    worker->control = allocate(RECEIVE_SLOTS, CONTROL_BYTES);
    worker->names = allocate(RECEIVE_SLOTS, sizeof *worker->names);
    worker->in = allocate(RECEIVE_SLOTS, sizeof *worker->in);
    worker->in_parts = allocate(RECEIVE_SLOTS, sizeof *worker->in_parts);
    for (int i = 0; i < RECEIVE_SLOTS; i++) {
        worker->in_parts[i] = (struct iovec){
            worker->incoming + (size_t)i * (size_t)worker->slot_bytes, (size_t)worker->slot_bytes};
        worker->in[i].msg_hdr = (struct msghdr){
            .msg_iov = &worker->in_parts[i], .msg_iovlen = 1,
            .msg_control = worker->control + i * CONTROL_BYTES};
    }
}

/* Gives a worker every so many-th session; relayed and direct ones take turns. */
static void prepare(struct worker *worker, int number) {
    worker->number = number;
    if ((worker->poll = epoll_create1(EPOLL_CLOEXEC)) < 0) give_up(71, "epoll_create1");
    worker->senders = allocate((size_t)session_count * 2, sizeof *worker->senders);
    prepare_buffers(worker);
    if (sink >= 0 && number == 0) listen_to(worker, sink_receiver, sink);
    for (int i = number; i < options.sessions; i += options.threads)
        for (int session = i; session < session_count; session += options.sessions)
            for (int side = 0; side < 2; side++) {
                uint32_t peer = 2 * (uint32_t)session + (uint32_t)side;
                if (peers[peer].descriptor < 0) continue;
                listen_to(worker, peer, peers[peer].descriptor);
                if (side == 0 || options.duplex) worker->senders[worker->sender_count++] = peer;
            }
}

void start_workers(void) {
    for (int i = 0; i < options.threads; i++) prepare(&workers[i], i);
    start = now_nanoseconds();
    for (int i = 0; i < options.threads; i++)
        if ((errno = pthread_create(&workers[i].thread, NULL, work, &workers[i])))
            give_up(71, "pthread_create");
}

void join_workers(void) {
    for (int i = 0; i < options.threads; i++) pthread_join(workers[i].thread, NULL);
}
