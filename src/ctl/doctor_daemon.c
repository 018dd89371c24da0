/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: does the daemon run, why not, and how is it. */
#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/doctor.h"

/* So long a node may take to join before it is told as a failure. */
#define JOIN_SECONDS 30

/* ---- Does it run? ---- */

void doctor_check_fuse(struct doctor *doctor)
{
    int file = open("/dev/fuse", O_RDWR | O_CLOEXEC);

    if (file >= 0) {
        close(file);
        return;
    }
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = g_strdup_printf("there is no FUSE: /dev/fuse cannot be opened: %s",
                                    g_strerror(errno)),
            .why =
                g_strdup("pmxcfs is a file system in user space, and does not start without it. In "
                         "a container it has to be allowed from outside."),
            .command = g_strdup("modprobe fuse"),
            .risk = g_strdup("None. If it cannot be found: the modules of the running kernel were "
                             "removed by an upgrade, and a reboot is due."),
        });
}

/* What systemd says of the unit; NULL: there is no systemd, or no such unit. g_free() it. */
static char *ask_systemd(void)
{
    g_autofree char *call = doctor_service("show");
    g_autofree char *line = g_strconcat(call, " --property=ActiveState,SubState,Result", NULL);
    char *text = NULL;
    int status;

    if (!g_file_test("/run/systemd/system", G_FILE_TEST_IS_DIR) ||
        !g_spawn_command_line_sync(line, &text, NULL, &status, NULL) || status != 0) {
        g_free(text);
        return NULL;
    }
    return g_strdelimit(g_strchomp(text), "\n", ' ');
}

/* The reason why none answers, as far as it can be told; g_free() it. */
static char *why_not(const struct doctor *doctor)
{
    int lock = db_lock(doctor->options->state_dir, false);

    if (lock >= 0)
        close(lock);
    if (lock == -EWOULDBLOCK)
        return g_strdup_printf("One works on %s, and does not answer at the socket '%s': it is "
                               "about to start or to stop, or it has another socket (pmxcfsctl "
                               "--socket-name).",
                               doctor->options->state_dir, doctor->context->socket);
    if (doctor->findings->len > 0 && doctor_has_critical(doctor, NULL))
        return g_strdup("It cannot, or should not, start before what is told above is mended.");
    g_autofree char *unit = ask_systemd();
    return unit ? g_strdup_printf("All that it needs is there. systemd says: %s.", unit)
                : g_strdup("All that it needs is there: nobody has started it, or it was killed.");
}

void doctor_check_daemon(struct doctor *doctor)
{
    g_autofree char *unit = doctor_service("status");
    const char *name = strrchr(unit, ' ') + 1;
    int error = doctor->daemon_error;

    if (error == 0)
        return;
    if (error == ETIMEDOUT || error == EAGAIN) {
        doctor_add(
            doctor,
            (struct doctor_finding){
                .severity = DOCTOR_CRITICAL,
                .what = g_strdup("pmxcfs runs and does not answer: it hangs, or is stopped"),
                .why = g_strdup("Whoever reads or writes in the file system waits for it."),
                .command = g_strdup_printf("systemctl kill -s CONT %s\njournalctl -b -u %s -n 30\n"
                                           "systemctl restart %s",
                                           name, name, name),
                .risk = g_strdup("The first one wakes one that was stopped by a signal. With the "
                                 "restart those who wait get an error; guests go on."),
            });
        return;
    }
    doctor_add(doctor, (struct doctor_finding){
                           .severity = DOCTOR_CRITICAL,
                           .what = g_strdup("pmxcfs does not run on this host"),
                           .why = why_not(doctor),
                           .command = g_strdup_printf(
                               "systemctl start %s\njournalctl -b -u %s -n 30", name, name),
                           .risk = g_strdup("none"),
                       });
}

/* ---- How is it? ---- */

void doctor_check_writes(struct doctor *doctor)
{
    if (!doctor->overview || field_bool(doctor->overview, "database_ok") ||
        doctor_has_critical(doctor, "space"))
        return;
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = g_strdup("the database takes no writes: all changes on this node are refused"),
            .why = g_strdup("The last change could not be stored. The disk may be failing, or was "
                            "full a moment ago; a quota counts too."),
            .command = g_strdup_printf("dmesg --level=err,warn | tail -n 30\ndf -h %s; df -i %s",
                                       doctor->options->state_dir, doctor->options->state_dir),
            .risk =
                g_strdup("None, they only show. When there is room again it goes on by itself."),
        });
}

static const struct {
    const char *state;
    const char *why;
    const char *command;
    const char *risk;
    bool passes; /* by itself, in a while */
} states[] = {
    {"not joined",
     "It is not in the group of the others: corosync has just been started, or took "
     "it out.",
     "journalctl -b -u pve-cluster -u corosync -n 50", "none, it only shows", true},
    {"joining", "It waits for corosync to take it into the group.",
     "journalctl -b -u pve-cluster -u corosync -n 50", "none, it only shows", true},
    {"comparing",
     "It waits for the copies of all members, to find the newest one: a member that "
     "hangs holds up all.",
     "pmxcfsctl status", "none, it only shows", true},
    {"taking over", "It gets what has changed from the others.", "pmxcfsctl status",
     "none, it only shows", true},
    {"leaving", "It met an error, and leaves the group to come back.",
     "journalctl -b -u pve-cluster -n 50", "none, it only shows", true},
    {"outdated",
     "A member speaks a newer protocol than this one knows: this node has an old "
     "release.",
     "apt update && apt install pmxcfs\nsystemctl restart pve-cluster",
     "Read the release notes before: nodes are upgraded one after the other.", false},
    {"error", "It met an error that it cannot get over.", /* or what is not known here */
     "journalctl -b -u pve-cluster -n 50\nsystemctl restart pve-cluster",
     "The file system is away for a second; guests go on.", false},
};

static void tell_not_in_sync(struct doctor *doctor, const char *state)
{
    long long since =
        (long long)time(NULL) - (long long)field_number(doctor->overview, "state_since");
    size_t i = 0;

    while (i + 1 < G_N_ELEMENTS(states) && strcmp(states[i].state, state) != 0)
        i++;
    bool early = states[i].passes && since < JOIN_SECONDS;
    doctor_add(doctor, (struct doctor_finding){
                           .severity = early ? DOCTOR_WARNING : DOCTOR_CRITICAL,
                           .what = g_strdup_printf("this node is not in sync: %s, since %lld s",
                                                   state, MAX(since, 0ll)),
                           .why = g_strdup(states[i].why),
                           .command = g_strdup(states[i].command),
                           .risk = g_strdup(states[i].risk),
                       });
}

/* Nodes whose corosync is there, and whose daemon is not. */
static GPtrArray *without_daemon(const struct doctor *doctor)
{
    json_t *online = json_object_get(doctor->members, "nodelist");
    GPtrArray *names = g_ptr_array_new();
    json_t *node;
    size_t i;

    json_array_foreach(json_object_get(doctor->corosync, "nodes"), i, node)
    {
        const char *name = field_text(node, "name");
        json_t *member = json_object_get(online, name);
        if (field_bool(node, "joined") && member && !field_bool(member, "online"))
            g_ptr_array_add(names, (gpointer)name);
    }
    return names;
}

static void check_absent(struct doctor *doctor)
{
    g_autoptr(GPtrArray) absent = without_daemon(doctor);

    if (absent->len == 0)
        return;
    g_autofree char *list = doctor_list(absent);
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("pmxcfs does not run on %s, and corosync does", list),
            .why = g_strdup("That node has no configuration now: it starts no guest, and "
                            "gets no change."),
            .command = g_strdup_printf("ssh %s pmxcfsctl doctor", (const char *)absent->pdata[0]),
            .risk = g_strdup("none, it only shows"),
        });
}

static void check_others(struct doctor *doctor)
{
    g_autoptr(GPtrArray) late =
        doctor_names_without(json_object_get(doctor->overview, "group"), "in_sync");

    if (late->len > 0) {
        g_autofree char *list = doctor_list(late);
        doctor_add(
            doctor,
            (struct doctor_finding){
                .severity = DOCTOR_WARNING,
                .what = g_strdup_printf("not in sync: %s", list),
                .why = g_strdup("Their copy is being compared or brought up to date."),
                .command = g_strdup_printf("ssh %s pmxcfsctl doctor", (const char *)late->pdata[0]),
                .risk = g_strdup("none, it only shows"),
            });
    }
    json_t *verification = json_object_get(doctor->overview, "verification");
    if (field_number(verification, "different") > 0)
        doctor_add(doctor,
                   (struct doctor_finding){
                       .severity = DOCTOR_WARNING,
                       .what = g_strdup_printf(
                           "this node's copy differed from the others' at %lld %s",
                           (long long)field_number(verification, "different"),
                           field_number(verification, "different") == 1 ? "verification"
                                                                        : "verifications"),
                       .why = g_strdup(
                           "It took over theirs each time. That must not happen: memory or disk "
                           "of this host may be failing, or it is a bug."),
                       .command = g_strdup("pmxcfsctl verify\njournalctl -b -u pve-cluster -n 50"),
                       .risk = g_strdup("none, they only show"),
                   });
}

void doctor_check_sync(struct doctor *doctor)
{
    if (!doctor->overview || !doctor->clustered || doctor_has_critical(doctor, "corosync") ||
        doctor_has_critical(doctor, "corosync-conf"))
        return; /* nothing else can be expected */
    const char *state = field_text(doctor->overview, "state");
    if (strcmp(state, "in sync") != 0) {
        tell_not_in_sync(doctor, state);
        return;
    }
    check_absent(doctor);
    check_others(doctor);
}

void doctor_check_release(struct doctor *doctor)
{
    const char *running = doctor->overview ? field_text(doctor->overview, "release") : NULL;
    g_autofree char *restart = doctor_service("restart");

    if (!running || strcmp(running, PMXCFS_VERSION) == 0)
        return;
    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_WARNING,
                   .what = g_strdup_printf("release %s of pmxcfs runs, and %s is installed",
                                           running, PMXCFS_VERSION),
                   .why = g_strdup("It was not restarted after an upgrade."),
                   .command = g_steal_pointer(&restart),
                   .risk = g_strdup(
                       "The file system is away for a second; guests go on. Do one node after "
                       "the other."),
               });
}
