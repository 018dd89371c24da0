/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who is told what the replica did. */
#ifndef PMXCFS_REPLICA_LISTENER_H
#define PMXCFS_REPLICA_LISTENER_H

#include <glib.h>
#include <stdbool.h>

/* Embedded in whoever it is. Called by the writer. */
struct replica_listener {
    /* The draft is being published: the state's lock is held exclusively, `effects` are what
     * readers will see when it is released. Memory only. */
    void (*publishing)(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt);

    /* It has been published and no lock is held, callers are not yet answered. Takes over `effects`
     * (struct effect). `rebuilt`: a synchronisation replaced what differed; the effects have
     * operation 0 then, one for each entry that changed. */
    void (*published)(struct replica_listener *listener, GPtrArray *effects, bool rebuilt);

    /* Quorum was won or lost: what was writable is not, or the other way round. */
    void (*quorum_changed)(struct replica_listener *listener, bool quorate);
};

#endif
