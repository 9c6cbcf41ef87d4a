/* As much of TURN (RFC 8656) as it takes to send through a server that asks for no password: an
 * allocation, and a channel to one address. IPv4 only. */
#include "load.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <string.h>
#include <sys/random.h>

enum {
    ALLOCATE = 0x0003, CHANNEL_BIND = 0x0009, SUCCESS = 0x0100,
    CHANNEL_NUMBER = 0x000c, XOR_PEER_ADDRESS = 0x0012, REQUESTED_TRANSPORT = 0x0019,
    HEADER_BYTES = 20, CHANNEL = 0x4000, TRIES = 10, TRY_MILLISECONDS = 1000,
};
static const uint32_t cookie = 0x2112a442;

struct request {
    uint8_t bytes[64];
    int length;
};

static void put16(uint8_t *at, unsigned value) {
    at[0] = (uint8_t)(value >> 8);
    at[1] = (uint8_t)value;
}

static void put32(uint8_t *at, uint32_t value) {
    put16(at, value >> 16);
    put16(at + 2, value & 0xffff);
}

/* The header is type, length, cookie and 96 random bits (RFC 8489, section 5). */
static struct request begin(unsigned type) {
    struct request request = {.length = HEADER_BYTES};
    put16(request.bytes, type);
    put32(request.bytes + 4, cookie);
    if (getrandom(request.bytes + 8, 12, 0) != 12) give_up(71, "getrandom");
    return request;
}

/* Attributes here are all a multiple of four bytes, so none is padded. */
static void add(struct request *request, unsigned type, const uint8_t *value, int length) {
    uint8_t *at = request->bytes + request->length;
    put16(at, type);
    put16(at + 2, (unsigned)length);
    memcpy(at + 4, value, (size_t)length);
    request->length += 4 + length;
    put16(request->bytes + 2, (unsigned)(request->length - HEADER_BYTES));
}

static void perform(int descriptor, const struct request *request, const char *name) {
    uint8_t answer[2048];
    for (int try = 0; try < TRIES; try++) {
        if (send(descriptor, request->bytes, (size_t)request->length, 0) < 0
            && errno != ECONNREFUSED)
            give_up(71, "%s", name);
        struct pollfd poll_one = {.fd = descriptor, .events = POLLIN};
        if (poll(&poll_one, 1, TRY_MILLISECONDS) <= 0) continue;
        ssize_t got = recv(descriptor, answer, sizeof answer, 0);
        if (got < 0) poll(NULL, 0, TRY_MILLISECONDS / 10); /* refused: it does not listen yet */
        if (got < HEADER_BYTES || memcmp(answer + 4, request->bytes + 4, 16)) continue;
        unsigned type = (unsigned)answer[0] << 8 | answer[1];
        unsigned asked = (unsigned)request->bytes[0] << 8 | request->bytes[1];
        if (type == (asked | SUCCESS)) return;
        give_up(69, "the TURN server refused %s (%#x)", name, type);
    }
    give_up(69, "the TURN server did not answer %s in %d tries", name, TRIES);
}

void open_channel(struct peer *peer, const struct sockaddr *target) {
    if (target->sa_family != AF_INET) give_up(64, "--protocol turn is for IPv4 only");
    struct request allocate = begin(ALLOCATE);
    add(&allocate, REQUESTED_TRANSPORT, (const uint8_t[]){IPPROTO_UDP, 0, 0, 0}, 4);
    perform(peer->descriptor, &allocate, "an allocation");

    const struct sockaddr_in *v4 = (const void *)target;
    uint8_t number[4] = {CHANNEL >> 8, CHANNEL & 0xff}, address[8] = {0, 1};
    put16(address + 2, ntohs(v4->sin_port) ^ cookie >> 16);
    put32(address + 4, ntohl(v4->sin_addr.s_addr) ^ cookie);
    struct request bind = begin(CHANNEL_BIND);
    add(&bind, CHANNEL_NUMBER, number, 4);
    add(&bind, XOR_PEER_ADDRESS, address, 8);
    perform(peer->descriptor, &bind, "a channel");
    put16(peer->channel, CHANNEL);
}
