/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Putting a database in the place of the daemon's. */
#ifndef PMXCFS_CTL_RESTORE_H
#define PMXCFS_CTL_RESTORE_H

#include <glib.h>
#include <jansson.h>

#include "core/tree.h"

/* What was there before, and is kept beside the new database. */
struct restored {
    char *kept;           /* the database; NULL: there was none */
    GPtrArray *set_aside; /* names of logs and journals that were left of a missing one */
};

/* Makes a database of `tree` the one in `state_dir`, in one step, with mode 0600. The caller holds
 * the daemon's lock. 0; else stderr says why, and it is as before. restored_clear() *restored. */
int restore_install(const struct tree *tree, const char *state_dir, struct restored *restored);
void restored_clear(struct restored *restored);

/* A line for each name; a list of some. */
void restore_print_kept(const struct restored *restored);
json_t *restore_json_names(const GPtrArray *names);

/* The logs and journals that lie where the database `path` is missing; names, g_ptr_array_unref()
 * it. */
GPtrArray *restore_find_orphans(const char *path);

#endif
