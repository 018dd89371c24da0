/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a trial's changes are brought back: ordinary changes of this node's, one after the other. */
#ifndef PMXCFS_DAEMON_REVERTER_H
#define PMXCFS_DAEMON_REVERTER_H

#include "history/trials.h"

struct replica;

/* Embed it; reverter_init(), then the replica when it is there. */
struct tree_reverter {
    struct reverter reverter;
    struct replica *replica;
};

void reverter_init(struct tree_reverter *reverter, struct replica *replica);

#endif
