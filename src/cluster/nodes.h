/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that corosync.conf lists, and who is told of them. */
#ifndef PMXCFS_CLUSTER_NODES_H
#define PMXCFS_CLUSTER_NODES_H

#include <stddef.h>
#include <stdint.h>

/* A node of corosync's node list, as cmap has it. */
struct cluster_node {
    uint32_t id;
    uint32_t votes;
    const char *name; /* borrowed */
};

struct node_listener {
    /* The node list, at each connection and whenever it has changed. Entries without an id or name
     * are not in it. All is borrowed. Called by the cluster thread. */
    void (*nodes)(struct node_listener *listener, uint32_t own_id, const char *cluster_name,
                  uint64_t config_version, const struct cluster_node *nodes, size_t count);
};

#endif
