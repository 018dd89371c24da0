/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sizes that bound everything (doc/filesystem.md). */
#ifndef PMXCFS_CORE_LIMITS_H
#define PMXCFS_CORE_LIMITS_H

#include <stdint.h>

#define FILE_SIZE_MAX 1048576u             /* bytes of a file; the same on all nodes */
#define CONTENT_MAX (128ull * 1024 * 1024) /* bytes of all files; tested at admission only */
#define INODES_MAX 262144u                 /* entries with the root; tested at admission only */
#define NAME_MAX_ADMITTED 255u             /* bytes of a new name; older entries may have 1024 */
#define NAME_MAX_STORED 1024u
#define PATH_LENGTH_MAX 32767u /* bytes of a new path; tested at admission only */
#define LEVELS_MAX 4096u       /* more do not load, and no synchronisation lets them pass */

/* The global version: one more is not stored (SQLite's integers). Admission keeps away from it by
 * what all nodes may have under way at once. */
#define VERSION_MAX ((uint64_t)INT64_MAX)
#define VERSION_MAX_ADMITTED (VERSION_MAX - (1u << 20))
#define VERSION_WARNED (1ull << 62) /* from here on the log warns */

#endif
