/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the records of a journal did, told as effects: by path, as far as rows tell. Pure. */
#ifndef PMXCFS_JOURNAL_REPLAY_EFFECTS_H
#define PMXCFS_JOURNAL_REPLAY_EFFECTS_H

#include "core/draft.h"
#include "journal/record.h"

/* What is there of the entries that a record changes, before it is applied to the draft; a list of
 * unfinished effects, which g_ptr_array_unref() frees. */
GPtrArray *replay_effects_before(const struct draft *draft, const struct journal_record *record);

/* After it was applied: adds its effects to `effects`, without an origin. An entry that took
 * another's name is a rename, as it would have been told when it was made. */
void replay_effects_add(const struct draft *draft, const struct journal_record *record,
                        GPtrArray *before, GPtrArray *effects);

#endif
