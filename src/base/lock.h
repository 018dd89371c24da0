/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Locks with a rank: the order in which threads take them is written down here, and checked while
 * testing. */
#ifndef PMXCFS_BASE_LOCK_H
#define PMXCFS_BASE_LOCK_H

#include <pthread.h>
#include <stdint.h>

/* All locks of the program, in the order in which a thread may take them: while it holds one, only
 * those further down. So no two threads can wait for each other. DESIGN.md (Threads and locks) says
 * what each guards. */
enum lock_rank {
    LOCK_RANK_METRICS,
    LOCK_RANK_COROSYNC_CALLS,
    LOCK_RANK_TIMER,
    LOCK_RANK_TRUNCATIONS,
    LOCK_RANK_STATE,
    LOCK_RANK_NOTIFIER,
    LOCK_RANK_NAMES,
    LOCK_RANK_TURNS,
    LOCK_RANK_NODES,
    LOCK_RANK_STATUS_SEND,
    LOCK_RANK_STATUS,
    LOCK_RANK_ACTIVITY,
    LOCK_RANK_TRIALS,
    LOCK_RANK_RRD,
    LOCK_RANK_COROSYNC_CONF,
    LOCK_RANK_OUTBOX,
    LOCK_RANK_WAITERS,
    LOCK_RANK_EVENTS,
    LOCK_RANK_VIEW,
    LOCK_RANK_GROUP,
    LOCK_RANK_STORE,
    LOCK_RANK_JOURNAL,
    LOCK_RANK_FLUSHER,
    LOCK_RANK_RECORDER,
    LOCK_RANK_ASKERS,
    LOCK_RANK_REVERTER,
    LOCK_RANK_REFUSALS,
    LOCK_RANK_PROGRESS, /* pmxcfsctl's */
    LOCK_RANK_COUNT,
};

struct lock {
    pthread_mutex_t mutex;
    enum lock_rank rank;
};

/* Taken by one for writing or by many for reading; whoever waits to write goes before new readers.
 */
struct shared_lock {
    pthread_rwlock_t rwlock;
    enum lock_rank rank;
};

/* In debug builds and under sanitizers (LOCK_CHECKS), taking a lock against the order, or twice,
 * ends the process with a message. Nothing here fails otherwise. */
void lock_init(struct lock *lock, enum lock_rank rank);
void lock_destroy(struct lock *lock);
void lock_take(struct lock *lock);
void lock_give(struct lock *lock);

/* Takes the lock, and gives it back where the block ends that this stands in, however it is left:
 * also behind what a return computes. */
#define LOCKED(lock_pointer)                                                                       \
    __attribute__((cleanup(lock_give_scoped), unused)) struct lock *scoped_lock = (lock_pointer);  \
    lock_take(scoped_lock)

static inline void lock_give_scoped(struct lock **lock)
{
    lock_give(*lock);
}

/* Gives the lock back, waits for the condition, and takes the lock again. `until`: microseconds of
 * the condition's clock, which is CLOCK_MONOTONIC (thread_condition_init()); 0 or -ETIMEDOUT. */
void lock_wait(struct lock *lock, pthread_cond_t *condition);
int lock_wait_until(struct lock *lock, pthread_cond_t *condition, int64_t until);

void shared_lock_init(struct shared_lock *lock, enum lock_rank rank);
void shared_lock_destroy(struct shared_lock *lock);
void shared_lock_read(struct shared_lock *lock);
void shared_lock_write(struct shared_lock *lock);
void shared_lock_give(struct shared_lock *lock);

#endif
