/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages that may come in floods: so many in a minute, the others are counted. */
#ifndef PMXCFS_BASE_RATE_H
#define PMXCFS_BASE_RATE_H

#include <stdbool.h>
#include <stdint.h>
#include <time.h>

#define RATE_PERIOD_SECONDS 60

/* Zero it, but for `per_minute`. One thread at a time may use it. */
struct rate_limit {
    uint32_t per_minute; /* messages that pass in RATE_PERIOD_SECONDS */
    uint32_t passed;     /* of the present period */
    uint32_t held_back;  /* since the last message that passed */
    time_t start;        /* of the present period, seconds of CLOCK_MONOTONIC */
};

/* True if a message may be logged now; *held_back is how many were not since the last that was. */
static inline bool rate_limit_pass(struct rate_limit *limit, uint32_t *held_back)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC_COARSE, &now);
    if (now.tv_sec - limit->start >= RATE_PERIOD_SECONDS) {
        limit->start = now.tv_sec;
        limit->passed = 0;
    }
    *held_back = limit->held_back;
    if (limit->passed >= limit->per_minute) {
        limit->held_back++;
        return false;
    }
    limit->passed++;
    limit->held_back = 0;
    return true;
}

#endif
