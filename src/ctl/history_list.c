/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl history: what was changed, when, on which node, by whom. */
#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/history_time.h"
#include "store/text.h"

#define LINES_DEFAULT 100

static json_t *version_json(const struct history_version *version)
{
    if (!version->exists)
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:b, s:b}", "type", version->directory ? "directory" : "file",
                     "bytes", (json_int_t)version->size, "mtime", (json_int_t)version->mtime,
                     "kept", version->kept == HISTORY_KEPT, "private",
                     version->kept == HISTORY_PRIVATE);
}

static json_t *actor_json(const struct history_actor *actor)
{
    if (!actor->known)
        return json_null();
    json_t *object = json_pack("{s:I, s:I, s:o, s:o}", "uid", (json_int_t)actor->uid, "pid",
                               (json_int_t)actor->pid, "name", db_json_string(actor->name),
                               "command", db_json_string(actor->command));
    if (actor->login != UINT32_MAX)
        json_object_set_new(object, "login", json_integer(actor->login));
    return object;
}

static json_t *change_json(struct history_reader *reader, const struct history_change *change)
{
    g_autofree char *node = history_common_node(reader, change->node);
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:o, s:o}", "id", (json_int_t)change->id,
                  "version", (json_int_t)change->version, "time", (json_int_t)change->time, "node",
                  db_json_string(node), "operation", history_common_operation(change->operation),
                  "path", db_json_string(change->path), "before", version_json(&change->before),
                  "after", version_json(&change->after), "who", actor_json(&change->actor));

    if (change->other)
        json_object_set_new(object, "other", db_json_string(change->other));
    return object;
}

/* "root", or the number; g_free() it. */
static char *user_shown(uint32_t uid)
{
    const struct passwd *user = getpwuid(uid);

    return user ? store_text_shown(user->pw_name, strlen(user->pw_name))
                : g_strdup_printf("%" PRIu32, uid);
}

static void print_actor(const struct history_actor *actor)
{
    g_autofree char *user = user_shown(actor->login != UINT32_MAX ? actor->login : actor->uid);
    g_autofree char *name = store_text_shown(actor->name, strlen(actor->name));
    g_autofree char *command = store_text_shown(actor->command, strlen(actor->command));

    printf("  %s: %s", user, *command ? command : name);
}

static void print_change(struct history_reader *reader, const struct history_change *change)
{
    g_autofree char *when = db_time_shown((uint32_t)change->time);
    g_autofree char *node = history_common_node(reader, change->node);
    g_autofree char *path = store_text_shown(change->path, strlen(change->path));

    if (change->operation == HISTORY_GAP) {
        printf("%10s  %s  (records are missing here)\n", "", when);
        return;
    }
    printf("%10" PRIu64 "  %s  %-12s  %-6s  %s", change->version, when, node,
           history_common_operation(change->operation), path);
    if (change->other) {
        g_autofree char *other = store_text_shown(change->other, strlen(change->other));
        printf(" %s %s", change->after.exists ? "<-" : "->", other);
    } else if (change->after.exists && !change->after.directory) {
        g_autofree char *size = db_size_shown(change->after.size);
        printf("  (%s)", size);
    } else if (!change->after.exists && change->operation != HISTORY_DELETE) {
        printf("  (gone)");
    }
    if (change->actor.known)
        print_actor(&change->actor);
    putchar('\n');
}

/* One more than `lines` is asked for, to know whether there is more. */
static void tell(const struct context *context, struct history_reader *reader, GPtrArray *changes,
                 guint lines)
{
    guint count = lines > 0 ? MIN(lines, changes->len) : changes->len;
    json_t *list = context->json ? json_array() : NULL;

    for (guint i = 0; i < count; i++) {
        if (list)
            json_array_append_new(list, change_json(reader, changes->pdata[i]));
        else
            print_change(reader, changes->pdata[i]);
    }
    if (list)
        db_print_json(list);
    else if (changes->len > count)
        fprintf(stderr, "there are older ones: see --lines\n");
    else if (count == 0)
        puts("no changes are recorded of that");
}

/* False: stderr says what is wrong. */
static bool take_node(struct history_reader *reader, const char *node,
                      struct history_filter *filter)
{
    int error = node ? history_node_id(reader, node, &filter->node) : 0;

    filter->by_node = node != NULL;
    if (error == -ENOENT)
        fprintf(stderr, "error: the history knows no node '%s'\n", node);
    else if (error)
        history_common_complain(error);
    return !error;
}

static int list(const struct context *context, const char *database, const char *node,
                struct history_filter *filter, guint lines)
{
    GPtrArray *changes = NULL;
    int code;
    struct history_reader *reader = history_common_open(context, database, &code);

    if (!reader)
        return code;
    code = EXIT_FAILED;
    if (take_node(reader, node, filter)) {
        int error = history_list(reader, filter, &changes);
        code = error ? history_common_complain(error) : EXIT_DONE;
    }
    if (code == EXIT_DONE) {
        tell(context, reader, changes, lines);
        g_ptr_array_unref(changes);
    }
    history_close(reader);
    return code;
}

int command_history(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    g_autofree char *node = NULL;
    g_autofree char *since = NULL;
    int lines = LINES_DEFAULT;
    struct history_filter filter = {0};
    const GOptionEntry entries[] = {
        {"since", 0, 0, G_OPTION_ARG_STRING, &since,
         "only from then on (2h, yesterday, 2026-11-22 18:41)", "WHEN"},
        {"node", 0, 0, G_OPTION_ARG_STRING, &node, "only what was asked for on it", "NODE"},
        {"lines", 'n', 0, G_OPTION_ARG_INT, &lines, "so many, 0: all (100)", "N"},
        {"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
         "the history beside this database, or this history.db", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "[PATH|PATTERN]",
                       "Show what was changed, the newest first: of a path and all below it, of "
                       "paths like a pattern\n(*, ?; they stand for slashes too), or all.",
                       0, 1))
        return EXIT_WRONG_USE;
    if (lines < 0 || lines >= (int)HISTORY_LIST_MAX) {
        fprintf(stderr, "error: --lines: 0 to %u\n", HISTORY_LIST_MAX - 1);
        return EXIT_WRONG_USE;
    }
    if (since && history_time_parse(since, time(NULL), &filter.since)) {
        fprintf(stderr, "error: '%s' is no time (2h, yesterday, 2026-11-22 18:41)\n", since);
        return EXIT_WRONG_USE;
    }
    g_autofree char *path = argc > 1 ? history_common_path(argv[1]) : NULL;
    if (path && strpbrk(path, "*?"))
        filter.pattern = path;
    else
        filter.path = path;
    filter.limit = lines > 0 ? (size_t)lines + 1 : 0;
    return list(context, database, node, &filter, (guint)lines);
}
