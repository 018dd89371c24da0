/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl blame: since when a file has each of its lines, and from whom. */
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "ctl/db.h"
#include "ctl/diff_text.h"
#include "ctl/history_common.h"
#include "ctl/history_lineage.h"
#include "ctl/history_moment.h"
#include "ctl/text_diff.h"
#include "store/text.h"

#define WHO_WIDTH 16

struct line {
    const char *bytes; /* of `text` below */
    size_t size;
    int at; /* where it is in the version that is looked at; -1: it is known where it is from */
    const struct history_change *change; /* which brought it; NULL: none that is recorded */
    bool exact;                          /* that one did; else that one, or what was before it */
};

struct blame {
    struct history_reader *reader;
    GPtrArray *changes; /* newest first */
    GBytes *text;       /* of the last of them */
    GArray *lines;      /* struct line */
};

/* ---- Where lines are from ---- */

static void split(struct blame *blame)
{
    gsize size;
    const char *text = g_bytes_get_data(blame->text, &size);
    size_t from = 0;

    while (from < size) {
        const char *end = memchr(text + from, '\n', size - from);
        struct line line = {.bytes = text + from,
                            .size = end ? (size_t)(end - text) - from : size - from,
                            .at = (int)blame->lines->len};
        g_array_append_val(blame->lines, line);
        from += line.size + 1;
    }
}

/* All that are not known yet are from there. */
static void settle(struct blame *blame, const struct history_change *change, bool exact)
{
    for (guint i = 0; i < blame->lines->len; i++) {
        struct line *line = &g_array_index(blame->lines, struct line, i);
        if (line->at >= 0)
            *line = (struct line){line->bytes, line->size, -1, change, exact};
    }
}

/* From the version `after` to the one before it: lines that are not there are from `change`. */
static void step(struct blame *blame, GBytes *before, GBytes *after,
                 const struct history_change *change)
{
    gsize before_size, after_size;
    const char *first = g_bytes_get_data(before, &before_size);
    const char *second = g_bytes_get_data(after, &after_size);
    GArray *origins =
        text_diff_origins(first ? first : "", before_size, second ? second : "", after_size);

    for (guint i = 0; i < blame->lines->len; i++) {
        struct line *line = &g_array_index(blame->lines, struct line, i);
        if (line->at < 0 || (guint)line->at >= origins->len)
            continue;
        line->at = g_array_index(origins, int, line->at);
        if (line->at < 0)
            *line = (struct line){line->bytes, line->size, -1, change, change != NULL};
    }
    g_array_unref(origins);
}

/* NULL: there is no file then, or nothing is kept of it (*error 0), or it is damaged. */
static GBytes *content_of(struct blame *blame, const struct history_version *version, int *error)
{
    GBytes *content = NULL;

    *error = 0;
    if (version->exists && !version->directory && version->kept == HISTORY_KEPT)
        *error = history_content(blame->reader, version->content, &content);
    return content;
}

static const struct history_change *next_altering(const struct blame *blame, guint *index)
{
    while (++*index < blame->changes->len) {
        const struct history_change *change = blame->changes->pdata[*index];
        if (history_lineage_alters(change))
            return change;
    }
    return NULL;
}

/* Where records are missing, what `older` left is not what `change` found: `before`. 0, and *before
 * is what `older` left; or the error of a content. */
static int cross_gap(struct blame *blame, const struct history_change *older, GBytes **before)
{
    int error;
    GBytes *left = content_of(blame, &older->after, &error);

    if (left && !g_bytes_equal(left, *before))
        step(blame, left, *before, NULL);
    g_bytes_unref(*before);
    *before = left;
    return error;
}

/* 0, or the error of a content. */
static int trace(struct blame *blame)
{
    guint index = G_MAXUINT;
    const struct history_change *change = next_altering(blame, &index);
    GBytes *after = g_bytes_ref(blame->text);
    int error = 0;

    while (change && after && !error) {
        GBytes *before = content_of(blame, &change->before, &error);
        bool begun = !change->before.exists || change->before.directory;
        if (before)
            step(blame, before, after, change);
        else if (!error) /* what was found at a start may be older than that */
            settle(blame, change, begun && change->operation != HISTORY_FOUND);
        g_bytes_unref(after);
        after = before;
        change = next_altering(blame, &index);
        if (change && after)
            error = cross_gap(blame, change, &after);
    }
    g_clear_pointer(&after, g_bytes_unref);
    settle(blame, NULL, false);
    return error;
}

/* ---- Output ---- */

static char *who_shown(const struct history_change *change)
{
    const struct history_actor *actor = &change->actor;

    if (!actor->known)
        return g_strdup("");
    g_autofree char *user =
        history_common_user(actor->login != UINT32_MAX ? actor->login : actor->uid);
    g_autofree char *name = store_text_shown(actor->name, strlen(actor->name));
    return g_strdup_printf("%s: %s", user, name);
}

/* As it is; a terminal gets no control characters. */
static void print_text(const struct line *line)
{
    if (!isatty(STDOUT_FILENO)) {
        fwrite(line->bytes, 1, line->size, stdout);
        return;
    }
    g_autoptr(GString) shown = g_string_new(NULL);
    text_diff_append_shown(shown, line->bytes, line->size);
    fputs(shown->str, stdout);
}

static void print_line(struct blame *blame, const struct line *line, guint number, bool masked)
{
    if (line->change) {
        g_autofree char *when = db_time_shown((uint32_t)line->change->time);
        g_autofree char *node = history_common_node(blame->reader, line->change->node);
        g_autofree char *who = who_shown(line->change);
        printf("%c%9" PRIu64 "  %s  %-10s  %-*s", line->exact ? ' ' : '^', line->change->version,
               when, node, WHO_WIDTH, who);
    } else {
        printf("^%9s  %-19s  %-10s  %-*s", "-", "not recorded", "", WHO_WIDTH, "");
    }
    printf("  %4u  ", number);
    if (masked)
        fputs("********", stdout);
    else
        print_text(line);
    putchar('\n');
}

static json_t *line_json(struct blame *blame, const struct line *line, guint number, bool masked)
{
    return json_pack("{s:I, s:o, s:b, s:o}", "line", (json_int_t)number, "text",
                     masked ? json_null() : db_json_text(line->bytes, line->size), "exact",
                     line->exact, "change",
                     line->change ? history_common_json(blame->reader, line->change) : json_null());
}

static void tell(const struct context *context, struct blame *blame, bool masked)
{
    json_t *list = context->json ? json_array() : NULL;

    for (guint i = 0; i < blame->lines->len; i++) {
        const struct line *line = &g_array_index(blame->lines, struct line, i);
        if (list)
            json_array_append_new(list, line_json(blame, line, i + 1, masked));
        else
            print_line(blame, line, i + 1, masked);
    }
    if (list)
        db_print_json(list);
}

/* ---- The command ---- */

static int complain(const struct blame *blame, const char *path, int error)
{
    g_autofree char *what = g_strconcat("a content of ", path, NULL);

    return history_common_damaged(blame->reader, what, error);
}

/* What the path has after `last`, if those are lines. EXIT_DONE, and blame->text has them. */
static int read_text(struct blame *blame, const struct history_change *last)
{
    g_autofree char *shown = store_text_shown(last->path, strlen(last->path));
    const char *missing = history_moment_missing(&last->after);
    gsize size;
    int error;

    if (last->after.directory || missing) {
        fprintf(stderr, "error: %s has no lines to show: %s\n", shown,
                missing ? missing : "it is a directory");
        return EXIT_FAILED;
    }
    blame->text = content_of(blame, &last->after, &error);
    if (error)
        return complain(blame, last->path, error);
    const char *text = g_bytes_get_data(blame->text, &size);
    if (text_diff_is_text(text ? text : "", size))
        return EXIT_DONE;
    fprintf(stderr, "error: %s has no lines to show: it is no text\n", shown);
    return EXIT_FAILED;
}

static int blame_change(const struct context *context, struct blame *blame,
                        const struct history_change *last, bool show_secrets)
{
    gsize size;
    int code = read_text(blame, last);
    int error = code ? 0 : history_lineage(blame->reader, last->path, last->id, &blame->changes);

    if (!code && !error) {
        split(blame);
        error = trace(blame);
    }
    if (code)
        return code;
    if (error)
        return complain(blame, last->path, error);
    const char *text = g_bytes_get_data(blame->text, &size);
    tell(context, blame, !show_secrets && diff_text_is_secret(last->path, text, size));
    return EXIT_DONE;
}

static int blame_path(const struct context *context, struct history_reader *reader,
                      const char *given, bool show_secrets)
{
    struct blame blame = {.reader = reader,
                          .lines = g_array_new(FALSE, FALSE, sizeof(struct line))};
    g_autofree char *path = NULL;
    struct history_moment moment;
    int code = history_moment_split(reader, given, &path, &moment);

    if (code == EXIT_DONE) {
        struct history_change *last = history_moment_of(reader, path, &moment);
        code = last ? blame_change(context, &blame, last, show_secrets) : EXIT_FAILED;
        history_change_free(last);
    }
    g_clear_pointer(&blame.changes, g_ptr_array_unref);
    g_clear_pointer(&blame.text, g_bytes_unref);
    g_array_unref(blame.lines);
    return code;
}

int command_blame(const struct context *context, int argc, char **argv)
{
    g_autofree char *database = NULL;
    gboolean show_secrets = FALSE;
    const GOptionEntry entries[] = {
        {"show-secrets", 0, 0, G_OPTION_ARG_NONE, &show_secrets, "mask nothing", NULL},
        {"database", 0, 0, G_OPTION_ARG_FILENAME, &database,
         "the history beside this database, or this history.db", "FILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(
            &argc, &argv, entries, "PATH[@VERSION|@WHEN]",
            "Show each line of a file with the change that brought it: version, time, node, who, "
            "as far as that\nis known. ^: that change, or what was before it: it is not recorded "
            "further back. Renames are followed.",
            1, 1))
        return EXIT_WRONG_USE;
    if (!history_common_take_argument(argv[1]))
        return EXIT_WRONG_USE;
    struct history_reader *reader = history_common_open(context, database, &code);
    if (!reader)
        return code;
    g_autofree char *given = history_common_here(context, database, argv[1]);
    code = blame_path(context, reader, given, show_secrets);
    history_close(reader);
    return code;
}
