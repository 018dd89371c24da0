/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The synchronisation state machine of a process group: events in, actions out, no I/O, no clock.
 */
#include "cluster/machine.h"

#include <syslog.h>

#include "cluster/machine_internal.h"
#include "cluster/wire.h"

static void log_members(struct machine *machine)
{
    g_autoptr(GString) text = g_string_new("members:");

    for (guint i = 0; i < machine->members->len; i++)
        g_string_append_printf(text, "%s %u/%u", i ? "," : "", member_at(machine, i)->node,
                               member_at(machine, i)->pid);
    machine_push_log(machine, LOG_DEBUG, "%s", text->str);
}

/* --- Configuration changes --- */

static void begin_synchronisation(struct machine *machine, bool joined)
{
    if (joined && machine->group == GROUP_CONFIGURATION)
        machine_give_up_queue(machine);
    else if (joined)
        machine_resend_queue(machine);
    machine_set_mode(machine, MODE_START_SYNC);
    machine->starts = machine_is_lowest(machine);
    machine->start = machine->epoch;
}

/* doc/cluster.md, "Configuration change" */
void machine_configuration(struct machine *machine, const struct member *members,
                           size_t member_count, bool joined, uint32_t time)
{
    machine->epoch =
        (struct epoch){++machine->epoch_counter, time, machine->self.node, machine->self.pid};
    machine_return_to_queue(machine, members, member_count);
    machine_forget_round(machine);
    if (machine->mode >= MODE_LEAVE)
        return;
    machine_take_members(machine, members, member_count);
    log_members(machine);
    if (!machine_find_peer(machine, &machine->self)) {
        if (machine->mode != MODE_START)
            machine_stop(machine, MODE_LEAVE, "this node is no member any more");
    } else if (member_count > 1) {
        begin_synchronisation(machine, joined);
    } else {
        machine_mark_all_synced(machine);
        machine_become_synced(machine);
        machine_deliver_queue(machine);
    }
    machine_assert_sound(machine);
}

bool machine_end_batch(struct machine *machine)
{
    const struct epoch *start = &machine->start;
    bool begins = machine->starts || machine->says_state;

    if (machine->starts)
        machine_push_send(machine, SEND_SYNC,
                          wire_build_sync(MESSAGE_SYNC_START, machine_protocol(machine), start,
                                          start->time, NULL, 0));
    if (machine->says_state)
        machine_push(machine, (struct action){.type = ACTION_SEND_STATE, .epoch = machine->epoch});
    machine_disconnected(machine);
    return begins;
}

void machine_disconnected(struct machine *machine)
{
    machine->starts = machine->says_state = false;
}

/* --- Messages --- */

/* doc/cluster.md, "apply" */
static void apply_now(struct machine *machine, const struct arrival *arrival)
{
    machine_push_apply(machine, arrival->sender, buffer_ref(arrival->message));
}

/* doc/cluster.md, "keep" */
static void keep_back(struct machine *machine, const struct arrival *arrival)
{
    if (!machine_find_peer(machine, &arrival->sender)) {
        machine_stop(machine, MODE_LEAVE, "message from a process that is no member");
        return;
    }
    /* What arrives during the updates those in sync apply at once, whoever sent it. */
    machine_queue(machine, arrival, machine->mode == MODE_UPDATE);
    machine_within_bounds(machine);
}

/* doc/cluster.md, "take the entry" */
static void keep_update(struct machine *machine, const struct arrival *arrival)
{
    if (wire_check_update(arrival->header.body, arrival->header.body_size) < 0) {
        machine_stop(machine, MODE_LEAVE, "malformed update of an entry");
        return;
    }
    g_ptr_array_add(machine->updates, machine_keep(machine, arrival->message));
    machine_within_bounds(machine);
}

/* doc/cluster.md, "Commit" */
static void commit(struct machine *machine, const struct arrival *arrival)
{
    (void)arrival;
    if (machine->committing)
        return;
    machine->committing = true;
    for (guint i = 0; i < machine->updates->len; i++)
        machine_let_go(machine, machine->updates->pdata[i]);
    machine_push(machine, (struct action){.type = ACTION_COMMIT,
                                          .message = g_steal_pointer(&machine->leader_index),
                                          .updates = machine->updates});
    machine->updates = g_ptr_array_new_with_free_func((GDestroyNotify)buffer_unref);
}

void machine_committed(struct machine *machine, int result)
{
    if (!machine->committing)
        return;
    machine->committing = false;
    if (result < 0) {
        machine_fail(machine, "the leader's state could not be taken over");
        return;
    }
    machine_mark_all_synced(machine);
    machine_become_synced(machine);
    machine_apply_sync_queue(machine);
    machine_deliver_queue(machine);
    machine_assert_sound(machine);
}

/* doc/cluster.md, "all are synced" */
static void finish(struct machine *machine, const struct arrival *arrival)
{
    (void)arrival;
    machine_mark_all_synced(machine);
    machine_deliver_queue(machine);
}

typedef void handler(struct machine *machine, const struct arrival *arrival);

static void ignore(struct machine *machine, const struct arrival *arrival)
{
    (void)machine;
    (void)arrival;
}

static void refuse(struct machine *machine, const struct arrival *arrival)
{
    g_autofree char *reason = g_strdup_printf("unexpected message of type %u from node %u",
                                              arrival->header.type, arrival->sender.node);

    machine_stop(machine, MODE_LEAVE, reason);
}

#define MESSAGE_UNKNOWN (MESSAGE_VERIFY + 1)

/* doc/cluster.md, "Delivery", 5: what is done with a message, by type and mode, from START to
 * UPDATE; in LEAVE and beyond nothing is. */
static handler *const handlers[MESSAGE_UNKNOWN + 1][MODE_UPDATE] = {
    [MESSAGE_NORMAL] = {keep_back, keep_back, apply_now, keep_back},
    [MESSAGE_SYNC_START] = {refuse, machine_take_epoch, ignore, refuse},
    [MESSAGE_STATE] = {refuse, machine_take_state, ignore, refuse},
    [MESSAGE_UPDATE] = {refuse, refuse, ignore, keep_update},
    [MESSAGE_UPDATE_COMPLETE] = {refuse, refuse, finish, commit},
    [MESSAGE_VERIFY_REQUEST] = {ignore, ignore, machine_verify_request, ignore},
    [MESSAGE_VERIFY] = {ignore, ignore, machine_compare_checksum, ignore},
    [MESSAGE_UNKNOWN] = {refuse, refuse, ignore, refuse},
};

/* A message of a synchronisation that is over, or not this node's. */
static bool is_outdated(const struct machine *machine, const struct header *header)
{
    return header->type >= MESSAGE_STATE && header->type <= MESSAGE_VERIFY &&
           !same_epoch(&header->epoch, &machine->epoch);
}

/* doc/cluster.md, "Delivery" */
void machine_deliver(struct machine *machine, struct member sender, struct buffer *message)
{
    struct arrival arrival = {.sender = sender, .message = message};
    struct header *header = &arrival.header;
    uint32_t size = message_size(message);

    if (machine->mode >= MODE_LEAVE)
        return;
    int result = wire_parse_header(message->data, size, header);
    if (size >= HEADER_SIZE && header->protocol > machine_protocol(machine)) {
        machine_stop(machine, MODE_VERSION_ERROR,
                     "a member speaks a newer version of the protocol; update this node");
        return;
    }
    if (size >= HEADER_SIZE && header->protocol < machine_protocol(machine))
        return;
    if (result < 0) {
        machine_stop(machine, MODE_LEAVE, "message too short");
        return;
    }
    if (is_outdated(machine, header))
        return;
    handlers[MIN(header->type, MESSAGE_UNKNOWN)][machine->mode - MODE_START](machine, &arrival);
    machine_assert_sound(machine);
}

/* --- Making, asking --- */

struct machine *machine_new(enum machine_group group, struct member self)
{
    struct machine *machine = g_new0(struct machine, 1);

    machine->group = group;
    machine->self = self;
    machine->mode = MODE_START;
    machine->members = g_array_new(FALSE, FALSE, sizeof(struct member));
    machine->peers = g_array_new(FALSE, FALSE, sizeof(struct peer));
    machine->queue = g_sequence_new(NULL);
    machine->updates = g_ptr_array_new_with_free_func((GDestroyNotify)buffer_unref);
    g_queue_init(&machine->sync_queue);
    g_queue_init(&machine->actions);
    return machine;
}

void machine_free(struct machine *machine)
{
    if (!machine)
        return;
    machine_forget_round(machine);
    machine_drop_queue(machine);
    machine_free_actions(machine);
    g_sequence_free(machine->queue);
    g_ptr_array_unref(machine->updates);
    g_array_unref(machine->members);
    g_array_unref(machine->peers);
    g_free(machine);
}

void machine_restart(struct machine *machine, struct member self)
{
    machine_forget_round(machine);
    machine_drop_queue(machine);
    machine_drop_actions(machine, true);
    machine_take_members(machine, NULL, 0);
    machine->self = self;
    machine->epoch = (struct epoch){0};
    machine_set_mode(machine, MODE_START);
}

enum machine_mode machine_mode(const struct machine *machine)
{
    return machine->mode;
}

struct machine_verifications machine_verifications(const struct machine *machine)
{
    return machine->verification.counts;
}

size_t machine_queued(const struct machine *machine)
{
    return (size_t)g_sequence_get_length(machine->queue) + machine->sync_queue.length;
}
