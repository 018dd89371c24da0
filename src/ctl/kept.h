/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Safety copies: what a synchronisation took away from this node (store/safety.h). */
#ifndef PMXCFS_CTL_KEPT_H
#define PMXCFS_CTL_KEPT_H

#include <glib.h>

#include "core/tree.h"
#include "ctl/commands.h"

/* The copies in a state directory, the oldest first: what their names are told apart by, as
 * "20261122-184150-57" (char *). g_ptr_array_unref() it. */
GPtrArray *kept_list(const char *state_dir);

/* Where the copy of that name is; g_free() it. */
char *kept_path(const char *state_dir, const char *name);

/* The tree in the copy of that name, with or without what all their names begin with, or "latest";
 * tree_free() it. NULL: stderr says why and *code is set. */
struct tree *kept_read(const char *state_dir, const char *name, int *code);

#endif
