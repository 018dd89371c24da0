/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The order in which a change becomes known on this node, stated here and nowhere else:
 *
 *   1. it is in the tree: reads that reach the daemon find it (mount_publishing()); and on its way
 *      into the history (recorder_take());
 *   2. the kernel is told to forget what it had of it; of what it asked for itself it knows;
 *   3. the counters of .version rise, so that nobody finds old content under a new number;
 *   4. subscribers of the change feed hear of it (status does both, under its lock);
 *   5. whoever asked for it is answered (by the replica, when published() has returned).
 *
 * For changes of others, telling the kernel can take a while, and nobody here waits for that: the
 * mount calls back when it is done. */
#ifndef PMXCFS_DAEMON_PUBLICATION_H
#define PMXCFS_DAEMON_PUBLICATION_H

#include <stdbool.h>

struct parts;

/* Makes the listeners of replica and mount those that do this. */
void publication_init(struct parts *parts);

/* Hands corosync.conf of the tree to the thread that keeps the host's file like it. `reload`:
 * corosync is to be told. */
void publication_submit_conf(struct parts *parts, bool reload);

#endif
