/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Is the table in config.db the one that all implementations know, and nothing beside it? */
#include "store/schema.h"

#include <errno.h>
#include <string.h>

#include "store/text.h"

static const struct column {
    const char *name;
    const char *type;
} columns[] = {
    {"inode", "INTEGER"}, {"parent", "INTEGER"}, {"version", "INTEGER"}, {"writer", "INTEGER"},
    {"mtime", "INTEGER"}, {"type", "INTEGER"},   {"name", "TEXT"},       {"data", "BLOB"},
};

/* One thing of the schema: notes what is in a tree's way. */
static void check_schema_row(struct load *load, sqlite3_stmt *row, bool *has_tree)
{
    const char *type = load_text(row, 0);
    const char *name = load_text(row, 1);
    g_autofree char *printable = text_name_shown(name, strlen(name));

    if (g_ascii_strcasecmp(name, "tree") == 0 && strcmp(type, "index") != 0) {
        *has_tree = true;
        if (strcmp(type, "table") != 0 || sqlite3_column_int64(row, 2) == 0)
            load_refuse(load, PROBLEM_FILE, 0, 0, remedy_restore(), "'tree' is no ordinary table");
    } else if (strcmp(type, "trigger") == 0) {
        load_refuse(load, PROBLEM_FILE, 0, 0, g_strdup("drop the trigger"),
                    "there is a trigger, '%s', which could alter what is stored", printable);
    } else {
        load_note(load, STORE_WARNING, PROBLEM_FILE, 0, 0,
                  g_strdup("drop it: other implementations may trip over it"),
                  "there is more than the table 'tree': '%s'", printable);
    }
}

/* False: there is no table `tree` to be read, and `error` says whether that is one. */
static bool check_tables(struct load *load)
{
    bool has_tree = false;
    int count = 0;
    sqlite3_stmt *row =
        load_prepare(load, "SELECT type, name, rootpage FROM sqlite_master", "the database");

    if (!row)
        return false;
    while (sqlite3_step(row) == SQLITE_ROW) {
        count++;
        check_schema_row(load, row, &has_tree);
    }
    if (sqlite3_finalize(row) != SQLITE_OK) {
        load_refuse_unreadable(load, "the database");
        return false;
    }
    if (count > 0 && !has_tree)
        load_refuse(load, PROBLEM_FILE, 0, 0, remedy_restore(),
                    "there is no table 'tree': this is another program's database");
    return has_tree;
}

static bool column_is_ours(sqlite3_stmt *row, int index)
{
    return index < (int)G_N_ELEMENTS(columns) &&
           g_ascii_strcasecmp(load_text(row, 0), columns[index].name) == 0 &&
           g_ascii_strcasecmp(load_text(row, 1), columns[index].type) == 0 &&
           (sqlite3_column_int(row, 2) > 0) == (index == 0) && sqlite3_column_int(row, 3) == 0;
}

static bool check_columns(struct load *load)
{
    int index = 0;
    bool good = true;
    sqlite3_stmt *row = load_prepare(
        load, "SELECT name, type, pk, hidden FROM pragma_table_xinfo('tree')", "the table 'tree'");

    if (!row)
        return false;
    for (; sqlite3_step(row) == SQLITE_ROW; index++)
        good = good && column_is_ours(row, index);
    if (sqlite3_finalize(row) != SQLITE_OK) {
        load_refuse_unreadable(load, "the table 'tree'");
        return false;
    }
    if (good && index == (int)G_N_ELEMENTS(columns))
        return true;
    load_refuse(load, PROBLEM_FILE, 0, 0, remedy_restore(),
                "the table 'tree' has not the columns inode, parent, version, writer, mtime, "
                "type, name, data");
    return false;
}

/* An index that is unique would make a change to one row delete another. */
static void check_indexes(struct load *load)
{
    sqlite3_stmt *row = load_prepare(
        load, "SELECT name FROM pragma_index_list('tree') WHERE \"unique\"", "the table 'tree'");

    if (!row)
        return;
    while (sqlite3_step(row) == SQLITE_ROW) {
        const char *name = load_text(row, 0);
        g_autofree char *printable = text_name_shown(name, strlen(name));
        load_refuse(load, PROBLEM_FILE, 0, 0, g_strdup("drop the index"),
                    "there is a unique index, '%s', which could delete rows", printable);
    }
    if (sqlite3_finalize(row) != SQLITE_OK)
        load_refuse_unreadable(load, "the table 'tree'");
}

static void check_encoding(struct load *load)
{
    sqlite3_stmt *row = load_prepare(load, "PRAGMA encoding", "the database");

    if (row && sqlite3_step(row) == SQLITE_ROW && strcmp(load_text(row, 0), "UTF-8") != 0)
        load_refuse(load, PROBLEM_FILE, 0, 0,
                    g_strdup("make a database with PRAGMA encoding='UTF-8' from its .dump"),
                    "texts are encoded as %s", load_text(row, 0));
    sqlite3_finalize(row);
}

bool schema_check(struct load *load)
{
    if (!check_tables(load) || !check_columns(load))
        return false;
    check_indexes(load);
    check_encoding(load);
    return load->error == 0 || load->error == -EBADMSG;
}
