/* Tells how long datagrams wait in a relay, one after the other, while something else goes on.
 *
 *     pulse PORT [ADDRESS]
 *
 * Two peers of one session, at ADDRESS (127.0.0.1) and the one behind it, send each other one
 * datagram at a time through the relay at 127.0.0.1:PORT, and the next one as soon as the last has
 * come, or after 20 ms without it. Each line of standard input ends a phase, for which a line of
 * JSON is printed:
 *
 *     {"datagrams":N,"lost":N,"seconds":S,"p50_us":N,"p99_us":N,"p999_us":N,"longest_us":N,
 *      "silence_us":N}
 *
 * "lost" is what was sent in the phase and did not come in it, "silence" the longest time in which
 * nothing came. It ends with its input.
 */

#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>

enum {
    DATAGRAM_BYTES = 200,
    PATIENCE_MS = 20,
    /* Datagrams under way whose start is known: a relay may be gone for twenty seconds. */
    KEPT = 1024,
    REGISTER_EVERY_S = 1,
    /* Times are counted in steps of a microsecond up to 10 ms, and of a millisecond beyond. */
    FINE = 10000,
    COARSE = 120000,
};

static struct sockaddr_in relay;
static int peers[2];
static atomic_int wanted; /* how many phases were to end */
static atomic_bool is_over;
static uint32_t fine[FINE], coarse[COARSE];
static uint64_t sent, arrived, longest, silence;
static uint64_t starts[KEPT];

static _Noreturn void give_up(const char *what) {
    fprintf(stderr, "pulse: %s: %s\n", what, strerror(errno));
    exit(71);
}

static uint64_t now_us(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000 + (uint64_t)time.tv_nsec / 1000;
}

static void *listen_to_input(void *unused) {
    char line[256];
    while (fgets(line, sizeof line, stdin)) atomic_fetch_add(&wanted, 1);
    atomic_store(&is_over, true);
    return unused;
}

static int open_peer(uint32_t address) {
    int peer = socket(AF_INET, SOCK_DGRAM, 0);
    struct sockaddr_in here = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(address)};
    struct timeval patience = {0, PATIENCE_MS * 1000};
    if (peer < 0 || bind(peer, (void *)&here, sizeof here) < 0) give_up("bind");
    if (connect(peer, (void *)&relay, sizeof relay) < 0) give_up("connect");
    if (setsockopt(peer, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience) < 0)
        give_up("SO_RCVTIMEO");
    return peer;
}

/* An acknowledgement is passed over where datagrams are waited for. */
static void put_registration(int peer) {
    static const char line[] = "REG:ffffffff-0000-4000-8000-ffffffffffff\n";
    /* Where nobody listens the system says so of a former datagram. */
    (void)!send(peer, line, sizeof line - 1, 0);
}

static void count(uint64_t waited, uint64_t silent) {
    arrived++;
    if (silent > silence) silence = silent;
    if (waited > longest) longest = waited;
    if (waited < FINE) fine[waited]++;
    else coarse[waited / 1000 < COARSE ? waited / 1000 : COARSE - 1]++;
}

/* Takes datagrams until the one with this number has come, or none for a while; returns when the
 * last one came. */
static uint64_t await(int peer, uint64_t number, uint64_t last) {
    uint8_t bytes[2048];
    uint64_t patient_until = now_us() + PATIENCE_MS * 1000;
    do {
        ssize_t length = recv(peer, bytes, sizeof bytes, 0);
        if (length != DATAGRAM_BYTES) continue;
        uint64_t came = now_us(), found;
        memcpy(&found, bytes + 8, sizeof found);
        if (found + KEPT > number) count(came - starts[found % KEPT], came - last);
        last = came;
        if (found == number) return last;
    } while (now_us() < patient_until);
    return last;
}

static uint64_t percentile(double share) {
    uint64_t rest = (uint64_t)(share * (double)arrived);
    for (int step = 0; step < FINE; step++) {
        if (rest < fine[step]) return (uint64_t)step;
        rest -= fine[step];
    }
    for (int step = 0; step < COARSE; step++) {
        if (rest < coarse[step]) return (uint64_t)step * 1000;
        rest -= coarse[step];
    }
    return longest;
}

static void end_phase(double seconds) {
    /* Of what was sent before the phase something may come in it. */
    uint64_t lost = sent > arrived ? sent - arrived : 0;
    printf("{\"datagrams\":%llu,\"lost\":%llu,\"seconds\":%.3f,\"p50_us\":%llu,\"p99_us\":%llu,"
           "\"p999_us\":%llu,\"longest_us\":%llu,\"silence_us\":%llu}\n",
        (unsigned long long)arrived, (unsigned long long)lost, seconds,
        (unsigned long long)percentile(0.5), (unsigned long long)percentile(0.99),
        (unsigned long long)percentile(0.999), (unsigned long long)longest,
        (unsigned long long)silence);
    fflush(stdout);
    memset(fine, 0, sizeof fine);
    memset(coarse, 0, sizeof coarse);
    sent = arrived = longest = silence = 0;
}

int main(int argc, char **argv) {
    struct in_addr address = {htonl(INADDR_LOOPBACK)};
    if (argc < 2 || argc > 3 || (argc == 3 && inet_pton(AF_INET, argv[2], &address) != 1)) {
        fprintf(stderr, "usage: pulse PORT [ADDRESS]\n");
        return 64;
    }
    relay = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(argv[1])),
        .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    for (uint32_t number = 0; number < 2; number++)
        peers[number] = open_peer(ntohl(address.s_addr) + number);
    pthread_t listener;
    if (pthread_create(&listener, NULL, listen_to_input, NULL)) give_up("pthread_create");
    uint8_t bytes[DATAGRAM_BYTES] = {0x20};
    uint64_t registered = 0, begun = now_us(), last = begun;
    int phases = 0;
    for (uint64_t number = 1; !atomic_load(&is_over); number++) {
        uint64_t start = now_us();
        if (start - registered > REGISTER_EVERY_S * 1000000) {
            for (int peer = 0; peer < 2; peer++) put_registration(peers[peer]);
            registered = start;
        }
        memcpy(bytes + 8, &number, sizeof number);
        starts[number % KEPT] = now_us();
        sent++;
        /* Where nobody listens the system says so of a former datagram. */
        (void)!send(peers[number % 2], bytes, sizeof bytes, 0);
        last = await(peers[1 - number % 2], number, last);
        uint64_t end = now_us();
        if (end - last > silence) silence = end - last;
        if (phases != atomic_load(&wanted)) {
            phases++;
            end_phase((double)(end - begun) / 1e6);
            begun = end;
        }
    }
    return 0;
}
