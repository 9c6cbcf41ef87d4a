/* Fills a relay on loopback with sessions, each of two peers at addresses of their own.
 *
 *     crowd PORT SESSIONS [WINDOW]
 *
 * One socket is bound to a port of all addresses, and each peer sends from its own one of
 * 127.0.0.0/8 (ipi_spec_dst, ip(7)): two million peers need no two million descriptors. Every peer
 * registers; then the two of each session shake hands as QUIC version 1 does and send a 1-RTT
 * packet each, so that the relay sees of them all that it can. No more than WINDOW datagrams (512)
 * are under way at once; what did not arrive is sent again.
 *
 * Prints a line for each phase: datagrams, seconds, datagrams a second, and what was sent again.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

enum {
    SESSION_LIMIT = 4000000,
    BATCH = 64,
    DATAGRAM_BYTES = 400, /* of a datagram that is no registration */
    SILENCE_MS = 200,     /* after which what is under way counts as lost */
    ROUND_LIMIT = 100,
};

/* The first peer's address, 127.1.0.1, as a number. */
static const uint32_t FIRST_ADDRESS = 0x7f010001;

struct message {
    struct iovec part;
    struct sockaddr_in address;
    _Alignas(struct cmsghdr) char control[CMSG_SPACE(sizeof(struct in_pktinfo))];
    uint8_t bytes[2048];
};

/* What a session has had of the datagrams of a phase, by who received them. */
enum { SEEN_A = 1, SEEN_B = 2 };

static int descriptor;
static struct sockaddr_in relay;
static struct mmsghdr headers[BATCH];
static struct message outgoing[BATCH], incoming[BATCH];
static uint8_t *seen;
static long sessions, window;

static _Noreturn void give_up(const char *what) {
    fprintf(stderr, "crowd: %s: %s\n", what, strerror(errno));
    exit(71);
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

static void put(int slot, long peer, const uint8_t *bytes, size_t length) {
    struct message *message = &outgoing[slot];
    memcpy(message->bytes, bytes, length);
    message->part = (struct iovec){message->bytes, length};
    struct msghdr *header = &headers[slot].msg_hdr;
    *header = (struct msghdr){.msg_name = &relay, .msg_namelen = sizeof relay,
        .msg_iov = &message->part, .msg_iovlen = 1, .msg_control = message->control,
        .msg_controllen = sizeof message->control};
    struct cmsghdr *control = CMSG_FIRSTHDR(header);
    control->cmsg_level = IPPROTO_IP;
    control->cmsg_type = IP_PKTINFO;
    control->cmsg_len = CMSG_LEN(sizeof(struct in_pktinfo));
    struct in_pktinfo info = {
        .ipi_spec_dst.s_addr = htonl(FIRST_ADDRESS + (uint32_t)peer)};
    memcpy(CMSG_DATA(control), &info, sizeof info);
}

static void flush(int count) {
    for (int sent = 0; sent < count;) {
        int done = sendmmsg(descriptor, headers + sent, (unsigned)(count - sent), 0);
        if (done < 0) give_up("sendmmsg");
        sent += done;
    }
}

/* Takes what has come, and notes whose it was; waits for the first if asked to. */
static long take(int wait_ms) {
    if (wait_ms > 0) {
        struct pollfd wanted = {descriptor, POLLIN, 0};
        if (poll(&wanted, 1, wait_ms) <= 0) return 0;
    }
    long news = 0;
    for (;;) {
        struct mmsghdr slots[BATCH];
        for (int slot = 0; slot < BATCH; slot++) {
            struct message *message = &incoming[slot];
            message->part = (struct iovec){message->bytes, sizeof message->bytes};
            slots[slot].msg_hdr = (struct msghdr){.msg_iov = &message->part, .msg_iovlen = 1,
                .msg_control = message->control, .msg_controllen = sizeof message->control};
        }
        int count = recvmmsg(descriptor, slots, BATCH, MSG_DONTWAIT, NULL);
        if (count < 0 && errno != EAGAIN) give_up("recvmmsg");
        if (count <= 0) return news;
        for (int slot = 0; slot < count; slot++) {
            struct cmsghdr *control = CMSG_FIRSTHDR(&slots[slot].msg_hdr);
            if (!control || control->cmsg_type != IP_PKTINFO) continue;
            struct in_pktinfo info;
            memcpy(&info, CMSG_DATA(control), sizeof info);
            long peer = (long)ntohl(info.ipi_addr.s_addr) - FIRST_ADDRESS;
            if (peer < 0 || peer >= 2 * sessions) continue;
            uint8_t bit = peer & 1 ? SEEN_B : SEEN_A;
            if (!(seen[peer / 2] & bit)) news++;
            seen[peer / 2] |= bit;
        }
    }
}

static size_t registration(uint8_t *bytes, long session) {
    return (size_t)sprintf((char *)bytes, "REG:00000000-0000-4000-8000-%012lx\n", session);
}

static uint64_t next_random(void) {
    static uint64_t state = 1;
    uint64_t word = state += 0x9e3779b97f4a7c15;
    word = (word ^ word >> 30) * 0xbf58476d1ce4e5b9;
    word = (word ^ word >> 27) * 0x94d049bb133111eb;
    return word ^ word >> 31;
}

static void fill(uint8_t *bytes, size_t from) {
    for (size_t place = from; place < DATAGRAM_BYTES; place++) bytes[place] = (uint8_t)next_random();
}

static void put_id(uint8_t *bytes, long peer) {
    uint64_t id = (uint64_t)(peer + 1) * 0x9e3779b97f4a7c15;
    memcpy(bytes, &id, sizeof id);
}

/* An Initial (type 0) or Handshake (type 2) packet (RFC 9000, section 17.2) between two peers. */
static size_t long_packet(uint8_t *bytes, int type, long to, long from) {
    size_t length = 0;
    bytes[length++] = (uint8_t)(0xc0 | type << 4);
    memcpy(bytes + length, "\0\0\0\1", 4), length += 4;
    bytes[length++] = 8, put_id(bytes + length, to), length += 8;
    bytes[length++] = 8, put_id(bytes + length, from), length += 8;
    if (type == 0) bytes[length++] = 0; /* no token */
    size_t rest = DATAGRAM_BYTES - length - 2;
    bytes[length++] = (uint8_t)(0x40 | rest >> 8), bytes[length++] = (uint8_t)rest;
    fill(bytes, length);
    return DATAGRAM_BYTES;
}

static size_t short_packet(uint8_t *bytes, long to) {
    bytes[0] = (uint8_t)(0x40 | (next_random() & 0x1f));
    put_id(bytes + 1, to);
    fill(bytes, 9);
    return DATAGRAM_BYTES;
}

/* The datagram that a phase has a peer send; `step` 0 to 3 are those of the handshake. */
static size_t datagram(uint8_t *bytes, int step, long peer) {
    long partner = peer ^ 1;
    switch (step) {
    case 0: return registration(bytes, peer / 2);
    /* The client's first Initial is for an ID that it drew: nobody's. */
    case 1: return long_packet(bytes, 0, peer & 1 ? partner : -2 - peer, peer);
    case 2: return long_packet(bytes, 2, partner, peer);
    default: return short_packet(bytes, partner);
    }
}

/* Has one side of every session, or both, send the datagram of a step, and waits until all came:
 * an acknowledgement to who registered, everything else to the partner. */
static void run(const char *name, int step, bool from_a, bool from_b) {
    double start = now();
    long missing = sessions * (from_a + from_b), again = 0, sent = 0;
    memset(seen, 0, (size_t)sessions);
    for (int round = 0; missing > 0; round++) {
        if (round == ROUND_LIMIT) {
            fprintf(stderr, "crowd: %s: %ld datagrams never came\n", name, missing);
            exit(1);
        }
        long under_way = 0;
        int slot = 0;
        for (long peer = 0; peer < 2 * sessions; peer++) {
            if (!(peer & 1 ? from_b : from_a)) continue;
            long receiver = step == 0 ? peer : peer ^ 1;
            if (seen[receiver / 2] & (receiver & 1 ? SEEN_B : SEEN_A)) continue;
            uint8_t bytes[DATAGRAM_BYTES];
            put(slot++, peer, bytes, datagram(bytes, step, peer));
            if (slot < BATCH) continue;
            flush(slot);
            sent += slot, under_way += slot, slot = 0;
            long came = take(0);
            missing -= came, under_way -= came;
            while (under_way >= window) {
                came = take(SILENCE_MS);
                if (came == 0) under_way = 0; /* lost */
                missing -= came, under_way -= came;
            }
        }
        flush(slot);
        sent += slot;
        for (long came; missing > 0 && (came = take(SILENCE_MS)) > 0;) missing -= came;
    }
    again = sent - sessions * (from_a + from_b);
    double spent = now() - start;
    printf("%s: %ld datagrams in %.2f s, %.0f a second, %ld again\n", name, sent, spent,
        (double)sent / spent, again);
    fflush(stdout);
}

int main(int argc, char **argv) {
    if (argc < 3 || argc > 4) {
        fprintf(stderr, "usage: crowd PORT SESSIONS [WINDOW]\n");
        return 64;
    }
    sessions = atol(argv[2]);
    window = argc > 3 ? atol(argv[3]) : 512;
    if (sessions < 1 || sessions > SESSION_LIMIT || window < BATCH) {
        fprintf(stderr, "crowd: 1 to %d sessions, a window of %d or more\n", SESSION_LIMIT, BATCH);
        return 64;
    }
    relay = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    seen = calloc((size_t)sessions, 1);
    descriptor = socket(AF_INET, SOCK_DGRAM, 0);
    if (!seen || descriptor < 0) give_up("socket");
    int on = 1, bytes = 8 << 20;
    struct sockaddr_in any = {.sin_family = AF_INET};
    if (setsockopt(descriptor, IPPROTO_IP, IP_PKTINFO, &on, sizeof on) < 0) give_up("IP_PKTINFO");
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes);
    if (bind(descriptor, (void *)&any, sizeof any) < 0) give_up("bind");
    run("register", 0, true, true);
    run("client's Initial", 1, true, false);
    run("server's Initial", 1, false, true);
    run("server's Handshake", 2, false, true);
    run("client's Handshake", 2, true, false);
    run("1-RTT", 3, true, true);
    return 0;
}
