/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads a history.db: this node's, while the daemon writes to it, or any other's. */
#include "history/reader.h"

#include <errno.h>
#include <sqlite3.h>
#include <string.h>

#include "core/digest.h"
#include "core/entry.h"
#include "core/limits.h"
#include "history/content.h"
#include "history/database.h"
#include "store/file.h"

#define BUSY_MILLISECONDS 5000u
#define PATH_BYTES_MAX 16777216 /* far more than any path of a tree has */
#define PATHS_MAX 1000000

struct history_reader {
    sqlite3 *db;
    char *file;
};

/* --- Opening --- */

static bool has_tables(sqlite3 *db)
{
    g_autofree char *format = file_ask(db, "PRAGMA user_version");
    g_autofree char *count = file_ask(
        db, "SELECT count(*) FROM sqlite_master WHERE type = 'table' AND rootpage > 0 AND name IN "
            "('meta', 'nodes', 'paths', 'contents', 'actors', 'changes')");

    return g_strcmp0(format, G_STRINGIFY(HISTORY_FORMAT)) == 0 && g_strcmp0(count, "6") == 0;
}

/* As one of several readers. False: that cannot be, on a full disk for instance. */
static bool open_shared(const char *path, sqlite3 **db)
{
    int result = sqlite3_open_v2(
        path, db, SQLITE_OPEN_READONLY | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE, NULL);

    if (result == SQLITE_OK) {
        sqlite3_busy_timeout(*db, BUSY_MILLISECONDS);
        sqlite3_db_config(*db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
        sqlite3_db_config(*db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
        sqlite3_db_config(*db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
        result = sqlite3_exec(*db, "SELECT 1 FROM sqlite_master", NULL, NULL, NULL);
    }
    if (result == SQLITE_OK)
        return true;
    sqlite3_close(g_steal_pointer(db));
    return false;
}

static int open_reader(const char *path, bool live, struct history_reader **opened, char **message)
{
    g_autofree char *real = file_resolve(path, NULL);
    sqlite3 *db = NULL;

    *opened = NULL;
    *message = NULL;
    int error = file_require_present(real, NULL, message);
    if (!error && !(live && open_shared(real, &db)))
        error = file_open_untouched(real, NULL, BUSY_MILLISECONDS, &db, message);
    if (error)
        return error;
    if (!has_tables(db)) {
        int result = sqlite3_extended_errcode(db);
        bool failed = result != SQLITE_OK && result != SQLITE_ROW && result != SQLITE_DONE;
        error = failed ? file_errno(db, result) : -EBADMSG;
        *message = g_strdup_printf("%s: %s", real,
                                   failed ? sqlite3_errmsg(db)
                                          : "no history, or one that a later release has made");
        sqlite3_close(db);
        return error;
    }
    *opened = g_new(struct history_reader, 1);
    (*opened)->db = db;
    (*opened)->file = g_steal_pointer(&real);
    return 0;
}

int history_open(const char *path, struct history_reader **opened, char **message)
{
    return open_reader(path, false, opened, message);
}

int history_open_live(const char *path, struct history_reader **opened, char **message)
{
    return open_reader(path, true, opened, message);
}

void history_close(struct history_reader *reader)
{
    if (!reader)
        return;
    sqlite3_close(reader->db);
    g_free(reader->file);
    g_free(reader);
}

const char *history_file(const struct history_reader *reader)
{
    return reader->file;
}

void history_call(struct history_reader *reader, const char *file)
{
    g_free(reader->file);
    reader->file = g_strdup(file);
}

int history_copy(struct history_reader *reader, const char *path, char **message)
{
    sqlite3 *to = NULL;
    int error = file_make_private(path, message);

    if (error)
        return error;
    int result = sqlite3_open_v2(path, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    sqlite3_backup *backup =
        result == SQLITE_OK ? sqlite3_backup_init(to, "main", reader->db, "main") : NULL;
    if (backup)
        sqlite3_backup_step(backup, -1);
    if (result == SQLITE_OK)
        result = backup ? sqlite3_backup_finish(backup) : sqlite3_extended_errcode(to);
    error = file_errno(to, result);
    if (error)
        *message =
            g_strdup_printf("cannot copy %s to %s: %s", reader->file, path, sqlite3_errstr(result));
    sqlite3_close(to);
    return error;
}

/* --- Foreign columns --- */

/* Sets *bad if it is no integer within the bounds. */
static int64_t number_of(sqlite3_stmt *row, int column, int64_t least, int64_t most, bool *bad)
{
    int64_t number = sqlite3_column_int64(row, column);

    if (sqlite3_column_type(row, column) != SQLITE_INTEGER || number < least || number > most) {
        *bad = true;
        return 0;
    }
    return number;
}

/* Names between single slashes, none of them "." or "..", without control characters or what is no
 * UTF-8 being looked for: a tree may have those. */
static bool is_clean_path(const char *path, size_t size)
{
    const char *name = path;

    if (memchr(path, 0, size))
        return false;
    for (;;) {
        size_t length = strcspn(name, "/");
        if (length == 0 || (length == 1 && *name == '.') ||
            (length == 2 && name[0] == '.' && name[1] == '.'))
            return false;
        if (name[length] == '\0')
            return true;
        name += length + 1;
    }
}

/* A copy of a path; g_free() it. */
static char *path_of(sqlite3_stmt *row, int column, bool *bad)
{
    const char *text = (const char *)sqlite3_column_text(row, column);
    int size = sqlite3_column_bytes(row, column);

    if (sqlite3_column_type(row, column) != SQLITE_TEXT || !text || size > PATH_BYTES_MAX ||
        (size > 0 && !is_clean_path(text, (size_t)size))) {
        *bad = true;
        return NULL;
    }
    return g_strdup(text);
}

/* Takes out what a terminal would obey. */
static void clean_text(char *text)
{
    for (; *text; text++) {
        if (g_ascii_iscntrl(*text))
            *text = '?';
    }
}

static void copy_text(sqlite3_stmt *row, int column, char *to, size_t room)
{
    const char *text = (const char *)sqlite3_column_text(row, column);

    g_strlcpy(to, text ? text : "", room);
    clean_text(to);
}

static void read_version(sqlite3_stmt *row, int first, struct history_version *version, bool *bad)
{
    int64_t type = number_of(row, first, 0, ENTRY_FILE, bad);

    version->exists = type != 0;
    version->directory = type == ENTRY_DIRECTORY;
    if (type != 0 && type != ENTRY_DIRECTORY && type != ENTRY_FILE)
        *bad = true;
    version->size = (uint32_t)number_of(row, first + 1, 0, UINT32_MAX, bad);
    version->mtime = (uint32_t)number_of(row, first + 2, 0, UINT32_MAX, bad);
    if (sqlite3_column_type(row, first + 3) != SQLITE_NULL)
        version->content = number_of(row, first + 3, 1, INT64_MAX, bad);
    version->kept = (enum history_kept)number_of(row, first + 4, 0, HISTORY_LARGE, bad);
}

static void read_actor(sqlite3_stmt *row, int first, struct history_actor *actor, bool *bad)
{
    if (sqlite3_column_type(row, first) == SQLITE_NULL)
        return;
    actor->known = true;
    actor->uid = (uint32_t)number_of(row, first, 0, UINT32_MAX, bad);
    actor->login = (uint32_t)number_of(row, first + 1, 0, UINT32_MAX, bad);
    actor->pid = (int32_t)number_of(row, first + 2, 0, INT32_MAX, bad);
    actor->group = (int32_t)number_of(row, first + 3, 0, INT32_MAX, bad);
    copy_text(row, first + 4, actor->name, sizeof(actor->name));
    copy_text(row, first + 5, actor->command, sizeof(actor->command));
}

#define CHANGE_COLUMNS                                                                             \
    "c.id, c.version, c.time, c.node, c.operation, p.path, o.path, c.old_type, c.old_size, "       \
    "c.old_mtime, c.old_content, c.old_kept, c.new_type, c.new_size, c.new_mtime, "                \
    "c.new_content, c.new_kept, a.uid, a.login, a.pid, a.process_group, a.name, a.command"
#define CHANGE_TABLES                                                                              \
    " FROM changes c JOIN paths p ON p.id = c.path LEFT JOIN paths o ON o.id = c.other "           \
    "LEFT JOIN actors a ON a.id = c.actor "

/* A row of CHANGE_COLUMNS; NULL: it cannot be one. */
static struct history_change *read_change(sqlite3_stmt *row)
{
    struct history_change *change = g_new0(struct history_change, 1);
    bool bad = false;

    change->id = number_of(row, 0, 1, INT64_MAX, &bad);
    change->version = (uint64_t)number_of(row, 1, 0, INT64_MAX, &bad);
    change->time = number_of(row, 2, 0, UINT32_MAX, &bad);
    change->node = (uint32_t)number_of(row, 3, 0, UINT32_MAX, &bad);
    change->operation = (enum history_operation)number_of(row, 4, 0, HISTORY_GAP, &bad);
    change->path = path_of(row, 5, &bad);
    if (sqlite3_column_type(row, 6) != SQLITE_NULL)
        change->other = path_of(row, 6, &bad);
    read_version(row, 7, &change->before, &bad);
    read_version(row, 12, &change->after, &bad);
    read_actor(row, 17, &change->actor, &bad);
    if (!bad)
        return change;
    history_change_free(change);
    return NULL;
}

void history_change_free(struct history_change *change)
{
    if (!change)
        return;
    g_free(change->path);
    g_free(change->other);
    g_free(change);
}

static void change_destroy(gpointer change)
{
    history_change_free(change);
}

/* --- Queries --- */

/* All rows, which are struct history_change, of a statement that is ended here; NULL with an error.
 */
static int read_changes(struct history_reader *reader, sqlite3_stmt *statement, GPtrArray **changes)
{
    bool bad = false;

    *changes = g_ptr_array_new_with_free_func(change_destroy);
    while (!bad && sqlite3_step(statement) == SQLITE_ROW) {
        struct history_change *change = read_change(statement);
        bad = !change;
        if (change)
            g_ptr_array_add(*changes, change);
    }
    int result = sqlite3_finalize(statement);
    if (result == SQLITE_OK && !bad)
        return 0;
    g_clear_pointer(changes, g_ptr_array_unref);
    return bad ? -EBADMSG : file_errno(reader->db, result);
}

static int prepare(struct history_reader *reader, const char *sql, sqlite3_stmt **statement)
{
    int result = sqlite3_prepare_v2(reader->db, sql, -1, statement, NULL);

    if (result == SQLITE_OK)
        return 0;
    /* A column is not there. */
    return (result & 0xff) == SQLITE_ERROR ? -EBADMSG : file_errno(reader->db, result);
}

/* Conditions that are wanted; parameters keep their numbers in all of them. What is below a path
 * sorts behind it and a slash, and before it and the character that follows the slash. */
static void add_conditions(GString *sql, const struct history_filter *filter)
{
    const struct {
        bool wanted;
        const char *condition;
    } conditions[] = {
        /* The paths are found first: those have few changes each, by their index. */
        {filter->path && *filter->path,
         " AND c.path IN (SELECT id FROM paths WHERE path = ?1 OR (path > ?1 || '/' AND "
         "path < ?1 || '0'))"},
        {filter->pattern, " AND p.path GLOB ?2"},
        {filter->since > 0, " AND c.time >= ?3"},
        {filter->until > 0, " AND c.time <= ?4"},
        {filter->above > 0, " AND c.id > ?5"},
        {filter->below > 0, " AND c.id < ?6"},
        {filter->by_node, " AND c.node = ?7"},
        {filter->by_user, " AND (a.uid = ?8 OR a.login = ?8)"},
        {filter->asked_here, " AND c.actor NOT NULL"},
    };

    for (size_t i = 0; i < G_N_ELEMENTS(conditions); i++) {
        if (conditions[i].wanted)
            g_string_append(sql, conditions[i].condition);
    }
}

/* GLOB knows sets in brackets too; a pattern of ours has none. g_free() it. */
static char *glob_of(const char *pattern)
{
    GString *glob = g_string_new(NULL);

    for (; *pattern; pattern++) {
        if (*pattern == '[')
            g_string_append(glob, "[[]");
        else
            g_string_append_c(glob, *pattern);
    }
    return g_string_free(glob, FALSE);
}

static void bind_filter(sqlite3_stmt *statement, const struct history_filter *filter)
{
    if (filter->path)
        sqlite3_bind_text(statement, 1, filter->path, -1, SQLITE_TRANSIENT);
    if (filter->pattern)
        sqlite3_bind_text(statement, 2, glob_of(filter->pattern), -1, g_free);
    sqlite3_bind_int64(statement, 3, filter->since);
    sqlite3_bind_int64(statement, 4, filter->until);
    sqlite3_bind_int64(statement, 5, filter->above);
    sqlite3_bind_int64(statement, 6, filter->below);
    sqlite3_bind_int64(statement, 7, filter->node);
    sqlite3_bind_int64(statement, 8, filter->user);
}

int history_list(struct history_reader *reader, const struct history_filter *filter,
                 GPtrArray **changes)
{
    g_autoptr(GString) sql = g_string_new("SELECT " CHANGE_COLUMNS CHANGE_TABLES "WHERE c.id > 0");
    sqlite3_stmt *statement;
    size_t limit = filter->limit > 0 ? MIN(filter->limit, HISTORY_LIST_MAX) : HISTORY_LIST_MAX;

    *changes = NULL;
    add_conditions(sql, filter);
    g_string_append(sql, " ORDER BY c.id DESC LIMIT ?9");
    int error = prepare(reader, sql->str, &statement);
    if (error)
        return error;
    bind_filter(statement, filter);
    sqlite3_bind_int64(statement, 9, (int64_t)limit);
    return read_changes(reader, statement, changes);
}

/* Where the fewest times contradict: each later one before it, each other one behind it. */
int history_position_of_time(struct history_reader *reader, int64_t time, int64_t *position)
{
    sqlite3_stmt *statement;
    int64_t weight = 0;
    int64_t least = -1; /* a position without any row for it is none */
    int error = prepare(reader, "SELECT id, time FROM changes ORDER BY id", &statement);

    *position = 0;
    if (error)
        return error;
    while (sqlite3_step(statement) == SQLITE_ROW) {
        weight += sqlite3_column_int64(statement, 1) <= time ? -1 : 1;
        if (weight <= least) {
            least = weight;
            *position = sqlite3_column_int64(statement, 0);
        }
    }
    int result = sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        return file_errno(reader->db, result);
    return *position > 0 ? 0 : -ENOENT;
}

int history_position_of_version(struct history_reader *reader, uint64_t version, int64_t *position)
{
    sqlite3_stmt *statement;
    int error = prepare(
        reader, "SELECT id FROM changes WHERE version <= ?1 ORDER BY id DESC LIMIT 1", &statement);

    *position = 0;
    if (error)
        return error;
    sqlite3_bind_int64(statement, 1, (int64_t)MIN(version, (uint64_t)INT64_MAX));
    if (sqlite3_step(statement) == SQLITE_ROW)
        *position = sqlite3_column_int64(statement, 0);
    int result = sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        return file_errno(reader->db, result);
    return *position > 0 ? 0 : -ENOENT;
}

int history_at(struct history_reader *reader, const char *path, int64_t position,
               struct history_change **change)
{
    sqlite3_stmt *statement;
    GPtrArray *found;
    int error = prepare(reader,
                        "SELECT " CHANGE_COLUMNS CHANGE_TABLES
                        "WHERE c.path = (SELECT id FROM paths WHERE path = ?1) AND c.id <= ?2 "
                        "ORDER BY c.id DESC LIMIT 1",
                        &statement);

    *change = NULL;
    if (error)
        return error;
    sqlite3_bind_text(statement, 1, path, -1, SQLITE_TRANSIENT);
    sqlite3_bind_int64(statement, 2, position);
    error = read_changes(reader, statement, &found);
    if (!found)
        return error;
    if (found->len > 0) {
        *change = found->pdata[0];
        g_ptr_array_set_free_func(found, NULL);
    }
    g_ptr_array_unref(found);
    return *change ? 0 : -ENOENT;
}

int history_tree(struct history_reader *reader, int64_t position,
                 const struct history_filter *filter, GPtrArray **changes)
{
    const struct history_filter taken = {.path = filter ? filter->path : NULL,
                                         .pattern = filter ? filter->pattern : NULL};
    g_autoptr(GString) sql =
        g_string_new("SELECT " CHANGE_COLUMNS CHANGE_TABLES
                     "WHERE c.id IN (SELECT max(id) FROM changes WHERE id <= ?9 GROUP BY path) "
                     "AND c.new_type <> 0");
    sqlite3_stmt *statement;

    *changes = NULL;
    add_conditions(sql, &taken);
    g_string_append(sql, " ORDER BY p.path");
    int error = prepare(reader, sql->str, &statement);
    if (error)
        return error;
    bind_filter(statement, &taken);
    sqlite3_bind_int64(statement, 9, position);
    return read_changes(reader, statement, changes);
}

/* --- Contents --- */

/* What a row of `contents` says, if its bytes are those of its digest. */
static GBytes *unpack_row(sqlite3_stmt *row)
{
    uint8_t digest[DIGEST_SIZE];
    GBytes *bytes;
    gsize size;

    if (sqlite3_column_type(row, 3) != SQLITE_BLOB || sqlite3_column_bytes(row, 0) != DIGEST_SIZE)
        return NULL;
    const void *packed = sqlite3_column_blob(row, 3);
    bytes = content_unpack(sqlite3_column_int64(row, 2), packed ? packed : "",
                           (size_t)sqlite3_column_bytes(row, 3), sqlite3_column_int64(row, 1));
    if (!bytes)
        return NULL;
    const void *data = g_bytes_get_data(bytes, &size);
    bytes_digest(data, size, digest);
    if (memcmp(digest, sqlite3_column_blob(row, 0), DIGEST_SIZE) == 0)
        return bytes;
    g_bytes_unref(bytes);
    return NULL;
}

int history_content(struct history_reader *reader, int64_t content, GBytes **bytes)
{
    sqlite3_stmt *statement;

    *bytes = NULL;
    if (content == 0) {
        *bytes = g_bytes_new(NULL, 0);
        return 0;
    }
    int error =
        prepare(reader, "SELECT digest, size, codec, data FROM contents WHERE id = ?1", &statement);
    if (error)
        return error;
    sqlite3_bind_int64(statement, 1, content);
    bool found = sqlite3_step(statement) == SQLITE_ROW;
    if (found)
        *bytes = unpack_row(statement);
    int result = sqlite3_finalize(statement);
    if (result != SQLITE_OK) {
        g_clear_pointer(bytes, g_bytes_unref);
        return file_errno(reader->db, result);
    }
    return *bytes ? 0 : found ? -EBADMSG : -ENOENT;
}

/* --- Nodes, sizes --- */

char *history_node_name(struct history_reader *reader, uint32_t node)
{
    g_autofree char *sql = g_strdup_printf("SELECT name FROM nodes WHERE id = %u", node);
    char *name = file_ask(reader->db, sql);

    if (name)
        clean_text(name);
    return name;
}

int history_node_id(struct history_reader *reader, const char *name, uint32_t *node)
{
    sqlite3_stmt *statement;
    bool bad = false;
    int error = prepare(reader, "SELECT id FROM nodes WHERE name = ?1", &statement);

    if (error)
        return error;
    sqlite3_bind_text(statement, 1, name, -1, SQLITE_TRANSIENT);
    bool found = sqlite3_step(statement) == SQLITE_ROW;
    if (found)
        *node = (uint32_t)number_of(statement, 0, 0, UINT32_MAX, &bad);
    int result = sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        return file_errno(reader->db, result);
    return bad ? -EBADMSG : found ? 0 : -ENOENT;
}

/* The first column of all rows. */
static int read_texts(struct history_reader *reader, const char *sql, GPtrArray **texts)
{
    sqlite3_stmt *statement;
    int error = prepare(reader, sql, &statement);

    *texts = NULL;
    if (error)
        return error;
    *texts = g_ptr_array_new_with_free_func(g_free);
    while (sqlite3_step(statement) == SQLITE_ROW) {
        const char *text = (const char *)sqlite3_column_text(statement, 0);
        if (text && *text && sqlite3_column_bytes(statement, 0) <= PATH_BYTES_MAX)
            g_ptr_array_add(*texts, g_strdup(text));
    }
    int result = sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        g_clear_pointer(texts, g_ptr_array_unref);
    return result != SQLITE_OK ? file_errno(reader->db, result) : 0;
}

int history_known_paths(struct history_reader *reader, GPtrArray **paths)
{
    return read_texts(
        reader, "SELECT path FROM paths ORDER BY id DESC LIMIT " G_STRINGIFY(PATHS_MAX), paths);
}

int history_known_nodes(struct history_reader *reader, GPtrArray **nodes)
{
    int error = read_texts(reader, "SELECT name FROM nodes ORDER BY name", nodes);

    for (guint i = 0; *nodes && i < (*nodes)->len; i++)
        clean_text((*nodes)->pdata[i]);
    return error;
}

int history_known_users(struct history_reader *reader, GArray **users)
{
    sqlite3_stmt *statement;
    int error =
        prepare(reader, "SELECT uid FROM actors UNION SELECT login FROM actors", &statement);

    *users = NULL;
    if (error)
        return error;
    *users = g_array_new(FALSE, FALSE, sizeof(uint32_t));
    while (sqlite3_step(statement) == SQLITE_ROW) {
        bool bad = false;
        uint32_t user = (uint32_t)number_of(statement, 0, 0, UINT32_MAX, &bad);
        if (!bad && user != UINT32_MAX) /* that is none */
            g_array_append_val(*users, user);
    }
    int result = sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        g_clear_pointer(users, g_array_unref);
    return result != SQLITE_OK ? file_errno(reader->db, result) : 0;
}

int history_summary(struct history_reader *reader, struct history_summary *summary)
{
    sqlite3_stmt *statement;
    int error = prepare(reader,
                        "SELECT (SELECT count(*) FROM changes), (SELECT count(*) FROM contents), "
                        "(SELECT time FROM changes ORDER BY id LIMIT 1), "
                        "(SELECT time FROM changes ORDER BY id DESC LIMIT 1)",
                        &statement);

    *summary = (struct history_summary){0};
    if (error)
        return error;
    if (sqlite3_step(statement) == SQLITE_ROW) {
        summary->changes = (uint64_t)sqlite3_column_int64(statement, 0);
        summary->contents = (uint64_t)sqlite3_column_int64(statement, 1);
        summary->first_time = sqlite3_column_int64(statement, 2);
        summary->last_time = sqlite3_column_int64(statement, 3);
    }
    int result = sqlite3_finalize(statement);
    if (result != SQLITE_OK)
        return file_errno(reader->db, result);
    summary->bytes = database_bytes(reader->db);
    summary->left_out = (uint64_t)database_get_number(reader->db, "left_out");
    summary->complete = database_get_number(reader->db, "complete");
    summary->complete_id = database_get_number(reader->db, "complete_id");
    summary->version = (uint64_t)database_get_number(reader->db, "version");
    return 0;
}
