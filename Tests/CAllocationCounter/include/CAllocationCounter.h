/* Counts heap allocations of the program that this is linked into. */
#ifndef CALLOCATIONCOUNTER_H
#define CALLOCATIONCOUNTER_H

#include <stdint.h>

/* Allocations by all threads but those that asked not to be counted. */
uint64_t allocation_count(void);
/* The calling thread's allocations do not count from now on. */
void allocation_ignore_thread(void);

#endif
