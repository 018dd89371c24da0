/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: the command, and how findings are shown. */
#include <stdio.h>
#include <string.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/doctor.h"
#include "ctl/terminal.h"

static const char *const severity_names[] = {
    [DOCTOR_CRITICAL] = "critical",
    [DOCTOR_WARNING] = "warning",
};

/* A text of several lines, the first one behind the word, the others below it. */
static void print_part(const char *word, const char *text)
{
    if (!text)
        return;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        g_autofree char *line = text_printable(lines[i]);
        printf("    %-5s %s\n", i == 0 ? word : "", line);
    }
}

static void print_finding(const struct doctor_finding *finding)
{
    enum colour colour = finding->severity == DOCTOR_CRITICAL ? COLOUR_RED : COLOUR_YELLOW;
    g_autofree char *what = text_printable(finding->what);

    printf("%s%s%s: %s\n", colour_begin(stdout, colour), severity_names[finding->severity],
           colour_end(stdout), what);
    print_part("why:", finding->why);
    print_part("do:", finding->command);
    print_part("risk:", finding->risk);
}

/* ---- Versions of all ---- */

/* The first line that a program prints, without its newline; NULL: it cannot be run. g_free() it.
 */
static char *first_line_of(const char *program, const char *option)
{
    const char *argv[] = {program, option, NULL};
    char *text = NULL;

    if (!g_spawn_sync(NULL, (char **)argv, NULL, G_SPAWN_SEARCH_PATH | G_SPAWN_STDERR_TO_DEV_NULL,
                      NULL, NULL, &text, NULL, NULL, NULL))
        return NULL;
    text[strcspn(text, "\n")] = '\0';
    return text;
}

/* What members tell of their own release, as far as they do. */
static void add_members(json_t *versions, json_t *overview)
{
    json_t *members = json_object();
    json_t *member;
    size_t i;

    json_array_foreach(json_object_get(overview, "group"), i, member)
    {
        json_t *release = json_object_get(member, "release");
        if (json_is_string(release))
            json_object_set(members, field_text(member, "name"), release);
    }
    json_object_set_new(versions, "members", members);
}

static json_t *versions_of(const struct doctor *doctor)
{
    json_t *versions = json_object();
    struct utsname kernel;
    g_autofree char *corosync = first_line_of("corosync", "-v");

    json_object_set_new(versions, "pmxcfsctl", json_string(PMXCFS_VERSION));
    if (doctor->overview)
        json_object_set(versions, "pmxcfs", json_object_get(doctor->overview, "release"));
    if (corosync && *corosync)
        json_object_set_new(versions, "corosync", db_json_string(corosync));
    if (uname(&kernel) == 0)
        json_object_set_new(versions, "kernel", db_json_string(kernel.release));
    add_members(versions, doctor->overview);
    return versions;
}

static void print_versions(const struct doctor *doctor)
{
    json_t *versions = versions_of(doctor);
    const char *separator = "versions   ";
    const char *name;
    json_t *value;

    json_object_foreach(versions, name, value)
    {
        if (!json_is_string(value))
            continue;
        g_autofree char *version = field_printable(versions, name);
        printf("%s%s %s", separator, name, version);
        separator = ", ";
    }
    json_t *members = json_object_get(versions, "members");
    json_object_foreach(members, name, value)
    {
        g_autofree char *node = text_printable(name);
        g_autofree char *release = field_printable(members, name);
        printf(", %s: pmxcfs %s", node, release);
    }
    putchar('\n');
    json_decref(versions);
}

/* ---- The command ---- */

static json_t *finding_json(const struct doctor_finding *finding)
{
    json_t *object = json_object();

    json_object_set_new(object, "severity", json_string(severity_names[finding->severity]));
    json_object_set_new(object, "check", json_string(finding->check));
    json_object_set_new(object, "what", db_json_string(finding->what));
    json_object_set_new(object, "why", finding->why ? db_json_string(finding->why) : json_null());
    json_object_set_new(object, "command",
                        finding->command ? db_json_string(finding->command) : json_null());
    json_object_set_new(object, "risk",
                        finding->risk ? db_json_string(finding->risk) : json_null());
    return object;
}

static void print_all_json(const struct doctor *doctor)
{
    json_t *list = json_array();

    for (guint i = 0; i < doctor->findings->len; i++)
        json_array_append_new(list, finding_json(doctor->findings->pdata[i]));
    db_print_json(json_pack("{s:b, s:o, s:o}", "healthy", doctor->findings->len == 0, "findings",
                            list, "versions", versions_of(doctor)));
}

static void print_all(const struct doctor *doctor)
{
    if (doctor->findings->len == 0)
        printf("%shealthy%s: nothing is wrong with this host, as far as can be seen from here\n",
               colour_begin(stdout, COLOUR_GREEN), colour_end(stdout));
    for (guint i = 0; i < doctor->findings->len; i++)
        print_finding(doctor->findings->pdata[i]);
    print_versions(doctor);
}

static int examine(const struct context *context, const struct doctor_options *options)
{
    struct doctor doctor;

    if (geteuid() != 0) {
        fputs("error: root alone may look at all that: sudo pmxcfsctl doctor\n", stderr);
        return EXIT_FAILED;
    }
    doctor_examine(&doctor, context, options, false);
    if (context->json)
        print_all_json(&doctor);
    else
        print_all(&doctor);
    int code = doctor.findings->len > 0 ? EXIT_FOUND : EXIT_DONE;
    doctor_clear(&doctor);
    return code;
}

int command_doctor(const struct context *context, int argc, char **argv)
{
    struct doctor_options options = {0};
    const GOptionEntry entries[] = {
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &options.state_dir,
         "where the database is (the daemon's, or " DEFAULT_STATE_DIR ")", "DIR"},
        {"corosync-conf", 0, 0, G_OPTION_ARG_FILENAME, &options.corosync_conf,
         "the host's corosync.conf (/etc/corosync/corosync.conf)", "FILE"},
        {"mountpoint", 0, 0, G_OPTION_ARG_FILENAME, &options.mountpoint,
         "where the file system is (the daemon's, or /etc/pve)", "DIR"},
        {"nodename", 0, 0, G_OPTION_ARG_STRING, &options.node_name,
         "name of this node (the host name)", "NAME"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code = EXIT_WRONG_USE;

    if (command_parse(
            &argc, &argv, entries, NULL,
            "Look at the whole host and say, worst first, what is wrong, why, which command "
            "mends\nit, and what that command risks. Changes nothing, and needs no daemon.\n\nExit "
            "codes: 0 healthy; 4 something was found; 1 you are not root",
            0, 0))
        code = examine(context, &options);
    doctor_options_clear(&options);
    return code;
}
