/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl guests: lists guests. */
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/guests.h"
#include "ctl/guests_deleted.h"
#include "ctl/history_common.h"
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

/* The same of those that were deleted. */
static void keep_wanted_deleted(json_t *deleted, const char *node, char **wanted)
{
    for (size_t i = json_array_size(deleted); i-- > 0;) {
        json_t *guest = json_array_get(deleted, i);
        bool named =
            !*wanted || g_strv_contains((const gchar *const *)wanted, field_text(guest, "id"));
        if (!named || (node && strcmp(node, field_text(guest, "node")) != 0))
            json_array_remove(deleted, i);
    }
}

/* False: stderr names those that nobody has, and how they come back if they were deleted. */
static bool are_known(json_t *ids, json_t *deleted, char **wanted)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    bool all = true;
    const char *id;
    json_t *guest;

    json_object_foreach(ids, id, guest) g_ptr_array_add(known, (gpointer)id);
    for (; *wanted; wanted++) {
        if (json_object_get(ids, *wanted))
            continue;
        json_t *gone = guests_find_deleted(deleted, *wanted);
        g_autofree char *command = gone ? field_printable(gone, "undelete") : NULL;
        if (gone)
            fprintf(stderr, "error: guest %s was deleted; '%s' brings it back\n", *wanted, command);
        else
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
    {
        g_autofree char *on = field_printable(guest, "node");
        g_autofree char *type = field_printable(guest, "type");
        printf("%10s  %-6s  %s\n", id, type, on);
    }
    if (json_object_size(ids) > 0)
        return;
    if (node)
        printf("%s has no guests\n", node);
    else
        puts("no guests");
}

/* Those that are there and, as far as that can be known, those that were deleted since then: where
 * only the history is asked for, *code says whether it could be read. NULL: stderr says why, and
 * *code is set. */
static json_t *ask_all(const struct context *context, const char *database, int64_t since,
                       int *code)
{
    json_t *answer = database ? NULL : guests_ask(context, code);
    struct history_reader *reader = database ? history_common_open(context, database, code)
                                    : answer ? history_common_open_quietly(context)
                                             : NULL;

    if (database && reader)
        answer = guests_recorded(reader);
    if (database)
        *code = answer ? EXIT_DONE : EXIT_FAILED;
    if (answer && reader) {
        json_t *deleted = guests_deleted(reader, since, json_object_get(answer, "ids"));
        if (deleted)
            json_object_set_new(answer, "deleted", deleted);
        else if (database)
            *code = EXIT_FAILED;
    }
    history_close(reader);
    return answer;
}

static int list(const struct context *context, json_t *answer, const char *node, char **wanted)
{
    json_t *ids = json_object_get(answer, "ids");
    json_t *deleted = json_object_get(answer, "deleted");

    if (!are_known(ids, deleted, wanted))
        return EXIT_FAILED;
    keep_wanted(ids, node, wanted);
    keep_wanted_deleted(deleted, node, wanted);
    if (context->json) {
        print_json(answer);
    } else {
        print_guests(ids, node);
        guests_print_deleted(deleted);
    }
    return EXIT_DONE;
}

#define SUMMARY                                                                                    \
    "List the guests: id, type, node. With IDs only these, all of which must be there. Below\n"    \
    "them, for root, those that were deleted in the last days, each with the command that "        \
    "brings\n"                                                                                     \
    "it back.\nAs JSON: one object, as .vmlist has it; deleted are the deleted ones."

int command_guests(const struct context *context, int argc, char **argv)
{
    g_autofree char *node = NULL;
    g_autofree char *database = NULL;
    g_autofree char *deleted = NULL;
    int64_t since;
    const GOptionEntry entries[] = {
        {"node", 0, 0, G_OPTION_ARG_STRING, &node, "only the guests of this node", "NODE"},
        {"deleted", 0, 0, G_OPTION_ARG_STRING, &deleted, "those that were deleted since (7d)",
         "WHEN"},
        {"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
         "of a dead host: the history beside this database, or this history.db", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, "[ID...]", SUMMARY, 0, G_MAXINT))
        return EXIT_WRONG_USE;
    if (!history_common_take_time(deleted ? deleted : "7d", &since))
        return EXIT_WRONG_USE;
    if (node && !database && !names_check_node(context, node, &code))
        return code;
    json_t *answer = ask_all(context, database, since, &code);
    if (!answer)
        return code;
    int listed = list(context, answer, node, argv + 1);
    json_decref(answer);
    return listed != EXIT_DONE ? listed : code;
}
