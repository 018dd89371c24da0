/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Guests as the history has them: those that were deleted, and those of a dead host. */
#include "ctl/guests_deleted.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/path.h"
#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/history_common.h"

#define PATTERN "nodes/*/*.conf"

static json_t *guest_json(const struct guest_path *guest, uint64_t version)
{
    g_autofree char *node = g_strndup(guest->node, guest->node_length);

    return json_pack("{s:o, s:s, s:I}", "node", db_json_string(node), "type",
                     guest_type_name(guest->type), "version", (json_int_t)version);
}

json_t *guests_recorded(struct history_reader *reader)
{
    const struct history_filter filter = {.pattern = PATTERN};
    json_t *ids = json_object();
    GPtrArray *tree;
    int error = history_tree(reader, HISTORY_NOW, &filter, &tree);

    if (error) {
        history_common_damaged(reader, "the list of guests", error);
        json_decref(ids);
        return NULL;
    }
    for (guint i = 0; i < tree->len; i++) {
        const struct history_change *change = tree->pdata[i];
        struct guest_path guest;
        if (!path_parse_guest(change->path, &guest) || change->after.directory)
            continue;
        g_autofree char *id = g_strdup_printf("%" PRIu32, guest.id);
        json_object_set_new(ids, id, guest_json(&guest, change->version));
    }
    g_ptr_array_unref(tree);
    return json_pack("{s:o}", "ids", ids);
}

static json_t *deleted_json(struct history_reader *reader, const struct history_change *change,
                            const struct guest_path *guest, const char *id)
{
    json_t *object = guest_json(guest, change->version);
    json_t *whole = history_common_json(reader, change);
    g_autofree char *argument = history_common_argument(change->path, NULL);
    g_autofree char *command = g_strconcat("pmxcfsctl undelete ", argument, NULL);
    g_autofree char *who = change->actor.known ? history_common_who(&change->actor) : g_strdup("");

    json_object_set_new(object, "id", json_string(id));
    json_object_set_new(object, "path", db_json_string(change->path));
    json_object_set_new(object, "time", json_integer((json_int_t)change->time));
    json_object_set(object, "who", json_object_get(whole, "who"));
    json_object_set_new(object, "by", db_json_string(who));
    json_object_set_new(object, "undelete", db_json_string(command));
    json_decref(whole);
    return object;
}

/* What was told of a guest last decides: it was deleted, or it is somewhere. A move is told of by
 * the row of where it came to before that of where it went from, as they are read here. */
json_t *guests_deleted(struct history_reader *reader, int64_t since, json_t *ids)
{
    const struct history_filter filter = {.pattern = PATTERN, .since = since};
    g_autoptr(GHashTable) told = g_hash_table_new(g_direct_hash, g_direct_equal);
    json_t *deleted = json_array();
    GPtrArray *changes;
    int error = history_list(reader, &filter, &changes);

    if (error) {
        history_common_damaged(reader, "the deleted guests", error);
        json_decref(deleted);
        return NULL;
    }
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        struct guest_path guest;
        if (!path_parse_guest(change->path, &guest) ||
            !g_hash_table_add(told, GUINT_TO_POINTER(guest.id)) || change->after.exists)
            continue;
        g_autofree char *id = g_strdup_printf("%" PRIu32, guest.id);
        if (!json_object_get(ids, id))
            json_array_append_new(deleted, deleted_json(reader, change, &guest, id));
    }
    g_ptr_array_unref(changes);
    return deleted;
}

json_t *guests_find_deleted(json_t *deleted, const char *id)
{
    json_t *guest;
    size_t i;

    json_array_foreach(deleted, i, guest)
    {
        if (strcmp(field_text(guest, "id"), id) == 0)
            return guest;
    }
    return NULL;
}

void guests_print_deleted(json_t *deleted)
{
    json_t *guest;
    size_t i;

    json_array_foreach(deleted, i, guest)
    {
        g_autofree char *when = db_time_shown((uint32_t)field_number(guest, "time"));
        g_autofree char *node = field_printable(guest, "node");
        g_autofree char *command = field_printable(guest, "undelete");
        g_autofree char *who = field_printable(guest, "by");
        printf("%s%10s  %-6s  %s  deleted %s  %s\n%12s%s\n", i == 0 ? "\n" : "",
               field_text(guest, "id"), field_text(guest, "type"), node, when, who, "", command);
    }
}
