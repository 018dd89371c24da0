/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the replica counts. */
#ifndef PMXCFS_REPLICA_COUNTERS_H
#define PMXCFS_REPLICA_COUNTERS_H

#include "base/metrics.h"
#include "core/change.h"

/* Since the replica was made. */
struct replica_metrics {
    struct counter changes[CHANGE_UNLOCK + 1]; /* applied, by operation */
    struct counter own_changes;                /* of these, asked for here */
    struct counter change_bytes;               /* of their messages */
    struct histogram batches;                  /* changes in a commit */
    struct histogram commits;                  /* duration */
    struct counter commit_failures;
    struct histogram synchronisations; /* with others: from the change of membership on */
    struct counter entries_sent;       /* in synchronisations, to nodes that lacked them */
    struct counter entries_taken;
    struct counter safety_copies;
    struct counter departures; /* the group was left because of an error */
};

#endif
