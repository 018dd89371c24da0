/* SPDX-License-Identifier: GPL-3.0-or-later */
/* history.db, written: changes go in, and what is too old or too much goes out. */
#include "history/store.h"

#include <errno.h>
#include <sqlite3.h>

#include "base/log.h"
#include "core/digest.h"
#include "history/content.h"
#include "history/database.h"
#include "store/file.h"

#define CHECKPOINT_PAGES 2048 /* 4 MiB of log: pages that change often are moved seldom */
#define PRUNE_SECONDS                                                                              \
    3600 /* between looks at what is too old; what is too much is seen at once                     \
          */

enum query {
    QUERY_PATH,
    QUERY_ADD_PATH,
    QUERY_CONTENT,
    QUERY_ADD_CONTENT,
    QUERY_ACTOR,
    QUERY_ADD_ACTOR,
    QUERY_LAST,
    QUERY_ADD_CHANGE,
    QUERY_NAME,
    QUERIES
};

static const char *const queries[QUERIES] = {
    [QUERY_PATH] = "SELECT id FROM paths WHERE path = ?1",
    [QUERY_ADD_PATH] = "INSERT INTO paths (path) VALUES (?1)",
    [QUERY_CONTENT] = "SELECT id FROM contents "
                      "WHERE substr(digest, 1, 8) = substr(?1, 1, 8) AND digest = ?1",
    [QUERY_ADD_CONTENT] =
        "INSERT INTO contents (digest, size, codec, data) VALUES (?1, ?2, ?3, ?4)",
    [QUERY_ACTOR] = "SELECT id FROM actors WHERE pid = ?1 AND process_group = ?2 AND uid = ?3 "
                    "AND login = ?4 AND name = ?5 AND command = ?6",
    [QUERY_ADD_ACTOR] = "INSERT INTO actors (pid, process_group, uid, login, name, command) "
                        "VALUES (?1, ?2, ?3, ?4, ?5, ?6)",
    [QUERY_LAST] = "SELECT new_type, new_size, new_mtime, new_content, new_kept, new_version "
                   "FROM changes WHERE path = ?1 ORDER BY id DESC LIMIT 1",
    [QUERY_ADD_CHANGE] =
        "INSERT INTO changes (version, time, node, operation, path, other, actor, old_type, "
        "old_size, old_mtime, old_content, old_kept, new_type, new_size, new_mtime, new_content, "
        "new_kept, new_version) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, "
        "?14, ?15, ?16, ?17, ?18)",
    [QUERY_NAME] = "INSERT INTO nodes VALUES (?1, ?2) ON CONFLICT (id) DO UPDATE SET name = ?2 "
                   "WHERE name <> ?2",
};

/* One side of a change, as it is in a row. */
struct side {
    int type; /* 0: nothing is there */
    int64_t size;
    int64_t mtime;
    int64_t content; /* 0: none */
    int64_t kept;
    int64_t version; /* of the entry */
};

struct history_store {
    char *path;
    struct history_limits limits;
    sqlite3 *db; /* NULL but in transactions */
    sqlite3_stmt *statements[QUERIES];
    int log_pages; /* that the log had after the last commit */
    struct history_store_size size;
    bool full;          /* no more contents are kept: nothing can be taken out for them */
    uint64_t tried;     /* bytes that there were when that was found */
    int64_t full_since; /* seconds: when */
    int64_t pruned;     /* seconds: when it was looked for what is too old */
    char error[256];
};

/* --- Opening --- */

static int note(struct history_store *store, int result)
{
    int error = file_errno(store->db, result);

    g_snprintf(store->error, sizeof(store->error), "%s", sqlite3_errmsg(store->db));
    return error;
}

static void disconnect(struct history_store *store)
{
    for (size_t i = 0; i < QUERIES; i++)
        sqlite3_finalize(g_steal_pointer(&store->statements[i]));
    sqlite3_close(g_steal_pointer(&store->db));
}

static int prepare(struct history_store *store)
{
    for (size_t i = 0; i < QUERIES; i++) {
        int result = sqlite3_prepare_v3(store->db, queries[i], -1, SQLITE_PREPARE_PERSISTENT,
                                        &store->statements[i], NULL);
        if (result == SQLITE_ERROR) /* a table is not there */
            return -EBADMSG;
        if (result != SQLITE_OK)
            return note(store, result);
    }
    return 0;
}

static int note_log(void *pointer, sqlite3 *db, const char *name, int pages)
{
    struct history_store *store = pointer;

    (void)db;
    (void)name;
    store->log_pages = pages;
    return SQLITE_OK;
}

static int connect_once(struct history_store *store, char **message)
{
    int error = database_open_history(store->path, &store->db, message);

    if (error)
        return error;
    store->log_pages = 0;
    sqlite3_wal_hook(store->db, note_log, store);
    error = prepare(store);
    if (error) {
        *message = g_strdup_printf("cannot use %s: %s", store->path, sqlite3_errmsg(store->db));
        disconnect(store);
    }
    return error;
}

static int set_aside(const struct history_store *store, const char *problem)
{
    int error = database_set_aside(store->path);

    if (!error)
        log_warning("%s: it is kept as %s.damaged, and a new history begins", problem, store->path);
    return error;
}

static int connect_store(struct history_store *store, char **message)
{
    *message = NULL;
    int error = connect_once(store, message);

    if (error != -EBADMSG || set_aside(store, *message) != 0)
        return error;
    g_clear_pointer(message, g_free);
    return connect_once(store, message);
}

int history_store_renew(struct history_store *store)
{
    g_autofree char *problem = g_strdup_printf("cannot write to %s: %s", store->path, store->error);

    disconnect(store);
    return set_aside(store, problem);
}

/* What is asked for outside transactions. */
static void look(struct history_store *store)
{
    store->size = (struct history_store_size){
        .bytes = database_bytes(store->db),
        .complete = database_get_number(store->db, "complete"),
        .left_out = (uint64_t)database_get_number(store->db, "left_out"),
        .fresh = database_get_number(store->db, "complete_id") == 0,
    };
}

int history_store_open(const char *path, const struct history_limits *limits,
                       struct history_store **opened, char **message)
{
    struct history_store *store = g_new0(struct history_store, 1);

    store->path = g_strdup(path);
    store->limits = *limits;
    int error = connect_store(store, message);
    *opened = store;
    if (error) {
        history_store_close(store);
        *opened = NULL;
        return error;
    }
    look(store);
    disconnect(store);
    return 0;
}

/* The last one to close it folds the log into it: who takes the file alone has all. */
static void fold_log(struct history_store *store)
{
    g_autofree char *log = g_strconcat(store->path, "-wal", NULL);
    g_autofree char *message = NULL;

    if (!store->db &&
        (!g_file_test(log, G_FILE_TEST_EXISTS) || !g_file_test(store->path, G_FILE_TEST_EXISTS)))
        return;
    if (store->db || connect_once(store, &message) == 0)
        sqlite3_db_config(store->db, SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, 0, NULL);
}

void history_store_close(struct history_store *store)
{
    if (!store)
        return;
    fold_log(store);
    disconnect(store);
    g_free(store->path);
    g_free(store);
}

const char *history_store_error(const struct history_store *store)
{
    return store->error;
}

/* --- Transactions --- */

static int execute(struct history_store *store, const char *sql)
{
    int result = sqlite3_exec(store->db, sql, NULL, NULL, NULL);

    return result == SQLITE_OK ? 0 : note(store, result);
}

int history_store_begin(struct history_store *store)
{
    g_autofree char *message = NULL;

    if (!store->db) {
        /* It was there when the store was opened. */
        if (!g_file_test(store->path, G_FILE_TEST_EXISTS))
            log_warning("%s is gone: a new history begins", store->path);
        int error = connect_store(store, &message);
        if (error) {
            g_strlcpy(store->error, message ? message : g_strerror(-error), sizeof(store->error));
            return error;
        }
    }
    return execute(store, "BEGIN IMMEDIATE");
}

/* The file is let go of after each: while it is open nobody else can read it. */
int history_store_commit(struct history_store *store)
{
    int error = execute(store, "COMMIT");

    if (error) {
        history_store_rollback(store);
        return error;
    }
    look(store);
    if (store->log_pages >= CHECKPOINT_PAGES)
        database_fold_log(store->db);
    disconnect(store);
    return 0;
}

/* The next transaction opens the file anew: a damaged one is found then. */
void history_store_rollback(struct history_store *store)
{
    if (store->db && !sqlite3_get_autocommit(store->db))
        sqlite3_exec(store->db, "ROLLBACK", NULL, NULL, NULL);
    disconnect(store);
}

/* --- Adding --- */

/* Runs a statement to its end. The row id that it made, or a negative errno. */
static int64_t insert(struct history_store *store, sqlite3_stmt *statement)
{
    sqlite3_step(statement);
    int result = sqlite3_reset(statement);

    sqlite3_clear_bindings(statement);
    return result == SQLITE_OK ? sqlite3_last_insert_rowid(store->db) : note(store, result);
}

/* The id that a query answers with, 0: there is none, or a negative errno. Bindings stay. */
static int64_t find(struct history_store *store, sqlite3_stmt *statement)
{
    int64_t id = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    int result = sqlite3_reset(statement);

    return result == SQLITE_OK ? id : note(store, result);
}

/* NULL is no path: 0. */
static int64_t path_id(struct history_store *store, const char *path)
{
    if (!path)
        return 0;
    sqlite3_bind_text(store->statements[QUERY_PATH], 1, path, -1, SQLITE_STATIC);
    int64_t id = find(store, store->statements[QUERY_PATH]);
    if (id != 0)
        return id;
    sqlite3_bind_text(store->statements[QUERY_ADD_PATH], 1, path, -1, SQLITE_STATIC);
    return insert(store, store->statements[QUERY_ADD_PATH]);
}

static void bind_actor(sqlite3_stmt *statement, const struct history_actor *actor)
{
    sqlite3_bind_int64(statement, 1, actor->pid);
    sqlite3_bind_int64(statement, 2, actor->group);
    sqlite3_bind_int64(statement, 3, actor->uid);
    sqlite3_bind_int64(statement, 4, actor->login);
    sqlite3_bind_text(statement, 5, actor->name, -1, SQLITE_STATIC);
    sqlite3_bind_text(statement, 6, actor->command, -1, SQLITE_STATIC);
}

static int64_t actor_id(struct history_store *store, const struct history_actor *actor)
{
    if (!actor || !actor->known)
        return 0;
    bind_actor(store->statements[QUERY_ACTOR], actor);
    int64_t id = find(store, store->statements[QUERY_ACTOR]);
    if (id != 0)
        return id;
    bind_actor(store->statements[QUERY_ADD_ACTOR], actor);
    return insert(store, store->statements[QUERY_ADD_ACTOR]);
}

static int64_t content_id(struct history_store *store, const void *data, size_t size)
{
    uint8_t digest[DIGEST_SIZE];
    size_t packed_size;
    g_autofree uint8_t *packed = NULL;

    bytes_digest(data, size, digest);
    sqlite3_bind_blob(store->statements[QUERY_CONTENT], 1, digest, DIGEST_SIZE, SQLITE_STATIC);
    int64_t id = find(store, store->statements[QUERY_CONTENT]);
    if (id != 0 || store->full)
        return id;
    enum history_codec codec = content_pack(data, size, &packed, &packed_size);
    sqlite3_stmt *add = store->statements[QUERY_ADD_CONTENT];
    sqlite3_bind_blob(add, 1, digest, DIGEST_SIZE, SQLITE_STATIC);
    sqlite3_bind_int64(add, 2, (int64_t)size);
    sqlite3_bind_int(add, 3, (int)codec);
    sqlite3_bind_blob64(add, 4, codec == HISTORY_PLAIN ? data : packed,
                        codec == HISTORY_PLAIN ? size : packed_size, SQLITE_STATIC);
    return insert(store, add);
}

/* What the history has last of a path. */
static int read_last(struct history_store *store, int64_t path, struct side *last)
{
    sqlite3_stmt *statement = store->statements[QUERY_LAST];

    *last = (struct side){0};
    sqlite3_bind_int64(statement, 1, path);
    if (sqlite3_step(statement) == SQLITE_ROW)
        *last = (struct side){
            .type = sqlite3_column_int(statement, 0),
            .size = sqlite3_column_int64(statement, 1),
            .mtime = sqlite3_column_int64(statement, 2),
            .content = sqlite3_column_int64(statement, 3),
            .kept = sqlite3_column_int64(statement, 4),
            .version = sqlite3_column_int64(statement, 5),
        };
    int result = sqlite3_reset(statement);
    return result == SQLITE_OK ? 0 : note(store, result);
}

/* A size without content is a hole of zeros, which is as good as one that was not kept. */
static int make_side(struct history_store *store, const struct entry *entry, bool private,
                     struct side *side)
{
    *side = (struct side){
        .type = entry->type,
        .size = entry->size,
        .mtime = entry->mtime,
        .version = (int64_t)entry->version,
    };
    if (entry_is_directory(entry) || entry->size == 0)
        return 0;
    side->kept = private ? HISTORY_PRIVATE : HISTORY_LARGE;
    if (private || !entry->content)
        return 0;
    side->content = content_id(store, entry->content->data, entry->size);
    if (side->content > 0)
        side->kept = HISTORY_KEPT;
    return side->content < 0 ? (int)side->content : 0;
}

/* What was there before is mostly what the history has last: then its content need not be looked
 * at once more. */
static int find_before(struct history_store *store, const struct history_row *row, int64_t path,
                       struct side *before)
{
    const struct entry *entry = row->before;

    if (row->before_known && !entry) {
        *before = (struct side){0};
        return 0;
    }
    int error = read_last(store, path, before);
    if (error || !row->before_known ||
        (before->type == entry->type && before->version == (int64_t)entry->version &&
         before->size == (int64_t)entry->size && before->mtime == (int64_t)entry->mtime))
        return error;
    return make_side(store, entry, row->private, before);
}

static void bind_number_or_null(sqlite3_stmt *statement, int index, int64_t number)
{
    if (number > 0)
        sqlite3_bind_int64(statement, index, number);
    else
        sqlite3_bind_null(statement, index);
}

static void bind_side(sqlite3_stmt *statement, int first, const struct side *side)
{
    sqlite3_bind_int(statement, first, side->type);
    sqlite3_bind_int64(statement, first + 1, side->size);
    sqlite3_bind_int64(statement, first + 2, side->mtime);
    bind_number_or_null(statement, first + 3, side->content);
    sqlite3_bind_int64(statement, first + 4, side->kept);
}

int64_t history_store_add(struct history_store *store, const struct history_row *row)
{
    sqlite3_stmt *add = store->statements[QUERY_ADD_CHANGE];
    struct side before = {0};
    struct side after = {0};
    int64_t path = path_id(store, row->path);
    int64_t other = path < 0 ? path : path_id(store, row->other);
    int64_t actor = other < 0 ? other : actor_id(store, row->actor);
    int error = actor < 0 ? (int)actor : find_before(store, row, path, &before);

    if (!error && row->after)
        error = make_side(store, row->after, row->private, &after);
    if (error)
        return error;
    sqlite3_bind_int64(add, 1, (int64_t)row->version);
    sqlite3_bind_int64(add, 2, row->time);
    sqlite3_bind_int64(add, 3, row->node);
    sqlite3_bind_int(add, 4, (int)row->operation);
    sqlite3_bind_int64(add, 5, path);
    bind_number_or_null(add, 6, other);
    bind_number_or_null(add, 7, actor);
    bind_side(add, 8, &before);
    bind_side(add, 13, &after);
    sqlite3_bind_int64(add, 18, after.version);
    return insert(store, add);
}

int history_store_name(struct history_store *store, uint32_t node, const char *name)
{
    sqlite3_bind_int64(store->statements[QUERY_NAME], 1, node);
    sqlite3_bind_text(store->statements[QUERY_NAME], 2, name, -1, SQLITE_STATIC);
    int64_t id = insert(store, store->statements[QUERY_NAME]);
    return id < 0 ? (int)id : 0;
}

/* --- What is known --- */

GHashTable *history_store_known(struct history_store *store)
{
    static const char sql[] =
        "SELECT p.path, c.new_type, c.new_size, c.new_mtime, c.new_version FROM paths p "
        "JOIN changes c ON c.id = (SELECT max(id) FROM changes WHERE path = p.id)";
    GHashTable *known = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, g_free);
    sqlite3_stmt *statement = NULL;
    int result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

    while (result == SQLITE_OK && sqlite3_step(statement) == SQLITE_ROW) {
        struct history_known *entry = g_new(struct history_known, 1);
        *entry = (struct history_known){
            .type = (uint8_t)sqlite3_column_int(statement, 1),
            .size = (uint32_t)sqlite3_column_int64(statement, 2),
            .mtime = (uint32_t)sqlite3_column_int64(statement, 3),
            .version = (uint64_t)sqlite3_column_int64(statement, 4),
        };
        g_hash_table_insert(known, g_strdup((const char *)sqlite3_column_text(statement, 0)),
                            entry);
    }
    if (result == SQLITE_OK)
        result = sqlite3_finalize(statement);
    if (result == SQLITE_OK)
        return known;
    note(store, result);
    g_hash_table_unref(known);
    return NULL;
}

static int set_number(struct history_store *store, const char *key, int64_t value)
{
    int result = database_set_number(store->db, key, value);

    return result == SQLITE_OK ? 0 : note(store, result);
}

uint64_t history_store_version(const struct history_store *store)
{
    return store->db ? (uint64_t)database_get_number(store->db, "version") : 0;
}

int history_store_set_version(struct history_store *store, uint64_t version)
{
    return set_number(store, "version", (int64_t)version);
}

int history_store_left_out(struct history_store *store, uint64_t count)
{
    return set_number(store, "left_out",
                      database_get_number(store->db, "left_out") + (int64_t)count);
}

void history_store_size(struct history_store *store, struct history_store_size *size)
{
    *size = store->size;
}

/* --- Limits --- */

/* The number that a query with up to two parameters answers with; negative errno. */
static int64_t ask(struct history_store *store, const char *sql, int64_t first, int64_t second)
{
    sqlite3_stmt *statement;
    int result = sqlite3_prepare_v2(store->db, sql, -1, &statement, NULL);

    if (result != SQLITE_OK)
        return note(store, result);
    sqlite3_bind_int64(statement, 1, first);
    if (sqlite3_bind_parameter_count(statement) > 1)
        sqlite3_bind_int64(statement, 2, second);
    int64_t number = sqlite3_step(statement) == SQLITE_ROW ? sqlite3_column_int64(statement, 0) : 0;
    result = sqlite3_finalize(statement);
    return result == SQLITE_OK ? number : note(store, result);
}

static int set_complete(struct history_store *store, int64_t id, int64_t time)
{
    int error = set_number(store, "complete_id", id);

    return error ? error : set_number(store, "complete", time);
}

int history_store_complete(struct history_store *store, int64_t now)
{
    if (database_get_number(store->db, "complete_id") > 0)
        return 0;
    int64_t last = ask(store, "SELECT max(id) FROM changes WHERE ?1", 1, 0);

    return last < 0 ? (int)last : set_complete(store, MAX(last, 1), now);
}

/* Takes out what is not needed to tell the tree as it was after change `id`, or later: what was
 * changed again up to then, and what was deleted so long ago that nobody wants it back; never the
 * last row, as its id would be given once more. */
static int forget_until(struct history_store *store, int64_t id, int64_t now)
{
    int64_t done = ask(store,
                       "DELETE FROM changes WHERE id <= ?1 AND EXISTS (SELECT 1 FROM changes n "
                       "WHERE n.path = changes.path AND n.id > changes.id AND n.id <= ?1)",
                       id, 0);

    if (done >= 0)
        done = ask(store,
                   "DELETE FROM changes WHERE id <= ?1 AND new_type = 0 AND time < ?2 AND "
                   "id < (SELECT max(id) FROM changes) AND NOT EXISTS (SELECT 1 FROM changes n "
                   "WHERE n.path = changes.path AND "
                   "n.id > changes.id AND n.id <= ?1)",
                   id, now - store->limits.deleted_age);
    if (done >= 0 && id > database_get_number(store->db, "complete_id")) {
        int64_t time =
            ask(store, "SELECT time FROM changes WHERE id <= ?1 ORDER BY id DESC", id, 0);
        done = time < 0 ? time : set_complete(store, id, time);
    }
    return done < 0 ? (int)done : 0;
}

/* What no change mentions any more. */
static int sweep(struct history_store *store)
{
    static const char *const sql[] = {
        "DELETE FROM contents WHERE id NOT IN (SELECT new_content FROM changes WHERE new_content "
        "NOT NULL UNION SELECT old_content FROM changes WHERE old_content NOT NULL) AND ?1",
        "DELETE FROM actors WHERE id NOT IN (SELECT actor FROM changes WHERE actor NOT NULL) "
        "AND ?1",
        "DELETE FROM paths WHERE id NOT IN (SELECT path FROM changes UNION SELECT other FROM "
        "changes WHERE other NOT NULL) AND ?1",
    };
    int64_t done = 0;

    for (size_t i = 0; i < G_N_ELEMENTS(sql) && done >= 0; i++)
        done = ask(store, sql[i], 1, 0);
    return done < 0 ? (int)done : 0;
}

static int prune_old(struct history_store *store, int64_t now)
{
    int64_t complete = database_get_number(store->db, "complete");
    int64_t limit = now - store->limits.age;

    if (complete == 0 || complete >= limit ||
        (now >= store->pruned && now - store->pruned < PRUNE_SECONDS))
        return 0;
    store->pruned = now;
    int64_t id =
        ask(store, "SELECT id FROM changes WHERE time < ?1 ORDER BY id DESC LIMIT 1", limit, 0);
    if (id <= 0 || id <= database_get_number(store->db, "complete_id"))
        return id < 0 ? (int)id : 0;
    int error = forget_until(store, id, now);
    return error ? error : sweep(store);
}

static void note_full(struct history_store *store, int64_t now)
{
    store->tried = database_bytes(store->db);
    bool full = store->tried > store->limits.bytes;
    if (full && !store->full)
        log_warning("the history is full: the last versions of all files take more than its %" //
                    G_GUINT64_FORMAT " bytes; contents are not kept until there is room",
                    store->limits.bytes);
    store->full = full;
    store->full_since = now;
}

/* Looking for what can go takes long: where nothing was found it is tried again after a while, or
 * when there is more. */
static bool is_worth_trying(const struct history_store *store, uint64_t bytes, int64_t now)
{
    return !store->full || bytes > store->tried + store->limits.bytes / 64 ||
           now < store->full_since || now - store->full_since >= PRUNE_SECONDS;
}

/* A tenth of what is there at a time, since room is found out only by trying. */
static int prune_large(struct history_store *store, int64_t now)
{
    uint64_t wanted = store->limits.bytes - store->limits.bytes / 10;
    uint64_t bytes = database_bytes(store->db);
    bool complete = database_get_number(store->db, "complete_id") > 0;
    int error = 0;

    if (bytes <= store->limits.bytes) {
        store->full = false;
        return 0;
    }
    if (!is_worth_trying(store, bytes, now))
        return 0;
    /* Of a history that is just being begun nothing can go. */
    for (int tenth = 1; complete && tenth <= 10 && !error && database_bytes(store->db) > wanted;
         tenth++) {
        int64_t last = ask(store, "SELECT max(id) FROM changes WHERE ?1", 1, 0);
        int64_t first = ask(store, "SELECT id FROM changes WHERE id >= ?1 ORDER BY id LIMIT 1",
                            database_get_number(store->db, "complete_id"), 0);
        if (last < 0 || first < 0)
            return (int)MIN(last, first);
        error = forget_until(store, first + (last - first + 1) * tenth / 10, now);
        if (!error)
            error = sweep(store);
    }
    note_full(store, now);
    return error;
}

int history_store_prune(struct history_store *store, int64_t now)
{
    int error = prune_old(store, now);

    if (!error)
        error = prune_large(store, now);
    return error;
}
