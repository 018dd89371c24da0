/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Locks with a rank, whose order is checked while testing. */
#include "base/lock.h"

#include <time.h>

#ifdef LOCK_CHECKS

#include <stdio.h>
#include <stdlib.h>

/* How many this thread holds of each rank. */
static _Thread_local unsigned char held[LOCK_RANK_COUNT];

static void check_order(enum lock_rank rank)
{
    for (int other = (int)rank; other < LOCK_RANK_COUNT; other++) {
        if (held[other]) {
            fprintf(stderr, "lock of rank %d taken while one of rank %d is held (base/lock.h)\n",
                    (int)rank, other);
            abort();
        }
    }
    held[rank]++;
}

static void forget(enum lock_rank rank)
{
    if (held[rank] == 0) {
        fprintf(stderr, "lock of rank %d given back by a thread that does not hold it\n",
                (int)rank);
        abort();
    }
    held[rank]--;
}

#else

static void check_order(enum lock_rank rank)
{
    (void)rank;
}

static void forget(enum lock_rank rank)
{
    (void)rank;
}

#endif

void lock_init(struct lock *lock, enum lock_rank rank)
{
    pthread_mutex_init(&lock->mutex, NULL);
    lock->rank = rank;
}

void lock_destroy(struct lock *lock)
{
    pthread_mutex_destroy(&lock->mutex);
}

void lock_take(struct lock *lock)
{
    check_order(lock->rank);
    pthread_mutex_lock(&lock->mutex);
}

void lock_give(struct lock *lock)
{
    forget(lock->rank); /* first: whoever waits for the lock may free it */
    pthread_mutex_unlock(&lock->mutex);
}

void lock_wait(struct lock *lock, pthread_cond_t *condition)
{
    pthread_cond_wait(condition, &lock->mutex);
}

int lock_wait_until(struct lock *lock, pthread_cond_t *condition, int64_t until)
{
    const struct timespec time = {.tv_sec = until / 1000000, .tv_nsec = until % 1000000 * 1000};

    return -pthread_cond_timedwait(condition, &lock->mutex, &time);
}

void shared_lock_init(struct shared_lock *lock, enum lock_rank rank)
{
    pthread_rwlockattr_t attributes;

    pthread_rwlockattr_init(&attributes);
    pthread_rwlockattr_setkind_np(&attributes, PTHREAD_RWLOCK_PREFER_WRITER_NONRECURSIVE_NP);
    pthread_rwlock_init(&lock->rwlock, &attributes);
    pthread_rwlockattr_destroy(&attributes);
    lock->rank = rank;
}

void shared_lock_destroy(struct shared_lock *lock)
{
    pthread_rwlock_destroy(&lock->rwlock);
}

void shared_lock_read(struct shared_lock *lock)
{
    check_order(lock->rank);
    pthread_rwlock_rdlock(&lock->rwlock);
}

void shared_lock_write(struct shared_lock *lock)
{
    check_order(lock->rank);
    pthread_rwlock_wrlock(&lock->rwlock);
}

void shared_lock_give(struct shared_lock *lock)
{
    forget(lock->rank);
    pthread_rwlock_unlock(&lock->rwlock);
}
