/* What the kernel lets the relay's socket have while more comes than the relay can read
 * (Documentation/decisions/0021-overload-filter.md).
 *
 * A socket filter (SO_ATTACH_BPF, socket(7); bpf-helpers(7)): it runs for each datagram, or train of them, before
 * that is queued, on the processor that received it. Peers of established sessions and strangers, whatever comes
 * from other addresses, have limits of their own, each a moment at which a token bucket will be full again, as in
 * RelayCore/TokenBucket.swift. The clock is CLOCK_MONOTONIC, the relay's own.
 *
 * `generate` compiles this into admission_filter.h, which is kept in the tree: building the relay needs no compiler
 * for BPF. It includes nothing, so that it compiles wherever clang is. */

typedef unsigned char u8;
typedef unsigned short u16;
typedef unsigned int u32;
typedef unsigned long long u64;

/* The beginning of struct __sk_buff, linux/bpf.h: part of the kernel's interface for programs. */
struct delivery {
    u32 length;
    u32 unused_1[40];
    u32 segment_count;
};

/* bpf-helpers(7), by their numbers in linux/bpf.h. */
static void *(*const find)(void *map, const void *key) = (void *)1;
static long (*const store)(void *map, const void *key, const void *value, u64 flags) = (void *)2;
static u64 (*const monotonic_time)(void) = (void *)5;
static long (*const load)(const void *delivery, u32 offset, void *to, u32 length) = (void *)26;
static long (*const load_relative)(
    const void *delivery, u32 offset, void *to, u32 length, u32 start) = (void *)68;
enum { from_network_header = 1 };

/* Laid out as struct clinux_admission_limits in CLinux.h says. */
extern struct {
    u64 peer_price, peer_room;
    u64 prefix_price, prefix_room;
    u64 stranger_price, stranger_room;
    u64 strangers_full_at;
    u64 stranger_datagrams, stranger_deliveries;
    u64 peer_datagrams, peer_deliveries;
} limits;
/* By transport address, when its bucket will be full. */
extern char peers;
/* By IPv4 /24 or IPv6 /48, likewise; the kernel forgets the one not seen for longest. */
extern char prefixes;

struct transport_address {
    u8 ip[16];
    u16 port;
    u16 unused;
};

enum { discard = 0, keep = -1 };

/* What a delivery costs beside its bytes, in bytes: reading it. */
enum { delivery_bytes = 1024 };

/* Takes `time` from a bucket that may lie `room` ahead, if it holds as much. */
static __attribute__((always_inline)) int take(u64 *full_at, u64 now, u64 time, u64 room) {
    u64 from = *full_at > now ? *full_at : now;
    if (from + time - now > room) {
        return 0;
    }
    *full_at = from + time;
    return 1;
}

static __attribute__((always_inline)) void count(u64 *datagrams, u64 *deliveries, u64 number) {
    __sync_fetch_and_add(datagrams, number);
    __sync_fetch_and_add(deliveries, 1);
}

int filter(struct delivery *delivery) {
    struct transport_address source = { .ip = { [10] = 0xff, [11] = 0xff } };
    u64 prefix = 0;
    u8 version = 0;
    load_relative(delivery, 0, &version, 1, from_network_header);
    if (version >> 4 == 4) {
        load_relative(delivery, 12, &source.ip[12], 4, from_network_header);
        /* No IPv6 prefix begins so: 0000::/8 is not given out. */
        prefix = source.ip[12] | source.ip[13] << 8 | source.ip[14] << 16;
        prefix <<= 32;
    } else {
        load_relative(delivery, 8, source.ip, 16, from_network_header);
        load_relative(delivery, 8, &prefix, 6, from_network_header);
    }
    load(delivery, 0, &source.port, 2);
    u64 datagrams = delivery->segment_count > 1 ? delivery->segment_count : 1;
    u64 now = monotonic_time();

    u64 *peer = find(&peers, &source);
    if (peer) {
        /* A price is in nanoseconds for 1,024 bytes. */
        u64 time = (delivery->length + delivery_bytes) * limits.peer_price >> 10;
        if (limits.peer_price == 0 || take(peer, now, time, limits.peer_room)) {
            return keep;
        }
        count(&limits.peer_datagrams, &limits.peer_deliveries, datagrams);
        return discard;
    }

    if (limits.stranger_price == 0) {
        return keep;
    }
    u64 *own = find(&prefixes, &prefix);
    int is_kept = 1;
    if (own) {
        is_kept = take(own, now, datagrams * limits.prefix_price, limits.prefix_room);
    } else {
        u64 full_at = now + datagrams * limits.prefix_price;
        store(&prefixes, &prefix, &full_at, 0);
    }
    if (is_kept
        && take(&limits.strangers_full_at, now, datagrams * limits.stranger_price, limits.stranger_room)) {
        return keep;
    }
    count(&limits.stranger_datagrams, &limits.stranger_deliveries, datagrams);
    return discard;
}
