/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl kept list, show, diff: what is in the safety copies. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/db.h"
#include "ctl/db_compare.h"
#include "ctl/kept.h"
#include "ctl/where.h"

/* ---- list ---- */

static uint32_t count_files(const struct tree *tree)
{
    g_autoptr(GPtrArray) entries = tree_sorted(tree);
    uint32_t count = 0;

    for (guint i = 0; i < entries->len; i++)
        count += !entry_is_directory(entries->pdata[i]);
    return count;
}

/* "2026-11-22 18:41:50" of the name "20261122-184150-57"; the name itself if it is another kind of;
 * g_free() it. */
static char *time_of(const char *name)
{
    const char *n = name;
    bool is_usual = strlen(n) > 16 && n[8] == '-' && n[15] == '-';

    for (int i = 0; is_usual && i < 15; i++)
        is_usual = i == 8 || g_ascii_isdigit(n[i]);
    return is_usual ? g_strdup_printf("%.4s-%.2s-%.2s %.2s:%.2s:%.2s", n, n + 4, n + 6, n + 9,
                                      n + 11, n + 13)
                    : g_strdup(name);
}

/* `tree` NULL: it cannot be read, which was told. */
static void print_copy(const char *name, const struct tree *tree)
{
    g_autofree char *time = time_of(name);

    if (!tree) {
        printf("%s  %s  cannot be read\n", name, time);
        return;
    }
    g_autofree char *files = db_count_shown(count_files(tree), "file", "files");
    printf("%s  %s  version %" PRIu64 ", %s\n", name, time, tree->root.version, files);
}

static void add_copy(json_t *list, const char *path, const char *name, const struct tree *tree)
{
    g_autofree char *time = time_of(name);
    json_t *object = json_pack("{s:s, s:o, s:s, s:b}", "name", name, "file", db_json_string(path),
                               "time", time, "readable", tree != NULL);

    if (tree) {
        json_object_set_new(object, "version", json_integer((json_int_t)tree->root.version));
        json_object_set_new(object, "entries", json_integer((json_int_t)tree_entry_count(tree)));
        json_object_set_new(object, "files", json_integer((json_int_t)count_files(tree)));
    }
    json_array_append_new(list, object);
}

#define STATE_DIR_HELP "where they are (" DEFAULT_STATE_DIR ")"

int command_kept_list(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    const GOptionEntry entries[] = {
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &given, STATE_DIR_HELP, "DIR"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    json_t *list = json_array();
    int code = EXIT_WRONG_USE;

    g_autofree char *state_dir =
        command_parse(&argc, &argv, entries, NULL,
                      "List the safety copies: what synchronisations took away from this node, "
                      "the oldest first.",
                      0, 0)
            ? where_state_dir(context, given, &code)
            : NULL;
    g_autoptr(GPtrArray) names = state_dir ? kept_list(state_dir) : NULL;
    for (guint i = 0; names && i < names->len; i++) {
        g_autofree char *path = kept_path(state_dir, names->pdata[i]);
        struct tree *tree = db_read(path);
        if (context->json)
            add_copy(list, path, names->pdata[i], tree);
        else
            print_copy(names->pdata[i], tree);
        if (tree)
            tree_free(tree);
    }
    if (names && !context->json && names->len == 0)
        puts("no safety copies");
    if (names && context->json)
        db_print_json(json_incref(list));
    json_decref(list);
    return names ? EXIT_DONE : code;
}

/* ---- show, diff ---- */

int command_kept_show(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    const GOptionEntry entries[] = {
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &given, STATE_DIR_HELP, "DIR"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, "COPY",
                       "List all that is in a safety copy, by path: what was taken away, and the "
                       "directories above.\nCOPY is a name of 'kept list', or 'latest'. As JSON: a "
                       "line for each entry, with its content.",
                       1, 1))
        return EXIT_WRONG_USE;
    g_autofree char *state_dir = where_state_dir(context, given, &code);
    struct tree *tree = state_dir ? kept_read(state_dir, argv[1], &code) : NULL;
    if (!tree)
        return code;
    db_dump(tree, context->json);
    tree_free(tree);
    return EXIT_DONE;
}

static int diff(const char *state_dir, const char *name, struct db_comparison *comparison)
{
    g_autofree char *path = g_build_filename(state_dir, DATABASE_NAME, NULL);
    int code;
    struct tree *copy = kept_read(state_dir, name, &code);
    struct tree *present = copy ? db_read(path) : NULL;

    if (present) {
        db_compare(comparison, copy, present);
        code = comparison->gone + comparison->altered > 0 ? EXIT_FOUND : EXIT_DONE;
        if (comparison->list)
            db_print_json(json_pack("{s:b, s:O}", "same", code == EXIT_DONE, "differences",
                                    comparison->list));
        tree_free(present);
    }
    if (copy)
        tree_free(copy);
    return code;
}

int command_kept_diff(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    gboolean unified = FALSE;
    gboolean show_secrets = FALSE;
    const GOptionEntry entries[] = {
        {"unified", 'u', 0, G_OPTION_ARG_NONE, &unified, "show the contents' lines that differ",
         NULL},
        {"show-secrets", 0, 0, G_OPTION_ARG_NONE, &show_secrets, "with -u: mask nothing", NULL},
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &given, STATE_DIR_HELP, "DIR"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, "COPY",
                       "Show what of a safety copy is not in the database (-), or has another "
                       "content there (!).\nWhat only the database has does not matter.\n\nExit "
                       "codes: 0 all of it is there; 4 something is not; 1 it cannot be read",
                       1, 1))
        return EXIT_WRONG_USE;
    g_autofree char *state_dir = where_state_dir(context, given, &code);
    if (!state_dir)
        return code;
    struct db_comparison comparison = {.content_only = true,
                                       .unified = unified,
                                       .show_secrets = show_secrets,
                                       .first_alone = true,
                                       .list = context->json ? json_array() : NULL};
    code = diff(state_dir, argv[1], &comparison);
    json_decref(comparison.list);
    return code;
}
