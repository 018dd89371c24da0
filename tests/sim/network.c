/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A process group service that keeps libcpg's promises and nothing else. */
/* What it promises: all members of a configuration receive the same items in the same order, up to
 * some point; nodes that go together from one configuration to the next received the same before
 * it; a node receives what it sends itself; a message that had no place in the order yet gets one
 * in the next configuration. The token: a node puts messages in order again only when all have what
 * it put there the last time. */
#include "sim.h"

#include <string.h>

#include "cluster/wire.h"

#define BURST 4u

void notice_free(struct notice *notice)
{
    buffer_unref(notice->message);
    g_clear_pointer(&notice->members, g_array_unref);
    g_clear_pointer(&notice->joined, g_array_unref);
    g_free(notice);
}

void outgoing_free(struct outgoing *outgoing)
{
    buffer_unref(outgoing->message);
    g_free(outgoing);
}

static void free_item(gpointer item)
{
    buffer_unref(((struct item *)item)->message);
}

void network_free_ring(struct ring *ring)
{
    g_ptr_array_unref(ring->nodes);
    g_array_unref(ring->items);
    g_free(ring);
}

/* ---- Members ---- */

static bool is_same(struct member a, struct member b)
{
    return a.node == b.node && a.pid == b.pid;
}

static bool has_member(const GArray *members, struct member member)
{
    for (guint i = 0; i < members->len; i++) {
        if (is_same(g_array_index(members, struct member, i), member))
            return true;
    }
    return false;
}

static void remove_member(GArray *members, struct member member)
{
    for (guint i = 0; i < members->len; i++) {
        if (is_same(g_array_index(members, struct member, i), member))
            g_array_remove_index(members, i--);
    }
}

static GArray *list_new(void)
{
    return g_array_new(FALSE, FALSE, sizeof(struct member));
}

static GArray *list_copy(const GArray *members)
{
    GArray *copy = list_new();

    return g_array_append_vals(copy, members->data, members->len);
}

/* ---- Telling the processes ---- */

/* True if the node's process hears of what happens in the group. */
static bool is_listening(const struct seat *seat)
{
    const struct node *node = seat->node;

    return node->alive && node->connected && has_member(seat->view, node_self(node));
}

static void tell_configuration(struct seat *seat, const GArray *joined)
{
    struct notice *notice = g_new0(struct notice, 1);

    notice->type = NOTICE_CONFIGURATION;
    notice->members = list_copy(seat->view);
    notice->joined = list_copy(joined);
    notice->ring = seat->node->ring->id;
    g_queue_push_tail(&seat->inbox, notice);
}

/* Quorum has a channel of its own: it may be heard of before what was agreed upon before,
 * but not before what it said itself. */
void network_tell_quorum(struct node *node, bool quorate, bool first)
{
    GQueue *inbox = &node->seats[GROUP_CONFIGURATION].inbox;
    struct notice *notice = g_new0(struct notice, 1);

    notice->type = NOTICE_QUORUM;
    notice->quorate = quorate;
    if (!first) {
        g_queue_push_tail(inbox, notice);
        return;
    }
    GList *last = NULL;
    for (GList *at = inbox->head; at; at = at->next) {
        if (((struct notice *)at->data)->type == NOTICE_QUORUM)
            last = at;
    }
    if (last)
        g_queue_insert_after(inbox, last, notice);
    else
        g_queue_push_head(inbox, notice);
}

static void tell_message(struct seat *seat, const struct item *item)
{
    struct notice *notice = g_new0(struct notice, 1);

    notice->type = NOTICE_MESSAGE;
    notice->sender = item->member;
    notice->message = buffer_ref(item->message);
    g_queue_push_tail(&seat->inbox, notice);
}

/* ---- Order ---- */

static void take_item(struct node *node)
{
    const struct item *item = &g_array_index(node->ring->items, struct item, node->position);
    struct seat *seat = &node->seats[item->group];
    g_autoptr(GArray) joined = list_new();
    bool listened = is_listening(seat);

    node->position++;
    switch (item->type) {
    case ITEM_MESSAGE:
        if (listened)
            tell_message(seat, item);
        return;
    case ITEM_JOIN:
        remove_member(seat->view, item->member);
        g_array_append_val(seat->view, item->member);
        g_array_append_val(joined, item->member);
        break;
    case ITEM_LEAVE:
        remove_member(seat->view, item->member);
        break;
    }
    if (listened || is_listening(seat))
        tell_configuration(seat, joined);
}

bool network_receive(struct node *node)
{
    if (!node->ring || node->position >= node->ring->items->len)
        return false;
    take_item(node);
    return true;
}

static void receive_all(struct node *node)
{
    while (network_receive(node))
        ;
}

/* Puts an item of a node at the end of the order; itself it has received all before. */
static void append(struct node *node, struct item item)
{
    struct ring *ring = node->ring;

    receive_all(node);
    g_array_append_val(ring->items, item);
    take_item(node);
    for (guint i = 0; i < ring->nodes->len && node->sim->plan.together; i++)
        receive_all(ring->nodes->pdata[i]);
}

static guint slowest(const struct ring *ring)
{
    guint position = ring->items->len;

    for (guint i = 0; i < ring->nodes->len; i++)
        position = MIN(position, ((struct node *)ring->nodes->pdata[i])->position);
    return position;
}

bool network_is_quiet(const struct ring *ring)
{
    return slowest(ring) == ring->items->len;
}

bool network_send(struct seat *seat)
{
    struct node *node = seat->node;

    if (!node->ring || seat->outbox.length == 0 || seat->membership != MEMBER_IN)
        return false;
    if (node->burst == 0) {
        if (slowest(node->ring) < node->visit_end)
            return false;
        node->burst = BURST;
    }
    struct outgoing *outgoing = g_queue_pop_head(&seat->outbox);
    node->sim->statistics.messages++;
    node->sim->statistics.bytes += message_size(outgoing->message);
    append(node, (struct item){ITEM_MESSAGE, seat->group, node_self(node),
                               buffer_ref(outgoing->message)});
    node->visit_end = node->ring->items->len;
    node->burst = seat->outbox.length > 0 ? node->burst - 1 : 0;
    outgoing_free(outgoing);
    return true;
}

void network_join(struct seat *seat)
{
    append(seat->node,
           (struct item){.type = ITEM_JOIN, .group = seat->group, .member = node_self(seat->node)});
}

void network_leave(struct seat *seat)
{
    append(
        seat->node,
        (struct item){.type = ITEM_LEAVE, .group = seat->group, .member = node_self(seat->node)});
}

/* ---- New configurations ---- */

static bool belongs(const struct node *node, uint32_t component)
{
    return node->up && node->component == component;
}

/* The ring that a component has already, if it has exactly these nodes. */
static bool is_unchanged(struct sim *sim, uint32_t component)
{
    const struct ring *ring = NULL;
    guint count = 0;

    for (guint i = 0; i < sim->nodes->len; i++) {
        const struct node *node = sim->nodes->pdata[i];
        if (!belongs(node, component))
            continue;
        if (!node->ring || (ring && node->ring != ring))
            return false;
        ring = node->ring;
        count++;
    }
    return !ring || ring->nodes->len == count;
}

/* Those who go on together receive all that any of them has. */
static void receive_together(struct sim *sim, const struct ring *ring)
{
    for (guint i = 0; i < ring->nodes->len; i++) {
        struct node *node = ring->nodes->pdata[i];
        guint top = node->position;
        for (guint j = 0; j < ring->nodes->len && node->up; j++) {
            const struct node *other = ring->nodes->pdata[j];
            if (belongs(other, node->component))
                top = MAX(top, other->position);
        }
        while (node->up && node->position < top)
            take_item(node);
    }
    (void)sim;
}

static bool is_split(const struct ring *ring, guint at)
{
    bool missed = false, received = false;

    for (guint i = 0; i < ring->nodes->len; i++) {
        const struct node *node = ring->nodes->pdata[i];
        received = received || node->position > at;
        missed = missed || (node->up && node->position <= at);
    }
    return missed && received;
}

static bool add_change(GHashTable *set, change_id change)
{
    change_id *copy = g_new(change_id, 1);

    *copy = change;
    return g_hash_table_add(set, copy);
}

/* Notes the messages that some nodes received and others, who live on, did not. */
static void note_splits(struct sim *sim, const struct ring *ring)
{
    for (guint at = slowest(ring); at < ring->items->len; at++) {
        const struct item *item = &g_array_index(ring->items, struct item, at);
        struct header header;
        if (item->type != ITEM_MESSAGE || item->group != GROUP_CONFIGURATION ||
            !is_split(ring, at) ||
            wire_parse_header(item->message->data, message_size(item->message), &header) < 0)
            continue;
        if (header.type == MESSAGE_NORMAL)
            sim->statistics.splits +=
                add_change(sim->split, change_identity(item->member.node, header.time));
    }
}

static GArray *subtract(const GArray *members, const GArray *others)
{
    GArray *rest = list_new();

    for (guint i = 0; i < members->len; i++) {
        struct member member = g_array_index(members, struct member, i);
        if (!has_member(others, member))
            g_array_append_val(rest, member);
    }
    return rest;
}

/* Tells a node's process of the new configuration of a group, in one step or two. */
static void enter_group(struct seat *seat, const struct ring *ring, const GArray *processes)
{
    g_autoptr(GArray) joined = subtract(processes, seat->view);
    g_autoptr(GArray) left = subtract(seat->view, processes);
    g_autoptr(GArray) none = list_new();

    if (ring->two_steps && left->len > 0) {
        g_array_set_size(seat->view, 0);
        for (guint i = 0; i < processes->len; i++) {
            struct member member = g_array_index(processes, struct member, i);
            if (!has_member(joined, member))
                g_array_append_val(seat->view, member);
        }
        if (is_listening(seat))
            tell_configuration(seat, none);
        left = g_array_set_size(left, 0);
    }
    bool changed = left->len > 0 || joined->len > 0;
    g_array_unref(seat->view);
    seat->view = list_copy(processes);
    if (changed && is_listening(seat))
        tell_configuration(seat, joined);
}

static void enter(struct node *node, struct ring *ring, GArray *const processes[GROUPS])
{
    bool was_quorate = node->ring && node->ring->quorate;
    bool late = ring->quorate != was_quorate && random_chance(&node->sim->random, 20);

    node->ring = ring;
    node->position = 0;
    node->visit_end = 0;
    node->burst = 0;
    if (ring->quorate != was_quorate && !late && node->alive && node->connected) {
        /* A loss that overtakes makes a node forget what all have received. */
        bool first = random_chance(&node->sim->random, 500);
        network_tell_quorum(node, ring->quorate,
                            first && (ring->quorate || !node->sim->plan.together));
    }
    for (int i = 0; i < GROUPS; i++)
        enter_group(&node->seats[i], ring, processes[i]);
    if (late && node->alive && node->connected)
        network_tell_quorum(node, ring->quorate, false);
}

static struct ring *ring_new(struct sim *sim)
{
    struct ring *ring = g_new0(struct ring, 1);

    ring->id = ++sim->next_ring;
    ring->nodes = g_ptr_array_new();
    ring->items = g_array_new(FALSE, FALSE, sizeof(struct item));
    g_array_set_clear_func(ring->items, free_item);
    ring->two_steps = random_chance(&sim->random, 200);
    g_ptr_array_add(sim->rings, ring);
    sim->statistics.rings++;
    return ring;
}

/* The processes that a node's corosync has with it. */
static void add_processes(const struct seat *seat, GArray *processes)
{
    for (guint i = 0; i < seat->view->len; i++) {
        struct member member = g_array_index(seat->view, struct member, i);
        if (member.node == seat->node->id)
            g_array_append_val(processes, member);
    }
}

static void make_ring(struct sim *sim, uint32_t component)
{
    struct ring *ring = ring_new(sim);
    GArray *processes[GROUPS] = {list_new(), list_new()};
    g_autoptr(GString) text = g_string_new(NULL);

    for (guint i = 0; i < sim->nodes->len; i++) {
        struct node *node = sim->nodes->pdata[i];
        if (!belongs(node, component))
            continue;
        g_ptr_array_add(ring->nodes, node);
        g_string_append_printf(text, " %u", node->id);
        for (int j = 0; j < GROUPS; j++)
            add_processes(&node->seats[j], processes[j]);
    }
    ring->quorate = ring->nodes->len > sim->nodes->len / 2;
    sim_trace(sim, "ring %u:%s%s", ring->id, text->str, ring->quorate ? ", quorate" : "");
    for (guint i = 0; i < ring->nodes->len; i++)
        enter(ring->nodes->pdata[i], ring, processes);
    for (int i = 0; i < GROUPS; i++)
        g_array_unref(processes[i]);
}

/* What was said in a configuration that is over is in nobody's way any more. */
static void forget_old_rings(struct sim *sim)
{
    for (guint i = 0; i < sim->rings->len; i++) {
        const struct ring *ring = sim->rings->pdata[i];
        bool over = true;
        for (guint j = 0; j < sim->nodes->len && over; j++)
            over = ((const struct node *)sim->nodes->pdata[j])->ring != ring;
        if (over)
            g_ptr_array_remove_index_fast(sim->rings, i--);
    }
}

void network_reform(struct sim *sim)
{
    g_autoptr(GHashTable) changed = g_hash_table_new(g_direct_hash, g_direct_equal);
    g_autoptr(GHashTable) old = g_hash_table_new(g_direct_hash, g_direct_equal);

    for (guint i = 0; i < sim->nodes->len; i++) {
        struct node *node = sim->nodes->pdata[i];
        bool moves = node->up ? !is_unchanged(sim, node->component) : node->ring != NULL;
        if (moves && node->up)
            g_hash_table_add(changed, GUINT_TO_POINTER(node->component));
        if (moves && node->ring && g_hash_table_add(old, node->ring)) {
            receive_together(sim, node->ring);
            note_splits(sim, node->ring);
        }
    }
    for (guint i = 0; i < sim->nodes->len; i++) {
        struct node *node = sim->nodes->pdata[i];
        if (node->up && g_hash_table_remove(changed, GUINT_TO_POINTER(node->component)))
            make_ring(sim, node->component);
        if (!node->up) {
            node->ring = NULL;
            for (int j = 0; j < GROUPS; j++)
                g_array_set_size(node->seats[j].view, 0);
        }
    }
    forget_old_rings(sim);
}
