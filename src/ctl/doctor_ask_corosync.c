/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What corosync tells of itself, within a deadline: libcmap and libvotequorum. */
#include <corosync/cmap.h>
#include <corosync/votequorum.h>
#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "ctl/doctor_ask_corosync.h"
#include "ctl/doctor_process.h"

#define NODES "nodelist.node."
#define LINKS_MAX 8u /* of knet */

static json_int_t number_of(cmap_handle_t handle, const char *key, json_int_t fallback)
{
    uint32_t value;

    return cmap_get_uint32(handle, key, &value) == CS_OK ? value : fallback;
}

static json_t *text_of(cmap_handle_t handle, const char *key)
{
    char *value = NULL;

    if (cmap_get_string(handle, key, &value) != CS_OK)
        return json_null();
    json_t *text = json_string(value);
    free(value);
    return text ? text : json_null();
}

/* The links to a node, as knet counts them; none to the node itself. */
static json_t *links_to(cmap_handle_t statistics, json_int_t id)
{
    json_t *links = json_array();

    for (unsigned int link = 0; link < LINKS_MAX; link++) {
        uint8_t enabled = 0;
        uint8_t connected = 0;
        g_autofree char *prefix =
            g_strdup_printf("stats.knet.node%lld.link%u.", (long long)id, link);
        g_autofree char *first = g_strconcat(prefix, "enabled", NULL);
        g_autofree char *second = g_strconcat(prefix, "connected", NULL);
        if (cmap_get_uint8(statistics, first, &enabled) != CS_OK || !enabled ||
            cmap_get_uint8(statistics, second, &connected) != CS_OK)
            continue;
        json_array_append_new(
            links, json_pack("{s:i, s:b}", "number", (int)link, "connected", connected != 0));
    }
    return links;
}

static bool has_joined(cmap_handle_t handle, json_int_t id)
{
    g_autofree char *key = g_strdup_printf("runtime.members.%lld.status", (long long)id);
    json_t *status = text_of(handle, key);
    bool joined = json_is_string(status) && strcmp(json_string_value(status), "joined") == 0;

    json_decref(status);
    return joined;
}

static void add_node(json_t *nodes, cmap_handle_t handle, cmap_handle_t statistics,
                     unsigned int position)
{
    g_autofree char *id_key = g_strdup_printf(NODES "%u.nodeid", position);
    g_autofree char *name_key = g_strdup_printf(NODES "%u.name", position);
    g_autofree char *votes_key = g_strdup_printf(NODES "%u.quorum_votes", position);
    json_int_t id = number_of(handle, id_key, 0);
    json_t *node = json_object();

    json_object_set_new(node, "id", json_integer(id));
    json_object_set_new(node, "name", text_of(handle, name_key));
    json_object_set_new(node, "votes", json_integer(number_of(handle, votes_key, 1)));
    json_object_set_new(node, "joined", json_boolean(has_joined(handle, id)));
    json_object_set_new(node, "links", statistics ? links_to(statistics, id) : json_array());
    json_array_append_new(nodes, node);
}

static json_t *read_nodes(cmap_handle_t handle)
{
    char key[CMAP_KEYNAME_MAXLEN + 1];
    cmap_iter_handle_t iter;
    cmap_handle_t statistics = 0;
    json_t *nodes = json_array();
    unsigned int position;
    char end;

    if (cmap_initialize_map(&statistics, CMAP_MAP_STATS) != CS_OK)
        statistics = 0;
    if (cmap_iter_init(handle, NODES, &iter) == CS_OK) {
        while (cmap_iter_next(handle, iter, key, NULL, NULL) == CS_OK) {
            /* Each node has an id, and so this key once. */
            if (sscanf(key, NODES "%u.nodei%c", &position, &end) == 2 && end == 'd')
                add_node(nodes, handle, statistics, position);
        }
        cmap_iter_finalize(handle, iter);
    }
    if (statistics)
        cmap_finalize(statistics);
    return nodes;
}

static json_t *read_votes(void)
{
    votequorum_callbacks_t callbacks = {0};
    struct votequorum_info info;
    votequorum_handle_t handle;
    json_t *votes = NULL;

    if (votequorum_initialize(&handle, &callbacks) != CS_OK)
        return NULL;
    if (votequorum_getinfo(handle, 0, &info) == CS_OK)
        votes = json_pack("{s:I, s:I, s:I, s:b}", "expected", (json_int_t)info.highest_expected,
                          "total", (json_int_t)info.total_votes, "needed", (json_int_t)info.quorum,
                          "quorate", (info.flags & VOTEQUORUM_INFO_QUORATE) != 0);
    votequorum_finalize(handle);
    return votes;
}

/* In the process of its own; a JSON text, g_free() it. */
static char *ask(void *nothing, int *error)
{
    cmap_handle_t handle;
    uint64_t version = 0;

    (void)nothing;
    if (cmap_initialize(&handle) != CS_OK) {
        *error = -ENOTCONN;
        return NULL;
    }
    if (cmap_get_uint64(handle, "totem.config_version", &version) != CS_OK)
        version = 0;
    json_t *answer = json_object();
    json_object_set_new(answer, "own",
                        json_integer(number_of(handle, "runtime.votequorum.this_node_id", 0)));
    json_object_set_new(answer, "version", json_integer((json_int_t)version));
    json_object_set_new(answer, "nodes", read_nodes(handle));
    json_t *votes = read_votes();
    if (votes)
        json_object_set_new(answer, "votes", votes);
    cmap_finalize(handle);
    char *text = json_dumps(answer, JSON_COMPACT);
    json_decref(answer);
    *error = text ? 0 : -ENOMEM;
    return text;
}

json_t *doctor_ask_corosync(int milliseconds, int *error)
{
    g_autofree char *text = doctor_process_run(ask, NULL, milliseconds, error);
    json_t *answer = text ? json_loads(text, JSON_ALLOW_NUL, NULL) : NULL;

    if (text && !answer)
        *error = -EBADMSG;
    return answer;
}
