/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl locks: shows the locks, and has those taken away that have expired. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>

#include "ctl/ask.h"
#include "ctl/locks.h"
#include "ctl/names.h"
#include "ctl/terminal.h"

/* In a cluster the member with the lowest id judges, and all take it away. */
#define PATIENCE (10 * G_USEC_PER_SEC)
#define PAUSE_MICROSECONDS 50000u
#define LOCKS "priv/lock/"

char *locks_holder(json_t *lock)
{
    json_t *holder = json_object_get(lock, "holder");

    g_autofree char *node = field_printable(lock, "node");
    if (!json_is_object(holder))
        return g_strdup_printf("process unknown, on %s", node);
    long long process = (long long)field_number(holder, "pid");
    g_autofree char *command = field_printable(holder, "command");
    if (!field_bool(holder, "alive"))
        return g_strdup_printf("process %lld, which has ended", process);
    return g_strdup_printf("process %lld (%s)", process, command);
}

static void print_lock(json_t *lock)
{
    bool expired = field_bool(lock, "expired");
    g_autofree char *holder = locks_holder(lock);
    g_autofree char *path = field_printable(lock, "path");
    g_autofree char *node = field_printable(lock, "node");

    printf("%-40s %-16s %8.0f s  %s%-7s%s  %s\n", path, node,
           json_number_value(json_object_get(lock, "age")),
           expired ? colour_begin(stdout, COLOUR_YELLOW) : "", expired ? "expired" : "held",
           expired ? colour_end(stdout) : "", holder);
}

int command_locks(const struct context *context, int argc, char **argv)
{
    int code;
    size_t i;
    json_t *lock;

    if (!command_parse(
            &argc, &argv, NULL, NULL,
            "Show the locks: directory, the node that took or renewed it last, age by "
            "this node's clock, whether it has expired, and the process that did so, if that "
            "was through the mount of this node.\nAn expired lock goes when "
            "somebody asks for it.",
            0, 0))
        return EXIT_WRONG_USE;
    json_t *answer = ask(context, ASK_LOCKS, NULL, 0, &code);
    if (!answer)
        return code;
    if (context->json)
        print_json(answer);
    else if (json_array_size(answer) == 0)
        puts("no locks");
    json_array_foreach(context->json ? NULL : answer, i, lock) print_lock(lock);
    json_decref(answer);
    return EXIT_DONE;
}

/* --- Breaking --- */

/* The lock of that path, borrowed; NULL: it is gone. */
static json_t *find_lock(json_t *locks, const char *path)
{
    json_t *lock;
    size_t i;

    json_array_foreach(locks, i, lock)
    {
        if (strcmp(field_text(lock, "path"), path) == 0)
            return lock;
    }
    return NULL;
}

static void complain_of_living(json_t *lock)
{
    g_autofree char *path = field_printable(lock, "path");
    g_autofree char *node = field_printable(lock, "node");

    fprintf(stderr, "error: %s has not expired: %s holds it since %.0f s\n", path, node,
            json_number_value(json_object_get(lock, "age")));
}

/* Those that are wanted and may go: the named ones, or all that have expired. NULL: one of the
 * named cannot be; stderr says why. */
static json_t *choose(json_t *locks, char **names)
{
    json_t *chosen = json_array();
    g_autoptr(GPtrArray) known = g_ptr_array_new();
    bool good = true;
    json_t *lock;
    size_t i;

    json_array_foreach(locks, i, lock)
    {
        g_ptr_array_add(known, (gpointer)field_text(lock, "path"));
        if (!*names && field_bool(lock, "expired"))
            json_array_append(chosen, lock);
    }
    for (; *names; names++) {
        g_autofree char *path =
            g_strconcat(g_str_has_prefix(*names, LOCKS) ? "" : LOCKS, *names, NULL);
        lock = find_lock(locks, path);
        if (!lock)
            names_complain("lock", path, known);
        else if (!field_bool(lock, "expired"))
            complain_of_living(lock);
        else
            json_array_append(chosen, lock);
        good = good && lock && field_bool(lock, "expired");
    }
    if (good)
        return chosen;
    json_decref(chosen);
    return NULL;
}

/* Asks for the lock as its clients do (doc/filesystem.md). 0 or an errno; EACCES: it was asked for,
 * and is still there. */
static int ask_for(const char *mountpoint, const char *path)
{
    const struct timespec times[2] = {{0}, {0}};
    g_autofree char *name = g_build_filename(mountpoint, path, NULL);

    return utimensat(AT_FDCWD, name, times, AT_SYMLINK_NOFOLLOW) == 0 ? 0 : errno;
}

/* Has it gone, or was it taken anew since? */
static bool is_broken(const struct context *context, json_t *lock)
{
    json_t *now = NULL;
    int error;

    if (ask_quietly(context, ASK_LOCKS, NULL, 0, &now, &error) != EXIT_DONE)
        return false;
    json_t *same = find_lock(now, field_text(lock, "path"));
    bool broken = !same || !field_bool(same, "expired");
    json_decref(now);
    return broken;
}

static bool break_one(const struct context *context, const char *mountpoint, json_t *lock)
{
    g_autofree char *path = field_printable(lock, "path");
    gint64 end = g_get_monotonic_time() + PATIENCE;
    int error = ask_for(mountpoint, field_text(lock, "path"));
    bool broken = is_broken(context, lock);

    if (error != 0 && error != EACCES && error != ENOENT && !broken) {
        fprintf(stderr, "error: cannot ask for %s: %s\n", path, g_strerror(error));
        return false;
    }
    while (!broken && g_get_monotonic_time() < end) {
        g_usleep(PAUSE_MICROSECONDS);
        broken = is_broken(context, lock);
    }
    if (!broken)
        fprintf(stderr,
                "error: %s was asked for and is still there: it has not expired by the clock of "
                "the member with the lowest id, or the cluster takes no changes\n",
                path);
    return broken;
}

static int break_all(const struct context *context, const char *mountpoint, json_t *chosen)
{
    int code = EXIT_DONE;
    json_t *lock;
    size_t i;

    json_array_foreach(chosen, i, lock)
    {
        bool broken = break_one(context, mountpoint, lock);
        json_object_set_new(lock, "broken", json_boolean(broken));
        g_autofree char *path = field_printable(lock, "path");
        g_autofree char *node = field_printable(lock, "node");
        if (broken && !context->json)
            printf("broken: %s, of %s, %.0f s old\n", path, node,
                   json_number_value(json_object_get(lock, "age")));
        if (!broken)
            code = EXIT_FAILED;
    }
    if (context->json)
        print_json(chosen);
    else if (json_array_size(chosen) == 0)
        puts("no lock has expired");
    return code;
}

/* With the overview: what cannot work is said at once. */
static int break_with(const struct context *context, json_t *overview, char **names)
{
    int code = EXIT_FAILED;
    json_t *locks = ask(context, ASK_LOCKS, NULL, 0, &code);
    json_t *chosen = locks ? choose(locks, names) : NULL;

    if (locks && !chosen)
        code = EXIT_FAILED;
    if (chosen && !ask_is_quorate(overview))
        code = EXIT_FAILED;
    else if (chosen)
        code = break_all(context, field_text(overview, "mountpoint"), chosen);
    json_decref(chosen);
    json_decref(locks);
    return code;
}

int command_locks_break(const struct context *context, int argc, char **argv)
{
    gboolean expired = FALSE;
    const GOptionEntry entries[] = {{"expired", 0, 0, G_OPTION_ARG_NONE, &expired,
                                     "those that have expired: others cannot be broken", NULL},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, "[LOCK...]",
                       "Have locks taken away that have expired, all or the named ones, as whoever "
                       "asks for one has it.\nA lock that is held lives as long as its owner "
                       "renews it: end the owner.",
                       0, G_MAXINT))
        return EXIT_WRONG_USE;
    if (!expired) {
        fputs("error: only expired locks can be broken: say so with --expired\n", stderr);
        return EXIT_WRONG_USE;
    }
    json_t *overview = ask(context, ASK_OVERVIEW, NULL, 0, &code);
    if (!overview)
        return code;
    code = break_with(context, overview, argv + 1);
    json_decref(overview);
    return code;
}
