/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db export: a database as files. */
#include <glib.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/where.h"
#include "ctl/write_tree.h"

static int write_entry(int directory, const struct db_entry *item)
{
    const struct entry *entry = item->entry;

    if (entry_is_directory(entry))
        return write_tree_directory(directory, item->path);
    return write_tree_file(directory, item->path, entry->content ? entry->content->data : NULL,
                           entry->content ? entry->size : 0, entry->mtime);
}

/* Once all is in them. */
static int set_directory_times(int directory, const GArray *entries)
{
    int result = 0;

    for (guint i = entries->len; i-- > 0 && result == 0;) {
        const struct db_entry *item = &g_array_index(entries, struct db_entry, i);
        if (entry_is_directory(item->entry))
            result = write_tree_time(directory, item->path, item->entry->mtime);
    }
    return result;
}

static int export_entries(int directory, const GArray *entries)
{
    struct progress progress;
    int result = 0;

    progress_start(&progress, "writing files");
    for (guint i = 0; i < entries->len && result == 0; i++) {
        const struct db_entry *item = &g_array_index(entries, struct db_entry, i);
        progress_step(&progress, i, entries->len);
        result = write_entry(directory, item);
    }
    progress_end(&progress);
    if (result == 0)
        result = set_directory_times(directory, entries);
    return result == 0 ? write_tree_sync(directory) : result;
}

int command_db_export(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    const GOptionEntry entries[] = {{"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
                                     "the database (" DEFAULT_DATABASE ")", "FILE"},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(
            &argc, &argv, entries, "DIR",
            "Writes all files of a database below DIR, which must be empty or not there.\n"
            "All is readable for its owner only: private keys are among the files.",
            1, 1))
        return EXIT_WRONG_USE;
    g_autofree char *path = where_database(context, database, &code);
    if (!path)
        return code;
    struct tree *tree = db_read(path);
    if (!tree)
        return EXIT_FAILED;
    int directory = write_tree_open(argv[1]);
    int result = -1;
    if (directory >= 0) {
        GArray *sorted = db_sorted(tree);
        result = export_entries(directory, sorted);
        if (result == 0 && context->json)
            db_print_json(db_json_written(argv[1], tree));
        else if (result == 0)
            db_print_written(argv[1], tree);
        g_array_unref(sorted);
        close(directory);
    }
    tree_free(tree);
    return result == 0 ? EXIT_DONE : EXIT_FAILED;
}
