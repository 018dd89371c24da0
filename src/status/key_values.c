/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Key/value status: the values of this node, copies of those of other nodes, and RRD values. */
#include "status/key_values.h"

#include <errno.h>
#include <string.h>

#include "status/json_text.h"

/* What a value costs beside its bytes, in the table and in what it points to: of the smallest ones
 * that is nearly all. */
#define VALUE_OVERHEAD 96u

struct rrd_value {
    uint64_t since;      /* milliseconds, when it was set */
    struct buffer *line; /* KEY:VALUE and a newline */
    size_t bytes;        /* what it counts in rrd_values.bytes */
};

const char *key_rrd_key(const char *name)
{
    return name + strlen("rrd/");
}

/* One NUL, at the end. */
static bool is_string(const void *value, size_t size)
{
    return size > 0 && memchr(value, 0, size) == (const char *)value + size - 1;
}

int key_value_check(const char *name, const void *value, size_t size, enum key_kind *kind)
{
    size_t length = strnlen(name, KEY_NAME_MAX + 1);

    if (length == 0 || length > KEY_NAME_MAX)
        return -EINVAL;
    if (size > KEY_VALUE_MAX)
        return -EFBIG;
    *kind = KEY_PLAIN;
    if (strcmp(name, "nodeip") == 0) {
        *kind = KEY_ADDRESS;
        return size > 1 && size <= ADDRESS_BYTES_MAX && is_string(value, size) ? 0 : -EINVAL;
    }
    if (strcmp(name, RELEASE_NAME) == 0) {
        *kind = KEY_RELEASE;
        return size > 1 && size <= RELEASE_BYTES_MAX && is_string(value, size) ? 0 : -EINVAL;
    }
    if (strncmp(name, "rrd/", 4) == 0) {
        *kind = KEY_RRD;
        return size <= RRD_BYTES_MAX && is_string(value, size) ? 0 : -EINVAL;
    }
    return 0;
}

static void free_key_value(gpointer data)
{
    struct key_value *value = data;

    buffer_unref(value->value);
    g_free(value);
}

struct node_values *node_values_new(void)
{
    struct node_values *values = g_new0(struct node_values, 1);

    values->by_name = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_key_value);
    return values;
}

void node_values_free(struct node_values *values)
{
    if (!values)
        return;
    g_hash_table_destroy(values->by_name);
    g_free(values->owner);
    g_free(values->address);
    g_free(values->release);
    g_free(values);
}

int node_values_set(struct node_values *values, const char *name, const void *value, size_t size)
{
    struct key_value *stored = g_hash_table_lookup(values->by_name, name);
    size_t length = strlen(name);
    size_t before = stored ? VALUE_OVERHEAD + length + stored->value->capacity : 0;
    size_t after = size ? VALUE_OVERHEAD + length + size : 0;

    if (after > before && values->bytes - before + after > KEY_VALUES_BYTES_MAX)
        return -ENOSPC;
    values->bytes = values->bytes - before + after;
    if (size == 0) {
        g_hash_table_remove(values->by_name, name);
        return 0;
    }
    if (stored) {
        buffer_unref(stored->value);
        stored->version++;
    } else {
        stored = g_new0(struct key_value, 1);
        g_hash_table_insert(values->by_name, g_strdup(name), stored);
    }
    stored->value = buffer_copy(value, (uint32_t)size);
    return 0;
}

const struct key_value *node_values_get(const struct node_values *values, const char *name)
{
    return g_hash_table_lookup(values->by_name, name);
}

static gint compare_names(gconstpointer left, gconstpointer right)
{
    return strcmp(*(const char *const *)left, *(const char *const *)right);
}

GPtrArray *node_values_names(const struct node_values *values)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GHashTableIter iterator;
    gpointer name;

    g_hash_table_iter_init(&iterator, values->by_name);
    while (g_hash_table_iter_next(&iterator, &name, NULL))
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_names);
    return names;
}

static struct buffer *text_sent(const char *text)
{
    return text ? buffer_copy(text, (uint32_t)strlen(text) + 1) : NULL;
}

struct buffer *node_values_sent(const struct node_values *values, const char *name)
{
    const struct key_value *value = node_values_get(values, name);

    if (value)
        return buffer_ref(value->value);
    if (strcmp(name, RELEASE_NAME) == 0)
        return text_sent(values->release);
    return strcmp(name, "nodeip") == 0 ? text_sent(values->address) : NULL;
}

json_t *node_values_versions(const struct node_values *values)
{
    json_t *object = json_object();
    g_autoptr(GPtrArray) names = node_values_names(values);

    for (guint i = 0; i < names->len; i++) {
        const char *name = g_ptr_array_index(names, i);
        json_text_set(object, name, json_integer(node_values_get(values, name)->version));
    }
    return object;
}

bool node_values_set_address(struct node_values *values, const char *address)
{
    if (g_strcmp0(values->address, address) == 0)
        return false;
    g_free(values->address);
    values->address = g_strdup(address);
    return true;
}

static void free_rrd_value(gpointer data)
{
    struct rrd_value *value = data;

    buffer_unref(value->line);
    g_free(value);
}

struct rrd_values *rrd_values_new(void)
{
    struct rrd_values *rrd = g_new0(struct rrd_values, 1);

    rrd->by_key = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, free_rrd_value);
    return rrd;
}

void rrd_values_free(struct rrd_values *rrd)
{
    if (!rrd)
        return;
    g_hash_table_destroy(rrd->by_key);
    g_free(rrd);
}

static void forget_old(struct rrd_values *rrd, uint64_t now)
{
    GHashTableIter iterator;
    gpointer data;

    g_hash_table_iter_init(&iterator, rrd->by_key);
    while (g_hash_table_iter_next(&iterator, NULL, &data)) {
        struct rrd_value *value = data;
        if (value->since + RRD_SHOWN_MILLISECONDS >= now)
            continue;
        rrd->bytes -= value->bytes;
        g_hash_table_iter_remove(&iterator);
    }
}

/* One line: a newline in foreign bytes must not begin another. */
static struct buffer *make_line(const char *key, const char *text)
{
    g_autofree char *line = g_strconcat(key, ":", text, NULL);
    size_t length = strlen(line);

    for (char *at = line; (at = strchr(at, '\n'));)
        *at = ' ';
    line[length] = '\n';
    return buffer_copy(line, (uint32_t)length + 1);
}

int rrd_values_set(struct rrd_values *rrd, const char *key, const char *value, uint64_t now)
{
    const struct rrd_value *old = g_hash_table_lookup(rrd->by_key, key);
    size_t bytes = 2 * strlen(key) + strlen(value) + VALUE_OVERHEAD;

    size_t before = old ? old->bytes : 0;

    if (rrd->bytes - before + bytes > KEY_VALUES_BYTES_MAX) {
        forget_old(rrd, now);
        old = g_hash_table_lookup(rrd->by_key, key);
        before = old ? old->bytes : 0;
        if (rrd->bytes - before + bytes > KEY_VALUES_BYTES_MAX)
            return -ENOSPC;
    }
    struct rrd_value *stored = g_new0(struct rrd_value, 1);
    stored->since = now;
    stored->bytes = bytes;
    stored->line = make_line(key, value);
    g_hash_table_replace(rrd->by_key, g_strdup(key), stored);
    rrd->bytes = rrd->bytes - before + bytes;
    return 0;
}

GPtrArray *rrd_values_lines(struct rrd_values *rrd, uint64_t now)
{
    GPtrArray *lines;
    GHashTableIter iterator;
    gpointer data;

    forget_old(rrd, now);
    lines = g_ptr_array_new_full(g_hash_table_size(rrd->by_key), (GDestroyNotify)buffer_unref);
    g_hash_table_iter_init(&iterator, rrd->by_key);
    while (g_hash_table_iter_next(&iterator, NULL, &data)) {
        const struct rrd_value *value = data;
        g_ptr_array_add(lines, buffer_ref(value->line));
    }
    return lines;
}

static gint compare_lines(gconstpointer left, gconstpointer right)
{
    const struct buffer *a = *(const struct buffer *const *)left;
    const struct buffer *b = *(const struct buffer *const *)right;
    int order = memcmp(a->data, b->data, MIN(a->capacity, b->capacity));

    return order ? order : (a->capacity > b->capacity) - (a->capacity < b->capacity);
}

struct buffer *rrd_lines_text(GPtrArray *lines)
{
    g_autoptr(GByteArray) text = g_byte_array_new();

    g_ptr_array_sort(lines, compare_lines);
    for (guint i = 0; i < lines->len; i++) {
        const struct buffer *line = g_ptr_array_index(lines, i);
        g_byte_array_append(text, line->data, line->capacity);
    }
    return buffer_copy(text->data, text->len);
}
