/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Preloaded (LD_PRELOAD): a thread that waited for others goes on LATE_THREADS milliseconds later,
 * as on a machine that has no processor for it; half of the time at most, so that what has much to
 * do is half as fast. */
#include <dlfcn.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

typedef int (*wait_function)(pthread_cond_t *, pthread_mutex_t *);
typedef int (*timed_wait_function)(pthread_cond_t *, pthread_mutex_t *, const struct timespec *);

static int64_t milliseconds;
static wait_function system_wait;
static timed_wait_function system_timed_wait;
static _Thread_local int64_t waited_until; /* milliseconds of the clock that is never set */

/* dlsym() finds the oldest version of a name, which is for another kind of condition. */
static void *find(const char *name)
{
    void *found = dlvsym(RTLD_NEXT, name, "GLIBC_2.3.2");

    return found ? found : dlsym(RTLD_NEXT, name);
}

__attribute__((constructor)) static void begin(void)
{
    const char *given = getenv("LATE_THREADS");

    milliseconds = given ? atoi(given) : 0;
    system_wait = (wait_function)find("pthread_cond_wait");
    system_timed_wait = (timed_wait_function)find("pthread_cond_timedwait");
}

static int64_t now(void)
{
    struct timespec time;

    clock_gettime(CLOCK_MONOTONIC, &time);
    return time.tv_sec * 1000 + time.tv_nsec / 1000000;
}

/* Without the mutex, as a thread that was not woken yet. */
static void be_late(pthread_mutex_t *mutex)
{
    if (now() - waited_until < milliseconds)
        return;
    pthread_mutex_unlock(mutex);
    usleep((useconds_t)milliseconds * 1000);
    pthread_mutex_lock(mutex);
    waited_until = now();
}

int pthread_cond_wait(pthread_cond_t *condition, pthread_mutex_t *mutex)
{
    int error = system_wait(condition, mutex);

    be_late(mutex);
    return error;
}

int pthread_cond_timedwait(pthread_cond_t *condition, pthread_mutex_t *mutex,
                           const struct timespec *until)
{
    int error = system_timed_wait(condition, mutex, until);

    be_late(mutex);
    return error;
}
