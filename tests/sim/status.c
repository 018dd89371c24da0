/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The status group of a node: what is set and logged, and that all members come to know it. */
#include <string.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "sim.h"

#define KEYS 3

static char *name_of(const struct node *node)
{
    return g_strdup_printf("node%u", node->id);
}

void status_start(struct node *node)
{
    struct sim *sim = node->sim;
    g_autofree char *name = name_of(node);
    g_autofree char *address = g_strdup_printf("10.0.0.%u", node->id);
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    g_autofree struct cluster_node *nodes = g_new0(struct cluster_node, sim->nodes->len);

    for (guint i = 0; i < sim->nodes->len; i++) {
        const struct node *other = sim->nodes->pdata[i];
        g_ptr_array_add(names, name_of(other));
        nodes[i] = (struct cluster_node){
            .id = other->id, .votes = 1, .name = names->pdata[names->len - 1]};
    }
    node->status = status_new(name, address, node->pid, &node->clock);
    status_set_nodes(node->status, "sim", 1, nodes, sim->nodes->len);
    node->status_group = status_group_new(node->status, &node->seats[GROUP_STATUS].transport,
                                          &node->clock, (struct member){0});
    node->values = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    node->logged = g_ptr_array_new_with_free_func(g_free);
}

void status_stop(struct node *node)
{
    g_clear_pointer(&node->status_group, status_group_free);
    g_clear_pointer(&node->status, status_free);
    g_clear_pointer(&node->values, g_hash_table_unref);
    g_clear_pointer(&node->logged, g_ptr_array_unref);
}

/* ---- Changes ---- */

void status_set_value(struct node *node)
{
    struct sim *sim = node->sim;
    char *key = g_strdup_printf("key%u", random_below(&sim->random, KEYS));
    char *value = g_strdup_printf("value %u", ++sim->next_token);

    sim->statistics.told++;
    sim_trace(sim, "%u sets %s to %s", node->id, key, value);
    if (status_group_set(node->status_group, key, value, strlen(value)))
        sim_fail(sim, "node %u cannot set a value", node->id);
    g_hash_table_replace(node->values, key, value);
}

static void delete_value(struct node *node)
{
    g_autofree char *key = g_strdup_printf("key%u", random_below(&node->sim->random, KEYS));

    status_group_set(node->status_group, key, NULL, 0);
    g_hash_table_remove(node->values, key);
}

static void log_something(struct node *node)
{
    struct sim *sim = node->sim;
    char *message = g_strdup_printf("message %u", ++sim->next_token);

    sim->statistics.told++;
    sim_trace(sim, "%u logs %s", node->id, message);
    status_group_log(node->status_group, 6, "root", "sim", message, node->pid);
    g_ptr_array_add(node->logged, message);
}

void status_change(struct node *node)
{
    node->sim->news = true;
    switch (random_below(&node->sim->random, 8)) {
    case 0:
        delete_value(node);
        break;
    case 1:
    case 2:
    case 3:
        status_set_value(node);
        break;
    default:
        log_something(node);
        break;
    }
}

/* ---- Events ---- */

static struct event *event_of(const struct notice *notice)
{
    switch (notice->type) {
    case NOTICE_CONFIGURATION:
        return event_configuration(
            (const struct member *)notice->members->data, notice->members->len,
            (const struct member *)notice->joined->data, notice->joined->len);
    case NOTICE_MESSAGE:
        return event_message(notice->sender, notice->message);
    case NOTICE_SEND_FAILED:
        return event_send_failed(notice->kind, 0);
    case NOTICE_QUORUM: /* the configuration group's alone */
        break;
    }
    return NULL;
}

void status_add_event(GQueue *events, const struct notice *notice)
{
    struct event *event = event_of(notice);

    if (event)
        g_queue_push_tail(events, event);
}

/* A value is sent once more when the node hears its next message, an entry of the log is elsewhere
 * after the next merge only. */
void status_note_unheard(struct sim *sim, const struct outgoing *outgoing)
{
    struct header header;

    if (outgoing->kind != SEND_NORMAL ||
        wire_parse_header(outgoing->message->data, message_size(outgoing->message), &header) < 0)
        return;
    if (header.subtype == 1)
        sim->value_unheard = true;
    else
        sim->log_unheard = true;
}

/* ---- Checks ---- */

/* Of all entries, in any order. */
static uint64_t log_sum(const struct node *node)
{
    struct buffer *buffer = status_log_buffer(node->status);
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;
    uint64_t sum = 0;

    if (cluster_log_walk_start(&walk, buffer->data, buffer->capacity))
        sim_fail(node->sim, "node %u has a broken log", node->id);
    while (cluster_log_walk_next(&walk, &entry)) {
        uint64_t hash = entry.node_digest;
        for (uint32_t i = 8; i < entry.size; i++) /* without prev and next */
            hash = (hash ^ entry.bytes[i]) * 1099511628211u;
        sum += hash;
    }
    buffer_unref(buffer);
    return sum;
}

static void check_values(const struct node *node, const struct node *other)
{
    g_autofree char *name = name_of(node);
    GHashTableIter iter;
    gpointer key, value;

    g_hash_table_iter_init(&iter, node->values);
    while (g_hash_table_iter_next(&iter, &key, &value)) {
        struct buffer *found = status_get(other->status, name, key);
        bool same = found && found->capacity == strlen(value) &&
                    memcmp(found->data, value, found->capacity) == 0;
        buffer_unref(found);
        if (!same)
            sim_fail(node->sim, "at rest, node %u does not know that %s of node %u is '%s'",
                     other->id, (const char *)key, node->id, (const char *)value);
    }
}

static void trace_log(const struct node *node)
{
    struct buffer *buffer = status_log_buffer(node->status);
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;

    cluster_log_walk_start(&walk, buffer->data, buffer->capacity);
    while (cluster_log_walk_next(&walk, &entry))
        sim_trace(node->sim, "%u has: %s, %u/%u: %s", node->id, entry.node, entry.time, entry.uid,
                  entry.message);
    buffer_unref(buffer);
}

static void check_logs(const struct node *node, const struct node *other)
{
    if (log_sum(node) == log_sum(other))
        return;
    trace_log(node);
    trace_log(other);
    sim_fail(node->sim, "nodes %u and %u are at rest, and their logs differ", node->id, other->id);
}

void status_check_alike(const struct node *node, const struct node *other)
{
    const struct sim *sim = node->sim;

    if (!sim->log_unheard)
        check_logs(node, other);
    if (!sim->value_unheard) {
        check_values(node, other);
        check_values(other, node);
    }
}

void status_check_kept(const struct node *node)
{
    g_autoptr(GHashTable) found = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    struct buffer *buffer = status_log_buffer(node->status);
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;

    cluster_log_walk_start(&walk, buffer->data, buffer->capacity);
    while (cluster_log_walk_next(&walk, &entry)) {
        char *message = g_strdup(entry.message);
        if (!g_hash_table_add(found, message) && g_str_has_prefix(entry.message, "message "))
            sim_fail(node->sim, "node %u has '%s' twice in its log", node->id, entry.message);
    }
    buffer_unref(buffer);
    for (guint i = 0; i < node->logged->len; i++) {
        const char *message = node->logged->pdata[i];
        if (!g_hash_table_contains(found, message))
            sim_fail(node->sim, "node %u has lost '%s' from its log", node->id, message);
    }
}
