/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Publication: a draft becomes what readers see. */
#ifndef PMXCFS_CORE_PUBLISH_H
#define PMXCFS_CORE_PUBLISH_H

#include <stdint.h>

#include "core/draft.h"
#include "core/state.h"

/* Installs `draft`, which stays the caller's (its effects are still needed) but has no changes
 * left. The caller is the writer and holds the lock that readers take. Memory only, no failure. */
void state_publish(struct state *state, struct draft *draft, uint64_t now);

#endif
