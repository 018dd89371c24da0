/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names in directories, made safe. */
#ifndef PMXCFS_BASE_DIRECTORY_H
#define PMXCFS_BASE_DIRECTORY_H

/* Makes the names in the directory of the file at `path` safe against a power loss. 0 or a negative
 * errno. */
int directory_sync(const char *path);

#endif
