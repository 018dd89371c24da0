/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Threads of parts that look after something by themselves, and what they wait on. */
#include "base/thread.h"

#include <signal.h>
#include <time.h>

#include <sys/resource.h>

int thread_start(pthread_t *thread, void *(*run)(void *), void *context)
{
    sigset_t all;
    sigset_t before;

    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = pthread_create(thread, NULL, run, context);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return -error;
}

/* Not the lowest priority: it holds locks for moments, and has to get on to give them back. Of
 * PRIO_PROCESS Linux knows threads, and 0 is the calling one. */
void thread_give_way(void)
{
    setpriority(PRIO_PROCESS, 0, 10);
}

void thread_condition_init(pthread_cond_t *condition)
{
    pthread_condattr_t attributes;

    pthread_condattr_init(&attributes);
    pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC);
    pthread_cond_init(condition, &attributes);
    pthread_condattr_destroy(&attributes);
}
