/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db check: what a load of a database refuses, and a repaired copy of it. */
#include <errno.h>
#include <glib.h>
#include <stdio.h>

#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/tools/check.h"
#include "ctl/tools/repair.h"
#include "ctl/where.h"

#define SUMMARY                                                                                    \
    "Names all that a load refuses, with inode, path and remedy. FILE (" DEFAULT_DATABASE ") is\n" \
    "not altered, and a daemon may be working on it. With --repair, NEWFILE is written, without\n" \
    "what is wrong; entries that cannot stay are in " REPAIR_DIRECTORY " there.\n\n"               \
    "Exit codes: 0 it loads, or NEWFILE is there; 1 it cannot be read or repaired; 4 it is "       \
    "refused"

/* What a check came to. */
struct outcome {
    const char *file;
    const char *no_database; /* why it is none; NULL: it is one, or cannot be looked at */
    int error;
    struct db_findings findings;
    const char *new_file; /* NULL: no repair is asked for */
    struct db_findings repairs;
    int repair_error;
    char *message;
};

static bool is_damaged(const struct outcome *outcome)
{
    return outcome->error == -EBADMSG;
}

static bool needs_repair(const struct outcome *outcome)
{
    return outcome->new_file && !outcome->no_database &&
           (is_damaged(outcome) || outcome->findings.warnings > 0);
}

static void check(struct outcome *outcome, FILE *to)
{
    db_findings_init(&outcome->findings, to);
    db_findings_init(&outcome->repairs, to);
    progress_start(&outcome->findings.progress, "checking");
    outcome->error = tools_check(outcome->file, NULL, &outcome->findings.checker);
    progress_end(&outcome->findings.progress);
    outcome->no_database = is_damaged(outcome) ? db_no_database(outcome->file) : NULL;
    if (!needs_repair(outcome))
        return;
    progress_start(&outcome->repairs.progress, "repairing");
    outcome->repair_error = tools_repair(outcome->file, outcome->new_file,
                                         &outcome->repairs.checker, &outcome->message);
    progress_end(&outcome->repairs.progress);
}

static void print_result(const struct outcome *outcome)
{
    const struct db_findings *findings = &outcome->findings;
    bool good = !outcome->error;

    if (outcome->no_database) {
        printf("%s%s is no database%s: %s\n", colour_begin(stdout, COLOUR_RED), outcome->file,
               colour_end(stdout), outcome->no_database);
        return;
    }
    printf("%s%s %s%s", colour_begin(stdout, good ? COLOUR_GREEN : COLOUR_RED), outcome->file,
           good                  ? "loads"
           : is_damaged(outcome) ? "does not load"
                                 : "cannot be read",
           colour_end(stdout));
    if (good && findings->warnings == 0)
        puts(", and nothing is wrong with it");
    else
        printf(": %u refused, %u %s\n", findings->refused, findings->warnings,
               findings->warnings == 1 ? "warning" : "warnings");
    if (is_damaged(outcome) && !outcome->new_file)
        puts(findings->rows > 0
                 ? "pmxcfsctl db check --repair NEWFILE writes a copy without what is wrong"
                 : "pmxcfsctl db check --repair NEWFILE saves what can be read of it, if anything");
    if (!needs_repair(outcome))
        return;
    if (!outcome->repair_error)
        printf("%s%s is there and loads%s: %u repaired, %u lost\n",
               colour_begin(stdout, COLOUR_GREEN), outcome->new_file, colour_end(stdout),
               outcome->repairs.repaired, outcome->repairs.lost);
}

static json_t *result_json(const struct outcome *outcome)
{
    json_t *object = json_object();

    json_object_set_new(object, "file", db_json_string(outcome->file));
    json_object_set_new(object, "loads", json_boolean(!outcome->error));
    json_object_set_new(
        object, "readable",
        json_boolean(!outcome->no_database && (!outcome->error || is_damaged(outcome))));
    json_object_set(object, "findings", outcome->findings.list);
    if (needs_repair(outcome) && !outcome->repair_error) {
        json_object_set_new(object, "repaired", db_json_string(outcome->new_file));
        json_object_set(object, "repairs", outcome->repairs.list);
    }
    return object;
}

static int exit_code(const struct outcome *outcome)
{
    if (outcome->repair_error || (outcome->error && !is_damaged(outcome)) ||
        (outcome->no_database && outcome->new_file))
        return EXIT_FAILED;
    return is_damaged(outcome) && !outcome->new_file ? EXIT_FOUND : EXIT_DONE;
}

int command_db_check(const struct context *context, int argc, char **argv)
{
    g_autofree char *new_file = NULL;
    const GOptionEntry entries[] = {
        {"repair", 0, 0, G_OPTION_ARG_FILENAME, &new_file, "write a repaired copy", "NEWFILE"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "[FILE]", SUMMARY, 0, 1))
        return EXIT_WRONG_USE;
    int code;
    g_autofree char *file = where_database(context, argv[1], &code);
    if (!file)
        return code;
    struct outcome outcome = {.file = file, .new_file = new_file};
    check(&outcome, context->json ? NULL : stdout);
    if (context->json)
        db_print_json(result_json(&outcome));
    else
        print_result(&outcome);
    if (outcome.message)
        fprintf(stderr, "error: %s: %s\n", outcome.file, outcome.message);
    else if (new_file && outcome.no_database)
        fprintf(stderr, "error: nothing can be repaired: %s was not written\n", new_file);
    else if (new_file && !needs_repair(&outcome))
        fprintf(stderr, "there is nothing to repair: %s was not written\n", new_file);
    g_free(outcome.message);
    json_decref(outcome.findings.list);
    json_decref(outcome.repairs.list);
    return exit_code(&outcome);
}
