#define _GNU_SOURCE
#include "CLinux.h"

#include <errno.h>
#include <linux/bpf.h>
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

enum { admission_map_limits, admission_map_peers, admission_map_prefixes };
#include "admission_filter.h"

enum { instruction_count = sizeof admission_program / sizeof *admission_program };

_Static_assert(sizeof(struct bpf_insn) == sizeof(uint64_t), "bpf_insn");
_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "the program was compiled for little-endian processors");
_Static_assert(offsetof(struct __sk_buff, gso_segs) == 41 * sizeof(uint32_t), "see admission.bpf.c");
_Static_assert(sizeof(struct clinux_admission_peer) == 20, "see admission.bpf.c");

static int bpf(int command, union bpf_attr *attributes) {
    return (int)syscall(SYS_bpf, command, attributes, sizeof *attributes);
}

static int create_map(uint32_t type, uint32_t key, uint32_t value, uint32_t limit, uint32_t flags) {
    union bpf_attr attributes = {
        .map_type = type, .key_size = key, .value_size = value, .max_entries = limit, .map_flags = flags,
    };
    return bpf(BPF_MAP_CREATE, &attributes);
}

/* The kernel gives up checking a program when a signal waits, a stop for example, and says EAGAIN. The
 * signal is taken before the next try, so that each takes another one. */
enum { load_tries = 10 };

/* Loads the program with the numbers of these maps in it. */
static int load_program(struct clinux_admission admission) {
    const int maps[] = {
        [admission_map_limits] = admission.limits_map,
        [admission_map_peers] = admission.peers_map,
        [admission_map_prefixes] = admission.prefixes_map,
    };
    struct bpf_insn program[instruction_count];
    memcpy(program, admission_program, sizeof program);
    for (size_t index = 0; index < sizeof admission_maps / sizeof *admission_maps; index++) {
        struct bpf_insn *load = &program[admission_maps[index].instruction];
        if (admission_maps[index].map == admission_map_limits) {
            /* The address of its only value, and how far beyond that. */
            load[0].src_reg = BPF_PSEUDO_MAP_VALUE;
            load[1].imm = load[0].imm;
        } else {
            load[0].src_reg = BPF_PSEUDO_MAP_FD;
        }
        load[0].imm = maps[admission_maps[index].map];
    }
    union bpf_attr attributes = {
        .prog_type = BPF_PROG_TYPE_SOCKET_FILTER,
        .insns = (uintptr_t)program,
        .insn_cnt = instruction_count,
        .license = (uintptr_t) "Apache-2.0",
        .prog_name = "relay_admission",
    };
    int file = -1;
    for (int tries = 0; file < 0 && tries < load_tries; tries++) {
        file = bpf(BPF_PROG_LOAD, &attributes);
        if (file < 0 && errno != EAGAIN) break;
    }
    return file;
}

int clinux_open_admission(struct clinux_admission *admission, uint32_t peer_limit, uint32_t prefix_limit) {
    *admission = (struct clinux_admission){ -1, -1, -1, -1, NULL };
    admission->limits_map = create_map(
        BPF_MAP_TYPE_ARRAY, sizeof(uint32_t), sizeof(struct clinux_admission_limits), 1, BPF_F_MMAPABLE);
    if (admission->limits_map < 0) {
        return -1;
    }
    /* Without memory set aside: no more peers are told than there are. */
    admission->peers_map = create_map(BPF_MAP_TYPE_HASH, sizeof(struct clinux_admission_peer), sizeof(uint64_t),
        peer_limit, BPF_F_NO_PREALLOC);
    admission->prefixes_map = create_map(
        BPF_MAP_TYPE_LRU_HASH, sizeof(uint64_t), sizeof(uint64_t), prefix_limit, 0);
    void *memory = mmap(NULL, sizeof(struct clinux_admission_limits), PROT_READ | PROT_WRITE, MAP_SHARED,
        admission->limits_map, 0);
    admission->limits = memory == MAP_FAILED ? NULL : memory;
    if (admission->peers_map >= 0 && admission->prefixes_map >= 0 && admission->limits != NULL) {
        admission->program = load_program(*admission);
    }
    if (admission->program < 0) {
        int error = errno;
        clinux_close_admission(admission);
        errno = error;
        return -1;
    }
    return 0;
}

void clinux_close_admission(struct clinux_admission *admission) {
    if (admission->limits != NULL) {
        munmap(admission->limits, sizeof *admission->limits);
    }
    const int files[] = {
        admission->limits_map, admission->peers_map, admission->prefixes_map, admission->program,
    };
    for (size_t index = 0; index < sizeof files / sizeof *files; index++) {
        if (files[index] >= 0) {
            close(files[index]);
        }
    }
    *admission = (struct clinux_admission){ -1, -1, -1, -1, NULL };
}

/* The program reads these words while we write them, each by itself: whatever it finds for a datagram or
 * two is a limit that was in force before or is from now on. */
static void put(uint64_t *word, uint64_t value) {
    __atomic_store_n(word, value, __ATOMIC_RELAXED);
}

static uint64_t get(const uint64_t *word) {
    return __atomic_load_n(word, __ATOMIC_RELAXED);
}

void clinux_limit_admission(
    struct clinux_admission admission, struct clinux_admission_limits limits) {
    struct clinux_admission_limits *shared = admission.limits;
    put(&shared->peer_room, limits.peer_room);
    put(&shared->peer_price, limits.peer_price);
    put(&shared->prefix_room, limits.prefix_room);
    put(&shared->prefix_price, limits.prefix_price);
    put(&shared->stranger_room, limits.stranger_room);
    put(&shared->stranger_price, limits.stranger_price);
}

struct clinux_admission_limits clinux_admission_limits(struct clinux_admission admission) {
    const struct clinux_admission_limits *shared = admission.limits;
    return (struct clinux_admission_limits){
        .peer_price = get(&shared->peer_price),
        .peer_room = get(&shared->peer_room),
        .prefix_price = get(&shared->prefix_price),
        .prefix_room = get(&shared->prefix_room),
        .stranger_price = get(&shared->stranger_price),
        .stranger_room = get(&shared->stranger_room),
        .strangers_full_at = get(&shared->strangers_full_at),
        .stranger_datagrams = get(&shared->stranger_datagrams),
        .stranger_deliveries = get(&shared->stranger_deliveries),
        .peer_datagrams = get(&shared->peer_datagrams),
        .peer_deliveries = get(&shared->peer_deliveries),
    };
}

int clinux_admit(
    struct clinux_admission admission, const struct clinux_admission_peer *peers, int count) {
    const uint64_t full = 0;
    for (int index = 0; index < count; index++) {
        union bpf_attr attributes = {
            .map_fd = (uint32_t)admission.peers_map,
            .key = (uintptr_t)&peers[index],
            .value = (uintptr_t)&full,
            .flags = BPF_NOEXIST,
        };
        /* One that is there already keeps what it owes. */
        if (bpf(BPF_MAP_UPDATE_ELEM, &attributes) < 0 && errno != EEXIST) {
            return index;
        }
    }
    return count;
}

int clinux_attach_admission(struct clinux_admission admission, int socket) {
    return setsockopt(
        socket, SOL_SOCKET, SO_ATTACH_BPF, &admission.program, sizeof admission.program);
}

int clinux_detach_filter(int socket) {
    const int unused = 0;
    return setsockopt(socket, SOL_SOCKET, SO_DETACH_FILTER, &unused, sizeof unused);
}
