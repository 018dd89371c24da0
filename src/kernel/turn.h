/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Turning a node over from the version that the kernel has to the one that others wrote.
 *
 * The kernel keeps one size and some pages of a file, and takes them from different answers. A
 * reader asks for the size, then for pages, then compares: if the size is another's by then, it
 * shows less than a version, or more. So the older version is shown, attributes and pages alike,
 * until those who were answered pages of it have had time to take them; who asks for attributes
 * meanwhile waits. Then all is turned over at once: the kernel's size is always that of the version
 * that is shown.
 */
#ifndef PMXCFS_KERNEL_TURN_H
#define PMXCFS_KERNEL_TURN_H

#include "kernel/tell.h"

struct fuse_req;
struct turn;

/* Who answers a request for attributes that waited. */
struct turn_owner {
    void (*answer_attributes)(struct turn_owner *owner, struct fuse_req *req, struct node *node);
};

struct turns {
    struct teller *teller;
    struct turn_owner *owner;
    GQueue under_way;     /* struct turn, in order; of the thread that begins and advances them */
    _Atomic pid_t thread; /* that one: what it asks itself does not wait */
    struct lock lock;     /* guards what follows */
    GQueue waiting;       /* struct asker */
};

void turns_init(struct turns *turns, struct teller *teller, struct turn_owner *owner);

/* Answers all who wait. No turn may be referred to any more. */
void turns_destroy(struct turns *turns);

/* --- One thread. --- */

/* From now on the caller is that one. */
void turns_enter(struct turns *turns);

/* Begins to turn a node over at `now` (milliseconds); turn_unref() it. NULL: there is no older
 * version. */
struct turn *turns_begin(struct turns *turns, struct node *node, uint64_t now);
void turn_unref(struct turn *turn);
bool turn_is_done(const struct turn *turn);

/* Does what can be done at `now` (milliseconds). True if a turn is still under way: call it again a
 * millisecond later. Waits for nothing but the kernel. */
bool turns_advance(struct turns *turns, uint64_t now);

/* --- Any thread --- */

/* A request of `thread` for the attributes of a node that is just being turned over: true if it is
 * answered when that is done. */
bool turns_wait(struct turns *turns, struct fuse_req *req, pid_t thread, struct node *node,
                uint64_t now);

#endif
