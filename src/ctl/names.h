/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the nodes of the cluster are called, and the words for names that nothing has. */
#ifndef PMXCFS_CTL_NAMES_H
#define PMXCFS_CTL_NAMES_H

#include <glib.h>
#include <stdbool.h>

#include "ctl/commands.h"

/* All nodes that the daemon tells of: those of the node list, this one, and those that have guests.
 * char *; tells nobody if there is no answer, and is empty then. g_ptr_array_unref() it. */
GPtrArray *names_of_nodes(const struct context *context);

/* Is there a node of that name: one of those above, or one that has a directory in nodes/, as nodes
 * have that were removed? If not, stderr says so and *code is set. */
bool names_check_node(const struct context *context, const char *name, int *code);

bool names_contain(const GPtrArray *names, const char *name);

/* Says on stderr that no `what` is called so, and which of `known` may have been meant. */
void names_complain(const char *what, const char *name, const GPtrArray *known);

#endif
