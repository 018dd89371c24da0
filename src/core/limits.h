/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The sizes that bound everything (doc/filesystem.md). */
#ifndef PMXCFS_CORE_LIMITS_H
#define PMXCFS_CORE_LIMITS_H

#include <stdint.h>

#define FILE_SIZE_MAX 1048576u /* bytes of a file; the same on all nodes */
/* Bytes of data in one change. With the longest path it is a message that corosync delivers in one
 * piece: one of more than 1 MiB - 1 KiB goes in several, and who joins the group between two of
 * them never gets it, while all others make the change. */
#define CHANGE_DATA_MAX (960u * 1024)
#define CONTENT_MAX (128ull * 1024 * 1024) /* bytes of all files; tested at admission only */
#define INODES_MAX 262144u                 /* entries with the root; tested at admission only */
#define PATH_LENGTH_MAX 32767u             /* bytes of a new path; tested at admission only */
#define LEVELS_MAX 4096u                   /* of a new path; tested at admission only */

/* Bytes of a name. What no member tests when it applies a change must be taken wherever that change
 * comes back: by a load, a journal, a synchronisation. So there is none that refuses a long one. */
#define NAME_MAX_ADMITTED 255u /* of a new one; tested at admission only */
#define NAME_MAX_LISTED 1024u  /* of one that the mount shows: every kernel's for FUSE */

/* The global version: one more is not stored (SQLite's integers). Admission keeps away from it by
 * what all nodes may have under way at once. */
#define VERSION_MAX ((uint64_t)INT64_MAX)
#define VERSION_MAX_ADMITTED (VERSION_MAX - (1u << 20))
#define VERSION_WARNED (1ull << 62) /* from here on the log warns */

#endif
