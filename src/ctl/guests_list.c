/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl guests: lists guests. */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/guests.h"
#include "ctl/names.h"

/* Takes those away that are not wanted: of another node, or not among the ids (none: all are
 * wanted). */
static void keep_wanted(json_t *ids, const char *node, char **wanted)
{
    const char *id;
    json_t *guest;
    void *next;

    json_object_foreach_safe(ids, next, id, guest)
    {
        bool named = !*wanted || g_strv_contains((const gchar *const *)wanted, id);
        if (!named || (node && strcmp(node, field_text(guest, "node")) != 0))
            json_object_del(ids, id);
    }
}

/* False: stderr names those that nobody has. */
static bool are_known(json_t *ids, char **wanted)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    bool all = true;
    const char *id;
    json_t *guest;

    json_object_foreach(ids, id, guest) g_ptr_array_add(known, (gpointer)id);
    for (; *wanted; wanted++) {
        if (json_object_get(ids, *wanted))
            continue;
        names_complain("guest", *wanted, known);
        all = false;
    }
    return all;
}

static void print_guests(json_t *ids, const char *node)
{
    const char *id;
    json_t *guest;

    json_object_foreach(ids, id, guest)
        printf("%10s  %-6s  %s\n", id, field_text(guest, "type"), field_text(guest, "node"));
    if (json_object_size(ids) > 0)
        return;
    if (node)
        printf("%s has no guests\n", node);
    else
        puts("no guests");
}

int command_guests(const struct context *context, int argc, char **argv)
{
    g_autofree char *node = NULL;
    const GOptionEntry entries[] = {
        {"node", 0, 0, G_OPTION_ARG_STRING, &node, "only the guests of this node", "NODE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, "[ID...]",
                       "List the guests: id, type, node. With IDs only these, all of which must be "
                       "there.\nAs JSON: one object, as .vmlist has it.",
                       0, G_MAXINT))
        return EXIT_WRONG_USE;
    if (node && !names_check_node(context, node, &code))
        return code;
    json_t *answer = guests_ask(context, &code);
    if (!answer)
        return code;
    json_t *ids = json_object_get(answer, "ids");
    if (are_known(ids, argv + 1)) {
        keep_wanted(ids, node, argv + 1);
        if (context->json)
            print_json(answer);
        else
            print_guests(ids, node);
    } else {
        code = EXIT_FAILED;
    }
    json_decref(answer);
    return code;
}
