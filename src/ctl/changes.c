/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl changes: the change feed as JSON lines, to be piped. */
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "ctl/ask.h"
#include "ctl/commands.h"

#define REQUEST_SUBSCRIBE 100

static int subscribe(struct client *client, bool since_given, uint64_t since)
{
    uint8_t version[8];
    g_autofree char *data = NULL;
    size_t size;

    put_le64(version, since);
    return client_ask(client, REQUEST_SUBSCRIBE, version, since_given ? sizeof(version) : 0, &data,
                      &size);
}

/* Prints events until the daemon or the reader of our output goes away. */
static int print_events(struct client *client)
{
    for (;;) {
        g_autofree char *line = NULL;
        size_t size;
        int error = client_next_event(client, &line, &size);
        if (error == -EAGAIN)
            continue;
        if (error)
            return error;
        if (puts(line) == EOF || fflush(stdout) == EOF)
            return 0;
    }
}

int command_changes(const struct context *context, int argc, char **argv)
{
    g_autofree char *since = NULL;
    guint64 version = 0;
    GOptionEntry entries[] = {{"since", 0, 0, G_OPTION_ARG_STRING, &since,
                               "begin after this version, as far as the daemon remembers",
                               "VERSION"},
                              {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autoptr(GError) problem = NULL;

    if (!command_parse(&argc, &argv, entries, NULL, "Print each change as a line of JSON.", 0, 0))
        return EXIT_WRONG_USE;
    if (since && !g_ascii_string_to_unsigned(since, 10, 0, G_MAXUINT64 - 1, &version, &problem)) {
        fprintf(stderr, "error: %s\nTry pmxcfsctl changes --help.\n", problem->message);
        return EXIT_WRONG_USE;
    }
    int code, error;
    struct client *client = ask_connect(context, &code, &error);
    if (!client) {
        ask_complain(context, code, error);
        return code;
    }
    error = subscribe(client, since != NULL, version);
    if (!error)
        error = print_events(client);
    client_close(client);
    if (error)
        fprintf(stderr, "error: the feed has ended: %s\n", g_strerror(-error));
    return error ? EXIT_FAILED : EXIT_DONE;
}
