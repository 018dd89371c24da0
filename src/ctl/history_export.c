/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl export: all files as they were at a moment. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/history_moment.h"
#include "ctl/write_tree.h"
#include "store/text.h"

struct export
{
    struct history_reader *reader;
    const char *target;
    int directory; /* descriptor of it */
    struct history_moment at;
    uint64_t version;         /* of the last change before it */
    int64_t time;             /* of that */
    guint files, directories; /* written */
    json_t *missing;          /* path and why: of what no content is kept */
    json_t *damaged;          /* paths */
};

static void leave_out(struct export *export, const char *path, const char *why)
{
    json_array_append_new(export->missing,
                          json_pack("{s:o, s:s}", "path", db_json_string(path), "why", why));
}

/* The first one says what can be done. */
static void complain(struct export *export, const char *path, int error)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));
    g_autofree char *what = g_strconcat("the content of ", shown, NULL);

    if (json_array_size(export->damaged) == 0)
        history_common_damaged(export->reader, what, error);
    else
        fprintf(stderr, "error: %s cannot be read either\n", what);
    json_array_append_new(export->damaged, db_json_string(path));
}

static int write_file(struct export *export, const struct history_change *change)
{
    const char *missing = history_moment_missing(&change->after);
    GBytes *content;
    gsize size;

    if (missing) {
        leave_out(export, change->path, missing);
        return 0;
    }
    int error = history_content(export->reader, change->after.content, &content);
    if (error) {
        complain(export, change->path, error);
        return 0;
    }
    const void *bytes = g_bytes_get_data(content, &size);
    int result = write_tree_file(export->directory, change->path, bytes, size, change->after.mtime);
    g_bytes_unref(content);
    export->files += result == 0;
    return result;
}

static int write_change(struct export *export, const struct history_change *change)
{
    /* Where records are missing those of directories may be among them. */
    int result = write_tree_parents(export->directory, change->path);

    if (result == 0 && change->after.directory) {
        result = write_tree_directory(export->directory, change->path);
        export->directories += result == 0;
        return result;
    }
    return result == 0 ? write_file(export, change) : result;
}

static int write_all_changes(struct export *export, const GPtrArray *tree)
{
    struct progress progress;
    int result = 0;

    progress_start(&progress, "writing files");
    for (guint i = 0; i < tree->len && result == 0; i++) {
        progress_step(&progress, i, tree->len);
        result = write_change(export, tree->pdata[i]);
    }
    progress_end(&progress);
    for (guint i = tree->len; i-- > 0 && result == 0;) {
        const struct history_change *change = tree->pdata[i];
        if (change->after.directory)
            result = write_tree_time(export->directory, change->path, change->after.mtime);
    }
    return result == 0 ? write_tree_sync(export->directory) : result;
}

/* ---- Output ---- */

static void tell(const struct export *export)
{
    g_autofree char *files = db_count_shown(export->files, "file", "files");
    g_autofree char *directories = db_count_shown(export->directories, "directory", "directories");
    g_autofree char *when = db_time_shown((uint32_t) export->time);
    json_t *item;
    size_t i;

    printf("%s: %s, %s, as after version %" PRIu64 " of %s\n", export->target, files, directories,
           export->version, when);
    json_array_foreach(export->missing, i, item)
    {
        g_autofree char *path = field_printable(item, "path");
        fprintf(stderr, "%s  %s\n", i == 0 ? "not kept, and not in it:\n" : "", path);
    }
    if (i > 0)
        fputs("(pmxcfs keeps private files with --history-private)\n", stderr);
}

static json_t *export_json(const struct export *export)
{
    return json_pack("{s:o, s:I, s:I, s:b, s:I, s:I, s:O, s:O}", "directory",
                     db_json_string(export->target), "version", (json_int_t) export->version,
                     "time", (json_int_t) export->time, "complete", export->at.complete, "files",
                     (json_int_t) export->files, "directories", (json_int_t) export->directories,
                     "missing", export->missing, "damaged", export->damaged);
}

/* ---- The command ---- */

/* After which change it is. EXIT_DONE, or stderr says that there is none. */
static int find_change(struct export *export, const char *at)
{
    const struct history_filter filter = {
        .below = export->at.position == HISTORY_NOW ? 0 : export->at.position + 1, .limit = 1};
    GPtrArray *changes;
    int error = export->at.position > 0 ? history_list(export->reader, &filter, &changes) : 0;

    if (error)
        return history_common_damaged(export->reader, NULL, error);
    if (export->at.position > 0) {
        const struct history_change *change = changes->len > 0 ? changes->pdata[0] : NULL;
        export->version = change ? change->version : 0;
        export->time = change ? change->time : 0;
        g_ptr_array_unref(changes);
        if (change)
            return EXIT_DONE;
    }
    fprintf(stderr, "error: nothing is recorded from before '%s'\n", at);
    history_moment_warn(export->reader);
    return EXIT_FAILED;
}

static int write_moment(struct export *export)
{
    GPtrArray *tree;
    int error = history_tree(export->reader, export->at.position, NULL, &tree);

    if (error)
        return history_common_damaged(export->reader, NULL, error);
    export->directory = write_tree_open(export->target);
    int result = export->directory < 0 ? -1 : write_all_changes(export, tree);
    if (export->directory >= 0)
        close(export->directory);
    g_ptr_array_unref(tree);
    return result == 0 ? EXIT_DONE : EXIT_FAILED;
}

static int export_moment(const struct context *context, struct export *export, const char *at)
{
    int code = history_moment_parse(export->reader, at, &export->at);

    if (code == EXIT_DONE)
        code = find_change(export, at);
    if (code == EXIT_DONE && !export->at.complete)
        history_moment_warn(export->reader);
    if (code == EXIT_DONE)
        code = write_moment(export);
    if (code != EXIT_DONE)
        return code;
    if (context->json)
        db_print_json(export_json(export));
    else
        tell(export);
    return json_array_size(export->damaged) > 0 ? EXIT_FAILED : EXIT_DONE;
}

#define SUMMARY                                                                                    \
    "Write all files as they were at a version or a time (2h, yesterday, \"2026-11-22 18:41\")\n"  \
    "below DIR, which must be empty or not there, with their times. All is readable for its\n"     \
    "owner only. What the history does not keep is not in it: private files unless pmxcfs keeps\n" \
    "them, locks, what changes all day by itself; what is private is named on stderr."

int command_export(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    g_autofree char *at = NULL;
    const GOptionEntry entries[] = {
        {"at", 0, 0, G_OPTION_ARG_STRING, &at, "the moment: a version, a time, or now", "WHEN"},
        {"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
         "the history beside this database, or this history.db", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, "DIR", SUMMARY, 1, 1))
        return EXIT_WRONG_USE;
    if (!at) {
        fputs("error: of which moment? --at WHEN\n", stderr);
        return EXIT_WRONG_USE;
    }
    struct history_reader *reader = history_common_open(context, database, &code);
    if (!reader)
        return code;
    struct export export = {
        .reader = reader, .target = argv[1], .missing = json_array(), .damaged = json_array()};
    code = export_moment(context, &export, at);
    json_decref(export.missing);
    json_decref(export.damaged);
    history_close(reader);
    return code;
}
