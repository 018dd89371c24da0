/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text of .vmlist, made of a copy of the guest list. */
#include "status/vmlist.h"

#include <jansson.h>
#include <string.h>

struct guest_copy {
    uint64_t version;
    uint32_t id;
    uint32_t node; /* offset in `names` */
    enum guest_type type;
};

struct guest_snapshot {
    GArray *guests; /* struct guest_copy */
    GString *names; /* node names, NUL-ended, one after the other */
};

struct guest_snapshot *guest_snapshot_new(const struct guest_list *list)
{
    struct guest_snapshot *snapshot = g_new(struct guest_snapshot, 1);
    guint count = g_hash_table_size(list->by_id);
    GHashTableIter iterator;
    gpointer data;

    snapshot->guests = g_array_sized_new(FALSE, FALSE, sizeof(struct guest_copy), count);
    snapshot->names = g_string_sized_new(16 * (gsize)count);
    g_hash_table_iter_init(&iterator, list->by_id);
    while (g_hash_table_iter_next(&iterator, NULL, &data)) {
        const struct guest *guest = data;
        struct guest_copy copy = {.version = guest->version,
                                  .id = guest->id,
                                  .node = (uint32_t)snapshot->names->len,
                                  .type = guest->type};
        g_string_append_len(snapshot->names, guest->node, (gssize)strlen(guest->node) + 1);
        g_array_append_val(snapshot->guests, copy);
    }
    return snapshot;
}

void guest_snapshot_free(struct guest_snapshot *snapshot)
{
    if (!snapshot)
        return;
    g_array_unref(snapshot->guests);
    g_string_free(snapshot->names, TRUE);
    g_free(snapshot);
}

static gint compare_ids(gconstpointer left, gconstpointer right)
{
    const struct guest_copy *a = left, *b = right;

    return (a->id > b->id) - (a->id < b->id);
}

static void append_number(GString *text, uint64_t number)
{
    char digits[20];
    size_t at = sizeof(digits);

    do
        digits[--at] = (char)('0' + number % 10);
    while (number /= 10);
    g_string_append_len(text, digits + at, (gssize)(sizeof(digits) - at));
}

/* The name as a JSON string with its quotation marks, remembered in `known`. */
static const char *quoted_name(GHashTable *known, const char *name)
{
    char *quoted = g_hash_table_lookup(known, name);

    if (quoted)
        return quoted;
    g_autofree char *valid = g_utf8_make_valid(name, -1);
    json_t *string = json_string(valid);
    char *dumped = json_dumps(string, JSON_ENCODE_ANY);
    quoted = g_strdup(dumped ? dumped : "\"\"");
    free(dumped);
    json_decref(string);
    g_hash_table_insert(known, g_strdup(name), quoted);
    return quoted;
}

static void append_guest(GString *text, const struct guest_copy *guest, const char *quoted)
{
    g_string_append_c(text, '"');
    append_number(text, guest->id);
    g_string_append(text, "\":{\"node\":");
    g_string_append(text, quoted);
    g_string_append(text, ",\"type\":\"");
    g_string_append(text, guest_type_name(guest->type));
    g_string_append(text, "\",\"version\":");
    append_number(text, guest->version);
    g_string_append_c(text, '}');
}

/* A tree of JSON values for 20 000 guests costs ten times this text. All that has to be escaped are
 * the few node names, which the JSON library does; the rest are numbers and fixed words. */
struct buffer *vmlist_text(struct guest_snapshot *snapshot, uint64_t version)
{
    GArray *guests = snapshot->guests;
    g_autoptr(GHashTable) known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    g_autoptr(GString) text = g_string_sized_new(64 + 64 * (gsize)guests->len);

    g_array_sort(guests, compare_ids);
    g_string_append(text, "{\"version\":");
    append_number(text, version);
    for (guint i = 0; i < guests->len; i++) {
        const struct guest_copy *guest = &g_array_index(guests, struct guest_copy, i);
        g_string_append(text, i == 0 ? ",\"ids\":{" : ",");
        append_guest(text, guest, quoted_name(known, snapshot->names->str + guest->node));
    }
    g_string_append(text, guests->len > 0 ? "}}\n" : "}\n");
    return buffer_copy(text->str, (uint32_t)text->len);
}
