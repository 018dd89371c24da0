/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a node shows, and what its kernel has of it. All of it is memory under the lock of the
 * table: nothing here knows of FUSE, threads or time. */
#ifndef PMXCFS_KERNEL_NODE_H
#define PMXCFS_KERNEL_NODE_H

#include "core/draft.h"
#include "kernel/node_table.h"

/* --- What a node shows --- */

struct node_view {
    struct entry *entry; /* owned; NULL: the root */
    bool gone;
    bool private;        /* gone: its path was */
    bool emptied;        /* by an open with O_TRUNC: the size is 0 */
    uint32_t emptied_at; /* emptied: seconds of the wall clock, as its truncation will have it */
    bool passing;        /* the kernel must not keep the attributes */
};

/* What attributes are made of; entry_unref() it. `tree` is the published one, whose lock the caller
 * holds. */
void node_view(struct node_table *table, struct node *node, const struct tree *tree,
               struct node_view *view);

/* What reads get while nothing changes: one reference; else NULL. The same lock. */
struct entry *node_content(struct node_table *table, struct node *node, const struct tree *tree);

/* What reads get in any case: at most `size` bytes from `offset` on, into `to`; how many. The
 * kernel asks for whole pages, and shows them as far as it believes that the file goes: so where
 * versions or own writes follow each other, a page has no end before that of any of them. `direct`:
 * no page is filled from it. The same lock. */
size_t node_read(struct node_table *table, struct node *node, const struct tree *tree, bool direct,
                 size_t offset, size_t size, uint8_t *to);

/* The path of a living node; NULL: it is gone; "": the root. g_free() it. The same lock. */
char *node_path(struct node_table *table, const struct node *node, const struct tree *tree);
bool node_is_gone(struct node_table *table, const struct node *node);

/* True if the last change of the content that was asked for through the node was made to another
 * file: that one had its path when the change's turn came. */
bool node_is_overtaken(struct node_table *table, const struct node *node);

/* --- Publication --- */

/* What is about to be published, with the state's lock held exclusively. Nodes of entries that
 * others changed go on showing the old version until node_show_newer(). */
void node_table_publishing(struct node_table *table, const GPtrArray *effects, bool rebuilt);

/* The kernel is about to be told to drop the pages of a node; and has dropped them, at `now`
 * (milliseconds): it waits for pages that are under way, so own changes may end in between. */
void node_begin_drop(struct node_table *table, struct node *node, uint64_t now);
void node_end_drop(struct node_table *table, struct node *node, uint64_t now);

/* True if there is an older version, which is shown or was until now. */
bool node_has_older(struct node_table *table, const struct node *node);

/* True if the older version is shown, of another size than the newer one. */
bool node_shows_other_size(struct node_table *table, const struct node *node);

/* How often pages were asked for. */
uint64_t node_reads(struct node_table *table, const struct node *node);

/* From that time on (milliseconds; 0: no longer), who asks for the attributes of a node whose
 * versions differ in size is not answered. */
void node_hold_askers(struct node_table *table, struct node *node, uint64_t from);
bool node_holds_askers(struct node_table *table, const struct node *node, uint64_t now);

/* The newest one is shown, at `now` (milliseconds). Pages end where it ends until the next
 * node_begin_drop(): the kernel shortens a file whose pages end early, if it has not been told of
 * it meanwhile. While an own change of the size is under way it does not, and would show zeros: if
 * one was just now, pages go on with the older one. How often others had changed the content by
 * then.
 */
uint64_t node_show_newer(struct node_table *table, struct node *node, uint64_t now);

/* The kernel has taken the size of the newest version, and dropped what it read until then: the
 * older one is forgotten. `foreign`: what node_show_newer() said; what others changed since is
 * settled after it was shown, too, even if an own change shows it already: pages may have been read
 * before that. */
void node_settle(struct node_table *table, struct node *node, uint64_t foreign);

/* True if an open with O_TRUNC was answered at that time (milliseconds) or later: the kernel may
 * have taken its attributes after a notification. */
bool node_was_sized_since(struct node_table *table, const struct node *node, uint64_t time);

/* --- Own changes of the content --- */

/* An open with O_TRUNC, at what the clocks say (milliseconds; seconds of the wall clock). */
struct emptying {
    pid_t opener;
    uint64_t now;
    uint64_t due; /* when its truncation is sent, if no write has followed by then */
    uint32_t time;
};

/* The file is empty. True: the node is new among those that the timer looks after, and pinned for
 * it. node_begin_shortening() comes first. */
bool node_truncate(struct node_table *table, struct node *node, const struct emptying *emptying);

/* When the node was emptied last, as programs were told: seconds of the wall clock. */
uint32_t node_emptied_at(struct node_table *table, const struct node *node);
bool node_is_emptied(struct node_table *table, const struct node *node);

/* A change of the content is about to be sent: true if the truncation that waited is to be made by
 * it. `write` (NULL: it is none) must stay until node_end_change(). */
bool node_begin_change(struct node_table *table, struct node *node, struct own_write *write);

/* A truncation to `size` is asked for, for which that thread waits in the kernel. Until the thread
 * has had a processor to take the answer, the kernel goes by the old size, and takes no other one:
 * so pages are filled from the old content, whoever changes it meanwhile, as what is missing would
 * be shown as zeros. After that they must not be: a write that leaves a hole would show what was
 * there before. A write of this node's proves that it was taken: the kernel has one change of a
 * file under way at a time. The state's lock, as for node_view(). */
void node_begin_shortening(struct node_table *table, struct node *node, const struct tree *tree,
                           pid_t thread, uint32_t size);
bool node_is_shortened(struct node_table *table, const struct node *node,
                       struct shortening *shortening);

/* The one with that number was taken. */
void node_end_shortening(struct node_table *table, struct node *node, uint64_t number);

/* It has been answered, at `now` (milliseconds): true if the kernel may have to drop pages, or to
 * take a truncation. `truncates`: as node_end_truncation(). */
bool node_end_change(struct node_table *table, struct node *node, bool truncates, uint64_t now);

/* A truncation that was sent has been answered. If it was not made to this file, whatever the
 * answer is, the old content is there again. A write of the kernel's may be under way. True: as
 * node_end_change(). */
bool node_end_truncation(struct node_table *table, struct node *node);

/* What the timer does with a node of its list at `now`: it stays there, or is no longer listed, or
 * its truncation has to be sent (as if by node_begin_change()). */
enum node_due { NODE_STAYS, NODE_DONE, NODE_SEND };
enum node_due node_meet(struct node_table *table, struct node *node, uint64_t now);

/* Who opened a node whose truncation waits; 0: none does. */
pid_t node_waits_for(struct node_table *table, const struct node *node);

/* True if any node's truncation waits. */
bool node_table_waits(struct node_table *table);

#endif
