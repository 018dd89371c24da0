/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the replicated state has to tell, and its sizes. */
#ifndef PMXCFS_REPLICA_METRICS_H
#define PMXCFS_REPLICA_METRICS_H

#include <stdint.h>

struct open_metrics;
struct replica;

/* As readers see it now. */
struct replica_sizes {
    uint64_t version; /* of the tree */
    uint64_t bytes;   /* of all contents */
    uint32_t entries; /* with the root */
    uint32_t guests;
    uint32_t locks;
};
void replica_get_sizes(struct replica *replica, struct replica_sizes *sizes);

void replica_metrics_write(struct replica *replica, struct open_metrics *metrics);

#endif
