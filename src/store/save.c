/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A new database that holds a tree, and how large one is. */
#include <errno.h>
#include <glib.h>
#include <sys/stat.h>

#include "core/state.h"
#include "store/check.h"
#include "store/file.h"
#include "store/store.h"

static int write_tree(const struct tree *tree, const char *path, char **message)
{
    const struct store_options options = {.durability = STORE_FULL};
    g_autoptr(GPtrArray) entries = tree_sorted(tree);
    struct state *empty = state_new(tree_new(), 0);
    struct draft *draft = draft_new(empty);
    struct store *store = NULL;
    struct tree *loaded = NULL;

    for (guint i = 0; i < entries->len; i++)
        draft_put(draft, entry_ref(entries->pdata[i]));
    draft->root = tree->root;
    int error = store_open(path, &options, &store, &loaded, message);
    if (!error) {
        error = store_commit(store, draft);
        if (error)
            *message = g_strdup_printf("cannot write to %s: %s", path, store_error(store));
    }
    store_close(store);
    tree_free(loaded);
    draft_free(draft);
    state_free(empty);
    return error;
}

static void ignore(struct store_checker *checker, const struct store_finding *finding)
{
    (void)checker;
    (void)finding;
}

int store_save(const struct tree *tree, const char *path, char **message)
{
    struct store_checker checker = {.found = ignore};
    g_autofree char *unfinished = g_strconcat(path, ".unfinished", NULL);

    *message = NULL;
    int error = file_require_absent(path, message);
    if (error)
        return error;
    file_remove(unfinished);
    error = write_tree(tree, unfinished, message);
    if (!error) {
        error = store_check(unfinished, NULL, &checker);
        if (error)
            *message = g_strdup_printf("what was written to %s does not load", unfinished);
    }
    if (!error)
        error = file_rename(unfinished, path, message);
    if (error)
        file_remove(unfinished);
    return error;
}

static uint64_t size_of(const char *path, const char *suffix)
{
    g_autofree char *name = g_strconcat(path, suffix, NULL);
    struct stat info;

    return stat(name, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static uint32_t ask(sqlite3 *db, const char *sql)
{
    sqlite3_stmt *row = NULL;
    uint32_t answer = 0;

    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) == SQLITE_OK && sqlite3_step(row) == SQLITE_ROW)
        answer = (uint32_t)sqlite3_column_int64(row, 0);
    sqlite3_finalize(row);
    return answer;
}

int store_measure(const char *given, struct store_sizes *sizes, char **message)
{
    g_autofree char *path = file_resolve(given, NULL);
    sqlite3 *db;

    *message = NULL;
    int error = file_open_untouched(path, NULL, 0, &db, message);
    if (error)
        return error;
    *sizes = (struct store_sizes){.file = size_of(path, ""),
                                  .log = size_of(path, "-wal"),
                                  .journal = size_of(path, ".journal"),
                                  .page_size = ask(db, "PRAGMA page_size"),
                                  .pages = ask(db, "PRAGMA page_count"),
                                  .free_pages = ask(db, "PRAGMA freelist_count")};
    sqlite3_close(db);
    return 0;
}
