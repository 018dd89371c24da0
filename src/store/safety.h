/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Safety copies: what a synchronisation takes away from this node is kept beside the database. */
#ifndef PMXCFS_STORE_SAFETY_H
#define PMXCFS_STORE_SAFETY_H

#include <stdint.h>

#include <stdbool.h>

#include "core/draft.h"

#define SAFETY_COPIES_MAX 10 /* older ones are deleted */

/* Keeps the entries that the synchronisation in `draft` deletes or replaces and that, as far as can
 * be told, only this node had, in `directory` as config.db.kept-DATE-TIME-VERSION: a database like
 * config.db (mode 0600) of those entries and the directories above them; and logs their names.
 * `own`: this node's id; `time`: seconds, for the name. Nothing to keep: nothing is written. A
 * failure is logged and holds up nothing. The writer, before the draft is stored. True: a copy was
 * written. */
bool safety_keep(const char *directory, const struct draft *draft, uint32_t own, uint32_t time);

#endif
