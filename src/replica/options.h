/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the replica is told when it is made. */
#ifndef PMXCFS_REPLICA_OPTIONS_H
#define PMXCFS_REPLICA_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/node_names.h"
#include "cluster/transport.h"
#include "replica/listener.h"

struct replica_options {
    struct member self;     /* local mode: node 0 */
    bool local;             /* no cluster: expired locks are judged by the asker */
    bool acknowledge_all;   /* answer when all members have confirmed a change */
    uint32_t lock_lifetime; /* milliseconds */
    uint64_t rejoin_delay;  /* milliseconds between joins of the group, at least; grows while the
                               database takes no synchronisation; 0: it does not */
    const char
        *safety_directory; /* where what a synchronisation takes away is kept; NULL: nowhere */
    struct clock_source *clock;
    struct replica_listener *listener;
    struct node_names *names; /* for the log; NULL: numbers will do */
};

#endif
