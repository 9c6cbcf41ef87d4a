/* loop - the plainest relay that one can write in C: receive a datagram, look its source up, send it.
 *
 * What relays are compared with, not a relay to use: no limits, no expiry, no validation. It speaks
 * REG as quic-relay does, on one address: loop ADDRESS PORT. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

enum { PLACES = 1 << 18, ID_BYTES = 36, LINE_BYTES = ID_BYTES + 5, BUFFER_BYTES = 8 << 20 };

/* An address as the socket has it: of one family, so its bytes can be compared. */
struct place {
    union { struct sockaddr_in v4; struct sockaddr_in6 v6; } source, partner;
    int is_taken, is_paired;
};
struct session { char id[ID_BYTES]; struct place *first; };

static struct place places[PLACES];
static struct session sessions[PLACES];
static socklen_t address_bytes;

static uint64_t mix(const void *bytes, size_t count) {
    uint64_t hash = 0, word;
    for (size_t i = 0; i < count; i += 4) {
        uint32_t part;
        memcpy(&part, (const char *)bytes + i, 4);
        word = hash ^ part;
        hash = (word ^ word >> 29) * 0xbf58476d1ce4e5b9u;
    }
    return hash ^ hash >> 32;
}

/* The place of a source: its own, or a free one if it has none. Open addressing; never full. */
static struct place *place(const void *source) {
    uint64_t at = mix(source, address_bytes);
    while (places[at % PLACES].is_taken
           && memcmp(&places[at % PLACES].source, source, address_bytes)) at++;
    return &places[at % PLACES];
}

static struct session *session(const char *id) {
    uint64_t at = mix(id, ID_BYTES);
    while (sessions[at % PLACES].first && memcmp(sessions[at % PLACES].id, id, ID_BYTES)) at++;
    return &sessions[at % PLACES];
}

static void join(const char *id, const void *source) {
    struct place *own = place(source);
    struct session *joined = session(id);
    if (!own->is_taken) memcpy(&own->source, source, address_bytes);
    own->is_taken = 1;
    if (!joined->first) {
        memcpy(joined->id, id, ID_BYTES);
        joined->first = own;
    } else if (joined->first != own) {
        own->partner = joined->first->source;
        joined->first->partner = own->source;
        own->is_paired = joined->first->is_paired = 1;
    }
}

static int open_socket(const char *address, const char *port) {
    struct sockaddr_in v4 = {.sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port))};
    struct sockaddr_in6 v6 = {.sin6_family = AF_INET6, .sin6_port = v4.sin_port};
    int is_v4 = inet_pton(AF_INET, address, &v4.sin_addr) == 1, bytes = BUFFER_BYTES;
    if (!is_v4 && inet_pton(AF_INET6, address, &v6.sin6_addr) != 1) {
        fprintf(stderr, "loop: %s is not an IP address\n", address);
        exit(64);
    }
    address_bytes = is_v4 ? sizeof v4 : sizeof v6;
    int descriptor = socket(is_v4 ? AF_INET : AF_INET6, SOCK_DGRAM, 0);
    if (setsockopt(descriptor, SOL_SOCKET, SO_RCVBUFFORCE, &bytes, sizeof bytes))
        setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &bytes, sizeof bytes);
    if (bind(descriptor, is_v4 ? (void *)&v4 : (void *)&v6, address_bytes)) {
        perror("loop: bind");
        exit(69);
    }
    return descriptor;
}

int main(int argc, char **argv) {
    static char buffer[65536];
    if (argc != 3) {
        fputs("usage: loop ADDRESS PORT\n", stderr);
        return 64;
    }
    int descriptor = open_socket(argv[1], argv[2]);
    for (;;) {
        struct sockaddr_in6 source;
        socklen_t length = sizeof source;
        ssize_t count = recvfrom(descriptor, buffer, sizeof buffer, 0, (void *)&source, &length);
        if (count < 0) continue; /* a datagram of ours was refused; the next may not be */
        if (count == LINE_BYTES && !memcmp(buffer, "REG:", 4) && buffer[LINE_BYTES - 1] == '\n') {
            join(buffer + 4, &source);
            sendto(descriptor, "ACK\n", 4, 0, (void *)&source, length);
            continue;
        }
        struct place *own = place(&source);
        if (own->is_paired)
            sendto(descriptor, buffer, (size_t)count, 0, (void *)&own->partner, address_bytes);
    }
}
