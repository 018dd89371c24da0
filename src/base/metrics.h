/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Counters and histograms that any thread raises without a lock (doc/metrics.md). */
#ifndef PMXCFS_BASE_METRICS_H
#define PMXCFS_BASE_METRICS_H

#include <stdatomic.h>
#include <stddef.h>
#include <stdint.h>

/* Each part owns its own, all zero at first, embedded in a struct of its own type. What one reader
 * sees of several need not be of the same moment. */

struct counter {
    atomic_uint_fast64_t value;
};

static inline void counter_add(struct counter *counter, uint64_t more)
{
    atomic_fetch_add_explicit(&counter->value, more, memory_order_relaxed);
}

/* For what is counted as long as it is there. */
static inline void counter_take(struct counter *counter, uint64_t less)
{
    atomic_fetch_sub_explicit(&counter->value, less, memory_order_relaxed);
}

static inline uint64_t counter_get(const struct counter *counter)
{
    return atomic_load_explicit(&counter->value, memory_order_relaxed);
}

#define HISTOGRAM_BOUNDS_MAX 16u

/* What a histogram's buckets are. */
struct histogram_form {
    size_t count;                          /* of bounds; one more bucket is above the last */
    uint64_t bounds[HISTOGRAM_BOUNDS_MAX]; /* ascending, inclusive */
    uint64_t unit;                         /* so many are 1 of what is shown */
};

extern const struct histogram_form histogram_durations; /* nanoseconds, shown in seconds */
extern const struct histogram_form histogram_sizes;     /* numbers of things, 1 to 1024 */

struct histogram {
    atomic_uint_fast64_t buckets[HISTOGRAM_BOUNDS_MAX + 1];
    struct counter sum;
};

void histogram_note(struct histogram *histogram, const struct histogram_form *form, uint64_t value);

/* Nanoseconds of a clock that never goes back. For durations alone: what a node does must not
 * depend on it. */
uint64_t metrics_now(void);

/* Notes the time since `begun` (metrics_now()). */
void histogram_note_since(struct histogram *histogram, uint64_t begun);

#endif
