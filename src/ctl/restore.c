/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl restore: puts a database in the place of the daemon's. */
#include "ctl/restore.h"

#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdio.h>
#include <unistd.h>

#include "base/directory.h"
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

static bool has_name(const char *path, const char *suffix)
{
    g_autofree char *name = g_strconcat(path, suffix, NULL);

    return g_file_test(name, G_FILE_TEST_EXISTS | G_FILE_TEST_IS_SYMLINK);
}

/* Gives what lies beside the database names that go with its new one, or would if it were there:
 * nothing may be played into what comes next. `moved`: these names are added; NULL: not wanted. */
static int move_companions(const char *path, const char *kept, GPtrArray *moved)
{
    for (size_t i = 0; i < G_N_ELEMENTS(companions); i++) {
        g_autofree char *from = g_strconcat(path, companions[i], NULL);
        g_autofree char *to = g_strconcat(kept, companions[i], NULL);
        int result = rename(from, to);
        if (result < 0 && errno != ENOENT)
            return fail("move away", from);
        if (result == 0 && moved)
            g_ptr_array_add(moved, g_steal_pointer(&to));
    }
    errno = -directory_sync(path);
    return errno ? fail("move files away from", path) : 0;
}

GPtrArray *restore_find_orphans(const char *path)
{
    GPtrArray *orphans = g_ptr_array_new_with_free_func(g_free);

    for (size_t i = 0; i < G_N_ELEMENTS(companions); i++) {
        if (!g_file_test(path, G_FILE_TEST_EXISTS) && has_name(path, companions[i]))
            g_ptr_array_add(orphans, g_strconcat(path, companions[i], NULL));
    }
    return orphans;
}

/* Of that name there is nothing: no database, and nothing that would belong to it. */
static bool is_free(const char *path)
{
    g_autoptr(GPtrArray) orphans = restore_find_orphans(path);

    return !has_name(path, "") && orphans->len == 0;
}

static char *kept_name(const char *path)
{
    g_autoptr(GDateTime) now = g_date_time_new_now_local();
    g_autofree char *stamp = g_date_time_format(now, "%Y%m%d-%H%M%S");

    char *name = g_strdup_printf("%s.replaced-%s", path, stamp);

    for (int i = 2; !is_free(name); i++) {
        g_free(name);
        name = g_strdup_printf("%s.replaced-%s-%d", path, stamp, i);
    }
    return name;
}

/* What is there of an old one goes under a name of its own, the database itself under that too. */
static int make_way(const char *path, struct restored *restored)
{
    g_autofree char *name = kept_name(path);

    if (!g_file_test(path, G_FILE_TEST_EXISTS))
        return move_companions(path, name, restored->set_aside);
    fold(path);
    if (link(path, name) < 0)
        return fail("keep the old database as", name);
    restored->kept = g_steal_pointer(&name);
    return move_companions(path, restored->kept, NULL);
}

void restored_clear(struct restored *restored)
{
    g_clear_pointer(&restored->kept, g_free);
    g_clear_pointer(&restored->set_aside, g_ptr_array_unref);
}

/* The new one is complete before the old one is touched, and takes its name in one step. */
int restore_install(const struct tree *tree, const char *state_dir, struct restored *restored)
{
    g_autofree char *path = g_build_filename(state_dir, DATABASE_NAME, NULL);
    g_autofree char *unfinished = g_strconcat(path, ".restored", NULL);
    g_autofree char *message = NULL;
    struct progress progress;

    *restored = (struct restored){.set_aside = g_ptr_array_new_with_free_func(g_free)};
    unlink(unfinished);
    progress_start(&progress, "writing the database");
    int error = tools_save(tree, unfinished, &message);
    progress_end(&progress);
    if (error) {
        fprintf(stderr, "error: %s\n", message);
        return -1;
    }
    error = make_way(path, restored);
    if (!error && db_rename(unfinished, path) < 0)
        error = fail("create", path);
    if (error)
        unlink(unfinished);
    return error;
}

#define NEXT "systemctl start pve-cluster"

json_t *restore_json_names(const GPtrArray *names)
{
    json_t *list = json_array();

    for (guint i = 0; i < names->len; i++)
        json_array_append_new(list, db_json_string(names->pdata[i]));
    return list;
}

void restore_print_kept(const struct restored *restored)
{
    if (restored->kept)
        printf("the one that was there: %s\n", restored->kept);
    for (guint i = 0; i < restored->set_aside->len; i++)
        printf("left of one that is missing: %s\n", (const char *)restored->set_aside->pdata[i]);
}

static void print_result(const struct context *context, const char *path, const struct tree *tree,
                         const struct restored *restored)
{
    if (context->json) {
        json_t *object = db_json_written(path, tree);
        json_object_set_new(object, "kept",
                            restored->kept ? db_json_string(restored->kept) : json_null());
        json_object_set_new(object, "set_aside", restore_json_names(restored->set_aside));
        json_object_set_new(object, "next", json_pack("[s]", NEXT));
        db_print_json(object);
        return;
    }
    db_print_written(path, tree);
    restore_print_kept(restored);
    puts("next: " NEXT);
}

static int restore(const struct context *context, const char *file, const char *path,
                   const char *state_dir)
{
    struct restored restored;
    struct tree *tree = db_read(file);

    if (!tree)
        return EXIT_FAILED;
    int error = restore_install(tree, state_dir, &restored);
    if (!error)
        print_result(context, path, tree, &restored);
    restored_clear(&restored);
    tree_free(tree);
    return error ? EXIT_FAILED : EXIT_DONE;
}

/* ---- What would be lost ---- */

/* `present` NULL: there is none, or none that can be read; `orphans`: what would be set aside. */
static void print_losses(const struct db_comparison *comparison, const struct tree *present,
                         const struct tree *new, const GPtrArray *orphans, bool running)
{
    g_autofree char *gone = db_count_shown(comparison->gone, "entry", "entries");

    if (present)
        printf("version %" PRIu64 " would be replaced by %" PRIu64 ": %s would be lost, %u would "
               "get another content, %u would come back\n",
               present->root.version, new->root.version, gone, comparison->altered,
               comparison->added);
    else
        printf("version %" PRIu64 " would be put in place\n", new->root.version);
    for (guint i = 0; i < orphans->len; i++)
        printf("%s, left of one that is missing, would be set aside\n",
               (const char *)orphans->pdata[i]);
    if (running)
        puts("a pmxcfs runs on it: it must be stopped before (systemctl stop pve-cluster)");
}

static void print_losses_json(const struct db_comparison *comparison, const struct tree *present,
                              const struct tree *new, const GPtrArray *orphans, bool running)
{
    db_print_json(json_pack(
        "{s:b, s:b, s:o, s:o, s:I, s:I, s:I, s:I, s:O}", "dry_run", true, "running", running,
        "present", present ? json_integer((json_int_t)present->root.version) : json_null(),
        "set_aside", restore_json_names(orphans), "version", (json_int_t) new->root.version, "lost",
        (json_int_t)comparison->gone, "altered", (json_int_t)comparison->altered, "added",
        (json_int_t)comparison->added, "differences", comparison->list));
}

static int show_losses(const struct context *context, const struct tree *new, const char *path,
                       const char *state_dir)
{
    bool is_there = g_file_test(path, G_FILE_TEST_EXISTS);
    struct tree *present = is_there ? db_read(path) : NULL;
    struct db_comparison comparison = {.content_only = true,
                                       .list = context->json ? json_array() : NULL};
    bool running = db_is_running(state_dir);
    g_autoptr(GPtrArray) orphans = restore_find_orphans(path);

    if (is_there && !present)
        fprintf(stderr, "error: so nobody can say what of it would be lost; it would be kept\n");
    if (present)
        db_compare(&comparison, present, new);
    (context->json ? print_losses_json : print_losses)(&comparison, present, new, orphans, running);
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
