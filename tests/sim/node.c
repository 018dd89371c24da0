/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A whole node: a real replica and store, and what stands in for the rest of the daemon. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "core/digest.h"
#include "core/index.h"
#include "replica/internal.h"
#include "sim.h"
#include "store/store.h"

#define REJOIN_DELAY 6000u
#define OUTBOX_MAX 4096u
#define DAY 1700000000u

struct member node_self(const struct node *node)
{
    return (struct member){node->id, node->pid};
}

enum machine_mode node_mode(const struct node *node)
{
    return machine_mode(node->replica->executor.machine);
}

/* A digest of the published state: of its index, which is what the cluster compares. */
static uint64_t digest_draft(const struct draft *draft)
{
    struct buffer *index = index_build(draft);
    uint64_t digest = index->capacity;

    for (uint32_t at = 0; at + 8 <= index->capacity; at += 8) {
        digest = (digest ^ get_le64(index->data + at)) * 0x9e3779b97f4a7c15u;
        digest ^= digest >> 29;
    }
    buffer_unref(index);
    return digest;
}

uint64_t node_digest(const struct node *node)
{
    return digest_draft(node->replica->committer.draft);
}

/* ---- Its clocks ---- */

static struct node *clock_node(struct clock_source *clock)
{
    return container_of(clock, struct node, clock);
}

static uint64_t simulated_milliseconds(struct clock_source *clock)
{
    const struct node *node = clock_node(clock);

    return node->sim->now + node->boot;
}

/* Never the same second twice on one node: it names a change. */
static uint32_t simulated_seconds(struct clock_source *clock)
{
    const struct node *node = clock_node(clock);
    struct sim *sim = node->sim;
    uint32_t asked = DAY + node->skew;

    asked += sim->plan.coarse ? (uint32_t)(sim->now / 1000) : ++sim->tick;
    uint32_t time = asked;
    gpointer next;
    while (g_hash_table_lookup_extended(node->times, GUINT_TO_POINTER(time), NULL, &next))
        time = GPOINTER_TO_UINT(next);
    g_hash_table_insert(node->times, GUINT_TO_POINTER(time), GUINT_TO_POINTER(time + 1));
    g_hash_table_insert(node->times, GUINT_TO_POINTER(asked), GUINT_TO_POINTER(time + 1));
    return time;
}

void node_set_clock(struct node *node, uint32_t time)
{
    const struct sim *sim = node->sim;

    node->skew = time - DAY - (sim->plan.coarse ? (uint32_t)(sim->now / 1000) : sim->tick);
}

/* ---- Its transport ---- */

static struct seat *transport_seat(struct transport *transport)
{
    return container_of(transport, struct seat, transport);
}

static int transport_multicast(struct transport *transport, struct buffer *message,
                               enum send_kind kind, uint64_t count)
{
    struct seat *seat = transport_seat(transport);

    if (seat->membership != MEMBER_IN || disk_has_crashed(seat->node->disk))
        return -EBUSY;
    if (seat->outbox.length >= OUTBOX_MAX)
        return -ENOBUFS;
    if (deployed_never_sends(seat->node, message))
        return 0;
    struct outgoing *outgoing = g_new(struct outgoing, 1);
    *outgoing = (struct outgoing){buffer_ref(message), kind, count};
    g_queue_push_tail(&seat->outbox, outgoing);
    if (seat->group == GROUP_CONFIGURATION)
        client_note_sent(seat->node, outgoing);
    /* Sometimes it is on its way before the caller does anything else. */
    if (random_chance(&seat->node->sim->random, 200))
        network_send(seat);
    return 0;
}

static void drop_outbox(struct seat *seat)
{
    struct outgoing *outgoing;

    while ((outgoing = g_queue_pop_head(&seat->outbox)))
        outgoing_free(outgoing);
}

static void transport_leave(struct transport *transport, int stay_out)
{
    struct seat *seat = transport_seat(transport);
    struct node *node = seat->node;

    if (disk_has_crashed(node->disk))
        return;
    sim_trace(node->sim, "%u leaves%s%s", node->id, seat->group == GROUP_STATUS ? " status" : "",
              stay_out ? " for good" : "");
    if (stay_out)
        sim_fail(node->sim, "node %u leaves for good", node->id);
    node->sim->statistics.departures++;
    if (seat->membership == MEMBER_IN || seat->membership == MEMBER_JOINING)
        seat->membership = MEMBER_LEAVE;
    drop_outbox(seat);
}

/* ---- What it publishes ---- */

static const char *name_past(const struct past *past, char name[64])
{
    if (!past)
        return "none";
    g_snprintf(name, 64, "#%u(%u@%u)", past->depth, (uint32_t)(past->change >> 32),
               (uint32_t)past->change - DAY);
    return name;
}

/* Members that are at the same place and know, too, that they are in sync: where packets are lost
 * one may be alone in having heard from all. */
static size_t count_synced(const struct node *node, const struct member *members, size_t count)
{
    size_t synced = 0;

    for (size_t i = 0; i < count && !network_is_transition(node->seen_ring); i++) {
        const struct node *other = node->sim->nodes->pdata[members[i].node - 1];
        synced +=
            other->alive && other->seen_ring == node->seen_ring && node_mode(other) == MODE_SYNCED;
    }
    return synced;
}

/* Nodes of this configuration that went another way from the state that a change was now made of.
 */
static void note_witnesses(const struct node *node, struct past *made)
{
    struct sim *sim = node->sim;
    size_t count;
    const struct member *members = machine_members(node->replica->executor.machine, &count);

    size_t synced = sim->plan.together ? count : count_synced(node, members, count);
    made->thin = node->turning || synced <= sim->nodes->len / 2 ||
                 !machine_is_complete(node->replica->executor.machine);
    for (size_t i = 0; i < count && !node->turning; i++) {
        const struct node *other = sim->nodes->pdata[members[i].node - 1];
        if (!other->alive || !other->past || other == node || other->seen_ring != node->seen_ring)
            continue;
        if (past_is_ancestor(made->parent, other->past) &&
            !past_is_same(other->past, made->parent) && !past_is_ancestor(made, other->past))
            g_array_append_val(made->witnesses, other->id);
    }
}

static struct past *follow(const struct node *node, struct past *past, const GPtrArray *effects)
{
    struct sim *sim = node->sim;

    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        change_id change = change_identity(effect->writer, effect->time);
        bool made;
        if (past_has(past, change) && !node_is_deployed(sim->nodes->pdata[effect->writer - 1]))
            sim_fail(sim, "node %u applies a change of node %u twice (%s)", node->id,
                     effect->writer, effect->path);
        past = history_extend(sim->history, past, change, &made);
        if (made)
            note_witnesses(node, past);
        past->foreign = past->foreign || node_is_deployed(node);
    }
    return past;
}

/* Changes that this node had and the state that it takes over has not: was that lawful? The
 * protocol lets the highest version win, so it can lose what a majority has to a single node that
 * is ahead: one that alone received, or alone stored, some last changes. But never may a change be
 * lost by a configuration in which a member had it; and where no node can ever be alone with a
 * change, none that all have acknowledged. */
static void check_loss(const struct node *node, struct past *new)
{
    struct sim *sim = node->sim;
    struct past *fork = past_fork(node->past, new);
    bool amnesia = (sim->plan.power && !sim->plan.durable) || sim->plan.backups;
    bool strict = sim->plan.acknowledge_all && sim->plan.crashes == 0 && sim->plan.disks == 0 &&
                  sim->plan.backups == 0 && sim->plan.flurries == 0 && sim->plan.votes == 0 &&
                  !sim->plan.deployed;
    char names[3][64];

    if (!fork || fork == node->past)
        return;
    if (past_is_same(fork, new))
        sim_fail(sim, "node %u synchronised from %s to the older %s", node->id,
                 name_past(node->past, names[0]), name_past(new, names[1]));
    const struct past *won = past_first_step(fork, new);
    const struct past *lost = past_first_step(fork, node->past);
    bool split = g_hash_table_contains(sim->split, &won->change) ||
                 g_hash_table_contains(sim->split, &lost->change) || won->foreign || lost->foreign;
    for (guint i = 0; i < won->witnesses->len && !split && !amnesia; i++) {
        if (g_array_index(won->witnesses, uint32_t, i) == node->id)
            sim_fail(sim, "node %u had %s, but its configuration went on from %s to %s", node->id,
                     name_past(lost, names[0]), name_past(fork, names[1]),
                     name_past(won, names[2]));
    }
    for (const struct past *past = node->past; past != fork; past = past->parent) {
        if (!g_hash_table_contains(sim->acknowledged, &past->change))
            continue;
        sim->statistics.lost++;
        if (strict && !split && !won->thin && !past->thin)
            sim_fail(sim, "acknowledged by all, but lost on node %u: %s", node->id,
                     name_past(past, names[0]));
    }
}

/* Two ways with the same change under the same version: what one of them lost another change has
 * made up for. To a node that compares the two states they look as if they parted later. */
static bool look_alike(const struct past *one, const struct past *other, const struct past *fork)
{
    while (one != fork && other != fork) {
        if (one->depth == other->depth && one->change == other->change)
            return true;
        bool first = one->depth >= other->depth;
        other = other->depth >= one->depth ? other->parent : other;
        one = first ? one->parent : one;
    }
    return false;
}

/* What is taken away is in a safety copy, if it was made after the two ways parted, and made here:
 * of another's change a node may not be able to tell that nobody else has it. */
static void check_kept(const struct node *node, struct past *new, const GPtrArray *effects)
{
    struct sim *sim = node->sim;
    struct past *past = node->past;
    const struct past *fork = past_fork(past, new);

    if (fork && sim->plan.losses && look_alike(past, new, fork))
        fork = NULL;
    for (guint i = 0; i < effects->len && fork && fork != past; i++) {
        const struct effect *effect = effects->pdata[i];
        struct entry *before = effect->before;
        if (!before || before->writer != node->id ||
            before->version <= node->version - (past->depth - fork->depth) ||
            (effect->after &&
             memcmp(entry_digest(before), entry_digest(effect->after), DIGEST_SIZE) == 0))
            continue;
        if (disk_is_well(node->disk) && !disk_has_kept(node->disk, before))
            sim_fail(sim, "node %u: '%s' is taken away without a safety copy", node->id,
                     effect->path);
        sim->statistics.kept++;
    }
    disk_forget_kept(node->disk);
}

/* Two members that are up to date in the same configuration: one may only be ahead. */
static void check_order(const struct node *node)
{
    struct sim *sim = node->sim;
    char names[2][64];

    if (node_mode(node) != MODE_SYNCED || node_is_deployed(node))
        return;
    for (guint i = 0; i < sim->nodes->len; i++) {
        const struct node *other = sim->nodes->pdata[i];
        if (other == node || node_is_deployed(other) || !other->alive || !other->past ||
            disk_has_crashed(other->disk) || other->seen_ring != node->seen_ring ||
            node_mode(other) != MODE_SYNCED)
            continue;
        if (!past_is_ancestor(node->past, other->past) &&
            !past_is_ancestor(other->past, node->past))
            sim_fail(sim, "nodes %u (%s) and %u (%s) are in sync and have gone different ways",
                     node->id, name_past(node->past, names[0]), other->id,
                     name_past(other->past, names[1]));
    }
}

static void check_guests(const struct node *node)
{
    uint32_t id;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    if (draft_find_duplicate_guest(node->replica->committer.draft, &id, &first, &second))
        sim_fail(node->sim, "node %u has guest %u twice: %s and %s", node->id, id, first, second);
}

static struct node *listener_node(struct replica_listener *listener)
{
    return container_of(listener, struct node, listener);
}

static void listener_publishing(struct replica_listener *listener, const GPtrArray *effects,
                                bool rebuilt)
{
    (void)listener;
    (void)effects;
    (void)rebuilt;
}

static bool sets_time(const GPtrArray *effects)
{
    for (guint i = 0; i < effects->len; i++) {
        if (((const struct effect *)effects->pdata[i])->operation == CHANGE_MTIME)
            return true;
    }
    return false;
}

static void listener_published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct node *node = listener_node(listener);
    struct sim *sim = node->sim;
    char names[2][64];
    struct past *past;

    if (disk_has_crashed(node->disk) || sim->plan.unchecked) {
        g_ptr_array_unref(effects); /* a crashed one does not live to see this */
        return;
    }
    if (rebuilt) {
        sim->statistics.commits++;
        past = history_find(sim->history, node_digest(node));
        if (!past)
            sim_fail(sim, "node %u synchronised to a state that no node ever had", node->id);
        sim_trace(sim, "%u synchronised from %s to %s", node->id, name_past(node->past, names[0]),
                  name_past(past, names[1]));
        check_loss(node, past);
        if (!sim->plan.deployed) /* one that goes another way and is not told apart */
            check_kept(node, past, effects);
    } else {
        past = follow(node, node->past, effects);
        sim_trace(sim, "%u applied %u: %s", node->id, effects->len, name_past(past, names[0]));
        /* Two orders of changes, or some less, can make one state; a time that a node sets once
         * more, as it lost the first change, makes the state of then. */
        bool many_ways = sim->plan.deployed || sim->plan.losses || sets_time(effects);
        uint64_t digest = node_digest(node);
        struct past *alike = many_ways ? history_find(sim->history, digest) : NULL;
        if (alike) {
            history_note_alike(past, alike);
            past = alike;
        }
        if (!history_note_digest(sim->history, past, digest))
            sim_fail(sim, "node %u: the same changes made another state than elsewhere (%s)",
                     node->id, name_past(past, names[0]));
    }
    node->past = past;
    node->version = node->replica->committer.state->tree->root.version;
    g_ptr_array_add(node->passed, past);
    g_ptr_array_unref(effects);
    check_guests(node);
    if (!rebuilt)
        check_order(node);
}

bool node_had(const struct node *node, change_id change)
{
    bool had = node->past && past_may_have(node->past, change);

    for (guint i = node->passed->len; i > 0 && !had; i--)
        had = past_may_have(node->passed->pdata[i - 1], change);
    return had;
}

static void listener_quorum(struct replica_listener *listener, bool quorate)
{
    struct node *node = listener_node(listener);

    sim_trace(node->sim, "%u is %s", node->id, quorate ? "quorate" : "not quorate");
}

/* ---- Crash and start ---- */

/* What a start may find as well as what was acknowledged. */
struct doubtful {
    struct past *past;
    uint64_t digest;
};

static void note_doubtful(struct node *node, const struct draft *draft)
{
    struct doubtful doubtful = {.digest = digest_draft(draft)};

    doubtful.past = draft->rebuild ? history_find(node->sim->history, doubtful.digest)
                                   : follow(node, node->past, draft->effects);
    if (doubtful.past)
        g_array_append_val(node->doubtful, doubtful);
}

static struct past *find_doubtful(const struct node *node, uint64_t digest)
{
    for (guint i = 0; i < node->doubtful->len; i++) {
        const struct doubtful *doubtful = &g_array_index(node->doubtful, struct doubtful, i);
        if (doubtful->digest == digest)
            return doubtful->past;
    }
    return NULL;
}

/* The disk is at its last write: remember what a commit under way would make. */
static void disk_crashing(struct disk_listener *listener)
{
    struct node *node = container_of(listener, struct node, disk_listener);
    const struct draft *draft;

    if (!node->replica) /* at its start: what the crash before this one left may be there still */
        return;
    draft = node->replica->committer.draft;
    if (!draft_is_empty(draft))
        note_doubtful(node, draft);
}

static void disk_refused(struct disk_listener *listener, const struct draft *draft)
{
    struct node *node = container_of(listener, struct node, disk_listener);

    if (node->replica)
        note_doubtful(node, draft);
}

static void disk_stored(struct disk_listener *listener)
{
    struct node *node = container_of(listener, struct node, disk_listener);

    g_array_set_size(node->doubtful, 0);
}

static void copies_wrong(struct disk_listener *listener, const char *what)
{
    const struct node *node = container_of(listener, struct node, disk_listener);

    sim_fail(node->sim, "node %u: %s", node->id, what);
}

/* The process has no corosync any more. */
static void clear_seats(struct node *node)
{
    struct notice *notice;

    node->connected = false;
    for (int i = 0; i < GROUPS; i++) {
        struct seat *seat = &node->seats[i];
        seat->membership = MEMBER_OUT;
        drop_outbox(seat);
        while ((notice = g_queue_pop_head(&seat->inbox)))
            notice_free(notice);
    }
}

/* The process is gone, however it ended. */
static void bury(struct node *node)
{
    g_clear_pointer(&node->replica, replica_free);
    client_check_answered(node);
    g_clear_pointer(&node->store, store_close);
    node->flush_at = 0;
    if (disk_has_crashed(node->disk))
        disk_reboot(node->disk);
    node->alive = false;
    clear_seats(node);
    status_stop(node);
}

/* Where only the process ended, corosync tells the others. */
static void tell_death(struct node *node)
{
    for (int i = 0; i < GROUPS && node->ring && node->up; i++) {
        if (network_has_process(&node->seats[i]))
            network_leave(&node->seats[i]);
    }
}

bool node_finish_crash(struct node *node)
{
    if (!node->alive || !disk_has_crashed(node->disk))
        return false;
    sim_trace(node->sim, "%u crashed", node->id);
    node->sim->statistics.crashes++;
    bury(node);
    tell_death(node);
    return true;
}

void node_crash(struct node *node, enum crash_kind kind)
{
    disk_crash(node->disk, kind);
    if (kind == CRASH_POWER) {
        node->up = false;
        node_finish_crash(node);
        network_reform(node->sim);
    } else {
        node_finish_crash(node);
    }
}

void node_stop(struct node *node)
{
    sim_trace(node->sim, "%u stops", node->id);
    replica_run(node->replica);
    if (node_finish_crash(node))
        return;
    bury(node);
    tell_death(node);
}

/* A journal that is there still may go on from the backup: then all of it comes in. */
void node_restore(struct node *node)
{
    struct doubtful left = {.past = node->past, .digest = node_digest(node)};

    if (random_chance(&node->sim->odd, 500))
        node_crash(node, CRASH_PROCESS);
    else
        node_stop(node);
    sim_trace(node->sim, "%u gets its backup", node->id);
    disk_restore(node->disk, node->backup);
    node->past = node->backup_past;
    node->overtaken = true;
    node->with_left = disk_has_journal(node->disk) ? left.past : NULL;
    g_array_append_val(node->doubtful, left);
}

/* Which state came back from the disk, and may it? */
static void check_loaded(struct node *node)
{
    struct sim *sim = node->sim;
    uint64_t digest = node_digest(node);
    struct past *found = history_find(sim->history, digest);
    bool lawful = false;
    char names[2][64];

    if (!node->past) {
        found = history_start(sim->history, digest);
        lawful = true;
    } else if (find_doubtful(node, digest) && !past_is_same(found, node->past)) {
        found = find_doubtful(node, digest);
        lawful = history_note_digest(sim->history, found, digest);
    } else if (found) {
        lawful = past_is_same(found, node->past);
        for (guint i = 0; i < node->passed->len && sim->plan.power && !sim->plan.durable; i++)
            lawful = lawful || past_is_same(node->passed->pdata[i], found);
    }
    if (!lawful)
        sim_fail(sim, "node %u came back with %s and had %s", node->id, name_past(found, names[0]),
                 name_past(node->past, names[1]));
    sim_trace(sim, "%u%s started with %s", node->id, node_is_deployed(node) ? " (deployed)" : "",
              name_past(found, names[0]));
    node->past = found;
    node->version = node->replica->committer.state->tree->root.version;
    g_array_set_size(node->doubtful, 0);
    g_ptr_array_add(node->passed, found);
}

static void connect_process(struct node *node)
{
    node->connected = true;
    for (int i = 0; i < GROUPS; i++) {
        node->seats[i].membership = MEMBER_OUT;
        node->seats[i].stay_out = false;
    }
    network_tell_quorum(node, node->ring->quorate, false);
}

void node_start(struct node *node)
{
    struct sim *sim = node->sim;
    struct replica_options options = {
        .acknowledge_all = sim->plan.acknowledge_all && !node_is_deployed(node),
        .lock_lifetime = LOCK_LIFETIME,
        .safety_directory = disk_safety_directory(node->disk),
        .rejoin_delay = REJOIN_DELAY,
        .clock = &node->clock,
        .listener = &node->listener,
    };
    struct tree *tree;

    node->pid = ++sim->next_pid;
    options.self = node_self(node);
    tree = node_open_store(node);
    if (!tree)
        return;
    node->replica = replica_new(&options, node->store, tree);
    replica_set_transport(node->replica, &node->seats[GROUP_CONFIGURATION].transport);
    status_start(node);
    node->alive = true;
    for (int i = 0; i < GROUPS; i++)
        node->seats[i].joined_at = 0;
    node->seen_ring = 0;
    g_hash_table_remove_all(node->sent);
    check_loaded(node);
    if (node->up && node->ring)
        connect_process(node);
}

/* Corosync has them, so for the network all have: the process alone lacks them. */
static void note_unheard(const struct node *node)
{
    const GQueue *inbox = &node->seats[GROUP_CONFIGURATION].inbox;

    for (const GList *at = inbox->head; at; at = at->next) {
        const struct notice *notice = at->data;
        if (notice->type == NOTICE_MESSAGE)
            network_note_split(node->sim, notice->sender, notice->message);
    }
}

void node_disconnect(struct node *node)
{
    if (!node->alive || !node->connected)
        return;
    sim_trace(node->sim, "%u lost corosync", node->id);
    note_unheard(node);
    clear_seats(node);
    status_group_handle(node->status_group, event_new(EVENT_DISCONNECTED));
    replica_post(node->replica, event_new(EVENT_DISCONNECTED));
    replica_run(node->replica);
    node->connect_at = node->sim->now + 1000;
    node_finish_crash(node);
}

/* ---- Life ---- */

static bool has_self(const struct node *node, const GArray *members)
{
    for (guint i = 0; i < members->len; i++) {
        struct member member = g_array_index(members, struct member, i);
        if (member.node == node->id && member.pid == node->pid)
            return true;
    }
    return false;
}

/* A join or a leave is confirmed. */
static void note_membership(struct seat *seat, const struct notice *notice)
{
    bool inside = has_self(seat->node, notice->members);

    if (inside && seat->membership == MEMBER_JOINING)
        seat->membership = MEMBER_IN;
    else if (!inside && seat->membership == MEMBER_LEAVING)
        seat->membership = MEMBER_OUT;
}

static void take_configuration(struct node *node, const struct notice *notice)
{
    node->seen_ring = notice->ring;
    node->turning = true;
    replica_post(node->replica, event_configuration((const struct member *)notice->members->data,
                                                    notice->members->len,
                                                    (const struct member *)notice->joined->data,
                                                    notice->joined->len));
}

static void take_notice(struct node *node, const struct notice *notice)
{
    switch (notice->type) {
    case NOTICE_CONFIGURATION:
        take_configuration(node, notice);
        break;
    case NOTICE_MESSAGE:
        if (notice->ring)
            node->seen_ring = notice->ring;
        replica_post(node->replica, event_message(notice->sender, notice->message));
        break;
    case NOTICE_QUORUM:
        replica_post(node->replica, event_quorum(notice->quorate));
        break;
    case NOTICE_SEND_FAILED:
        replica_post(node->replica, event_send_failed(notice->kind, notice->count));
        break;
    }
}

bool node_work(struct seat *seat, uint32_t count)
{
    struct node *node = seat->node;
    GQueue events = G_QUEUE_INIT;
    struct notice *notice;

    if (!node->alive || seat->inbox.length == 0)
        return false;
    node->sim->news = true;
    for (uint32_t i = 0; i < count && (notice = g_queue_pop_head(&seat->inbox)); i++) {
        if (notice->type == NOTICE_CONFIGURATION)
            note_membership(seat, notice);
        if (seat->group == GROUP_CONFIGURATION)
            take_notice(node, notice);
        else
            status_add_event(&events, notice);
        notice_free(notice);
    }
    if (seat->group == GROUP_STATUS) {
        struct group_consumer *consumer = status_group_consumer(node->status_group);
        consumer->take(consumer, &events);
        return true;
    }
    replica_run(node->replica);
    node->turning = false;
    node_finish_crash(node);
    return true;
}

/* Tells the group's owner that a join is to come; false: not now. */
static bool announce_join(struct seat *seat)
{
    struct node *node = seat->node;

    if (seat->group == GROUP_STATUS) {
        status_group_handle(node->status_group, event_connected(node_self(node)));
        return true;
    }
    struct group_consumer *consumer = replica_consumer(node->replica);
    bool ready = consumer->ready(consumer);
    if (node_finish_crash(node) || !ready)
        return false;
    replica_post(node->replica, event_connected(node_self(node)));
    replica_run(node->replica);
    return true;
}

bool node_manage(struct seat *seat)
{
    struct node *node = seat->node;
    uint64_t now = node->sim->now;

    if (node_flush(node))
        return true;
    if (!node->alive || !node->up || !node->ring)
        return false;
    if (!node->connected) {
        if (now < node->connect_at)
            return false;
        connect_process(node);
        return true;
    }
    if (seat->membership == MEMBER_OUT && !seat->stay_out &&
        (seat->joined_at == 0 || now >= seat->joined_at + REJOIN_DELAY)) {
        seat->joined_at = now + 1;
        if (!announce_join(seat))
            return true;
        seat->membership = MEMBER_JOINING;
        node->joins += seat->group == GROUP_CONFIGURATION;
        network_join(seat);
        return true;
    }
    if (seat->membership == MEMBER_LEAVE) {
        seat->membership = MEMBER_LEAVING;
        network_leave(seat);
        return true;
    }
    return false;
}

void node_wait(struct node *node, uint64_t *until)
{
    if (node->alive && node->flush_at)
        *until = MIN(*until, node->flush_at);
    if (!node->alive || !node->up)
        return;
    if (!node->connected)
        *until = MIN(*until, node->connect_at);
    for (int i = 0; i < GROUPS && node->connected; i++) {
        const struct seat *seat = &node->seats[i];
        if (seat->membership == MEMBER_OUT && !seat->stay_out)
            *until = MIN(*until, seat->joined_at + REJOIN_DELAY);
    }
}

static bool seat_is_at_rest(const struct seat *seat)
{
    return seat->membership == MEMBER_IN && seat->inbox.length == 0 && seat->outbox.length == 0;
}

bool node_is_at_rest(const struct node *node)
{
    return node->alive && node->connected && seat_is_at_rest(&node->seats[GROUP_CONFIGURATION]) &&
           seat_is_at_rest(&node->seats[GROUP_STATUS]) && node_mode(node) == MODE_SYNCED &&
           status_group_mode(node->status_group) == MODE_SYNCED && network_is_quiet(node->ring);
}

static void seat_init(struct seat *seat, struct node *node, enum machine_group group)
{
    seat->node = node;
    seat->group = group;
    seat->view = g_array_new(FALSE, FALSE, sizeof(struct member));
    seat->transport =
        (struct transport){.multicast = transport_multicast, .leave = transport_leave};
    g_queue_init(&seat->inbox);
    g_queue_init(&seat->outbox);
}

struct node *node_new(struct sim *sim, uint32_t id)
{
    struct node *node = g_new0(struct node, 1);

    node->sim = sim;
    node->id = id;
    node->disk_listener.crashing = disk_crashing;
    node->disk_listener.refused = disk_refused;
    node->disk_listener.stored = disk_stored;
    node->disk_listener.copies_wrong = copies_wrong;
    node->flush_listener.flush_wanted = node_note_flush;
    node->disk = disk_new(&sim->random, sim->plan.sqlite, &node->disk_listener);
    node->up = true;
    seat_init(&node->seats[GROUP_CONFIGURATION], node, GROUP_CONFIGURATION);
    seat_init(&node->seats[GROUP_STATUS], node, GROUP_STATUS);
    node->times = g_hash_table_new(g_direct_hash, g_direct_equal);
    node->boot = random_below(&sim->random, 1000000);
    node->sent = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    node->clock =
        (struct clock_source){.milliseconds = simulated_milliseconds, .seconds = simulated_seconds};
    node->listener = (struct replica_listener){.publishing = listener_publishing,
                                               .published = listener_published,
                                               .quorum_changed = listener_quorum};
    node->passed = g_ptr_array_new();
    node->doubtful = g_array_new(FALSE, FALSE, sizeof(struct doubtful));
    node->calls = g_ptr_array_new_with_free_func(g_free);
    return node;
}

void node_free(struct node *node)
{
    if (node->alive)
        bury(node);
    disk_free(node->disk);
    image_free(node->backup);
    for (int i = 0; i < GROUPS; i++)
        g_array_unref(node->seats[i].view);
    g_hash_table_unref(node->times);
    g_hash_table_unref(node->sent);
    g_ptr_array_unref(node->passed);
    g_array_unref(node->doubtful);
    g_ptr_array_unref(node->calls);
    g_free(node);
}
