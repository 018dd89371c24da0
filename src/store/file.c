/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How config.db is opened: to look at it without a trace, to write, and for the first time. */
#include "store/file.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/log.h"
#include "journal/quarantine.h"

/* Byte for byte what deployed nodes have in their files. */
const char file_schema[] = "CREATE TABLE IF NOT EXISTS tree ("
                           "  inode INTEGER PRIMARY KEY NOT NULL,"
                           "  parent INTEGER NOT NULL CHECK(typeof(parent)=='integer'),"
                           "  version INTEGER NOT NULL CHECK(typeof(version)=='integer'),"
                           "  writer INTEGER NOT NULL CHECK(typeof(writer)=='integer'),"
                           "  mtime INTEGER NOT NULL CHECK(typeof(mtime)=='integer'),"
                           "  type INTEGER NOT NULL CHECK(typeof(type)=='integer'),"
                           "  name TEXT NOT NULL,"
                           "  data BLOB);";

/* Pages that a connection keeps: contents are in memory already, so the inner pages will do. A load
 * visits each page once. */
#define CACHE_PAGES 256
#define CACHE_PAGES_LOAD 32
/* SQLite's smallest page: no database has less bytes. */
#define PAGE_SIZE_MIN 512

int file_errno(sqlite3 *db, int result)
{
    switch (result & 0xff) {
    case SQLITE_OK:
    case SQLITE_ROW:
    case SQLITE_DONE:
        return 0;
    case SQLITE_FULL:
        return -ENOSPC;
    case SQLITE_NOTADB:
    case SQLITE_CORRUPT:
        return -EBADMSG;
    case SQLITE_BUSY:
    case SQLITE_LOCKED:
        return -EBUSY;
    case SQLITE_NOMEM:
        return -ENOMEM;
    case SQLITE_READONLY:
        return -EROFS;
    case SQLITE_IOERR:
    case SQLITE_CANTOPEN: {
        int cause = sqlite3_system_errno(db);
        return cause == ENOSPC || cause == EDQUOT ? -ENOSPC : -EIO;
    }
    default:
        return -EIO;
    }
}

/* Closes and frees a connection that could not be used, saying why. */
static int give_up(sqlite3 *db, int result, const char *path, const char *what, char **message)
{
    int error = file_errno(db, result);
    int cause = sqlite3_system_errno(db);
    /* Some results are our own findings, of which the connection knows nothing. */
    const char *reason =
        sqlite3_errcode(db) == SQLITE_OK ? sqlite3_errstr(result) : sqlite3_errmsg(db);

    *message = g_strdup_printf("cannot %s %s: %s%s%s%s", what, path, reason, cause ? " (" : "",
                               cause ? g_strerror(cause) : "", cause ? ")" : "");
    sqlite3_close(db);
    return error;
}

static bool exists(const char *path, const char *suffix, const char *vfs_name)
{
    g_autofree char *name = g_strconcat(path, suffix, NULL);
    sqlite3_vfs *vfs = vfs_name ? sqlite3_vfs_find(vfs_name) : NULL;
    struct stat info;
    int there = 0;

    if (vfs)
        return vfs->xAccess(vfs, name, SQLITE_ACCESS_EXISTS, &there) == SQLITE_OK && there;
    return lstat(name, &info) == 0;
}

/* A WAL or rollback journal without its database would be played back into whatever gets the
 * database's name next. */
static int probe_absent(const char *path, const char *vfs, char **message)
{
    const char *suffix = exists(path, "-wal", vfs)       ? "-wal"
                         : exists(path, "-journal", vfs) ? "-journal"
                                                         : NULL;

    if (!suffix)
        return -ENOENT;
    *message =
        g_strdup_printf("%s is missing, but %s%s, which holds changes to it, is there: put the "
                        "database back, or move that file away to begin with an empty one",
                        path, path, suffix);
    return -EBADMSG;
}

/* 0 if it is not there, or empty. */
static int quarantine_orphan(const char *path, const char *suffix, const char *word, char **message)
{
    g_autofree char *orphan = g_strconcat(path, suffix, NULL);
    g_autofree char *name = NULL;
    struct stat info;

    /* SQLite's are refused empty too. */
    if (lstat(orphan, &info) < 0 || (info.st_size == 0 && strcmp(suffix, ".journal") == 0))
        return 0;
    int error = quarantine_move(orphan, word, &name);
    if (error)
        *message = g_strdup_printf("%s is missing, and %s, which holds changes to it, cannot be "
                                   "renamed: %s",
                                   path, orphan, g_strerror(-error));
    else
        log_warning(
            "%s is missing, and %s was left beside it: that is now %s, and this node begins "
            "with an empty database; if the database is missing by mistake, stop pmxcfs and "
            "put all of them back",
            path, orphan, name);
    return error;
}

/* Whoever takes the database away without what lies beside it, as 'pvecm add' does, wants a new
 * one. */
int file_quarantine_orphans(const char *path, char **message)
{
    g_autofree char *index = g_strconcat(path, "-shm", NULL);
    int error;

    if (exists(path, "", NULL))
        return 0;
    error = quarantine_orphan(path, "-wal", "orphaned", message);
    if (!error)
        error = quarantine_orphan(path, "-journal", "orphaned", message);
    if (!error)
        error = quarantine_orphan(path, ".journal", "overtaken", message);
    if (!error)
        unlink(index);
    return error;
}

char *file_resolve(const char *path, const char *vfs)
{
    char *real = vfs ? NULL : realpath(path, NULL);
    char *copy = g_strdup(real ? real : path);

    free(real);
    return copy;
}

int file_probe(const char *path, const char *vfs, char **message)
{
    struct stat info;

    if (vfs)
        return exists(path, "", vfs) ? 0 : probe_absent(path, vfs, message);
    if (stat(path, &info) < 0) {
        int error = -errno;
        if (error == -ENOENT)
            return probe_absent(path, vfs, message);
        *message = g_strdup_printf("cannot look at %s: %s", path, g_strerror(-error));
        return error;
    }
    if (!S_ISREG(info.st_mode)) {
        *message = g_strdup_printf("%s is not a regular file", path);
        return -EBADMSG;
    }
    /* SQLite takes an empty file, and one of a single byte, for a new database. */
    if (info.st_size < PAGE_SIZE_MIN) {
        *message =
            g_strdup_printf("%s is no database, with a size of %d bytes: restore a backup, or "
                            "remove it to begin with an empty database",
                            path, (int)info.st_size);
        return -EBADMSG;
    }
    return 0;
}

int file_require_present(const char *path, const char *vfs, char **message)
{
    int error = file_probe(path, vfs, message);

    if (error == -ENOENT)
        *message = g_strdup_printf("there is no %s", path);
    return error;
}

/* sqlite3_open_v2() with what all our connections have in common. */
static int open_connection(const char *name, int flags, const char *vfs, unsigned int busy_timeout,
                           sqlite3 **db)
{
    int result =
        sqlite3_open_v2(name, db, flags | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, vfs);

    if (result != SQLITE_OK)
        return result;
    sqlite3_busy_timeout(*db, (int)MIN(busy_timeout, (unsigned int)G_MAXINT));
    /* A database from anywhere must not run code of its own. */
    sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    return SQLITE_OK;
}

/* Nobody has the file open in WAL mode when there is no WAL beside it, so it stands still and is
 * all there is. A connection without the immutable flag would make one to read it. */
static int open_immutable(const char *path, const char *vfs, sqlite3 **db)
{
    g_autofree char *escaped = g_uri_escape_string(path, "/", FALSE);
    g_autofree char *uri = g_strconcat("file:", escaped, "?immutable=1", NULL);

    return open_connection(uri, SQLITE_OPEN_READONLY | SQLITE_OPEN_URI, vfs, 0, db);
}

/* With the whole file locked the WAL's index is kept in memory, not in a file; and the WAL is not
 * checkpointed at the end. Only reading is left. */
static int open_exclusive(const char *path, const char *vfs, sqlite3 **db)
{
    int result = open_connection(path, SQLITE_OPEN_READWRITE, vfs, 0, db);

    if (result != SQLITE_OK)
        return result;
    sqlite3_db_config(*db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 1, NULL);
    return sqlite3_exec(*db, "PRAGMA query_only=ON; PRAGMA locking_mode=EXCLUSIVE", NULL, NULL,
                        NULL);
}

/* As open_exclusive(), or, when somebody has it open (if only an idle sqlite3), as one more reader
 * of his WAL. */
static int open_beside(const char *path, const char *vfs, unsigned int busy_timeout, sqlite3 **db)
{
    int result = open_exclusive(path, vfs, db);

    if (result == SQLITE_OK)
        result = sqlite3_exec(*db, "SELECT 1 FROM sqlite_master", NULL, NULL, NULL);
    if ((result & 0xff) != SQLITE_BUSY && (result & 0xff) != SQLITE_IOERR)
        return *db ? SQLITE_OK : result; /* other failures come again at the next read */
    sqlite3_close(*db);
    return open_connection(path, SQLITE_OPEN_READONLY, vfs, busy_timeout, db);
}

/* This reads the schema: if it cannot, the first real read says so, and waits if that may help. */
static void shrink_cache(sqlite3 *db, unsigned int busy_timeout)
{
    sqlite3_busy_timeout(db, 0);
    sqlite3_exec(db, "PRAGMA cache_size=" G_STRINGIFY(CACHE_PAGES_LOAD), NULL, NULL, NULL);
    sqlite3_busy_timeout(db, (int)busy_timeout);
}

char *file_ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *statement;
    char *answer = NULL;

    if (sqlite3_prepare_v2(db, sql, -1, &statement, NULL) == SQLITE_OK &&
        sqlite3_step(statement) == SQLITE_ROW)
        answer = g_strdup((const char *)sqlite3_column_text(statement, 0));
    sqlite3_finalize(statement);
    return answer;
}

/* SQLite takes a last page that is cut off for one that ends in zeros. */
static int check_length(sqlite3 *db, const char *path, char **message)
{
    g_autofree char *count = file_ask(db, "PRAGMA page_count");
    g_autofree char *size = file_ask(db, "PRAGMA page_size");
    struct stat info;

    /* What is no database is for the first real read to say. */
    if (!count || !size || stat(path, &info) < 0)
        return 0;
    gint64 wanted = g_ascii_strtoll(count, NULL, 10) * g_ascii_strtoll(size, NULL, 10);
    if (info.st_size >= wanted)
        return 0;
    *message = g_strdup_printf("%s is truncated: it has %" G_GINT64_FORMAT
                               " bytes and should have %" G_GINT64_FORMAT
                               ". The file was left as it was: restore a backup",
                               path, (gint64)info.st_size, wanted);
    return -EBADMSG;
}

/* As file_open_untouched(), with *checkable if it stands still and is all there is. */
static int open_to_read(const char *path, const char *vfs, unsigned int busy_timeout, sqlite3 **db,
                        bool *checkable, char **message)
{
    bool wal = exists(path, "-wal", vfs);
    bool rollback = !wal && exists(path, "-journal", vfs);
    int result;

    *db = NULL;
    *checkable = !wal && !rollback && !vfs;
    if (wal)
        result = open_beside(path, vfs, busy_timeout, db);
    else if (rollback)
        result = open_connection(path, SQLITE_OPEN_READWRITE, vfs, busy_timeout, db);
    else
        result = open_immutable(path, vfs, db);
    if (result != SQLITE_OK) {
        result = give_up(*db, result, path, "open", message);
        *db = NULL;
        return result;
    }
    shrink_cache(*db, busy_timeout);
    return 0;
}

int file_open_untouched(const char *path, const char *vfs, unsigned int busy_timeout, sqlite3 **db,
                        char **message)
{
    bool checkable;
    int error = open_to_read(path, vfs, busy_timeout, db, &checkable, message);

    if (!error && checkable)
        error = check_length(*db, path, message);
    if (error) {
        sqlite3_close(*db);
        *db = NULL;
    }
    return error;
}

/* A file whose last page is cut off, without that page, in memory: SQLite would take the missing
 * bytes for zeros. NULL in *db: it has whole pages only, or is none of SQLite's. */
static int open_whole_pages(const char *path, sqlite3 **db, char **message)
{
    g_autoptr(GError) problem = NULL;
    char *content = NULL;
    gsize size;

    *db = NULL;
    if (!g_file_get_contents(path, &content, &size, &problem)) {
        *message = g_strdup(problem->message);
        return -EIO;
    }
    gsize page_size = size >= PAGE_SIZE_MIN
                          ? (gsize)((unsigned char)content[16] << 8 | (unsigned char)content[17])
                          : 0;
    page_size = page_size == 1 ? 65536 : page_size;
    if (page_size < PAGE_SIZE_MIN || size % page_size == 0 || size < page_size) {
        g_free(content);
        return 0;
    }
    size -= size % page_size;
    unsigned char *pages = sqlite3_malloc64(size);
    if (pages) {
        memcpy(pages, content, size);
        /* No WAL can be beside it. */
        pages[18] = pages[19] = 1;
    }
    g_free(content);
    int result =
        pages ? open_connection(":memory:", SQLITE_OPEN_READWRITE, NULL, 0, db) : SQLITE_NOMEM;
    if (result == SQLITE_OK)
        result = sqlite3_deserialize(*db, "main", pages, (sqlite3_int64)size, (sqlite3_int64)size,
                                     SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY);
    else
        sqlite3_free(pages);
    if (result == SQLITE_OK)
        return 0;
    result = give_up(*db, result, path, "open", message);
    *db = NULL;
    return result;
}

int file_open_damaged(const char *path, sqlite3 **db, char **message)
{
    bool alone = !exists(path, "-wal", NULL) && !exists(path, "-journal", NULL);
    int error = 0;

    *db = NULL;
    if (alone)
        error = open_whole_pages(path, db, message);
    if (!error && !*db)
        error = open_to_read(path, NULL, 0, db, &alone, message);
    if (error)
        return error;
    /* SQLite's way to say: read on where the schema or the length of the file is not right. */
    sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    sqlite3_exec(*db, "PRAGMA writable_schema=ON", NULL, NULL, NULL);
    return 0;
}

/* Settings of a connection that commits or checkpoints. Freed pages are not overwritten with zeros
 * (secure_delete, which some distributions switch on, doubles what a replaced file costs). */
static int configure(sqlite3 *db, const char *vfs, bool full)
{
    g_autofree char *journal = file_ask(db, "PRAGMA journal_mode=WAL");
    g_autofree char *settings = g_strdup_printf("PRAGMA synchronous=%s;"
                                                "PRAGMA secure_delete=FAST;"
                                                "PRAGMA cache_size=%d;",
                                                full ? "FULL" : "NORMAL", CACHE_PAGES);

    if (!journal)
        return sqlite3_errcode(db);
    if (strcmp(journal, "wal") != 0 && !vfs)
        return SQLITE_BUSY;
    sqlite3_wal_autocheckpoint(db, 0); /* the store says when */
    return sqlite3_exec(db, settings, NULL, NULL, NULL);
}

int file_open_writable(const char *path, const char *vfs, unsigned int busy_timeout, bool full,
                       sqlite3 **db, char **message)
{
    *db = NULL;
    int result = open_connection(path, SQLITE_OPEN_READWRITE, vfs, busy_timeout, db);

    if (result == SQLITE_OK && sqlite3_db_readonly(*db, "main"))
        result = SQLITE_READONLY;
    if (result == SQLITE_OK)
        result = configure(*db, vfs, full);
    if (result == SQLITE_OK)
        result = sqlite3_exec(*db, file_schema, NULL, NULL, NULL);
    if (result == SQLITE_OK)
        return 0;
    result = give_up(*db, result, path, "write to", message);
    *db = NULL;
    return result;
}

void file_remove(const char *path)
{
    static const char *const suffixes[] = {"", "-wal", "-shm", "-journal", ".journal"};

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *name = g_strconcat(path, suffixes[i], NULL);
        unlink(name);
    }
}

int file_require_alone(const char *path, char **message)
{
    static const char *const suffixes[] = {"-wal", "-journal", ".journal"};
    struct stat info;

    for (size_t i = 0; i < G_N_ELEMENTS(suffixes); i++) {
        g_autofree char *name = g_strconcat(path, suffixes[i], NULL);
        if (lstat(name, &info) < 0 || info.st_size == 0)
            continue;
        *message = g_strdup_printf("%s is there, which holds changes to another database that has "
                                   "or had the name %s, and would be played into the new one: "
                                   "move it to where that database is now, or remove it",
                                   name, path);
        return -EEXIST;
    }
    return 0;
}

int file_require_absent(const char *path, char **message)
{
    if (!exists(path, "", NULL))
        return file_require_alone(path, message);
    *message = g_strdup_printf("%s is there already: name a file that is not", path);
    return -EEXIST;
}

int file_make_private(const char *path, char **message)
{
    file_remove(path);
    int file = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);

    if (file >= 0 && close(file) == 0)
        return 0;
    int error = -errno;
    *message = g_strdup_printf("cannot create %s: %s", path, g_strerror(-error));
    return error;
}

int file_rename(const char *from, const char *to, char **message)
{
    int error = rename(from, to) < 0 ? -errno : directory_sync(to);

    if (error)
        *message = g_strdup_printf("cannot create %s: %s", to, g_strerror(-error));
    return error;
}

/* Makes the table in a file that is empty, or, with a file layer of another kind, not there yet. */
static int fill_new(const char *path, const char *vfs, char **message)
{
    sqlite3 *db = NULL;
    int result = open_connection(path, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, vfs, 0, &db);

    if (result == SQLITE_OK)
        result = sqlite3_exec(db, "PRAGMA page_size=4096", NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = configure(db, vfs, true);
    if (result == SQLITE_OK)
        result = sqlite3_exec(db, file_schema, NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = sqlite3_wal_checkpoint_v2(db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
    if (result != SQLITE_OK)
        return give_up(db, result, path, "create", message);
    sqlite3_close(db);
    return 0;
}

int file_create(const char *path, const char *vfs, char **message)
{
    if (vfs)
        return fill_new(path, vfs, message);
    g_autofree char *unfinished = g_strconcat(path, ".new", NULL);
    int error = file_make_private(unfinished, message);
    if (!error)
        error = fill_new(unfinished, NULL, message);
    if (!error)
        error = file_rename(unfinished, path, message);
    if (error)
        file_remove(unfinished);
    return error;
}
