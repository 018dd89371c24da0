/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The nodes that a corosync.conf names. */
#include "ctl/nodelist.h"

#include <netdb.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

/* A line of any length is cut to this. */
#define LINE_MAX_LOOKED_AT 1024u
#define NODES_MAX 1024u

static void free_node(gpointer pointer)
{
    struct nodelist_node *node = pointer;

    g_free(node->name);
    g_ptr_array_unref(node->addresses);
    g_free(node);
}

static struct nodelist_node *add_node(GPtrArray *nodes)
{
    struct nodelist_node *node = g_new0(struct nodelist_node, 1);

    node->name = g_strdup("");
    node->addresses = g_ptr_array_new_with_free_func(g_free);
    g_ptr_array_add(nodes, node);
    return node;
}

/* "key: value" of the section that the line lies in. */
static void take_line(struct nodelist_node *node, const char *line)
{
    const char *colon = strchr(line, ':');

    if (!colon)
        return;
    g_autofree char *key = g_strstrip(g_strndup(line, (gsize)(colon - line)));
    g_autofree char *value = g_strstrip(g_strdup(colon + 1));
    if (strcmp(key, "name") == 0) {
        g_free(node->name);
        node->name = g_steal_pointer(&value);
    } else if (g_str_has_prefix(key, "ring") && g_str_has_suffix(key, "_addr")) {
        g_ptr_array_add(node->addresses, g_steal_pointer(&value));
    }
}

GPtrArray *nodelist_parse(const char *text, gsize size)
{
    GPtrArray *nodes = g_ptr_array_new_with_free_func(free_node);
    struct nodelist_node *node = NULL; /* the section that we are in */
    const char *end = text + size;

    while (text < end && nodes->len < NODES_MAX) {
        const char *line_end = memchr(text, '\n', (gsize)(end - text));
        gsize length = (gsize)((line_end ? line_end : end) - text);
        g_autofree char *line = g_strndup(text, MIN(length, LINE_MAX_LOOKED_AT));
        g_strstrip(line);
        if (*line == '#')
            ;
        else if (g_str_has_suffix(line, "{"))
            node = g_str_has_prefix(line, "node") && !g_str_has_prefix(line, "nodelist")
                       ? add_node(nodes)
                       : NULL;
        else if (strcmp(line, "}") == 0)
            node = NULL;
        else if (node)
            take_line(node, line);
        text += length + (line_end ? 1 : 0);
    }
    return nodes;
}

const struct nodelist_node *nodelist_find(const GPtrArray *nodes, const char *name)
{
    for (guint i = 0; i < nodes->len; i++) {
        const struct nodelist_node *node = nodes->pdata[i];
        if (strcmp(node->name, name) == 0)
            return node;
    }
    return NULL;
}

/* The kernel lets nobody bind to an address that is another host's. */
static bool can_bind(const struct addrinfo *info)
{
    int probe = socket(info->ai_family, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    bool bound = probe >= 0 && bind(probe, info->ai_addr, info->ai_addrlen) == 0;

    if (probe >= 0)
        close(probe);
    return bound;
}

bool nodelist_is_local(const char *address)
{
    const struct addrinfo hints = {.ai_family = AF_UNSPEC, .ai_socktype = SOCK_DGRAM};
    struct addrinfo *found = NULL;
    bool local = false;

    if (getaddrinfo(address, NULL, &hints, &found) != 0)
        return false;
    for (const struct addrinfo *info = found; info && !local; info = info->ai_next)
        local = can_bind(info);
    freeaddrinfo(found);
    return local;
}
