/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db dump, db stat: what is in a database. */
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "core/limits.h"
#include "core/path.h"
#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/tools/measure.h"
#include "ctl/where.h"
#include "store/store.h"
#include "store/text.h"

#define BIGGEST_SHOWN 10u

/* ---- dump ---- */

static void add_content(json_t *object, const struct entry *entry)
{
    const char *data = entry->content ? (const char *)entry->content->data : "";
    size_t size = entry->content ? entry->size : 0;

    if (g_utf8_validate_len(data, size, NULL) && !memchr(data, '\0', size)) {
        json_object_set_new(object, "text", json_stringn(data, size));
        return;
    }
    g_autofree char *encoded = g_base64_encode((const guchar *)data, size);
    json_object_set_new(object, "base64", json_string(encoded));
}

static void print_line(json_t *object)
{
    json_dumpf(object, stdout, JSON_COMPACT);
    putchar('\n');
    json_decref(object);
}

/* One object a line: that of the root first. */
static void dump_json(const struct tree *tree, const GArray *entries)
{
    print_line(json_pack("{s:I, s:s, s:s, s:I, s:I, s:I}", "inode", (json_int_t)0, "path", "",
                         "type", "directory", "version", (json_int_t)tree->root.version, "writer",
                         (json_int_t)tree->root.writer, "mtime", (json_int_t)tree->root.mtime));
    for (guint i = 0; i < entries->len; i++) {
        const struct db_entry *item = &g_array_index(entries, struct db_entry, i);
        const struct entry *entry = item->entry;
        json_t *object = json_pack(
            "{s:I, s:o, s:s, s:I, s:I, s:I, s:I}", "inode", (json_int_t)entry->inode, "path",
            db_json_string(item->path), "type", entry_is_directory(entry) ? "directory" : "file",
            "parent", (json_int_t)entry->parent, "version", (json_int_t)entry->version, "writer",
            (json_int_t)entry->writer, "mtime", (json_int_t)entry->mtime);
        if (!entry_is_directory(entry))
            add_content(object, entry);
        print_line(object);
    }
}

static void dump_text(const struct tree *tree, const GArray *entries)
{
    g_autofree char *changed = db_time_shown(tree->root.mtime);

    printf("version %" PRIu64 ", last change by node %" PRIu32 " at %s\n", tree->root.version,
           tree->root.writer, changed);
    printf("%10s %10s %6s %-19s %8s  %s\n", "inode", "version", "writer", "mtime", "size", "path");
    for (guint i = 0; i < entries->len; i++) {
        const struct db_entry *item = &g_array_index(entries, struct db_entry, i);
        const struct entry *entry = item->entry;
        g_autofree char *path = store_text_shown(item->path, strlen(item->path));
        g_autofree char *time = db_time_shown(entry->mtime);
        g_autofree char *size =
            entry_is_directory(entry) ? g_strdup("-") : g_strdup_printf("%" PRIu32, entry->size);
        printf("%10" PRIu64 " %10" PRIu64 " %6" PRIu32 " %s %8s  %s%s\n", entry->inode,
               entry->version, entry->writer, time, size, path,
               entry_is_directory(entry) ? "/" : "");
    }
}

void db_dump(const struct tree *tree, bool json)
{
    GArray *sorted = db_sorted(tree);

    if (json)
        dump_json(tree, sorted);
    else
        dump_text(tree, sorted);
    g_array_unref(sorted);
}

int command_db_dump(const struct context *context, int argc, char **argv)
{
    int code;

    if (!command_parse(&argc, &argv, NULL, "[FILE]",
                       "Lists all that is in the database FILE (" DEFAULT_DATABASE "), by path.\n"
                       "As JSON: a line for each entry, with its content.",
                       0, 1))
        return EXIT_WRONG_USE;
    g_autofree char *path = where_database(context, argv[1], &code);
    if (!path)
        return code;
    struct tree *tree = db_read(path);
    if (!tree)
        return EXIT_FAILED;
    db_dump(tree, context->json);
    tree_free(tree);
    return EXIT_DONE;
}

/* ---- stat ---- */

struct counts {
    uint32_t files;
    uint32_t directories;
    uint32_t guests[3]; /* by enum guest_type */
    uint32_t locks;
    GPtrArray *biggest; /* files by size, borrowed */
};

static int compare_sizes(gconstpointer a, gconstpointer b)
{
    const struct entry *first = *(const struct entry *const *)a;
    const struct entry *second = *(const struct entry *const *)b;

    if (first->size != second->size)
        return first->size < second->size ? 1 : -1;
    return first->inode < second->inode ? -1 : 1;
}

static void count_entry(struct counts *counts, const struct tree *tree, struct entry *entry)
{
    struct guest_path guest;
    g_autofree char *path = tree_path(tree, entry->inode);

    if (entry_is_directory(entry)) {
        counts->directories++;
        counts->locks += path_is_lock(path);
        return;
    }
    counts->files++;
    g_ptr_array_add(counts->biggest, entry);
    if (path_parse_guest(path, &guest))
        counts->guests[guest.type]++;
}

static struct counts count(const struct tree *tree)
{
    struct counts counts = {.directories = 1 /* the root */, .biggest = g_ptr_array_new()};
    g_autoptr(GPtrArray) entries = tree_sorted(tree);

    for (guint i = 0; i < entries->len; i++)
        count_entry(&counts, tree, entries->pdata[i]);
    g_ptr_array_sort(counts.biggest, compare_sizes);
    g_ptr_array_set_size(counts.biggest, (gint)MIN(counts.biggest->len, BIGGEST_SHOWN));
    return counts;
}

static json_t *sizes_json(const struct tools_sizes *sizes)
{
    return json_pack("{s:I, s:I, s:I, s:I, s:I, s:I}", "file_bytes", (json_int_t)sizes->file,
                     "log_bytes", (json_int_t)sizes->wal, "journal_bytes",
                     (json_int_t)sizes->journal, "page_size", (json_int_t)sizes->page_size, "pages",
                     (json_int_t)sizes->pages, "free_pages", (json_int_t)sizes->free_pages);
}

static void stat_json(const char *path, const struct tree *tree, const struct counts *counts,
                      const struct tools_sizes *sizes)
{
    json_t *biggest = json_array();

    for (guint i = 0; i < counts->biggest->len; i++) {
        const struct entry *entry = counts->biggest->pdata[i];
        g_autofree char *name = db_path_shown(tree, entry);
        json_array_append_new(
            biggest, json_pack("{s:s, s:I}", "path", name, "bytes", (json_int_t)entry->size));
    }
    db_print_json(json_pack(
        "{s:o, s:o, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:I, s:{s:I, s:I, s:I}, s:o}",
        "file", db_json_string(path), "disk", sizes_json(sizes), "version",
        (json_int_t)tree->root.version, "writer", (json_int_t)tree->root.writer, "mtime",
        (json_int_t)tree->root.mtime, "entries", (json_int_t)tree_entry_count(tree), "entries_max",
        (json_int_t)INODES_MAX, "bytes", (json_int_t)tree->bytes, "bytes_max",
        (json_int_t)CONTENT_MAX, "files", (json_int_t)counts->files, "directories",
        (json_int_t)counts->directories, "locks", (json_int_t)counts->locks, "guests", "qemu",
        (json_int_t)counts->guests[GUEST_QEMU], "lxc", (json_int_t)counts->guests[GUEST_LXC],
        "openvz", (json_int_t)counts->guests[GUEST_OPENVZ], "biggest", biggest));
}

static double percent(uint64_t part, uint64_t whole)
{
    return (double)part * 100 / (double)whole;
}

static void stat_text(const char *path, const struct tree *tree, const struct counts *counts,
                      const struct tools_sizes *sizes)
{
    g_autofree char *changed = db_time_shown(tree->root.mtime);
    g_autofree char *bytes = db_size_shown(tree->bytes);
    g_autofree char *file = db_size_shown(sizes->file);
    g_autofree char *log = db_size_shown(sizes->wal);
    g_autofree char *journal = db_size_shown(sizes->journal);

    printf("database   %s: %s, log %s, journal %s\n", path, file, log, journal);
    printf("pages      %" PRIu32 " of %" PRIu32 " bytes, %" PRIu32 " of them free\n", sizes->pages,
           sizes->page_size, sizes->free_pages);
    printf("version    %" PRIu64 ", last change by node %" PRIu32 " at %s\n", tree->root.version,
           tree->root.writer, changed);
    g_autofree char *files = db_count_shown(counts->files, "file", "files");
    g_autofree char *directories = db_count_shown(counts->directories, "directory", "directories");
    printf("entries    %" PRIu32 " of %u (%.1f %%): %s, %s\n", tree_entry_count(tree), INODES_MAX,
           percent(tree_entry_count(tree), INODES_MAX), files, directories);
    printf("content    %s of 128 MiB (%.1f %%)\n", bytes, percent(tree->bytes, CONTENT_MAX));
    printf("guests     %" PRIu32 " qemu, %" PRIu32 " lxc, %" PRIu32 " openvz\n",
           counts->guests[GUEST_QEMU], counts->guests[GUEST_LXC], counts->guests[GUEST_OPENVZ]);
    printf("locks      %" PRIu32 "\n", counts->locks);
    for (guint i = 0; i < counts->biggest->len; i++) {
        const struct entry *entry = counts->biggest->pdata[i];
        g_autofree char *name = db_path_shown(tree, entry);
        printf("%s %8" PRIu32 " bytes, %4.1f %% of 1 MiB  %s\n",
               i == 0 ? "biggest   " : "          ", entry->size,
               percent(entry->size, FILE_SIZE_MAX), name);
    }
}

int command_db_stat(const struct context *context, int argc, char **argv)
{
    g_autofree char *message = NULL;
    struct tools_sizes sizes;
    int code;

    if (!command_parse(&argc, &argv, NULL, "[FILE]",
                       "Shows how much is in the database FILE (" DEFAULT_DATABASE
                       "), against the\n"
                       "limits, and its biggest files.",
                       0, 1))
        return EXIT_WRONG_USE;
    g_autofree char *path = where_database(context, argv[1], &code);
    if (!path)
        return code;
    struct tree *tree = db_read(path);
    if (!tree)
        return EXIT_FAILED;
    int error = tools_measure(path, &sizes, &message);
    if (error) {
        fprintf(stderr, "error: %s\n", message);
    } else {
        struct counts counts = count(tree);
        (context->json ? stat_json : stat_text)(path, tree, &counts, &sizes);
        g_ptr_array_unref(counts.biggest);
    }
    tree_free(tree);
    return error ? EXIT_FAILED : EXIT_DONE;
}
