/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Two threads that run one at a time, in an order that comes from a seed: the same each time. */
#ifndef PMXCFS_TESTS_TURNS_H
#define PMXCFS_TESTS_TURNS_H

#include <stdint.h>

#include "base/clock.h"

/* The caller is the first thread and has the turn; the next one that is started by thread_start()
 * is the second. Until turns_stop(), when that one has ended, both have the time from here, and
 * wait for locks, conditions and each other here (--wrap of the linker). One pair at a time. */
void turns_start(uint32_t seed);
void turns_stop(void);

/* Wherever the other one may get the turn; of a thread that takes no part, nothing. */
void turns_may_change(void);

/* The other one has the turn until it waits for something, or gives it back by chance. */
void turns_give(void);

/* Time passes; it does by itself only when both wait for it. */
void turns_advance(uint64_t milliseconds);
struct clock_source *turns_clock(void);

/* How often the turn went to the other one since the start. */
unsigned turns_changes(void);

#endif
