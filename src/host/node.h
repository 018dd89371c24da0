/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who this node is: its name, its address, and the group that owns the files. */
#ifndef PMXCFS_HOST_NODE_H
#define PMXCFS_HOST_NODE_H

#include <sys/types.h>

/* The host name up to its first dot; g_free() it. NULL, and logged, if there is none that can be
 * the name of a directory. */
char *node_name(void);

/* As node_address(), and logs nothing: *reason is why there is none. */
char *node_resolve(const char *name, const char **reason);

/* The first address that `name` resolves to and that is not loopback, as text; g_free() it. NULL,
 * and logged, if there is none. May wait for a name server. */
char *node_address(const char *name);

/* The id of a group: 0, or -ENOENT (logged) if there is no such group, or another negative errno.
 */
int node_group(const char *name, gid_t *gid);

#endif
