/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Rows of config.db, one by one: what each must be to become an entry. */
#include "store/rows.h"

#include <string.h>

#include "core/limits.h"
#include "store/file.h"
#include "store/text.h"

/* The columns of the one SELECT. */
enum { INODE, PARENT, VERSION, WRITER, MTIME, TYPE, NAME, DATA };

static const char *const column_names[] = {"inode", "parent", "version", "writer",
                                           "mtime", "type",   "name",    "data"};

/* An integer of the row within its bounds; 0 and a finding if it is none. */
static uint64_t read_number(struct load *load, sqlite3_stmt *row, int column, int64_t most)
{
    int64_t inode = sqlite3_column_int64(row, INODE);
    int64_t value = sqlite3_column_int64(row, column);
    enum store_problem problem = column == PARENT ? PROBLEM_PARENT : PROBLEM_NUMBER;
    g_autofree char *assignment = NULL;

    if (sqlite3_column_type(row, column) == SQLITE_INTEGER && value >= 0 && value <= most)
        return (uint64_t)value;
    assignment = g_strdup_printf("%s = 0", column_names[column]);
    if (sqlite3_column_type(row, column) != SQLITE_INTEGER)
        load_refuse(load, problem, (uint64_t)inode, 0, remedy_set((uint64_t)inode, assignment),
                    "the %s of inode %" G_GINT64_FORMAT " is no number", column_names[column],
                    inode);
    else
        load_refuse(load, problem, (uint64_t)inode, 0, remedy_set((uint64_t)inode, assignment),
                    "the %s of inode %" G_GINT64_FORMAT " is %" G_GINT64_FORMAT
                    ", which is not from 0 to %" G_GINT64_FORMAT,
                    column_names[column], inode, value, most);
    return 0;
}

/* Why no file can have the name; NULL: one can. */
static const char *name_problem(const char *name, size_t length)
{
    if (length == 0)
        return "has no name";
    if (memchr(name, '\0', length))
        return "has a zero byte in its name";
    if (memchr(name, '/', length))
        return "has a slash in its name";
    if ((length == 1 && name[0] == '.') || (length == 2 && memcmp(name, "..", 2) == 0))
        return "has a name that means another directory";
    return NULL;
}

/* The bytes of a TEXT, in UTF-8 whatever the database has, or of a BLOB; *size is 0 for anything
 * else. */
static const char *column_bytes(sqlite3_stmt *row, int column, size_t *size)
{
    const char *bytes = sqlite3_column_type(row, column) == SQLITE_TEXT
                            ? (const char *)sqlite3_column_text(row, column)
                            : sqlite3_column_blob(row, column);
    int count = sqlite3_column_bytes(row, column);

    *size = bytes && count > 0 ? (size_t)count : 0;
    return *size > 0 ? bytes : "";
}

/* Members apply a change whatever the length of its names, and so what one wrote must load. */
static void warn_of_long_name(struct load *load, uint64_t inode, const char *name, size_t length)
{
    g_autofree char *printable = text_name_shown(name, length);

    load_note(load, STORE_WARNING, PROBLEM_NAME, inode, 0, remedy_set(inode, "name = 'NEW NAME'"),
              "inode %" G_GINT64_FORMAT " has a name of %zu bytes, which no mount shows: '%s'",
              (int64_t)inode, length, printable);
}

static const char *read_name(struct load *load, sqlite3_stmt *row, size_t *length)
{
    int type = sqlite3_column_type(row, NAME);
    const char *name = column_bytes(row, NAME, length);
    uint64_t inode = (uint64_t)sqlite3_column_int64(row, INODE);

    if (type != SQLITE_TEXT && type != SQLITE_BLOB)
        *length = 0;
    const char *problem = name_problem(name, *length);
    if (problem) {
        g_autofree char *printable = text_name_shown(name, *length);
        load_refuse(load, PROBLEM_NAME, inode, 0, remedy_set(inode, "name = 'NEW NAME'"),
                    "inode %" G_GINT64_FORMAT " %s%s%s%s", (int64_t)inode, problem,
                    *length ? ": '" : "", printable, *length ? "'" : "");
        *length = strnlen(name, *length);
    } else if (*length > NAME_MAX_LISTED) {
        warn_of_long_name(load, inode, name, *length);
    }
    return name;
}

static uint8_t read_type(struct load *load, sqlite3_stmt *row)
{
    int64_t type = sqlite3_column_int64(row, TYPE);
    uint64_t inode = (uint64_t)sqlite3_column_int64(row, INODE);

    if (sqlite3_column_type(row, TYPE) == SQLITE_INTEGER &&
        (type == ENTRY_DIRECTORY || type == ENTRY_FILE))
        return (uint8_t)type;
    load_refuse(
        load, PROBLEM_TYPE, inode, 0, remedy_set(inode, "type = 8"),
        "inode %" G_GINT64_FORMAT " has type %s, which is neither 4 (directory) nor 8 (file)",
        (int64_t)inode,
        sqlite3_column_type(row, TYPE) == SQLITE_INTEGER ? load_text(row, TYPE) : "unknown");
    /* Its children are not to be blamed. */
    return ENTRY_DIRECTORY;
}

/* The global version and the root's writer and mtime. */
static void read_root(struct load *load, sqlite3_stmt *row)
{
    size_t length;
    const char *name = column_bytes(row, NAME, &length);

    load->has_root = true;
    load->root.version = read_number(load, row, VERSION, INT64_MAX);
    load->root.writer = (uint32_t)read_number(load, row, WRITER, UINT32_MAX);
    load->root.mtime = (uint32_t)read_number(load, row, MTIME, UINT32_MAX);
    read_type(load, row);
    if (length == strlen(ROOT_NAME) && memcmp(name, ROOT_NAME, length) == 0)
        return;
    g_autofree char *printable = text_name_shown(name, length);
    load_refuse(load, PROBLEM_NAME, 0, 0, remedy_set(0, "name = '" ROOT_NAME "'"),
                "inode 0, the row of the global version, is named '%s' and not '%s'", printable,
                ROOT_NAME);
}

/* The content straight from SQLite's page into the buffer that readers will get. What should have
 * none keeps it, for a repair. */
static struct buffer *read_data(struct load *load, sqlite3_stmt *row)
{
    size_t size;
    uint64_t inode = (uint64_t)sqlite3_column_int64(row, INODE);
    const char *data = column_bytes(row, DATA, &size);

    if (size == 0)
        return NULL;
    if (sqlite3_column_int64(row, TYPE) == ENTRY_DIRECTORY)
        load_refuse(load, PROBLEM_DATA, inode, 0, remedy_set(inode, "data = NULL"),
                    "inode %" G_GINT64_FORMAT " is a directory and has %zu bytes of data",
                    (int64_t)inode, size);
    return buffer_copy(data, (uint32_t)size);
}

static void read_entry(struct load *load, sqlite3_stmt *row)
{
    size_t length;
    uint64_t inode = (uint64_t)sqlite3_column_int64(row, INODE);
    const char *name = read_name(load, row, &length);
    uint8_t type = read_type(load, row);
    struct buffer *content = read_data(load, row);
    bool stray = sqlite3_column_type(row, PARENT) != SQLITE_INTEGER;
    /* A negative parent is missing like any other. */
    uint64_t parent = stray ? read_number(load, row, PARENT, INT64_MAX)
                            : (uint64_t)sqlite3_column_int64(row, PARENT);
    struct entry *entry =
        entry_new(inode, parent, type, name, length, content, content ? content->capacity : 0);

    buffer_unref(content);
    entry->version = read_number(load, row, VERSION, INT64_MAX);
    entry->writer = (uint32_t)read_number(load, row, WRITER, UINT32_MAX);
    entry->mtime = (uint32_t)read_number(load, row, MTIME, UINT32_MAX);
    struct row new_row = {.entry = entry,
                          .inode = inode,
                          .parent_inode = parent,
                          .parent = ROW_NONE,
                          .directory = type == ENTRY_DIRECTORY,
                          .stray = stray || (int64_t)inode < 0};
    g_array_append_val(load->rows, new_row);
}

/* Says that the table is damaged: rows must ascend, or there would be no end to be sure of. */
static void refuse_order(struct load *load, int64_t last, int64_t inode)
{
    load_refuse(load, PROBLEM_FILE, (uint64_t)inode, (uint64_t)last, remedy_restore(),
                "the table is damaged: inode %" G_GINT64_FORMAT
                " comes after inode %" G_GINT64_FORMAT,
                inode, last);
}

static void read_row(struct load *load, sqlite3_stmt *row)
{
    int64_t inode = sqlite3_column_int64(row, INODE);

    if (inode == 0) {
        read_root(load, row);
        return;
    }
    read_entry(load, row);
    if (inode < 0)
        load_refuse(load, PROBLEM_NEGATIVE, (uint64_t)inode, 0, remedy_delete((uint64_t)inode),
                    "inode %" G_GINT64_FORMAT " is negative", inode);
}

sqlite3_stmt *rows_select(struct load *load)
{
    return load_prepare(load,
                        "SELECT inode, parent, version, writer, mtime, type, name, data "
                        "FROM tree WHERE inode >= ?1 ORDER BY inode",
                        "the table 'tree'");
}

/* The highest inode: how far the reading has to go. */
static uint64_t highest_inode(struct load *load)
{
    sqlite3_stmt *row = NULL;
    int64_t highest = 0;

    if (sqlite3_prepare_v2(load->db, "SELECT max(inode) FROM tree", -1, &row, NULL) == SQLITE_OK &&
        sqlite3_step(row) == SQLITE_ROW)
        highest = sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return (uint64_t)MAX(highest, 0);
}

bool rows_read_from(struct load *load, int64_t from, int64_t *last)
{
    struct store_checker *checker = load->checker;
    uint64_t highest = checker->progress ? highest_inode(load) : 0;
    sqlite3_stmt *row = rows_select(load);
    const bool all = from == INT64_MIN;
    bool first = true;
    int result = SQLITE_ERROR;

    *last = all ? from : from - 1;
    if (row)
        sqlite3_bind_int64(row, 1, from);
    for (; row && (result = sqlite3_step(row)) == SQLITE_ROW; first = false) {
        int64_t inode = sqlite3_column_int64(row, INODE);
        if (inode <= *last && !(first && all)) {
            refuse_order(load, *last, inode);
            break;
        }
        read_row(load, row);
        *last = inode;
        if (checker->progress)
            checker->progress(checker, (uint64_t)MAX(inode, 0), highest);
    }
    if (row && result != SQLITE_ROW && result != SQLITE_DONE) {
        g_autofree char *what = g_strdup_printf("what comes after inode %" G_GINT64_FORMAT, *last);
        load_refuse_unreadable(load, first && all ? "the table 'tree'" : what);
    }
    sqlite3_finalize(row);
    return result == SQLITE_DONE;
}

bool rows_read(struct load *load)
{
    int64_t last;

    return rows_read_from(load, INT64_MIN, &last);
}
