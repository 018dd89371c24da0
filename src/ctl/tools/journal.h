/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the journal beside a database did that the database has not yet. */
#ifndef PMXCFS_CTL_TOOLS_JOURNAL_H
#define PMXCFS_CTL_TOOLS_JOURNAL_H

#include <glib.h>

/* Reads the database at `path` and its journal as they are at one moment, and alters neither.
 * *effects (g_ptr_array_unref() it): struct effect, in order, none if there is nothing to be
 * brought in. 0, or a negative errno with *message (g_free() it): also for a journal that a start
 * would set aside. */
int tools_read_journal(const char *path, GPtrArray **effects, char **message);

#endif
