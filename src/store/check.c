/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The door for database rows: reads them, finds all that is wrong, and makes a tree of them. */
#include "store/check.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "store/file.h"
#include "store/loader.h"
#include "store/snapshot.h"

/* Bytes of a name or path that are shown. */
#define NAME_SHOWN 128u
#define PATH_SHOWN 400u
#define SENTENCE_SHOWN 200u
#define INTEGRITY_LINES "100"

const char *store_problem_name(enum store_problem problem)
{
    static const char *const names[] = {
        [PROBLEM_FILE] = "file",
        [PROBLEM_NUMBER] = "number",
        [PROBLEM_NEGATIVE] = "negative-inode",
        [PROBLEM_NAME] = "name",
        [PROBLEM_TYPE] = "type",
        [PROBLEM_DATA] = "directory-data",
        [PROBLEM_PARENT] = "parent",
        [PROBLEM_LOOP] = "loop",
        [PROBLEM_DEPTH] = "depth",
        [PROBLEM_TWIN] = "same-name",
        [PROBLEM_GUEST_DIRECTORY] = "guest-directory",
        [PROBLEM_GUEST_TWIN] = "same-guest",
        [PROBLEM_VERSION] = "version",
        [PROBLEM_JOURNAL] = "journal",
    };

    return names[problem];
}

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

/* What is wrong, for the end of the pass. Takes both strings over. */
static void add_note(struct loader *loader, enum store_severity severity,
                     enum store_problem problem, uint64_t inode, uint64_t other, char *text,
                     char *remedy)
{
    struct note note = {severity, problem, inode, other, text, remedy};

    g_array_append_val(loader->notes, note);
    if (severity == STORE_REFUSED && !loader->error)
        loader->error = -EBADMSG;
}

void loader_warn(struct loader *loader, enum store_problem problem, uint64_t inode, uint64_t other,
                 char *text, char *remedy)
{
    add_note(loader, STORE_WARNING, problem, inode, other, text, remedy);
}

void loader_refuse(struct loader *loader, enum store_problem problem, uint64_t inode,
                   uint64_t other, char *text, char *remedy)
{
    add_note(loader, STORE_REFUSED, problem, inode, other, text, remedy);
}

void loader_note_repair(struct loader *loader, enum store_severity severity,
                        enum store_problem problem, uint64_t inode, uint64_t other, char *text)
{
    add_note(loader, severity, problem, inode, other, text, NULL);
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

char *remedy_restore(void)
{
    return g_strdup(
        "restore a backup, or save what can be read with the .recover command of sqlite3");
}

/* Appends bytes from anywhere so that they can be printed. */
static void append_shown(GString *text, const char *bytes, size_t length, size_t limit)
{
    const char *end = bytes + MIN(length, limit);

    while (bytes < end) {
        gunichar character = g_utf8_get_char_validated(bytes, end - bytes);
        if (character < 0x110000 && g_unichar_isprint(character)) {
            g_string_append_unichar(text, character);
            bytes = g_utf8_next_char(bytes);
        } else {
            g_string_append_printf(text, "\\x%02x", (unsigned char)*bytes++);
        }
    }
    if (length > limit)
        g_string_append(text, "...");
}

char *store_text_shown(const char *bytes, size_t length)
{
    GString *text = g_string_new(NULL);

    append_shown(text, bytes, length, length);
    return g_string_free(text, FALSE);
}

char *name_shown(const char *bytes, size_t length)
{
    GString *text = g_string_new(NULL);

    append_shown(text, bytes, length, NAME_SHOWN);
    return g_string_free(text, FALSE);
}

/* The same for a sentence of SQLite's, which may quote what it found in the file. */
static char *sentence_shown(const char *sentence)
{
    GString *text = g_string_new(NULL);

    append_shown(text, sentence, strlen(sentence), SENTENCE_SHOWN);
    return g_string_free(text, FALSE);
}

void loader_refuse_unreadable(struct loader *loader, const char *what)
{
    int result = sqlite3_extended_errcode(loader->db);
    int error = file_errno(loader->db, result);
    bool damaged = error == -EBADMSG;
    g_autofree char *reason = sentence_shown(sqlite3_errmsg(loader->db));

    loader_refuse(loader, PROBLEM_FILE, 0, 0,
                  g_strdup_printf("%s cannot be read: %s", what, reason),
                  damaged           ? remedy_restore()
                  : error == -EBUSY ? g_strdup("stop the program that has the database open")
                                    : NULL);
    loader->error = error ? error : -EIO;
}

sqlite3_stmt *loader_prepare(struct loader *loader, const char *sql, const char *what)
{
    sqlite3_stmt *statement = NULL;

    if (sqlite3_prepare_v2(loader->db, sql, -1, &statement, NULL) != SQLITE_OK)
        loader_refuse_unreadable(loader, what);
    return statement;
}

const char *loader_text(sqlite3_stmt *statement, int column)
{
    const char *text = (const char *)sqlite3_column_text(statement, column);

    return text ? text : "";
}

/* The path of a row, as far as it can be told; g_free() it. */
static char *path_of(const struct loader *loader, uint64_t inode)
{
    uint32_t place = inode == 0 ? PLACE_NONE : loader_find(loader, inode);
    GString *path = g_string_new(NULL);

    if (place == PLACE_NONE)
        return g_string_free(path, TRUE), NULL;
    for (bool lost = loader_row(loader, place)->mark != ROW_REACHED; place != PLACE_ROOT;) {
        const struct row *row = loader_row(loader, place);
        GString *name = g_string_new(NULL);
        append_shown(name, row->entry->name, row->entry->name_length, NAME_SHOWN);
        if (path->len > 0)
            g_string_append_c(name, '/');
        g_string_prepend_len(path, name->str, (gssize)name->len);
        g_string_free(name, TRUE);
        if (lost || path->len > PATH_SHOWN) {
            g_string_prepend(path, "?/");
            break;
        }
        place = row->parent;
    }
    return g_string_free(path, FALSE);
}

void loader_report(struct loader *loader)
{
    for (guint i = 0; i < loader->notes->len; i++) {
        const struct note *note = &g_array_index(loader->notes, struct note, i);
        g_autofree char *path = path_of(loader, note->inode);
        struct store_finding finding = {.severity = note->severity,
                                        .problem = note->problem,
                                        .inode = note->inode,
                                        .other = note->other,
                                        .path = path,
                                        .text = note->text,
                                        .remedy = note->remedy};
        loader->checker->found(loader->checker, &finding);
    }
}

static struct tree *make_tree(struct loader *loader)
{
    struct tree *tree = tree_new();

    tree->root = loader->root;
    for (uint32_t i = 0; i < loader->rows->len; i++) {
        struct row *row = loader_row(loader, i);
        tree_put(tree, row->entry);
        row->entry = NULL;
    }
    return tree;
}

GArray *loader_notes_new(void)
{
    GArray *notes = g_array_new(FALSE, FALSE, sizeof(struct note));

    g_array_set_clear_func(notes, note_clear);
    return notes;
}

void loader_init(struct loader *loader, sqlite3 *db, struct store_checker *checker)
{
    *loader = (struct loader){
        .db = db,
        .checker = checker,
        .rows = g_array_new(FALSE, FALSE, sizeof(struct row)),
        .notes = loader_notes_new(),
        .root = {.version = 1},
    };
    g_array_set_clear_func(loader->rows, row_clear);
}

void loader_clear(struct loader *loader)
{
    g_array_unref(loader->rows);
    g_array_unref(loader->notes);
}

int store_check_connection(sqlite3 *db, struct store_checker *checker, struct tree **tree)
{
    struct loader loader;

    loader_init(&loader, db, checker);
    if (loader_read_schema(&loader) && loader_read_rows(&loader))
        loader_check_structure(&loader);
    loader_report(&loader);
    int error = loader.error;
    if (tree)
        *tree = error ? NULL : make_tree(&loader);
    loader_clear(&loader);
    return error;
}

/* SQLite's own opinion about pages, cells and constraints. */
static int check_integrity(sqlite3 *db, struct store_checker *checker)
{
    struct loader loader;

    loader_init(&loader, db, checker);
    if (checker->progress)
        checker->progress(checker, 0, 0);
    sqlite3_stmt *row =
        loader_prepare(&loader, "PRAGMA integrity_check(" INTEGRITY_LINES ")", "the database");
    while (row && sqlite3_step(row) == SQLITE_ROW) {
        g_autofree char *line = sentence_shown(loader_text(row, 0));
        if (strcmp(line, "ok") != 0)
            loader_refuse(&loader, PROBLEM_FILE, 0, 0,
                          g_strdup_printf("SQLite's integrity check: %s", line), remedy_restore());
    }
    if (sqlite3_finalize(row) != SQLITE_OK && loader.notes->len == 0)
        loader_refuse_unreadable(&loader, "the database");
    loader_report(&loader);
    loader_clear(&loader);
    return loader.error;
}

/* A finding about the file as a whole. */
static int refuse_file(struct store_checker *checker, int error, char *message)
{
    struct store_finding finding = {.severity = STORE_REFUSED, .text = message};

    checker->found(checker, &finding);
    g_free(message);
    return error;
}

/* Tells what a start will do with the journal, and does it with *tree. */
static void look_at_journal(const char *path, const GByteArray *journal,
                            struct store_checker *checker, struct tree **tree)
{
    struct replay replay;
    struct store_finding finding = {.problem = PROBLEM_JOURNAL};
    g_autofree char *text = NULL;

    snapshot_bring_in(journal, tree, &replay);
    if (replay.keep) {
        finding.severity = STORE_WARNING;
        finding.remedy = "the next start sets it aside";
        text = g_strdup_printf("%s.journal holds changes that cannot be brought in: %s", path,
                               replay.reason);
    } else if (replay.outcome == REPLAY_CHANGES) {
        finding.severity = STORE_NOTE;
        text = g_strdup_printf("%u %s in the journal and not yet in config.db", replay.changes,
                               replay.changes == 1 ? "change is" : "changes are");
    }
    finding.text = text;
    if (text)
        checker->found(checker, &finding);
    replay_clear(&replay);
}

/* Opens it for looking, and begins to read: database and journal are those of one moment. *journal
 * is NULL if there is none. -ENOENT is a finding too. */
static int open_to_look(const char *path, const char *vfs, struct store_checker *checker,
                        sqlite3 **db, GByteArray **journal)
{
    char *message = NULL;
    int error = file_probe(path, vfs, &message);

    *journal = NULL;
    if (error == -ENOENT)
        message = g_strdup_printf("there is no %s", path);
    if (!error)
        error = file_open_untouched(path, vfs, 0, db, &message);
    if (error)
        return refuse_file(checker, error, message);
    error = vfs ? 0 : snapshot_begin(*db, path, journal, &message);
    if (error == -EBADMSG) {
        /* The check will say it better. */
        g_free(message);
    } else if (error) {
        sqlite3_close(*db);
        return refuse_file(checker, error, message);
    }
    return 0;
}

/* All of it, with *tree as a start would have it. */
static int look(const char *given, const char *vfs, bool integrity, struct store_checker *checker,
                struct tree **tree)
{
    g_autofree char *path = file_resolve(given, vfs);
    GByteArray *journal;
    sqlite3 *db;

    *tree = NULL;
    int error = open_to_look(path, vfs, checker, &db, &journal);
    if (error)
        return error;
    error = store_check_connection(db, checker, tree);
    if (integrity && (!error || error == -EBADMSG)) {
        int found = check_integrity(db, checker);
        error = error ? error : found;
    }
    if (*tree && journal)
        look_at_journal(path, journal, checker, tree);
    if (journal)
        g_byte_array_unref(journal);
    sqlite3_close(db);
    if (error && *tree)
        tree_free(g_steal_pointer(tree));
    return error;
}

int store_read(const char *path, const char *vfs, struct store_checker *checker, struct tree **tree)
{
    return look(path, vfs, false, checker, tree);
}

int store_check(const char *path, const char *vfs, struct store_checker *checker)
{
    struct tree *tree;
    int error = look(path, vfs, true, checker, &tree);

    if (tree)
        tree_free(tree);
    return error;
}
