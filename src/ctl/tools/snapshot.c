/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A database and its journal as they are at one moment, while a daemon may be writing to both. */
#include "ctl/tools/snapshot.h"

#include <errno.h>

#include "core/publish.h"
#include "journal/read.h"
#include "journal/replay.h"
#include "store/file.h"

/* The journal begins an area once in megabytes: not so often in a row while we look. */
#define ATTEMPTS 100u

static uint64_t generation_of(const GByteArray *journal)
{
    struct replay replay;

    replay_read(&replay, journal->data, journal->len);
    return replay_generation(&replay);
}

bool snapshot_is_empty(const GByteArray *journal)
{
    return journal->len == 0 || generation_of(journal) == 0;
}

/* Whatever is written to it from now on, the connection sees nothing of that. A database without a
 * log is locked, so that nobody writes. */
static int begin_reading(sqlite3 *db, const char *path, char **message)
{
    int error =
        file_errno(db, sqlite3_exec(db, "BEGIN; SELECT 1 FROM sqlite_master", NULL, NULL, NULL));

    if (error)
        *message = g_strdup_printf("cannot read %s: %s", path, sqlite3_errmsg(db));
    return error;
}

/* If no area of the journal was begun between two looks at it, it goes on from what was to be read
 * between them, or from before. */
int snapshot_begin(sqlite3 *db, const char *path, GByteArray **journal, char **message)
{
    g_autofree char *journal_path = g_strconcat(path, ".journal", NULL);

    for (unsigned int i = 0; i < ATTEMPTS; i++) {
        int error = journal_read(journal_path, journal, message);
        if (error)
            return error;
        uint64_t before = generation_of(*journal);
        g_byte_array_unref(g_steal_pointer(journal));
        error = begin_reading(db, path, message);
        if (!error)
            error = journal_read(journal_path, journal, message);
        if (error || generation_of(*journal) == before)
            return error;
        g_byte_array_unref(g_steal_pointer(journal));
        sqlite3_exec(db, "ROLLBACK", NULL, NULL, NULL);
    }
    *message = g_strdup_printf("%s changes too fast to be read", path);
    return -EBUSY;
}
