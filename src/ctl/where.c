/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which database a command works on if nobody names one. */
#include "ctl/where.h"

#include <errno.h>
#include <stdio.h>

#include "ctl/ask.h"
#include "ctl/db.h"

/* A daemon that hangs must not keep anybody from its database. */
#define PATIENCE_MILLISECONDS 3000

/* What the daemon at the socket says; NULL with its or the connection's errno. */
static char *ask_daemon(const struct context *context, int *error)
{
    int patience = context->patience ? context->patience : PATIENCE_MILLISECONDS;
    struct client *client = client_open(context->socket, patience);
    g_autofree char *data = NULL;
    size_t size;

    if (!client) {
        *error = errno;
        return NULL;
    }
    *error = -client_ask(client, ASK_OVERVIEW, NULL, 0, &data, &size);
    client_close(client);
    json_t *overview = *error ? NULL : ask_parse(data, size);
    const char *told = json_string_value(json_object_get(overview, "state_dir"));
    char *directory = told ? g_strdup(told) : NULL;
    json_decref(overview);
    if (!directory && !*error)
        *error = ENODATA; /* another release, which does not tell */
    return directory;
}

char *where_state_dir(const struct context *context, const char *given, int *code)
{
    int error;

    if (given)
        return g_strdup(given);
    char *directory = ask_daemon(context, &error);
    if (directory)
        return directory;
    if (!context->socket_given)
        return g_strdup(DEFAULT_STATE_DIR);
    fprintf(stderr,
            "error: the daemon at '%s' does not tell which database is its own (%s); it is not "
            "taken for granted that it is the one in " DEFAULT_STATE_DIR
            ": name the file or the directory\n",
            context->socket, g_strerror(error));
    *code = EXIT_FAILED;
    return NULL;
}

char *where_database(const struct context *context, const char *given, int *code)
{
    if (given)
        return g_strdup(given);
    g_autofree char *directory = where_state_dir(context, NULL, code);
    return directory ? g_build_filename(directory, DATABASE_NAME, NULL) : NULL;
}
