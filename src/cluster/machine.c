/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The synchronisation state machine of a process group: events in, actions out, no I/O, no clock.
 */
#include "cluster/machine.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "core/index.h"

/* What all messages that wait here may take together. The largest lawful need is a whole tree in
 * UPDATE messages or the states of a large cluster; beyond that a member is out of order, and to
 * leave is better than to take the host's memory. */
#define KEPT_BYTES_MAX (512ull * 1024 * 1024)
#define KEPT_OVERHEAD 128u /* about what a kept message costs beyond its bytes */

#define VERIFY_REQUEST_SIZE 8u
#define VERIFY_SIZE (8u + DIGEST_SIZE)

/* A NORMAL message that is kept back. */
struct kept {
    struct member sender;
    uint64_t count;
    struct buffer *message; /* a reference */
};

/* What is known of a member, beside its struct member. */
struct peer {
    bool synced;          /* has the state that the group agreed upon */
    struct buffer *state; /* its STATE message, or NULL; a reference */
    bool shared;          /* `state` is another peer's message with the same body */
};

/* The checksum that VERIFY messages are compared with. */
struct checksum {
    bool wanted; /* ACTION_CHECKSUM is out */
    bool own;    /* the request was this node's: it sends the VERIFY */
    bool known;  /* `digest` is there */
    uint64_t id; /* of the request */
    struct epoch epoch;
    uint8_t digest[DIGEST_SIZE];
};

/* An action in the queue, with what it owns. */
struct pending {
    GList link; /* its place in the queue */
    struct action action;
    char *text;
};

struct machine {
    enum machine_group group;
    struct member self;
    enum machine_mode mode;
    uint64_t count;              /* of this process's NORMAL messages; machine_number() alone */
    uint32_t epoch_counter;      /* of this process's own epochs, over all connections */
    struct epoch epoch;          /* the current sync epoch */
    GArray *members;             /* struct member, sorted */
    GArray *peers;               /* struct peer, one for each of `members`, same order */
    GSequence *queue;            /* struct kept, by count */
    GQueue sync_queue;           /* struct kept, in order of arrival */
    GPtrArray *updates;          /* struct buffer, kept UPDATE messages */
    struct buffer *leader_index; /* UPDATE: what the commit must result in */
    uint64_t kept_bytes;         /* of queues, updates and states, with overhead */
    bool committing;             /* ACTION_COMMIT is out */
    struct checksum checksum;
    uint64_t verify_id;  /* the last id asked for */
    bool verify_pending; /* that request has not come back yet */
    struct machine_verifications verifications;
    uint64_t generation;
    GQueue actions; /* struct pending, to be handed out */
    struct pending *current;
};

/* A delivered message under way through its handler. */
struct delivery {
    struct member sender;
    struct buffer *message; /* borrowed */
    struct header header;
};

/* Small things */

static bool same_member(const struct member *a, const struct member *b)
{
    return a->node == b->node && a->pid == b->pid;
}

static bool same_epoch(const struct epoch *a, const struct epoch *b)
{
    return a->counter == b->counter && a->time == b->time && a->node == b->node && a->pid == b->pid;
}

static int compare_members(const void *a, const void *b)
{
    const struct member *left = a, *right = b;

    if (left->node != right->node)
        return left->node < right->node ? -1 : 1;
    return (left->pid > right->pid) - (left->pid < right->pid);
}

/* Counts are compared as a signed 32-bit difference, so that they may wrap around. */
static int compare_kept(const void *a, const void *b, void *unused)
{
    uint64_t left = ((const struct kept *)a)->count, right = ((const struct kept *)b)->count;
    int32_t difference = (int32_t)(uint32_t)(left - right);

    (void)unused;
    return (difference > 0) - (difference < 0);
}

static uint32_t protocol(const struct machine *machine)
{
    return machine->group == GROUP_CONFIGURATION ? CONFIGURATION_PROTOCOL : STATUS_PROTOCOL;
}

static struct member *member_at(const struct machine *machine, guint position)
{
    return &g_array_index(machine->members, struct member, position);
}

static struct peer *peer_at(const struct machine *machine, guint position)
{
    return &g_array_index(machine->peers, struct peer, position);
}

/* The peer of that member, or NULL: it is none. */
static struct peer *find_peer(const struct machine *machine, const struct member *member)
{
    const struct member *found =
        machine->members->len == 0 ? NULL
                                   : bsearch(member, machine->members->data, machine->members->len,
                                             sizeof(struct member), compare_members);

    return found ? peer_at(machine, (guint)(found - member_at(machine, 0))) : NULL;
}

static void mark_all_synced(struct machine *machine)
{
    machine->generation++;
    for (guint i = 0; i < machine->peers->len; i++)
        peer_at(machine, i)->synced = true;
}

/* Actions */

static void pending_free(struct pending *pending)
{
    if (!pending)
        return;
    buffer_unref(pending->action.message);
    g_clear_pointer(&pending->action.inodes, g_array_unref);
    g_clear_pointer(&pending->action.updates, g_ptr_array_unref);
    g_clear_pointer(&pending->action.states, g_ptr_array_unref);
    g_free(pending->text);
    g_free(pending);
}

static void add_pending(struct machine *machine, struct pending *pending)
{
    pending->link = (GList){.data = pending};
    g_queue_push_tail_link(&machine->actions, &pending->link);
}

/* The next one, taken out of the queue; NULL: there is none. */
static struct pending *take_pending(struct machine *machine)
{
    GList *link = g_queue_pop_head_link(&machine->actions);

    return link ? link->data : NULL;
}

/* Queues an action and takes over what it refers to. */
static void push(struct machine *machine, struct action action)
{
    struct pending *pending = g_new(struct pending, 1);

    pending->action = action;
    pending->text = NULL;
    add_pending(machine, pending);
}

static void push_send(struct machine *machine, enum send_kind kind, struct buffer *message)
{
    push(machine, (struct action){.type = ACTION_SEND, .kind = kind, .message = message});
}

static void __attribute__((format(printf, 3, 4)))
push_log(struct machine *machine, int priority, const char *format, ...)
{
    struct pending *pending = g_new(struct pending, 1);
    va_list arguments;

    va_start(arguments, format);
    pending->text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    pending->action =
        (struct action){.type = ACTION_LOG, .priority = priority, .text = pending->text};
    add_pending(machine, pending);
}

static bool is_departure(const struct pending *pending)
{
    return pending->action.type == ACTION_LEAVE || pending->action.type == ACTION_STAY_OUT;
}

/* Forgets the queued actions, but not that the group must be left. */
static void drop_actions(struct machine *machine, bool departures_too)
{
    for (guint left = machine->actions.length; left > 0; left--) {
        struct pending *pending = take_pending(machine);
        if (!departures_too && is_departure(pending))
            add_pending(machine, pending);
        else
            pending_free(pending);
    }
}

bool machine_next(struct machine *machine, struct action *action)
{
    pending_free(machine->current);
    machine->current = take_pending(machine);
    if (!machine->current)
        return false;
    *action = machine->current->action;
    return true;
}

/* Messages that wait */

/* A reference to a message that is kept, counted. */
static struct buffer *keep(struct machine *machine, struct buffer *message)
{
    machine->kept_bytes += (uint64_t)message_size(message) + KEPT_OVERHEAD;
    return buffer_ref(message);
}

/* A kept message is kept no longer; the reference goes to the caller. */
static struct buffer *let_go(struct machine *machine, struct buffer *message)
{
    machine->kept_bytes -= (uint64_t)message_size(message) + KEPT_OVERHEAD;
    return message;
}

static void drop_kept(struct machine *machine, struct kept *kept)
{
    buffer_unref(let_go(machine, kept->message));
    g_free(kept);
}

static void drop_queue(struct machine *machine)
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
        let_go(machine, machine->updates->pdata[i]);
    g_ptr_array_set_size(machine->updates, 0);
}

static void drop_states(struct machine *machine)
{
    for (guint i = 0; i < machine->peers->len; i++) {
        struct peer *peer = peer_at(machine, i);
        if (peer->state && !peer->shared)
            let_go(machine, peer->state);
        buffer_unref(peer->state);
        peer->state = NULL;
        peer->shared = false;
    }
}

/* What belongs to one round of synchronisation ends with it. */
static void forget_round(struct machine *machine)
{
    drop_states(machine);
    drop_updates(machine);
    drop_sync_queue(machine);
    buffer_unref(machine->leader_index);
    machine->leader_index = NULL;
    machine->committing = false;
    machine->checksum = (struct checksum){0};
    machine->verify_pending = false; /* it would come back with an epoch that is over */
}

static void push_apply(struct machine *machine, struct member sender, struct buffer *message)
{
    push(machine, (struct action){.type = ACTION_APPLY,
                                  .sender = sender,
                                  .own = same_member(&sender, &machine->self),
                                  .message = message});
}

static void apply_kept(struct machine *machine, struct kept *kept)
{
    push_apply(machine, kept->sender, let_go(machine, kept->message));
    g_free(kept);
}

/* Deals with the queue after it was settled who is synced: synced members' messages are applied, or
 * go to the sync queue of a node that waits for UPDATEs; those of members that are not synced stay,
 * those of members that are gone are dropped. */
static void deliver_queue(struct machine *machine)
{
    GSequenceIter *at = g_sequence_get_begin_iter(machine->queue);

    while (!g_sequence_iter_is_end(at)) {
        GSequenceIter *here = at;
        struct kept *kept = g_sequence_get(here);
        const struct peer *peer = find_peer(machine, &kept->sender);

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

/* Multicasts this node's own kept messages again, as they are, and empties the queue: the others do
 * the same with theirs, so that a member that has just joined gets them all. */
static void resend_queue(struct machine *machine)
{
    GSequenceIter *at = g_sequence_get_begin_iter(machine->queue);

    for (; !g_sequence_iter_is_end(at); at = g_sequence_iter_next(at)) {
        const struct kept *kept = g_sequence_get(at);
        if (same_member(&kept->sender, &machine->self))
            push_send(machine, SEND_SYNC, buffer_ref(kept->message));
    }
    drop_queue(machine);
}

/* Modes */

/* Beyond MODE_LEAVE there is no way back but a restart. */
static bool set_mode(struct machine *machine, enum machine_mode mode)
{
    if (machine->mode >= MODE_LEAVE && mode <= machine->mode)
        return false;
    machine->mode = mode;
    return true;
}

/* Enters LEAVE or a mode beyond it; nothing is kept for later then. */
static void stop(struct machine *machine, enum machine_mode mode, const char *reason)
{
    if (!set_mode(machine, mode))
        return;
    forget_round(machine);
    drop_queue(machine);
    push_log(machine, LOG_ERR, "leaving the group: %s", reason);
    push(machine, (struct action){.type = mode == MODE_LEAVE ? ACTION_LEAVE : ACTION_STAY_OUT});
}

static void become_synced(struct machine *machine)
{
    bool became = machine->mode != MODE_SYNCED;

    set_mode(machine, MODE_SYNCED);
    push(machine, (struct action){.type = ACTION_SYNCED,
                                  .alone = machine->members->len == 1,
                                  .became = became});
}

/* False, and on the way out, if what is kept has grown beyond all measure. */
static bool within_bounds(struct machine *machine)
{
    if (machine->kept_bytes <= KEPT_BYTES_MAX)
        return true;
    stop(machine, MODE_LEAVE, "too many messages wait for the end of the synchronisation");
    return false;
}

void machine_fail(struct machine *machine, const char *reason)
{
    drop_actions(machine, false);
    stop(machine, MODE_LEAVE, reason);
}

void machine_abandon(struct machine *machine, const char *reason)
{
    drop_actions(machine, false);
    stop(machine, MODE_ERROR, reason);
}

/* Configuration changes */

static void take_members(struct machine *machine, const struct member *members, size_t count)
{
    struct peer fresh = {0};

    machine->generation++;
    drop_states(machine);
    g_array_set_size(machine->members, 0);
    g_array_set_size(machine->peers, 0);
    if (count > 0)
        g_array_append_vals(machine->members, members, (guint)count);
    g_array_sort(machine->members, compare_members);
    for (guint i = 0; i < machine->members->len; i++)
        g_array_append_val(machine->peers, fresh);
}

static void log_members(struct machine *machine)
{
    g_autoptr(GString) text = g_string_new("members:");

    for (guint i = 0; i < machine->members->len; i++)
        g_string_append_printf(text, "%s %u/%u", i ? "," : "", member_at(machine, i)->node,
                               member_at(machine, i)->pid);
    push_log(machine, LOG_INFO, "%s", text->str);
}

static void begin_synchronisation(struct machine *machine, bool joined, uint32_t time)
{
    if (joined)
        resend_queue(machine);
    set_mode(machine, MODE_START_SYNC);
    if (machine_is_lowest(machine))
        push_send(
            machine, SEND_SYNC,
            wire_build_sync(MESSAGE_SYNC_START, protocol(machine), &machine->epoch, time, NULL, 0));
}

void machine_configuration(struct machine *machine, const struct member *members,
                           size_t member_count, const struct member *joined, size_t joined_count,
                           uint32_t time)
{
    (void)joined; /* that there is one is all that matters */
    machine->epoch =
        (struct epoch){++machine->epoch_counter, time, machine->self.node, machine->self.pid};
    forget_round(machine);
    if (machine->mode >= MODE_LEAVE)
        return;
    take_members(machine, members, member_count);
    log_members(machine);
    if (!find_peer(machine, &machine->self)) {
        if (machine->mode != MODE_START)
            stop(machine, MODE_LEAVE, "this node is no member any more");
    } else if (member_count > 1) {
        begin_synchronisation(machine, joined_count > 0, time);
    } else {
        mark_all_synced(machine);
        become_synced(machine);
        deliver_queue(machine);
    }
}

/* NORMAL messages */

static void apply_now(struct machine *machine, const struct delivery *delivery)
{
    push_apply(machine, delivery->sender, buffer_ref(delivery->message));
}

static void keep_back(struct machine *machine, const struct delivery *delivery)
{
    const struct peer *peer = find_peer(machine, &delivery->sender);
    struct kept *kept;

    if (!peer) {
        stop(machine, MODE_LEAVE, "message from a process that is no member");
        return;
    }
    kept = g_new(struct kept, 1);
    *kept =
        (struct kept){delivery->sender, delivery->header.count, keep(machine, delivery->message)};
    if (machine->mode == MODE_UPDATE && peer->synced)
        g_queue_push_tail(&machine->sync_queue, kept);
    else /* behind those of the same count */
        g_sequence_insert_sorted(machine->queue, kept, compare_kept, NULL);
    within_bounds(machine);
}

/* Choosing who is up to date */

static int compare_inodes(const void *a, const void *b)
{
    uint64_t left = *(const uint64_t *)a, right = *(const uint64_t *)b;

    return (left > right) - (left < right);
}

/* Sorts, and leaves each inode once. */
static void make_unique(GArray *inodes)
{
    guint length = 0;

    g_array_sort(inodes, compare_inodes);
    for (guint i = 0; i < inodes->len; i++) {
        uint64_t inode = g_array_index(inodes, uint64_t, i);
        if (length == 0 || g_array_index(inodes, uint64_t, length - 1) != inode)
            g_array_index(inodes, uint64_t, length++) = inode;
    }
    g_array_set_size(inodes, length);
}

static const uint8_t *state_body(const struct peer *peer)
{
    return peer->state->data + SYNC_HEADER_SIZE;
}

static uint32_t state_size(const struct peer *peer)
{
    return message_size(peer->state) - SYNC_HEADER_SIZE;
}

static bool same_state(const struct peer *a, const struct peer *b)
{
    return state_size(a) == state_size(b) &&
           memcmp(state_body(a), state_body(b), state_size(a)) == 0;
}

/* Views on all members' indexes, or NULL: one is malformed. */
static struct index_view *read_indexes(const struct machine *machine)
{
    struct index_view *views = g_new(struct index_view, machine->peers->len);

    for (guint i = 0; i < machine->peers->len; i++) {
        const struct peer *peer = peer_at(machine, i);
        if (index_parse(state_body(peer), state_size(peer), &views[i]) < 0) {
            g_free(views);
            return NULL;
        }
    }
    return views;
}

/* The first member with the highest version, and among those the greatest mtime. */
static guint find_leader(const struct index_view *views, guint count)
{
    guint leader = 0;

    for (guint i = 1; i < count; i++)
        if (views[i].version > views[leader].version ||
            (views[i].version == views[leader].version && views[i].mtime > views[leader].mtime))
            leader = i;
    return leader;
}

/* What any member lacks of the leader's index. Members that are alike are looked at once. */
static GArray *collect_missing(const struct machine *machine, const struct index_view *views,
                               guint leader)
{
    GArray *inodes = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    const struct peer *previous = peer_at(machine, leader);

    for (guint i = 0; i < machine->peers->len; i++) {
        const struct peer *peer = peer_at(machine, i);
        if (peer->synced || same_state(peer, previous))
            continue;
        index_missing(&views[leader], &views[i], inodes);
        make_unique(inodes);
        previous = peer;
    }
    return inodes;
}

static guint mark_synced_as(struct machine *machine, guint leader)
{
    guint synced = 0;

    machine->generation++;
    for (guint i = 0; i < machine->peers->len; i++) {
        struct peer *peer = peer_at(machine, i);
        peer->synced = same_state(peer, peer_at(machine, leader));
        synced += peer->synced;
    }
    return synced;
}

/* This node is up to date: it goes on at once. As leader it first takes hold of the entries that
 * the others lack: the changes that are applied next must not leak into them. */
static void go_on(struct machine *machine, const struct index_view *views, guint leader)
{
    if (same_member(member_at(machine, leader), &machine->self))
        push(machine, (struct action){.type = ACTION_SEND_UPDATES,
                                      .epoch = machine->epoch,
                                      .inodes = collect_missing(machine, views, leader)});
    drop_states(machine);
    become_synced(machine);
    deliver_queue(machine);
}

/* This node is not up to date: it waits for the leader's UPDATEs. */
static void wait_for_updates(struct machine *machine, guint leader)
{
    const struct peer *peer = peer_at(machine, leader);

    machine->leader_index = buffer_copy(state_body(peer), state_size(peer));
    drop_states(machine);
    set_mode(machine, MODE_UPDATE);
    deliver_queue(machine);
}

static void choose_leader(struct machine *machine)
{
    g_autofree struct index_view *views = read_indexes(machine);
    guint leader, synced;

    if (!views) {
        stop(machine, MODE_LEAVE, "malformed state of a member");
        return;
    }
    leader = find_leader(views, machine->peers->len);
    synced = mark_synced_as(machine, leader);
    push_log(machine, LOG_INFO, "leader is %u/%u, %u of %u members are up to date",
             member_at(machine, leader)->node, member_at(machine, leader)->pid, synced,
             machine->peers->len);
    if (find_peer(machine, &machine->self)->synced)
        go_on(machine, views, leader);
    else
        wait_for_updates(machine, leader);
}

static bool is_log_buffer(const struct peer *peer)
{
    return state_size(peer) == CLUSTER_LOG_SIZE && get_le32(state_body(peer)) == CLUSTER_LOG_SIZE;
}

/* Status group: every member has its own say. */
static void merge_states(struct machine *machine)
{
    GPtrArray *states = g_ptr_array_new_with_free_func((GDestroyNotify)buffer_unref);

    for (guint i = 0; i < machine->peers->len; i++) {
        const struct peer *peer = peer_at(machine, i);
        if (is_log_buffer(peer))
            g_ptr_array_add(states, buffer_ref(peer->state));
        else
            push_log(machine, LOG_ERR, "cluster log of member %u/%u has a wrong size, left out",
                     member_at(machine, i)->node, member_at(machine, i)->pid);
    }
    push(machine, (struct action){.type = ACTION_MERGE, .states = states});
    drop_states(machine);
    mark_all_synced(machine);
    become_synced(machine);
    deliver_queue(machine);
}

/* Messages of a synchronisation */

static void take_epoch(struct machine *machine, const struct delivery *delivery)
{
    if (delivery->sender.node != member_at(machine, 0)->node)
        push_log(machine, LOG_WARNING,
                 "start of synchronisation from %u/%u, which is not the lowest node",
                 delivery->sender.node, delivery->sender.pid);
    machine->epoch = delivery->header.epoch;
    drop_states(machine);
    push(machine, (struct action){.type = ACTION_SEND_STATE, .epoch = machine->epoch});
}

/* Keeps a member's STATE. In a large cluster nearly all are alike, and are kept once. */
static void keep_state(struct machine *machine, struct peer *peer, struct buffer *message)
{
    uint32_t size = message_size(message);

    for (guint i = 0; i < machine->peers->len && !peer->state; i++) {
        const struct peer *other = peer_at(machine, i);
        if (!other->state || message_size(other->state) != size ||
            memcmp(state_body(other), message->data + SYNC_HEADER_SIZE, state_size(other)) != 0)
            continue;
        peer->state = buffer_ref(other->state);
        peer->shared = true;
    }
    if (!peer->state)
        peer->state = keep(machine, message);
}

static void take_state(struct machine *machine, const struct delivery *delivery)
{
    struct peer *peer = find_peer(machine, &delivery->sender);

    if (!peer || peer->state) {
        stop(machine, MODE_LEAVE,
             peer ? "second state of a member" : "state of a process that is no member");
        return;
    }
    keep_state(machine, peer, delivery->message);
    if (!within_bounds(machine))
        return;
    for (guint i = 0; i < machine->peers->len; i++)
        if (!peer_at(machine, i)->state)
            return;
    if (machine->group == GROUP_CONFIGURATION)
        choose_leader(machine);
    else
        merge_states(machine);
}

static void keep_update(struct machine *machine, const struct delivery *delivery)
{
    if (wire_check_update(delivery->header.body, delivery->header.body_size) < 0) {
        stop(machine, MODE_LEAVE, "malformed update of an entry");
        return;
    }
    g_ptr_array_add(machine->updates, keep(machine, delivery->message));
    within_bounds(machine);
}

static void commit(struct machine *machine, const struct delivery *delivery)
{
    (void)delivery;
    if (machine->committing)
        return;
    machine->committing = true;
    for (guint i = 0; i < machine->updates->len; i++)
        let_go(machine, machine->updates->pdata[i]);
    push(machine, (struct action){.type = ACTION_COMMIT,
                                  .message = g_steal_pointer(&machine->leader_index),
                                  .updates = machine->updates});
    machine->updates = g_ptr_array_new_with_free_func((GDestroyNotify)buffer_unref);
}

void machine_committed(struct machine *machine, int result)
{
    struct kept *kept;

    if (!machine->committing)
        return;
    machine->committing = false;
    if (result < 0) {
        machine_fail(machine, "the leader's state could not be taken over");
        return;
    }
    mark_all_synced(machine);
    become_synced(machine);
    while ((kept = g_queue_pop_head(&machine->sync_queue)))
        apply_kept(machine, kept);
    deliver_queue(machine);
}

static void finish(struct machine *machine, const struct delivery *delivery)
{
    (void)delivery;
    mark_all_synced(machine);
    deliver_queue(machine);
}

/* Verification */

void machine_verify(struct machine *machine, uint32_t time)
{
    uint8_t body[VERIFY_REQUEST_SIZE];

    if (machine->group != GROUP_CONFIGURATION || machine->mode != MODE_SYNCED ||
        machine->verify_pending || !machine_is_lowest(machine))
        return;
    machine->verify_pending = true;
    put_le64(body, ++machine->verify_id);
    push_send(machine, SEND_UPDATE,
              wire_build_sync(MESSAGE_VERIFY_REQUEST, protocol(machine), &machine->epoch, time,
                              body, sizeof(body)));
}

static void verify_request(struct machine *machine, const struct delivery *delivery)
{
    const struct header *header = &delivery->header;
    struct checksum *checksum = &machine->checksum;

    if (machine->group != GROUP_CONFIGURATION)
        return;
    if (header->body_size != VERIFY_REQUEST_SIZE) {
        stop(machine, MODE_LEAVE, "malformed request for a verification");
        return;
    }
    *checksum = (struct checksum){
        .wanted = true,
        .own = same_member(&delivery->sender, &machine->self),
        .id = get_le64(header->body),
        .epoch = header->epoch,
    };
    if (checksum->own && checksum->id == machine->verify_id)
        machine->verify_pending = false;
    push(machine, (struct action){.type = ACTION_CHECKSUM});
}

void machine_checksum(struct machine *machine, const uint8_t digest[DIGEST_SIZE], uint32_t time)
{
    struct checksum *checksum = &machine->checksum;
    uint8_t body[VERIFY_SIZE];

    if (!checksum->wanted)
        return;
    checksum->wanted = false;
    checksum->known = true;
    memcpy(checksum->digest, digest, DIGEST_SIZE);
    if (!checksum->own)
        return;
    put_le64(body, checksum->id);
    memcpy(body + 8, digest, DIGEST_SIZE);
    push_send(machine, SEND_SYNC,
              wire_build_sync(MESSAGE_VERIFY, protocol(machine), &checksum->epoch, time, body,
                              sizeof(body)));
}

static void verify(struct machine *machine, const struct delivery *delivery)
{
    const struct header *header = &delivery->header;
    const struct checksum *checksum = &machine->checksum;

    if (machine->group != GROUP_CONFIGURATION)
        return;
    if (header->body_size != VERIFY_SIZE) {
        stop(machine, MODE_LEAVE, "malformed verification");
        return;
    }
    if (!checksum->known || checksum->id != get_le64(header->body) ||
        !same_epoch(&checksum->epoch, &header->epoch))
        return;
    if (memcmp(checksum->digest, header->body + 8, DIGEST_SIZE) == 0) {
        machine->verifications.equal++;
        push_log(machine, LOG_INFO, "data verification successful");
    } else {
        machine->verifications.different++;
        stop(machine, MODE_LEAVE, "data verification failed: this node's data differs");
    }
}

/* Delivery */

typedef void handler(struct machine *machine, const struct delivery *delivery);

static void ignore(struct machine *machine, const struct delivery *delivery)
{
    (void)machine;
    (void)delivery;
}

static void refuse(struct machine *machine, const struct delivery *delivery)
{
    g_autofree char *reason =
        g_strdup_printf("unexpected message of type %u from %u/%u", delivery->header.type,
                        delivery->sender.node, delivery->sender.pid);

    stop(machine, MODE_LEAVE, reason);
}

#define MESSAGE_UNKNOWN (MESSAGE_VERIFY + 1)

/* What is done with a message, by mode and type; in LEAVE and beyond nothing is. */
static handler *const handlers[MODE_UPDATE + 1][MESSAGE_UNKNOWN + 1] = {
    [MODE_START] = {[MESSAGE_NORMAL] = keep_back,
                    [MESSAGE_SYNC_START] = refuse,
                    [MESSAGE_STATE] = refuse,
                    [MESSAGE_UPDATE] = refuse,
                    [MESSAGE_UPDATE_COMPLETE] = refuse,
                    [MESSAGE_VERIFY_REQUEST] = ignore,
                    [MESSAGE_VERIFY] = ignore,
                    [MESSAGE_UNKNOWN] = refuse},
    [MODE_START_SYNC] = {[MESSAGE_NORMAL] = keep_back,
                         [MESSAGE_SYNC_START] = take_epoch,
                         [MESSAGE_STATE] = take_state,
                         [MESSAGE_UPDATE] = refuse,
                         [MESSAGE_UPDATE_COMPLETE] = refuse,
                         [MESSAGE_VERIFY_REQUEST] = ignore,
                         [MESSAGE_VERIFY] = ignore,
                         [MESSAGE_UNKNOWN] = refuse},
    [MODE_SYNCED] = {[MESSAGE_NORMAL] = apply_now,
                     [MESSAGE_SYNC_START] = ignore,
                     [MESSAGE_STATE] = ignore,
                     [MESSAGE_UPDATE] = ignore,
                     [MESSAGE_UPDATE_COMPLETE] = finish,
                     [MESSAGE_VERIFY_REQUEST] = verify_request,
                     [MESSAGE_VERIFY] = verify,
                     [MESSAGE_UNKNOWN] = ignore},
    [MODE_UPDATE] = {[MESSAGE_NORMAL] = keep_back,
                     [MESSAGE_SYNC_START] = refuse,
                     [MESSAGE_STATE] = refuse,
                     [MESSAGE_UPDATE] = keep_update,
                     [MESSAGE_UPDATE_COMPLETE] = commit,
                     [MESSAGE_VERIFY_REQUEST] = ignore,
                     [MESSAGE_VERIFY] = ignore,
                     [MESSAGE_UNKNOWN] = refuse},
};

/* A message of a synchronisation that is over, or not this node's. */
static bool is_outdated(const struct machine *machine, const struct header *header)
{
    return header->type >= MESSAGE_STATE && header->type <= MESSAGE_VERIFY &&
           !same_epoch(&header->epoch, &machine->epoch);
}

void machine_deliver(struct machine *machine, struct member sender, struct buffer *message)
{
    struct delivery delivery = {.sender = sender, .message = message};
    struct header *header = &delivery.header;
    uint32_t size = message_size(message);

    if (machine->mode >= MODE_LEAVE)
        return;
    int result = wire_parse_header(message->data, size, header);
    if (size >= HEADER_SIZE && header->protocol > protocol(machine)) {
        stop(machine, MODE_VERSION_ERROR,
             "a member speaks a newer version of the protocol; update this node");
        return;
    }
    if (size >= HEADER_SIZE && header->protocol < protocol(machine))
        return;
    if (result < 0) {
        stop(machine, MODE_LEAVE, "message too short");
        return;
    }
    if (is_outdated(machine, header))
        return;
    handlers[machine->mode][MIN(header->type, MESSAGE_UNKNOWN)](machine, &delivery);
}

/* Making, asking */

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
    forget_round(machine);
    drop_queue(machine);
    drop_actions(machine, true);
    pending_free(machine->current);
    g_sequence_free(machine->queue);
    g_ptr_array_unref(machine->updates);
    g_array_unref(machine->members);
    g_array_unref(machine->peers);
    g_free(machine);
}

void machine_restart(struct machine *machine, struct member self)
{
    forget_round(machine);
    drop_queue(machine);
    drop_actions(machine, true);
    take_members(machine, NULL, 0);
    machine->self = self;
    machine->epoch = (struct epoch){0};
    machine->mode = MODE_START;
}

uint64_t machine_number(struct machine *machine, struct buffer *message, uint32_t time)
{
    wire_number(message, ++machine->count, time);
    return machine->count;
}

enum machine_mode machine_mode(const struct machine *machine)
{
    return machine->mode;
}

const struct member *machine_members(const struct machine *machine, size_t *count)
{
    *count = machine->members->len;
    return (const struct member *)machine->members->data;
}

bool machine_is_lowest(const struct machine *machine)
{
    return machine->members->len > 0 && member_at(machine, 0)->node == machine->self.node;
}

bool machine_is_complete(const struct machine *machine)
{
    for (guint i = 0; i < machine->peers->len; i++) {
        if (!peer_at(machine, i)->synced)
            return false;
    }
    return machine->mode == MODE_SYNCED;
}

bool machine_member_is_synced(const struct machine *machine, size_t position)
{
    return peer_at(machine, (guint)position)->synced;
}

uint64_t machine_generation(const struct machine *machine)
{
    return machine->generation;
}

struct machine_verifications machine_verifications(const struct machine *machine)
{
    return machine->verifications;
}

size_t machine_queued(const struct machine *machine)
{
    return (size_t)g_sequence_get_length(machine->queue) + machine->sync_queue.length;
}
