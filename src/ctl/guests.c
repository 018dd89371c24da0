/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The guest list, for all commands that need it. */
#include "ctl/guests.h"

#include <errno.h>

#include "ctl/ask.h"

json_t *guests_ask_quietly(const struct context *context, int *code, int *error)
{
    json_t *answer = NULL;
    json_t *overview = NULL;
    int ignored;

    *code = ask_quietly(context, ASK_GUESTS, NULL, 0, &answer, error);
    if (*code != EXIT_FAILED || *error != EMSGSIZE ||
        ask_quietly(context, ASK_OVERVIEW, NULL, 0, &overview, &ignored) != EXIT_DONE)
        return answer;
    g_autofree char *path = g_build_filename(field_text(overview, "mountpoint"), ".vmlist", NULL);
    answer = json_load_file(path, JSON_ALLOW_NUL, NULL);
    if (answer)
        *code = EXIT_DONE;
    json_decref(overview);
    return answer;
}

json_t *guests_ask(const struct context *context, int *code)
{
    int error;
    json_t *answer = guests_ask_quietly(context, code, &error);

    if (!answer)
        ask_complain(context, *code, error);
    else if (!json_object_get(answer, "ids")) /* .vmlist has none without guests */
        json_object_set_new(answer, "ids", json_object());
    return answer;
}
