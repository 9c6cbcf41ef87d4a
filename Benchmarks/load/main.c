/* load - offers UDP datagrams to a relay and says what came of them, as one JSON object.
 *
 * One process plays both peers of every session, so that loss, reordering, wrong deliveries and
 * changed bytes are known exactly, and one clock measures the way from peer to peer. A datagram's
 * latency counts from when it was due, not from when the generator got to send it.
 *
 * Everything that a run takes is bounded by its options; it ends by itself. */
#define _GNU_SOURCE
#include "load.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

static void pause_for(double seconds) {
    struct timespec time = {(time_t)seconds, (long)((seconds - (double)(time_t)seconds) * 1e9)};
    while (nanosleep(&time, &time)) continue;
}

/* What all workers took until now. */
struct taken { uint64_t datagrams, bytes; };

static struct taken taken(void) {
    struct taken sum = {0, 0};
    for (int i = 0; i < options.threads; i++) {
        sum.datagrams += atomic_load_explicit(&workers[i].taken, memory_order_relaxed);
        sum.bytes += atomic_load_explicit(&workers[i].taken_bytes, memory_order_relaxed);
    }
    return sum;
}

static void add(struct outcome *into, const struct outcome *from) {
    into->sent += from->sent;
    into->received += from->received;
    into->received_bytes += from->received_bytes;
    into->misdelivered += from->misdelivered;
    into->corrupted += from->corrupted;
    into->reordered += from->reordered;
    into->duplicated += from->duplicated;
    into->strange += from->strange;
    into->refused += from->refused;
    into->stalls += from->stalls;
}

static void print_latency(const char *name, const struct histogram *histogram) {
    if (!histogram->count) return;
    printf(",\"%s_us\":{\"count\":%lu,\"p50\":%.2f,\"p90\":%.2f,\"p99\":%.2f,\"p999\":%.2f,"
           "\"most\":%.2f}", name, histogram->count, histogram_microseconds(histogram, 0.5),
           histogram_microseconds(histogram, 0.9), histogram_microseconds(histogram, 0.99),
           histogram_microseconds(histogram, 0.999), (double)histogram->most / 1000);
}

static void print_cpu(const struct cpu_times *from, const struct cpu_times *to, double millions) {
    if (millions <= 0) return;
    printf(",\"cpu_s_per_million\":{");
    if (options.meter_group)
        printf("\"relay\":%.4f,\"relay_user\":%.3f,\"relay_system\":%.3f,",
               (to->group - from->group) / millions,
               (to->group_user - from->group_user) / millions,
               (to->group_system - from->group_system) / millions);
    /* Who sends also does most of the receiver's work in the kernel: only the sum of both says what
     * a way costs as a whole. */
    double together = to->group - from->group + to->self - from->self + to->kernel_threads
        - from->kernel_threads;
    printf("\"together\":%.4f,\"kernel_threads\":%.4f,\"machine\":%.3f,\"soft_interrupts\":%.3f,\"stolen\":%.3f,\"load\":%.3f}",
           together / millions, (to->kernel_threads - from->kernel_threads) / millions,
           (to->machine - from->machine) / millions,
           (to->soft_interrupts - from->soft_interrupts) / millions,
           (to->stolen - from->stolen) / millions, (to->self - from->self) / millions);
}

int main(int argc, char **argv) {
    read_options(argc, argv);
    prepare_datagrams();
    open_sessions();
    /* Ends a run that hangs all the same; the time to set up is bounded by its tries. */
    alarm((unsigned)(options.seconds + options.warm_seconds) + 60);
    start_workers();
    pause_for(options.warm_seconds);

    struct cpu_times cpu_before = read_cpu_times(options.meter_group);
    if (options.meter_group && !cpu_before.processes)
        give_up(69, "--meter %d: no process is in this group", options.meter_group);
    uint64_t begin = now_nanoseconds();
    struct taken before = taken();
    is_measuring = true;
    pause_for(options.seconds);
    is_measuring = false;
    struct taken after = taken();
    uint64_t end = now_nanoseconds();
    struct cpu_times cpu_after = read_cpu_times(options.meter_group);
    is_over = true;
    join_workers();

    static struct histogram relayed, direct, lateness;
    struct outcome sum = {0};
    for (int i = 0; i < options.threads; i++) {
        add(&sum, &workers[i].outcome);
        histogram_merge(&relayed, &workers[i].relayed);
        histogram_merge(&direct, &workers[i].direct);
        histogram_merge(&lateness, &workers[i].lateness);
    }
    double seconds = (double)(end - begin) / 1e9;
    double count = (double)(after.datagrams - before.datagrams);
    uint64_t lost = sum.sent > sum.received ? sum.sent - sum.received : 0;
    printf("{\"seconds\":%.4f,\"sessions\":%d,\"datagrams\":%.0f,\"datagrams_per_s\":%.0f,"
           "\"bits_per_s\":%.0f,\"sent\":%lu,\"received\":%lu,\"lost\":%lu,\"loss\":%.6f,"
           "\"misdelivered\":%lu,\"corrupted\":%lu,\"reordered\":%lu,\"duplicated\":%lu,"
           "\"strange\":%lu,\"send_refused\":%lu,\"stalls\":%lu",
           seconds, options.sessions, count, count / seconds,
           (double)(after.bytes - before.bytes) * 8 / seconds, sum.sent, sum.received, lost,
           sum.sent ? (double)lost / (double)sum.sent : 0, sum.misdelivered, sum.corrupted,
           sum.reordered, sum.duplicated, sum.strange, sum.refused, sum.stalls);
    print_latency("latency", &relayed);
    print_latency("direct", &direct);
    print_latency("late", &lateness);
    print_cpu(&cpu_before, &cpu_after, count / 1e6);
    puts("}");
    return 0;
}
