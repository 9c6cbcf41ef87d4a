#include "load.h"

#include <string.h>

/* As little-endian bytes it begins with 0x43: a short header of QUIC, whose fixed bit is set. */
enum { MAGIC = 0x64616c43 };

/* What follows a stamp is a part of this, from a place that depends on flow and sequence number. A
 * datagram that arrives with another one's bytes does not fit. */
enum { PATTERN_STARTS = 4096 };
static uint8_t pattern[PATTERN_STARTS + SIZE_LIMIT];

/* What QUIC connections send: mostly full datagrams and short acknowledgements. All fit an MTU of
 * 1500 with IPv6. */
static const int mixed_lengths[16] = {
    1200, 1200, 48, 1200, 1452, 64, 1200, 700, 40, 1452, 1200, 96, 1350, 1200, 350, 1200};

void prepare_datagrams(void) {
    uint32_t state = 0x9e3779b9;
    for (size_t i = 0; i < sizeof pattern; i++) {
        state = state * 1664525u + 1013904223u;
        pattern[i] = (uint8_t)(state >> 24);
    }
}

static const uint8_t *filling(uint32_t flow, uint64_t sequence) {
    return pattern + (flow * 977u + sequence * 31u) % PATTERN_STARTS;
}

int datagram_length(uint32_t flow, uint64_t sequence) {
    return options.size ? options.size : mixed_lengths[(flow * 5 + sequence) % 16];
}

void write_datagram(uint8_t *bytes, struct stamp stamp) {
    stamp.magic = MAGIC;
    memcpy(bytes, &stamp, STAMP_BYTES);
    memcpy(bytes + STAMP_BYTES, filling(stamp.flow, stamp.sequence), stamp.length - STAMP_BYTES);
}

bool read_datagram(const uint8_t *bytes, int length, struct stamp *stamp) {
    if (length < STAMP_BYTES) return false;
    memcpy(stamp, bytes, STAMP_BYTES);
    return stamp->magic == MAGIC && stamp->length == (uint32_t)length
        && stamp->flow < 2 * (uint32_t)session_count
        && !memcmp(bytes + STAMP_BYTES, filling(stamp->flow, stamp->sequence),
                   (size_t)length - STAMP_BYTES);
}

bool note_arrival(struct arrivals *arrivals, uint64_t sequence, struct outcome *outcome) {
    if (sequence >= arrivals->next) {
        uint64_t step = sequence + 1 - arrivals->next;
        arrivals->recent = step < 64 ? arrivals->recent << step | 1 : 1;
        arrivals->next = sequence + 1;
        return true;
    }
    uint64_t age = arrivals->next - 1 - sequence;
    if (age < 64 && (arrivals->recent >> age & 1)) {
        outcome->duplicated++;
        return false;
    }
    if (age < 64) arrivals->recent |= 1ull << age;
    outcome->reordered++;
    return true;
}
