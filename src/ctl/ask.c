/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One question to the daemon, its answer as JSON, and the words for when there is none. */
#include "ctl/ask.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>

/* Nothing that is asked for waits for anything (doc/ipc.md): who does not answer within this time,
 * even on a host that is very busy, hangs. */
#define PATIENCE_MILLISECONDS 10000

json_t *ask_parse(const char *text, size_t size)
{
    return json_loadb(text, size, JSON_ALLOW_NUL, NULL);
}

struct client *ask_connect(const struct context *context, int *code, int *error)
{
    int patience = context->patience ? context->patience : PATIENCE_MILLISECONDS;
    struct client *client = client_open(context->socket, patience);

    *error = client ? 0 : errno;
    *code = client ? EXIT_DONE : *error == EACCES || *error == EPERM ? EXIT_FAILED : EXIT_NO_DAEMON;
    if (!client && *code == EXIT_FAILED)
        *error = EACCES; /* EPERM is what a request can be answered */
    return client;
}

/* As ask_quietly(), any bytes. */
static int ask_bytes(const struct context *context, enum ask_request id, const void *request,
                     size_t size, char **data, size_t *data_size, int *error)
{
    int code;
    struct client *client = ask_connect(context, &code, error);

    if (!client)
        return code;
    int result = client_ask(client, (int32_t)id, request, size, data, data_size);
    client_close(client);
    *error = -result;
    if (result == -ETIMEDOUT)
        return EXIT_NO_DAEMON;
    return result ? EXIT_FAILED : EXIT_DONE;
}

int ask_quietly(const struct context *context, enum ask_request id, const void *request,
                size_t size, json_t **answer, int *error)
{
    g_autofree char *data = NULL;
    size_t data_size = 0;
    int code = ask_bytes(context, id, request, size, &data, &data_size, error);

    if (code != EXIT_DONE || !answer)
        return code;
    *answer = ask_parse(data, data_size);
    if (*answer)
        return EXIT_DONE;
    *error = EBADMSG;
    return EXIT_FAILED;
}

void ask_complain(const struct context *context, int code, int error)
{
    if (error == EACCES)
        fprintf(stderr,
                "error: permission denied: the daemon at '%s' refuses this user; it talks to root, "
                "and to processes whose group is www-data (not a supplementary one)\n",
                context->socket);
    else if (code == EXIT_NO_DAEMON && (error == ETIMEDOUT || error == EAGAIN))
        fprintf(stderr,
                "error: pmxcfs runs and does not answer at '%s': it hangs, or is stopped; see "
                "'pmxcfsctl doctor'\n",
                context->socket);
    else if (code == EXIT_NO_DAEMON)
        fprintf(stderr,
                "error: no daemon answers at '%s' (%s); does it run? See 'systemctl status "
                "pve-cluster'\n",
                context->socket, g_strerror(error));
    else if (error == EPERM)
        fputs("error: the daemon tells that to root alone\n", stderr);
    else if (error == ECHRNG)
        fputs("error: the daemon does not know this request; is it another release?\n", stderr);
    else
        fprintf(stderr, "error: the daemon says: %s\n", g_strerror(error));
}

json_t *ask(const struct context *context, enum ask_request id, const void *request, size_t size,
            int *code)
{
    json_t *answer = NULL;
    int error;

    *code = ask_quietly(context, id, request, size, &answer, &error);
    if (*code != EXIT_DONE)
        ask_complain(context, *code, error);
    return answer;
}

char *ask_file(const struct context *context, const char *path)
{
    char *data = NULL;
    size_t size;
    int error;

    return ask_bytes(context, ASK_CONFIG, path, strlen(path) + 1, &data, &size, &error) == EXIT_DONE
               ? data
               : NULL;
}

void print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
}

void print_json_line(json_t *value)
{
    json_dumpf(value, stdout, JSON_COMPACT);
    putchar('\n');
    fflush(stdout);
}

const char *field_text(json_t *object, const char *key)
{
    const char *text = json_string_value(json_object_get(object, key));

    return text ? text : "-";
}

json_int_t field_number(json_t *object, const char *key)
{
    return json_integer_value(json_object_get(object, key));
}

bool field_bool(json_t *object, const char *key)
{
    return json_is_true(json_object_get(object, key)) || field_number(object, key) != 0;
}

bool ask_is_quorate(json_t *overview)
{
    bool quorate = field_bool(overview, "quorate");

    if (!quorate)
        fputs("error: there is no quorum: nothing can be changed; 'pmxcfsctl doctor' says why, and "
              "what can be done\n",
              stderr);
    return quorate;
}

/* JSON is UTF-8; its strings may hold NULs. */
static char *make_printable(const char *bytes, size_t size)
{
    GString *text = g_string_sized_new(size);

    for (const char *at = bytes; at < bytes + size; at = g_utf8_next_char(at)) {
        gunichar character = g_utf8_get_char(at);
        g_string_append_unichar(text, g_unichar_isprint(character) ? character : '?');
    }
    return g_string_free(text, FALSE);
}

char *field_printable(json_t *object, const char *key)
{
    json_t *value = json_object_get(object, key);

    return json_is_string(value)
               ? make_printable(json_string_value(value), json_string_length(value))
               : g_strdup("-");
}

char *text_printable(const char *text)
{
    g_autofree char *valid = g_utf8_make_valid(text, -1);

    return make_printable(valid, strlen(valid));
}
