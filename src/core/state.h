/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replicated state of a node: tree, guest list, lock ages. */
#ifndef PMXCFS_CORE_STATE_H
#define PMXCFS_CORE_STATE_H

#include <glib.h>
#include <stdint.h>

#include "core/draft.h"
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

/* Installs `draft`, which stays the caller's (its effects are still needed) but has no changes
 * left. The caller is the writer and holds the lock that readers take. Memory only, no failure. */
void state_publish(struct state *state, struct draft *draft, uint64_t now);

/* The lock that directory `inode` is; NULL: it is none. */
const struct lock_age *state_lock(const struct state *state, uint64_t inode);

/* The age of the lock at `path` in milliseconds if it is one and its digest is `digest` (NULL:
 * any), else -ENOENT. */
int64_t state_lock_age(const struct state *state, const char *path, const uint8_t *digest,
                       uint64_t now);

/* A guest id that two configurations of the draft's result have: true, and both paths (g_free()),
 * if there is one. Used before a synchronisation is committed, and at load with an empty draft. */
/* 0 if the draft's result is a proper tree (every parent a directory that leads to the root, every
 * name valid and once in its directory, no data in directories), else -EBADMSG with *problem
 * (g_free()). For synchronisations, whose entries come from outside. */
int draft_check(const struct draft *draft, char **problem);

bool draft_find_duplicate_guest(const struct draft *draft, uint32_t *id, char **first,
                                char **second);

#endif
