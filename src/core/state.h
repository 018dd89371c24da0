/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replicated state of a node: tree, guest list, lock ages. */
#ifndef PMXCFS_CORE_STATE_H
#define PMXCFS_CORE_STATE_H

#include <glib.h>
#include <stdint.h>

#include "core/guests.h"
#include "core/tree.h"

/* How old a lock in priv/lock is, by this node's clock. */
struct lock_age {
    struct entry *directory; /* as it is now; owned reference */
    uint64_t since; /* milliseconds of the caller's clock: first seen with that lock digest */
};

struct state {
    struct tree *tree;
    struct guest_list guests;
    GHashTable *locks; /* inode → struct lock_age, owned */
};

/* Takes over a loaded tree and builds guest list and locks. `now`: milliseconds of a clock that
 * never goes back. */
struct state *state_new(struct tree *tree, uint64_t now);
void state_free(struct state *state);

/* Frees all but the tree, which is the caller's. */
struct tree *state_give_tree(struct state *state);

/* Guest list and locks anew from the tree; locks that are as they were keep their age. */
void state_rebuild(struct state *state, uint64_t now);

/* The lock table's part of one change: `entry` has that inode now; NULL: it is gone. */
void state_update_lock(struct state *state, uint64_t inode, struct entry *entry, uint64_t now);

/* The lock that directory `inode` is; NULL: it is none. */
const struct lock_age *state_lock(const struct state *state, uint64_t inode);

/* The age of the lock at `path` in milliseconds if it is one and its digest is `digest` (NULL:
 * any), else -ENOENT. */
int64_t state_lock_age(const struct state *state, const char *path, const uint8_t *digest,
                       uint64_t now);

#endif
