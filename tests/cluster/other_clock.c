/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Preloaded (LD_PRELOAD): a wall clock that is OTHER_CLOCK seconds ahead. */
#include <dlfcn.h>
#include <stdlib.h>
#include <time.h>

typedef int (*clock_function)(clockid_t, struct timespec *);

static time_t ahead(void)
{
    const char *text = getenv("OTHER_CLOCK");

    return text ? (time_t)atol(text) : 0;
}

int clock_gettime(clockid_t clock, struct timespec *now)
{
    clock_function system_clock = (clock_function)dlsym(RTLD_NEXT, "clock_gettime");
    int result = system_clock(clock, now);

    if (result == 0 && clock == CLOCK_REALTIME)
        now->tv_sec += ahead();
    return result;
}

time_t time(time_t *seconds)
{
    struct timespec now;

    clock_gettime(CLOCK_REALTIME, &now);
    if (seconds)
        *seconds = now.tv_sec;
    return now.tv_sec;
}
