/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl backup: a copy of the database that is known to load. */
#include <glib.h>
#include <stdio.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/tools/backup.h"
#include "ctl/where.h"
#include "store/store.h"

#define SUMMARY                                                                                    \
    "Copies the database to FILE (mode 0600), as it is at one moment, with all that was\n"         \
    "acknowledged by then; pmxcfs may be running. FILE is replaced in one step, and only by a\n"   \
    "copy that loads."

/* Makes the copy under a name of its own, and looks whether it loads. */
static struct tree *copy(const char *database, const char *target, const char *unfinished)
{
    g_autofree char *message = NULL;
    struct progress progress;
    int error = tools_backup_possible(target, &message);

    if (!error) {
        progress_start(&progress, "copying");
        error = tools_backup(database, unfinished, &message);
        progress_end(&progress);
    }
    if (!error)
        return db_read(unfinished);
    fprintf(stderr, "error: %s\n", message);
    return NULL;
}

static int backup(const struct context *context, const char *database, const char *target,
                  const char *unfinished)
{
    struct tree *tree = copy(database, target, unfinished);

    if (!tree)
        return EXIT_FAILED;
    int error = db_rename(unfinished, target);
    if (error)
        fprintf(stderr, "error: cannot create %s: %s\n", target, g_strerror(-error));
    else if (context->json)
        db_print_json(db_json_written(target, tree));
    else
        db_print_written(target, tree);
    tree_free(tree);
    return error ? EXIT_FAILED : EXIT_DONE;
}

int command_backup(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    const GOptionEntry entries[] = {{"database", 0, 0, G_OPTION_ARG_FILENAME, &given,
                                     "the database (" DEFAULT_DATABASE ")", "FILE"},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "FILE", SUMMARY, 1, 1))
        return EXIT_WRONG_USE;
    int code;
    g_autofree char *database = where_database(context, given, &code);
    if (!database)
        return code;
    if (db_same_file(database, argv[1])) {
        fprintf(stderr, "error: %s is the database itself\n", argv[1]);
        return EXIT_FAILED;
    }
    g_autofree char *unfinished = g_strconcat(argv[1], ".unfinished", NULL);
    code = backup(context, database, argv[1], unfinished);
    unlink(unfinished);
    return code;
}
