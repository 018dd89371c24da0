/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who waits for an answer: the callers of changes that were not applied yet, and with acknowledge
 * all those whose change has to be safe with all members first. */
#include "replica/waiters.h"

#include <assert.h>

#define NOT_SENT 0u /* the round whose marker has no count yet */

static void round_destroy(gpointer round)
{
    g_ptr_array_unref(round);
}

static gpointer count_key(uint64_t count)
{
    return (gpointer)(uintptr_t)count;
}

void waiters_init(struct waiters *waiters)
{
    *waiters = (struct waiters){
        .rounds = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, round_destroy)};
    lock_init(&waiters->lock, LOCK_RANK_WAITERS);
    g_queue_init(&waiters->callers);
}

void waiters_destroy(struct waiters *waiters)
{
    assert(waiters->callers.length == 0);
    g_hash_table_unref(waiters->rounds);
    lock_destroy(&waiters->lock);
}

/* --- With the lock held --- */

/* Answers come in the order of counts, so it is the first as a rule. */
static struct caller *find(const struct waiters *waiters, uint64_t count)
{
    for (const GList *at = waiters->callers.head; at; at = at->next) {
        struct caller *caller = at->data;
        if (caller->count >= count)
            return caller->count == count ? caller : NULL;
    }
    return NULL;
}

static void forget(struct waiters *waiters, struct caller *caller)
{
    g_queue_unlink(&waiters->callers, &caller->link);
    assert(waiters->under_way.bytes >= caller->reserve.bytes &&
           waiters->under_way.entries >= caller->reserve.entries);
    waiters->under_way.bytes -= caller->reserve.bytes;
    waiters->under_way.entries -= caller->reserve.entries;
    assert(waiters->callers.length > 0 || waiters->under_way.bytes == 0);
}

static struct caller *take(struct waiters *waiters, uint64_t count)
{
    struct caller *caller = find(waiters, count);

    if (caller)
        forget(waiters, caller);
    return caller;
}

static GPtrArray *take_round(struct waiters *waiters, uint64_t count)
{
    gpointer round = NULL;

    g_hash_table_steal_extended(waiters->rounds, count_key(count), NULL, &round);
    return round;
}

/* Moves those who have waited long enough; `round` may be empty then. */
static void take_old(GPtrArray *round, uint64_t limit, GPtrArray *taken)
{
    for (guint i = round->len; i-- > 0;) {
        if (((struct caller *)round->pdata[i])->since <= limit)
            g_ptr_array_add(taken, g_ptr_array_remove_index(round, i));
    }
}

static void take_old_rounds(struct waiters *waiters, uint64_t limit, GPtrArray *taken)
{
    GHashTableIter iter;
    gpointer round;

    g_hash_table_iter_init(&iter, waiters->rounds);
    while (g_hash_table_iter_next(&iter, NULL, &round)) {
        take_old(round, limit, taken);
        if (((GPtrArray *)round)->len == 0) /* its marker may never come back */
            g_hash_table_iter_remove(&iter);
    }
}

/* --- Waiting --- */

void waiters_add(struct waiters *waiters, struct caller *caller, uint64_t count, uint64_t now)
{
    lock_take(&waiters->lock);
    const GList *last = waiters->callers.tail;
    assert(!last || ((const struct caller *)last->data)->count < count);
    caller->count = count;
    caller->since = now;
    caller->link = (GList){.data = caller};
    g_queue_push_tail_link(&waiters->callers, &caller->link);
    waiters->under_way.bytes += caller->reserve.bytes;
    waiters->under_way.entries += caller->reserve.entries;
    lock_give(&waiters->lock);
}

bool waiters_begin_round(struct waiters *waiters, uint64_t count)
{
    lock_take(&waiters->lock);
    struct caller *caller = take(waiters, count);
    if (caller) {
        GPtrArray *round = g_hash_table_lookup(waiters->rounds, count_key(NOT_SENT));
        if (!round) {
            round = g_ptr_array_new();
            g_hash_table_insert(waiters->rounds, count_key(NOT_SENT), round);
        }
        g_ptr_array_add(round, caller);
    }
    lock_give(&waiters->lock);
    return caller != NULL;
}

bool waiters_want_marker(struct waiters *waiters)
{
    lock_take(&waiters->lock);
    bool wanted = g_hash_table_contains(waiters->rounds, count_key(NOT_SENT));
    lock_give(&waiters->lock);
    return wanted;
}

void waiters_start_round(struct waiters *waiters, uint64_t count)
{
    lock_take(&waiters->lock);
    assert(count != NOT_SENT && !g_hash_table_contains(waiters->rounds, count_key(count)));
    GPtrArray *round = take_round(waiters, NOT_SENT);
    if (round) /* they may have been cancelled */
        g_hash_table_insert(waiters->rounds, count_key(count), round);
    lock_give(&waiters->lock);
}

/* --- Answering --- */

static void answer_all(GPtrArray *callers, int result)
{
    for (guint i = 0; i < callers->len; i++) {
        struct caller *caller = callers->pdata[i];
        caller->answer(caller, result);
    }
}

static void answer_round(GPtrArray *round, int result)
{
    if (!round)
        return;
    answer_all(round, result);
    g_ptr_array_unref(round);
}

void waiters_answer(struct waiters *waiters, uint64_t count, int result)
{
    lock_take(&waiters->lock);
    struct caller *caller = take(waiters, count);
    GPtrArray *round = caller ? NULL : take_round(waiters, count);
    lock_give(&waiters->lock);
    if (caller)
        caller->answer(caller, result);
    answer_round(round, result);
}

bool waiters_end_round(struct waiters *waiters, uint64_t count)
{
    lock_take(&waiters->lock);
    GPtrArray *round = take_round(waiters, count);
    lock_give(&waiters->lock);
    answer_round(round, 0);
    return round != NULL;
}

void waiters_fail_rounds(struct waiters *waiters, int error)
{
    g_autoptr(GPtrArray) callers = g_ptr_array_new();

    lock_take(&waiters->lock);
    take_old_rounds(waiters, UINT64_MAX, callers);
    lock_give(&waiters->lock);
    answer_all(callers, error);
}

unsigned waiters_fail(struct waiters *waiters, uint64_t limit, int error)
{
    g_autoptr(GPtrArray) callers = g_ptr_array_new();

    lock_take(&waiters->lock);
    for (const GList *at = waiters->callers.head; at;) {
        struct caller *caller = at->data;
        at = at->next;
        if (caller->since > limit)
            continue;
        forget(waiters, caller);
        g_ptr_array_add(callers, caller);
    }
    take_old_rounds(waiters, limit, callers);
    lock_give(&waiters->lock);
    answer_all(callers, error);
    return callers->len;
}

bool waiters_cancel(struct waiters *waiters, struct caller *caller)
{
    GHashTableIter iter;
    gpointer round;

    lock_take(&waiters->lock);
    bool found = find(waiters, caller->count) == caller;
    if (found)
        forget(waiters, caller);
    g_hash_table_iter_init(&iter, waiters->rounds);
    while (!found && g_hash_table_iter_next(&iter, NULL, &round))
        found = g_ptr_array_remove(round, caller);
    lock_give(&waiters->lock);
    return found;
}

/* --- Asking --- */

const void *waiters_origin(struct waiters *waiters, uint64_t count)
{
    lock_take(&waiters->lock);
    const struct caller *caller = find(waiters, count);
    const void *origin = caller ? caller->origin : NULL;
    lock_give(&waiters->lock);
    return origin;
}

struct admit_reserve waiters_reserve(struct waiters *waiters)
{
    lock_take(&waiters->lock);
    struct admit_reserve under_way = waiters->under_way;
    lock_give(&waiters->lock);
    return under_way;
}

size_t waiters_count(struct waiters *waiters)
{
    lock_take(&waiters->lock);
    size_t count = waiters->callers.length;
    lock_give(&waiters->lock);
    return count;
}
