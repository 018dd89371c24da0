/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Recordings of what a daemon gave to and got from libcpg, for tests that replay them. */
#include "trace.h"

#include <jansson.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const char *const type_names[] = {
    [TRACE_INIT] = "init",       [TRACE_LOCAL] = "local",     [TRACE_JOIN] = "join",
    [TRACE_LEAVE] = "leave",     [TRACE_CONFCHG] = "confchg", [TRACE_SEND] = "send",
    [TRACE_DELIVER] = "deliver", [TRACE_MARK] = "mark",
};

/* Ends the test program. */
#define give_up(...)                                                                               \
    do {                                                                                           \
        fprintf(stderr, __VA_ARGS__);                                                              \
        fputc('\n', stderr);                                                                       \
        exit(EXIT_FAILURE);                                                                        \
    } while (0)

static char *vector_path(const char *directory, const char *name)
{
    const char *vectors = g_getenv("VECTORS");

    return g_build_filename(vectors ? vectors : "tests/vectors", directory, name, NULL);
}

char *trace_file(const char *directory, const char *name, size_t *size)
{
    g_autofree char *path = vector_path(directory, name);
    g_autoptr(GError) error = NULL;
    char *content = NULL;
    gsize length = 0;

    if (!g_file_get_contents(path, &content, &length, &error))
        give_up("%s", error->message);
    if (size)
        *size = length;
    return content;
}

static void free_event(gpointer data)
{
    struct trace_event *event = data;

    g_free(event->group_name);
    g_free(event->mark);
    g_clear_pointer(&event->members, g_array_unref);
    g_clear_pointer(&event->left, g_array_unref);
    g_clear_pointer(&event->joined, g_array_unref);
    buffer_unref(event->message);
    g_free(event);
}

static uint32_t number(json_t *object, const char *key)
{
    return (uint32_t)json_integer_value(json_object_get(object, key));
}

static GArray *member_list(json_t *object, const char *key)
{
    GArray *list = g_array_new(FALSE, FALSE, sizeof(struct member));
    json_t *pair;
    size_t index;

    json_array_foreach(json_object_get(object, key), index, pair)
    {
        struct member member = {
            .node = (uint32_t)json_integer_value(json_array_get(pair, 0)),
            .pid = (uint32_t)json_integer_value(json_array_get(pair, 1)),
        };
        g_array_append_val(list, member);
    }
    return list;
}

static struct buffer *decode(const char *hex)
{
    size_t size = strlen(hex) / 2;
    struct buffer *buffer = buffer_new((uint32_t)size);

    for (size_t i = 0; i < size; i++) {
        int high = g_ascii_xdigit_value(hex[2 * i]), low = g_ascii_xdigit_value(hex[2 * i + 1]);
        if (high < 0 || low < 0)
            give_up("not hexadecimal: %.16s...", hex);
        buffer->data[i] = (uint8_t)(high << 4 | low);
    }
    return buffer;
}

static enum trace_type type_of(const char *name, size_t line)
{
    for (size_t i = 0; name && i < G_N_ELEMENTS(type_names); i++)
        if (strcmp(type_names[i], name) == 0)
            return (enum trace_type)i;
    give_up("line %zu: unknown event", line);
}

static struct trace_event *make_event(json_t *object, size_t line)
{
    struct trace_event *event = g_new0(struct trace_event, 1);
    const char *hex = json_string_value(json_object_get(object, "hex"));

    event->type = type_of(json_string_value(json_object_get(object, "ev")), line);
    event->group = number(object, "h") ? TRACE_STATUS : TRACE_CONFIGURATION;
    event->line = line;
    event->time = json_number_value(json_object_get(object, "t"));
    event->member = (struct member){number(object, "nodeid"), number(object, "pid")};
    event->group_name = g_strdup(json_string_value(json_object_get(object, "group")));
    event->length = number(object, "length");
    event->guarantee = number(object, "guarantee");
    event->mark = g_strdup(json_string_value(json_object_get(object, "what")));
    if (event->type == TRACE_CONFCHG) {
        event->members = member_list(object, "members");
        event->left = member_list(object, "left");
        event->joined = member_list(object, "joined");
    }
    if (event->type == TRACE_SEND || event->type == TRACE_DELIVER) {
        if (!hex)
            give_up("line %zu: no bytes", line);
        event->message = decode(hex);
    }
    return event;
}

/* What is in the file, NUL-ended. */
static char *decompress(const char *path)
{
    const char *arguments[] = {"xz", "-dc", path, NULL};
    g_autoptr(GError) error = NULL;
    char *text = NULL;
    int status = 0;

    if (!g_spawn_sync(NULL, (char **)arguments, NULL, G_SPAWN_SEARCH_PATH, NULL, NULL, &text, NULL,
                      &status, &error))
        give_up("xz: %s", error->message);
    if (!g_spawn_check_wait_status(status, &error))
        give_up("%s: %s", path, error->message);
    return text;
}

GPtrArray *trace_load(const char *directory, unsigned node)
{
    GPtrArray *trace = g_ptr_array_new_with_free_func(free_event);
    g_autofree char *name = g_strdup_printf("node%u.jsonl.xz", node);
    g_autofree char *path = vector_path(directory, name);
    g_autofree char *text = decompress(path);
    size_t line = 1;

    for (char *at = text, *end; (end = strchr(at, '\n')); at = end + 1, line++) {
        json_error_t error;
        json_t *object = json_loadb(at, (size_t)(end - at), 0, &error);
        if (!object)
            give_up("%s, line %zu: %s", path, line, error.text);
        g_ptr_array_add(trace, make_event(object, line));
        json_decref(object);
    }
    if (trace->len == 0)
        give_up("%s: no recording", path);
    return trace;
}

size_t trace_find_mark(const GPtrArray *trace, size_t from, const char *mark)
{
    while (from < trace->len) {
        const struct trace_event *event = trace_at(trace, from);
        if (event->type == TRACE_MARK && strcmp(event->mark, mark) == 0)
            break;
        from++;
    }
    return from;
}
