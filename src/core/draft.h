/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A draft: changes over a state that only the writer sees until they are stored and published. */
#ifndef PMXCFS_CORE_DRAFT_H
#define PMXCFS_CORE_DRAFT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/change.h"
#include "core/guests.h"
#include "core/tree.h"

struct state;

/* What one applied change did, for kernel caches, version counters and the change feed. */
struct effect {
    enum change_operation operation;
    uint64_t version;     /* the global version that it made */
    uint32_t time;        /* seconds, as in the change */
    uint32_t writer;      /* node id */
    bool truncated;       /* write: the file may have shrunk */
    const void *origin;   /* who asked, if it was this process: opaque to the core, only compared */
    uint32_t asker;       /* the number of the process that asked; 0: not known here */
    uint64_t count;       /* with an origin: the change's, among this process's own */
    const char *path;     /* NULL: a synchronisation that only moved the version */
    const char *to;       /* rename's target, else NULL */
    struct entry *before; /* the entry as it was; NULL: it was made. Reference held */
    struct entry *after;  /* as it is now; NULL: it was deleted. Reference held */
    struct entry *replaced; /* rename: the target that went away. Reference held */
};

/* An effect with copies of both paths (NULL allowed), and nothing else set. For a list of
 * draft_effects_new(), which frees it. */
struct effect *effect_new(const char *path, const char *to);

struct draft {
    const struct state *base;
    GHashTable *entries; /* inode → struct entry (owned reference) or NULL: deleted */
    GHashTable *names;   /* NAME_KEY (a struct entry, owned reference) → inode that has it now, 0:
                            none. Only those that changed hands: a write touches none */
    GHashTable *children; /* inode → change of its child count, GINT_TO_POINTER */
    GArray *changes;      /* room for draft_changes() */
    GHashTable *guests;   /* id → struct guest (owned) or NULL: taken out */
    struct root root;
    uint64_t bytes;         /* sum of all sizes with the draft */
    uint64_t guest_version; /* last number given to a guest */
    GPtrArray *effects;     /* struct effect, owned, in order */
    bool rebuild;           /* a synchronisation: guests and locks are built anew at publication */
};

/* An empty draft over `base`, which must outlive it and not be published to by another. */
struct draft *draft_new(const struct state *base);
void draft_free(struct draft *draft);

/* An empty list that owns its effects; and makes a list own what it holds. */
GPtrArray *draft_effects_new(void);
void draft_effects_own(GPtrArray *effects);

/* The effects so far, now the caller's (g_ptr_array_unref() it); the draft starts a new list. */
GPtrArray *draft_take_effects(struct draft *draft);

/* Drops all changes but keeps the effects: what failed to be stored, or was just published. */
void draft_restart(struct draft *draft);

bool draft_is_empty(const struct draft *draft); /* nothing changed, not even the root */

/* Look-ups that see the changes; as the tree_ functions. */
struct entry *draft_entry(const struct draft *draft, uint64_t inode);
struct entry *draft_child(const struct draft *draft, uint64_t parent, const char *name);
struct entry *draft_lookup(const struct draft *draft, const char *path, int *error);
/* The path is the first `size` bytes of `path`. */
struct entry *draft_lookup_bytes(const struct draft *draft, const char *path, size_t size,
                                 int *error);

/* The path of an entry in the draft's result; g_free() it. NULL: a parent is missing, no directory,
 * or there is a cycle. */
char *draft_path(const struct draft *draft, const struct entry *entry);
bool draft_has_children(const struct draft *draft, uint64_t inode);
GPtrArray *draft_sorted(const struct draft *draft); /* as tree_sorted() */

/* What the draft changes, in ascending inode order. */
struct draft_change {
    uint64_t inode;
    struct entry *entry; /* borrowed; NULL: deleted */
};
/* struct draft_change; the draft's own, and valid until it is asked for again. */
const GArray *draft_changes(const struct draft *draft);

const struct guest *draft_guest(const struct draft *draft, uint32_t id);

/* Changes; put takes the reference and replaces the entry of that inode, wherever it was. */
void draft_put(struct draft *draft, struct entry *entry);
void draft_remove(struct draft *draft, uint64_t inode);
void draft_register_guest(struct draft *draft, const struct guest_path *path);
void draft_unregister_guest(struct draft *draft, uint32_t id);

/* 0 if the draft's result is a proper tree (every parent a directory that leads to the root, every
 * name valid and once in its directory, no data in directories), else -EBADMSG with *problem
 * (g_free()). For synchronisations, whose entries come from outside. */
int draft_check(const struct draft *draft, char **problem);

/* A guest id that two configurations of the draft's result have: true, and both paths (g_free()),
 * if there is one. Used before a synchronisation is committed, and before a journal is brought in.
 */
bool draft_find_duplicate_guest(const struct draft *draft, uint32_t *id, char **first,
                                char **second);

#endif
