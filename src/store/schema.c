/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Is the table in config.db the one that all implementations know, and nothing beside it? */
#include <errno.h>
#include <string.h>

#include "store/loader.h"

static const struct column {
    const char *name;
    const char *type;
} columns[] = {
    {"inode", "INTEGER"}, {"parent", "INTEGER"}, {"version", "INTEGER"}, {"writer", "INTEGER"},
    {"mtime", "INTEGER"}, {"type", "INTEGER"},   {"name", "TEXT"},       {"data", "BLOB"},
};

/* One thing of the schema: notes what is in a tree's way. */
static void check_schema_row(struct loader *loader, sqlite3_stmt *row, bool *has_tree)
{
    const char *type = loader_text(row, 0);
    const char *name = loader_text(row, 1);
    g_autofree char *printable = name_shown(name, strlen(name));

    if (g_ascii_strcasecmp(name, "tree") == 0 && strcmp(type, "index") != 0) {
        *has_tree = true;
        if (strcmp(type, "table") != 0 || sqlite3_column_int64(row, 2) == 0)
            loader_refuse(loader, PROBLEM_FILE, 0, 0, g_strdup("'tree' is no ordinary table"),
                          remedy_restore());
    } else if (strcmp(type, "trigger") == 0) {
        loader_refuse(loader, PROBLEM_FILE, 0, 0,
                      g_strdup_printf("there is a trigger, '%s', which could alter what is stored",
                                      printable),
                      g_strdup("drop the trigger"));
    } else {
        loader_warn(loader, PROBLEM_FILE, 0, 0,
                    g_strdup_printf("there is more than the table 'tree': '%s'", printable),
                    g_strdup("drop it: other implementations may trip over it"));
    }
}

/* False: there is no table `tree` to be read, and `error` says whether that is one. */
static bool check_tables(struct loader *loader)
{
    bool has_tree = false;
    int count = 0;
    sqlite3_stmt *row =
        loader_prepare(loader, "SELECT type, name, rootpage FROM sqlite_master", "the database");

    if (!row)
        return false;
    while (sqlite3_step(row) == SQLITE_ROW) {
        count++;
        check_schema_row(loader, row, &has_tree);
    }
    if (sqlite3_finalize(row) != SQLITE_OK) {
        loader_refuse_unreadable(loader, "the database");
        return false;
    }
    if (count > 0 && !has_tree)
        loader_refuse(loader, PROBLEM_FILE, 0, 0,
                      g_strdup("there is no table 'tree': this is another program's database"),
                      remedy_restore());
    return has_tree;
}

static bool column_is_ours(sqlite3_stmt *row, int index)
{
    return index < (int)G_N_ELEMENTS(columns) &&
           g_ascii_strcasecmp(loader_text(row, 0), columns[index].name) == 0 &&
           g_ascii_strcasecmp(loader_text(row, 1), columns[index].type) == 0 &&
           (sqlite3_column_int(row, 2) > 0) == (index == 0) && sqlite3_column_int(row, 3) == 0;
}

static bool check_columns(struct loader *loader)
{
    int index = 0;
    bool good = true;
    sqlite3_stmt *row =
        loader_prepare(loader, "SELECT name, type, pk, hidden FROM pragma_table_xinfo('tree')",
                       "the table 'tree'");

    if (!row)
        return false;
    for (; sqlite3_step(row) == SQLITE_ROW; index++)
        good = good && column_is_ours(row, index);
    if (sqlite3_finalize(row) != SQLITE_OK) {
        loader_refuse_unreadable(loader, "the table 'tree'");
        return false;
    }
    if (good && index == (int)G_N_ELEMENTS(columns))
        return true;
    loader_refuse(
        loader, PROBLEM_FILE, 0, 0,
        g_strdup("the table 'tree' has not the columns inode, parent, version, writer, mtime, "
                 "type, name, data"),
        remedy_restore());
    return false;
}

/* An index that is unique would make a change to one row delete another. */
static void check_indexes(struct loader *loader)
{
    sqlite3_stmt *row = loader_prepare(
        loader, "SELECT name FROM pragma_index_list('tree') WHERE \"unique\"", "the table 'tree'");

    if (!row)
        return;
    while (sqlite3_step(row) == SQLITE_ROW) {
        const char *name = loader_text(row, 0);
        g_autofree char *printable = name_shown(name, strlen(name));
        loader_refuse(
            loader, PROBLEM_FILE, 0, 0,
            g_strdup_printf("there is a unique index, '%s', which could delete rows", printable),
            g_strdup("drop the index"));
    }
    if (sqlite3_finalize(row) != SQLITE_OK)
        loader_refuse_unreadable(loader, "the table 'tree'");
}

static void check_encoding(struct loader *loader)
{
    sqlite3_stmt *row = loader_prepare(loader, "PRAGMA encoding", "the database");

    if (row && sqlite3_step(row) == SQLITE_ROW && strcmp(loader_text(row, 0), "UTF-8") != 0)
        loader_refuse(loader, PROBLEM_FILE, 0, 0,
                      g_strdup_printf("texts are encoded as %s", loader_text(row, 0)),
                      g_strdup("make a database with PRAGMA encoding='UTF-8' from its .dump"));
    sqlite3_finalize(row);
}

bool loader_read_schema(struct loader *loader)
{
    if (!check_tables(loader) || !check_columns(loader))
        return false;
    check_indexes(loader);
    check_encoding(loader);
    return loader->error == 0 || loader->error == -EBADMSG;
}
