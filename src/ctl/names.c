/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the nodes of the cluster are called, and the words for names that nothing has. */
#include "ctl/names.h"

#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/guests.h"
#include "ctl/suggest.h"

bool names_contain(const GPtrArray *names, const char *name)
{
    for (guint i = 0; i < names->len; i++) {
        if (strcmp(names->pdata[i], name) == 0)
            return true;
    }
    return false;
}

void names_complain(const char *what, const char *name, const GPtrArray *known)
{
    g_autofree char *suggested = suggest_text(name, known);
    g_autofree char *hint = text_printable(suggested);
    g_autofree char *given = text_printable(name);

    fprintf(stderr, "error: no %s is called '%s'%s\n", what, given, hint);
}

static void add(GPtrArray *names, const char *name)
{
    if (name && *name && !names_contain(names, name))
        g_ptr_array_add(names, g_strdup(name));
}

/* Adds those that the daemon knows; else an exit code with *error, as ask_quietly(). */
static int add_nodes(GPtrArray *names, const struct context *context, int *error)
{
    json_t *members = NULL;
    json_t *guests;
    json_t *value;
    const char *key;
    int ignored;
    int code = ask_quietly(context, ASK_MEMBERS, NULL, 0, &members, error);

    if (code != EXIT_DONE)
        return code;
    json_object_foreach(json_object_get(members, "nodelist"), key, value) add(names, key);
    add(names, json_string_value(json_object_get(members, "nodename")));
    guests = guests_ask_quietly(context, &ignored, error);
    json_object_foreach(json_object_get(guests, "ids"), key, value)
        add(names, json_string_value(json_object_get(value, "node")));
    json_decref(guests);
    json_decref(members);
    return EXIT_DONE;
}

GPtrArray *names_of_nodes(const struct context *context)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    int error;

    add_nodes(names, context, &error);
    return names;
}

static void add_directories(GPtrArray *names, const char *mountpoint)
{
    g_autofree char *path = g_build_filename(mountpoint, "nodes", NULL);
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory)))
        add(names, name);
    if (directory)
        g_dir_close(directory);
}

bool names_check_node(const struct context *context, const char *name, int *code)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    int error;

    *code = add_nodes(names, context, &error);
    if (*code != EXIT_DONE) {
        ask_complain(context, *code, error);
        return false;
    }
    if (names_contain(names, name))
        return true;
    json_t *overview = ask(context, ASK_OVERVIEW, NULL, 0, code);
    if (!overview)
        return false;
    add_directories(names, field_text(overview, "mountpoint"));
    json_decref(overview);
    if (names_contain(names, name))
        return true;
    names_complain("node", name, names);
    *code = EXIT_FAILED;
    return false;
}
