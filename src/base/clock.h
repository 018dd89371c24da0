/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where all parts get the time from: the system's clocks, a simulator's, a recording's. */
#ifndef PMXCFS_BASE_CLOCK_H
#define PMXCFS_BASE_CLOCK_H

#include <stdint.h>

/* Embedded in whatever gives the time; both functions may be called by any thread and never block.
 */
struct clock_source {
    /* Seconds of the wall clock: goes into messages and log entries. */
    uint32_t (*seconds)(struct clock_source *clock);
    /* Milliseconds of a clock that never goes back: for ages. */
    uint64_t (*milliseconds)(struct clock_source *clock);
};

/* Seconds of the system's CLOCK_REALTIME, in all of the daemon: time() is a clock of its own, some
 * milliseconds behind. Any thread; never fails. */
uint32_t clock_seconds(void);

/* Milliseconds of the system's CLOCK_MONOTONIC, for what waits for the real world: parts that can
 * be simulated take a clock_source. Any thread; never fails. */
uint64_t clock_milliseconds(void);

/* Fills in the system's CLOCK_REALTIME and CLOCK_MONOTONIC. */
void clock_source_system(struct clock_source *clock);

#endif
