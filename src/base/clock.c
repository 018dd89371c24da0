/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The system's clocks, by themselves and as a clock_source. */
#include "base/clock.h"

#include <time.h>

uint32_t clock_seconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    return (uint32_t)now.tv_sec;
}

uint64_t clock_milliseconds(void)
{
    struct timespec now;

    clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000u + (uint64_t)now.tv_nsec / 1000000u;
}

static uint32_t system_seconds(struct clock_source *clock)
{
    (void)clock;
    return clock_seconds();
}

static uint64_t system_milliseconds(struct clock_source *clock)
{
    (void)clock;
    return clock_milliseconds();
}

void clock_source_system(struct clock_source *clock)
{
    clock->seconds = system_seconds;
    clock->milliseconds = system_milliseconds;
}
