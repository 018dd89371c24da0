/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that a corosync.conf names. */
#ifndef PMXCFS_CTL_NODELIST_H
#define PMXCFS_CTL_NODELIST_H

#include <glib.h>
#include <stdbool.h>

struct nodelist_node {
    char *name;           /* "" if it has none */
    GPtrArray *addresses; /* ringN_addr, char *, in order */
};

/* The node { } sections in the text of a corosync.conf (corosync.conf(5)), which may be any bytes;
 * g_ptr_array_unref() it. */
GPtrArray *nodelist_parse(const char *text, gsize size);

/* The node of that name, NULL: there is none. */
const struct nodelist_node *nodelist_find(const GPtrArray *nodes, const char *name);

/* Has this host that address? A name stands for what it resolves to; may wait for a name server. */
bool nodelist_is_local(const char *address);

#endif
