/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that the kernel knows: one for each living entry that it has looked up, and what each
 * shows. A table in memory with one lock: nothing here knows of FUSE, threads or time. */
#ifndef PMXCFS_MOUNT_NODE_H
#define PMXCFS_MOUNT_NODE_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/metrics.h"
#include "core/draft.h"
#include "mount/virtual.h"

/* A truncation by an open with O_TRUNC waits for the write that follows, to be one change with it.
 * On this node the file is empty from the open on. */
enum truncation {
    TRUNCATION_NONE,
    TRUNCATION_WAITS,
    TRUNCATION_SENT, /* its change is under way */
};

/* An identity that the kernel keeps pages, attributes, locks and positions for. Its address is the
 * FUSE node id (the root's is FUSE_ROOT_ID), which is no inode number: a synchronisation can give a
 * number to another entry. Under the table's lock but for what never changes. */
struct node {
    enum virtual_name virtual_name; /* VIRTUAL_NONE: a tree entry, or the root. Never changes */
    bool is_root;                   /* never changes */
    bool gone;           /* its entry was deleted, or its number is another's: changes are ENOENT */
    uint64_t inode;      /* tree entry; 0: none. Never changes */
    struct buffer *text; /* status file: its content. Never changes */

    struct entry *shown; /* what it shows instead of the tree's entry: its last state when it is
                            gone, else the older version that the kernel still has; NULL: nothing */
    struct entry *tail;  /* the longest older version whose size the kernel may still believe in;
                            NULL: none */

    enum truncation truncation;
    uint64_t due;   /* milliseconds: when a truncation that waits is sent */
    bool timed;     /* it is in the timer's list, which pins it */
    uint64_t sized; /* milliseconds: when an open with O_TRUNC was last told attributes to keep */

    unsigned int changing; /* own changes of the content under way */
    bool read_meanwhile;   /* pages were read that lack one of them */

    uint64_t lookups; /* the kernel's references */
    uint32_t pins;    /* our own for a while */
};

struct node_table {
    struct lock lock;
    GHashTable *by_inode; /* inode → its node */
    GHashTable *lost;     /* set: nodes found in no other way, until the kernel
                             forgets them */
    struct node root;
    struct node *virtuals[VIRTUAL_COUNT]; /* the newest node of each */
    struct counter *made;                 /* counted here */
    struct counter *freed;
};

void node_table_init(struct node_table *table, struct counter *made, struct counter *freed);
void node_table_destroy(struct node_table *table);

/* --- References. Any thread. --- */

/* The node of an entry, which the kernel refers to once more. The caller holds the state's lock, so
 * that the entry is a living one. */
struct node *node_look_up(struct node_table *table, uint64_t inode);

/* The node of a status file with that text, or (NULL) of a link. */
struct node *node_look_up_virtual(struct node_table *table, enum virtual_name name,
                                  struct buffer *text);

/* The kernel gives references back. A node that nobody refers to is freed. */
void node_forget(struct node_table *table, struct node *node, uint64_t lookups);

void node_pin(struct node_table *table, struct node *node);
void node_unpin(struct node_table *table, struct node *node);

/* The node of an inode (0: the root) if the kernel knows one, pinned; else NULL. */
struct node *node_find(struct node_table *table, uint64_t inode);

/* All nodes of the tree that the kernel knows, or all links, pinned; g_ptr_array_unref() it. */
GPtrArray *node_all(struct node_table *table);
GPtrArray *node_all_links(struct node_table *table);

bool node_is_known(struct node_table *table, const struct node *node); /* to the kernel */

/* --- What a node shows --- */

#define VIEW_LAYERS 3

struct view {
    /* Contents, owned: the first is what is shown (NULL: the root). What lies beyond its end is
     * taken from the next: the kernel asks for whole pages, and a page must never have zeros where
     * the kernel believes in, or will soon believe in, a longer file. */
    struct entry *layers[VIEW_LAYERS];
    bool gone;
    bool emptied; /* by an open with O_TRUNC: the size is 0 */
    bool passing; /* the kernel must not keep the attributes */
};

/* `tree` is the published one, whose lock the caller holds. `reads`: pages are filled from it. */
void node_view(struct node_table *table, struct node *node, const struct tree *tree, bool reads,
               struct view *view);
void view_clear(struct view *view);

/* The path of a living node; NULL: it is gone; "": the root. g_free() it. The same lock. */
char *node_path(struct node_table *table, const struct node *node, const struct tree *tree);
bool node_is_gone(struct node_table *table, const struct node *node);

/* --- Publication --- */

/* What is about to be published, with the state's lock held exclusively. Nodes of entries that
 * others changed go on showing the old version until node_show_new(). */
void node_table_publishing(struct node_table *table, const GPtrArray *effects, bool rebuilt);

/* The kernel has dropped the pages of the old version: the new one is shown. */
void node_show_new(struct node_table *table, struct node *node);

/* The kernel has dropped what it read until then: sizes of older versions are forgotten. */
void node_settle(struct node_table *table, struct node *node);

/* Until when (milliseconds) the kernel may still be taking attributes that it was answered before a
 * notification; `lasting`: milliseconds. */
uint64_t node_unsettled_until(struct node_table *table, const struct node *node, uint64_t lasting);

/* --- Own changes of the content --- */

/* An open with O_TRUNC at `now` (milliseconds): the file is empty, and its truncation waits until
 * `due`. `*listed`: the node is new among those that the timer looks after. -ENOENT: it is gone. */
int node_truncate(struct node_table *table, struct node *node, uint64_t now, uint64_t due,
                  bool *listed);

/* A change is about to be sent: true if the truncation that waited is to be made by it. */
bool node_begin_change(struct node_table *table, struct node *node);

/* It has been answered: true if the kernel may have read pages that lack it, and has to drop them.
 * `failed`: a truncation that was to be made by it is given up, the old content is there again. */
bool node_end_change(struct node_table *table, struct node *node, bool failed);

/* fsync: as node_begin_change(), but only if a truncation waits; else false and nothing begun. */
bool node_begin_truncation(struct node_table *table, struct node *node);

/* What the timer does with a node of its list at `now`: it stays there, or is no longer listed, or
 * (begun, as by node_begin_change()) its truncation has to be sent. */
enum node_due { NODE_STAYS, NODE_DONE, NODE_SEND };
enum node_due node_meet(struct node_table *table, struct node *node, uint64_t now);

#endif
