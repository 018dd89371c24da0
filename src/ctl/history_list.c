/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl history: what was changed, when, on which node, by whom. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/history_moment.h"
#include "store/text.h"

#define LINES_DEFAULT 100

static void print_change(struct history_reader *reader, const struct history_change *change)
{
    g_autofree char *when = db_time_shown((uint32_t)change->time);
    g_autofree char *node = history_common_node(reader, change->node);
    g_autofree char *path = store_text_shown(change->path, strlen(change->path));

    if (change->operation == HISTORY_GAP) {
        printf("%10s  %s  (records are missing here)\n", "", when);
        return;
    }
    printf("%10" PRIu64 "  %s  %-12s  %-6s  %s", change->version, when, node,
           history_common_operation(change->operation), path);
    if (change->other) {
        g_autofree char *other = store_text_shown(change->other, strlen(change->other));
        printf(" %s %s", change->after.exists ? "<-" : "->", other);
    } else if (change->after.exists && !change->after.directory) {
        g_autofree char *size = db_size_shown(change->after.size);
        printf("  (%s)", size);
    } else if (!change->after.exists && change->operation != HISTORY_DELETE) {
        printf("  (gone)");
    }
    if (change->actor.known) {
        g_autofree char *who = history_common_who(&change->actor);
        printf("  %s", who);
    }
    putchar('\n');
}

/* A pattern may be of what is not there yet. */
static bool is_known(struct history_reader *reader, const struct history_filter *filter)
{
    return !filter->path || !*filter->path ||
           history_moment_known(reader, filter->path) == EXIT_DONE;
}

static int list(const struct context *context, const char *database, const char *node,
                struct history_filter *filter, guint lines)
{
    GPtrArray *changes = NULL;
    int code;
    struct history_reader *reader = history_common_open(context, database, &code);

    if (!reader)
        return code;
    code = EXIT_FAILED;
    if (history_common_take_node(reader, node, filter) && is_known(reader, filter)) {
        int error = history_list(reader, filter, &changes);
        code = error ? history_common_damaged(reader, NULL, error) : EXIT_DONE;
    }
    if (code == EXIT_DONE) {
        history_common_tell(context, reader, changes, lines, print_change);
        if (!context->json && changes->len == 0)
            puts("no changes are recorded of that");
        g_ptr_array_unref(changes);
    }
    history_close(reader);
    return code;
}

int command_history(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    g_autofree char *node = NULL;
    g_autofree char *since = NULL;
    int lines = LINES_DEFAULT;
    struct history_filter filter = {0};
    const GOptionEntry entries[] = {
        {"since", 0, 0, G_OPTION_ARG_STRING, &since,
         "only from then on (2h, yesterday, 2026-11-22 18:41)", "WHEN"},
        {"node", 0, 0, G_OPTION_ARG_STRING, &node, "only what was asked for on it", "NODE"},
        {"lines", 'n', 0, G_OPTION_ARG_INT, &lines, "so many, 0: all (100)", "N"},
        {"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
         "the history beside this database, or this history.db", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "[PATH|PATTERN]",
                       "Show what was changed, the newest first: of a path and all below it, of "
                       "paths like a pattern\n(*, ?; they stand for slashes too), or all.",
                       0, 1))
        return EXIT_WRONG_USE;
    if (!history_common_take_lines(lines, since, &filter))
        return EXIT_WRONG_USE;
    if (argc > 1 && !history_common_take_argument(argv[1]))
        return EXIT_WRONG_USE;
    g_autofree char *path = argc > 1 ? history_common_here(context, database, argv[1]) : NULL;
    history_common_take_path(path, &filter);
    return list(context, database, node, &filter, (guint)lines);
}
