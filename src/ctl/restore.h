/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Putting a database in the place of the daemon's. */
#ifndef PMXCFS_CTL_RESTORE_H
#define PMXCFS_CTL_RESTORE_H

#include "core/tree.h"

/* Makes a database of `tree` the one in `state_dir`, in one step, with mode 0600. The caller holds
 * the daemon's lock. What was there is kept beside it: *kept is its name, NULL if there was none;
 * g_free() it. 0; else stderr says why, and it is as before. */
int restore_install(const struct tree *tree, const char *state_dir, char **kept);

#endif
