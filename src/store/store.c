/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.db: load, commit, checkpoint. */
#include "store/store.h"

#include <errno.h>
#include <glib.h>
#include <pthread.h>
#include <sqlite3.h>
#include <string.h>
#include <sys/stat.h>

#include "base/log.h"
#include "base/util.h"
#include "store/check.h"
#include "store/file.h"
#include "store/loader.h"

#define BUSY_TIMEOUT_DEFAULT 10000u
/* Bytes that the log may keep on disk when it starts anew. */
#define LOG_SIZE_KEPT (16 * 1024 * 1024)
/* Problems that a refusal names; `pmxcfsctl db check` lists them all. */
#define PROBLEMS_NAMED 3

struct store {
    char *path;
    sqlite3 *db;         /* the writer's connection */
    sqlite3 *checkpoint; /* a second one: a checkpoint on the first would hold it for its syncs */
    sqlite3_stmt *begin;
    sqlite3_stmt *put;
    sqlite3_stmt *remove;
    sqlite3_stmt *commit;
    sqlite3_stmt *rollback;
    pthread_mutex_t commit_lock; /* held by a commit, and by a checkpoint that must finish */
    struct store_listener *listener;
    bool failing; /* the last commit failed */
    char error[256];
};

/* ---- Opening ---- */

/* Collects what a load refuses into the one line that the administrator gets. */
struct refusal {
    struct store_checker checker;
    GString *text;
    unsigned int count;
};

static void add_finding(struct store_checker *checker, const struct store_finding *finding)
{
    struct refusal *refusal = container_of(checker, struct refusal, checker);

    if (finding->severity == STORE_WARNING) {
        log_warning("database: %s%s%s", finding->text, finding->remedy ? ": " : "",
                    finding->remedy ? finding->remedy : "");
        return;
    }
    if (refusal->count++ >= PROBLEMS_NAMED)
        return;
    g_string_append_printf(refusal->text, "%s%s", refusal->count > 1 ? "; " : "", finding->text);
    if (finding->path)
        g_string_append_printf(refusal->text, " (%s)", finding->path);
    if (finding->remedy)
        g_string_append_printf(refusal->text, " [%s]", finding->remedy);
}

static char *refusal_message(const struct refusal *refusal, const char *path, int error)
{
    GString *message = g_string_new(NULL);

    g_string_printf(message, "cannot load %s: %s", path, refusal->text->str);
    if (refusal->count > PROBLEMS_NAMED)
        g_string_append_printf(message, "; and %u more", refusal->count - PROBLEMS_NAMED);
    if (error == -EBADMSG)
        g_string_append(message, ". The file was left as it was: repair it with sqlite3 (keep a "
                                 "copy) or restore a backup");
    return g_string_free(message, FALSE);
}

/* Reads all that is in the file without leaving a trace on it. */
static int load(const char *path, const struct store_options *options, struct tree **tree,
                char **message)
{
    struct refusal refusal = {.checker.found = add_finding};
    sqlite3 *db;
    int error = file_open_untouched(path, options->vfs, options->busy_timeout, &db, message);

    if (error)
        return error;
    refusal.text = g_string_new(NULL);
    error = store_check_connection(db, &refusal.checker, tree);
    if (error)
        *message = refusal_message(&refusal, path, error);
    g_string_free(refusal.text, TRUE);
    sqlite3_close(db);
    return error;
}

static int committed(void *pointer, sqlite3 *db, const char *schema, int pages)
{
    struct store *store = pointer;

    (void)db;
    (void)schema;
    if (store->listener)
        store->listener->committed(store->listener, pages > 0 ? (unsigned int)pages : 0);
    return SQLITE_OK;
}

static int prepare_statements(struct store *store)
{
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } list[] = {
        {&store->begin, "BEGIN IMMEDIATE"},
        {&store->put, "INSERT OR REPLACE INTO tree (inode, parent, version, writer, mtime, type, "
                      "name, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
        {&store->remove, "DELETE FROM tree WHERE inode = ?1"},
        {&store->commit, "COMMIT"},
        {&store->rollback, "ROLLBACK"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(list); i++) {
        int result = sqlite3_prepare_v3(store->db, list[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                                        list[i].statement, NULL);
        if (result != SQLITE_OK)
            return result;
    }
    return SQLITE_OK;
}

/* Opens both connections. The log is truncated to a bearable size when it starts anew. */
static int open_connections(struct store *store, const struct store_options *options,
                            char **message)
{
    g_autofree char *limit = g_strdup_printf("PRAGMA journal_size_limit=%d", LOG_SIZE_KEPT);
    bool full = options->durability == STORE_FULL;
    int error = file_open_writable(store->path, options->vfs, options->busy_timeout, full,
                                   &store->db, message);

    if (!error)
        error = file_open_writable(store->path, options->vfs, 0, full, &store->checkpoint, message);
    if (error)
        return error;
    sqlite3_exec(store->db, limit, NULL, NULL, NULL);
    sqlite3_wal_hook(store->db, committed, store);
    int result = prepare_statements(store);
    if (result != SQLITE_OK)
        *message =
            g_strdup_printf("cannot write to %s: %s", store->path, sqlite3_errmsg(store->db));
    return file_errno(store->db, result);
}

/* Has nobody else written since the load? */
static int check_unchanged(struct store *store, const struct root *root, char **message)
{
    sqlite3_stmt *row = NULL;
    struct root now = {.version = 1};

    int result = sqlite3_prepare_v2(
        store->db, "SELECT version, writer, mtime FROM tree WHERE inode = 0", -1, &row, NULL);
    if (result == SQLITE_OK && (result = sqlite3_step(row)) == SQLITE_ROW) {
        now.version = (uint64_t)sqlite3_column_int64(row, 0);
        now.writer = (uint32_t)sqlite3_column_int64(row, 1);
        now.mtime = (uint32_t)sqlite3_column_int64(row, 2);
    }
    sqlite3_finalize(row);
    if (result != SQLITE_ROW && result != SQLITE_DONE) {
        *message = g_strdup_printf("cannot read %s: %s", store->path, sqlite3_errmsg(store->db));
        return file_errno(store->db, result);
    }
    if (now.version == root->version && now.writer == root->writer && now.mtime == root->mtime)
        return 0;
    *message = g_strdup_printf("%s was changed by another program at this moment", store->path);
    return -EBUSY;
}

static struct store *store_new(const char *path)
{
    struct store *store = g_new0(struct store, 1);

    store->path = g_strdup(path);
    pthread_mutex_init(&store->commit_lock, NULL);
    return store;
}

/* Keys and passwords are in there: others than root have no business with it. */
static void make_private(const char *path)
{
    struct stat info;

    if (stat(path, &info) == 0 && (info.st_mode & 0777) != 0600 && chmod(path, 0600) < 0)
        log_warning("cannot make %s private: %s", path, g_strerror(errno));
}

int store_open(const char *given_path, const struct store_options *given, struct store **store,
               struct tree **tree, char **message)
{
    struct store_options options = given ? *given : (struct store_options){0};
    g_autofree char *path = file_resolve(given_path, options.vfs);

    *store = NULL;
    *tree = NULL;
    *message = NULL;
    if (options.busy_timeout == 0)
        options.busy_timeout = BUSY_TIMEOUT_DEFAULT;
    int error = file_probe(path, options.vfs, message);
    if (error == -ENOENT)
        error = file_create(path, options.vfs, message);
    if (!error)
        error = load(path, &options, tree, message);
    if (error)
        return error;
    if (!options.vfs)
        make_private(path);
    *store = store_new(path);
    error = open_connections(*store, &options, message);
    if (!error)
        error = check_unchanged(*store, &(*tree)->root, message);
    if (error) {
        store_close(*store);
        tree_free(*tree);
        *store = NULL;
        *tree = NULL;
    }
    return error;
}

int store_create(const char *path, char **message)
{
    *message = NULL;
    int error = file_probe(path, NULL, message);

    if (error == -ENOENT)
        return file_create(path, NULL, message);
    if (!error) {
        *message = g_strdup_printf("%s is there already", path);
        error = -EEXIST;
    }
    return error;
}

/* ---- Commit ---- */

/* Runs a prepared statement to its end and makes it ready for the next time. */
static int run(sqlite3_stmt *statement)
{
    sqlite3_step(statement);
    return sqlite3_reset(statement);
}

static int put_root(struct store *store, const struct root *root)
{
    sqlite3_stmt *put = store->put;

    sqlite3_bind_int64(put, 1, 0);
    sqlite3_bind_int64(put, 2, 0);
    sqlite3_bind_int64(put, 3, (int64_t)root->version);
    sqlite3_bind_int64(put, 4, root->writer);
    sqlite3_bind_int64(put, 5, root->mtime);
    sqlite3_bind_int64(put, 6, ENTRY_FILE);
    sqlite3_bind_text(put, 7, ROOT_NAME, -1, SQLITE_STATIC);
    sqlite3_bind_null(put, 8);
    return run(put);
}

static int put_entry(struct store *store, const struct entry *entry)
{
    sqlite3_stmt *put = store->put;

    sqlite3_bind_int64(put, 1, (int64_t)entry->inode);
    sqlite3_bind_int64(put, 2, (int64_t)entry->parent);
    sqlite3_bind_int64(put, 3, (int64_t)entry->version);
    sqlite3_bind_int64(put, 4, entry->writer);
    sqlite3_bind_int64(put, 5, entry->mtime);
    sqlite3_bind_int64(put, 6, entry->type);
    sqlite3_bind_text(put, 7, entry->name, entry->name_length, SQLITE_STATIC);
    if (entry->content && entry->size > 0)
        sqlite3_bind_blob64(put, 8, entry->content->data, entry->size, SQLITE_STATIC);
    else
        sqlite3_bind_null(put, 8);
    int result = run(put);
    /* The statement must not point to bytes that their owner frees. */
    sqlite3_clear_bindings(put);
    return result;
}

static int put_or_remove(struct store *store, uint64_t inode, const struct entry *entry)
{
    if (entry)
        return put_entry(store, entry);
    sqlite3_bind_int64(store->remove, 1, (int64_t)inode);
    return run(store->remove);
}

static int compare_keys(gconstpointer a, gconstpointer b)
{
    uintptr_t first = *(const uintptr_t *)a;
    uintptr_t second = *(const uintptr_t *)b;

    return (first > second) - (first < second);
}

/* Row by row in inode order, so that each page of the table is visited once. */
static int write_rows(struct store *store, const struct draft *draft)
{
    g_autoptr(GPtrArray) inodes = g_ptr_array_new();
    GHashTableIter iter;
    gpointer inode;
    int result = SQLITE_OK;

    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, &inode, NULL))
        g_ptr_array_add(inodes, inode);
    if (inodes->len > 1)
        g_ptr_array_sort(inodes, compare_keys);
    for (guint i = 0; i < inodes->len && result == SQLITE_OK; i++)
        result = put_or_remove(store, (uintptr_t)inodes->pdata[i],
                               g_hash_table_lookup(draft->entries, inodes->pdata[i]));
    if (result == SQLITE_OK)
        result = put_root(store, &draft->root);
    return result;
}

/* One attempt. On a failure the reason is kept and the transaction undone. */
static int write_transaction(struct store *store, const struct draft *draft)
{
    int result = run(store->begin);

    if (result == SQLITE_OK)
        result = write_rows(store, draft);
    if (result == SQLITE_OK)
        result = run(store->commit);
    if (result == SQLITE_OK)
        return 0;
    int error = file_errno(store->db, result);
    g_snprintf(store->error, sizeof(store->error), "%s", sqlite3_errmsg(store->db));
    if (!sqlite3_get_autocommit(store->db))
        run(store->rollback);
    return error;
}

/* Says it once when it begins and once when it is over, however many changes come meanwhile. */
static void log_outcome(struct store *store, int error)
{
    if (error && !store->failing)
        log_error("cannot write to %s: %s", store->path, store->error);
    else if (!error && store->failing)
        log_info("%s takes writes again", store->path);
    store->failing = error != 0;
}

int store_commit(struct store *store, const struct draft *draft)
{
    pthread_mutex_lock(&store->commit_lock);
    int error = write_transaction(store, draft);
    /* A log that is folded into the database starts anew within the room that it has: a full disk
     * need not keep anyone from deleting. */
    if (error == -ENOSPC && sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_PASSIVE,
                                                      NULL, NULL) == SQLITE_OK)
        error = write_transaction(store, draft);
    pthread_mutex_unlock(&store->commit_lock);
    log_outcome(store, error);
    return error == 0 || error == -ENOSPC ? error : -EIO;
}

const char *store_error(const struct store *store)
{
    return store->error;
}

/* ---- The log ---- */

void store_set_listener(struct store *store, struct store_listener *listener)
{
    store->listener = listener;
}

int store_checkpoint(struct store *store, bool finish, unsigned int *remaining)
{
    int pages = 0;
    int moved = 0;

    if (finish)
        pthread_mutex_lock(&store->commit_lock);
    int result = sqlite3_wal_checkpoint_v2(
        store->checkpoint, NULL, finish ? SQLITE_CHECKPOINT_FULL : SQLITE_CHECKPOINT_PASSIVE,
        &pages, &moved);
    if (finish)
        pthread_mutex_unlock(&store->commit_lock);
    if (remaining)
        *remaining = pages > moved ? (unsigned int)(pages - moved) : 0;
    return file_errno(store->checkpoint, result);
}

void store_close(struct store *store)
{
    if (!store)
        return;
    sqlite3_finalize(store->begin);
    sqlite3_finalize(store->put);
    sqlite3_finalize(store->remove);
    sqlite3_finalize(store->commit);
    sqlite3_finalize(store->rollback);
    sqlite3_close(store->checkpoint);
    /* Closing the last connection does this too, but tells nobody whether it went well. */
    if (store->db) {
        int result =
            sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (result != SQLITE_OK)
            log_warning("the log of %s stays beside it until the next start: %s", store->path,
                        sqlite3_errmsg(store->db));
        sqlite3_close(store->db);
    }
    pthread_mutex_destroy(&store->commit_lock);
    g_free(store->path);
    g_free(store);
}
