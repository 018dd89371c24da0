/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl audit: who had what changed on this node. */
#include <pwd.h>
#include <stdio.h>
#include <string.h>

#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/history_moment.h"
#include "ctl/suggest.h"
#include "store/text.h"

#define LINES_DEFAULT 100

/* "alice", also if she is root by sudo now: "alice (root)"; g_free() it. */
static char *user_shown(const struct history_actor *actor)
{
    g_autofree char *user = history_common_user(actor->uid);

    if (actor->login == UINT32_MAX || actor->login == actor->uid)
        return g_steal_pointer(&user);
    g_autofree char *login = history_common_user(actor->login);
    return g_strdup_printf("%s (%s)", login, user);
}

static void print_change(struct history_reader *reader, const struct history_change *change)
{
    (void)reader;
    const struct history_actor *actor = &change->actor;
    g_autofree char *when = db_time_shown((uint32_t)change->time);
    g_autofree char *user = user_shown(actor);
    g_autofree char *name = store_text_shown(actor->name, strlen(actor->name));
    g_autofree char *command = store_text_shown(actor->command, strlen(actor->command));
    g_autofree char *path = store_text_shown(change->path, strlen(change->path));

    printf("%s  %-14s  %7d  %-6s  %s", when, user, actor->pid,
           history_common_operation(change->operation), path);
    if (change->other) {
        g_autofree char *other = store_text_shown(change->other, strlen(change->other));
        printf(" %s %s", change->after.exists ? "<-" : "->", other);
    }
    printf("  %s\n", *command ? command : name);
}

/* The names of those that the history knows; NULL, and *error. */
static GPtrArray *known_names(struct history_reader *reader, int *error)
{
    GPtrArray *names = NULL;
    GArray *users;

    *error = history_known_users(reader, &users);
    if (*error)
        return NULL;
    names = g_ptr_array_new_with_free_func(g_free);
    for (guint i = 0; i < users->len; i++)
        g_ptr_array_add(names, history_common_user(g_array_index(users, uint32_t, i)));
    g_array_unref(users);
    return names;
}

/* A name of this host, or a number. False: stderr says why not. */
static bool take_user(struct history_reader *reader, const char *user,
                      struct history_filter *filter)
{
    const struct passwd *known = user ? getpwnam(user) : NULL;
    char *end = NULL;
    uint64_t number = user ? g_ascii_strtoull(user, &end, 10) : 0;
    int error;

    filter->by_user = user != NULL;
    filter->user = known ? (uint32_t)known->pw_uid : (uint32_t)number;
    if (!user || known || (g_ascii_isdigit(*user) && *end == '\0' && number < UINT32_MAX))
        return true;
    GPtrArray *names = known_names(reader, &error);
    if (!names) {
        history_common_damaged(reader, "who changed something", error);
        return false;
    }
    g_autofree char *hint = suggest_text(user, names);
    fprintf(stderr, "error: no user is called '%s'%s\n", user, hint);
    g_ptr_array_unref(names);
    return false;
}

static int audit(const struct context *context, struct history_reader *reader, const char *user,
                 struct history_filter *filter, guint lines)
{
    GPtrArray *changes;

    if (!take_user(reader, user, filter))
        return EXIT_FAILED;
    if (filter->path && *filter->path && history_moment_known(reader, filter->path))
        return EXIT_FAILED;
    int error = history_list(reader, filter, &changes);
    if (error)
        return history_common_damaged(reader, NULL, error);
    history_common_tell(context, reader, changes, lines, print_change);
    if (!context->json && changes->len == 0)
        puts("nobody on this node did anything of that");
    g_ptr_array_unref(changes);
    return EXIT_DONE;
}

int command_audit(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    g_autofree char *user = NULL;
    g_autofree char *given = NULL;
    g_autofree char *since = NULL;
    int lines = LINES_DEFAULT;
    struct history_filter filter = {.asked_here = true};
    const GOptionEntry entries[] = {
        {"user", 'u', 0, G_OPTION_ARG_STRING, &user,
         "only what this user did, or who logged in as such (a name of this host, or a uid)",
         "LOGIN"},
        {"path", 'p', 0, G_OPTION_ARG_STRING, &given,
         "only this path and all below it, or paths like this (*, ?)", "PATH"},
        {"since", 0, 0, G_OPTION_ARG_STRING, &since,
         "only from then on (2h, yesterday, 2026-11-22 18:41)", "WHEN"},
        {"lines", 'n', 0, G_OPTION_ARG_INT, &lines, "so many, 0: all (100)", "N"},
        {"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
         "the history beside this database, or this history.db", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Show who had what changed on this node, the newest first: time, user, "
                       "process id, operation,\npath, command line. What was asked for on other "
                       "nodes, those tell.",
                       0, 0))
        return EXIT_WRONG_USE;
    if (!history_common_take_lines(lines, since, &filter) ||
        (given && !history_common_take_argument(given)))
        return EXIT_WRONG_USE;
    struct history_reader *reader = history_common_open(context, database, &code);
    if (!reader)
        return code;
    g_autofree char *path = given ? history_common_here(context, database, given) : NULL;
    history_common_take_path(path, &filter);
    code = audit(context, reader, user, &filter, (guint)lines);
    history_close(reader);
    return code;
}
