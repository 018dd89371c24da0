/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Brings back what some changes changed, as the history has it. Inside history only. */
#ifndef PMXCFS_HISTORY_REVERT_H
#define PMXCFS_HISTORY_REVERT_H

#include <stdint.h>
#include <sys/types.h>

#include "history/trials.h"

/* Which paths: those that changes above `from`, and up to `until` (0: all), changed that processes
 * of the group `group` (0: any) asked for on this node. They become what they were at `from`,
 * whoever changed them later. */
struct revert {
    int64_t from;
    int64_t until;
    pid_t group;
    unsigned int reverted; /* counted: paths that were changed for it */
};

/* 0: done, with *problem (g_free() it) saying what cannot ever be: no content is kept; NULL: all
 * could. A negative errno with *problem: not now. */
int revert_changes(const char *history, struct reverter *reverter, struct revert *revert,
                   char **problem);

/* The id of the last change in the history; 0: there is none. */
int revert_find_last(const char *history, int64_t *id);

#endif
