/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What can be said to the kernel of one node. Such a call can wait for pages that a request has
 * locked: so no thread that answers requests may make it, but for teller_tell_attributes(). */
#ifndef PMXCFS_KERNEL_TELL_H
#define PMXCFS_KERNEL_TELL_H

#include <stdatomic.h>

#include "kernel/node.h"

struct fuse_session;
struct replica;

struct teller {
    struct fuse_session *session;
    struct replica *replica;
    const char *mountpoint;
    struct node_table *table;
    atomic_bool ending; /* the kernel may not know any more what it knew */
    bool warned;        /* that attributes cannot be refreshed */
};

/* The kernel asks for the attributes again before it uses them. Answers to what it asked before
 * this are not taken any more. */
void teller_tell_attributes(struct teller *teller, const struct node *node);

/* The kernel asks for the attributes, and has taken the answer when this returns: which is what no
 * notification can do. False: own writes that are under way made it void; try again. It needs
 * CAP_DAC_READ_SEARCH; without it the kernel asks when it next needs them. */
bool teller_refresh_attributes(struct teller *teller, const struct node *node);

/* Pages go on with what an own truncation took away until the kernel has taken its answer, and no
 * longer: it drops by itself what it read until then. So the kernel is asked for the size that it
 * has. 0: it has taken it, or there is no such truncation; -EBUSY: not yet; -EAGAIN: that cannot be
 * told. */
#define READER_NONE ((pid_t)-1) /* the notifier: the kernel may ask for the root's attributes */

/* Before a read of that thread. Waits for nothing, but with READER_NONE. */
int teller_end_shortening(const struct teller *teller, struct node *node, pid_t reader);

/* The kernel drops the pages and asks for the attributes again. */
void teller_drop_pages(struct teller *teller, struct node *node);

#endif
