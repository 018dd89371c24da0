/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that the kernel knows, one for each living entry that it has looked up, and who refers
 * to them. A table in memory with one lock. */
#ifndef PMXCFS_KERNEL_NODE_TABLE_H
#define PMXCFS_KERNEL_NODE_TABLE_H

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "base/metrics.h"
#include "core/draft.h"
#include "kernel/virtual_name.h"

/* A truncation by an open with O_TRUNC waits for the write that follows, to be one change with it.
 * On this node the file is empty from the open on. */
enum truncation {
    TRUNCATION_NONE,
    TRUNCATION_WAITS,
    TRUNCATION_SENT, /* its change is under way */
};

/* A write that this node asked for. */
struct own_write {
    uint32_t offset;
    uint32_t size;
    const uint8_t *data;
    uint64_t heard; /* milliseconds: when it was asked for */
    bool truncates; /* it makes the truncation that waited: nothing else is in the file */
    bool refilled; /* pages may have been read again, without it, when the kernel had filled them */
};

/* An own truncation whose answer the kernel may not have taken. */
struct shortening {
    uint64_t number; /* 0: none */
    uint32_t size;   /* the kernel's when it has taken it */
    pid_t thread;    /* which asked for it */
};

/* An identity that the kernel keeps pages, attributes, locks and positions for. Its address is the
 * FUSE node id (the root's is FUSE_ROOT_ID), which is no inode number: a synchronisation can give a
 * number to another entry. Under the table's lock but for what never changes.
 * Many members: each says one thing about the same file, and they turn over together. */
struct node {
    enum virtual_name virtual_name; /* VIRTUAL_NONE: a tree entry, or the root. Never changes */
    bool is_root;                   /* never changes */
    bool gone;      /* its entry was deleted, or its number is another's: changes are ENOENT */
    bool private;   /* and its path was */
    bool overtaken; /* the last own change of it was made to another file, which had its path */
    uint64_t inode; /* tree entry; 0: none. Never changes */
    struct buffer *text; /* status file: its content. Never changes */

    struct entry *older; /* a version that the kernel may still have pages or the size of, or what
                            the entry was last; NULL: none */
    bool shows_older;    /* it is what is shown */
    bool resized;        /* the newer one has, or had, another size */
    bool fills;          /* where one version ends, pages go on with the other ... */
    struct entry *tail;  /* ... and with the longest one before, whose size the kernel may have;
                            NULL: there was no longer one */
    atomic_bool spoiled; /* the kernel may have pages that are not as it thinks, or go on behind the
                            end: set by anybody, until they are dropped */
    uint64_t holds_from; /* milliseconds: since when those who ask for attributes wait until it is
                            turned over; 0: they do not */
    uint64_t foreign;    /* how often others changed the content */
    uint64_t reads;      /* how often pages were asked for */

    struct shortening shortening;
    struct entry *untaken; /* what the kernel goes by until it takes the answer; NULL: nothing */
    uint64_t changed;      /* milliseconds: when a truncation was asked for, or an own change of the
                              content was answered */

    enum truncation truncation;
    uint64_t due;   /* milliseconds: when a truncation that waits is sent */
    pid_t opener;   /* the thread that asked for it */
    bool timed;     /* it is in the timer's list, which pins it */
    uint64_t sized; /* milliseconds: when an open with O_TRUNC was last told attributes to keep */
    uint32_t emptied_at; /* seconds of the wall clock: the same */

    const struct own_write *writing; /* under way; the kernel's pages have it already. The kernel
                                        has one at a time under way for a file. NULL: none */
    /* A page that is dropped while the kernel has filled it for a write that is yet to come is
     * read again without what is written. */
    uint64_t dropped; /* milliseconds: when pages were, since the last own change was answered; 0:
                         they were not */
    bool dropping;    /* they are just now */
    bool reread;      /* and some were read since */

    uint64_t lookups; /* the kernel's references */
    uint32_t pins;    /* our own for a while */
};

/* Counted here and in notify.h. */
struct kernel_metrics {
    struct counter nodes_made;    /* identities that the kernel was told of ... */
    struct counter nodes_freed;   /* ... and has forgotten */
    struct counter pages_dropped; /* the kernel was told to drop */
    struct counter names_dropped;
};

struct node_table {
    struct lock lock;
    GHashTable *by_inode; /* inode → its node */
    GHashTable *lost;     /* set: nodes found in no other way, until the kernel
                             forgets them */
    GPtrArray *ended;     /* struct node, pinned: see node_take_ended() */
    struct node root;
    struct node *virtuals[VIRTUAL_COUNT]; /* the newest node of each */
    unsigned int waiting;                 /* nodes whose truncation waits */
    uint64_t shortenings;                 /* numbers given so far */
    struct kernel_metrics *metrics;
};

void node_table_init(struct node_table *table, struct kernel_metrics *metrics);
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

/* Those whose entries others have taken away since the last call, and which the kernel still has
 * attributes of, pinned; g_ptr_array_unref() it. */
GPtrArray *node_take_ended(struct node_table *table);

bool node_is_known(struct node_table *table, const struct node *node); /* to the kernel */

/* True if the kernel has a node of an entry that one of the published effects is about, or of a
 * directory whose names they change: else it has nothing of them to forget, and who looks them up
 * from now on finds what was published. */
bool node_any_known(struct node_table *table, const GPtrArray *effects);

/* --- For node.c, with the lock held --- */

#define NODE_KEY(inode) ((gpointer)(uintptr_t)(inode)) /* in by_inode */

/* The node of an inode; NULL: the kernel knows none. */
struct node *node_of(const struct node_table *table, uint64_t inode);

/* Pins a node, and adds it. */
void node_pin_into(GPtrArray *nodes, struct node *node);

#endif
