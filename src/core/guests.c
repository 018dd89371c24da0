/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The guest list: which guest id is registered for which node and type. */
#include "core/guests.h"

#include <string.h>

struct guest *guest_new(const struct guest_path *path, uint64_t version)
{
    struct guest *guest = g_malloc(sizeof(*guest) + path->node_length + 1);

    *guest = (struct guest){.id = path->id, .type = path->type, .version = version};
    memcpy(guest->node, path->node, path->node_length);
    guest->node[path->node_length] = '\0';
    return guest;
}

bool guest_is_at(const struct guest *guest, const struct guest_path *path)
{
    return guest->type == path->type && strlen(guest->node) == path->node_length &&
           memcmp(guest->node, path->node, path->node_length) == 0;
}

char *guest_list_only_node(const struct guest_list *guests)
{
    GHashTableIter iter;
    gpointer data;
    const struct guest *first = NULL;

    g_hash_table_iter_init(&iter, guests->by_id);
    while (g_hash_table_iter_next(&iter, NULL, &data)) {
        const struct guest *guest = data;
        if (first && strcmp(first->node, guest->node) != 0)
            return NULL;
        first = guest;
    }
    return first ? g_strdup(first->node) : NULL;
}
