/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl undelete, revert, rollback: what was is written back, as ordinary changes. */
#include <errno.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster/conf.h"
#include "ctl/history_common.h"
#include "ctl/history_lineage.h"
#include "ctl/history_moment.h"
#include "ctl/undo.h"
#include "store/text.h"

/* A directory goes entry by entry: deletions that follow each other within so many seconds are one.
 */
#define TOGETHER_SECONDS 60

static int complain(const char *path, const char *reason)
{
    g_autofree char *shown = store_text_shown(path, strlen(path));

    fprintf(stderr, "error: %s %s\n", *path ? shown : "/", reason);
    return EXIT_FAILED;
}

/* Arranges and does what has been added. */
static int finish(struct undo *undo)
{
    int code = undo_arrange(undo);

    return code == EXIT_DONE ? undo_run(undo) : code;
}

/* A path that was named: it is put back as asked, also without what it belongs together with. */
static int add_named(struct undo *undo, const char *path, const struct history_version *target,
                     uint64_t version, int64_t position)
{
    int code = undo_add(undo, path, target, version);

    if (code == EXIT_DONE)
        code = undo_leave_halves(undo, &(struct history_filter){.path = path}, position);
    return code;
}

/* ---- What was deleted ---- */

/* Just before the first of the deletions below a path that took the directory away. */
static int find_deletion(struct undo *undo, const char *path, int64_t *position)
{
    const struct history_filter filter = {.path = path};
    const struct history_change *last = NULL;
    GPtrArray *changes;
    int error = history_list(undo->reader, &filter, &changes);

    if (error)
        return history_common_damaged(undo->reader, NULL, error);
    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        bool together = !last || change->version == last->version ||
                        ABS(last->time - change->time) <= TOGETHER_SECONDS;
        if (change->after.exists || !together)
            break;
        last = change;
        *position = change->id - 1;
    }
    g_ptr_array_unref(changes);
    return EXIT_DONE;
}

static int complain_renamed(const struct history_change *change)
{
    g_autofree char *other = store_text_shown(change->other, strlen(change->other));
    g_autofree char *reason = g_strdup_printf(
        "was not deleted: it was renamed to %s (version %" PRIu64 ")", other, change->version);

    return complain(change->path, reason);
}

static int add_deleted(struct undo *undo, const char *path)
{
    struct history_change *change = NULL;
    int64_t position = 0;
    int code = EXIT_FAILED;
    int error = history_at(undo->reader, path, HISTORY_NOW, &change);

    if (error == -ENOENT)
        complain(path, "was not deleted, as far as the history knows");
    else if (error)
        code = history_common_damaged(undo->reader, path, error);
    else if (change->after.exists)
        complain(path, "is there, as the history has it");
    else if (change->other)
        code = complain_renamed(change);
    else if (!change->before.exists)
        complain(path, "is known as deleted only, not what it was before");
    else if (!change->before.directory)
        code = add_named(undo, path, &change->before, 0, change->id - 1);
    else if ((code = find_deletion(undo, path, &position)) == EXIT_DONE)
        code = undo_add_tree(undo, &(struct history_filter){.path = path}, position, true);
    history_change_free(change);
    return code;
}

/* ---- What was changed last ---- */

/* The first change of the last step that altered something; NULL: none did. */
static const struct history_change *find_last_step(const GPtrArray *changes)
{
    const struct history_change *step = NULL;

    for (guint i = 0; i < changes->len; i++) {
        const struct history_change *change = changes->pdata[i];
        if (step && !history_lineage_continues(step, change))
            break;
        if (step || history_lineage_alters(change))
            step = change;
    }
    return step;
}

static int add_last_change(struct undo *undo, const char *path, bool directory)
{
    const struct history_filter filter = {.path = path};
    GPtrArray *changes;
    int error = directory ? history_list(undo->reader, &filter, &changes)
                          : history_lineage(undo->reader, path, HISTORY_NOW, &changes);

    if (error)
        return history_common_damaged(undo->reader, NULL, error);
    const struct history_change *step = find_last_step(changes);
    int code = !step       ? complain(path, "was not changed, as far as the history knows")
               : directory ? undo_add_tree(undo, &filter, step->id - 1, true)
                           : add_named(undo, path, &step->before, 0, step->id - 1);
    g_ptr_array_unref(changes);
    return code;
}

/* ---- What was at a moment ---- */

/* The file that is at the path now, also if it had another name then. */
static int add_file_at(struct undo *undo, const char *path, const struct history_moment *moment)
{
    static const struct history_version nothing;
    const struct history_change *was = NULL;
    GPtrArray *changes;
    int error = history_lineage(undo->reader, path, HISTORY_NOW, &changes);

    if (error)
        return history_common_damaged(undo->reader, path, error);
    for (guint i = 0; i < changes->len && !was; i++) {
        const struct history_change *change = changes->pdata[i];
        if (change->id <= moment->position)
            was = change;
    }
    int code = was ? add_named(undo, path, &was->after, was->version, moment->position)
               : moment->complete ? add_named(undo, path, &nothing, 0, moment->position)
                                  : complain(path, "is not recorded that far back");
    g_ptr_array_unref(changes);
    return code;
}

/* Nothing is at the path now, or a directory. */
static int add_path_at(struct undo *undo, const char *path, const struct history_moment *moment)
{
    const struct history_filter filter = {.path = path};
    struct history_change *was = history_moment_of(undo->reader, path, moment);

    if (!was)
        return EXIT_FAILED;
    if (!moment->complete && was->after.directory)
        history_moment_warn(undo->reader);
    int code = was->after.directory
                   ? undo_add_tree(undo, &filter, moment->position, moment->complete)
                   : add_named(undo, path, &was->after, was->version, moment->position);
    history_change_free(was);
    return code;
}

static int add_reverted(struct undo *undo, const char *path, const char *to)
{
    struct undo_present present;
    struct history_moment moment;
    int error = undo_look(undo, path, &present);
    int code = EXIT_DONE;

    if (error)
        return complain(path, g_strerror(-error));
    if (!to)
        return present.exists ? add_last_change(undo, path, present.directory)
                              : add_deleted(undo, path);
    code = history_moment_parse(undo->reader, to, &moment);
    if (code != EXIT_DONE)
        return code;
    return present.exists && !present.directory ? add_file_at(undo, path, &moment)
                                                : add_path_at(undo, path, &moment);
}

/* ---- The commands ---- */

static int undelete(struct undo *undo, const char *path)
{
    struct undo_present present;
    int error = undo_look(undo, path, &present);
    int code = EXIT_FAILED;

    if (error)
        return complain(path, g_strerror(-error));
    if (present.exists)
        return complain(path, "is there; 'pmxcfsctl revert' brings back what it was");
    code = history_moment_known(undo->reader, path);
    if (code == EXIT_DONE)
        code = add_deleted(undo, path);
    return code == EXIT_DONE ? finish(undo) : code;
}

/* What all three say of how. */
struct wishes {
    gboolean dry_run;
    gboolean show_secrets;
};

static int open_with(struct undo *undo, const struct context *context, const struct wishes *wishes)
{
    int code = undo_open(undo, context, wishes->dry_run);

    undo->show_secrets = wishes->show_secrets;
    return code;
}

#define WISHES(wishes)                                                                             \
    {                                                                                              \
        "dry-run", 'n', 0, G_OPTION_ARG_NONE, &(wishes).dry_run, "only show what would be done",   \
        NULL},                                                                                     \
    {                                                                                              \
        "show-secrets", 0, 0, G_OPTION_ARG_NONE, &(wishes).show_secrets, "mask nothing", NULL      \
    }

int command_undelete(const struct context *context, int argc, char **argv)
{
    struct wishes wishes = {0};
    const GOptionEntry entries[] = {WISHES(wishes), {NULL, 0, 0, 0, NULL, NULL, NULL}};
    struct undo undo;

    if (!command_parse(&argc, &argv, entries, "PATH",
                       "Bring a deleted file back as it was, or a directory with all that was "
                       "deleted with it.",
                       1, 1))
        return EXIT_WRONG_USE;
    if (!history_common_take_argument(argv[1]))
        return EXIT_WRONG_USE;
    int code = open_with(&undo, context, &wishes);
    if (code != EXIT_DONE)
        return code;
    g_autofree char *path = history_common_here(context, NULL, argv[1]);
    code = undelete(&undo, path);
    undo_close(&undo);
    return code;
}

int command_revert(const struct context *context, int argc, char **argv)
{
    struct wishes wishes = {0};
    g_autofree char *to = NULL;
    const GOptionEntry entries[] = {{"to", 0, 0, G_OPTION_ARG_STRING, &to,
                                     "a version, or a time (2h, yesterday, 2026-11-22 18:41)",
                                     "VERSION|WHEN"},
                                    WISHES(wishes),
                                    {NULL, 0, 0, 0, NULL, NULL, NULL}};
    struct undo undo;

    if (!command_parse(
            &argc, &argv, entries, "PATH[@VERSION|@WHEN]",
            "Make a file, or a directory with all that is in it, what it was before its "
            "last change, or at that moment (also: --to).\nWhat was not there then is removed.",
            1, 1))
        return EXIT_WRONG_USE;
    if (!history_common_take_argument(argv[1]))
        return EXIT_WRONG_USE;
    int code = open_with(&undo, context, &wishes);
    if (code != EXIT_DONE)
        return code;
    g_autofree char *path = history_common_here(context, NULL, argv[1]);
    const char *behind = to ? NULL : history_moment_cut(undo.reader, path);
    code = history_moment_known(undo.reader, path);
    if (code == EXIT_DONE)
        code = add_reverted(&undo, path, behind ? behind : to);
    if (code == EXIT_DONE)
        code = finish(&undo);
    undo_close(&undo);
    return code;
}

/* ---- Rollback ---- */

/* Asks at a terminal; without one it has to be said beforehand. */
static int ask_whether(const struct undo *undo)
{
    char answer[16];

    if (undo->context->json || !isatty(STDIN_FILENO)) {
        fputs("error: nothing was changed: say --yes if all that is wanted, or --dry-run\n",
              stderr);
        return EXIT_WRONG_USE;
    }
    fputs("Change all that? [y/N] ", stdout);
    fflush(stdout);
    if (fgets(answer, sizeof(answer), stdin) && (*answer == 'y' || *answer == 'Y'))
        return EXIT_DONE;
    puts("nothing was changed");
    return EXIT_FAILED;
}

static bool has_planned(const struct undo *undo)
{
    bool planned = false;

    for (guint i = 0; i < undo->steps->len; i++) {
        const struct undo_step *step = undo->steps->pdata[i];
        planned = planned || step->result == UNDO_PLANNED;
    }
    return planned;
}

static int roll_back(struct undo *undo, const char *to, const char *path, bool yes)
{
    struct history_filter filter = {0};
    struct history_moment moment;
    int code = history_moment_parse(undo->reader, to, &moment);

    history_common_take_path(path, &filter);
    if (code == EXIT_DONE && filter.path && *filter.path)
        code = history_moment_known(undo->reader, filter.path);
    if (code == EXIT_DONE && !moment.complete)
        history_moment_warn(undo->reader);
    if (code == EXIT_DONE)
        code = undo_add_tree(undo, &filter, moment.position, moment.complete);
    if (code == EXIT_DONE)
        code = undo_arrange(undo);
    if (code == EXIT_DONE && !undo->dry_run && !yes && has_planned(undo)) {
        if (!undo->context->json)
            undo_show(undo);
        code = ask_whether(undo);
    }
    return code == EXIT_DONE ? undo_run(undo) : code;
}

int command_rollback(const struct context *context, int argc, char **argv)
{
    struct wishes wishes = {0};
    gboolean yes = FALSE;
    g_autofree char *to = NULL;
    g_autofree char *given = NULL;
    const GOptionEntry entries[] = {
        {"to", 0, 0, G_OPTION_ARG_STRING, &to,
         "a version, or a time (2h, yesterday, 2026-11-22 18:41)", "VERSION|WHEN"},
        {"path", 'p', 0, G_OPTION_ARG_STRING, &given,
         "only this and all below it, or paths like a pattern (*, ?)", "PATH|PATTERN"},
        {"yes", 'y', 0, G_OPTION_ARG_NONE, &yes, "do not ask", NULL},
        WISHES(wishes),
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    struct undo undo;

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Make the tree, or a part of it, what it was; what was not there then is "
                       "removed. Shows what that is first.\n" CONF_PATH
                       " is left out, unless --path names it, and so is what is of no use without "
                       "a private file that has changed\n(authkey.pub, pve-root-ca.pem).",
                       0, 0))
        return EXIT_WRONG_USE;
    if (!to) {
        fputs("error: to when? --to VERSION|WHEN\n", stderr);
        return EXIT_WRONG_USE;
    }
    if (given && !history_common_take_argument(given))
        return EXIT_WRONG_USE;
    int code = open_with(&undo, context, &wishes);
    if (code != EXIT_DONE)
        return code;
    g_autofree char *path = given ? history_common_here(context, NULL, given) : NULL;
    code = roll_back(&undo, to, path, yes);
    undo_close(&undo);
    return code;
}
