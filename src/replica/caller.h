/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who asked for a change. */
#ifndef PMXCFS_REPLICA_CALLER_H
#define PMXCFS_REPLICA_CALLER_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/admit.h"

/* Embedded in a request of the asker's, whose it is but for the time from replica_change() to the
 * answer. */
struct caller {
    /* Called exactly once, from whichever thread is the writer (perhaps before replica_change()
     * returns), unless replica_cancel() gave the caller back. 0 or a negative errno. Must not
     * block. */
    void (*answer)(struct caller *caller, int result);
    const void *origin; /* goes into the effect: whose kernel caches know the change already; NULL:
                           nobody's */

    uint32_t asker; /* goes into the effect: the number of the process; 0: not known */

    /* The replica's own; zero at first. */
    GList link;      /* among those without an answer */
    uint64_t count;  /* of the change */
    uint64_t marker; /* of the message after which it is safe with all */
    uint64_t since;  /* milliseconds */
    bool claimed;    /* its change is being published: it is about to be answered */
    struct admit_reserve reserve;
};

#endif
