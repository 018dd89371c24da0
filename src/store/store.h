/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.db, and the journal before it: load, commit, flush (doc/database.md). */
#ifndef PMXCFS_STORE_STORE_H
#define PMXCFS_STORE_STORE_H

#include <stdint.h>

#include "base/metrics.h"
#include "core/draft.h"
#include "core/tree.h"
#include "journal/replay.h"
#include "store/witness.h"

enum store_durability {
    STORE_NORMAL, /* a commit survives the end of the process; power loss may take the last ones */
    STORE_FULL,   /* a commit survives power loss: synced before store_commit() returns */
};

/* All zero is what a daemon wants. */
struct store_options {
    enum store_durability durability;
    unsigned int busy_timeout; /* milliseconds to wait for other programs' locks; 0: 10 000 */
    uint64_t fold_delay; /* milliseconds that config.db may be behind what is in a journal beside it
                            (doc/journal.md); 0: no journal, each commit goes to config.db */
    unsigned int checkpoint_pages; /* in the WAL, from which on a fold (or, without a journal, a
                                      commit) moves them into config.db; 0: 1000 */
    struct store_witness *witness; /* NULL: nobody; must outlive the store */
    const char *vfs; /* SQLite's name of the file layer, NULL: the usual one. With another
                        one a missing database is made in place, not renamed to its name,
                        and a journal is looked for only with a `fold_delay` */
    struct clock_source *clock; /* of the journal; must outlive the store; NULL: the system's */
};

struct store;

/* Who is told when there is something to flush. Embed it. */
struct store_listener {
    /* Called in the writer's thread: store_flush() is to be called within so many milliseconds.
     * Must not block for long nor use the store. */
    void (*flush_wanted)(struct store_listener *listener, uint64_t within);
};

/* Opens the database at `path`, or makes an empty one (mode 0600), and loads it: *tree is the
 * caller's. A database that was made now, or in which nothing ever was, gives a tree of version 1
 * without entries.
 *
 * What must be refused is found by reading only: the file is then as it was, with nothing beside it
 * that was not there. On any error *store and *tree are NULL and *message (g_free() it) is one line
 * for the administrator that says what is wrong with which rows and what to do. -EBADMSG: refused;
 * -EBUSY: another program holds it; else the errno of the file system.
 *
 * Do not fork with an open store and use it in the child. While it is open do not open() and
 * close() the database file by other means in this process: POSIX would drop SQLite's locks. */
int store_open(const char *path, const struct store_options *options, struct store **store,
               struct tree **tree, char **message);

/* Writes all that `draft` changes, and row 0, in one transaction. 0: it survives the end of this
 * process (STORE_FULL: of power). -ENOSPC: no room; -EIO: any other failure. After an error nothing
 * of it is in the database, and the next commit may well succeed. (If the process ends before the
 * disk works again, it may be there at the next start, as what was under way may after a crash.)
 * The caller has the writer role: any thread, one at a time. Logs the first of a row of failures,
 * and the end of it. */
int store_commit(struct store *store, const struct draft *draft);

/* Brings what is in the journal into config.db (folds it), synced; and, when enough has gathered in
 * the WAL, or a commit went there directly, the WAL's pages into the file itself (a checkpoint).
 * Commits that go to the journal wait for none of it; others, for all. 0 or a negative errno; then
 * it waits on. -EAGAIN: the witness has not all of it yet, and is to be asked again in a while; the
 * journal keeps it. Logs other failures as store_commit() does. Any thread. */
int store_flush(struct store *store);

/* Only while no commit is under way; NULL: nobody. The listener is not owned. */
void store_set_listener(struct store *store, struct store_listener *listener);

/* True from a change that was not stored, or a journal that could not be folded, until a change has
 * been stored that is as large as the one that was not, or any on a disk with room for 2 MiB; and
 * the journal was folded. Any thread. */
bool store_is_failing(const struct store *store);

/* What SQLite said at the last failed commit, "" if there was none; the writer's. */
const char *store_error(const struct store *store);

/* Where the database is; without symbolic links. */
const char *store_path(const struct store *store);

/* What was counted since the database was opened. Any thread; waits for nothing. */
struct store_metrics {
    uint64_t journal_records;
    uint64_t journal_bytes;               /* of these */
    const struct histogram *transactions; /* of config.db: duration */
};
void store_get_metrics(struct store *store, struct store_metrics *metrics);

/* Flushes and closes; nothing is left beside config.db unless the disk refused, which is logged.
 * The flusher must have been stopped. NULL is allowed. */
void store_close(struct store *store);

/* What store_open() did with a journal that was left behind; the store's. */
const struct replay_report *store_recovery(const struct store *store);

#endif
