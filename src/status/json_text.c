/* SPDX-License-Identifier: GPL-3.0-or-later */
/* JSON values from bytes of any kind, and JSON texts as buffers. */
#include "status/json_text.h"

#include <glib.h>
#include <string.h>

json_t *json_text_string(const char *bytes, size_t size)
{
    json_t *string = json_stringn(bytes, size);

    if (string)
        return string;
    g_autofree char *valid = g_utf8_make_valid(bytes, (gssize)size);
    string = json_string(valid);
    return string ? string : json_string("");
}

void json_text_set(json_t *object, const char *key, json_t *value)
{
    if (g_utf8_validate(key, -1, NULL)) {
        json_object_set_new(object, key, value);
        return;
    }
    g_autofree char *valid = g_utf8_make_valid(key, -1);
    json_object_set_new(object, valid, value);
}

void json_text_set_string(json_t *object, const char *key, const char *string)
{
    json_object_set_new(object, key,
                        string ? json_text_string(string, strlen(string)) : json_null());
}

void json_text_set_number(json_t *object, const char *key, uint64_t number)
{
    json_object_set_new(object, key, json_integer((json_int_t)number));
}

/* jansson's callback type wants a void pointer. */
static int append(const char *buffer, size_t size, void *data)
{
    GByteArray *text = data;

    g_byte_array_append(text, (const guint8 *)buffer, (guint)size);
    return 0;
}

struct buffer *json_text_buffer(json_t *value, size_t flags)
{
    g_autoptr(GByteArray) text = g_byte_array_new();

    /* Values made above hold valid UTF-8 alone, so that dumping them cannot fail. */
    json_dump_callback(value, append, text, flags);
    json_decref(value);
    g_byte_array_append(text, (const guint8 *)"\n", 1);
    return buffer_copy(text->data, text->len);
}
