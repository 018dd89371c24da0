/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who waits for an answer: the callers of changes that were not applied yet, and with acknowledge
 * all those whose change has to be safe with all members first. */
#ifndef PMXCFS_REPLICA_WAITERS_H
#define PMXCFS_REPLICA_WAITERS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/lock.h"
#include "core/admit.h"
#include "replica/caller.h"

/* Embedded in the replica. Any thread. Answers are given without the lock. A caller belongs to its
 * asker; it is in here from waiters_add() until it is answered or taken out. */
struct waiters {
    struct lock lock;
    GQueue callers; /* struct caller, by their own links, in ascending order of counts */
    GQueue stored;  /* the same, of changes that are stored here, by the counts of the markers
                       after which they are safe with all; at its end those not marked yet */
    struct admit_reserve under_way; /* of `callers` */
};

void waiters_init(struct waiters *waiters);
void waiters_destroy(struct waiters *waiters); /* nobody may be waiting any more */

/* Waits for the change of that count, which is higher than all before. `now`: milliseconds. */
void waiters_add(struct waiters *waiters, struct caller *caller, uint64_t count, uint64_t now);

/* Gives whoever (still) waits for that count, a caller or a whole round, `result`: 0 or a negative
 * errno. */
void waiters_answer(struct waiters *waiters, uint64_t count, int result);

/* The change of that count was stored here: who waits for it has to wait until it is safe with all.
 */
void waiters_begin_round(struct waiters *waiters, uint64_t count);

/* Whether somebody waits for a marker that was not sent yet; and all of them wait for that of
 * `marker` from now on, which is no other's. */
bool waiters_want_marker(struct waiters *waiters);
void waiters_start_round(struct waiters *waiters, uint64_t marker);

/* All members have confirmed the marker of that count, and so those before it: what these rounds
 * wait for is safe with all. */
void waiters_end_rounds(struct waiters *waiters, uint64_t count);

/* The members are others: whatever was marked wants a new marker. */
void waiters_restart_rounds(struct waiters *waiters);

/* All whose change is to be safe with all, those of markers under way too, get `error`. */
void waiters_fail_rounds(struct waiters *waiters, int error);

/* All who have waited since `limit` (milliseconds) or longer get `error`; how many. */
unsigned waiters_fail(struct waiters *waiters, uint64_t limit, int error);

/* The change of that count is about to be published: its caller waits for waiters_answer() or
 * waiters_begin_round(), and nothing else takes it out. False: it has none any more. */
bool waiters_claim(struct waiters *waiters, uint64_t count);

/* Takes a caller out without an answer; false: it is not in here (any more), or is about to be
 * answered. */
bool waiters_cancel(struct waiters *waiters, struct caller *caller);

/* Whether anybody (still) waits for that count: a caller, or a round for its marker. */
bool waiters_waits(struct waiters *waiters, uint64_t count);

/* The origin of the caller of that count, and its asker; NULL and 0: there is none. */
const void *waiters_origin(struct waiters *waiters, uint64_t count, uint32_t *asker);

/* What the changes that are waited for may add at most; and how many callers wait, for whatever it
 * is. */
struct admit_reserve waiters_reserve(struct waiters *waiters);
size_t waiters_count(struct waiters *waiters);

#endif
