/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Entries and row 0 into config.db, in one transaction. */
#include "store/transaction.h"

#include <assert.h>
#include <errno.h>

#include "store/file.h"

int transaction_prepare(struct transaction *transaction, sqlite3 *db, bool full)
{
    const struct {
        sqlite3_stmt **statement;
        const char *sql;
    } list[] = {
        {&transaction->begin, "BEGIN IMMEDIATE"},
        {&transaction->put, "INSERT OR REPLACE INTO tree (inode, parent, version, writer, mtime, "
                            "type, name, data) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)"},
        {&transaction->remove, "DELETE FROM tree WHERE inode = ?1"},
        {&transaction->commit, "COMMIT"},
        {&transaction->rollback, "ROLLBACK"},
    };

    transaction->db = db;
    transaction->full = full;
    for (size_t i = 0; i < G_N_ELEMENTS(list); i++) {
        int result = sqlite3_prepare_v3(db, list[i].sql, -1, SQLITE_PREPARE_PERSISTENT,
                                        list[i].statement, NULL);
        if (result != SQLITE_OK)
            return result;
    }
    return SQLITE_OK;
}

void transaction_finalize(struct transaction *transaction)
{
    sqlite3_finalize(transaction->begin);
    sqlite3_finalize(transaction->put);
    sqlite3_finalize(transaction->remove);
    sqlite3_finalize(transaction->commit);
    sqlite3_finalize(transaction->rollback);
}

/* Runs a prepared statement to its end and makes it ready for the next time. */
static int run(sqlite3_stmt *statement)
{
    sqlite3_step(statement);
    return sqlite3_reset(statement);
}

static int put_root(struct transaction *transaction, const struct root *root)
{
    sqlite3_stmt *put = transaction->put;

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

static int put_entry(struct transaction *transaction, const struct entry *entry)
{
    sqlite3_stmt *put = transaction->put;

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

static int put_or_remove(struct transaction *transaction, uint64_t inode, const struct entry *entry)
{
    if (entry)
        return put_entry(transaction, entry);
    sqlite3_bind_int64(transaction->remove, 1, (int64_t)inode);
    return run(transaction->remove);
}

static int compare_keys(gconstpointer a, gconstpointer b)
{
    uintptr_t first = *(const uintptr_t *)a;
    uintptr_t second = *(const uintptr_t *)b;

    return (first > second) - (first < second);
}

/* Row by row in inode order, so that each page of the table is visited once. */
static int write_rows(struct transaction *transaction, GHashTable *entries, const struct root *root)
{
    g_autoptr(GPtrArray) inodes = g_ptr_array_new();
    GHashTableIter iter;
    gpointer inode;
    int result = SQLITE_OK;

    g_hash_table_iter_init(&iter, entries);
    while (g_hash_table_iter_next(&iter, &inode, NULL))
        g_ptr_array_add(inodes, inode);
    if (inodes->len > 1)
        g_ptr_array_sort(inodes, compare_keys);
    for (guint i = 0; i < inodes->len && result == SQLITE_OK; i++)
        result = put_or_remove(transaction, (uintptr_t)inodes->pdata[i],
                               g_hash_table_lookup(entries, inodes->pdata[i]));
    if (result == SQLITE_OK)
        result = put_root(transaction, root);
    return result;
}

/* Between transactions only. */
static int set_synchronous(struct transaction *transaction, bool full)
{
    if (transaction->full == full)
        return SQLITE_OK;
    int result = sqlite3_exec(transaction->db,
                              full ? "PRAGMA synchronous=FULL" : "PRAGMA synchronous=NORMAL", NULL,
                              NULL, NULL);
    if (result == SQLITE_OK)
        transaction->full = full;
    return result;
}

static int attempt(struct transaction *transaction, GHashTable *entries, const struct root *root,
                   bool full)
{
    assert(sqlite3_get_autocommit(transaction->db)); /* none is open */
    int result = set_synchronous(transaction, full);

    if (result == SQLITE_OK)
        result = run(transaction->begin);
    if (result == SQLITE_OK)
        result = write_rows(transaction, entries, root);
    if (result == SQLITE_OK)
        result = run(transaction->commit);
    if (result == SQLITE_OK)
        return 0;
    int error = file_errno(transaction->db, result);
    g_snprintf(transaction->error, sizeof(transaction->error), "%s",
               sqlite3_errmsg(transaction->db));
    if (!sqlite3_get_autocommit(transaction->db))
        run(transaction->rollback);
    assert(sqlite3_get_autocommit(transaction->db));
    return error;
}

int transaction_checkpoint(struct transaction *transaction, bool *all)
{
    int pages = 0;
    int moved = 0;

    assert(sqlite3_get_autocommit(transaction->db)); /* none is open */
    int result =
        sqlite3_wal_checkpoint_v2(transaction->db, NULL, SQLITE_CHECKPOINT_PASSIVE, &pages, &moved);
    *all = result == SQLITE_OK && moved == pages;
    return file_errno(transaction->db, result);
}

int transaction_store(struct transaction *transaction, GHashTable *entries, const struct root *root,
                      bool full)
{
    int error = attempt(transaction, entries, root, full);
    bool all;

    /* A WAL whose pages are in the database starts anew within the room that it has: a full disk
     * need not keep anyone from deleting. */
    if (error == -ENOSPC && transaction_checkpoint(transaction, &all) == 0)
        error = attempt(transaction, entries, root, full);
    return error;
}
