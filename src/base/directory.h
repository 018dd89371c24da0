/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Names in directories: made safe, and listed. */
#ifndef PMXCFS_BASE_DIRECTORY_H
#define PMXCFS_BASE_DIRECTORY_H

#include <dirent.h>

/* Makes the names in the directory of the file at `path` safe against a power loss. 0 or a negative
 * errno. */
int directory_sync(const char *path);

/* The directory NAME in `parent`, no symbolic link, to be listed: closedir() it. NULL: it cannot be
 * opened, or is none. */
DIR *directory_open_in(int parent, const char *name);

#endif
