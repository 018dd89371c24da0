/* SPDX-License-Identifier: GPL-3.0-or-later */
/* New databases that hold a tree. */
#ifndef PMXCFS_CTL_TOOLS_SAVE_H
#define PMXCFS_CTL_TOOLS_SAVE_H

#include "core/tree.h"

/* Writes a new database (mode 0600) at `path`, which must not exist, nor a log or journal of
 * that name, with all of `tree`; it is loaded once before it gets its name. 0, or a negative errno
 * with *message. */
int tools_save(const struct tree *tree, const char *path, char **message);

#endif
