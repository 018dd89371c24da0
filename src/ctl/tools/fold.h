/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Brings a journal that was left behind into its database, without a daemon. */
#ifndef PMXCFS_CTL_TOOLS_FOLD_H
#define PMXCFS_CTL_TOOLS_FOLD_H

#include "journal/replay.h"

/* Brings in the journal beside the database at `path`, which no daemon has open. 0 and *report
 * (g_free() what it owns), or a negative errno with *message; -ENOENT: no database is there. */
int tools_fold(const char *path, struct replay_report *report, char **message);

#endif
