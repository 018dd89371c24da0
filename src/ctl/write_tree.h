/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files below a new directory, which nobody but their owner can read. */
#ifndef PMXCFS_CTL_WRITE_TREE_H
#define PMXCFS_CTL_WRITE_TREE_H

#include <stddef.h>
#include <stdint.h>

/* All of these say on stderr what is wrong and give -1 then. Paths are relative, clean, and of a
 * tree without links; `mtime` is in seconds. */

/* Makes the directory, or takes one that is empty; private from now on (0700). A descriptor. */
int write_tree_open(const char *path);

/* The parents of a path that are not there yet. */
int write_tree_parents(int directory, const char *path);

int write_tree_directory(int directory, const char *path);
int write_tree_file(int directory, const char *path, const void *bytes, size_t size,
                    uint32_t mtime);

/* Of a directory, once all is in it. */
int write_tree_time(int directory, const char *path, uint32_t mtime);

/* Once all is written. */
int write_tree_sync(int directory);

#endif
