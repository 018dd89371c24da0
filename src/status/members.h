/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes of the cluster: who is in the node list, who is online, whether there is quorum. */
#ifndef PMXCFS_STATUS_MEMBERS_H
#define PMXCFS_STATUS_MEMBERS_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/nodes.h"

/* Rules: doc/status.md, ".members". No lock: the owner serialises. Setters tell whether anything
 * changed, which raises clinfo. */

struct members {
    bool known; /* a node list was given: this is a cluster */
    char *cluster_name;
    uint64_t config_version; /* totem.config_version, 0 if absent */
    GPtrArray *nodes;        /* struct cluster_node, owned with their names, by id */
    GArray *online;          /* uint32_t: node ids in the status group */
    GHashTable *clocks;      /* node id → struct member_clock, owned */
    bool quorate;
};

struct members *members_new(void);
void members_free(struct members *members);

/* How far a node's clock is ahead of ours, by the times of its messages: seconds. Messages can only
 * be late, so that the most that the last two tell is nearest. */
struct member_clock {
    int64_t latest;
    int64_t before;
};

/* Logs that no node has the host's name: it was renamed, or its node was never added. */
void members_look_for_host(const struct members *members, const char *host);

void members_set_clock(struct members *members, uint32_t id, int64_t ahead);

/* False: it has sent nothing yet. */
bool members_get_clock(const struct members *members, uint32_t id, int64_t *ahead);

/* A new node list. Nodes without name or with an id of 0 are left out, and the later ones of equal
 * ids or names. */
bool members_set_nodes(struct members *members, const char *cluster_name, uint64_t config_version,
                       const struct cluster_node *nodes, size_t count);
bool members_set_online(struct members *members, const uint32_t *ids, size_t count);
/* The names of the nodes that are (not) online, with commas, g_free() it; NULL: none. */
char *members_names(const struct members *members, bool online);
bool members_set_quorate(struct members *members, bool quorate);

/* Borrowed; NULL: the node list has none of that id or name. */
const struct cluster_node *members_by_id(const struct members *members, uint32_t id);
const struct cluster_node *members_by_name(const struct members *members, const char *name);

/* Adds "cluster" and "nodelist" to a JSON object, if the node list is known. `addresses`: node id →
 * address (char *), nodes without one are absent. */
void members_json(const struct members *members, GHashTable *addresses, json_t *object);

#endif
