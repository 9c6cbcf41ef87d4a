/* Counts heap allocations of the program that this is linked into. */
#ifndef CALLOCATIONCOUNTER_H
#define CALLOCATIONCOUNTER_H

#include <stdint.h>

/* Allocations by all threads but those that asked not to be counted. */
uint64_t allocation_count(void);
/* The calling thread's allocations do not count from now on. */
void allocation_ignore_thread(void);

/* Does nothing. A tool that counts instructions begins to count anew where this is called. */
void counting_mark(void);
/* Spends a few instructions and an allocation for each of so many datagrams: what a guard of such
 * counts must find. */
void counting_waste(int32_t datagrams);

#endif
