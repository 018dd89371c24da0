/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl kept restore: files of a safety copy, written back through the mount. */
#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "cluster/conf.h"
#include "core/path.h"
#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/kept.h"
#include "ctl/names.h"
#include "ctl/replace_file.h"
#include "ctl/where.h"
#include "store/text.h"

struct restoration {
    const char *mountpoint;
    bool replace; /* files that are there with another content too */
    bool dry_run;
    json_t *results; /* with --json; NULL: they are printed */
    unsigned int failed;
};

enum result { RESULT_RESTORED, RESULT_WOULD, RESULT_SAME, RESULT_REFUSED, RESULT_FAILED };

static const char *const result_words[] = {
    [RESULT_RESTORED] = "restored", [RESULT_WOULD] = "would restore", [RESULT_SAME] = "same",
    [RESULT_REFUSED] = "refused",   [RESULT_FAILED] = "failed",
};

/* `reason` NULL: it went well. */
static void tell(struct restoration *restoration, const char *path, enum result result,
                 const char *reason)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));

    restoration->failed += result == RESULT_REFUSED || result == RESULT_FAILED;
    if (reason)
        fprintf(stderr, "error: %s: %s\n", shown, reason);
    if (restoration->results)
        json_array_append_new(restoration->results,
                              json_pack("{s:o, s:s, s:s*}", "path", db_json_string(path), "result",
                                        result_words[result], "reason", reason));
    else if (!reason)
        printf("%s: %s%s\n", result_words[result], shown,
               result == RESULT_SAME ? " is there as it is in the copy" : "");
}

/* ---- One file ---- */

/* Is it there with that content? -errno if it cannot be read, -ENOENT: it is not there. */
static int is_same(const char *file, const struct entry *entry)
{
    g_autofree char *content = NULL;
    gsize size;
    struct stat info;

    if (lstat(file, &info) < 0)
        return -errno;
    if (!S_ISREG(info.st_mode))
        return -EISDIR;
    if (!g_file_get_contents(file, &content, &size, NULL))
        return -EIO;
    return size == (entry->content ? entry->size : 0) &&
           (size == 0 || memcmp(content, entry->content->data, size) == 0);
}

/* The directories above a path of the tree. 0 or an errno. */
static int make_parents(const char *mountpoint, const char *path)
{
    for (const char *slash = strchr(path, '/'); slash; slash = strchr(slash + 1, '/')) {
        g_autofree char *parent = g_strndup(path, (gsize)(slash - path));
        g_autofree char *directory = g_build_filename(mountpoint, parent, NULL);
        if (mkdir(directory, 0755) < 0 && errno != EEXIST)
            return errno;
    }
    return 0;
}

static const char *reason_of(int error, const char *path)
{
    struct guest_path guest;

    if (error == EEXIST && path_parse_guest(path, &guest))
        return "a guest of this number is there, on another node or of another type";
    return g_strerror(error);
}

static void restore_file(struct restoration *restoration, const char *path,
                         const struct entry *entry)
{
    g_autofree char *file = g_build_filename(restoration->mountpoint, path, NULL);
    int same = is_same(file, entry);

    if (same == 1) {
        tell(restoration, path, RESULT_SAME, NULL);
    } else if (same == 0 && !restoration->replace) {
        tell(restoration, path, RESULT_REFUSED,
             "another content is there ('kept diff -u' shows it); --replace replaces it");
    } else if (same < 0 && same != -ENOENT && same != -ENOTDIR) {
        tell(restoration, path, RESULT_FAILED, reason_of(-same, path));
    } else if (restoration->dry_run) {
        tell(restoration, path, RESULT_WOULD, NULL);
    } else {
        int error = make_parents(restoration->mountpoint, path);
        if (!error)
            error = replace_file(file, entry->content ? entry->content->data : NULL,
                                 entry->content ? entry->size : 0);
        tell(restoration, path, error ? RESULT_FAILED : RESULT_RESTORED,
             error ? reason_of(error, path) : NULL);
    }
}

/* ---- Which files ---- */

/* Is it the path itself, or below it? */
static bool is_within(const char *path, const char *top)
{
    size_t length = strlen(top);

    while (length > 0 && top[length - 1] == '/')
        length--;
    return strncmp(path, top, length) == 0 && (path[length] == '\0' || path[length] == '/');
}

static bool is_wanted(const char *path, char **wanted)
{
    for (; *wanted; wanted++) {
        if (is_within(path, *wanted))
            return true;
    }
    return false;
}

/* False: stderr names those that the copy has not. */
static bool are_known(const GArray *entries, char **wanted)
{
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    bool all = true;

    for (guint i = 0; i < entries->len; i++)
        g_ptr_array_add(known, g_array_index(entries, struct db_entry, i).path);
    for (; *wanted; wanted++) {
        g_autofree char *clean = g_strdup(*wanted);
        while (g_str_has_suffix(clean, "/"))
            clean[strlen(clean) - 1] = '\0';
        if (names_contain(known, clean))
            continue;
        names_complain("file of the copy", *wanted, known);
        all = false;
    }
    return all;
}

/* `wanted` empty: all, but what would change the cluster itself. */
static void restore_files(struct restoration *restoration, const GArray *entries, char **wanted)
{
    for (guint i = 0; i < entries->len; i++) {
        const struct db_entry *item = &g_array_index(entries, struct db_entry, i);
        bool all = !*wanted;
        if (entry_is_directory(item->entry) || (!all && !is_wanted(item->path, wanted)))
            continue;
        if (all && strcmp(item->path, CONF_PATH) == 0)
            fprintf(stderr, "%s is left out: name it if it is wanted\n", item->path);
        else
            restore_file(restoration, item->path, item->entry);
    }
}

static int restore(struct restoration *restoration, const struct tree *copy, char **wanted)
{
    GArray *entries = db_sorted(copy);
    bool known = are_known(entries, wanted);

    if (known)
        restore_files(restoration, entries, wanted);
    if (known && restoration->results)
        db_print_json(json_incref(restoration->results));
    g_array_unref(entries);
    return known && restoration->failed == 0 ? EXIT_DONE : EXIT_FAILED;
}

/* The copy lies with the daemon's database, and the daemon has the mount: one that is named must be
 * where it is. */
static int run(const struct context *context, const char *given, char **names,
               struct restoration *restoration)
{
    int code;
    json_t *overview = ask(context, ASK_OVERVIEW, NULL, 0, &code);

    if (!overview)
        return code;
    const char *told = json_string_value(json_object_get(overview, "state_dir"));
    const char *state_dir = given ? given : told;
    struct tree *copy = state_dir ? kept_read(state_dir, names[0], &code) : NULL;
    if (!state_dir) {
        fputs("error: the daemon does not tell where its database is; is it another release? Name "
              "the directory with --state-dir\n",
              stderr);
        code = EXIT_FAILED;
    }
    restoration->mountpoint = field_text(overview, "mountpoint");
    if (copy)
        code = ask_is_quorate(overview) ? restore(restoration, copy, names + 1) : EXIT_FAILED;
    if (copy)
        tree_free(copy);
    json_decref(overview);
    return code;
}

int command_kept_restore(const struct context *context, int argc, char **argv)
{
    g_autofree char *given = NULL;
    gboolean all = FALSE;
    gboolean replace = FALSE;
    gboolean dry_run = FALSE;
    const GOptionEntry entries[] = {
        {"all", 0, 0, G_OPTION_ARG_NONE, &all, "all of them, but corosync.conf", NULL},
        {"replace", 0, 0, G_OPTION_ARG_NONE, &replace,
         "also those that are there with another content", NULL},
        {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run, "only say what would be done", NULL},
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &given,
         "where the copies are (that of the daemon)", "DIR"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "COPY [PATH...]",
                       "Write files of a safety copy back, through the mount of the running "
                       "daemon: the named ones, and all below a named directory.\nFiles that are "
                       "there with another content are left, unless --replace is given.",
                       1, G_MAXINT))
        return EXIT_WRONG_USE;
    if (all != (argc == 2)) {
        fputs("error: name the files, or say --all\n", stderr);
        return EXIT_WRONG_USE;
    }
    struct restoration restoration = {
        .replace = replace, .dry_run = dry_run, .results = context->json ? json_array() : NULL};
    int code = run(context, given, argv + 1, &restoration);
    json_decref(restoration.results);
    return code;
}
