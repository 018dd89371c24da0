/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has a time, in a thread of its own: callers that are dying, truncations that are due. */
#ifndef PMXCFS_MOUNT_TIMER_H
#define PMXCFS_MOUNT_TIMER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/lock.h"
#include "kernel/truncations.h"

struct timer;

/* A request whose caller got a signal, embedded in it. */
struct timed {
    pid_t thread;    /* the caller's */
    uint64_t number; /* of this watching; 0: it is not watched. Under the timer's lock */
};

/* What the timer asks of its owner. */
struct timer_owner {
    /* The caller is dying: true, and the request is the timer's to end. With the timer's lock held,
     * so that the request cannot end meanwhile. */
    bool (*take)(struct timed *timed);
    void (*end)(struct timed *timed);
};

struct timer {
    struct timer_owner *owner;
    struct truncations *truncations;

    pthread_t thread;
    struct lock lock; /* guards what follows */
    pthread_cond_t there;
    GPtrArray *timed; /* struct timed */
    uint64_t numbers; /* given so far */
    bool looks;       /* the thread looks again soon by itself */
    bool end;
};

void timer_init(struct timer *timer, struct timer_owner *owner, struct truncations *truncations);
int timer_start(struct timer *timer); /* 0 or a negative errno */
void timer_stop(struct timer *timer);
void timer_destroy(struct timer *timer);

/* A caller got a signal: the timer looks whether it is dying until timer_forget(). Any thread. */
void timer_watch_caller(struct timer *timer, struct timed *timed);

void timer_forget(struct timer *timer, struct timed *timed);

/* There is a truncation that may be due soon. */
void timer_wake(struct timer *timer);

uint64_t timer_now(void); /* milliseconds */

#endif
