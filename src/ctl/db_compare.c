/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What two trees do not have in common: told by path, or as differences of texts. */
#include "ctl/db_compare.h"
#include "store/text.h"

#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/db.h"
#include "ctl/diff_text.h"

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

static bool same_content(const struct entry *a, const struct entry *b)
{
    uint32_t first = a->content ? a->size : 0;
    uint32_t second = b->content ? b->size : 0;

    return first == second &&
           (first == 0 || memcmp(a->content->data, b->content->data, first) == 0);
}

static unsigned int differences(const struct db_comparison *comparison, const struct entry *a,
                                const struct entry *b)
{
    unsigned int found =
        (a->type != b->type ? DIFFERS_TYPE : 0) | (!same_content(a, b) ? DIFFERS_CONTENT : 0);

    if (comparison->content_only || comparison->unified)
        return found;
    return found | (a->mtime != b->mtime ? DIFFERS_MTIME : 0) |
           (a->version != b->version ? DIFFERS_VERSION : 0) |
           (a->writer != b->writer ? DIFFERS_WRITER : 0) |
           (a->inode != b->inode ? DIFFERS_INODE : 0);
}

/* ---- Texts ---- */

/* Is a file among them? A directory has no text. */
static bool has_texts(const struct entry *a, const struct entry *b)
{
    return (a && !entry_is_directory(a)) || (b && !entry_is_directory(b));
}

static struct diff_side side_of(const char *path, const struct entry *entry)
{
    bool file = entry && !entry_is_directory(entry);

    return (struct diff_side){
        .path = path,
        .exists = file,
        .bytes = entry && entry->content ? (const char *)entry->content->data : "",
        .size = entry && entry->content ? entry->size : 0,
        .mtime = file ? entry->mtime : 0,
        .version = file ? entry->version : 0,
    };
}

/* The difference as diff -u has it; g_free() it. */
static char *make_text(const struct db_comparison *comparison, const char *path,
                       const struct entry *a, const struct entry *b)
{
    const struct diff_side first = side_of(path, a);
    const struct diff_side second = side_of(path, b);

    return diff_text(&first, &second, comparison->show_secrets, !comparison->list);
}

/* ---- Entries ---- */

static json_t *entry_json(const struct entry *entry)
{
    return json_pack("{s:I, s:s, s:I, s:I, s:I, s:I}", "inode", (json_int_t)entry->inode, "type",
                     entry_is_directory(entry) ? "directory" : "file", "version",
                     (json_int_t)entry->version, "writer", (json_int_t)entry->writer, "mtime",
                     (json_int_t)entry->mtime, "bytes", (json_int_t)entry->size);
}

static void keep_difference(const struct db_comparison *comparison, const char *path,
                            const struct entry *a, const struct entry *b, unsigned int found)
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
    if (comparison->unified && has_texts(a, b)) {
        g_autofree char *text = make_text(comparison, path, a, b);
        json_object_set_new(object, "diff", db_json_string(text));
    }
    json_array_append_new(comparison->list, object);
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
static void compare(struct db_comparison *comparison, const char *path, const struct entry *a,
                    const struct entry *b)
{
    unsigned int found = a && b ? differences(comparison, a, b) : 0;

    g_assert(a || b);
    if ((a && b && found == 0) || (!a && comparison->first_alone))
        return;
    comparison->gone += !b;
    comparison->altered += a && b;
    comparison->added += !a;
    if (comparison->list) {
        keep_difference(comparison, path, a, b, found);
    } else if (comparison->unified && has_texts(a, b)) {
        g_autofree char *text = make_text(comparison, path, a, b);
        diff_text_print(text);
    } else {
        print_difference(path, a, b, found);
    }
}

static const struct db_entry *item_at(const GArray *entries, guint index)
{
    return index < entries->len ? &g_array_index(entries, struct db_entry, index) : NULL;
}

void db_compare(struct db_comparison *comparison, const struct tree *a, const struct tree *b)
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
