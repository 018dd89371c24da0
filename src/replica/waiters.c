/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who waits for an answer: the callers of changes that were not applied yet, and with acknowledge
 * all those whose change has to be safe with all members first. */
#include "replica/waiters.h"

#include <assert.h>

#define NOT_SENT 0u /* instead of a marker's count */

void waiters_init(struct waiters *waiters)
{
    *waiters = (struct waiters){0};
    lock_init(&waiters->lock, LOCK_RANK_WAITERS);
}

void waiters_destroy(struct waiters *waiters)
{
    assert(waiters->callers.length == 0 && waiters->stored.length == 0);
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

static void unlink_caller(struct waiters *waiters, struct caller *caller)
{
    struct admit_reserve *under_way = &waiters->under_way;

    assert(under_way->bytes >= caller->reserve.bytes);
    assert(under_way->entries >= caller->reserve.entries);
    under_way->bytes -= caller->reserve.bytes;
    under_way->entries -= caller->reserve.entries;
    g_queue_unlink(&waiters->callers, &caller->link);
    assert(waiters->callers.length > 0 || under_way->bytes + under_way->entries == 0);
}

/* Moves those who wait for the marker of that count. */
static void take_round(struct waiters *waiters, uint64_t marker, GQueue *taken)
{
    for (GList *at = waiters->stored.head, *next; at; at = next) {
        next = at->next;
        if (((const struct caller *)at->data)->marker != marker)
            continue;
        g_queue_unlink(&waiters->stored, at);
        g_queue_push_tail_link(taken, at);
    }
}

/* Moves those who have waited since `limit` or longer. */
static void take_old(struct waiters *waiters, GQueue *queue, uint64_t limit, GQueue *taken)
{
    for (GList *at = queue->head, *next; at; at = next) {
        struct caller *caller = at->data;
        next = at->next;
        if (caller->claimed || caller->since > limit)
            continue;
        if (queue == &waiters->callers)
            unlink_caller(waiters, caller);
        else
            g_queue_unlink(queue, at);
        g_queue_push_tail_link(taken, at);
    }
}

/* --- Waiting --- */

void waiters_add(struct waiters *waiters, struct caller *caller, uint64_t count, uint64_t now)
{
    LOCKED(&waiters->lock);
    const GList *last = waiters->callers.tail;
    assert(!last || ((const struct caller *)last->data)->count < count);
    caller->count = count;
    caller->since = now;
    caller->claimed = false;
    caller->link = (GList){.data = caller};
    g_queue_push_tail_link(&waiters->callers, &caller->link);
    waiters->under_way.bytes += caller->reserve.bytes;
    waiters->under_way.entries += caller->reserve.entries;
}

void waiters_begin_round(struct waiters *waiters, uint64_t count)
{
    LOCKED(&waiters->lock);
    struct caller *caller = find(waiters, count);
    if (caller) {
        unlink_caller(waiters, caller);
        caller->marker = NOT_SENT;
        caller->claimed = false;
        g_queue_push_tail_link(&waiters->stored, &caller->link);
    }
}

bool waiters_want_marker(struct waiters *waiters)
{
    LOCKED(&waiters->lock);
    const GList *last = waiters->stored.tail;
    return last && ((const struct caller *)last->data)->marker == NOT_SENT;
}

void waiters_start_round(struct waiters *waiters, uint64_t marker)
{
    LOCKED(&waiters->lock);
    for (const GList *at = waiters->stored.tail; at; at = at->prev) {
        struct caller *caller = at->data;
        if (caller->marker != NOT_SENT)
            break;
        caller->marker = marker;
    }
}

void waiters_restart_rounds(struct waiters *waiters)
{
    LOCKED(&waiters->lock);
    for (const GList *at = waiters->stored.head; at; at = at->next)
        ((struct caller *)at->data)->marker = NOT_SENT;
}

/* --- Answering --- */

static void answer_all(GQueue *taken, int result)
{
    const GList *link;

    while ((link = g_queue_pop_head_link(taken))) {
        struct caller *caller = link->data;
        caller->answer(caller, result);
    }
}

void waiters_answer(struct waiters *waiters, uint64_t count, int result)
{
    GQueue taken = G_QUEUE_INIT;

    lock_take(&waiters->lock);
    struct caller *caller = find(waiters, count);
    if (caller) {
        unlink_caller(waiters, caller);
        g_queue_push_tail_link(&taken, &caller->link);
    } else {
        take_round(waiters, count, &taken);
    }
    lock_give(&waiters->lock);
    answer_all(&taken, result);
}

void waiters_end_rounds(struct waiters *waiters, uint64_t count)
{
    GQueue taken = G_QUEUE_INIT;
    GList *first;

    lock_take(&waiters->lock);
    while ((first = waiters->stored.head)) {
        const struct caller *caller = first->data;
        if (caller->marker == NOT_SENT || caller->marker > count)
            break;
        g_queue_unlink(&waiters->stored, first);
        g_queue_push_tail_link(&taken, first);
    }
    lock_give(&waiters->lock);
    answer_all(&taken, 0);
}

void waiters_fail_rounds(struct waiters *waiters, int error)
{
    GQueue taken = G_QUEUE_INIT;

    lock_take(&waiters->lock);
    take_old(waiters, &waiters->stored, UINT64_MAX, &taken);
    lock_give(&waiters->lock);
    answer_all(&taken, error);
}

unsigned waiters_fail(struct waiters *waiters, uint64_t limit, int error)
{
    GQueue taken = G_QUEUE_INIT;

    lock_take(&waiters->lock);
    take_old(waiters, &waiters->callers, limit, &taken);
    take_old(waiters, &waiters->stored, limit, &taken);
    lock_give(&waiters->lock);
    unsigned count = taken.length;
    answer_all(&taken, error);
    return count;
}

bool waiters_claim(struct waiters *waiters, uint64_t count)
{
    LOCKED(&waiters->lock);
    struct caller *caller = find(waiters, count);
    if (caller)
        caller->claimed = true;
    return caller;
}

bool waiters_cancel(struct waiters *waiters, struct caller *caller)
{
    LOCKED(&waiters->lock);
    if (caller->claimed)
        return false;
    bool found = find(waiters, caller->count) == caller;
    if (found) {
        unlink_caller(waiters, caller);
    } else if (g_queue_link_index(&waiters->stored, &caller->link) >= 0) {
        g_queue_unlink(&waiters->stored, &caller->link);
        found = true;
    }
    return found;
}

/* --- Asking --- */

bool waiters_waits(struct waiters *waiters, uint64_t count)
{
    LOCKED(&waiters->lock);
    bool waits = find(waiters, count) != NULL;
    for (const GList *at = waiters->stored.head; at && !waits; at = at->next)
        waits = ((const struct caller *)at->data)->marker == count;
    return waits;
}

const void *waiters_origin(struct waiters *waiters, uint64_t count, uint32_t *asker)
{
    LOCKED(&waiters->lock);
    const struct caller *caller = find(waiters, count);

    *asker = caller ? caller->asker : 0;
    return caller ? caller->origin : NULL;
}

struct admit_reserve waiters_reserve(struct waiters *waiters)
{
    LOCKED(&waiters->lock);
    return waiters->under_way;
}

size_t waiters_count(struct waiters *waiters)
{
    LOCKED(&waiters->lock);
    return waiters->callers.length + waiters->stored.length;
}
