/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What answers are made of. */
#ifndef PMXCFS_SOCKET_SOURCES_H
#define PMXCFS_SOCKET_SOURCES_H

#include "replica/replica.h"
#include "socket/metrics.h"
#include "status/activity.h"
#include "status/status.h"
#include "status/status_group.h"

struct corosync;
struct properties;
struct store;

struct request_sources {
    const char *mountpoint;
    struct store *store;
    struct replica *replica;
    struct corosync *corosync; /* NULL: local mode */
    struct status *status;
    struct status_group *status_group;
    struct activity *activity;

    /* The service's own. */
    struct properties *properties;
    const struct socket_metrics *metrics;
};

#endif
