/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What corosync's client is told at the start, and what it counts. */
#ifndef PMXCFS_CLUSTER_COROSYNC_TYPES_H
#define PMXCFS_CLUSTER_COROSYNC_TYPES_H

#include <stdint.h>

#include "base/metrics.h"

struct corosync_options {
    uint64_t rejoin_delay;    /* milliseconds from one join of a group to the next, at least */
    uint64_t verify_interval; /* milliseconds */
};

/* What was counted of a group since the start. */
struct group_metrics {
    struct counter sent; /* messages that corosync took */
    struct counter sent_bytes;
    struct counter received; /* own ones among them */
    struct counter received_bytes;
    struct counter retries;  /* corosync took a message not now (TRY_AGAIN) */
    struct counter given_up; /* messages */
    struct counter joins;
};

#endif
