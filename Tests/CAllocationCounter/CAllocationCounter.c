/* The program's own malloc comes before the C library's, for shared libraries, too (ld.so(8)). It
 * counts and hands on to the functions that glibc exports for that purpose. */
#include "CAllocationCounter.h"

#include <stdatomic.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static _Atomic uint64_t allocations;
static _Thread_local bool ignored;

static void count(void) {
    if (!ignored) atomic_fetch_add_explicit(&allocations, 1, memory_order_relaxed);
}

void *malloc(size_t size) {
    count();
    return __libc_malloc(size);
}

void *calloc(size_t number, size_t size) {
    count();
    return __libc_calloc(number, size);
}

void *realloc(void *old, size_t size) {
    count();
    return __libc_realloc(old, size);
}

void *memalign(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

void *aligned_alloc(size_t alignment, size_t size) {
    count();
    return __libc_memalign(alignment, size);
}

int posix_memalign(void **memory, size_t alignment, size_t size) {
    count();
    *memory = __libc_memalign(alignment, size);
    return *memory ? 0 : 12; /* ENOMEM */
}

uint64_t allocation_count(void) {
    return atomic_load_explicit(&allocations, memory_order_relaxed);
}

void allocation_ignore_thread(void) {
    ignored = true;
}

__attribute__((noinline)) void counting_mark(void) {
    __asm__ volatile("");
}

void counting_waste(int32_t datagrams) {
    for (int32_t number = 0; number < datagrams; number++) {
        void *volatile memory = malloc(16);
        free(memory);
    }
}
