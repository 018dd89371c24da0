/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the journal beside a database did that the database has not yet. */
#include "ctl/tools/journal.h"

#include <errno.h>

#include "ctl/tools/snapshot.h"
#include "store/file.h"
#include "store/read.h"

static void ignore(struct store_checker *checker, const struct store_finding *finding)
{
    (void)checker;
    (void)finding;
}

/* Takes the tree over. */
static int replay(struct tree *tree, const GByteArray *journal, GPtrArray *effects, char **message)
{
    struct replay replay;
    int error = 0;

    snapshot_replay(journal, effects, &replay, &tree);
    if (replay.keep) {
        *message = g_strdup_printf("not all of it can be brought in: %s", replay.reason);
        error = -EBADMSG;
    }
    replay_clear(&replay);
    tree_free(tree);
    return error;
}

static int read_both(sqlite3 *db, const char *path, GPtrArray *effects, char **message)
{
    struct store_checker checker = {.found = ignore};
    GByteArray *journal;
    struct tree *tree;
    int error = snapshot_begin(db, path, &journal, message);

    if (error)
        return error;
    if (!snapshot_is_empty(journal)) {
        error = store_read_connection(db, &checker, &tree);
        if (error)
            *message = g_strdup_printf("%s does not load", path);
        else
            error = replay(tree, journal, effects, message);
    }
    g_byte_array_unref(journal);
    return error;
}

int tools_read_journal(const char *path, GPtrArray **effects, char **message)
{
    g_autofree char *real = file_resolve(path, NULL);
    sqlite3 *db = NULL;

    *message = NULL;
    *effects = draft_effects_new();
    int error = file_require_present(real, NULL, message);
    if (!error)
        error = file_open_untouched(real, NULL, 0, &db, message);
    if (!error)
        error = read_both(db, real, *effects, message);
    sqlite3_close(db);
    if (error)
        g_clear_pointer(effects, g_ptr_array_unref);
    return error;
}
