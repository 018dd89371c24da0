/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.db: load, commit, checkpoint (doc/database.md). */
#ifndef PMXCFS_STORE_STORE_H
#define PMXCFS_STORE_STORE_H

#include <stdbool.h>
#include <stdint.h>

#include "base/metrics.h"
#include "core/draft.h"
#include "core/tree.h"

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
    const char *vfs;     /* SQLite's name of the file layer, NULL: the usual one. With another
                            one a missing database is made in place, not renamed to its name,
                            and there is no journal */
};

struct store;

/* Who wants to know how much there is to checkpoint. Embed it. */
struct store_listener {
    /* Called in the thread that wrote, at the end of each transaction: the log beside the database
     * has `pages` pages now. Must not block for long nor use the store. */
    void (*committed)(struct store_listener *listener, unsigned int pages);
    /* Called in the writer's thread: store_fold() is to be called within so many milliseconds. */
    void (*journaled)(struct store_listener *listener, uint64_t within);
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

/* Brings what is in the journal into config.db. Holds up no commit that goes to the journal. 0 or a
 * negative errno; then it waits on. Logs as store_commit() does. Any thread. */
int store_fold(struct store *store);

/* Moves what was committed from the log into config.db and syncs both. Without `finish` it holds up
 * nobody, but can leave pages behind if there are commits meanwhile; with `finish` commits wait
 * until it is through, after which the log starts from its beginning. *remaining (may be NULL):
 * pages that are still to be moved. 0 or a negative errno. One thread at a time, any, also beside
 * the writer. */
int store_checkpoint(struct store *store, bool finish, unsigned int *remaining);

/* Only while no commit is under way; NULL: nobody. The listener is not owned. */
void store_set_listener(struct store *store, struct store_listener *listener);

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

/* Folds the log into config.db and closes; nothing is left beside it unless the disk refused, which
 * is logged. The keeper must have been stopped. NULL is allowed. */
void store_close(struct store *store);

/* What was done with the journal that a killed daemon left. */
struct store_fold_report {
    unsigned int changes;    /* brought in */
    bool left;               /* config.db does not take them: they are in the journal still */
    uint64_t version_before; /* of config.db; 0: there was no journal, nothing was looked at */
    uint64_t version;        /* with them */
    char *aside;             /* the name of a journal that was set aside; NULL: none was */
};

/* Brings in the journal beside the database at `path`, which no daemon has open. 0 and *report
 * (g_free() what it owns), or a negative errno with *message; -ENOENT: no database is there. */
int store_fold_left(const char *path, struct store_fold_report *report, char **message);

/* Copies the database at `path` as it is between two commits, with what is in its journal, to
 * `copy` (mode 0600), which is replaced in one step. A daemon may be working on it. 0, or a
 * negative errno with *message. */
int store_backup(const char *path, const char *copy, char **message);

/* Writes a new database (mode 0600) at `path`, which must not exist, with all of `tree`; it is
 * loaded once before it gets its name. 0, or a negative errno with *message. */
int store_save(const struct tree *tree, const char *path, char **message);

/* What a database takes on the disk. */
struct store_sizes {
    uint64_t file;    /* bytes */
    uint64_t log;     /* bytes of the log beside it, 0: there is none */
    uint64_t journal; /* the same of the journal */
    uint32_t page_size;
    uint32_t pages;
    uint32_t free_pages; /* of these */
};

/* Looks at the database at `path` without altering it. 0, or a negative errno with *message. */
int store_measure(const char *path, struct store_sizes *sizes, char **message);

/* Makes an empty database at `path`, which must not exist. 0, or a negative errno with *message. */
int store_create(const char *path, char **message);

#endif
