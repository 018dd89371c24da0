/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Admission: what the node where a change is asked for refuses before anything is sent. */
#ifndef PMXCFS_CORE_ADMIT_H
#define PMXCFS_CORE_ADMIT_H

#include "core/change.h"
#include "core/state.h"

/* Own changes that are under way and not applied yet, for the limits. */
struct admit_reserve {
    uint64_t bytes;
    uint32_t entries;
};

/* 0, or a negative errno; *reason (static text, for the log) is set on a refusal that an
 * administrator should hear about, else NULL. -EOVERFLOW: no change at all can be numbered any
 * more. The caller holds the state's lock. Quorum and group membership are the replica's to test.
 * On success *reserve is what the change may add at most. */
int admit(const struct state *state, const struct change *change,
          const struct admit_reserve *under_way, struct admit_reserve *reserve,
          const char **reason);

#endif
