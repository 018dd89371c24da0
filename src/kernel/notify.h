/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel what changed, in order, from a thread of its own: a notification can wait for
 * pages that a request has locked, so no request may wait for a notification. */
#ifndef PMXCFS_KERNEL_NOTIFY_H
#define PMXCFS_KERNEL_NOTIFY_H

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>

#include "base/lock.h"
#include "kernel/names.h"
#include "kernel/turn.h"

/* How long the kernel may keep the attributes that answer an open with O_TRUNC: it takes them even
 * if it was told of another's change meanwhile. So it must ask again soon; but not for each of many
 * rewrites in a row. */
#define SIZED_MILLISECONDS 10u

struct notice;

/* Who is told that the kernel knows: from the notifier's thread, or by notifier_tell() itself. */
struct notifier_listener {
    /* What notifier_tell() was given; takes over `effects`. */
    void (*told)(struct notifier_listener *listener, GPtrArray *effects, bool rebuilt);
};

/* Somebody who waits until the kernel knows; embedded in a struct of theirs. */
struct notified {
    void (*call)(struct notified *notified);
};

struct notifier {
    struct notifier_listener *listener;
    struct names_listener names_listener;
    struct teller teller;
    struct turns turns;
    struct names names;
    GQueue under_way; /* struct notice that are not done yet, in order; the notifier's thread's */
    /* What the links show of quorum: it changes once the kernel has dropped all other modes, as
     * programs take them for true of everything. */
    atomic_bool links_quorate;

    pthread_t thread;
    struct lock lock; /* guards what follows */
    pthread_cond_t there;
    GQueue queue;     /* struct notice */
    uint64_t pending; /* notices that have not ended */
    bool woken;       /* names have been dropped */
    bool end;
};

void notifier_init(struct notifier *notifier, struct notifier_listener *listener,
                   struct turn_owner *owner, struct replica *replica, const char *mountpoint,
                   struct fuse_session *session, struct node_table *table);

/* 0 or a negative errno. */
int notifier_start(struct notifier *notifier);

/* Ends the threads; what is told from then on is forgotten. False: one hangs in the kernel, and
 * nothing may be freed. */
bool notifier_stop(struct notifier *notifier);
void notifier_destroy(struct notifier *notifier);

/* All that follow are for any thread and wait for nothing. */

/* What others changed. Takes over `effects`, and hands them to the listener when the kernel knows:
 * at once if it has nothing of them. By the writer, one call at a time. */
void notifier_tell(struct notifier *notifier, GPtrArray *effects, bool rebuilt);

/* True: the kernel knows all that it was told until now. */
bool notifier_has_told(struct notifier *notifier);

/* All modes changed with the quorum. */
void notifier_tell_quorum(struct notifier *notifier, bool quorate);

/* An own truncation may have to be taken, and pages be dropped if they are spoiled: only then,
 * since Linux may put zeros where a write is under way if it drops a page that a map has written
 * to. */
void notifier_drop_node(struct notifier *notifier, struct node *node);

/* Calls when the kernel knows all that it was told until now. Exactly once, also at the end. */
void notifier_call(struct notifier *notifier, struct notified *notified);

/* An entry that this mount renamed: its time has changed. At once: attributes lock nothing. */
void notifier_drop_time(struct notifier *notifier, uint64_t inode);

#endif
