/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl show: the content of a file as it was. */
#include <stdio.h>
#include <string.h>

#include "ctl/db.h"
#include "ctl/history_common.h"
#include "ctl/history_moment.h"
#include "ctl/text_diff.h"
#include "store/text.h"

/* "text", or "base64" if it is none, as db dump has it. */
static void add_content(json_t *object, GBytes *content)
{
    gsize size;
    const char *bytes = g_bytes_get_data(content, &size);

    if (text_diff_is_text(bytes, size)) {
        json_object_set_new(object, "text", json_stringn(bytes ? bytes : "", size));
        return;
    }
    g_autofree char *encoded = g_base64_encode((const guchar *)bytes, size);
    json_object_set_new(object, "base64", json_string(encoded));
}

/* `content` NULL: none is kept. */
static void tell_json(struct history_reader *reader, const struct history_change *change,
                      GBytes *content)
{
    json_t *object = history_common_json(reader, change);

    if (content)
        add_content(object, content);
    db_print_json(object);
}

static void tell(const struct context *context, struct history_reader *reader,
                 const struct history_change *change, GBytes *content)
{
    gsize size;
    const void *bytes = g_bytes_get_data(content, &size);

    if (context->json)
        tell_json(reader, change, content);
    else if (size > 0)
        fwrite(bytes, 1, size, stdout);
}

static int show_change(const struct context *context, struct history_reader *reader,
                       const struct history_change *change)
{
    g_autofree char *shown = store_text_shown(change->path, strlen(change->path));
    const char *missing = history_moment_missing(&change->after);
    GBytes *content = NULL;

    if (context->json && (missing || change->after.directory)) {
        tell_json(reader, change, NULL);
        return EXIT_DONE;
    }
    if (change->after.directory) {
        g_autofree char *argument = history_common_argument(change->path, NULL);
        fprintf(
            stderr,
            "error: %s is a directory; what was changed in it: pmxcfsctl history %s; all files of "
            "a moment: pmxcfsctl export\n",
            shown, argument);
        return EXIT_FAILED;
    }
    if (missing) {
        fprintf(stderr, "error: the content of %s is not kept: %s\n", shown, missing);
        return EXIT_FAILED;
    }
    int error = history_content(reader, change->after.content, &content);
    if (error) {
        g_autofree char *what = g_strconcat("the content of ", change->path, NULL);
        return history_common_damaged(reader, what, error);
    }
    tell(context, reader, change, content);
    g_bytes_unref(content);
    return EXIT_DONE;
}

int command_show(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    const GOptionEntry entries[] = {{"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
                                     "the history beside this database, or this history.db",
                                     "FILE"},
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    g_autofree char *path = NULL;
    struct history_moment moment;
    int code;

    if (!command_parse(&argc, &argv, entries, "PATH[@VERSION|@WHEN]",
                       "Write the content of a file to stdout, as it was recorded last, behind an "
                       "@ when a version had\nbeen made, or at a time (2h, yesterday, "
                       "\"2026-11-22 18:41\").\nAs JSON: the change that made it so, with text or "
                       "base64.",
                       1, 1))
        return EXIT_WRONG_USE;
    if (!history_common_take_argument(argv[1]))
        return EXIT_WRONG_USE;
    struct history_reader *reader = history_common_open(context, database, &code);
    if (!reader)
        return code;
    g_autofree char *given = history_common_here(context, database, argv[1]);
    code = history_moment_split(reader, given, &path, &moment);
    if (code == EXIT_DONE) {
        struct history_change *change = history_moment_of(reader, path, &moment);
        code = change ? show_change(context, reader, change) : EXIT_FAILED;
        history_change_free(change);
    }
    history_close(reader);
    return code;
}
