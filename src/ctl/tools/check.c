/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Looks at a database without altering it: what is in it, and what is wrong with it. */
#include "ctl/tools/check.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "ctl/tools/snapshot.h"
#include "journal/replay.h"
#include "store/file.h"
#include "store/load.h"
#include "store/read.h"
#include "store/text.h"

/* Of SQLite's integrity check. */
#define INTEGRITY_LINES "100"

/* SQLite's own opinion about pages, cells and constraints. */
static int check_integrity(sqlite3 *db, struct store_checker *checker)
{
    struct load load;

    load_init(&load, db, checker);
    if (checker->progress)
        checker->progress(checker, 0, 0);
    sqlite3_stmt *row =
        load_prepare(&load, "PRAGMA integrity_check(" INTEGRITY_LINES ")", "the database");
    while (row && sqlite3_step(row) == SQLITE_ROW) {
        g_autofree char *line = text_sentence_shown(load_text(row, 0));
        if (strcmp(line, "ok") != 0)
            load_refuse(&load, PROBLEM_FILE, 0, 0, remedy_restore(), "SQLite's integrity check: %s",
                        line);
    }
    if (sqlite3_finalize(row) != SQLITE_OK && load.notes->len == 0)
        load_refuse_unreadable(&load, "the database");
    load_report(&load);
    load_clear(&load);
    return load.error;
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

    snapshot_replay(journal, NULL, &replay, tree);
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
    int error = file_require_present(path, vfs, &message);

    *journal = NULL;
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
    error = store_read_connection(db, checker, tree);
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

int tools_read(const char *path, const char *vfs, struct store_checker *checker, struct tree **tree)
{
    return look(path, vfs, false, checker, tree);
}

int tools_check(const char *path, const char *vfs, struct store_checker *checker)
{
    struct tree *tree;
    int error = look(path, vfs, true, checker, &tree);

    if (tree)
        tree_free(tree);
    return error;
}

const char *tools_problem_name(enum store_problem problem)
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
        [PROBLEM_TWIN] = "same-name",
        [PROBLEM_GUEST_DIRECTORY] = "guest-directory",
        [PROBLEM_GUEST_TWIN] = "same-guest",
        [PROBLEM_VERSION] = "version",
        [PROBLEM_JOURNAL] = "journal",
    };

    return names[problem];
}
