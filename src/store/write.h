/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes a database as a whole. */
#ifndef PMXCFS_STORE_WRITE_H
#define PMXCFS_STORE_WRITE_H

#include <glib.h>

#include "core/tree.h"

/* Writes a new database at `path`, safe against a power loss: `entries` (inode → struct entry), the
 * directories above them among them, and row 0. 0, or a negative errno with *message (g_free() it).
 */
int store_write(const char *path, GHashTable *entries, const struct root *root, char **message);

#endif
