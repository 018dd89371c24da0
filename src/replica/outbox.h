/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this node has to send in its own name: changes, numbered, and held back while it is not in
 * sync. */
#ifndef PMXCFS_REPLICA_OUTBOX_H
#define PMXCFS_REPLICA_OUTBOX_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/lock.h"
#include "cluster/transport.h"
#include "core/change.h"
#include "replica/waiters.h"

/* Embedded in the replica. Any thread. Numbering, waiting for the answer and multicasting are one
 * step under the lock, so that counts arrive in order. While this node is not in sync its changes
 * are numbered and held, and sent when it is: members that are in sync would apply them at once,
 * before this node takes over a state with them in it and applies them again. */
struct outbox {
    struct lock lock;
    struct transport *transport; /* borrowed */
    struct waiters *waiters;     /* borrowed: who is told that something is not sent */
    struct clock_source *clock;  /* borrowed */
    uint64_t count;              /* of the last message of this process */
    bool sending;                /* false: messages are held */
    GQueue held;                 /* struct held */
    uint64_t held_bytes;         /* of their messages */
};

/* More than that is not held: as much as the transport can take at once, and then some. */
#define OUTBOX_HELD_BYTES_MAX (32ull << 20)

void outbox_init(struct outbox *outbox, struct waiters *waiters, struct clock_source *clock);
void outbox_destroy(struct outbox *outbox); /* what was held must have been dropped */

/* Sends a change, or holds it; right before it a `request` for an unlock (NULL: none), which is the
 * caller's too. `caller` (NULL: nobody) gets its answer here if it cannot be sent: -EMSGSIZE, or
 * what the transport says. What is held is sent only if the caller still waits then. */
void outbox_send(struct outbox *outbox, const struct change *request, const struct change *change,
                 struct caller *caller);

/* Sends a marker for all whose change is stored here and not known to be safe with all, if there is
 * anybody: a request for confirmation, with a number of its own (replica/confirm.h). */
void outbox_send_marker(struct outbox *outbox);

/* Holds what comes from here on; sends all that was held and is still waited for, in order, and
 * what comes after it at once; drops what is held, whose callers get EBUSY, and holds what comes.
 */
void outbox_hold(struct outbox *outbox);
void outbox_release(struct outbox *outbox);
void outbox_drop(struct outbox *outbox);

/* Drops what is held for callers who were answered, or taken out, meanwhile: sent later, it would
 * undo what others were told is done. For whoever takes callers out of the waiters. */
void outbox_drop_answered(struct outbox *outbox);

/* Messages that are held; and whether more of them had better be refused. */
size_t outbox_held(struct outbox *outbox);
bool outbox_is_full(struct outbox *outbox);

#endif
