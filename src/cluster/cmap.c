/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The node list and the cluster's name, from libcmap. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/log.h"
#include "cluster/corosync_client.h"

#define NODES_PREFIX "nodelist.node."
#define VERSION_KEY "totem.config_version"

static void something_changed(cmap_handle_t handle, cmap_track_handle_t track, int32_t event,
                              const char *key, struct cmap_notify_value after,
                              struct cmap_notify_value before, void *data)
{
    struct corosync *corosync = data;

    (void)handle;
    (void)track;
    (void)event;
    (void)key;
    (void)after;
    (void)before;
    corosync->cmap.changed = true;
}

static int track(struct corosync *corosync, const char *key, int32_t prefix)
{
    cmap_track_handle_t handle;
    int32_t what = CMAP_TRACK_ADD | CMAP_TRACK_DELETE | CMAP_TRACK_MODIFY | prefix;

    return cmap_track_add(corosync->cmap.handle, key, what, something_changed, corosync, &handle) ==
                   CS_OK
               ? 0
               : -ENOTCONN;
}

int nodes_open(struct corosync *corosync)
{
    if (cmap_initialize(&corosync->cmap.handle) != CS_OK)
        return -ENOTCONN;
    corosync->cmap.open = true;
    if (cmap_fd_get(corosync->cmap.handle, &corosync->cmap.fd) != CS_OK)
        return -ENOTCONN;
    corosync->cmap.changed = true;
    int error = track(corosync, NODES_PREFIX, CMAP_TRACK_PREFIX);
    return error ? error : track(corosync, VERSION_KEY, 0);
}

void nodes_close(struct corosync *corosync)
{
    if (corosync->cmap.open)
        cmap_finalize(corosync->cmap.handle);
    corosync->cmap.open = false;
}

int nodes_poll(struct corosync *corosync)
{
    cs_error_t result = cmap_dispatch(corosync->cmap.handle, CS_DISPATCH_ALL);

    if (result == CS_OK || result == CS_ERR_TRY_AGAIN)
        return 0;
    log_warning("corosync: connection for the node list lost: %s", cs_strerror(result));
    return -ENOTCONN;
}

/* The number N of a key "nodelist.node.N.ANYTHING". */
static bool parse_position(const char *key, unsigned int *position)
{
    const char *digits = key + strlen(NODES_PREFIX);
    char *end;
    unsigned long value = strtoul(digits, &end, 10);

    if (end == digits || *end != '.' || value > UINT16_MAX)
        return false;
    *position = (unsigned int)value;
    return true;
}

/* The positions in use, each once. */
static int read_positions(struct corosync *corosync, GArray *positions)
{
    char key[CMAP_KEYNAME_MAXLEN + 1];
    cmap_iter_handle_t iter;
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);
    cs_error_t result = cmap_iter_init(corosync->cmap.handle, NODES_PREFIX, &iter);

    if (result != CS_OK)
        return -ENOTCONN;
    while ((result = cmap_iter_next(corosync->cmap.handle, iter, key, NULL, NULL)) == CS_OK) {
        unsigned int position;
        if (parse_position(key, &position) &&
            g_hash_table_add(seen, GUINT_TO_POINTER(position + 1)))
            g_array_append_val(positions, position);
    }
    cmap_iter_finalize(corosync->cmap.handle, iter);
    return result == CS_ERR_NO_SECTIONS ? 0 : -ENOTCONN;
}

static uint32_t read_number(struct corosync *corosync, unsigned int position, const char *field,
                            uint32_t fallback)
{
    char key[CMAP_KEYNAME_MAXLEN + 1];
    uint32_t value;

    snprintf(key, sizeof(key), NODES_PREFIX "%u.%s", position, field);
    return cmap_get_uint32(corosync->cmap.handle, key, &value) == CS_OK ? value : fallback;
}

/* free() it. */
static char *read_string(struct corosync *corosync, unsigned int position, const char *field)
{
    char key[CMAP_KEYNAME_MAXLEN + 1];
    char *value = NULL;

    snprintf(key, sizeof(key), NODES_PREFIX "%u.%s", position, field);
    return cmap_get_string(corosync->cmap.handle, key, &value) == CS_OK ? value : NULL;
}

static void read_node(struct corosync *corosync, unsigned int position, GArray *nodes)
{
    char *name = read_string(corosync, position, "name");
    struct cluster_node node = {
        .id = read_number(corosync, position, "nodeid", 0),
        .votes = read_number(corosync, position, "quorum_votes", 1),
    };

    if (!name)
        name = read_string(corosync, position, "ring0_addr");
    if (!name || node.id == 0) {
        log_warning("corosync: node entry %u has no %s, it is skipped", position,
                    name ? "node id" : "name");
        free(name);
        return;
    }
    node.name = name;
    g_array_append_val(nodes, node);
}

static void node_clear(gpointer data)
{
    struct cluster_node *node = data;

    free((char *)node->name);
}

static void tell_nodes(struct corosync *corosync, const char *cluster_name, const GArray *nodes)
{
    struct node_listener *listener = corosync->node_listener;
    uint64_t version = 0;

    if (cmap_get_uint64(corosync->cmap.handle, VERSION_KEY, &version) != CS_OK)
        version = 0;
    if (!corosync_begin_calls(corosync))
        return;
    listener->nodes(listener, corosync->groups[GROUP_CONFIGURATION].self.node, cluster_name,
                    version, (const struct cluster_node *)(const void *)nodes->data, nodes->len);
    corosync_end_calls(corosync);
}

int nodes_tell(struct corosync *corosync)
{
    char *cluster_name = NULL;
    g_autoptr(GArray) positions = g_array_new(FALSE, FALSE, sizeof(unsigned int));
    g_autoptr(GArray) nodes = g_array_new(FALSE, FALSE, sizeof(struct cluster_node));

    corosync->cmap.changed = false;
    g_array_set_clear_func(nodes, node_clear);
    if (read_positions(corosync, positions) < 0)
        return -ENOTCONN;
    for (guint i = 0; i < positions->len; i++)
        read_node(corosync, g_array_index(positions, unsigned int, i), nodes);
    if (cmap_get_string(corosync->cmap.handle, "totem.cluster_name", &cluster_name) == CS_OK)
        tell_nodes(corosync, cluster_name, nodes);
    else
        log_error("corosync: totem.cluster_name is not set in corosync.conf");
    free(cluster_name);
    return 0;
}
