/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The records that wait to be written, in order; the steps of one piece of writing are one. */
#include "history/queue.h"

#include <string.h>

static struct record **latest_of(struct record_queue *queue, const struct entry *entry)
{
    return &queue->latest[((uintptr_t)entry / sizeof(*entry)) % QUEUE_LATEST];
}

static bool is_written(const struct record *record)
{
    return (record->operation == HISTORY_WRITE || record->operation == HISTORY_MTIME) &&
           record->before && record->after && !entry_is_directory(record->after);
}

/* It goes on with what was written so far, of which nothing is lost if only the later one is kept.
 */
static bool is_more(const struct record *record)
{
    const struct entry *before = record->before;
    const struct entry *after = record->after;

    return before->size == 0 ||
           (!record->truncated && before->content && after->content &&
            before->size <= after->size &&
            (before->content == after->content ||
             memcmp(before->content->data, after->content->data, before->size) == 0));
}

static void take_out(struct record_queue *queue, struct record *record)
{
    *(record->previous ? &record->previous->next : &queue->first) = record->next;
    *(record->next ? &record->next->previous : &queue->last) = record->previous;
    queue->count--;
    queue->bytes -= record->bytes;
}

struct record *record_queue_absorb(struct record_queue *queue, struct record *record)
{
    if (!is_written(record))
        return NULL;
    struct record **latest = latest_of(queue, record->before);
    struct record *step = *latest;
    if (!step || step->after != record->before || step->asker != record->asker ||
        step->node != record->node || step->replayed != record->replayed || !is_more(record))
        return NULL;
    *latest = NULL;
    take_out(queue, step);
    record_absorb(record, step);
    return step;
}

void record_queue_add(struct record_queue *queue, struct record *record)
{
    record->previous = queue->last;
    record->next = NULL;
    *(queue->last ? &queue->last->next : &queue->first) = record;
    queue->last = record;
    queue->count++;
    queue->bytes += record->bytes;
    if (record->tree) { /* what comes later goes on with that */
        queue->trees++;
        memset(queue->latest, 0, sizeof(queue->latest));
    } else if (is_written(record))
        *latest_of(queue, record->after) = record;
}

void record_queue_move(struct record_queue *to, struct record_queue *from)
{
    if (from->first) {
        from->first->previous = to->last;
        *(to->last ? &to->last->next : &to->first) = from->first;
        to->last = from->last;
    }
    to->count += from->count;
    to->bytes += from->bytes;
    to->trees += from->trees;
    memset(to->latest, 0, sizeof(to->latest));
    *from = (struct record_queue){0};
}

void record_queue_clear(struct record_queue *queue)
{
    struct record *next;

    for (struct record *record = queue->first; record; record = next) {
        next = record->next;
        record_free(record);
    }
    *queue = (struct record_queue){0};
}
