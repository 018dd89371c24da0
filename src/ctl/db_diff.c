/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db diff: what two databases do not have in common. */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/commands.h"
#include "ctl/db.h"

/* How an entry differs: bits. */
enum {
    DIFFERS_TYPE = 1,
    DIFFERS_CONTENT = 2,
    DIFFERS_MTIME = 4,
    DIFFERS_VERSION = 8,
    DIFFERS_WRITER = 16,
    DIFFERS_INODE = 32,
};

static const char *const difference_names[] = {"type",    "content", "mtime",
                                               "version", "writer",  "inode"};

struct comparison {
    bool content_only; /* versions, writers, times and inodes do not matter */
    json_t *list;      /* NULL: printed */
    unsigned int count;
};

static bool same_content(const struct entry *a, const struct entry *b)
{
    uint32_t first = a->content ? a->size : 0;
    uint32_t second = b->content ? b->size : 0;

    return first == second &&
           (first == 0 || memcmp(a->content->data, b->content->data, first) == 0);
}

static unsigned int differences(const struct comparison *comparison, const struct entry *a,
                                const struct entry *b)
{
    unsigned int found =
        (a->type != b->type ? DIFFERS_TYPE : 0) | (!same_content(a, b) ? DIFFERS_CONTENT : 0);

    if (comparison->content_only)
        return found;
    return found | (a->mtime != b->mtime ? DIFFERS_MTIME : 0) |
           (a->version != b->version ? DIFFERS_VERSION : 0) |
           (a->writer != b->writer ? DIFFERS_WRITER : 0) |
           (a->inode != b->inode ? DIFFERS_INODE : 0);
}

static json_t *entry_json(const struct entry *entry)
{
    return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I}", "inode", (json_int_t)entry->inode, "type",
                     entry_is_directory(entry) ? "directory" : "file", "version",
                     (json_int_t)entry->version, "writer", (json_int_t)entry->writer, "mtime",
                     (json_int_t)entry->mtime, "bytes", (json_int_t)entry->size);
}

static void keep_difference(json_t *list, const char *path, const struct entry *a,
                            const struct entry *b, unsigned int found)
{
    json_t *object = json_pack("{s:o}", "path", db_json_string(path));

    if (a)
        json_object_set_new(object, "a", entry_json(a));
    if (b)
        json_object_set_new(object, "b", entry_json(b));
    if (a && b) {
        json_t *names = json_array();
        for (size_t i = 0; i < G_N_ELEMENTS(difference_names); i++) {
            if (found & (1u << i))
                json_array_append_new(names, json_string(difference_names[i]));
        }
        json_object_set_new(object, "differs", names);
    }
    json_array_append_new(list, object);
}

/* "-": in A only, "+": in B only, "!": in both, with what is not the same. */
static void print_difference(const char *path, const struct entry *a, const struct entry *b,
                             unsigned int found)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));
    const struct entry *entry = a ? a : b;
    enum colour colour = !b ? COLOUR_RED : !a ? COLOUR_GREEN : COLOUR_YELLOW;

    printf("%s%c %s%s%s", colour_begin(stdout, colour),
           !b   ? '-'
           : !a ? '+'
                : '!',
           shown, entry_is_directory(entry) ? "/" : "", colour_end(stdout));
    if (!a || !b) {
        printf("  (version %" PRIu64 ")\n", entry->version);
        return;
    }
    const char *separator = "  (";
    for (size_t i = 0; i < G_N_ELEMENTS(difference_names); i++) {
        if (found & (1u << i)) {
            printf("%s%s", separator, difference_names[i]);
            separator = ", ";
        }
    }
    printf("; version %" PRIu64 " and %" PRIu64 ", %" PRIu32 " and %" PRIu32 " bytes)\n",
           a->version, b->version, a->size, b->size);
}

/* `a` or `b` NULL: only in the other. */
static void compare(struct comparison *comparison, const char *path, const struct entry *a,
                    const struct entry *b)
{
    unsigned int found = a && b ? differences(comparison, a, b) : 0;

    g_assert(a || b);
    if (a && b && found == 0)
        return;
    comparison->count++;
    if (comparison->list)
        keep_difference(comparison->list, path, a, b, found);
    else
        print_difference(path, a, b, found);
}

static const struct db_entry *item_at(const GArray *entries, guint index)
{
    return index < entries->len ? &g_array_index(entries, struct db_entry, index) : NULL;
}

static void compare_trees(struct comparison *comparison, const struct tree *a, const struct tree *b)
{
    GArray *first = db_sorted(a);
    GArray *second = db_sorted(b);
    const struct db_entry *left;
    const struct db_entry *right;
    guint i = 0;
    guint j = 0;

    while ((left = item_at(first, i)), (right = item_at(second, j)), left || right) {
        int order = left && right ? db_compare_paths(left->path, right->path) : left ? -1 : 1;
        if (left && order <= 0)
            compare(comparison, left->path, left->entry, order == 0 && right ? right->entry : NULL);
        else if (right)
            compare(comparison, right->path, NULL, right->entry);
        i += order <= 0;
        j += order >= 0;
    }
    g_array_unref(first);
    g_array_unref(second);
}

static json_t *root_json(const char *file, const struct tree *tree)
{
    return json_pack("{s:o, s:I, s:I, s:I}", "file", db_json_string(file), "version",
                     (json_int_t)tree->root.version, "writer", (json_int_t)tree->root.writer,
                     "mtime", (json_int_t)tree->root.mtime);
}

static int diff(struct comparison *comparison, char **files, const struct tree *a,
                const struct tree *b)
{
    bool same_root = comparison->content_only ||
                     (a->root.version == b->root.version && a->root.writer == b->root.writer &&
                      a->root.mtime == b->root.mtime);

    if (!comparison->list && !same_root)
        printf("version %" PRIu64 " by node %" PRIu32 ", and %" PRIu64 " by node %" PRIu32 "\n",
               a->root.version, a->root.writer, b->root.version, b->root.writer);
    compare_trees(comparison, a, b);
    bool same = same_root && comparison->count == 0;
    if (comparison->list)
        db_print_json(json_pack("{s:b, s:o, s:o, s:O}", "same", same, "a", root_json(files[0], a),
                                "b", root_json(files[1], b), "differences", comparison->list));
    return same ? EXIT_DONE : EXIT_FOUND;
}

int command_db_diff(const struct context *context, int argc, char **argv)
{
    gboolean content_only = FALSE;
    const GOptionEntry entries[] = {
        {"content", 0, 0, G_OPTION_ARG_NONE, &content_only,
         "compare paths and contents only, not versions, writers, times and inodes", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "A B",
                       "Shows in what the databases A and B differ, by path: - in A only, + in B\n"
                       "only, ! in both.\n\nExit codes: 0 they are the same; 4 they differ; 1 one "
                       "of them cannot be read",
                       2, 2))
        return EXIT_WRONG_USE;
    struct tree *a = db_read(argv[1]);
    struct tree *b = a ? db_read(argv[2]) : NULL;
    int code = EXIT_FAILED;
    if (b) {
        struct comparison comparison = {.content_only = content_only,
                                        .list = context->json ? json_array() : NULL};
        code = diff(&comparison, argv + 1, a, b);
        json_decref(comparison.list);
    }
    if (b)
        tree_free(b);
    if (a)
        tree_free(a);
    return code;
}
