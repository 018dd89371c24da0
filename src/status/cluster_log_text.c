/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cluster log as JSON: valid whatever the entries hold. */
#include <string.h>

#include "status/cluster_log.h"
#include "status/json_text.h"

#define TEXT_FLAGS (JSON_INDENT(1) | JSON_ENSURE_ASCII)

/* The four hex digits at `at`, or -1. Stops at the string's NUL. */
static gint32 four_digits(const char *at)
{
    gint32 value = 0;

    for (int i = 0; i < 4; i++) {
        int digit = g_ascii_xdigit_value(at[i]);
        if (digit < 0)
            return -1;
        value = value * 16 + digit;
    }
    return value;
}

/* The character that the \uXXXX at `at` (a pair of them for a surrogate pair) stands for, and its
 * bytes in *used; -1 if it is none. */
static gint32 escaped_character(const char *at, size_t *used)
{
    if (at[0] != '\\' || at[1] != 'u')
        return -1;
    gint32 first = four_digits(at + 2);
    *used = 6;
    if (first < 0xd800 || first > 0xdfff)
        return first;
    if (first > 0xdbff || at[6] != '\\' || at[7] != 'u')
        return -1;
    gint32 second = four_digits(at + 8);
    if (second < 0xdc00 || second > 0xdfff)
        return -1;
    *used = 12;
    return 0x10000 + ((first - 0xd800) << 10) + (second - 0xdc00);
}

/* A stored string as JSON. `quotes`: \" stands for a quotation mark, as in messages. */
static json_t *stored_string(const char *stored, size_t length, bool quotes)
{
    g_autofree char *valid = g_utf8_make_valid(stored, (gssize)length);
    g_autoptr(GString) text = g_string_sized_new(length);

    for (const char *at = valid; *at;) {
        size_t used = 1;
        gint32 character = escaped_character(at, &used);
        if (character == 0) {
            g_string_append_c(text, '\0');
        } else if (character > 0) {
            g_string_append_unichar(text, (gunichar)character);
        } else if (quotes && at[0] == '\\' && at[1] == '"') {
            g_string_append_c(text, '"');
            used = 2;
        } else {
            g_string_append_c(text, at[0]);
            used = 1;
        }
        at += used;
    }
    return json_text_string(text->str, text->len);
}

static json_t *entry_object(const struct cluster_log_entry *entry)
{
    json_t *object = json_object();

    json_text_set_number(object, "uid", entry->uid);
    json_text_set_number(object, "time", entry->time);
    json_text_set_number(object, "pri", entry->priority);
    json_object_set_new(object, "tag", stored_string(entry->tag, entry->tag_length, false));
    json_text_set_number(object, "pid", entry->pid);
    json_object_set_new(object, "node", stored_string(entry->node, entry->node_length, false));
    json_object_set_new(object, "user", stored_string(entry->ident, entry->ident_length, false));
    json_object_set_new(object, "msg", stored_string(entry->message, entry->message_length, true));
    return object;
}

struct buffer *cluster_log_text(const uint8_t *buffer, uint32_t max, const char *user)
{
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;
    json_t *text = json_object();
    json_t *data = json_array();

    json_object_set_new(text, "data", data);
    if (max == 0)
        max = CLUSTER_LOG_SHOWN;
    if (cluster_log_walk_start(&walk, buffer, CLUSTER_LOG_SIZE) == 0)
        while (max > 0 && cluster_log_walk_next(&walk, &entry)) {
            if (user && *user && strcmp(user, entry.ident) != 0)
                continue;
            json_array_append_new(data, entry_object(&entry));
            max--;
        }
    return json_text_buffer(text, TEXT_FLAGS);
}
