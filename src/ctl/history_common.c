/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands that read the history share. */
#include "ctl/history_common.h"

#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>

#include "ctl/ask.h"
#include "ctl/db.h"

#define PAUSE_MICROSECONDS 10000u
#define PAUSES_MAX 1000 /* 10 s */

/* ---- Opening ---- */

/* Has the daemon write down what is pending; *path is its history, to be g_free()d, NULL: there is
 * none, and *error says why. */
static int flush_daemon(const struct context *context, char **path, int *error)
{
    json_int_t wanted = -1;

    *path = NULL;
    for (int i = 0; i < PAUSES_MAX; i++) {
        json_t *answer = NULL;
        int code = ask_quietly(context, ASK_HISTORY, NULL, 0, &answer, error);
        if (code != EXIT_DONE)
            return code;
        if (wanted < 0)
            wanted = field_number(answer, "asked");
        bool written = field_number(answer, "written") >= wanted;
        g_free(*path);
        *path = g_strdup(json_string_value(json_object_get(answer, "path")));
        json_decref(answer);
        if (written)
            return EXIT_DONE;
        g_usleep(PAUSE_MICROSECONDS);
    }
    fputs("warning: the daemon does not get its history written; the newest changes are missing "
          "(its log says why)\n",
          stderr);
    return EXIT_DONE;
}

/* NULL: stderr says why. */
static struct history_reader *open_file(const char *path)
{
    struct history_reader *reader = NULL;
    g_autofree char *message = NULL;
    int error = history_open(path, &reader, &message);

    if (!error)
        return reader;
    fprintf(stderr, "error: %s: %s\n", path, message ? message : g_strerror(-error));
    return NULL;
}

static char *beside(const char *database)
{
    g_autofree char *name = g_path_get_basename(database);

    if (strcmp(name, DATABASE_NAME) != 0 && !g_file_test(database, G_FILE_TEST_IS_DIR))
        return g_strdup(database);
    if (g_file_test(database, G_FILE_TEST_IS_DIR))
        return g_build_filename(database, HISTORY_FILE, NULL);
    g_autofree char *directory = g_path_get_dirname(database);
    return g_build_filename(directory, HISTORY_FILE, NULL);
}

struct history_reader *history_common_open(const struct context *context, const char *database,
                                           int *code)
{
    g_autofree char *path = NULL;
    int error = 0;

    *code = EXIT_FAILED;
    if (database) {
        path = beside(database);
        return open_file(path);
    }
    int asked = flush_daemon(context, &path, &error);
    if (asked == EXIT_NO_DAEMON && !context->socket_given) {
        path = g_build_filename(DEFAULT_STATE_DIR, HISTORY_FILE, NULL);
    } else if (error == EOPNOTSUPP) {
        fputs("error: the daemon writes no history\n", stderr);
        return NULL;
    } else if (asked != EXIT_DONE || !path) {
        *code = asked != EXIT_DONE ? asked : EXIT_FAILED;
        ask_complain(context, *code, error ? error : EBADMSG);
        return NULL;
    }
    return open_file(path);
}

int history_common_complain(int error)
{
    fprintf(stderr, "error: the history cannot be read: %s\n", g_strerror(-error));
    return EXIT_FAILED;
}

/* ---- Words ---- */

char *history_common_path(const char *given)
{
    static const char mount[] = "/etc/pve";
    size_t length = strlen(mount);

    if (strncmp(given, mount, length) == 0 && (given[length] == '/' || !given[length]))
        given += length;
    while (*given == '/')
        given++;
    char *path = g_strdup(given);
    while (g_str_has_suffix(path, "/"))
        path[strlen(path) - 1] = '\0';
    return path;
}

const char *history_common_operation(enum history_operation operation)
{
    static const char *const words[] = {
        [HISTORY_WRITE] = "write",   [HISTORY_MKDIR] = "mkdir",   [HISTORY_DELETE] = "delete",
        [HISTORY_RENAME] = "rename", [HISTORY_CREATE] = "create", [HISTORY_MTIME] = "mtime",
        [HISTORY_UNLOCK] = "unlock", [HISTORY_RESYNC] = "resync", [HISTORY_FOUND] = "found",
        [HISTORY_GAP] = "gap",
    };

    return (size_t)operation < G_N_ELEMENTS(words) && words[operation] ? words[operation] : "?";
}

char *history_common_node(struct history_reader *reader, uint32_t node)
{
    char *name = history_node_name(reader, node);

    return name ? name : g_strdup_printf("%" PRIu32, node);
}
