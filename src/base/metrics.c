/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Counters and histograms that any thread raises without a lock (doc/metrics.md). */
#include "base/metrics.h"

#include <time.h>

#define MICROSECOND UINT64_C(1000)
#define MILLISECOND UINT64_C(1000000)
#define SECOND UINT64_C(1000000000)

const struct histogram_form histogram_durations = {
    .count = 14,
    .bounds = {10 * MICROSECOND, 25 * MICROSECOND, 50 * MICROSECOND, 100 * MICROSECOND,
               250 * MICROSECOND, 500 * MICROSECOND, 1 * MILLISECOND, 2500 * MICROSECOND,
               10 * MILLISECOND, 50 * MILLISECOND, 250 * MILLISECOND, 1 * SECOND, 5 * SECOND,
               30 * SECOND},
    .unit = SECOND,
};

const struct histogram_form histogram_sizes = {
    .count = 11,
    .bounds = {1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 1024},
    .unit = 1,
};

void histogram_note(struct histogram *histogram, const struct histogram_form *form, uint64_t value)
{
    size_t bucket = 0;

    while (bucket < form->count && value > form->bounds[bucket])
        bucket++;
    atomic_fetch_add_explicit(&histogram->buckets[bucket], 1, memory_order_relaxed);
    counter_add(&histogram->sum, value);
}

uint64_t metrics_now(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * SECOND + (uint64_t)now.tv_nsec;
}

void histogram_note_since(struct histogram *histogram, uint64_t begun)
{
    histogram_note(histogram, &histogram_durations, metrics_now() - begun);
}
