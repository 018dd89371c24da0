/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon as a whole, as mount and socket see it. */
#ifndef PMXCFS_STATUS_OVERVIEW_H
#define PMXCFS_STATUS_OVERVIEW_H

#include "core/buffer.h"

/* Filled in above all parts (report.c). Any thread; memory and /proc only, no waiting. */
struct overview {
    /* The text of .metrics, up to a second old; one reference. */
    struct buffer *(*metrics)(struct overview *overview);

    /* The answer of request 101, JSON; one reference. */
    struct buffer *(*status)(struct overview *overview);

    /* Asks the group for a verification. 0: it is under way, and the status will tell; -EOPNOTSUPP:
     * local mode; -EAGAIN: this node is not in sync; -EPERM: it is not the one that may ask. */
    int (*verify)(struct overview *overview);
};

#endif
