/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Application: what every member does with a delivered change. A pure function of draft and change.
 */
#ifndef PMXCFS_CORE_APPLY_H
#define PMXCFS_CORE_APPLY_H

#include "core/change.h"
#include "core/draft.h"

/* Applies `change` to `draft`. `origin` is put into the effect. 0, or the negative errno that is
 * the change's result on every node; then the draft is as before. CHANGE_UNLOCK_REQUEST changes
 * nothing and gives 0 (its judge is replica/). Never add a test here that other implementations do
 * not make: the copies would drift apart. */
int apply(struct draft *draft, const struct change *change, const void *origin);

#endif
