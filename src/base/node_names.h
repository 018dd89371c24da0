/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who knows what the nodes of the cluster are called. */
#ifndef PMXCFS_BASE_NODE_NAMES_H
#define PMXCFS_BASE_NODE_NAMES_H

#include <stdint.h>

struct node_names {
    /* A copy, g_free() it; NULL: not known. Any thread. */
    char *(*name_of)(struct node_names *names, uint32_t id);
};

#endif
