/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: learns what can be known of the host, and runs the table of checks over it. */
#include "ctl/doctor.h"

#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "cluster/conf.h"
#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/doctor_ask_corosync.h"
#include "ctl/tools/check.h"

/* A daemon that hangs is a finding. */
#define PATIENCE_MILLISECONDS 3000

/* What a quick look reads of a database. */
#define QUICK_BYTES_MAX (8 * 1024 * 1024)
#define QUICK_ENTRIES_MAX 16384

/* Causes before what comes of them: of two findings that are equally bad the first one is told
 * first. */
static const struct {
    const char *name;
    void (*check)(struct doctor *doctor);
} checks[] = {
    {"state-directory", doctor_check_state_directory},
    {"space", doctor_check_space},
    {"group", doctor_check_group},
    {"fuse", doctor_check_fuse},
    {"database", doctor_check_database},
    {"name", doctor_check_name},
    {"renamed", doctor_check_renamed},
    {"address", doctor_check_address},
    {"corosync-conf", doctor_check_corosync_conf},
    {"corosync-key", doctor_check_corosync_key},
    {"corosync", doctor_check_corosync},
    {"links", doctor_check_links},
    {"votes", doctor_check_votes},
    {"mount", doctor_check_mount},
    {"daemon", doctor_check_daemon},
    {"writes", doctor_check_writes},
    {"sync", doctor_check_sync},
    {"certificates", doctor_check_certificates},
    {"clocks", doctor_check_clocks},
    {"limits", doctor_check_limits},
    {"safety-copies", doctor_check_safety_copies},
    {"journal", doctor_check_journal},
    {"permissions", doctor_check_permissions},
    {"hidden", doctor_check_hidden},
    {"lost-guests", doctor_check_lost_guests},
    {"locks", doctor_check_locks},
    {"release", doctor_check_release},
};

/* ---- What is learnt ---- */

/* One question; NULL with *error. */
static json_t *ask_once(struct client *client, enum ask_request id, int *error)
{
    g_autofree char *data = NULL;
    size_t size;

    *error = -client_ask(client, (int32_t)id, NULL, 0, &data, &size);
    json_t *answer = *error ? NULL : ask_parse(data, size);
    if (!answer && !*error)
        *error = EBADMSG;
    return answer;
}

static void ask_daemon(struct doctor *doctor)
{
    struct client *client = client_open(doctor->context->socket, PATIENCE_MILLISECONDS);
    int ignored;

    if (!client) {
        doctor->daemon_error = errno ? errno : ECONNREFUSED;
        return;
    }
    doctor->overview = ask_once(client, ASK_OVERVIEW, &doctor->daemon_error);
    if (doctor->overview) {
        doctor->members = ask_once(client, ASK_MEMBERS, &ignored);
        doctor->locks = ask_once(client, ASK_LOCKS, &ignored);
    }
    client_close(client);
}

/* As node_name(), without its words in the log. */
static char *find_host_name(void)
{
    char name[256] = "";

    if (gethostname(name, sizeof(name) - 1) < 0)
        return NULL;
    name[strcspn(name, ".")] = '\0';
    return *name && !strchr(name, '/') ? g_strdup(name) : NULL;
}

static void ignore(struct store_checker *checker, const struct store_finding *finding)
{
    (void)checker;
    (void)finding;
}

/* Whether the daemon has more than is read in an instant. */
static bool is_large(json_t *overview)
{
    json_t *sizes = json_object_get(overview, "sizes");

    return field_number(json_object_get(sizes, "content"), "used") > QUICK_BYTES_MAX ||
           field_number(json_object_get(sizes, "entries"), "used") > QUICK_ENTRIES_MAX;
}

static void read_database(struct doctor *doctor)
{
    struct store_checker checker = {.found = ignore};

    doctor->database = g_build_filename(doctor->options->state_dir, DATABASE_NAME, NULL);
    doctor->unread = doctor->quick && doctor->overview && is_large(doctor->overview);
    if (doctor->unread)
        return;
    if (tools_read(doctor->database, NULL, &checker, &doctor->tree) != 0)
        doctor->tree = NULL;
}

static bool is_clustered(const struct doctor *doctor)
{
    if (doctor->overview)
        return !field_bool(doctor->overview, "local");
    if (doctor->tree)
        return tree_child(doctor->tree, 0, CONF_PATH) != NULL;
    return g_file_test(doctor->options->corosync_conf, G_FILE_TEST_EXISTS);
}

/* ---- What is found ---- */

static void free_finding(gpointer pointer)
{
    struct doctor_finding *finding = pointer;

    g_free(finding->what);
    g_free(finding->why);
    g_free(finding->command);
    g_free(finding->risk);
    g_free(finding);
}

/* Stable: insertion, for a handful. */
static void sort_findings(GPtrArray *findings)
{
    for (guint i = 1; i < findings->len; i++) {
        struct doctor_finding *moved = findings->pdata[i];
        guint at = i;
        for (; at > 0; at--) {
            struct doctor_finding *before = findings->pdata[at - 1];
            if (before->severity <= moved->severity)
                break;
            findings->pdata[at] = before;
        }
        findings->pdata[at] = moved;
    }
}

void doctor_examine(struct doctor *doctor, const struct context *context,
                    const struct doctor_options *given, bool quick)
{
    struct doctor_options *options = g_new(struct doctor_options, 1);

    *doctor = (struct doctor){.context = context, .quick = quick, .host_name = find_host_name()};
    doctor->findings = g_ptr_array_new_with_free_func(free_finding);
    ask_daemon(doctor);
    *options = (struct doctor_options){
        .state_dir = g_strdup(given->state_dir),
        .corosync_conf = g_strdup(given->corosync_conf),
        .mountpoint = g_strdup(given->mountpoint),
        .node_name = g_strdup(given->node_name),
        .group = g_strdup(given->group),
    };
    doctor_options_complete(options, doctor->overview);
    doctor->options = options;
    read_database(doctor);
    doctor->clustered = is_clustered(doctor);
    if (doctor->clustered)
        doctor->corosync = doctor_ask_corosync(PATIENCE_MILLISECONDS, &doctor->corosync_error);
    for (size_t i = 0; i < G_N_ELEMENTS(checks); i++) {
        doctor->check = checks[i].name;
        checks[i].check(doctor);
    }
    sort_findings(doctor->findings);
}

void doctor_clear(struct doctor *doctor)
{
    doctor_options_clear(doctor->options);
    g_free(doctor->options);
    g_free(doctor->host_name);
    json_decref(doctor->overview);
    json_decref(doctor->members);
    json_decref(doctor->locks);
    g_free(doctor->database);
    if (doctor->tree)
        tree_free(doctor->tree);
    json_decref(doctor->corosync);
    g_ptr_array_unref(doctor->findings);
}

char *doctor_first_line(const struct doctor *doctor)
{
    if (doctor->findings->len == 0)
        return NULL;
    const struct doctor_finding *first = doctor->findings->pdata[0];
    g_autofree char *what = text_printable(first->what);
    return g_strdup_printf("%s: %s", first->severity == DOCTOR_CRITICAL ? "critical" : "warning",
                           what);
}
