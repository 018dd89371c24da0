/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The transport of local mode: a group of one, whose messages are delivered at once. */
#ifndef PMXCFS_REPLICA_LOOPBACK_H
#define PMXCFS_REPLICA_LOOPBACK_H

#include "replica/replica.h"

struct loopback {
    struct transport transport;
    struct replica *replica;
    struct member self;
};

/* Makes `replica` (local, with that member as itself) joined, quorate and synced. `loopback` must
 * outlive it. */
void loopback_start(struct loopback *loopback, struct replica *replica, struct member self);

#endif
