#define _GNU_SOURCE
#include "load.h"

#include <ctype.h>
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>

uint64_t now_nanoseconds(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000u + (uint64_t)time.tv_nsec;
}

/* ---- Histograms --------------------------------------------------------------------------- */

/* Values below 64 have a bucket each. Above, bucket 64 × (e - 5) + m holds what begins with the
 * seven bits 1m at bit e. */
static unsigned bucket(uint64_t value) {
    if (value < HISTOGRAM_STEPS) return (unsigned)value;
    unsigned exponent = 63 - (unsigned)__builtin_clzll(value);
    unsigned step = (unsigned)(value >> (exponent - 6)) & (HISTOGRAM_STEPS - 1);
    unsigned index = HISTOGRAM_STEPS * (exponent - 5) + step;
    return index < HISTOGRAM_BUCKETS ? index : HISTOGRAM_BUCKETS - 1;
}

/* The middle of a bucket. */
static double middle(unsigned index) {
    if (index < HISTOGRAM_STEPS) return index;
    unsigned exponent = index / HISTOGRAM_STEPS + 5, step = index % HISTOGRAM_STEPS;
    uint64_t width = 1ull << (exponent - 6);
    return (double)((HISTOGRAM_STEPS + step) * width) + (double)width / 2;
}

void histogram_add(struct histogram *histogram, uint64_t nanoseconds) {
    histogram->buckets[bucket(nanoseconds)]++;
    histogram->count++;
    if (nanoseconds > histogram->most) histogram->most = nanoseconds;
}

void histogram_merge(struct histogram *into, const struct histogram *from) {
    for (int i = 0; i < HISTOGRAM_BUCKETS; i++) into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->most > into->most) into->most = from->most;
}

double histogram_microseconds(const struct histogram *histogram, double share) {
    double wanted = share * (double)histogram->count;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen > 0 && (double)seen >= wanted) return middle(i) / 1000;
    }
    return 0;
}

/* ---- CPU time ----------------------------------------------------------------------------- */

/* Adds the CPU time of a process if it is of the group, or one of the kernel's threads for soft
 * interrupts. The kernel keeps user and system time by the tick and only their sum exactly
 * (kernel/sched/cputime.c); that is what its CPU clock reads, for all threads, those that ended
 * included. */
static void add_process(int process, int group, double tick, struct cpu_times *times) {
    char path[64], text[1024];
    snprintf(path, sizeof path, "/proc/%d/stat", process);
    FILE *file = fopen(path, "r");
    if (!file) return; /* it has ended meanwhile */
    bool was_read = fgets(text, sizeof text, file);
    fclose(file);
    char *rest = was_read ? strrchr(text, ')') : NULL;
    int of_group;
    unsigned long user, system;
    if (!rest || sscanf(rest + 1, " %*c %*d %d %*d %*d %*d %*u %*u %*u %*u %*u %lu %lu",
                        &of_group, &user, &system) != 3)
        return;
    bool is_kernel = of_group == 0 && strstr(text, "(ksoftirqd/");
    clockid_t clock;
    struct timespec time;
    if ((of_group != group && !is_kernel) || clock_getcpuclockid(process, &clock)
        || clock_gettime(clock, &time))
        return;
    double seconds = (double)time.tv_sec + (double)time.tv_nsec / 1e9;
    if (is_kernel) {
        times->kernel_threads += seconds;
        return;
    }
    times->group += seconds;
    times->group_user += (double)user * tick;
    times->group_system += (double)system * tick;
    times->processes++;
}

static void read_machine(double tick, struct cpu_times *times) {
    FILE *file = fopen("/proc/stat", "r");
    if (!file) give_up(71, "/proc/stat");
    unsigned long user, nice, system, idle, wait, interrupts, soft, stolen;
    if (fscanf(file, "cpu %lu %lu %lu %lu %lu %lu %lu %lu", &user, &nice, &system, &idle, &wait,
               &interrupts, &soft, &stolen) != 8)
        give_up(70, "/proc/stat does not begin as proc(5) says");
    fclose(file);
    times->machine = (double)(user + nice + system + interrupts + soft) * tick;
    times->soft_interrupts = (double)soft * tick;
    times->stolen = (double)stolen * tick;
}

struct cpu_times read_cpu_times(int group) {
    struct cpu_times times = {0};
    double tick = 1.0 / (double)sysconf(_SC_CLK_TCK);
    DIR *directory = opendir("/proc");
    if (!directory) give_up(71, "/proc");
    for (struct dirent *entry; (entry = readdir(directory));)
        if (isdigit((unsigned char)entry->d_name[0]))
            add_process(atoi(entry->d_name), group, tick, &times);
    closedir(directory);
    read_machine(tick, &times);
    struct timespec time;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time);
    times.self = (double)time.tv_sec + (double)time.tv_nsec / 1e9;
    return times;
}
