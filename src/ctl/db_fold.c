/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl db fold: brings what a killed daemon left in its journal into config.db. */
#include <errno.h>
#include <inttypes.h>
#include <jansson.h>
#include <stdio.h>
#include <unistd.h>

#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/tools/fold.h"
#include "ctl/where.h"
#include "store/store.h"

static void print_report(const struct replay_report *report)
{
    json_t *object = json_object();

    json_object_set_new(object, "changes", json_integer(report->changes));
    if (report->version > 0) {
        json_object_set_new(object, "version-before",
                            json_integer((json_int_t)report->version_before));
        json_object_set_new(object, "version", json_integer((json_int_t)report->version));
    }
    json_object_set_new(object, "aside",
                        report->quarantine ? json_string(report->quarantine) : json_null());
    json_dumpf(object, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(object);
}

static void print_text(const struct replay_report *report)
{
    g_autofree char *changes = db_count_shown(report->changes, "change", "changes");

    if (report->changes > 0)
        printf("%s brought in: version %" PRIu64 " became %" PRIu64 "\n", changes,
               report->version_before, report->version);
    else if (!report->quarantine)
        puts("nothing to bring in");
    if (report->quarantine)
        printf("set aside, as it does not go with this database: %s\n", report->quarantine);
}

static int fold(const struct context *context, const char *path)
{
    struct replay_report report;
    g_autofree char *message = NULL;
    int error = tools_fold(path, &report, &message);

    if (error) {
        fprintf(stderr, "error: %s\n", message);
        return EXIT_FAILED;
    }
    if (report.left) {
        fputs("error: it does not take the changes; they are still in the journal\n", stderr);
        return EXIT_FAILED;
    }
    if (context->json)
        print_report(&report);
    else
        print_text(&report);
    int code = report.quarantine ? EXIT_FOUND : EXIT_DONE;
    g_free(report.quarantine);
    return code;
}

int command_db_fold(const struct context *context, int argc, char **argv)
{
    int code;

    if (!command_parse(&argc, &argv, NULL, "[FILE]",
                       "Brings the changes that a killed pmxcfs left in its journal into the "
                       "database (" DEFAULT_DATABASE "). Every start does so too.",
                       0, 1))
        return EXIT_WRONG_USE;
    g_autofree char *path = where_database(context, argv[1], &code);
    if (!path)
        return code;
    g_autofree char *directory = g_path_get_dirname(path);
    int lock = db_lock(directory, false); /* -ENOENT: no daemon was ever there */
    if (lock < 0 && lock != -ENOENT) {
        fprintf(stderr, "error: %s: %s\n", path,
                lock == -EWOULDBLOCK ? "a pmxcfs runs on it, which does this by itself"
                                     : g_strerror(-lock));
        return EXIT_FAILED;
    }
    code = fold(context, path);
    if (lock >= 0)
        close(lock);
    return code;
}
