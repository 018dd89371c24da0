/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Collecting the members' states, and choosing who is up to date. */
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "cluster/machine_internal.h"
#include "cluster/wire.h"
#include "core/index.h"

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
        machine_push(machine, (struct action){.type = ACTION_SEND_UPDATES,
                                              .epoch = machine->epoch,
                                              .inodes = collect_missing(machine, views, leader)});
    machine_drop_states(machine);
    machine_become_synced(machine);
    machine_deliver_queue(machine);
}

/* This node is not up to date: it waits for the leader's UPDATEs. */
static void wait_for_updates(struct machine *machine, guint leader)
{
    const struct peer *peer = peer_at(machine, leader);

    machine->leader_index = buffer_copy(state_body(peer), state_size(peer));
    machine_drop_states(machine);
    machine_set_mode(machine, MODE_UPDATE);
    machine_deliver_queue(machine);
}

/* doc/cluster.md, "Choose (configuration group)" */
static void choose_leader(struct machine *machine)
{
    g_autofree struct index_view *views = read_indexes(machine);
    guint leader, synced;

    if (!views) {
        machine_stop(machine, MODE_LEAVE, "malformed state of a member");
        return;
    }
    leader = find_leader(views, machine->peers->len);
    synced = mark_synced_as(machine, leader);
    if (synced == machine->peers->len)
        machine_push_log(machine, LOG_INFO, "all %u members have the same configuration", synced);
    else
        machine_push_log_of(machine, *member_at(machine, leader), LOG_INFO,
                            "the newest configuration is that of " LOG_MEMBER
                            ": %u of %u members have it, the others take it over",
                            synced, machine->peers->len);
    if (machine_find_peer(machine, &machine->self)->synced)
        go_on(machine, views, leader);
    else
        wait_for_updates(machine, leader);
}

static bool is_log_buffer(const struct peer *peer)
{
    return state_size(peer) == CLUSTER_LOG_SIZE && get_le32(state_body(peer)) == CLUSTER_LOG_SIZE;
}

/* doc/cluster.md, "Choose (status group)": every member has its own say. */
static void merge_states(struct machine *machine)
{
    GPtrArray *states = g_ptr_array_new_with_free_func((GDestroyNotify)buffer_unref);

    for (guint i = 0; i < machine->peers->len; i++) {
        const struct peer *peer = peer_at(machine, i);
        if (is_log_buffer(peer))
            g_ptr_array_add(states, buffer_ref(peer->state));
        else
            machine_push_log_of(machine, *member_at(machine, i), LOG_ERR,
                                "the cluster log of " LOG_MEMBER " has a wrong size: left out");
    }
    machine_push(machine, (struct action){.type = ACTION_MERGE, .states = states});
    machine_drop_states(machine);
    machine_mark_all_synced(machine);
    machine_become_synced(machine);
    machine_deliver_queue(machine);
}

/* doc/cluster.md, "take the epoch" */
void machine_take_epoch(struct machine *machine, const struct arrival *arrival)
{
    if (arrival->sender.node != member_at(machine, 0)->node)
        machine_push_log_of(machine, arrival->sender, LOG_WARNING,
                            LOG_MEMBER " has started a synchronisation, which is for the member "
                                       "with the lowest node id: taken all the same");
    machine->epoch = arrival->header.epoch;
    machine_drop_states(machine);
    machine->says_state = true;
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
        peer->state = machine_keep(machine, message);
}

/* doc/cluster.md, "take the state" */
void machine_take_state(struct machine *machine, const struct arrival *arrival)
{
    struct peer *peer = machine_find_peer(machine, &arrival->sender);

    if (!peer || peer->state) {
        machine_stop(machine, MODE_LEAVE,
                     peer ? "second state of a member" : "state of a process that is no member");
        return;
    }
    keep_state(machine, peer, arrival->message);
    if (!machine_within_bounds(machine))
        return;
    for (guint i = 0; i < machine->peers->len; i++)
        if (!peer_at(machine, i)->state)
            return;
    if (machine->group == GROUP_CONFIGURATION)
        choose_leader(machine);
    else
        merge_states(machine);
}
