/* SPDX-License-Identifier: GPL-3.0-or-later */
/* All that the daemon is made of. */
#ifndef PMXCFS_DAEMON_PARTS_H
#define PMXCFS_DAEMON_PARTS_H

#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/clock.h"
#include "base/lock.h"
#include "daemon/history.h"
#include "host/options.h"
#include "mount/operations.h"
#include "mount/options.h"
#include "replica/loopback.h"
#include "replica/replica.h"
#include "socket/sources.h"
#include "status/status.h"
#include "status/status_group.h"
#include "store/store.h"

struct activity;
struct corosync;
struct corosync_conf;
struct flusher;
struct mount;
struct rrd;
struct socket_service;

/* Who this node is, and what it holds of the host. */
struct host {
    char *nodename;
    char *address;
    gid_t group; /* of all files */
    int lock_fd;
    bool pid_file_written;
    pid_t guard; /* 0: not started */
};

struct metrics {
    struct mount_metrics mount;
    struct socket_metrics socket;
    struct metrics_source source;

    struct lock lock;    /* for what follows */
    struct buffer *text; /* of .metrics, and when it was made (milliseconds) */
    uint64_t made;
};

/* Everything that lives from start to stop; NULL, -1 or false: not made (yet). The structs that are
 * embedded here are how lower parts call upper ones. Many members: one for each part. */
struct parts {
    struct options options;
    struct host host;
    atomic_bool stopping; /* what the daemon loses by that is no news */

    struct clock_source clock;
    struct replica_listener replica_listener; /* publication.c */
    struct mount_listener mount_listener;     /* the same */
    struct guest_source guests;

    struct status *status;
    struct rrd *rrd;
    struct activity *activity;
    struct store *store;
    struct flusher *flusher;
    struct history history;
    struct replica *replica;
    bool cluster; /* else local mode */
    struct loopback loopback;
    struct corosync *corosync;  /* NULL: local mode */
    struct corosync_conf *conf; /* the same; keeps the host's file like the tree's */
    struct status_group *status_group;
    struct mount *mount;
    struct socket_service *socket;

    struct metrics metrics;
};

#endif
