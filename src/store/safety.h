/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Safety copies: what a synchronisation takes away from this node is kept beside the database. */
#ifndef PMXCFS_STORE_SAFETY_H
#define PMXCFS_STORE_SAFETY_H

#include <stdbool.h>
#include <stdint.h>

#include "core/draft.h"
#include "core/entry.h"

#define SAFETY_COPIES_MAX 10 /* older ones are deleted */

/* The last copy, while it is not known that its synchronisation was stored: one that was not has
 * taken nothing away. All zero: there is none. */
struct safety_copy {
    char *path;                  /* owned; NULL: none */
    uint8_t digest[DIGEST_SIZE]; /* of what is in it */
};

/* Keeps the entries that the synchronisation in `draft` deletes or replaces and that, as far as can
 * be told, only this node had, in `directory` as config.db.kept-DATE-TIME-VERSION: a database like
 * config.db (mode 0600) of those entries and the directories above them; and logs their names.
 * `own`: this node's id; `time`: seconds, for the name. Nothing to keep: nothing is written. What
 * is in `copy` already is not written again; another one takes its place. A failure is logged and
 * holds up nothing. The writer, before the draft is stored. True: a copy was written. */
bool safety_keep(struct safety_copy *copy, const char *directory, const struct draft *draft,
                 uint32_t own, uint32_t time);

/* The draft was stored: the copy is there to stay, and of older ones those beyond the number. */
void safety_stored(struct safety_copy *copy, const char *directory);

/* Forgets the copy; the file stays. */
void safety_clear(struct safety_copy *copy);

#endif
