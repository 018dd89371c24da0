/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line: what an administrator, a test, or a container can choose. */
#ifndef PMXCFS_HOST_OPTIONS_H
#define PMXCFS_HOST_OPTIONS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Many members: one for each option. All strings are owned by the struct; all paths are
 * absolute. */
struct options {
    bool help;
    bool version;
    bool debug;
    bool foreground;
    bool local;

    char *mountpoint;
    char *state_dir;
    char *run_dir;
    char *pid_file; /* run_dir + ".pid" */
    char *rrd_dir;
    char *rrdcached_address; /* as librrd takes it: unix:PATH */
    char *corosync_conf;
    char *socket_name;
    char *nodename; /* NULL: the host name up to its first dot */
    char *address;  /* NULL: looked up from the node name */
    char *group;

    bool acknowledge_all; /* answer callers when all members have the change */
    bool durability_full; /* sync the database at every commit */

    uint64_t history_size; /* MiB; 0: no history is written */
    uint64_t history_days;
    char *history_skip; /* patterns that are not kept, or with "!" are; NULL: the usual ones */
    bool history_private;

    /* Milliseconds. */
    uint64_t fold_delay; /* config.db may be so far behind; 0: no journal */
    uint64_t lock_lifetime;
    uint64_t lockfile_timeout;
    uint64_t verify_interval;
    uint64_t answer_timeout;
    uint64_t rejoin_delay;
};

/* Parses a command line (argv[0] is the program's name; nothing in argv is altered) and checks it.
 * Fills *options, which options_clear() frees again. False with *error set (G_OPTION_ERROR) on
 * anything unknown, stray, or out of bounds; then there is nothing to free. Touches nothing but the
 * current directory's name, which relative paths are completed with. */
bool options_parse(int argc, const char *const *argv, struct options *options, GError **error);

/* Frees the strings. */
void options_clear(struct options *options);

/* The text of --help; g_free() it. */
char *options_help(void);

#endif
