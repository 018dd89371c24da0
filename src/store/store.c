/* SPDX-License-Identifier: GPL-3.0-or-later */
/* config.db, and the journal before it: load, commit, flush. */
#include "store/store.h"

#include <errno.h>
#include <glib.h>
#include <sqlite3.h>
#include <stdatomic.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/util.h"
#include "journal/journal.h"
#include "store/file.h"
#include "store/finding.h"
#include "store/read.h"
#include "store/recover.h"
#include "store/transaction.h"

#define BUSY_TIMEOUT_DEFAULT 10000u
/* Bytes that the WAL may keep on disk when it starts anew. */
#define WAL_SIZE_KEPT 16777216
#define CHECKPOINT_PAGES_DEFAULT 1000u
/* Problems that a refusal names; `pmxcfsctl db check` lists them all. */
#define PROBLEMS_NAMED 3
#define WARNINGS_LOGGED 20
/* With that much room on the disk any change is taken: 1 MiB, and what SQLite writes around it. */
#define ROOM_ENOUGH (2u << 20)

struct store {
    char *path;
    bool full;           /* a commit survives power loss */
    uint64_t fold_delay; /* milliseconds; 0: no journal is written */
    int checkpoint_pages;
    struct replay_report report; /* what was done at the start */
    struct journal *journal;     /* NULL: there is none */
    struct store_listener *listener;
    struct store_witness *witness; /* NULL: nobody */
    struct clock_source *clock;    /* NULL: the system's */
    struct histogram transactions;
    atomic_bool refusing; /* a change was not stored, and none since that shows it would be */
    atomic_bool behind;   /* what is in the journal could not be folded */
    uint64_t refused;     /* bytes of the change that was not stored; the writer's */

    struct lock lock; /* held by who writes to config.db; guards what follows */
    sqlite3 *db;
    struct transaction transaction;
    bool unmoved;            /* a commit that went not by the journal is in the WAL */
    bool checkpoint_failing; /* the last checkpoint of it failed */
};

/* ---- Opening ---- */

/* Collects what a load refuses into the one line that the administrator gets. */
struct refusal {
    struct store_checker checker;
    GString *text;
    unsigned int count;
    unsigned int warnings;
};

static void add_finding(struct store_checker *checker, const struct store_finding *finding)
{
    struct refusal *refusal = container_of(checker, struct refusal, checker);

    if (finding->severity == STORE_WARNING) {
        if (refusal->warnings++ >= WARNINGS_LOGGED)
            return;
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
    g_autofree char *directory = g_path_get_dirname(path);

    g_string_printf(message, "cannot load %s: %s", path, refusal->text->str);
    if (refusal->count > PROBLEMS_NAMED)
        g_string_append_printf(message, "; and %u more", refusal->count - PROBLEMS_NAMED);
    if (error == -EBADMSG)
        g_string_append_printf(message,
                               ". The file was left as it was: write a copy that loads with "
                               "'pmxcfsctl db check --repair NEWFILE %s' and put it in place with "
                               "'pmxcfsctl restore --state-dir %s NEWFILE', or restore a backup",
                               path, directory);
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
    error = store_read_connection(db, &refusal.checker, tree);
    if (error)
        *message = refusal_message(&refusal, path, error);
    if (refusal.warnings > WARNINGS_LOGGED)
        log_warning("database: %u warnings more; 'pmxcfsctl db check' lists them",
                    refusal.warnings - WARNINGS_LOGGED);
    g_string_free(refusal.text, TRUE);
    sqlite3_close(db);
    return error;
}

/* The WAL is truncated to a bearable size when it starts anew. With a journal no commit
 * checkpoints: a fold does, and a flush. */
static int open_connection(struct store *store, const struct store_options *options, char **message)
{
    int error = file_open_writable(store->path, options->vfs, options->busy_timeout, store->full,
                                   &store->db, message);

    if (error)
        return error;
    sqlite3_exec(store->db, "PRAGMA journal_size_limit=" G_STRINGIFY(WAL_SIZE_KEPT), NULL, NULL,
                 NULL);
    sqlite3_wal_autocheckpoint(store->db, store->fold_delay > 0 ? 0 : store->checkpoint_pages);
    int result = transaction_prepare(&store->transaction, store->db, store->full);
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

static struct store *store_new(const char *path, const struct store_options *options)
{
    struct store *store = g_new0(struct store, 1);

    store->path = g_strdup(path);
    store->full = options->durability == STORE_FULL;
    store->fold_delay = options->fold_delay;
    store->witness = options->witness;
    store->clock = options->clock;
    store->checkpoint_pages = (int)MIN(options->checkpoint_pages, (unsigned int)G_MAXINT);
    lock_init(&store->lock, LOCK_RANK_STORE);
    return store;
}

/* Keys and passwords are in there: others than root have no business with it. */
static void make_private(const char *path)
{
    struct stat info;

    if (stat(path, &info) == 0 && (info.st_mode & 0777) != 0600 && chmod(path, 0600) < 0)
        log_warning("cannot make %s private: %s", path, g_strerror(errno));
}

/* It must not come back after power loss, when config.db has gone on without it. */
static int remove_journal(const struct store *store, const char *path, char **message)
{
    int error = unlink(path) == 0 || errno == ENOENT ? 0 : -errno;

    if (!error && store->full)
        error = directory_sync(path);
    if (error)
        *message = g_strdup_printf("cannot remove %s: %s", path, g_strerror(-error));
    return error;
}

/* Whatever the options say, what a daemon has left in a journal comes first. */
static int open_journal(struct store *store, struct tree **tree, char **message)
{
    g_autofree char *path = g_strconcat(store->path, ".journal", NULL);
    const struct journal_options options = {
        .full = store->full, .delay = store->fold_delay, .clock = store->clock};
    struct journal_waiting *left;
    int error = recover_journal(path, &store->transaction, store->witness, tree, &left,
                                &store->report, message);

    if (error)
        return error;
    if (left || store->fold_delay > 0)
        return journal_open(path, &options, left, &store->journal, message);
    return remove_journal(store, path, message);
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
    if (options.checkpoint_pages == 0)
        options.checkpoint_pages = CHECKPOINT_PAGES_DEFAULT;
    int error = options.vfs ? 0 : file_quarantine_orphans(path, message);
    if (!error)
        error = file_probe(path, options.vfs, message);
    if (error == -ENOENT)
        error = file_create(path, options.vfs, message);
    if (!error)
        error = load(path, &options, tree, message);
    if (error)
        return error;
    if (!options.vfs)
        make_private(path);
    *store = store_new(path, &options);
    error = open_connection(*store, &options, message);
    if (!error)
        error = check_unchanged(*store, &(*tree)->root, message);
    if (!error && (!options.vfs || options.fold_delay > 0))
        error = open_journal(*store, tree, message);
    if (error) {
        store_close(*store);
        tree_free(*tree);
        *store = NULL;
        *tree = NULL;
    }
    return error;
}

const struct replay_report *store_recovery(const struct store *store)
{
    return &store->report;
}

/* ---- Commit ---- */

bool store_is_failing(const struct store *store)
{
    return atomic_load(&store->refusing) || atomic_load(&store->behind);
}

/* `part` of the state is as `error` tells. Says it once when the whole begins to fail, and once
 * when that is over, however many changes come meanwhile. Holds the lock. */
static void note_outcome(struct store *store, atomic_bool *part, int error)
{
    bool was_failing = store_is_failing(store);

    atomic_store(part, error != 0);
    if (error && !was_failing)
        log_error("cannot write to %s: %s", store->path, store->transaction.error);
    else if (was_failing && !store_is_failing(store))
        log_info("%s takes writes again", store->path);
}

static uint64_t draft_bytes(const struct draft *draft)
{
    GHashTableIter iter;
    gpointer data;
    uint64_t bytes = 0;

    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, NULL, &data)) {
        const struct entry *entry = data;
        bytes += entry && entry->content ? entry->size : 0;
    }
    return bytes;
}

/* A small change that is stored says nothing of larger ones, on a disk that is all but full. */
static bool is_well_again(const struct store *store, const struct draft *draft)
{
    struct statvfs room;

    return draft_bytes(draft) >= store->refused || statvfs(store->path, &room) < 0 ||
           (uint64_t)room.f_bavail * room.f_frsize >= ROOM_ENOUGH;
}

/* Only while it fails, or begins to. */
static void note_commit(struct store *store, const struct draft *draft, int error)
{
    if (!error && !is_well_again(store, draft))
        return;
    store->refused = error ? MAX(store->refused, draft_bytes(draft)) : 0;
    LOCKED(&store->lock);
    note_outcome(store, &store->refusing, error);
}

static int write_entries(struct store *store, GHashTable *entries, const struct root *root,
                         bool full)
{
    uint64_t begun = metrics_now();
    int error = transaction_store(&store->transaction, entries, root, full);

    histogram_note_since(&store->transactions, begun);
    return error;
}

/* What waits now, and what came while that was folded: no more, or a steady load would keep it here
 * for ever. The journal forgets only what power loss cannot take from config.db. -EAGAIN: it is to
 * be put off, which only who can wait does. Holds the lock. */
static int fold(struct store *store, bool can_wait)
{
    const struct journal_waiting *waiting;
    int error = 0;

    for (unsigned int i = 0; i < JOURNAL_AREAS && !error; i++) {
        if (!store->journal || !(waiting = journal_take(store->journal)))
            break;
        if (store->witness && !store->witness->folding(store->witness, waiting->root.version) &&
            can_wait)
            return -EAGAIN;
        error = write_entries(store, waiting->entries, &waiting->root, true);
        note_outcome(store, &store->behind, error);
        if (error)
            journal_not_folded(store->journal);
        else
            journal_folded(store->journal);
    }
    return error;
}

/* What commits have put into the WAL directly. Holds the lock. */
static int checkpoint(struct store *store)
{
    bool all = false;
    int error = transaction_checkpoint(&store->transaction, &all);

    store->unmoved = !all;
    if (error == -EBUSY)
        return 0; /* another program is at it: there is a next time */
    if (error && !store->checkpoint_failing)
        log_warning("cannot fold the log into the database: %s", g_strerror(-error));
    store->checkpoint_failing = error != 0;
    return error;
}

int store_flush(struct store *store)
{
    LOCKED(&store->lock);
    /* SQLite counts the pages, and checkpoints in the commit that makes them too many. */
    sqlite3_wal_autocheckpoint(store->db, store->checkpoint_pages);
    int error = fold(store, true);
    if (store->fold_delay > 0)
        sqlite3_wal_autocheckpoint(store->db, 0);
    if (!error && store->unmoved)
        error = checkpoint(store);
    return error;
}

/* Into config.db itself, after all that waits in the journal. */
static int commit_directly(struct store *store, const struct draft *draft)
{
    LOCKED(&store->lock);
    int error = fold(store, false);
    if (!error && store->journal) {
        error = journal_restart(store->journal);
        if (error)
            g_snprintf(store->transaction.error, sizeof(store->transaction.error),
                       "the journal cannot be emptied: %s", g_strerror(-error));
    }
    if (!error)
        error = write_entries(store, draft->entries, &draft->root, store->full);
    store->unmoved |= !error;
    return error;
}

int store_commit(struct store *store, const struct draft *draft)
{
    enum journal_urgency urgency;
    int error = store->journal ? journal_append(store->journal, draft, &urgency) : -EAGAIN;

    if (error) {
        error = commit_directly(store, draft);
        urgency = JOURNAL_FIRST; /* to be moved out of the WAL */
    }
    if (error || atomic_load(&store->refusing))
        note_commit(store, draft, error);
    if (!error && store->listener && store->fold_delay > 0 && urgency != JOURNAL_WAITS)
        store->listener->flush_wanted(store->listener,
                                      urgency == JOURNAL_LARGE ? 0 : store->fold_delay);
    return error == 0 || error == -ENOSPC ? error : -EIO;
}

const char *store_error(const struct store *store)
{
    return store->transaction.error;
}

const char *store_path(const struct store *store)
{
    return store->path;
}

void store_get_metrics(struct store *store, struct store_metrics *metrics)
{
    *metrics = (struct store_metrics){.transactions = &store->transactions};
    if (!store->journal)
        return;
    metrics->journal_records = counter_get(&journal_metrics(store->journal)->records);
    metrics->journal_bytes = counter_get(&journal_metrics(store->journal)->bytes);
}

void store_set_listener(struct store *store, struct store_listener *listener)
{
    store->listener = listener;
}

/* ---- Closing ---- */

void store_close(struct store *store)
{
    if (!store)
        return;
    if (store->journal) {
        int error = fold(store, false);
        if (error)
            log_warning("what %s lacks stays in the journal beside it until the next start",
                        store->path);
        journal_close(store->journal, error == 0);
    }
    transaction_finalize(&store->transaction);
    /* Closing the last connection does this too, but tells nobody whether it went well. */
    if (store->db) {
        int result =
            sqlite3_wal_checkpoint_v2(store->db, NULL, SQLITE_CHECKPOINT_TRUNCATE, NULL, NULL);
        if (result != SQLITE_OK)
            log_warning("the log of %s stays beside it until the next start: %s", store->path,
                        sqlite3_errmsg(store->db));
        sqlite3_close(store->db);
    }
    lock_destroy(&store->lock);
    g_free(store->report.quarantine);
    g_free(store->path);
    g_free(store);
}
