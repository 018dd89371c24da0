/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A load under way: the rows read so far, and what is wrong with them. */
#include "store/load.h"

#include <errno.h>
#include <stdarg.h>

#include "store/file.h"
#include "store/text.h"

/* Bytes of a path that are shown. */
#define PATH_SHOWN 400u

static void note_clear(gpointer pointer)
{
    struct note *note = pointer;

    g_free(note->text);
    g_free(note->remedy);
}

static void row_clear(gpointer pointer)
{
    entry_unref(((struct row *)pointer)->entry);
}

void load_note(struct load *load, enum store_severity severity, enum store_problem problem,
               uint64_t inode, uint64_t other, char *remedy, const char *format, ...)
{
    struct note note = {severity, problem, inode, other, NULL, remedy};
    va_list arguments;

    va_start(arguments, format);
    note.text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    g_array_append_val(load->notes, note);
    if (severity == STORE_REFUSED && !load->error)
        load->error = -EBADMSG;
}

char *remedy_delete(uint64_t inode)
{
    return g_strdup_printf("DELETE FROM tree WHERE inode = %" G_GINT64_FORMAT, (int64_t)inode);
}

char *remedy_set(uint64_t inode, const char *assignment)
{
    return g_strdup_printf("UPDATE tree SET %s WHERE inode = %" G_GINT64_FORMAT, assignment,
                           (int64_t)inode);
}

char *remedy_set_or_delete(uint64_t inode, const char *assignment)
{
    g_autofree char *set = remedy_set(inode, assignment);
    g_autofree char *delete = remedy_delete(inode);

    return g_strconcat(set, ", or ", delete, NULL);
}

char *remedy_restore(void)
{
    return g_strdup(
        "restore a backup, or save what can be read with the .recover command of sqlite3");
}

void load_refuse_unreadable(struct load *load, const char *what)
{
    int result = sqlite3_extended_errcode(load->db);
    int error = file_errno(load->db, result);
    bool damaged = error == -EBADMSG;
    g_autofree char *reason = text_sentence_shown(sqlite3_errmsg(load->db));

    load_refuse(load, PROBLEM_FILE, 0, 0,
                damaged           ? remedy_restore()
                : error == -EBUSY ? g_strdup("stop the program that has the database open")
                                  : NULL,
                "%s cannot be read: %s", what, reason);
    load->error = error ? error : -EIO;
}

sqlite3_stmt *load_prepare(struct load *load, const char *sql, const char *what)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(load->db, sql, -1, &statement, NULL) != SQLITE_OK)
        load_refuse_unreadable(load, what);
    return statement;
}

const char *load_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return text ? text : "";
}

uint32_t load_find(const struct load *load, uint64_t inode)
{
    uint32_t low = 0;
    uint32_t high = load->rows->len;

    if (inode == 0)
        return ROW_ROOT;
    while (low < high) {
        uint32_t middle = low + (high - low) / 2;
        if ((int64_t)load_row(load, middle)->inode < (int64_t)inode)
            low = middle + 1;
        else
            high = middle;
    }
    return low < load->rows->len && load_row(load, low)->inode == inode ? low : ROW_NONE;
}

/* The path of a row, as far as it can be told; g_free() it. */
static char *path_of(const struct load *load, uint64_t inode)
{
    uint32_t index = inode == 0 ? ROW_NONE : load_find(load, inode);
    GString *path = g_string_new(NULL);

    if (index == ROW_NONE)
        return g_string_free(path, TRUE), NULL;
    for (bool lost = load_row(load, index)->mark != ROW_REACHED; index != ROW_ROOT;) {
        const struct row *row = load_row(load, index);
        g_autofree char *name = text_name_shown(row->entry->name, row->entry->name_length);
        if (path->len > 0)
            g_string_prepend_c(path, '/');
        g_string_prepend(path, name);
        if (lost || path->len > PATH_SHOWN) {
            g_string_prepend(path, "?/");
            break;
        }
        index = row->parent;
    }
    return g_string_free(path, FALSE);
}

void load_report(struct load *load)
{
    for (guint i = 0; i < load->notes->len; i++) {
        const struct note *note = &g_array_index(load->notes, struct note, i);
        g_autofree char *path = path_of(load, note->inode);
        struct store_finding finding = {.severity = note->severity,
                                        .problem = note->problem,
                                        .inode = note->inode,
                                        .other = note->other,
                                        .path = path,
                                        .text = note->text,
                                        .remedy = note->remedy};
        load->checker->found(load->checker, &finding);
    }
}

struct tree *load_tree(const struct load *load)
{
    struct tree *tree = tree_new();

    tree->root = load->root;
    for (uint32_t i = 0; i < load->rows->len; i++)
        tree_put(tree, entry_ref(load_row(load, i)->entry));
    return tree;
}

GArray *load_notes_new(void)
{
    GArray *notes = g_array_new(FALSE, FALSE, sizeof(struct note));

    g_array_set_clear_func(notes, note_clear);
    return notes;
}

void load_init(struct load *load, sqlite3 *db, struct store_checker *checker)
{
    *load = (struct load){
        .db = db,
        .checker = checker,
        .rows = g_array_new(FALSE, FALSE, sizeof(struct row)),
        .notes = load_notes_new(),
        .root = {.version = 1},
    };
    g_array_set_clear_func(load->rows, row_clear);
}

void load_clear(struct load *load)
{
    g_array_unref(load->rows);
    g_array_unref(load->notes);
}
