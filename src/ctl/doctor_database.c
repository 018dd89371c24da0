/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: the database, its journal, and the safety copies. */
#include <errno.h>
#include <stdio.h>
#include <sys/stat.h>

#include "base/util.h"
#include "ctl/db.h"
#include "ctl/db_compare.h"
#include "ctl/doctor.h"
#include "ctl/kept.h"
#include "ctl/tools/check.h"

/* ---- Damage ---- */

/* Counts, and keeps the worst. */
struct listener {
    struct store_checker checker;
    unsigned int refused, warnings;
    char *text; /* of the first that is refused, else of the first warning; owned */
};

static void found(struct store_checker *checker, const struct store_finding *finding)
{
    struct listener *listener = container_of(checker, struct listener, checker);
    bool refused = finding->severity == STORE_REFUSED;

    if (finding->severity != STORE_REFUSED && finding->severity != STORE_WARNING)
        return;
    if (!listener->text || (refused && listener->refused == 0)) {
        g_free(listener->text);
        listener->text = g_strdup(finding->text);
    }
    *(refused ? &listener->refused : &listener->warnings) += 1;
}

static void tell_damage(struct doctor *doctor, const char *reason)
{
    g_autofree char *stop = doctor_service("stop");
    g_autofree char *start = doctor_service("start");
    bool is_none = db_no_database(doctor->database) != NULL;

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = is_none ? g_strdup_printf("%s is no database: %s", doctor->database,
                                              db_no_database(doctor->database))
                            : g_strdup_printf("the database %s is damaged: it does not load",
                                              doctor->database),
            .why = is_none ? g_strdup("pmxcfs does not start with it.") : g_strdup(reason),
            .command =
                is_none ? g_strdup_printf("%s\npmxcfsctl restore BACKUP\n%s", stop, start)
                        : g_strdup_printf("%s\npmxcfsctl db check --repair /root/repaired.db %s\n"
                                          "pmxcfsctl restore /root/repaired.db\n%s",
                                          stop, doctor->database, start),
            .risk = g_strdup(is_none ? "What was changed since the backup is gone; a cluster "
                                       "brings it back by itself, "
                                       "then remove the file instead and start."
                                     : "What cannot be saved is named by the second command; the "
                                       "old file is kept. In a "
                                       "cluster with other members alive it is as good to move the "
                                       "file away and start: "
                                       "the node takes all over from them."),
        });
}

static void tell_missing(struct doctor *doctor)
{
    g_autofree char *start = doctor_service("start");

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = g_strdup_printf("the database %s is not there", doctor->database),
            .why =
                g_strdup(doctor->daemon_error == 0
                             ? "A daemon runs all the same: it has all in memory, and at its end "
                               "all is gone."
                             : "A start makes a new, empty one. Was it removed, or is its disk not "
                               "mounted?"),
            .command = doctor->daemon_error == 0
                           ? g_strdup_printf("cp -a %s /root/pve\npmxcfsctl db import /root/pve "
                                             "/root/config.db",
                                             doctor->options->mountpoint)
                           : g_strdup_printf("pmxcfsctl restore BACKUP\n%s", start),
            .risk =
                g_strdup(doctor->daemon_error == 0
                             ? "None: it saves what is in memory. Then stop the daemon, restore "
                               "/root/config.db, and start it."
                             : "What was changed since the backup is gone, unless other members "
                               "of the cluster have it: then only start."),
        });
}

/* SQLite's own check reads all: for a quick look the rows, which were read, must do. */
static int check_file(struct doctor *doctor, struct listener *listener)
{
    struct tree *tree = NULL;

    if (!doctor->quick)
        return tools_check(doctor->database, NULL, &listener->checker);
    if (doctor->tree || doctor->unread)
        return 0;
    int error = tools_read(doctor->database, NULL, &listener->checker, &tree);
    if (!error)
        tree_free(tree);
    return error;
}

void doctor_check_database(struct doctor *doctor)
{
    struct listener listener = {.checker = {.found = found}};
    struct stat info;

    if (doctor_has_critical(doctor, "state-directory"))
        return;
    if (stat(doctor->database, &info) < 0 && errno == ENOENT) {
        tell_missing(doctor);
        return;
    }
    int error = check_file(doctor, &listener);
    if (error) {
        tell_damage(doctor, listener.text ? listener.text : g_strerror(-error));
    } else if (listener.warnings > 0) {
        doctor_add(doctor,
                   (struct doctor_finding){
                       .severity = DOCTOR_WARNING,
                       .what = g_strdup_printf(
                           "the database loads, and something is odd about it: %s", listener.text),
                       .why = g_strdup("It works as it is; other programs may not expect it."),
                       .command = g_strdup_printf("pmxcfsctl db check %s", doctor->database),
                       .risk = g_strdup("none, it only shows"),
                   });
    }
    g_free(listener.text);
}

/* ---- Journals that were set aside ---- */

void doctor_check_journal(struct doctor *doctor)
{
    g_autoptr(GPtrArray) names = g_ptr_array_new_with_free_func(g_free);
    GDir *directory = g_dir_open(doctor->options->state_dir, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        if (g_str_has_prefix(name, DATABASE_NAME ".journal.overtaken-") ||
            g_str_has_prefix(name, DATABASE_NAME ".journal.damaged-"))
            g_ptr_array_add(names, g_strdup(name));
    }
    if (directory)
        g_dir_close(directory);
    if (names->len == 0)
        return;
    g_autofree char *list = doctor_list(names);
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("a journal could not be brought into the database, and was set "
                                    "aside: %s",
                                    list),
            .why = g_strdup("The last changes before a crash may be in it and nowhere else: it was "
                            "made on another database than the one that was there, or its disk has "
                            "spoiled it."),
            .command = g_strdup_printf("ls -l %s/" DATABASE_NAME ".journal.*\n"
                                       "grep -a -o 'nodes/[[:print:]]*' %s/%s | sort -u",
                                       doctor->options->state_dir, doctor->options->state_dir,
                                       (const char *)names->pdata[0]),
            .risk = g_strdup("None: it shows which files are in it. If they are as they should be, "
                             "delete it, and this line is gone."),
        });
}

/* ---- Safety copies ---- */

/* Is anything in the copy that the database does not have? */
static bool is_missing_something(struct doctor *doctor, const char *name)
{
    struct db_comparison comparison = {
        .content_only = true, .first_alone = true, .list = json_array()};
    g_autofree char *path =
        g_strconcat(doctor->options->state_dir, "/" DATABASE_NAME ".kept-", name, NULL);
    struct listener listener = {.checker = {.found = found}};
    struct tree *copy = NULL;

    int error = tools_read(path, NULL, &listener.checker, &copy);
    g_free(listener.text);
    if (!error) {
        db_compare(&comparison, copy, doctor->tree);
        tree_free(copy);
    }
    json_decref(comparison.list);
    return error || comparison.gone + comparison.altered > 0;
}

void doctor_check_safety_copies(struct doctor *doctor)
{
    g_autoptr(GPtrArray) all = kept_list(doctor->options->state_dir);
    g_autoptr(GPtrArray) waiting = g_ptr_array_new();

    for (guint i = 0; doctor->tree && i < all->len; i++) {
        if (is_missing_something(doctor, all->pdata[i]))
            g_ptr_array_add(waiting, all->pdata[i]);
    }
    if (waiting->len == 0)
        return;
    g_autofree char *list = doctor_list(waiting);
    const char *last = waiting->pdata[waiting->len - 1];
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("%u safety %s to be looked at: %s", waiting->len,
                                    waiting->len == 1 ? "copy waits" : "copies wait", list),
            .why =
                g_strdup("A synchronisation took changes away that this node alone had. They are "
                         "kept there, and are not in the file system."),
            .command = g_strdup_printf("pmxcfsctl kept diff -u %s\npmxcfsctl kept restore %s PATH",
                                       last, last),
            .risk = g_strdup_printf(
                "The second one writes files for the whole cluster. When you have looked, delete "
                "%s/" DATABASE_NAME ".kept-%s, and this line is gone.",
                doctor->options->state_dir, last),
        });
}
