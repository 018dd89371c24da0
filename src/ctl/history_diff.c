/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl diff: in what a file, or all files below a directory, differ between two moments. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/db.h"
#include "ctl/diff_text.h"
#include "ctl/history_common.h"
#include "ctl/history_lineage.h"
#include "ctl/history_moment.h"
#include "store/text.h"

/* What is compared. */
struct comparison {
    struct history_reader *reader;
    char *path;
    struct history_moment a, b;
    bool show_secrets;
    json_t *list; /* gets what differs; NULL: it is printed */
    guint count;  /* of what differs */
};

/* A file at a moment. */
struct state {
    struct diff_side side;
    GBytes *content;     /* NULL: none */
    const char *missing; /* why there is none although there was a file; NULL */
};

/* ---- One file ---- */

/* `change` NULL, or a directory: there is no file of that path. */
static int load(struct history_reader *reader, const char *path,
                const struct history_change *change, struct state *state)
{
    bool file = change && !change->after.directory;
    gsize size = 0;

    *state = (struct state){.side = {.path = path, .exists = file, .bytes = ""}};
    if (!file)
        return 0;
    state->side.path = change->path;
    state->side.mtime = change->after.mtime;
    state->side.version = change->version;
    state->missing = history_moment_missing(&change->after);
    int error =
        state->missing ? 0 : history_content(reader, change->after.content, &state->content);
    if (error) {
        g_autofree char *what = g_strdup_printf("the content of %s (version %" PRIu64 ")",
                                                change->path, change->version);
        history_common_damaged(reader, what, error);
    } else if (state->content) {
        const char *bytes = g_bytes_get_data(state->content, &size);
        state->side.bytes = bytes ? bytes : "";
        state->side.size = size;
    }
    return error;
}

static void keep(struct comparison *comparison, const struct history_change *a,
                 const struct history_change *b, const char *text, const char *missing)
{
    json_t *object = json_pack("{s:o, s:o, s:o}", "path", db_json_string((b ? b : a)->path), "a",
                               a ? history_common_json(comparison->reader, a) : json_null(), "b",
                               b ? history_common_json(comparison->reader, b) : json_null());

    json_object_set_new(object, missing ? "missing" : "diff",
                        db_json_string(missing ? missing : text));
    json_array_append_new(comparison->list, object);
}

static void tell(struct comparison *comparison, const struct history_change *a,
                 const struct history_change *b, const struct state *first,
                 const struct state *second)
{
    const char *missing = first->missing ? first->missing : second->missing;
    g_autofree char *text = missing ? NULL
                                    : diff_text(&first->side, &second->side,
                                                comparison->show_secrets, !comparison->list);

    comparison->count++;
    if (comparison->list) {
        keep(comparison, a, b, text, missing);
    } else if (text) {
        diff_text_print(text);
    } else {
        const char *path = (b ? b : a)->path;
        g_autofree char *shown = store_text_shown(path, strlen(path));
        printf("%s was changed, its lines are not kept: %s\n", shown, missing);
    }
}

static bool is_file(const struct history_change *change)
{
    return change && !change->after.directory;
}

/* The same bytes for sure? */
static bool is_same(const struct history_change *a, const struct history_change *b)
{
    if (!a || !b || !is_file(a) || !is_file(b))
        return !is_file(a) && !is_file(b); /* directories have no lines */
    if (a->after.kept != HISTORY_KEPT || b->after.kept != HISTORY_KEPT)
        return a->id == b->id;
    return a->after.content == b->after.content && a->after.size == b->after.size;
}

/* `a` or `b` NULL: it was not there. */
static int compare(struct comparison *comparison, const struct history_change *a,
                   const struct history_change *b)
{
    struct state first, second = {0};

    g_assert(a || b);
    const char *path = (b ? b : a)->path;
    if (is_same(a, b))
        return 0;
    int error = load(comparison->reader, path, a, &first);
    if (!error)
        error = load(comparison->reader, path, b, &second);
    if (!error)
        tell(comparison, a, b, &first, &second);
    g_clear_pointer(&first.content, g_bytes_unref);
    g_clear_pointer(&second.content, g_bytes_unref);
    return error;
}

/* ---- All of them ---- */

static const struct history_change *at(const GPtrArray *changes, guint index)
{
    return index < changes->len ? changes->pdata[index] : NULL;
}

/* Both are in the order of paths. */
static int compare_trees(struct comparison *comparison, const GPtrArray *first,
                         const GPtrArray *second)
{
    const struct history_change *a;
    const struct history_change *b;
    int error = 0;
    guint i = 0;
    guint j = 0;

    while ((a = at(first, i)), (b = at(second, j)), (a || b) && !error) {
        int order = a && b ? strcmp(a->path, b->path) : a ? -1 : 1;
        error = compare(comparison, order <= 0 ? a : NULL, order >= 0 ? b : NULL);
        i += order <= 0;
        j += order >= 0;
    }
    return error;
}

/* Had the one file that `second` has another name at `a`, `first` gets what it was there. */
static int find_earlier_name(struct comparison *comparison, GPtrArray *first,
                             const GPtrArray *second, bool *moved)
{
    const struct history_change *only = second->len == 1 ? at(second, 0) : NULL;
    GPtrArray *changes;

    if (first->len > 0 || !is_file(only) || strcmp(only->path, comparison->path) != 0)
        return 0;
    int error = history_lineage(comparison->reader, only->path, comparison->b.position, &changes);
    if (error)
        return history_common_damaged(comparison->reader, NULL, error);
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        if (change->id > comparison->a.position)
            continue;
        if (change->after.exists && strcmp(change->path, only->path) != 0)
            *moved = true;
        if (*moved)
            g_ptr_array_add(first, g_ptr_array_steal_index(changes, i));
        break;
    }
    g_ptr_array_unref(changes);
    return 0;
}

static int compare_moments(struct comparison *comparison)
{
    const struct history_filter filter = {.path = comparison->path};
    struct history_reader *reader = comparison->reader;
    GPtrArray *first = NULL;
    GPtrArray *second = NULL;
    bool moved = false;
    int error = history_tree(reader, comparison->a.position, &filter, &first);

    if (!error)
        error = history_tree(reader, comparison->b.position, &filter, &second);
    if (error)
        history_common_damaged(reader, NULL, error);
    else
        error = find_earlier_name(comparison, first, second, &moved);
    if (!error && moved)
        error = compare(comparison, at(first, 0), at(second, 0));
    else if (!error)
        error = compare_trees(comparison, first, second);
    g_clear_pointer(&first, g_ptr_array_unref);
    g_clear_pointer(&second, g_ptr_array_unref);
    return error ? EXIT_FAILED : EXIT_DONE;
}

/* ---- The command ---- */

/* The changes among which the last one is to be found: of a file also under its earlier names. */
static int list_changes(struct comparison *comparison, GPtrArray **changes)
{
    const struct history_filter filter = {.path = comparison->path};
    struct history_change *last;
    int error = history_at(comparison->reader, comparison->path, HISTORY_NOW, &last);
    bool file = !error && !last->after.directory && !last->before.directory;

    history_change_free(last);
    return file ? history_lineage(comparison->reader, comparison->path, HISTORY_NOW, changes)
                : history_list(comparison->reader, &filter, changes);
}

/* Just before the last change that altered something; all of one version (a rename, a
 * synchronisation) are one, and so are the pieces in which a file is written. *moment stays "now"
 * if there is none. */
static int find_last_change(struct comparison *comparison, struct history_moment *moment)
{
    const struct history_change *last = NULL;
    GPtrArray *changes;
    int error = list_changes(comparison, &changes);

    if (error)
        return history_common_damaged(comparison->reader, NULL, error);
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        if (last && !history_lineage_continues(last, change))
            break;
        if (!last && !history_lineage_alters(change))
            continue;
        last = change;
        moment->position = change->id - 1;
    }
    g_ptr_array_unref(changes);
    return EXIT_DONE;
}

static int find_moments(struct comparison *comparison, int argc, char **argv)
{
    struct history_reader *reader = comparison->reader;
    const char *behind = argc < 4 ? history_moment_cut(reader, comparison->path) : NULL;
    const char *a = behind ? behind : argc > 2 ? argv[2] : NULL;
    const char *b = argc > 3 ? argv[3] : behind && argc > 2 ? argv[2] : NULL;
    int code = history_moment_known(reader, comparison->path);

    comparison->a = (struct history_moment){.position = HISTORY_NOW, .complete = true};
    comparison->b = comparison->a;
    if (code == EXIT_DONE && !a)
        code = find_last_change(comparison, &comparison->a);
    if (code == EXIT_DONE && a)
        code = history_moment_parse(reader, a, &comparison->a);
    if (code == EXIT_DONE && b)
        code = history_moment_parse(reader, b, &comparison->b);
    if (code == EXIT_DONE && (!comparison->a.complete || !comparison->b.complete))
        history_moment_warn(reader);
    return code;
}

static int finish(struct comparison *comparison)
{
    bool same = comparison->count == 0;

    if (comparison->list)
        db_print_json(json_pack("{s:b, s:O}", "same", same, "differences", comparison->list));
    return same ? EXIT_DONE : EXIT_FOUND;
}

#define SUMMARY                                                                                    \
    "Shows as diff -u in what a file, or all files below a directory, differ: what they were at\n" \
    "A and are at B, each a version, a time (2h, yesterday, \"2026-11-22 18:41\") or now; "        \
    "without\n"                                                                                    \
    "B: are now; without A: were before the last change. Lines of private files and of keys are\n" \
    "masked. A file that had another name at A is followed. PATH@A is the same as PATH A.\n\n"     \
    "Exit codes: 0 they are the same; 4 they differ; 1 it cannot be known"

int command_history_diff(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    gboolean show_secrets = FALSE;
    const GOptionEntry entries[] = {
        {"show-secrets", 0, 0, G_OPTION_ARG_NONE, &show_secrets, "mask nothing", NULL},
        {"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
         "the history beside this database, or this history.db", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, "PATH [A [B]]", SUMMARY, 1, 3))
        return EXIT_WRONG_USE;
    if (!history_common_take_argument(argv[1]))
        return EXIT_WRONG_USE;
    struct history_reader *reader = history_common_open(context, database, &code);
    if (!reader)
        return code;
    g_autofree char *path = history_common_here(context, database, argv[1]);
    struct comparison comparison = {.reader = reader,
                                    .path = path,
                                    .show_secrets = show_secrets,
                                    .list = context->json ? json_array() : NULL};
    code = find_moments(&comparison, argc, argv);
    if (code == EXIT_DONE)
        code = compare_moments(&comparison);
    if (code == EXIT_DONE)
        code = finish(&comparison);
    json_decref(comparison.list);
    history_close(reader);
    return code;
}
