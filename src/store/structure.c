/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What rows must be to each other to make a tree: parents, names, guests. */
#include "store/structure.h"

#include <string.h>

#include "core/key.h"
#include "core/path.h"
#include "store/file.h"
#include "store/text.h"

static void refuse_parent(struct load *load, const struct entry *entry, bool missing)
{
    g_autofree char *name = text_name_shown(entry->name, entry->name_length);

    load_refuse(load, PROBLEM_PARENT, entry->inode, missing ? 0 : entry->parent,
                remedy_set_or_delete(entry->inode, "parent = 0"),
                "inode %" G_GUINT64_FORMAT " ('%s') lies in inode %" G_GINT64_FORMAT
                ", which is %s",
                entry->inode, name, (int64_t)entry->parent, missing ? "missing" : "no directory");
}

static void find_parents(struct load *load)
{
    uint64_t last = 0;
    uint32_t last_index = ROW_ROOT;

    for (uint32_t i = 0; i < load->rows->len; i++) {
        struct row *row = load_row(load, i);
        row->parent = ROW_NONE;
        row->mark = ROW_UNKNOWN;
        if (row->stray)
            continue;
        /* Neighbours tend to be siblings. */
        if (row->parent_inode != last) {
            last = row->parent_inode;
            last_index = load_find(load, last);
        }
        row->parent = last_index;
        if (row->parent == ROW_NONE) {
            refuse_parent(load, row->entry, true);
        } else if (row->parent != ROW_ROOT && !load_row(load, row->parent)->directory) {
            refuse_parent(load, row->entry, false);
            row->parent = ROW_NONE;
        }
    }
}

static void refuse_cycle(struct load *load, uint32_t index)
{
    const struct entry *entry = load_row(load, index)->entry;
    g_autofree char *name = text_name_shown(entry->name, entry->name_length);

    load_refuse(load, PROBLEM_LOOP, entry->inode, entry->parent,
                remedy_set(entry->inode, "parent = 0"),
                "directory inode %" G_GUINT64_FORMAT " ('%s') in inode %" G_GUINT64_FORMAT
                " lies within itself and cannot be reached",
                entry->inode, name, entry->parent);
}

/* Marks a row and all above it, each once, whatever their number. */
static void mark_way(struct load *load, uint32_t start)
{
    uint32_t index = start;
    uint32_t level = 0;
    enum row_mark mark;

    while (index < ROW_NONE && load_row(load, index)->mark == ROW_UNKNOWN) {
        load_row(load, index)->mark = ROW_ON_THE_WAY;
        index = load_row(load, index)->parent;
        level++;
    }
    if (index == ROW_ROOT) {
        mark = ROW_REACHED;
    } else if (index == ROW_NONE) {
        mark = ROW_LOST;
    } else if (load_row(load, index)->mark == ROW_ON_THE_WAY) {
        refuse_cycle(load, index);
        mark = ROW_LOST;
    } else {
        mark = load_row(load, index)->mark;
        level += load_row(load, index)->level;
    }
    for (index = start; index < ROW_NONE && load_row(load, index)->mark == ROW_ON_THE_WAY;
         index = load_row(load, index)->parent, level--) {
        load_row(load, index)->mark = (uint8_t)mark;
        load_row(load, index)->level = (uint16_t)MIN(level, UINT16_MAX);
    }
}

static void check_ways(struct load *load)
{
    for (uint32_t i = 0; i < load->rows->len; i++) {
        if (load_row(load, i)->mark == ROW_UNKNOWN)
            mark_way(load, i);
    }
}

static void check_names(struct load *load)
{
    g_autoptr(GHashTable) names = g_hash_table_new(name_hash, name_equal);

    for (uint32_t i = 0; i < load->rows->len; i++) {
        struct row *row = load_row(load, i);
        struct entry *entry = row->entry;
        const struct entry *other;
        if (row->stray || entry->name_length == 0)
            continue;
        other = g_hash_table_lookup(names, entry);
        if (!other) {
            g_hash_table_add(names, entry);
            continue;
        }
        g_autofree char *name = text_name_shown(entry->name, entry->name_length);
        load_refuse(load, PROBLEM_TWIN, entry->inode, other->inode,
                    remedy_set_or_delete(entry->inode, "name = 'NEW NAME'"),
                    "inode %" G_GUINT64_FORMAT " and inode %" G_GUINT64_FORMAT
                    " have the same name '%s' in directory inode %" G_GUINT64_FORMAT,
                    other->inode, entry->inode, name, entry->parent);
    }
}

/* nodes/NODE/NAME or nodes/NODE/TYPE/NAME of a file with the only levels that matter for guests, in
 * `path`; else false. */
static bool guest_form(const struct load *load, const struct row *row, GString *path)
{
    uint32_t above[3];
    uint32_t count = 0;

    if (row->mark != ROW_REACHED || row->level < 3 || row->level > 4)
        return false;
    for (uint32_t index = row->parent; index < ROW_NONE; index = load_row(load, index)->parent)
        above[count++] = index;
    if (count == 0 || strcmp(load_row(load, above[count - 1])->entry->name, "nodes") != 0)
        return false;
    g_string_truncate(path, 0);
    while (count > 0) {
        const struct entry *entry = load_row(load, above[--count])->entry;
        g_string_append_len(path, entry->name, entry->name_length);
        g_string_append_c(path, '/');
    }
    g_string_append_len(path, row->entry->name, row->entry->name_length);
    return true;
}

static void check_guest(struct load *load, struct entry *entry, const char *path, GHashTable *seen)
{
    struct guest_path guest;

    if (path_is_guest_directory(path)) {
        /* Only admission keeps such a file away: a member of another kind may have made it. */
        load_note(load, STORE_WARNING, PROBLEM_GUEST_DIRECTORY, entry->inode, 0,
                  remedy_set(entry->inode, "name = 'NEW NAME'"),
                  "inode %" G_GUINT64_FORMAT " is a file where a directory of guests should be",
                  entry->inode);
        return;
    }
    if (!path_parse_guest(path, &guest))
        return;
    const struct entry *other = g_hash_table_lookup(seen, GUINT_TO_POINTER(guest.id));
    if (!other) {
        g_hash_table_insert(seen, GUINT_TO_POINTER(guest.id), entry);
        return;
    }
    load_refuse(
        load, PROBLEM_GUEST_TWIN, entry->inode, other->inode,
        g_strdup_printf("find out where the guest is, and delete the other: DELETE FROM tree WHERE "
                        "inode = %" G_GUINT64_FORMAT " (or %" G_GUINT64_FORMAT ")",
                        entry->inode, other->inode),
        "inode %" G_GUINT64_FORMAT " and inode %" G_GUINT64_FORMAT
        " are both the configuration of guest %u ('%s')",
        other->inode, entry->inode, guest.id, entry->name);
}

static void check_guests(struct load *load)
{
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, g_direct_equal);
    GString *path = g_string_new(NULL);

    for (uint32_t i = 0; i < load->rows->len; i++) {
        struct row *row = load_row(load, i);
        if (!row->directory && guest_form(load, row, path))
            check_guest(load, row->entry, path->str, seen);
    }
    g_string_free(path, TRUE);
}

/* The next new entry gets the number that follows the global version. */
static void check_version(struct load *load)
{
    uint32_t count = load->rows->len;
    uint64_t highest = count > 0 ? (uint64_t)MAX((int64_t)load_row(load, count - 1)->inode, 0) : 0;

    if (highest <= load->root.version)
        return;
    load_note(load, STORE_WARNING, PROBLEM_VERSION, highest, 0,
              load->has_root
                  ? g_strdup_printf(
                        "UPDATE tree SET version = %" G_GUINT64_FORMAT " WHERE inode = 0", highest)
                  : g_strdup_printf("INSERT INTO tree VALUES (0, 0, %" G_GUINT64_FORMAT
                                    ", 0, 0, 8, '" ROOT_NAME "', NULL)",
                                    highest),
              "inode %" G_GUINT64_FORMAT " is above the global version, %" G_GUINT64_FORMAT
              "%s: a new entry may be given its number",
              highest, load->root.version, load->has_root ? "" : " (there is no row for it)");
}

void structure_check(struct load *load)
{
    find_parents(load);
    check_ways(load);
    check_names(load);
    check_guests(load);
    check_version(load);
}
