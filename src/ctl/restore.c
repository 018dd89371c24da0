/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl restore: puts a database in the place of the daemon's. */
#include "ctl/restore.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/where.h"
#include "store/store.h"

#define SUMMARY                                                                                    \
    "Puts a copy of FILE in the place of the database. pmxcfs must not be running; FILE must be\n" \
    "a database that loads. The one that was there is kept beside it, as\n" DATABASE_NAME          \
    ".replaced-DATE-TIME.\n\n"                                                                     \
    "In a cluster with other members this does not bring back an older state: the copy with the\n" \
    "highest version wins when the node joins."

/* What belongs to a database of some name: SQLite's logs, and the journal of pmxcfs. */
static const char *const companions[] = {"-wal", "-shm", "-journal", ".journal"};

static int fail(const char *what, const char *path)
{
    fprintf(stderr, "error: cannot %s %s: %s\n", what, path, g_strerror(errno));
    return -1;
}

/* Brings what is in logs beside the database into it, if it loads, so that it is one file. One that
 * does not is left as it is. */
static void fold(const char *path)
{
    g_autofree char *message = NULL;
    struct store *store;
    struct tree *tree;

    if (store_open(path, NULL, &store, &tree, &message) == 0) {
        tree_free(tree);
        store_close(store);
    }
}

/* Gives the database a second name, and what lies beside it names that go with it. */
static int keep(const char *path, const char *kept)
{
    if (link(path, kept) < 0)
        return fail("keep the old database as", kept);
    for (size_t i = 0; i < G_N_ELEMENTS(companions); i++) {
        g_autofree char *from = g_strconcat(path, companions[i], NULL);
        g_autofree char *to = g_strconcat(kept, companions[i], NULL);
        if (rename(from, to) < 0 && errno != ENOENT)
            return fail("move away", from);
    }
    return 0;
}

static char *kept_name(const char *path)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *stamp = g_date_time_format(now, "%Y%m%d-%H%M%S");

    char *name = g_strdup_printf("%s.replaced-%s", path, stamp);

    for (int i = 2; g_file_test(name, G_FILE_TEST_EXISTS); i++) {
        g_free(name);
        name = g_strdup_printf("%s.replaced-%s-%d", path, stamp, i);
    }
    return name;
}

/* The new one is complete before the old one is touched, and takes its name in one step. */
int restore_install(const struct tree *tree, const char *state_dir, char **kept)
{
    g_autofree char *path = g_build_filename(state_dir, DATABASE_NAME, NULL);
    g_autofree char *unfinished = g_strconcat(path, ".restored", NULL);
    g_autofree char *message = NULL;
    struct progress progress;

    *kept = NULL;
    unlink(unfinished);
    progress_start(&progress, "writing the database");
    int error = store_save(tree, unfinished, &message);
    progress_end(&progress);
    if (error) {
        fprintf(stderr, "error: %s\n", message);
        return -1;
    }
    if (g_file_test(path, G_FILE_TEST_EXISTS)) {
        *kept = kept_name(path);
        fold(path);
        error = keep(path, *kept);
    }
    if (!error && db_rename(unfinished, path) < 0)
        error = fail("create", path);
    if (error)
        unlink(unfinished);
    return error;
}

#define NEXT "systemctl start pve-cluster"

static void print_result(const struct context *context, const char *path, const struct tree *tree,
                         const char *kept)
{
    if (context->json) {
        json_t *object = db_json_written(path, tree);
        json_object_set_new(object, "kept", kept ? db_json_string(kept) : json_null());
        json_object_set_new(object, "next", json_pack("[s]", NEXT));
        db_print_json(object);
        return;
    }
    db_print_written(path, tree);
    if (kept)
        printf("the one that was there: %s\n", kept);
    puts("next: " NEXT);
}

static int restore(const struct context *context, const char *file, const char *path,
                   const char *state_dir)
{
    g_autofree char *kept = NULL;
    struct tree *tree = db_read(file);

    if (!tree)
        return EXIT_FAILED;
    int error = restore_install(tree, state_dir, &kept);
    if (!error)
        print_result(context, path, tree, kept);
    tree_free(tree);
    return error ? EXIT_FAILED : EXIT_DONE;
}

int command_restore(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    const GOptionEntry entries[] = {{"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &given,
                                     "where the database is (" DEFAULT_STATE_DIR ")", "DIR"},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "FILE", SUMMARY, 1, 1))
        return EXIT_WRONG_USE;
    int code;
    g_autofree char *state_dir = where_state_dir(context, given, &code);
    if (!state_dir)
        return code;
    g_autofree char *path = g_build_filename(state_dir, DATABASE_NAME, NULL);
    if (db_same_file(path, argv[1])) {
        fprintf(stderr, "error: %s is the database itself\n", argv[1]);
        return EXIT_FAILED;
    }
    int lock = db_lock(state_dir, true);
    if (lock < 0) {
        fprintf(stderr, "error: %s: %s\n", state_dir,
                lock == -EWOULDBLOCK ? "a pmxcfs runs on it (systemctl stop pve-cluster)"
                                     : g_strerror(-lock));
        return EXIT_FAILED;
    }
    code = restore(context, argv[1], path, state_dir);
    close(lock);
    return code;
}
