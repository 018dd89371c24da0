/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a trial's changes are brought back: ordinary changes of this node's, one after the other. */
#ifndef PMXCFS_DAEMON_REVERTER_H
#define PMXCFS_DAEMON_REVERTER_H

#include "history/trials.h"

struct mount;
struct replica;

/* Embed it. */
struct tree_reverter {
    struct reverter reverter;
    struct replica *replica;
    struct mount *mount;
};

/* Both are borrowed. */
void reverter_init(struct tree_reverter *reverter, struct replica *replica, struct mount *mount);

#endif
