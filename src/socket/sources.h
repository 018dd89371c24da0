/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What answers to requests are made of, and what is counted of them. */
#ifndef PMXCFS_SOCKET_SOURCES_H
#define PMXCFS_SOCKET_SOURCES_H

#include "base/metrics.h"
#include "base/open_metrics.h"
#include "replica/replica.h"
#include "status/activity.h"
#include "status/status.h"
#include "status/status_group.h"

struct corosync;
struct properties;
struct recorder;
struct store;
struct trials;

#define REQUEST_ID_MAX 113

/* What was counted of requests and connections. Owned by whoever makes the service. */
struct socket_metrics {
    struct counter requests[REQUEST_ID_MAX + 1]; /* by id; 0: those that there are not */
    struct counter refused;                      /* answered with an error */
    struct histogram answers;                    /* duration until the answer was made */
    struct counter clients;                      /* connections that there are */
    struct counter subscribers;                  /* of these, those that hear the change feed */
};

struct request_sources {
    const char *mountpoint;
    const char *state_dir; /* where the database is */
    struct store *store;
    struct replica *replica;
    struct corosync *corosync; /* NULL: local mode */
    struct status *status;
    struct status_group *status_group;
    struct activity *activity;
    struct metrics_source *metrics_source;
    struct recorder *recorder;      /* NULL: no history is written */
    struct trials *trials;          /* NULL: there can be none */
    struct socket_metrics *metrics; /* counted here */
    struct properties *properties;  /* the service's own */
};

#endif
