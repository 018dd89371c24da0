/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl restore: puts a database in the place of the daemon's. */
#include "ctl/restore.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/db_compare.h"
#include "ctl/tools/save.h"
#include "ctl/where.h"
#include "store/store.h"

#define SUMMARY                                                                                    \
    "Puts a copy of FILE in the place of the database. pmxcfs must not be running; FILE must be\n" \
    "a database that loads. The one that was there is kept beside it, as\n" DATABASE_NAME          \
    ".replaced-DATE-TIME.\n\n"                                                                     \
    "With --dry-run nothing is changed, and pmxcfs may be running: shows what is there and not\n"  \
    "in FILE (-), what would get FILE's content (!), and what would come back (+). Exit code 4:\n" \
    "something would be lost, or pmxcfs runs.\n\n"                                                 \
    "In a cluster with other members this does not bring back an older state: the copy with the\n" \
    "highest version wins when the node joins."

/* What belongs to a database of some name: SQLite's logs, and the journal of pmxcfs. */
static const char *const companions[] = {"-wal", "-shm", "-journal", ".journal"};

static int fail(const char *what, const char *path)
{
    fprintf(stderr, "error: cannot %s %s: %s\n", what, path, g_strerror(errno));
    return -1;
}

/* Brings what is in a WAL or journal beside the database into it, if it loads, so that it is one
 * file. One that does not is left as it is. */
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
    int error = tools_save(tree, unfinished, &message);
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

/* ---- What would be lost ---- */

/* `present` NULL: there is none, or none that can be read. */
static void print_losses(const struct db_comparison *comparison, const struct tree *present,
                         const struct tree *new, bool running)
{
    g_autofree char *gone = db_count_shown(comparison->gone, "entry", "entries");

    if (present)
        printf("version %" PRIu64 " would be replaced by %" PRIu64 ": %s would be lost, %u would "
               "get another content, %u would come back\n",
               present->root.version, new->root.version, gone, comparison->altered,
               comparison->added);
    else
        printf("version %" PRIu64 " would be put in place\n", new->root.version);
    if (running)
        puts("a pmxcfs runs on it: it must be stopped before (systemctl stop pve-cluster)");
}

static void print_losses_json(const struct db_comparison *comparison, const struct tree *present,
                              const struct tree *new, bool running)
{
    db_print_json(json_pack(
        "{s:b, s:b, s:o, s:I, s:I, s:I, s:I, s:O}", "dry_run", true, "running", running, "present",
        present ? json_integer((json_int_t)present->root.version) : json_null(), "version",
        (json_int_t) new->root.version, "lost", (json_int_t)comparison->gone, "altered",
        (json_int_t)comparison->altered, "added", (json_int_t)comparison->added, "differences",
        comparison->list));
}

static int show_losses(const struct context *context, const struct tree *new, const char *path,
                       const char *state_dir)
{
    bool is_there = g_file_test(path, G_FILE_TEST_EXISTS);
    struct tree *present = is_there ? db_read(path) : NULL;
    struct db_comparison comparison = {.content_only = true,
                                       .list = context->json ? json_array() : NULL};
    bool running = db_is_running(state_dir);

    if (is_there && !present)
        fprintf(stderr, "error: so nobody can say what of it would be lost; it would be kept\n");
    if (present)
        db_compare(&comparison, present, new);
    (context->json ? print_losses_json : print_losses)(&comparison, present, new, running);
    bool loses = comparison.gone + comparison.altered > 0 || (is_there && !present);
    json_decref(comparison.list);
    if (present)
        tree_free(present);
    return loses || running ? EXIT_FOUND : EXIT_DONE;
}

static int dry_run(const struct context *context, const char *file, const char *path,
                   const char *state_dir)
{
    struct tree *new = db_read(file);

    if (!new)
        return EXIT_FAILED;
    int code = show_losses(context, new, path, state_dir);
    tree_free(new);
    return code;
}

static int lock_and_restore(const struct context *context, const char *file, const char *path,
                            const char *state_dir)
{
    int lock = db_lock(state_dir, true);

    if (lock < 0) {
        fprintf(stderr, "error: %s: %s\n", state_dir,
                lock == -EWOULDBLOCK ? "a pmxcfs runs on it (systemctl stop pve-cluster)"
                                     : g_strerror(-lock));
        return EXIT_FAILED;
    }
    int code = restore(context, file, path, state_dir);
    close(lock);
    return code;
}

int command_restore(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    gboolean dry = FALSE;
    const GOptionEntry entries[] = {
        {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry, "only show what would be lost", NULL},
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &given,
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
    if (!g_file_test(state_dir, G_FILE_TEST_IS_DIR)) {
        fprintf(stderr, "error: %s is no directory\n", state_dir);
        return EXIT_FAILED;
    }
    return dry ? dry_run(context, argv[1], path, state_dir)
               : lock_and_restore(context, argv[1], path, state_dir);
}
