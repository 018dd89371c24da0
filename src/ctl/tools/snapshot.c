/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A database and its journal as they are at one moment, while a daemon may be writing to both. */
#include "ctl/tools/snapshot.h"

#include <errno.h>

#include "base/clock.h"
#include "core/publish.h"
#include "journal/read.h"
#include "store/file.h"

/* An attempt is in vain only if the daemon folds twice during it. */
#define PATIENCE_MILLISECONDS 20000u

bool snapshot_is_empty(const GByteArray *journal)
{
    struct replay replay;

    replay_read(&replay, journal->data, journal->len);
    return replay_generation(&replay) == 0;
}

/* Whatever is written to it from now on, the connection sees nothing of that. A database without a
 * WAL is locked, so that nobody writes. */
static int begin_reading(sqlite3 *db, const char *path, char **message)
{
    int error =
        file_errno(db, sqlite3_exec(db, "BEGIN; SELECT 1 FROM sqlite_master", NULL, NULL, NULL));

    if (error)
        *message = g_strdup_printf("cannot read %s: %s", path, sqlite3_errmsg(db));
    return error;
}

/* Row 0; false if it cannot be read: a check says why. */
static bool read_root(sqlite3 *db, struct root *root)
{
    sqlite3_stmt *row = NULL;

    if (sqlite3_prepare_v2(db, "SELECT version, writer, mtime FROM tree WHERE inode = 0", -1, &row,
                           NULL) != SQLITE_OK)
        return false;
    int result = sqlite3_step(row);
    *root = (struct root){.version = 1}; /* as without a row */
    if (result == SQLITE_ROW)
        *root = (struct root){.version = (uint64_t)sqlite3_column_int64(row, 0),
                              .writer = (uint32_t)sqlite3_column_int64(row, 1),
                              .mtime = (uint32_t)sqlite3_column_int64(row, 2)};
    sqlite3_finalize(row);
    return result == SQLITE_ROW || result == SQLITE_DONE;
}

/* Of a journal that was read after the database, whatever was done to both in between: does it have
 * all that the database lacks? It does if it goes on from there, though more may have been begun.
 * Else (it is empty, damaged, or another database's) it must have been as it is before the database
 * was read: `before` is its generation then. */
static bool goes_with(sqlite3 *db, const struct replay *replay, const uint64_t *before)
{
    struct root root;

    return (before && *before == replay_generation(replay)) ||
           (read_root(db, &root) && replay_follows(replay, &root));
}

int snapshot_begin(sqlite3 *db, const char *path, GByteArray **journal, char **message)
{
    g_autofree char *journal_path = g_strconcat(path, ".journal", NULL);
    uint64_t end = clock_milliseconds() + PATIENCE_MILLISECONDS;
    uint64_t before;

    for (bool again = false; !again || clock_milliseconds() < end; again = true) {
        struct replay replay;
        int error = begin_reading(db, path, message);
        if (!error)
            error = journal_read(journal_path, journal, message);
        if (error)
            return error;
        replay_read(&replay, (*journal)->data, (*journal)->len);
        if (goes_with(db, &replay, again ? &before : NULL))
            return 0;
        before = replay_generation(&replay);
        g_byte_array_unref(g_steal_pointer(journal));
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    *message = g_strdup_printf("%s changes too fast to be read", path);
    return -EBUSY;
}

void snapshot_replay(const GByteArray *journal, GPtrArray *effects, struct replay *replay,
                     struct tree **tree)
{
    replay_read(replay, journal->data, journal->len);
    replay->effects = effects;
    if (replay_generation(replay) == 0)
        return;
    struct state *state = state_new(*tree, 0);
    struct draft *draft = draft_new(state);
    replay_decide(replay, draft);
    if (replay->outcome == REPLAY_CHANGES)
        state_publish(state, draft, 0);
    draft_free(draft);
    *tree = state_give_tree(state);
}
