/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: corosync, its configuration, its links and the votes. */
#include "ctl/doctor_ask_corosync.h"

#include <errno.h>
#include <inttypes.h>
#include <string.h>

#include "cluster/conf.h"
#include "ctl/ask.h"
#include "ctl/doctor.h"
#include "ctl/nodelist.h"

/* ---- corosync.conf ---- */

static void tell_conf_missing(struct doctor *doctor)
{
    const char *path = doctor->options->corosync_conf;

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = g_strdup_printf("corosync is not configured: %s is not there", path),
            .why = g_strdup("The database is of a cluster, and corosync, which holds it together, "
                            "reads the file of the host. pmxcfs writes it when it starts."),
            .command = g_strdup_printf("cp %s/" CONF_PATH " %s\nsystemctl start corosync",
                                       doctor->options->mountpoint, path),
            .risk = g_strdup("None, if this host is still a member. If it was removed from the "
                             "cluster, it must not come back with the old file."),
        });
}

/* The cluster's file, and the host's of another version or content. */
static void compare_conf(struct doctor *doctor, const struct entry *conf, const char *host,
                         gsize size)
{
    uint64_t here = conf_version((const uint8_t *)host, size);
    uint64_t there = conf_version(conf->content->data, conf->size);
    const char *path = doctor->options->corosync_conf;
    bool newer = here > there;

    if (size == conf->size && memcmp(host, conf->content->data, size) == 0)
        return;
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("%s is not that of the cluster: version %" PRIu64
                                    " here, %" PRIu64 " there",
                                    path, here, there),
            .why =
                g_strdup(newer ? "Somebody has changed the file of this host. pmxcfs leaves it as "
                                 "it is, since it is newer, and the other nodes do not have it."
                               : "This host has not got the last change, or its file was changed "
                                 "by hand."),
            .command = g_strdup_printf(
                "diff %s %s/" CONF_PATH "\n%s", path, doctor->options->mountpoint,
                newer ? "cp CHECKED /etc/pve/corosync.conf" : "systemctl restart pve-cluster"),
            .risk =
                g_strdup(newer ? "What is written there goes to all nodes at once, and corosync "
                                 "reads it: give it a config_version above both."
                               : "The file system is away for a second; guests go on. Then look "
                                 "again: the file is written at the start."),
        });
}

static void tell_stale_conf(struct doctor *doctor)
{
    if (!g_file_test(doctor->options->corosync_conf, G_FILE_TEST_EXISTS))
        return;
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("%s is there, and the database is of no cluster",
                                    doctor->options->corosync_conf),
            .why =
                g_strdup("This node works alone. If it should be in a cluster it has lost that; if "
                         "it was taken out of one, the file is left over, and corosync still tries "
                         "to join."),
            .command = g_strdup_printf("systemctl disable --now corosync\nmv %s /root/",
                                       doctor->options->corosync_conf),
            .risk = g_strdup("Only if it should be alone. If it should be in a cluster: pvecm add "
                             "MEMBER, which replaces all that is in its database."),
        });
}

void doctor_check_corosync_conf(struct doctor *doctor)
{
    const struct entry *conf = doctor->tree ? tree_child(doctor->tree, 0, CONF_PATH) : NULL;
    g_autofree char *host = NULL;
    gsize size;

    if (!doctor->tree)
        return;
    if (!conf || !conf->content) {
        tell_stale_conf(doctor);
        return;
    }
    /* A daemon that was told to be alone does not care. */
    if (!doctor->clustered)
        return;
    if (!g_file_get_contents(doctor->options->corosync_conf, &host, &size, NULL))
        tell_conf_missing(doctor);
    else
        compare_conf(doctor, conf, host, size);
}

/* The last value of a key of the file, however deep; g_free() it. */
static char *find_value(const char *text, const char *key)
{
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    char *value = NULL;

    for (int i = 0; lines[i]; i++) {
        char *line = g_strstrip(lines[i]);
        if (!g_str_has_prefix(line, key) || line[strlen(key)] != ':')
            continue;
        g_free(value);
        value = g_strdup(g_strstrip(line + strlen(key) + 1));
    }
    return value;
}

void doctor_check_corosync_key(struct doctor *doctor)
{
    g_autofree char *directory = g_path_get_dirname(doctor->options->corosync_conf);
    g_autofree char *key = g_build_filename(directory, "authkey", NULL);
    g_autofree char *text = NULL;

    if (!doctor->clustered || g_file_test(key, G_FILE_TEST_EXISTS) ||
        !g_file_get_contents(doctor->options->corosync_conf, &text, NULL, NULL))
        return;
    g_autofree char *secure = find_value(text, "secauth");
    g_autofree char *cipher = find_value(text, "crypto_cipher");
    g_autofree char *elsewhere = find_value(text, "keyfile");
    bool needed = (secure && strcmp(secure, "on") == 0) || (cipher && strcmp(cipher, "none") != 0);
    if (!needed || elsewhere)
        return;
    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_CRITICAL,
                   .what = g_strdup_printf("corosync's key %s is not there", key),
                   .why = g_strdup(
                       "corosync.conf asks for encryption: without the key of the others it does "
                       "not start."),
                   .command = g_strdup_printf("scp MEMBER:/etc/corosync/authkey %s\nchmod 400 %s\n"
                                              "systemctl restart corosync",
                                              key, key),
                   .risk = g_strdup("None. A new key (corosync-keygen) would fit no other node."),
               });
}

/* ---- The process ---- */

static void tell_not_running(struct doctor *doctor)
{
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = g_strdup("corosync is not running on this host"),
            .why =
                g_strdup("Without it this node sees no other, has no quorum, and its file system "
                         "is read-only."),
            .command = g_strdup("systemctl start corosync\njournalctl -b -u corosync -n 30"),
            .risk = g_strdup("None for guests. If high availability is in use and it has been away "
                             "for a minute, the node may restart by itself."),
        });
}

static void tell_hanging(struct doctor *doctor)
{
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = doctor->corosync_error == -ETIMEDOUT
                        ? g_strdup("corosync does not answer: it hangs, or is stopped")
                        : g_strdup_printf("corosync cannot be asked: %s",
                                          g_strerror(-doctor->corosync_error)),
            .why = g_strdup("The other nodes take this one for dead as long as that lasts."),
            .command = g_strdup("systemctl kill -s CONT corosync\nsystemctl restart corosync"),
            .risk =
                g_strdup("The first one wakes one that was stopped by a signal. The restart drops "
                         "this node out of the cluster for seconds; with high availability "
                         "and a hung node, it may be restarted by its watchdog."),
        });
}

static void tell_old_configuration(struct doctor *doctor, uint64_t running, uint64_t file)
{
    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_WARNING,
                   .what = g_strdup_printf("corosync works with version %" PRIu64
                                           " of its configuration, and the file has %" PRIu64,
                                           running, file),
                   .why = g_strdup("It was not told to read the file again, or could not use it."),
                   .command = g_strdup("corosync-cfgtool -R\njournalctl -b -u corosync -n 30"),
                   .risk = g_strdup(
                       "It is told to all nodes; a file with a mistake is refused, and the old "
                       "one stays in use."),
               });
}

void doctor_check_corosync(struct doctor *doctor)
{
    g_autofree char *text = NULL;
    gsize size;

    if (!doctor->clustered || doctor_has_critical(doctor, "corosync-conf"))
        return;
    if (!doctor->corosync) {
        if (doctor->corosync_error == -ENOTCONN)
            tell_not_running(doctor);
        else
            tell_hanging(doctor);
        return;
    }
    if (!g_file_get_contents(doctor->options->corosync_conf, &text, &size, NULL))
        return;
    uint64_t running = (uint64_t)field_number(doctor->corosync, "version");
    uint64_t file = conf_version((const uint8_t *)text, size);
    if (running != file)
        tell_old_configuration(doctor, running, file);
}

/* ---- Links ---- */

/* Sorts what is wrong with a node's links: *up and *down of them. */
static void count_links(json_t *node, unsigned int *up, unsigned int *down, GPtrArray *broken)
{
    json_t *link;
    size_t i;

    json_array_foreach(json_object_get(node, "links"), i, link)
    {
        bool connected = field_bool(link, "connected");
        *(connected ? up : down) += 1;
        if (!connected)
            g_ptr_array_add(broken,
                            g_strdup_printf("%lld to %s", (long long)field_number(link, "number"),
                                            field_text(node, "name")));
    }
}

static void tell_cut_off(struct doctor *doctor, unsigned int nodes)
{
    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_CRITICAL,
                   .what = g_strdup_printf(
                       "this node is cut off: no link to any of the %u other nodes is up", nodes),
                   .why = g_strdup(
                       "The network of this host, or the switch, or a firewall; or all others are "
                       "off."),
                   .command = g_strdup(
                       "corosync-cfgtool -n\nip -brief link; ip -brief address\nping ADDRESS"),
                   .risk = g_strdup(
                       "None, they only show. Do not lower the expected votes while the others "
                       "may be alive: two halves would both go on, and one is thrown away."),
               });
}

static void tell_links(struct doctor *doctor, const GPtrArray *broken, bool still_reached)
{
    g_autofree char *list = doctor_list(broken);

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("%s down: link %s",
                                    broken->len == 1 ? "a link is" : "links are", list),
            .why = g_strdup(
                still_reached ? "The nodes are reached over another link: nothing is redundant now."
                              : "That node is off, or the network between is broken."),
            .command =
                g_strdup("corosync-cfgtool -n\nip -brief link; ip -brief address\nping ADDRESS"),
            .risk = g_strdup("none, they only show"),
        });
}

void doctor_check_links(struct doctor *doctor)
{
    g_autoptr(GPtrArray) broken = g_ptr_array_new_with_free_func(g_free);
    unsigned int reached = 0, lost = 0;
    json_t *node;
    size_t i;

    json_array_foreach(json_object_get(doctor->corosync, "nodes"), i, node)
    {
        unsigned int up = 0, down = 0;
        if (field_number(node, "id") == field_number(doctor->corosync, "own"))
            continue;
        count_links(node, &up, &down, broken);
        reached += up > 0;
        lost += up == 0 && down > 0;
    }
    if (reached == 0 && lost > 0)
        tell_cut_off(doctor, lost);
    else if (broken->len > 0)
        tell_links(doctor, broken, lost == 0);
}

/* ---- Votes ---- */

static void tell_no_quorum(struct doctor *doctor, json_t *votes, const char *missing)
{
    long long total = (long long)field_number(votes, "total");

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what =
                g_strdup_printf("there is no quorum: %lld of %lld votes are here, %lld are needed; "
                                "missing: %s",
                                total, (long long)field_number(votes, "expected"),
                                (long long)field_number(votes, "needed"), missing),
            .why = g_strdup(
                "So that never two halves of a cluster go on apart, a part without most of "
                "the votes is read-only. Start the missing nodes or mend the network; only "
                "if they are dead, go on without them:"),
            .command =
                g_strdup_printf("pvecm expected %lld\ncorosync-quorumtool -e %lld", total, total),
            .risk =
                g_strdup("SPLIT BRAIN (one of the two commands is enough). If a missing node is "
                         "alive somewhere, it and this one both go on: changes of one of them are "
                         "thrown away when they meet, and a guest can run twice, which destroys "
                         "its disks. Be sure that the missing nodes are off and stay off."),
        });
}

static void tell_missing_node(struct doctor *doctor, json_t *votes, const GPtrArray *names)
{
    g_autofree char *missing = doctor_list(names);
    long long spare = (long long)(field_number(votes, "total") - field_number(votes, "needed"));

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf(
                "%s %s not in the cluster: %lld of %lld votes are here, %lld are "
                "needed",
                missing, names->len == 1 ? "is" : "are", (long long)field_number(votes, "total"),
                (long long)field_number(votes, "expected"),
                (long long)field_number(votes, "needed")),
            .why = spare > 0
                       ? g_strdup_printf("The cluster goes on; it can lose %lld more.", spare)
                       : g_strdup("The cluster goes on, and stands still with the next one that "
                                  "is lost."),
            .command = g_strdup("ssh NODE systemctl status corosync pve-cluster"),
            .risk = g_strdup("none, it only shows"),
        });
}

/* Somebody has lowered the number, and it stays so until all are back or it is raised. */
static void check_expected(struct doctor *doctor, json_t *votes)
{
    json_int_t all = 0;
    json_t *node;
    size_t i;

    json_array_foreach(json_object_get(doctor->corosync, "nodes"), i, node) all +=
        field_number(node, "votes");
    if (field_number(votes, "expected") >= all)
        return;
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("only %lld votes are expected, and the nodes have %lld",
                                    (long long)field_number(votes, "expected"), (long long)all),
            .why =
                g_strdup("Somebody has lowered it (pvecm expected), and it is still so: a part of "
                         "the cluster that is cut off may go on alone. It goes back by itself when "
                         "the missing nodes come back."),
            .command = g_strdup_printf("corosync-quorumtool -e %lld", (long long)all),
            .risk =
                g_strdup("Without most of these votes here there is no quorum any more, and all is "
                         "read-only."),
        });
}

void doctor_check_votes(struct doctor *doctor)
{
    json_t *votes = json_object_get(doctor->corosync, "votes");

    if (!votes)
        return;
    g_autoptr(GPtrArray) names =
        doctor_names_without(json_object_get(doctor->corosync, "nodes"), "joined");
    g_autofree char *missing = names->len > 0 ? doctor_list(names) : g_strdup("nobody known");
    if (!field_bool(votes, "quorate")) {
        tell_no_quorum(doctor, votes, missing);
        return;
    }
    check_expected(doctor, votes);
    if (names->len > 0)
        tell_missing_node(doctor, votes, names);
}
