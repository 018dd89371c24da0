/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The published tree: what readers see. Altered by state_publish() alone. */
#ifndef PMXCFS_CORE_TREE_H
#define PMXCFS_CORE_TREE_H

#include <glib.h>
#include <stdint.h>

#include "core/entry.h"

/* The root is inode 0 and no struct entry: version, writer and mtime of the last change are its
 * own. */
struct root {
    uint64_t version;
    uint32_t writer;
    uint32_t mtime;
};

struct tree {
    GHashTable *entries; /* inode → struct entry, owned reference */
    GHashTable *names;   /* the same entries, a set by directory and name */
    GHashTable *children; /* directory's inode → GPtrArray of its entries, in ascending inode order;
                             the root's among them. None for one that never had any; an empty list
                             stays, since locks come and go in a directory that has no others */
    GPtrArray *sorted; /* the entries in ascending inode order; NULL: not known now. Writer only */
    struct root root;
    uint64_t bytes; /* sum of all sizes */
};

struct tree *tree_new(void); /* empty, version 1, writer 0, mtime 0 */
void tree_free(struct tree *tree);

/* Look-ups: the caller holds the state's lock, and takes a reference to keep an entry beyond it.
 * NULL: there is none. The root has no entry. */
struct entry *tree_entry(const struct tree *tree, uint64_t inode);
struct entry *tree_child(const struct tree *tree, uint64_t parent, const char *name);
struct entry *tree_named(const struct tree *tree, uint64_t parent, const char *name /* no NUL */,
                         size_t length);

/* The entry at `path`, or NULL with *error = -ENOENT or -ENOTDIR. "" (the root) gives NULL and
 * *error = 0. */
struct entry *tree_lookup(const struct tree *tree, const char *path, int *error);

/* The path of an inode ("" for the root), NULL if it is not in the tree; g_free() it. */
char *tree_path(const struct tree *tree, uint64_t inode);

/* The path of NAME in directory `parent`; NULL if the directory is not in the tree. */
char *tree_path_of(const struct tree *tree, uint64_t parent, const char *name);

/* Number of entries with the root. */
uint32_t tree_entry_count(const struct tree *tree);

uint32_t tree_child_count(const struct tree *tree, uint64_t inode);

/* The first child of a directory whose inode is above `after` (0: the first of all), in inode
 * order: an inode is a position in a listing that stays valid whatever comes and goes. */
struct entry *tree_next_child(const struct tree *tree, uint64_t directory, uint64_t after);

/* All entries in ascending inode order, borrowed, without the root; g_ptr_array_unref() it.
 * Writer only. */
GPtrArray *tree_sorted(const struct tree *tree);

/* For state_publish() and the loader only. put replaces an entry of the same inode; both keep the
 * sums. */
void tree_put(struct tree *tree, struct entry *entry /* takes the reference */);
void tree_remove(struct tree *tree, uint64_t inode);

/* The order of the entries is kept at each change, unless it was forgotten before many changes at
 * once; then tree_sorted() sorts each time, until it is kept again. */
void tree_forget_order(struct tree *tree);
void tree_keep_order(struct tree *tree);

#endif
