/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What can be said to the kernel of one node. Such a call can wait for pages that a request has
 * locked: so no thread that answers requests may make it, but for teller_tell_attributes(). */
#ifndef PMXCFS_KERNEL_TELL_H
#define PMXCFS_KERNEL_TELL_H

#include <stdatomic.h>

#include "kernel/node.h"

struct fuse_session;

struct teller {
    struct fuse_session *session;
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

/* The kernel drops the pages and asks for the attributes again. */
void teller_drop_pages(struct teller *teller, struct node *node);

#endif
