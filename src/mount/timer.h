/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What has a time, in a thread of its own: callers that are dying, answers that waited long enough,
 * truncations that no write followed. */
#ifndef PMXCFS_MOUNT_TIMER_H
#define PMXCFS_MOUNT_TIMER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/lock.h"
#include "mount/node.h"

struct timer;

/* A request that the timer looks at, embedded in it. */
struct timed {
    pid_t thread;    /* the caller's */
    uint64_t number; /* of this watching; 0: the timer does not have it. The timer's lock guards it
                        and what follows */
    uint64_t due;    /* milliseconds; 0: it is about a caller that got a signal */
};

/* What the timer asks of its owner, without a lock held but where that is said. */
struct timer_owner {
    /* The caller is dying: true, and the request is the timer's to end. With the timer's lock held,
     * so that the request cannot end meanwhile. */
    bool (*take)(struct timed *timed);
    void (*end)(struct timed *timed);
    void (*late)(struct timed *timed); /* its time has come */
    void (*send)(struct timer_owner *owner,
                 struct node *node); /* a truncation, begun (node_meet()) */
};

struct timer {
    struct timer_owner *owner;
    struct node_table *table;

    pthread_t thread;
    struct lock lock; /* guards what follows */
    pthread_cond_t there;
    GPtrArray *timed; /* struct timed */
    GPtrArray *nodes; /* struct node, pinned: with a truncation that waits, or waited */
    uint64_t numbers; /* given so far */
    bool looks;       /* the thread looks again soon by itself */
    bool end;
};

void timer_init(struct timer *timer, struct timer_owner *owner, struct node_table *table);
int timer_start(struct timer *timer); /* 0 or a negative errno */
void timer_stop(struct timer *timer);
void timer_destroy(struct timer *timer);

/* A caller got a signal: the timer looks whether it is dying until timer_forget(). Any thread. */
void timer_watch_caller(struct timer *timer, struct timed *timed);

/* late() is called at `due` (milliseconds), unless timer_forget() comes before. */
void timer_watch_time(struct timer *timer, struct timed *timed, uint64_t due);

/* False: the timer did not have it (any more). */
bool timer_forget(struct timer *timer, struct timed *timed);

/* A node that node_truncate() listed. */
void timer_watch_node(struct timer *timer, struct node *node);

/* Sends all truncations that wait. */
void timer_flush(struct timer *timer);

uint64_t timer_now(void); /* milliseconds */

#endif
