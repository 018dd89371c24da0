/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The file history.db: opened to be written, made anew, set aside. */
#include "history/database.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <unistd.h>

#include "history/format.h"
#include "store/file.h"

#define BUSY_MILLISECONDS 2000
/* Most transactions are a row or two, which cost a page of each table and index. Smaller ones would
 * hold contents badly. */
#define PAGE_SIZE 2048

/* `before` and `after` of struct history_change are the columns old_* and new_*; doc/history.md.
 * What has to be there once is looked up before it is added: an index of whole digests or command
 * lines would be written twice. */
static const char schema[] =
    "CREATE TABLE meta (key TEXT PRIMARY KEY, value INTEGER NOT NULL) WITHOUT ROWID;"
    "CREATE TABLE nodes (id INTEGER PRIMARY KEY, name TEXT NOT NULL);"
    "CREATE TABLE paths (id INTEGER PRIMARY KEY, path TEXT NOT NULL UNIQUE);"
    "CREATE TABLE contents (id INTEGER PRIMARY KEY, digest BLOB NOT NULL,"
    " size INTEGER NOT NULL, codec INTEGER NOT NULL, data BLOB NOT NULL);"
    "CREATE TABLE actors (id INTEGER PRIMARY KEY, uid INTEGER NOT NULL, login INTEGER NOT NULL,"
    " pid INTEGER NOT NULL, process_group INTEGER NOT NULL, name TEXT NOT NULL,"
    " command TEXT NOT NULL);"
    "CREATE TABLE changes (id INTEGER PRIMARY KEY, version INTEGER NOT NULL,"
    " time INTEGER NOT NULL, node INTEGER NOT NULL, operation INTEGER NOT NULL,"
    " path INTEGER NOT NULL, other INTEGER, actor INTEGER,"
    " old_type INTEGER NOT NULL, old_size INTEGER NOT NULL, old_mtime INTEGER NOT NULL,"
    " old_content INTEGER, old_kept INTEGER NOT NULL,"
    " new_type INTEGER NOT NULL, new_size INTEGER NOT NULL, new_mtime INTEGER NOT NULL,"
    " new_content INTEGER, new_kept INTEGER NOT NULL, new_version INTEGER NOT NULL);"
    "CREATE INDEX changes_path ON changes (path);"
    "CREATE INDEX contents_digest ON contents (substr(digest, 1, 8));"
    "CREATE INDEX actors_pid ON actors (pid);";

static int fail(sqlite3 **db, int result, const char *path, char **message)
{
    int error = file_errno(*db, result);

    *message = g_strdup_printf("cannot use %s: %s", path,
                               *db ? sqlite3_errmsg(*db) : sqlite3_errstr(result));
    sqlite3_close(*db);
    *db = NULL;
    return error;
}

static int make(sqlite3 *db)
{
    int result = sqlite3_exec(db, "PRAGMA page_size=" G_STRINGIFY(PAGE_SIZE) "; BEGIN IMMEDIATE",
                              NULL, NULL, NULL);

    if (result == SQLITE_OK)
        result = sqlite3_exec(db, schema, NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db,
                              "PRAGMA application_id=" G_STRINGIFY(
                                  HISTORY_APPLICATION_ID) "; "
                                                          "PRAGMA user_version=" G_STRINGIFY(
                                                              HISTORY_FORMAT) "; COMMIT",
                              NULL, NULL, NULL);
    return result;
}

/* What a later release has made is not ours to write to. */
static bool is_ours(sqlite3 *db)
{
    g_autofree char *format = file_ask(db, "PRAGMA user_version");

    return g_strcmp0(format, G_STRINGIFY(HISTORY_FORMAT)) == 0;
}

/* An empty file with the right mode: SQLite gives what lies beside it the same. */
static int make_file(const char *path)
{
    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    int error = fd < 0 ? -errno : 0;

    if (fd >= 0)
        close(fd);
    return error;
}

/* With the whole file locked the log's index is kept in memory: in a file its pages cost more than
 * a small transaction itself. While somebody reads that cannot be. The log stays at the end, since
 * the file is opened for each transaction anew. */
static int open_file(const char *path, sqlite3 **db)
{
    static const int timeouts[] = {0, BUSY_MILLISECONDS};
    int result = SQLITE_OK;

    for (size_t i = 0; i < G_N_ELEMENTS(timeouts); i++) {
        sqlite3_close(g_steal_pointer(db));
        result = sqlite3_open_v2(
            path, db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);
        if (result != SQLITE_OK)
            return result;
        sqlite3_busy_timeout(*db, timeouts[i]);
        sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
        sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
        if (i == 0)
            sqlite3_exec(*db, "PRAGMA locking_mode=EXCLUSIVE", NULL, NULL, NULL);
        result = sqlite3_exec(*db, "SELECT 1 FROM sqlite_master", NULL, NULL, NULL);
        if ((result & 0xff) != SQLITE_BUSY)
            return SQLITE_OK; /* other failures come again with what is to be done */
    }
    return result;
}

int database_open_history(const char *path, sqlite3 **db, char **message)
{
    bool fresh = access(path, F_OK) != 0;
    int error = fresh ? make_file(path) : 0;

    *db = NULL;
    if (error) {
        *message = g_strdup_printf("cannot make %s: %s", path, g_strerror(-error));
        return error;
    }
    int result = open_file(path, db);
    if (result != SQLITE_OK)
        return fail(db, result, path, message);
    g_autofree char *tables = file_ask(*db, "SELECT count(*) FROM sqlite_master");
    if (g_strcmp0(tables, "0") == 0)
        result = make(*db);
    if (result == SQLITE_OK && !is_ours(*db))
        result = sqlite3_errcode(*db) == SQLITE_ROW || sqlite3_errcode(*db) == SQLITE_DONE ||
                         sqlite3_errcode(*db) == SQLITE_OK
                     ? SQLITE_NOTADB
                     : sqlite3_extended_errcode(*db);
    if (result == SQLITE_OK)
        result = sqlite3_exec(
            *db, "PRAGMA journal_mode=WAL; PRAGMA synchronous=FULL; PRAGMA wal_autocheckpoint=0",
            NULL, NULL, NULL);
    return result == SQLITE_OK ? 0 : fail(db, result, path, message);
}

void database_fold_log(sqlite3 *db)
{
    sqlite3_busy_timeout(db, 0);
    sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    sqlite3_busy_timeout(db, BUSY_MILLISECONDS);
}

int database_set_aside(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm"};
    int error = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *from = g_strconcat(path, suffixes[i], NULL);
        g_autofree char *to = g_strconcat(path, ".damaged", suffixes[i], NULL);
        if (unlink(to) < 0 && errno != ENOENT)
            error = -errno;
        if (rename(from, to) < 0 && errno != ENOENT)
            error = -errno;
    }
    return error;
}

uint64_t database_bytes(sqlite3 *db)
{
    static const char *const sql[] = {"PRAGMA page_count", "PRAGMA freelist_count",
                                      "PRAGMA page_size"};
    uint64_t numbers[G_N_ELEMENTS(sql)];

    for (size_t i = 0; i < G_N_ELEMENTS(sql); i++) {
        g_autofree char *text = file_ask(db, sql[i]);
        numbers[i] = text ? g_ascii_strtoull(text, NULL, 10) : 0;
    }
    return (numbers[0] - MIN(numbers[0], numbers[1])) * numbers[2];
}

int64_t database_get_number(sqlite3 *db, const char *key)
{
    sqlite3_stmt *statement;
    int64_t value = 0;

    if (sqlite3_prepare_v2(db, "SELECT value FROM meta WHERE key = ?1", -1, &statement, NULL) !=
        SQLITE_OK)
        return 0;
    sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    if (sqlite3_step(statement) == SQLITE_ROW)
        value = sqlite3_column_int64(statement, 0);
    sqlite3_finalize(statement);
    return value;
}

int database_set_number(sqlite3 *db, const char *key, int64_t value)
{
    sqlite3_stmt *statement;
    int result =
        sqlite3_prepare_v2(db, "INSERT OR REPLACE INTO meta VALUES (?1, ?2)", -1, &statement, NULL);

    if (result != SQLITE_OK)
        return result;
    sqlite3_bind_text(statement, 1, key, -1, SQLITE_STATIC);
    sqlite3_bind_int64(statement, 2, value);
    sqlite3_step(statement);
    return sqlite3_finalize(statement);
}
