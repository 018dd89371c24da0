/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfs: makes the parts, starts them in order, and stops them in the opposite order. */
#include <errno.h>
#include <glib.h>
#include <malloc.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "base/standard.h"
#include "base/util.h"
#include "cluster/conf.h"
#include "cluster/corosync.h"
#include "core/digest.h"
#include "daemon/database.h"
#include "daemon/metrics.h"
#include "daemon/parts.h"
#include "daemon/publication.h"
#include "host/corosync_conf.h"
#include "host/guard.h"
#include "host/node.h"
#include "host/paths.h"
#include "host/process.h"
#include "mount/mount.h"
#include "socket/socket.h"
#include "status/activity.h"
#include "status/rrd.h"
#include "store/flusher.h"

#define EXIT_USAGE 2
#define STOP_MILLISECONDS_MAX 5000u
#define LEAVE_GROUPS_MILLISECONDS_MAX 2000u
#define FLUSH_LOOKS_MAX 100
#define FLUSH_PAUSE_MICROSECONDS 5000u

/* --- What the parts ask of each other --- */

static struct guest_snapshot *take_guests(struct guest_source *source)
{
    struct parts *parts = container_of(source, struct parts, guests);
    const struct state *state = replica_read_lock(parts->replica);
    struct guest_snapshot *snapshot = guest_snapshot_new(&state->guests);

    replica_read_unlock(parts->replica);
    return snapshot;
}

static void connect_parts(struct parts *parts)
{
    clock_source_system(&parts->clock);
    publication_init(parts);
    parts->guests = (struct guest_source){.take = take_guests};
    metrics_init(parts);
}

/* --- Start --- */

/* Who we are: names only, nothing is touched. */
static int find_identity(struct parts *parts)
{
    const struct options *options = &parts->options;

    int error = node_group(options->group, &parts->host.group);
    if (error < 0)
        return error;
    parts->host.nodename = options->nodename ? g_strdup(options->nodename) : node_name();
    if (!parts->host.nodename)
        return -EINVAL;
    parts->host.address =
        options->address ? g_strdup(options->address) : node_address(parts->host.nodename);
    return parts->host.address ? 0 : -ENOENT;
}

/* The lock comes before all that a second daemon could spoil. */
static int take_host(struct parts *parts)
{
    const struct options *options = &parts->options;

    process_block_signals();
    int error = paths_make_directory(options->state_dir, 0750);
    if (error < 0)
        return error;
    parts->host.lock_fd = paths_lock_state(options->state_dir, options->lockfile_timeout);
    if (parts->host.lock_fd < 0)
        return parts->host.lock_fd;
    error = paths_make_run_directory(options->run_dir, parts->host.group);
    if (error < 0)
        return error;
    return paths_prepare_mountpoint(options->mountpoint);
}

static int start_database(struct parts *parts, struct tree **tree)
{
    history_start(&parts->history, &parts->options);
    int error =
        database_open(&parts->options, history_witness(&parts->history), &parts->store, tree);
    if (error < 0)
        return error;
    parts->flusher = flusher_start(parts->store);
    if (!parts->flusher) {
        error = -errno;
        log_error("cannot start the thread that tends the database: %s", strerror(errno));
        tree_free(*tree);
    }
    return error;
}

static int start_status(struct parts *parts)
{
    parts->status =
        status_new(parts->host.nodename, parts->host.address, (uint32_t)getpid(), &parts->clock);
    status_set_release(parts->status, PMXCFS_VERSION);
    int error = rrd_start(parts->options.rrd_dir, parts->options.rrdcached_address, &parts->rrd);
    if (error < 0) {
        log_error("cannot start the thread that writes RRD files: %s", strerror(-error));
        return error;
    }
    status_set_rrd_listener(parts->status, rrd_listener(parts->rrd));
    status_set_guest_source(parts->status, &parts->guests);
    parts->activity = activity_new(&parts->clock);
    return 0;
}

/* A corosync.conf in the tree means a cluster, unless the command line says otherwise. */
static bool is_cluster(const struct parts *parts, const struct tree *tree)
{
    return !parts->options.local && tree_child(tree, 0, CONF_PATH) != NULL;
}

static void start_replica(struct parts *parts, struct tree *tree)
{
    parts->cluster = is_cluster(parts, tree);
    const struct replica_options options = {
        .local = !parts->cluster,
        .acknowledge_all = parts->options.acknowledge_all,
        .lock_lifetime = (uint32_t)parts->options.lock_lifetime,
        .safety_directory = parts->options.state_dir,
        .rejoin_delay = parts->options.rejoin_delay,
        .clock = &parts->clock,
        .listener = &parts->replica_listener,
        .names = status_name_source(parts->status),
    };

    status_start_feed(parts->status, tree->root.version);
    parts->replica = replica_new(&options, parts->store, tree);
    status_rebuilt(parts->status, NULL);
}

/* Local mode: a group of one, which is there at once. */
static void start_local(struct parts *parts)
{
    g_autofree char *old = replica_old_name(parts->replica, parts->host.nodename);

    log_info("local mode: no cluster");
    if (old)
        log_warning("this host is named '%s', and all guests are under '%s': if it was renamed, "
                    "give it its old name again ('hostnamectl set-hostname %s'), or make the "
                    "directories of guests below nodes/%s and move them there, while they are off "
                    "('pmxcfsctl guests move --from %s --to %s')",
                    parts->host.nodename, old, old, parts->host.nodename, old,
                    parts->host.nodename);
    parts->status_group = status_group_new(parts->status, NULL, &parts->clock, (struct member){0});
    loopback_start(&parts->loopback, parts->replica, (struct member){0});
}

/* Cluster mode: all is made, but corosync is talked to only when the rest stands. */
static int prepare_cluster(struct parts *parts)
{
    parts->conf = corosync_conf_start(parts->options.corosync_conf, 0);
    if (!parts->conf)
        return -EAGAIN;
    parts->corosync = corosync_new(&(struct corosync_options){
        .rejoin_delay = parts->options.rejoin_delay,
        .verify_interval = parts->options.verify_interval,
    });
    parts->status_group =
        status_group_new(parts->status, corosync_transport(parts->corosync, GROUP_STATUS),
                         &parts->clock, (struct member){0});
    replica_set_transport(parts->replica, corosync_transport(parts->corosync, GROUP_CONFIGURATION));
    return 0;
}

/* Last: what comes from there finds all parts. */
static int start_cluster(struct parts *parts)
{
    if (!parts->cluster)
        return 0;
    /* Corosync may be waiting for this file. */
    publication_submit_conf(parts, true);
    int error = corosync_start(parts->corosync, replica_consumer(parts->replica),
                               status_group_consumer(parts->status_group),
                               status_group_node_listener(parts->status_group));
    if (error < 0)
        log_error("cannot start the thread that talks to corosync: %s", strerror(-error));
    return error;
}

static int start_mount(struct parts *parts)
{
    const struct mount_options options = {
        .mountpoint = parts->options.mountpoint,
        .nodename = parts->host.nodename,
        .group = parts->host.group,
        .replica = parts->replica,
        .status = parts->status,
        .activity = parts->activity,
        .askers = parts->history.askers,
        .metrics = &parts->metrics.mount,
        .metrics_source = &parts->metrics.source,
        .listener = &parts->mount_listener,
    };
    g_autofree char *problem = NULL;

    parts->mount = mount_new(&options, &problem);
    if (!parts->mount) {
        log_error("cannot mount at %s: %s", options.mountpoint, problem);
        return -EIO;
    }
    guard_mounted(parts->host.guard);
    int error = mount_serve(parts->mount);
    if (error < 0)
        log_error("cannot start the threads of the mount: %s", strerror(-error));
    return error;
}

static int start_trials(struct parts *parts)
{
    history_ready(&parts->history, &parts->options, parts->replica, parts->mount);
    return 0;
}

static int start_socket(struct parts *parts)
{
    const struct socket_options options = {
        .name = parts->options.socket_name,
        .group = parts->host.group,
        .sources = {.mountpoint = parts->options.mountpoint,
                    .state_dir = parts->options.state_dir,
                    .store = parts->store,
                    .replica = parts->replica,
                    .corosync = parts->corosync,
                    .status = parts->status,
                    .status_group = parts->status_group,
                    .activity = parts->activity,
                    .metrics = &parts->metrics.socket,
                    .metrics_source = &parts->metrics.source,
                    .recorder = parts->history.recorder,
                    .trials = parts->history.trials},
    };

    int error = socket_start(&options, &parts->socket);
    if (error < 0) {
        log_error("cannot open the local socket '%s': %s%s", options.name, strerror(-error),
                  error == -EADDRINUSE
                      ? "; another daemon has that name: stop it, or choose one with --socket-name"
                      : "");
        return error;
    }
    paths_remove_restart_flag(parts->options.run_dir);
    return 0;
}

/* When mount point and socket are ours: until then the file may be that of a daemon with another
 * state directory, in whose way this one is. */
static int write_pid_file(struct parts *parts)
{
    int error = paths_write_pid_file(parts->options.pid_file);

    parts->host.pid_file_written = error == 0;
    return error;
}

/* Before any thread. */
static int start_guard(struct parts *parts)
{
    parts->host.guard = guard_start(parts->options.mountpoint, parts->host.lock_fd);
    if (parts->host.guard < 0)
        log_warning("no guard (%s): if this daemon is killed, processes may hang",
                    strerror((int)-parts->host.guard));
    return 0;
}

/* What is behind mount and socket. */
static int start_inside(struct parts *parts)
{
    struct tree *tree;

    int error = start_database(parts, &tree);
    if (error < 0)
        return error;
    error = start_status(parts);
    if (error < 0) {
        tree_free(tree);
        return error;
    }
    history_loaded(&parts->history, tree, parts->status);
    start_replica(parts, tree);
    if (parts->cluster)
        return prepare_cluster(parts);
    start_local(parts);
    return 0;
}

/* From the inside out: who asks finds all that is asked. 0 or a negative errno, which is logged;
 * then stop() takes down what stands. */
static int start(struct parts *parts)
{
    static int (*const steps[])(struct parts * parts) = {
        find_identity, take_host,    start_guard,    start_inside,  start_mount,
        start_trials,  start_socket, write_pid_file, start_cluster,
    };
    int error = 0;

    connect_parts(parts);
    for (size_t i = 0; i < G_N_ELEMENTS(steps) && !error; i++)
        error = steps[i](parts);
    return error;
}

/* --- Stop --- */

/* Files that were emptied by an open that no write has followed yet: their truncations are sent
 * while the group is there. */
static void flush_mount(struct parts *parts)
{
    struct replica_status status;

    mount_flush(parts->mount);
    for (int i = 0; i < FLUSH_LOOKS_MAX; i++) {
        replica_get_status(parts->replica, &status);
        if (status.waiting == 0)
            break;
        g_usleep(FLUSH_PAUSE_MICROSECONDS);
    }
}

/* The groups are left first: nothing comes from there any more, and nothing goes there. */
static void stop_cluster(struct parts *parts, const struct last_resort *resort)
{
    if (!parts->corosync)
        return;
    if (corosync_stop(parts->corosync, LEAVE_GROUPS_MILLISECONDS_MAX) < 0) {
        log_warning("a thread hangs, leaving without it");
        process_leave(resort);
    }
    corosync_conf_stop(g_steal_pointer(&parts->conf));
}

static void stop_status(struct parts *parts)
{
    if (parts->status_group)
        status_group_free(parts->status_group);
    if (!parts->status)
        return;
    status_set_rrd_listener(parts->status, NULL);
    rrd_stop(parts->rrd);
    status_free(parts->status);
}

/* From the outside in: nobody asks any more, what was asked is answered, then all is put away. */
static void stop(struct parts *parts, const struct last_resort *resort)
{
    /* Clients look for it when the socket is gone, and that goes too if the stop is cut short. */
    if (parts->socket)
        paths_make_restart_flag(parts->options.run_dir, parts->host.group);
    if (parts->mount)
        flush_mount(parts);
    history_begin_stop(&parts->history);
    stop_cluster(parts, resort);
    if (parts->replica)
        replica_expire(parts->replica, 0);
    history_stop_trials(&parts->history);
    mount_free(parts->mount);
    parts->mount = NULL;
    socket_stop(parts->socket);
    metrics_clear(parts);
    history_forget_trials(&parts->history);
    activity_free(parts->activity);
    if (parts->replica) {
        replica_settle(parts->replica);
        replica_free(parts->replica);
    }
    flusher_stop(parts->flusher);
    history_stop(&parts->history, parts->status);
    stop_status(parts);
    corosync_free(parts->corosync); /* it holds the transports */
    store_close(parts->store);
}

static void leave_host(struct parts *parts)
{
    guard_stop(parts->host.guard);
    if (parts->host.pid_file_written)
        unlink(parts->options.pid_file);
    if (parts->host.lock_fd >= 0)
        close(parts->host.lock_fd);
    g_free(parts->host.nodename);
    g_free(parts->host.address);
}

/* In a cluster, changes whose answer never comes are given up from time to time. */
static void wait_for_stop(struct parts *parts)
{
    const uint64_t pause = CLAMP(parts->options.answer_timeout / 10, 10, 1000);

    if (!parts->cluster) {
        process_wait_for_stop();
        return;
    }
    while (!process_wait_for_stop_until(pause))
        replica_expire(parts->replica, parts->options.answer_timeout);
}

/* The daemon's life, in the process that is the daemon. */
static int run(struct parts *parts, int ready_fd)
{
    umask(022);
    int error = start(parts);
    if (error == 0) {
        log_info("pmxcfs is ready: node %s, address %s, mounted at %s", parts->host.nodename,
                 parts->host.address, parts->options.mountpoint);
        process_ready(ready_fd);
        wait_for_stop(parts);
    }
    const struct last_resort resort = {
        .mountpoint = parts->mount ? parts->options.mountpoint : NULL,
        .mount_number = parts->mount ? mount_number(parts->mount) : 0,
        .pid_file = parts->host.pid_file_written ? parts->options.pid_file : NULL,
        .exit_code = error == 0 ? EXIT_SUCCESS : EXIT_FAILURE,
        .milliseconds = STOP_MILLISECONDS_MAX,
    };
    atomic_store(&parts->stopping, true);
    process_begin_stop(&resort);
    stop(parts, &resort);
    leave_host(parts);
    log_info("stopped");
    return resort.exit_code;
}

static int run_in_background(struct parts *parts)
{
    int ready_fd = -1;

    process_hear_signals();
    if (!parts->options.foreground) {
        ready_fd = process_fork();
        if (ready_fd < 0) {
            fprintf(stderr, "error: cannot start a process: %s\n", strerror(-ready_fd));
            return EXIT_FAILURE;
        }
    }
    log_open("pmxcfs", !process_stderr_is_journal(), parts->options.debug);
    return run(parts, ready_fd);
}

/* libqb gives each connection a buffer that shared memory never uses. From a mapping of its own it
 * costs nothing and goes with the connection; glibc would take it from a heap after the first, and
 * 100 clients would leave 100 MiB behind. */
static void set_allocator(void)
{
    mallopt(M_MMAP_THRESHOLD, 1024 * 1024);
    mallopt(M_TRIM_THRESHOLD, 4 * 1024 * 1024);
}

int main(int argc, char **argv)
{
    struct parts parts = {.host.lock_fd = -1};
    g_autoptr(GError) error = NULL;
    int code = EXIT_SUCCESS;

    standard_open();
    if (!options_parse(argc, (const char *const *)argv, &parts.options, &error)) {
        fprintf(stderr, "error: %s\nTry pmxcfs --help.\n", error->message);
        return EXIT_USAGE;
    }
    if (parts.options.help) {
        g_autofree char *help = options_help();
        fputs(help, stdout);
    } else if (parts.options.version) {
        puts("pmxcfs " PMXCFS_VERSION);
    } else {
        set_allocator();
        digest_init();
        code = run_in_background(&parts);
    }
    options_clear(&parts.options);
    return code;
}
