/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes of the cluster: who is in the node list, who is online, whether there is quorum. */
#include "status/members.h"

#include <string.h>

#include "base/log.h"
#include "status/json_text.h"

static void free_node(gpointer data)
{
    struct cluster_node *node = data;

    g_free((char *)node->name);
    g_free(node);
}

struct members *members_new(void)
{
    struct members *members = g_new0(struct members, 1);

    members->nodes = g_ptr_array_new_with_free_func(free_node);
    members->online = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    members->clocks = g_hash_table_new_full(g_direct_hash, g_direct_equal, NULL, g_free);
    return members;
}

void members_free(struct members *members)
{
    if (!members)
        return;
    g_ptr_array_unref(members->nodes);
    g_array_unref(members->online);
    g_hash_table_unref(members->clocks);
    g_free(members->cluster_name);
    g_free(members);
}

static gint compare_nodes(gconstpointer left, gconstpointer right)
{
    const struct cluster_node *a = *(const struct cluster_node *const *)left;
    const struct cluster_node *b = *(const struct cluster_node *const *)right;

    return (a->id > b->id) - (a->id < b->id);
}

static const struct cluster_node *find(const GPtrArray *nodes, uint32_t id, const char *name)
{
    for (guint i = 0; i < nodes->len; i++) {
        const struct cluster_node *node = g_ptr_array_index(nodes, i);
        if (node->id == id || (name && strcmp(node->name, name) == 0))
            return node;
    }
    return NULL;
}

static bool equal_nodes(const GPtrArray *left, const GPtrArray *right)
{
    if (left->len != right->len)
        return false;
    for (guint i = 0; i < left->len; i++) {
        const struct cluster_node *a = g_ptr_array_index(left, i);
        const struct cluster_node *b = g_ptr_array_index(right, i);
        if (a->id != b->id || a->votes != b->votes || strcmp(a->name, b->name) != 0)
            return false;
    }
    return true;
}

bool members_set_nodes(struct members *members, const char *cluster_name, uint64_t config_version,
                       const struct cluster_node *nodes, size_t count)
{
    GPtrArray *fresh = g_ptr_array_new_with_free_func(free_node);

    for (size_t i = 0; i < count; i++) {
        if (!nodes[i].name || !*nodes[i].name || nodes[i].id == 0 ||
            find(fresh, nodes[i].id, nodes[i].name))
            continue;
        struct cluster_node *node = g_memdup2(&nodes[i], sizeof(*node));
        node->name = g_strdup(nodes[i].name);
        g_ptr_array_add(fresh, node);
    }
    g_ptr_array_sort(fresh, compare_nodes);
    bool changed = !members->known || members->config_version != config_version ||
                   g_strcmp0(members->cluster_name, cluster_name) != 0 ||
                   !equal_nodes(members->nodes, fresh);
    g_ptr_array_unref(members->nodes);
    members->nodes = fresh;
    g_free(members->cluster_name);
    members->cluster_name = g_strdup(cluster_name ? cluster_name : "");
    members->config_version = config_version;
    members->known = true;
    return changed;
}

static bool is_online(const struct members *members, uint32_t id)
{
    for (guint i = 0; i < members->online->len; i++)
        if (g_array_index(members->online, uint32_t, i) == id)
            return true;
    return false;
}

static gboolean is_offline(gpointer id, gpointer clock, gpointer members)
{
    (void)clock;
    return !is_online(members, GPOINTER_TO_UINT(id));
}

bool members_set_online(struct members *members, const uint32_t *ids, size_t count)
{
    bool changed = false;

    for (guint i = 0; i < members->nodes->len; i++) {
        const struct cluster_node *node = g_ptr_array_index(members->nodes, i);
        bool online = false;
        for (size_t j = 0; j < count; j++)
            online |= ids[j] == node->id;
        changed |= online != is_online(members, node->id);
    }
    g_array_set_size(members->online, 0);
    g_array_append_vals(members->online, ids, (guint)count);
    g_hash_table_foreach_remove(members->clocks, is_offline, members);
    return changed;
}

char *members_names(const struct members *members, bool online)
{
    GString *names = g_string_new(NULL);

    for (guint i = 0; i < members->nodes->len; i++) {
        const struct cluster_node *node = g_ptr_array_index(members->nodes, i);
        if (is_online(members, node->id) == online)
            g_string_append_printf(names, "%s%s", names->len ? ", " : "", node->name);
    }
    return g_string_free(names, names->len == 0);
}

bool members_set_quorate(struct members *members, bool quorate)
{
    bool changed = members->quorate != quorate;

    members->quorate = quorate;
    return changed;
}

void members_look_for_host(const struct members *members, const char *host)
{
    if (members->nodes->len > 0 && !members_by_name(members, host))
        log_warning(
            "this host is named '%s', and no node of the cluster is: 'local' leads nowhere, "
            "and guests stay under the old name; give the host its old name again "
            "('hostnamectl set-hostname'), or change the name in corosync.conf and move what "
            "is below nodes/",
            host);
}

void members_set_clock(struct members *members, uint32_t id, int64_t ahead)
{
    struct member_clock *clock = g_hash_table_lookup(members->clocks, GUINT_TO_POINTER(id));

    if (!clock) {
        clock = g_new(struct member_clock, 1);
        clock->latest = ahead;
        g_hash_table_insert(members->clocks, GUINT_TO_POINTER(id), clock);
    }
    clock->before = clock->latest;
    clock->latest = ahead;
}

bool members_get_clock(const struct members *members, uint32_t id, int64_t *ahead)
{
    const struct member_clock *clock = g_hash_table_lookup(members->clocks, GUINT_TO_POINTER(id));

    if (clock)
        *ahead = MAX(clock->latest, clock->before);
    return clock != NULL;
}

const struct cluster_node *members_by_id(const struct members *members, uint32_t id)
{
    return find(members->nodes, id, NULL);
}

const struct cluster_node *members_by_name(const struct members *members, const char *name)
{
    return find(members->nodes, 0, name);
}

static json_t *node_object(const struct members *members, const struct cluster_node *node,
                           GHashTable *addresses)
{
    json_t *object = json_object();
    const char *address = g_hash_table_lookup(addresses, GUINT_TO_POINTER(node->id));

    json_text_set_number(object, "id", node->id);
    json_text_set_number(object, "online", is_online(members, node->id));
    if (address)
        json_text_set_string(object, "ip", address);
    return object;
}

void members_json(const struct members *members, GHashTable *addresses, json_t *object)
{
    if (!members->known)
        return;
    json_t *cluster = json_object();
    json_text_set_string(cluster, "name", members->cluster_name);
    json_text_set_number(cluster, "version", members->config_version);
    json_text_set_number(cluster, "nodes", members->nodes->len);
    json_text_set_number(cluster, "quorate", members->quorate);
    json_object_set_new(object, "cluster", cluster);

    json_t *list = json_object();
    for (guint i = 0; i < members->nodes->len; i++) {
        const struct cluster_node *node = g_ptr_array_index(members->nodes, i);
        json_text_set(list, node->name, node_object(members, node, addresses));
    }
    json_object_set_new(object, "nodelist", list);
}
