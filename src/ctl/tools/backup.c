/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A copy of config.db at one moment, with what is in the journal, while a daemon may be writing. */
#include "ctl/tools/backup.h"

#include <glib.h>
#include <sqlite3.h>

#include "base/log.h"
#include "core/state.h"
#include "ctl/tools/snapshot.h"
#include "journal/replay.h"
#include "store/file.h"
#include "store/store.h"

#define BUSY_TIMEOUT 10000

/* All pages in one step: a commit in between would begin it anew. In WAL mode that holds up nobody.
 */
static int copy_pages(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");

    if (!backup)
        return sqlite3_extended_errcode(to);
    sqlite3_backup_step(backup, -1);
    return sqlite3_backup_finish(backup);
}

static int copy_to(sqlite3 *from, const char *path, const char *copy, char **message)
{
    sqlite3 *to = NULL;
    int result = sqlite3_open_v2(copy, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);

    if (result == SQLITE_OK)
        result = sqlite3_exec(to, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = copy_pages(from, to);
    int error = file_errno(to, result);
    if (error)
        *message = g_strdup_printf("cannot copy %s to %s: %s", path, copy, sqlite3_errstr(result));
    sqlite3_close(to);
    return error;
}

/* The pages, and the journal that goes with them. */
static int copy_both(const char *path, const char *copy, GByteArray **journal, char **message)
{
    sqlite3 *from = NULL;
    int result = sqlite3_open_v2(path, &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    int error = file_errno(from, result);

    if (error) {
        *message = g_strdup_printf("cannot open %s: %s", path, sqlite3_errstr(result));
    } else {
        sqlite3_busy_timeout(from, BUSY_TIMEOUT);
        error = snapshot_begin(from, path, journal, message);
    }
    if (!error)
        error = copy_to(from, path, copy, message);
    sqlite3_close(from);
    return error;
}

static int store_changes(struct store *store, struct tree *tree, const GByteArray *journal)
{
    struct state *state = state_new(tree, 0);
    struct draft *draft = draft_new(state);
    struct replay replay;

    replay_read(&replay, journal->data, journal->len);
    replay_decide(&replay, draft);
    int error = replay.outcome == REPLAY_CHANGES ? store_commit(store, draft) : 0;
    if (replay.keep)
        log_warning("the copy is without some of the journal: %s", replay.reason);
    replay_clear(&replay);
    draft_free(draft);
    state_free(state);
    return error;
}

/* As a start would, but the journal stays. */
static int bring_in(const char *copy, const GByteArray *journal, char **message)
{
    const struct store_options options = {.durability = STORE_FULL};
    struct store *store;
    struct tree *tree;

    if (snapshot_is_empty(journal))
        return 0;
    int error = store_open(copy, &options, &store, &tree, message);
    if (error)
        return error;
    error = store_changes(store, tree, journal);
    if (error)
        *message = g_strdup_printf("cannot write to %s: %s", copy, store_error(store));
    store_close(store);
    return error;
}

static int make_copy(const char *path, const char *copy, char **message)
{
    GByteArray *journal = NULL;

    int error = copy_both(path, copy, &journal, message);
    if (!error)
        error = bring_in(copy, journal, message);
    if (journal)
        g_byte_array_unref(journal);
    return error;
}

int tools_backup_possible(const char *copy, char **message)
{
    return file_require_alone(copy, message);
}

int tools_backup(const char *given, const char *copy, char **message)
{
    g_autofree char *path = file_resolve(given, NULL);
    g_autofree char *unfinished = g_strconcat(copy, ".new", NULL);

    *message = NULL;
    int error = file_require_present(path, NULL, message);
    if (!error)
        error = file_require_alone(copy, message);
    if (error)
        return error;
    error = file_make_private(unfinished, message);
    if (!error)
        error = make_copy(path, unfinished, message);
    if (!error)
        error = file_rename(unfinished, copy, message);
    if (error)
        file_remove(unfinished);
    return error;
}
