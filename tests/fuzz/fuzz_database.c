/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: the bytes of a database from anywhere. */
#include <glib.h>
#include <sqlite3.h>
#include <string.h>

#include "core/index.h"
#include "core/state.h"
#include "ctl/tools/repair.h"
#include "fuzz.h"
#include "store/finding.h"
#include "store/read.h"

#define INPUT_MAX (256u * 1024)
#define VERSION_OFFSET 18u /* both bytes of the header that say that there is a log */

struct checker {
    struct store_checker checker;
    unsigned refused;
};

static void found(struct store_checker *base, const struct store_finding *finding)
{
    struct checker *checker = container_of(base, struct checker, checker);

    MUST(finding->text && strlen(finding->text) <= 1024);
    MUST(!finding->path || strlen(finding->path) <= 1024);
    for (const char *at = finding->text; *at; at++)
        MUST((unsigned char)*at >= ' ' && *at != 0x7f);
    checker->refused += finding->severity == STORE_REFUSED;
}

/* What loads is a tree that can be published and compared. */
static void use(struct tree *tree)
{
    struct state *state = state_new(tree, 0);
    struct draft *draft = draft_new(state);
    g_autofree char *problem = NULL;
    struct index_view view;

    int error = draft_check(draft, &problem);
    if (error)
        fprintf(stderr, "%s\n", problem);
    MUST(error == 0);
    struct buffer *index = index_build(draft);
    MUST(index_parse(index->data, index->capacity, &view) == 0);
    buffer_unref(index);
    draft_free(draft);
    state_free(state);
}

/* Opened as store/file.c does. */
static sqlite3 *open_bytes(const uint8_t *data, size_t size)
{
    sqlite3 *db;

    if (sqlite3_open_v2(":memory:", &db,
                        SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE,
                        NULL) != SQLITE_OK)
        abort();
    sqlite3_db_config(db, SQLITE_DBCONFIG_TRUSTED_SCHEMA, 0, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 1, NULL);
    sqlite3_db_config(db, SQLITE_DBCONFIG_ENABLE_TRIGGER, 0, NULL);
    unsigned char *copy = sqlite3_malloc64(size);
    memcpy(copy, data, size);
    if (size > VERSION_OFFSET + 1) /* no log can be in memory */
        memset(copy + VERSION_OFFSET, 1, 2);
    sqlite3_deserialize(db, "main", copy, (sqlite3_int64)size, (sqlite3_int64)size,
                        SQLITE_DESERIALIZE_FREEONCLOSE | SQLITE_DESERIALIZE_READONLY);
    return db;
}

/* What is refused is put right, or there is a reason why not. */
static void repair(sqlite3 *db)
{
    struct checker checker = {.checker.found = found};
    g_autofree char *message = NULL;
    struct tree *tree = NULL;
    bool moved_on;

    sqlite3_db_config(db, SQLITE_DBCONFIG_DEFENSIVE, 0, NULL);
    sqlite3_exec(db, "PRAGMA writable_schema=ON", NULL, NULL, NULL);
    int error = tools_repair_connection(db, &checker.checker, &tree, &moved_on, &message);
    MUST(error ? message && !tree : !message && tree);
    if (!error)
        use(tree);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct checker checker = {.checker.found = found};
    struct tree *tree = NULL;

    if (size == 0 || size > INPUT_MAX)
        return 0;
    sqlite3 *db = open_bytes(data, size);
    int error = store_read_connection(db, &checker.checker, &tree);
    MUST(error ? checker.refused > 0 && !tree : checker.refused == 0 && tree);
    if (!error)
        use(tree);
    else
        repair(db);
    sqlite3_close(db);
    return 0;
}
