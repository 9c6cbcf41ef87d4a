#define _GNU_SOURCE
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/udp.h>
#include <poll.h>
#include <sched.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <unistd.h>

struct peer *peers;
int session_count, sink = -1;

/* How long a registration or first datagram is tried, as the relay may just have been started; how
 * long each time; and how soon again where nobody listens. */
enum { SETUP_SECONDS = 10, TRY_MILLISECONDS = 500, REFUSED_MILLISECONDS = 20 };
/* As much as a window of full datagrams takes, with what the kernel adds to each. */
enum { BUFFER_BYTES = 8 << 20 };

static void enter_namespace(const char *name) {
    char path[256];
    if (name) snprintf(path, sizeof path, "/run/netns/%s", name);
    static int home = -1;
    if (home < 0 && (home = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC)) < 0)
        give_up(71, "/proc/self/ns/net");
    int namespace = name ? open(path, O_RDONLY | O_CLOEXEC) : dup(home);
    if (namespace < 0 || setns(namespace, CLONE_NEWNET))
        give_up(71, "network namespace %s", name ? name : "at the start");
    close(namespace);
}

static void set(int descriptor, int level, int option, int value, const char *name) {
    if (setsockopt(descriptor, level, option, &value, sizeof value)) give_up(71, "%s", name);
}

static int open_socket(const struct address *here, sa_family_t family) {
    int descriptor = socket(family, SOCK_DGRAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (descriptor < 0) give_up(71, "socket");
    int bytes = BUFFER_BYTES;
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        set(descriptor, SOL_SOCKET, SO_RCVBUF, bytes, "SO_RCVBUF");
    if (setsockopt(descriptor, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof bytes))
        set(descriptor, SOL_SOCKET, SO_SNDBUF, bytes, "SO_SNDBUF");
    if (options.coalesce) set(descriptor, SOL_UDP, UDP_GRO, 1, "UDP_GRO");
    if (here->length && bind(descriptor, (const void *)&here->storage, here->length))
        give_up(71, "bind");
    return descriptor;
}

static int open_connected(const struct address *here, const struct address *there) {
    int descriptor = open_socket(here, there->storage.ss_family);
    if (connect(descriptor, (const void *)&there->storage, there->length)) give_up(71, "connect");
    return descriptor;
}

/* GSO by the socket: every send is cut into datagrams of this length. Only for traffic, since what
 * sets a session up may be longer. */
static void set_trains(struct peer *peer, int prefix) {
    if (options.train > 1)
        set(peer->descriptor, SOL_UDP, UDP_SEGMENT, options.size + prefix, "UDP_SEGMENT");
}

/* Two sockets that speak to each other, in the peers' own namespaces. */
static void open_direct(int session) {
    struct address a_bind = options.a, b_bind = options.b, a, b;
    sa_family_t family = options.relay.storage.ss_family;
    if (!a_bind.length || !b_bind.length) {
        /* Loopback: both where the relay is. */
        a_bind = b_bind = options.relay;
    }
    if (b_bind.storage.ss_family != family) give_up(64, "--beside needs one family");
    struct address *binds[2] = {&a_bind, &b_bind}, *results[2] = {&a, &b};
    const char *namespaces[2] = {options.namespace_a, options.namespace_b};
    for (int side = 0; side < 2; side++) {
        /* The port is at the same place in both families' addresses. */
        ((struct sockaddr_in *)&binds[side]->storage)->sin_port = 0;
        enter_namespace(namespaces[side]);
        peers[2 * session + side].descriptor = open_socket(binds[side], family);
        peers[2 * session + side].is_direct = true;
        results[side]->length = sizeof results[side]->storage;
        if (getsockname(peers[2 * session + side].descriptor, (void *)&results[side]->storage,
                        &results[side]->length))
            give_up(71, "getsockname");
    }
    enter_namespace(NULL);
    if (connect(peers[2 * session].descriptor, (void *)&b.storage, b.length)
        || connect(peers[2 * session + 1].descriptor, (void *)&a.storage, a.length))
        give_up(71, "connect");
}

bool acknowledge(const uint8_t *bytes, int length, const void *source, socklen_t source_bytes) {
    if (length < 4 || memcmp(bytes, "REG:", 4)) return false;
    sendto(sink, "ACK\n", 4, 0, source, source_bytes);
    return true;
}

/* Waits for a datagram and reads it; its length, or -1 if none came in time. */
static int await_datagram(int descriptor, uint8_t *bytes, int limit) {
    struct pollfd poll_one = {.fd = descriptor, .events = POLLIN};
    if (poll(&poll_one, 1, TRY_MILLISECONDS) <= 0) return -1;
    struct sockaddr_storage source;
    socklen_t source_bytes = sizeof source;
    int got = (int)recvfrom(descriptor, bytes, (size_t)limit, 0, (void *)&source, &source_bytes);
    if (got < 0) poll(NULL, 0, REFUSED_MILLISECONDS);
    if (descriptor == sink) acknowledge(bytes, got, &source, source_bytes);
    return got;
}

static void register_peer(int descriptor, const char *line, int length) {
    uint8_t answer[2048];
    uint64_t end = now_nanoseconds() + SETUP_SECONDS * 1000000000ull;
    while (now_nanoseconds() < end) {
        if (send(descriptor, line, (size_t)length, 0) != length && errno != ECONNREFUSED)
            give_up(71, "registering");
        int got = await_datagram(descriptor, answer, sizeof answer);
        if (got == 4 && !memcmp(answer, "ACK\n", 4)) return;
    }
    give_up(69, "the relay did not acknowledge a registration in %d s", SETUP_SECONDS);
}

/* Sends a datagram until it arrives: then the relay forwards in this direction. */
static void greet(uint32_t flow, int from, int to) {
    uint8_t datagram[CHANNEL_BYTES + STAMP_BYTES], answer[2048];
    int prefix = options.protocol == PROTOCOL_TURN ? CHANNEL_BYTES : 0;
    struct stamp stamp = {.flow = flow, .length = STAMP_BYTES};
    memcpy(datagram, peers[flow].channel, (size_t)prefix);
    if (prefix) datagram[3] = STAMP_BYTES;
    write_datagram(datagram + prefix, stamp);
    uint64_t end = now_nanoseconds() + SETUP_SECONDS * 1000000000ull;
    while (now_nanoseconds() < end) {
        ssize_t sent = send(from, datagram, (size_t)(prefix + STAMP_BYTES), 0);
        if (sent < 0 && errno != ECONNREFUSED) give_up(71, "the first datagram");
        for (int got; (got = await_datagram(to, answer, sizeof answer)) >= 0;)
            if (read_datagram(answer, got, &stamp) && stamp.flow == flow) return;
    }
    give_up(69, "the relay did not forward a first datagram in %d s", SETUP_SECONDS);
}

static void join_session(int session) {
    struct peer *a = &peers[2 * session], *b = a + 1;
    if (options.protocol == PROTOCOL_TURN)
        open_channel(a, (const struct sockaddr *)&options.b.storage);
    if (options.protocol != PROTOCOL_REGISTER) {
        greet(2 * (uint32_t)session, a->descriptor, sink);
        set_trains(a, options.protocol == PROTOCOL_TURN ? CHANNEL_BYTES : 0);
        return;
    }
    uint64_t random[2];
    if (getrandom(random, sizeof random, 0) != sizeof random) give_up(71, "getrandom");
    char line[64];
    int length = snprintf(line, sizeof line, "REG:%08x-%04x-%04x-%04x-%012llx\n",
                          (unsigned)(random[0] >> 32), (unsigned)(random[0] >> 16 & 0xffff),
                          (unsigned)(random[0] & 0xffff), (unsigned)(random[1] >> 48),
                          (unsigned long long)(random[1] & 0xffffffffffff));
    register_peer(a->descriptor, line, length);
    register_peer(b->descriptor, line, length);
    /* Each shows that it receives: from then on the relay limits nothing. */
    greet(2 * (uint32_t)session, a->descriptor, b->descriptor);
    greet(2 * (uint32_t)session + 1, b->descriptor, a->descriptor);
    greet(2 * (uint32_t)session, a->descriptor, b->descriptor);
    set_trains(a, 0);
    set_trains(b, 0);
}

static void raise_file_limit(rlim_t needed) {
    struct rlimit files;
    if (getrlimit(RLIMIT_NOFILE, &files)) give_up(71, "RLIMIT_NOFILE");
    if (files.rlim_cur >= needed) return;
    /* root may go beyond the hard limit. */
    files = (struct rlimit){needed, files.rlim_max > needed ? files.rlim_max : needed};
    if (setrlimit(RLIMIT_NOFILE, &files))
        give_up(71, "--sessions %d needs %lu open files", options.sessions, (unsigned long)needed);
}

void open_sessions(void) {
    session_count = options.beside ? 2 * options.sessions : options.sessions;
    raise_file_limit((rlim_t)session_count * 2 + 100);
    peers = calloc((size_t)session_count * 2, sizeof *peers);
    if (!peers) give_up(71, "peers");
    enter_namespace(options.namespace_a);
    for (int i = 0; i < options.sessions; i++)
        peers[2 * i].descriptor = open_connected(&options.a, &options.relay);
    enter_namespace(options.namespace_b);
    if (options.protocol != PROTOCOL_REGISTER)
        sink = open_socket(&options.b, options.b.storage.ss_family);
    for (int i = 0; i < options.sessions; i++)
        peers[2 * i + 1].descriptor =
            sink < 0 ? open_connected(&options.b, &options.relay_b) : -1;
    enter_namespace(NULL);
    for (int i = 0; i < options.sessions; i++) join_session(i);
    for (int i = options.sessions; i < session_count; i++) {
        open_direct(i);
        set_trains(&peers[2 * i], 0);
        set_trains(&peers[2 * i + 1], 0);
    }
}
