/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A copy of config.db at one moment, with what is in the journal, while a daemon may be writing. */
#ifndef PMXCFS_CTL_TOOLS_BACKUP_H
#define PMXCFS_CTL_TOOLS_BACKUP_H

/* Whether a copy can get the name `copy`: 0, or a negative errno with *message, as if a WAL of
 * another database lies there, which would be played into it. */
int tools_backup_possible(const char *copy, char **message);

/* Copies the database at `path` as it is between two commits, with what is in its journal, to
 * `copy` (mode 0600), which is replaced in one step. A daemon may be working on it. 0, or a
 * negative errno with *message, also where tools_backup_possible() gives one. */
int tools_backup(const char *path, const char *copy, char **message);

#endif
