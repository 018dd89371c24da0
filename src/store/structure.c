/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What rows must be to each other to make a tree: parents, names, guests. */
#include <string.h>

#include "core/path.h"
#include "store/loader.h"

/* As many levels as a synchronisation lets pass; a path of PATH_MAX bytes has less. */
#define LEVELS_MAX 4096u

uint32_t loader_find(const struct loader *loader, uint64_t inode)
{
    uint32_t low = 0;
    uint32_t high = loader->rows->len;

    if (inode == 0)
        return PLACE_ROOT;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((int64_t)loader_row(loader, middle)->inode < (int64_t)inode)
            low = middle + 1;
        else
            high = middle;
    }
    return low < loader->rows->len && loader_row(loader, low)->inode == inode ? low : PLACE_NONE;
}

static void refuse_parent(struct loader *loader, const struct entry *entry, bool missing)
{
    g_autofree char *name = name_shown(entry->name, entry->name_length);

    loader_refuse(loader, PROBLEM_PARENT, entry->inode, missing ? 0 : entry->parent,
                  g_strdup_printf("inode %" G_GUINT64_FORMAT
                                  " ('%s') lies in inode %" G_GINT64_FORMAT ", which is %s",
                                  entry->inode, name, (int64_t)entry->parent,
                                  missing ? "missing" : "no directory"),
                  g_strdup_printf("UPDATE tree SET parent = 0 WHERE inode = %" G_GUINT64_FORMAT
                                  ", or DELETE FROM tree WHERE inode = %" G_GUINT64_FORMAT,
                                  entry->inode, entry->inode));
}

static void find_parents(struct loader *loader)
{
    uint64_t last = 0;
    uint32_t last_place = PLACE_ROOT;

    for (uint32_t i = 0; i < loader->rows->len; i++) {
        struct row *row = loader_row(loader, i);
        row->parent = PLACE_NONE;
        row->mark = ROW_UNKNOWN;
        if (row->stray)
            continue;
        /* Neighbours tend to be siblings. */
        if (row->parent_inode != last) {
            last = row->parent_inode;
            last_place = loader_find(loader, last);
        }
        row->parent = last_place;
        if (row->parent == PLACE_NONE) {
            refuse_parent(loader, row->entry, true);
        } else if (row->parent != PLACE_ROOT && !loader_row(loader, row->parent)->directory) {
            refuse_parent(loader, row->entry, false);
            row->parent = PLACE_NONE;
        }
    }
}

static void refuse_cycle(struct loader *loader, uint32_t place)
{
    const struct entry *entry = loader_row(loader, place)->entry;
    g_autofree char *name = name_shown(entry->name, entry->name_length);

    loader_refuse(loader, PROBLEM_LOOP, entry->inode, entry->parent,
                  g_strdup_printf("directory inode %" G_GUINT64_FORMAT
                                  " ('%s') in inode %" G_GUINT64_FORMAT
                                  " lies within itself and cannot be reached",
                                  entry->inode, name, entry->parent),
                  remedy_set(entry->inode, "parent = 0"));
}

/* Marks a row and all above it, each once, whatever their number. */
static void mark_way(struct loader *loader, uint32_t start)
{
    uint32_t place = start;
    uint32_t level = 0;
    enum row_mark mark;

    while (place < PLACE_NONE && loader_row(loader, place)->mark == ROW_UNKNOWN) {
        loader_row(loader, place)->mark = ROW_ON_THE_WAY;
        place = loader_row(loader, place)->parent;
        level++;
    }
    if (place == PLACE_ROOT) {
        mark = ROW_REACHED;
    } else if (place == PLACE_NONE) {
        mark = ROW_LOST;
    } else if (loader_row(loader, place)->mark == ROW_ON_THE_WAY) {
        refuse_cycle(loader, place);
        mark = ROW_LOST;
    } else {
        mark = loader_row(loader, place)->mark;
        level += loader_row(loader, place)->level;
    }
    for (place = start; place < PLACE_NONE && loader_row(loader, place)->mark == ROW_ON_THE_WAY;
         place = loader_row(loader, place)->parent, level--) {
        loader_row(loader, place)->mark = (uint8_t)mark;
        loader_row(loader, place)->level = (uint16_t)MIN(level, LEVELS_MAX + 1);
    }
}

static void check_ways(struct loader *loader)
{
    for (uint32_t i = 0; i < loader->rows->len; i++) {
        struct row *row = loader_row(loader, i);
        bool first_below = row->parent < PLACE_NONE;
        if (row->mark == ROW_UNKNOWN)
            mark_way(loader, i);
        if (row->level > LEVELS_MAX && row->mark == ROW_REACHED &&
            (!first_below || loader_row(loader, row->parent)->level <= LEVELS_MAX))
            loader_refuse(loader, PROBLEM_DEPTH, row->entry->inode, 0,
                          g_strdup_printf("inode %" G_GUINT64_FORMAT
                                          " lies more than 4096 levels deep",
                                          row->entry->inode),
                          remedy_set(row->entry->inode, "parent = 0"));
    }
}

static guint name_hash(gconstpointer pointer)
{
    const struct entry *entry = pointer;

    return g_str_hash(entry->name) ^ (guint)(entry->parent * 2654435761u);
}

static gboolean name_equal(gconstpointer a, gconstpointer b)
{
    const struct entry *first = a;
    const struct entry *second = b;

    return first->parent == second->parent && strcmp(first->name, second->name) == 0;
}

static void check_names(struct loader *loader)
{
    g_autoptr(GHashTable) names = g_hash_table_new(name_hash, name_equal);

    for (uint32_t i = 0; i < loader->rows->len; i++) {
        struct row *row = loader_row(loader, i);
        struct entry *entry = row->entry;
        const struct entry *other;
        if (row->stray || entry->name_length == 0)
            continue;
        other = g_hash_table_lookup(names, entry);
        if (!other) {
            g_hash_table_add(names, entry);
            continue;
        }
        g_autofree char *name = name_shown(entry->name, entry->name_length);
        loader_refuse(
            loader, PROBLEM_TWIN, entry->inode, other->inode,
            g_strdup_printf("inode %" G_GUINT64_FORMAT " and inode %" G_GUINT64_FORMAT
                            " have the same name '%s' in directory inode %" G_GUINT64_FORMAT,
                            other->inode, entry->inode, name, entry->parent),
            g_strdup_printf("UPDATE tree SET name = 'NEW NAME' WHERE inode = %" G_GUINT64_FORMAT
                            ", or DELETE FROM tree WHERE inode = %" G_GUINT64_FORMAT,
                            entry->inode, entry->inode));
    }
}

/* nodes/NODE/NAME or nodes/NODE/TYPE/NAME of a file with the only levels that matter for guests, in
 * `path`; else false. */
static bool guest_form(const struct loader *loader, const struct row *row, GString *path)
{
    uint32_t above[3];
    uint32_t count = 0;

    if (row->mark != ROW_REACHED || row->level < 3 || row->level > 4)
        return false;
    for (uint32_t place = row->parent; place < PLACE_NONE;
         place = loader_row(loader, place)->parent)
        above[count++] = place;
    if (count == 0 || strcmp(loader_row(loader, above[count - 1])->entry->name, "nodes") != 0)
        return false;
    g_string_truncate(path, 0);
    while (count > 0) {
        const struct entry *entry = loader_row(loader, above[--count])->entry;
        g_string_append_len(path, entry->name, entry->name_length);
        g_string_append_c(path, '/');
    }
    g_string_append_len(path, row->entry->name, row->entry->name_length);
    return true;
}

static void check_guest(struct loader *loader, struct entry *entry, const char *path,
                        GHashTable *seen)
{
    struct guest_path guest;

    if (path_is_guest_directory(path)) {
        loader_refuse(loader, PROBLEM_GUEST_DIRECTORY, entry->inode, 0,
                      g_strdup_printf("inode %" G_GUINT64_FORMAT
                                      " is a file where a directory of guests should be",
                                      entry->inode),
                      remedy_set(entry->inode, "name = 'NEW NAME'"));
        return;
    }
    if (!path_parse_guest(path, &guest))
        return;
    const struct entry *other = g_hash_table_lookup(seen, GUINT_TO_POINTER(guest.id));
    if (!other) {
        g_hash_table_insert(seen, GUINT_TO_POINTER(guest.id), entry);
        return;
    }
    loader_refuse(
        loader, PROBLEM_GUEST_TWIN, entry->inode, other->inode,
        g_strdup_printf("inode %" G_GUINT64_FORMAT " and inode %" G_GUINT64_FORMAT
                        " are both the configuration of guest %u ('%s')",
                        other->inode, entry->inode, guest.id, entry->name),
        g_strdup_printf("find out where the guest is, and delete the other: DELETE FROM tree WHERE "
                        "inode = %" G_GUINT64_FORMAT " (or %" G_GUINT64_FORMAT ")",
                        entry->inode, other->inode));
}

static void check_guests(struct loader *loader)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);
    GString *path = g_string_new(NULL);

    for (uint32_t i = 0; i < loader->rows->len; i++) {
        struct row *row = loader_row(loader, i);
        if (!row->directory && guest_form(loader, row, path))
            check_guest(loader, row->entry, path->str, seen);
    }
    g_string_free(path, TRUE);
}

/* The next new entry gets the number that follows the global version. */
static void check_version(struct loader *loader)
{
    uint32_t count = loader->rows->len;
    uint64_t highest =
        count > 0 ? (uint64_t)MAX((int64_t)loader_row(loader, count - 1)->inode, 0) : 0;

    if (highest <= loader->root.version)
        return;
    loader_warn(
        loader, PROBLEM_VERSION, highest, 0,
        g_strdup_printf(
            "inode %" G_GUINT64_FORMAT " is above the global version, %" G_GUINT64_FORMAT
            "%s: a new entry may be given its number",
            highest, loader->root.version, loader->has_root ? "" : " (there is no row for it)"),
        loader->has_root
            ? g_strdup_printf("UPDATE tree SET version = %" G_GUINT64_FORMAT " WHERE inode = 0",
                              highest)
            : g_strdup_printf("INSERT INTO tree VALUES (0, 0, %" G_GUINT64_FORMAT
                              ", 0, 0, 8, '" ROOT_NAME "', NULL)",
                              highest));
}

void loader_check_structure(struct loader *loader)
{
    find_parents(loader);
    check_ways(loader);
    check_names(loader);
    check_guests(loader);
    check_version(loader);
}
