/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl recover: the database of a dead host on a new one, after a look at all that must be
 * right for that. */
#include <errno.h>
#include <glib.h>
#include <inttypes.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "cluster/conf.h"
#include "core/path.h"
#include "ctl/commands.h"
#include "ctl/db.h"
#include "ctl/nodelist.h"
#include "ctl/restore.h"
#include "ctl/tools/check.h"
#include "ctl/where.h"
#include "host/node.h"
#include "store/text.h"

#define DEFAULT_COROSYNC_DIR "/etc/corosync"

#define SUMMARY                                                                                    \
    "Puts FILE, the " DATABASE_NAME " of a host that is dead, in place on this host, which has\n"  \
    "the name and the addresses of the dead one. Looks first whether all is right for it, and\n"   \
    "says what to do next. The old host must never be started again.\n\n"                          \
    "Exit codes: 0 done, or with --dry-run: nothing is in the way; 4 something is in the way, "    \
    "and\n"                                                                                        \
    "nothing was changed; 1 it failed"

enum verdict { VERDICT_GOOD, VERDICT_WARNING, VERDICT_REFUSED };

struct recovery {
    const char *file;
    const char *state_dir;
    const char *corosync_dir;
    char *nodename;
    bool replace; /* guests that are here already may be replaced */
    bool dry_run;
    struct tree *tree; /* of FILE, NULL: it does not load */
    int lock;
    bool clustered; /* there is a corosync.conf in it */
    unsigned int refused;
    json_t *findings; /* with --json; NULL: they are printed */
};

__attribute__((format(printf, 3, 4))) static void say(struct recovery *recovery,
                                                      enum verdict verdict, const char *format, ...)
{
    static const struct {
        const char *word;
        enum colour colour;
    } words[] = {
        [VERDICT_GOOD] = {"ok", COLOUR_GREEN},
        [VERDICT_WARNING] = {"warning", COLOUR_YELLOW},
        [VERDICT_REFUSED] = {"refused", COLOUR_RED},
    };
    va_list arguments;

    recovery->refused += verdict == VERDICT_REFUSED;
    va_start(arguments, format);
    g_autofree char *text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    if (recovery->findings)
        json_array_append_new(
            recovery->findings,
            json_pack("{s:s, s:o}", "severity", words[verdict].word, "text", db_json_string(text)));
    else
        printf("%s%s%s: %s\n", colour_begin(stdout, words[verdict].colour), words[verdict].word,
               colour_end(stdout), text);
}

/* ---- What is looked at ---- */

static uint32_t count_guests(const struct tree *tree, const char *nodename)
{
    g_autoptr(GPtrArray) entries = tree_sorted(tree);
    uint32_t count = 0;

    for (guint i = 0; i < entries->len; i++) {
        const struct entry *entry = entries->pdata[i];
        struct guest_path guest;
        g_autofree char *path = tree_path(tree, entry->inode);
        count += !entry_is_directory(entry) && path_parse_guest(path, &guest) &&
                 (!nodename || (strlen(nodename) == guest.node_length &&
                                memcmp(nodename, guest.node, guest.node_length) == 0));
    }
    return count;
}

static char *guests_shown(const struct tree *tree, const char *nodename)
{
    return db_count_shown(count_guests(tree, nodename), "guest", "guests");
}

static void look_at_file(struct recovery *recovery)
{
    recovery->tree = db_read(recovery->file);
    if (!recovery->tree) {
        if (db_no_database(recovery->file))
            say(recovery, VERDICT_REFUSED, "%s is no database: %s", recovery->file,
                db_no_database(recovery->file));
        else if (!g_file_test(recovery->file, G_FILE_TEST_EXISTS))
            say(recovery, VERDICT_REFUSED, "%s is not there", recovery->file);
        else
            say(recovery, VERDICT_REFUSED,
                "%s does not load: pmxcfsctl db check --repair makes a copy that does",
                recovery->file);
        return;
    }
    g_autofree char *changed = db_time_shown(recovery->tree->root.mtime);
    g_autofree char *entries = db_entries_shown(recovery->tree);
    g_autofree char *guests = guests_shown(recovery->tree, NULL);
    say(recovery, VERDICT_GOOD, "%s loads: version %" PRIu64 " of %s, %s, %s", recovery->file,
        recovery->tree->root.version, changed, entries, guests);
}

/* Holds the lock until the end, if there is nothing in the way. */
static void look_for_daemon(struct recovery *recovery)
{
    recovery->lock = db_lock(recovery->state_dir, !recovery->dry_run);
    if (recovery->lock >= 0 || (recovery->dry_run && recovery->lock == -ENOENT))
        say(recovery, VERDICT_GOOD, "no pmxcfs runs here");
    else if (recovery->lock == -EWOULDBLOCK)
        say(recovery, VERDICT_REFUSED, "a pmxcfs runs here: systemctl stop pve-cluster");
    else
        say(recovery, VERDICT_REFUSED, "%s: %s (is pmxcfs installed?)", recovery->state_dir,
            g_strerror(-recovery->lock));
}

/* The directories in nodes/, to be told; g_free() it. */
static char *names_of_nodes(const struct tree *tree, const struct entry *nodes)
{
    GString *names = g_string_new(NULL);
    uint64_t after = 0;
    const struct entry *entry;

    while ((entry = tree_next_child(tree, nodes->inode, after))) {
        g_autofree char *name = store_text_shown(entry->name, entry->name_length);
        g_string_append_printf(names, "%s%s", names->len > 0 ? ", " : "", name);
        after = entry->inode;
    }
    return g_string_free(names, FALSE);
}

static void look_at_name(struct recovery *recovery)
{
    const struct entry *nodes = tree_child(recovery->tree, 0, "nodes");

    if (!recovery->nodename) {
        say(recovery, VERDICT_REFUSED, "this host has no name: set /etc/hostname");
        return;
    }
    if (!nodes || !tree_next_child(recovery->tree, nodes->inode, 0)) {
        say(recovery, VERDICT_WARNING, "no node has files in this database");
        return;
    }
    g_autofree char *names = names_of_nodes(recovery->tree, nodes);
    g_autofree char *guests = guests_shown(recovery->tree, recovery->nodename);
    if (tree_child(recovery->tree, nodes->inode, recovery->nodename))
        say(recovery, VERDICT_GOOD, "this host, %s, is one of its nodes (%s), with %s",
            recovery->nodename, names, guests);
    else
        say(recovery, VERDICT_REFUSED,
            "this host is called %s, and the database is one of %s: give this host the name of "
            "the dead one in /etc/hostname and /etc/hosts, restart it, and try again",
            recovery->nodename, names);
}

static void ignore(struct store_checker *checker, const struct store_finding *finding)
{
    (void)checker;
    (void)finding;
}

static void look_at_orphans(struct recovery *recovery, const char *path)
{
    g_autoptr(GPtrArray) orphans = restore_find_orphans(path);

    if (orphans->len == 0)
        say(recovery, VERDICT_GOOD, "there is no database here yet");
    for (guint i = 0; i < orphans->len; i++)
        say(recovery, VERDICT_WARNING, "%s is left of a database that is missing; it will be kept",
            (const char *)orphans->pdata[i]);
}

/* What is here already is kept, but guests that run on this host would be gone from it. */
static void look_at_present(struct recovery *recovery)
{
    g_autofree char *path = g_build_filename(recovery->state_dir, DATABASE_NAME, NULL);
    struct store_checker checker = {.found = ignore};
    struct tree *tree;

    if (!g_file_test(path, G_FILE_TEST_EXISTS)) {
        look_at_orphans(recovery, path);
        return;
    }
    if (db_same_file(path, recovery->file)) {
        say(recovery, VERDICT_REFUSED, "%s is the database of this host", recovery->file);
        return;
    }
    if (tools_read(path, NULL, &checker, &tree) != 0) {
        say(recovery, VERDICT_WARNING, "the database here does not load; it will be kept");
        return;
    }
    bool has_guests = count_guests(tree, NULL) > 0;
    bool has_more = tree_entry_count(tree) > 1; /* than the root */
    g_autofree char *guests = guests_shown(tree, NULL);
    g_autofree char *entries = db_entries_shown(tree);
    tree_free(tree);
    if (has_guests && !recovery->replace)
        say(recovery, VERDICT_REFUSED,
            "the database here has %s: if they are not needed, --replace", guests);
    else
        say(recovery, has_more ? VERDICT_WARNING : VERDICT_GOOD,
            "the database here has %s, %s; it will be kept", entries, guests);
}

static void look_at_authkey(struct recovery *recovery)
{
    g_autofree char *key = g_build_filename(recovery->corosync_dir, "authkey", NULL);

    if (g_file_test(key, G_FILE_TEST_EXISTS))
        say(recovery, VERDICT_GOOD, "%s is there", key);
    else
        say(recovery, VERDICT_WARNING,
            "%s is missing: copy it from another node, unless corosync is used without one", key);
}

static void look_at_node(struct recovery *recovery, const struct nodelist_node *node)
{
    for (guint i = 0; i < node->addresses->len; i++) {
        const char *address = node->addresses->pdata[i];
        bool here = nodelist_is_local(address);
        say(recovery, here ? VERDICT_GOOD : VERDICT_WARNING,
            here ? "this host has the address %s of its corosync.conf"
                 : "this host has not the address %s that its corosync.conf gives to it: corosync "
                   "will not find the others",
            address);
    }
}

static void look_at_cluster(struct recovery *recovery)
{
    const struct entry *conf = tree_child(recovery->tree, 0, CONF_PATH);
    g_autofree char *host_conf = g_build_filename(recovery->corosync_dir, "corosync.conf", NULL);

    recovery->clustered = conf && conf->content;
    if (!recovery->clustered) {
        say(recovery, VERDICT_GOOD, "it is not of a cluster: there is no corosync.conf in it");
        if (g_file_test(host_conf, G_FILE_TEST_EXISTS))
            say(recovery, VERDICT_WARNING, "%s is there, from another use of this host: remove it",
                host_conf);
        return;
    }
    g_autoptr(GPtrArray) nodes = nodelist_parse((const char *)conf->content->data, conf->size);
    const struct nodelist_node *own = nodelist_find(nodes, recovery->nodename);
    say(recovery, VERDICT_WARNING,
        "it is of a cluster of %u %s: if others are alive, nothing needs to be recovered from "
        "FILE (the copy with the highest version wins), and without a quorum of them all is "
        "read-only",
        nodes->len, nodes->len == 1 ? "node" : "nodes");
    if (own)
        look_at_node(recovery, own);
    else
        say(recovery, VERDICT_WARNING, "its corosync.conf has no node called %s",
            recovery->nodename);
    look_at_authkey(recovery);
}

static void look(struct recovery *recovery)
{
    look_at_file(recovery);
    look_for_daemon(recovery);
    look_at_present(recovery);
    if (!recovery->tree)
        return;
    look_at_name(recovery);
    if (!recovery->nodename)
        return;
    const char *reason;
    g_autofree char *address = node_resolve(recovery->nodename, &reason);
    if (address)
        say(recovery, VERDICT_GOOD, "%s resolves to %s", recovery->nodename, address);
    else
        say(recovery, VERDICT_WARNING, "%s has no address (%s): add it to /etc/hosts",
            recovery->nodename, reason);
    look_at_cluster(recovery);
}

/* ---- What is done ---- */

static const char *const next_alone[] = {
    "Make sure that the old host is never started again.",
    "See that the storages are there: disks of guests are not in this database.",
    "reboot, then look at: pmxcfsctl guests",
    NULL,
};

static const char *const next_clustered[] = {
    "Make sure that the old host is never started again.",
    "See that the storages are there: disks of guests are not in this database.",
    "Compare /etc/hosts with that of the other nodes.",
    "reboot, then look at: pmxcfsctl members; pmxcfsctl guests",
    "If all other nodes are dead too: pvecm expected 1",
    NULL,
};

/* `done` NULL: it is not in place. */
static void print_json(const struct recovery *recovery, const struct restored *done)
{
    g_autofree char *path = g_build_filename(recovery->state_dir, DATABASE_NAME, NULL);
    const char *const *next = recovery->clustered ? next_clustered : next_alone;
    json_t *steps = json_array();

    for (; done && *next; next++)
        json_array_append_new(steps, json_string(*next));
    db_print_json(json_pack(
        "{s:O, s:I, s:b, s:b, s:o, s:o, s:o, s:o}", "findings", recovery->findings, "refused",
        (json_int_t)recovery->refused, "dry_run", recovery->dry_run, "done", done != NULL, "file",
        db_json_string(path), "kept", done && done->kept ? db_json_string(done->kept) : json_null(),
        "set_aside", done ? restore_json_names(done->set_aside) : json_array(), "next", steps));
}

static void print_text(const struct recovery *recovery, const struct restored *done)
{
    const char *const *next = recovery->clustered ? next_clustered : next_alone;

    if (recovery->refused > 0)
        printf("%u %s in the way: nothing was changed\n", recovery->refused,
               recovery->refused == 1 ? "thing is" : "things are");
    else if (recovery->dry_run)
        puts("nothing is in the way; without --dry-run it would be done now");
    if (!done)
        return;
    printf("%s/" DATABASE_NAME " is in place\n", recovery->state_dir);
    restore_print_kept(done);
    puts("\nWhat to do next:");
    for (int i = 0; next[i]; i++)
        printf("  %d. %s\n", i + 1, next[i]);
}

static int act(const struct recovery *recovery)
{
    struct restored restored = {0};
    bool wanted = recovery->refused == 0 && !recovery->dry_run;
    bool done = wanted && restore_install(recovery->tree, recovery->state_dir, &restored) == 0;

    (recovery->findings ? print_json : print_text)(recovery, done ? &restored : NULL);
    restored_clear(&restored);
    if (recovery->refused > 0)
        return EXIT_FOUND;
    return wanted && !done ? EXIT_FAILED : EXIT_DONE;
}

int command_recover(const struct context *context, int argc, char **argv)
{
    g_autofree char *state_dir = NULL;
    g_autofree char *corosync_dir = NULL;
    g_autofree char *nodename = NULL;
    gboolean dry_run = FALSE;
    gboolean replace = FALSE;
    const GOptionEntry entries[] = {
        {"dry-run", 'n', 0, G_OPTION_ARG_NONE, &dry_run, "look only, change nothing", NULL},
        {"replace", 0, 0, G_OPTION_ARG_NONE, &replace,
         "also if the database here has guests (it is kept)", NULL},
        {"state-dir", 0, 0, G_OPTION_ARG_FILENAME, &state_dir,
         "where the database goes (" DEFAULT_STATE_DIR ")", "DIR"},
        {"corosync-dir", 0, 0, G_OPTION_ARG_FILENAME, &corosync_dir,
         "where corosync's files are (" DEFAULT_COROSYNC_DIR ")", "DIR"},
        {"nodename", 0, 0, G_OPTION_ARG_STRING, &nodename, "name of this node (the host name)",
         "NAME"},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};

    if (!command_parse(&argc, &argv, entries, "FILE", SUMMARY, 1, 1))
        return EXIT_WRONG_USE;
    int code;
    g_autofree char *directory = where_state_dir(context, state_dir, &code);
    if (!directory)
        return code;
    struct recovery recovery = {
        .file = argv[1],
        .state_dir = directory,
        .corosync_dir = corosync_dir ? corosync_dir : DEFAULT_COROSYNC_DIR,
        .nodename = nodename ? g_steal_pointer(&nodename) : node_name(),
        .replace = replace,
        .dry_run = dry_run,
        .lock = -1,
        .findings = context->json ? json_array() : NULL,
    };
    look(&recovery);
    code = act(&recovery);
    if (recovery.lock >= 0)
        close(recovery.lock);
    if (recovery.tree)
        tree_free(recovery.tree);
    json_decref(recovery.findings);
    g_free(recovery.nodename);
    return code;
}
