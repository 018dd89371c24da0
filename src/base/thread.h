/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Threads of parts that look after something by themselves, and what they wait on. */
#ifndef PMXCFS_BASE_THREAD_H
#define PMXCFS_BASE_THREAD_H

#include <pthread.h>

/* As pthread_create(), for a thread that takes no signals: they are for others. 0 or a
 * negative errno. */
int thread_start(pthread_t *thread, void *(*run)(void *), void *context);

/* For a thread that nobody waits for: the calling one gets a processor after others. */
void thread_give_way(void);

/* A condition whose pthread_cond_timedwait() goes by CLOCK_MONOTONIC. pthread_cond_destroy() it. */
void thread_condition_init(pthread_cond_t *condition);

#endif
