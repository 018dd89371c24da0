/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages that wait for the end of a synchronisation: the queue, the sync queue, and what belongs
 * to one round. */
#include <assert.h>

#include "cluster/machine_internal.h"

#define KEPT_OVERHEAD 128u /* about what a kept message costs beyond its bytes */

struct buffer *machine_keep(struct machine *machine, struct buffer *message)
{
    machine->kept_bytes += (uint64_t)message_size(message) + KEPT_OVERHEAD;
    return buffer_ref(message);
}

struct buffer *machine_let_go(struct machine *machine, struct buffer *message)
{
    uint64_t bytes = (uint64_t)message_size(message) + KEPT_OVERHEAD;

    assert(machine->kept_bytes >= bytes);
    machine->kept_bytes -= bytes;
    return message;
}

static void drop_kept(struct machine *machine, struct kept *kept)
{
    buffer_unref(machine_let_go(machine, kept->message));
    g_free(kept);
}

void machine_drop_queue(struct machine *machine)
{
    GSequenceIter *begin = g_sequence_get_begin_iter(machine->queue);

    for (GSequenceIter *at = begin; !g_sequence_iter_is_end(at); at = g_sequence_iter_next(at))
        drop_kept(machine, g_sequence_get(at));
    g_sequence_remove_range(begin, g_sequence_get_end_iter(machine->queue));
}

static void drop_sync_queue(struct machine *machine)
{
    struct kept *kept;

    while ((kept = g_queue_pop_head(&machine->sync_queue)))
        drop_kept(machine, kept);
}

static void drop_updates(struct machine *machine)
{
    for (guint i = 0; i < machine->updates->len; i++)
        machine_let_go(machine, machine->updates->pdata[i]);
    g_ptr_array_set_size(machine->updates, 0);
}

void machine_drop_states(struct machine *machine)
{
    for (guint i = 0; i < machine->peers->len; i++) {
        struct peer *peer = peer_at(machine, i);
        if (peer->state && !peer->shared)
            machine_let_go(machine, peer->state);
        buffer_unref(peer->state);
        peer->state = NULL;
        peer->shared = false;
    }
}

/* What belongs to one round of synchronisation ends with it. */
void machine_forget_round(struct machine *machine)
{
    machine_drop_states(machine);
    drop_updates(machine);
    drop_sync_queue(machine);
    buffer_unref(machine->leader_index);
    machine->leader_index = NULL;
    machine->starts = machine->says_state = machine->committing = false;
    machine->verification.checksum = (struct checksum){0};
    machine->verification.pending = false; /* it would come back with an epoch that is over */
}

/* Counts are compared as a signed 32-bit difference, so that they may wrap around. */
static int compare_kept(const void *a, const void *b, void *unused)
{
    uint64_t left = ((const struct kept *)a)->count, right = ((const struct kept *)b)->count;
    int32_t difference = (int32_t)(uint32_t)(left - right);

    (void)unused;
    return (difference > 0) - (difference < 0);
}

/* Behind those of the same count. */
static void insert_kept(struct machine *machine, struct kept *kept)
{
    g_sequence_insert_sorted(machine->queue, kept, compare_kept, NULL);
}

void machine_queue(struct machine *machine, const struct arrival *arrival, bool for_sync_queue)
{
    struct kept *kept = g_new(struct kept, 1);

    *kept = (struct kept){.sender = arrival->sender,
                          .count = arrival->header.count,
                          .message = machine_keep(machine, arrival->message),
                          .unsynced = !machine_find_peer(machine, &arrival->sender)->synced};
    if (for_sync_queue)
        g_queue_push_tail(&machine->sync_queue, kept);
    else
        insert_kept(machine, kept);
}

static bool is_own(const struct machine *machine, const struct kept *kept)
{
    return same_member(&kept->sender, &machine->self);
}

/* Its caller hears that nobody knows, in place of its result. */
static void give_up(struct machine *machine, struct kept *kept)
{
    if (is_own(machine, kept))
        machine_push(machine,
                     (struct action){.type = ACTION_GIVE_UP, .message = buffer_ref(kept->message)});
    drop_kept(machine, kept);
}

/* Whether somebody goes on who was in sync. */
static bool any_synced_among(const struct machine *machine, const struct member *members,
                             size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct peer *peer = machine_find_peer(machine, &members[i]);
        if (peer && peer->synced)
            return true;
    }
    return false;
}

/* Those in sync have what members sent that were not: it comes with their state. If none of them is
 * left it is as if it had come before the updates. */
void machine_return_to_queue(struct machine *machine, const struct member *members, size_t count)
{
    bool known = any_synced_among(machine, members, count);
    struct kept *kept;

    while ((kept = g_queue_pop_head(&machine->sync_queue))) {
        if (kept->unsynced && !known)
            insert_kept(machine, kept);
        else
            give_up(machine, kept);
    }
}

static void apply_kept(struct machine *machine, struct kept *kept)
{
    machine_push_apply(machine, kept->sender, machine_let_go(machine, kept->message));
    g_free(kept);
}

void machine_apply_sync_queue(struct machine *machine)
{
    struct kept *kept;

    while ((kept = g_queue_pop_head(&machine->sync_queue)))
        apply_kept(machine, kept);
}

/* doc/cluster.md, "Delivering the queue", after it was settled who is synced: synced members'
 * messages are applied, or go to the sync queue of a node that waits for UPDATEs; those of members
 * that are not synced stay, those of members that are gone are dropped. */
void machine_deliver_queue(struct machine *machine)
{
    GSequenceIter *at = g_sequence_get_begin_iter(machine->queue);

    while (!g_sequence_iter_is_end(at)) {
        GSequenceIter *here = at;
        struct kept *kept = g_sequence_get(here);
        const struct peer *peer = machine_find_peer(machine, &kept->sender);

        at = g_sequence_iter_next(at);
        if (peer && !peer->synced)
            continue;
        g_sequence_remove(here);
        if (!peer)
            drop_kept(machine, kept);
        else if (machine->mode == MODE_UPDATE)
            g_queue_push_tail(&machine->sync_queue, kept);
        else
            apply_kept(machine, kept);
    }
}

/* A value that is set twice, or an entry that is logged twice, is the same. The others do so with
 * theirs, so that a member that has just joined gets them all, in the order of their counts. */
void machine_resend_queue(struct machine *machine)
{
    GSequenceIter *at = g_sequence_get_begin_iter(machine->queue);

    for (; !g_sequence_iter_is_end(at); at = g_sequence_iter_next(at)) {
        const struct kept *kept = g_sequence_get(at);
        if (is_own(machine, kept))
            machine_push_send(machine, SEND_SYNC, buffer_ref(kept->message));
    }
    machine_drop_queue(machine);
}

/* A change is never on its way for a second time. Who has got it may have applied it while this
 * node still waits, be cut off, and come back with it in its state: a copy that arrives then would
 * be applied to that, and nobody can call it back. */
void machine_give_up_queue(struct machine *machine)
{
    GSequenceIter *at;

    while (!g_sequence_iter_is_end(at = g_sequence_get_begin_iter(machine->queue))) {
        struct kept *kept = g_sequence_get(at);
        g_sequence_remove(at);
        give_up(machine, kept);
    }
}
