/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db diff: what two databases, or one and that of the daemon, do not have in common. */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>

#include "ctl/ask.h"
#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/db_compare.h"
#include "store/text.h"

/* ---- The daemon's ---- */

/* What the daemon at the socket has now: its database with its journal, which must be as new as
 * what it says that it has. NULL: stderr says why, and *code is set; *path is the file's name. */
static struct tree *read_live(const struct context *context, char **path, int *code)
{
    json_t *overview = ask(context, ASK_OVERVIEW, NULL, 0, code);
    const char *directory = json_string_value(json_object_get(overview, "state_dir"));
    json_int_t version = field_number(json_object_get(overview, "versions"), "tree");
    struct tree *tree = NULL;

    if (overview && !directory)
        fputs("error: the daemon does not tell where its database is; is it another release?\n",
              stderr);
    if (directory) {
        *path = g_build_filename(directory, DATABASE_NAME, NULL);
        tree = db_read(*path);
    }
    json_decref(overview);
    if (overview)
        *code = EXIT_FAILED;
    if (!tree || tree->root.version >= (uint64_t)version)
        return tree;
    fprintf(stderr,
            "error: %s is at version %" PRIu64 ", and the daemon at %lld: it cannot store what it "
            "has, or the file is another one here\n",
            *path, tree->root.version, (long long)version);
    tree_free(tree);
    return NULL;
}

/* ---- The command ---- */

static json_t *root_json(const char *file, const struct tree *tree)
{
    return json_pack("{s:o, s:I, s:I, s:I}", "file", db_json_string(file), "version",
                     (json_int_t)tree->root.version, "writer", (json_int_t)tree->root.writer,
                     "mtime", (json_int_t)tree->root.mtime);
}

static int diff(struct db_comparison *comparison, const char *a_file, const struct tree *a,
                const char *b_file, const struct tree *b)
{
    bool same_root = comparison->content_only || comparison->unified ||
                     (a->root.version == b->root.version && a->root.writer == b->root.writer &&
                      a->root.mtime == b->root.mtime);

    if (!comparison->list && !same_root)
        printf("version %" PRIu64 " by node %" PRIu32 ", and %" PRIu64 " by node %" PRIu32 "\n",
               a->root.version, a->root.writer, b->root.version, b->root.writer);
    db_compare(comparison, a, b);
    bool same = same_root && comparison->gone + comparison->altered + comparison->added == 0;
    if (comparison->list)
        db_print_json(json_pack("{s:b, s:o, s:o, s:O}", "same", same, "a", root_json(a_file, a),
                                "b", root_json(b_file, b), "differences", comparison->list));
    return same ? EXIT_DONE : EXIT_FOUND;
}

#define SUMMARY                                                                                    \
    "Shows in what the databases A and B differ, by path: - in A only, + in B\n"                   \
    "only, ! in both. Without B: A and what the running daemon has. Lines of private files\n"      \
    "and of keys are masked.\n\n"                                                                  \
    "Exit codes: 0 they are the same; 4 they differ; 1 one of them cannot be read"

int command_db_diff(const struct context *context, int argc, char **argv)
{
    gboolean content_only = FALSE;
    gboolean unified = FALSE;
    gboolean show_secrets = FALSE;
    const GOptionEntry entries[] = {
        {"content", 0, 0, G_OPTION_ARG_NONE, &content_only,
         "compare paths and contents only, not versions, writers, times and inodes", NULL},
        {"unified", 'u', 0, G_OPTION_ARG_NONE, &unified, "show the contents' lines that differ",
         NULL},
        {"show-secrets", 0, 0, G_OPTION_ARG_NONE, &show_secrets, "with -u: mask nothing", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autofree char *live = NULL;
    int code = EXIT_FAILED;

    if (!command_parse(&argc, &argv, entries, "A [B]", SUMMARY, 1, 2))
        return EXIT_WRONG_USE;
    struct tree *a = db_read(argv[1]);
    struct tree *b = !a ? NULL : argc > 2 ? db_read(argv[2]) : read_live(context, &live, &code);
    if (b) {
        struct db_comparison comparison = {.content_only = content_only,
                                           .unified = unified,
                                           .show_secrets = show_secrets,
                                           .list = context->json ? json_array() : NULL};
        code = diff(&comparison, argv[1], a, live ? live : argv[2], b);
        json_decref(comparison.list);
        tree_free(b);
    }
    if (a)
        tree_free(a);
    return code;
}
