/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A process group service that keeps libcpg's promises and nothing else. */
/* What it promises: all members of a configuration receive the same items in the same order, up to
 * some point; nodes that go together from one configuration to the next received the same before
 * it; a node receives what it sends itself; a message that had no place in the order yet gets one
 * in the next configuration. The token: a node puts messages in order again only when all have what
 * it put there the last time.
 *
 * Where packets are lost (plan.losses) a node goes on while others lack what it and others said, up
 * to a window. It is told of its own message as soon as it was told of all before. At the next
 * configuration those who go on together share what any of them has. What none of them has is
 * skipped, and behind it they are told only of what those among them said: the rest may depend on
 * what is missing. */
#include "sim.h"

#include <string.h>

#include "cluster/wire.h"

#define BURST 4u
#define LOSS_WINDOW 50u        /* messages that a node may be ahead of another */
#define TRANSITION 0x80000000u /* no ring has such an id */
#define NOTICE_SIZE 100u       /* of a join or leave, about */

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

static void tell_configuration(struct seat *seat, const GArray *joined, uint32_t ring)
{
    struct notice *notice = g_new0(struct notice, 1);

    notice->type = NOTICE_CONFIGURATION;
    notice->members = list_copy(seat->view);
    notice->joined = list_copy(joined);
    notice->ring = ring;
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

static void tell_message(struct seat *seat, const struct item *item, uint32_t transition)
{
    struct notice *notice = g_new0(struct notice, 1);

    notice->type = NOTICE_MESSAGE;
    notice->sender = item->member;
    notice->message = buffer_ref(item->message);
    notice->ring = transition;
    g_queue_push_tail(&seat->inbox, notice);
}

/* ---- Order ---- */

/* Tells a node of the next item. Behind one that is lost for good it is no member of its old
 * configuration any more, but of one with those alone who go on with it: `transition`, or 0. */
static void take_item(struct node *node, uint32_t transition)
{
    struct item *item = &g_array_index(node->ring->items, struct item, node->position);
    struct seat *seat = &node->seats[item->group];
    g_autoptr(GArray) joined = list_new();
    bool listened = is_listening(seat);

    node->position++;
    item->arrived |= node_bit(node->id);
    item->delivered |= node_bit(node->id);
    switch (item->type) {
    case ITEM_MESSAGE:
        if (listened)
            tell_message(seat, item, transition);
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
        tell_configuration(seat, joined, transition ? transition : node->ring->id);
}

static struct item *item_at(const struct ring *ring, guint at)
{
    return &g_array_index(ring->items, struct item, at);
}

static bool is_lost(const struct node *node, const struct item *item)
{
    const struct sim *sim = node->sim;
    const struct node *sender = sim->nodes->pdata[item->member.node - 1];
    uint32_t size = item->message ? message_size(item->message) : NOTICE_SIZE;

    if (sim->now < node->deaf_until && size > node->lost_size)
        return true;
    /* Whoever has it sends it again when it is missed. */
    return sim->now < sender->mute_until && size > sender->lost_size &&
           item->arrived == node_bit(sender->id);
}

/* Packets come in any order. True if one came. */
static bool arrive(struct node *node, guint at)
{
    struct item *item = item_at(node->ring, at);

    if (item->arrived & node_bit(node->id) || is_lost(node, item))
        return false;
    item->arrived |= node_bit(node->id);
    return true;
}

static bool has_next(const struct node *node)
{
    return node->position < node->ring->items->len &&
           item_at(node->ring, node->position)->arrived & node_bit(node->id);
}

bool network_receive(struct node *node)
{
    if (!node->ring || node->position >= node->ring->items->len)
        return false;
    if (node->sim->plan.losses) {
        guint missing = node->ring->items->len - node->position;
        bool any = arrive(node, node->position + random_below(&node->sim->random, missing));
        if (!any && !arrive(node, node->position) && !has_next(node))
            return false;
        if (!has_next(node))
            return true;
    }
    take_item(node, 0);
    return true;
}

static void receive_all(struct node *node)
{
    while (network_receive(node))
        ;
}

/* Puts an item of a node at the end of the order. Without losses, itself it has received all
 * before. */
static void append(struct node *node, struct item item)
{
    struct ring *ring = node->ring;

    item.arrived = node_bit(node->id);
    if (node->sim->plan.losses) {
        g_array_append_val(ring->items, item);
        while (has_next(node))
            take_item(node, 0);
        return;
    }
    receive_all(node);
    g_array_append_val(ring->items, item);
    take_item(node, 0);
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

static bool may_send(struct node *node)
{
    if (node->sim->plan.losses)
        return node->ring->items->len - slowest(node->ring) < LOSS_WINDOW;
    if (node->burst > 0)
        return true;
    if (slowest(node->ring) < node->visit_end)
        return false;
    node->burst = BURST;
    return true;
}

bool network_send(struct seat *seat)
{
    struct node *node = seat->node;

    if (!node->ring || seat->outbox.length == 0 || seat->membership != MEMBER_IN)
        return false;
    if (!may_send(node))
        return false;
    struct outgoing *outgoing = g_queue_pop_head(&seat->outbox);
    node->sim->statistics.messages++;
    node->sim->statistics.bytes += message_size(outgoing->message);
    append(node, (struct item){.type = ITEM_MESSAGE,
                               .group = seat->group,
                               .member = node_self(node),
                               .message = buffer_ref(outgoing->message)});
    node->visit_end = node->ring->items->len;
    node->burst = seat->outbox.length > 0 && node->burst > 0 ? node->burst - 1 : 0;
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

bool network_has_process(const struct seat *seat)
{
    const struct node *node = seat->node;
    bool there = false;

    for (guint i = 0; i < seat->view->len; i++)
        there = there || g_array_index(seat->view, struct member, i).node == node->id;
    for (guint at = node->position; at < node->ring->items->len; at++) {
        const struct item *item = item_at(node->ring, at);
        if (item->group == seat->group && item->member.node == node->id &&
            item->type != ITEM_MESSAGE)
            there = item->type == ITEM_JOIN;
    }
    return there;
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

/* Bits of the nodes of an old ring that go on with this one. */
static uint64_t companions(const struct ring *ring, const struct node *node)
{
    uint64_t bits = 0;

    for (guint i = 0; i < ring->nodes->len; i++) {
        const struct node *other = ring->nodes->pdata[i];
        if (belongs(other, node->component))
            bits |= node_bit(other->id);
    }
    return bits;
}

/* Those who go on together are told of what any of them has, up to the first that nobody has; then
 * of what they said themselves. */
static void receive_together(struct sim *sim, const struct ring *ring, struct node *node)
{
    uint64_t together = companions(ring, node);
    uint32_t transition = TRANSITION | ring->id << 8 | node->component;
    bool hole = false;

    while (node->position < ring->items->len) {
        const struct item *item = item_at(ring, node->position);
        bool known = item->arrived & together;
        if (known && (!hole || together & node_bit(item->member.node))) {
            sim->statistics.holes += hole;
            take_item(node, hole ? transition : 0);
        } else {
            hole = true;
            node->position++;
        }
    }
}

/* A process lives on without its corosync, too. */
static bool is_split(const struct ring *ring, const struct item *item)
{
    bool missed = false;

    for (guint i = 0; i < ring->nodes->len; i++) {
        const struct node *node = ring->nodes->pdata[i];
        bool lives = node->up || node->alive;
        missed = missed || (lives && !(item->delivered & node_bit(node->id)));
    }
    return missed && item->delivered;
}

static bool add_change(GHashTable *set, change_id change)
{
    change_id *copy = g_new(change_id, 1);

    *copy = change;
    return g_hash_table_add(set, copy);
}

bool network_is_transition(uint32_t ring)
{
    return ring & TRANSITION;
}

void network_note_split(struct sim *sim, struct member sender, const struct buffer *message)
{
    struct header header;

    if (wire_parse_header(message->data, message_size(message), &header) == 0 &&
        header.type == MESSAGE_NORMAL)
        sim->statistics.splits += add_change(sim->split, change_identity(sender.node, header.time));
}

/* Notes the messages that some nodes were told of and others, who live on, were not. */
static void note_splits(struct sim *sim, const struct ring *ring, guint from)
{
    for (guint at = from; at < ring->items->len; at++) {
        const struct item *item = item_at(ring, at);
        if (item->type == ITEM_MESSAGE && item->group == GROUP_CONFIGURATION &&
            is_split(ring, item))
            network_note_split(sim, item->member, item->message);
    }
}

/* A ring is over. */
static void end_ring(struct sim *sim, const struct ring *ring)
{
    guint from = slowest(ring);

    for (guint i = 0; i < ring->nodes->len; i++) {
        struct node *node = ring->nodes->pdata[i];
        if (node->up)
            receive_together(sim, ring, node);
    }
    note_splits(sim, ring, from);
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
            tell_configuration(seat, none, ring->id);
        left = g_array_set_size(left, 0);
    }
    bool changed = left->len > 0 || joined->len > 0;
    g_array_unref(seat->view);
    seat->view = list_copy(processes);
    if (changed && is_listening(seat))
        tell_configuration(seat, joined, ring->id);
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
        if (moves && node->ring && g_hash_table_add(old, node->ring))
            end_ring(sim, node->ring);
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
