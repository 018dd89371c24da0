/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the programs of the bench share: a clock, and the end when something fails. */
#ifndef PMXCFS_BENCH_TIMING_H
#define PMXCFS_BENCH_TIMING_H

#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* Seconds between two calls of who looks for stalls, so that what is measured stays measurable on
 * few processors. */
#define PROBE_PAUSE 0.0005

/* Seconds of a clock that never goes back, the same one in all processes of the machine. */
static inline double seconds_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec + (double)now.tv_nsec / 1e9;
}

static inline void pause_seconds(double seconds)
{
    struct timespec pause = {.tv_sec = (time_t)seconds};
    pause.tv_nsec = (long)((seconds - (double)pause.tv_sec) * 1e9);
    while (nanosleep(&pause, &pause) < 0 && errno == EINTR)
        continue;
}

/* Says what failed, with errno if it is set, and ends the process. */
__attribute__((format(printf, 1, 2), noreturn)) static inline void fail(const char *format, ...)
{
    int error = errno;
    va_list arguments;
    va_start(arguments, format);
    vfprintf(stderr, format, arguments);
    va_end(arguments);
    fprintf(stderr, error ? ": %s\n" : "\n", strerror(error));
    exit(1);
}

#endif
