/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes a database as a whole. */
#ifndef PMXCFS_STORE_WRITE_H
#define PMXCFS_STORE_WRITE_H

#include "core/draft.h"

/* Stores all that `draft` has, safe against a power loss, in the database at `path`, which nobody
 * has open, or in a new one. The draft is over an empty state. 0, or a negative errno with
 * *message. */
int store_write(const char *path, const struct draft *draft, char **message);

#endif
