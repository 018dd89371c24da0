/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What is counted of the local socket, and its part of .metrics (doc/metrics.md). */
#ifndef PMXCFS_SOCKET_METRICS_H
#define PMXCFS_SOCKET_METRICS_H

#include "base/metrics.h"

struct open_metrics;

#define REQUEST_ID_MAX 104

/* What was counted of requests and connections. Owned by whoever makes the service. */
struct socket_metrics {
    struct counter requests[REQUEST_ID_MAX + 1]; /* by id; 0: those that there are not */
    struct counter refused;                      /* answered with an error */
    struct histogram answers;                    /* duration until the answer was made */
    struct counter clients_come;                 /* connections accepted ... */
    struct counter clients_gone;                 /* ... and ended */
    struct counter subscribers_come;
    struct counter subscribers_gone;
};

void socket_metrics_write(const struct socket_metrics *socket, struct open_metrics *metrics);

#endif
