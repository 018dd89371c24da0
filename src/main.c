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
#include "base/util.h"
#include "cluster/conf.h"
#include "daemon.h"
#include "database.h"
#include "groups.h"
#include "guard.h"
#include "mount/mount.h"
#include "node.h"
#include "options.h"
#include "place.h"
#include "replica/loopback.h"
#include "replica/replica.h"
#include "report.h"
#include "socket/socket.h"
#include "status/rrd.h"
#include "status/status.h"
#include "status/status_group.h"
#include "store/keeper.h"
#include "store/store.h"

#define EXIT_USAGE 2
#define STOP_MILLISECONDS_MAX 5000u
#define LEAVE_GROUPS_MILLISECONDS_MAX 2000u

/* Everything that lives from start to stop; NULL, -1 or false: not made (yet). The structs that are
 * embedded here are how lower parts call upper ones. */
struct parts {
    struct options options;
    char *nodename;
    char *address;
    gid_t group;
    int lock_fd;
    bool pid_file_written;
    pid_t guard; /* 0: not started */

    struct clock_source clock;
    struct replica_listener listener;
    struct guest_source guests;

    struct status *status;
    struct rrd *rrd;
    struct store *store;
    struct keeper *keeper;
    struct replica *replica;
    bool cluster; /* else local mode */
    atomic_bool stopping;
    struct loopback loopback;
    struct groups groups;
    struct conf *conf;
    struct status_group *status_group;
    struct mount *mount;
    struct socket_service *socket;

    struct mount_metrics mount_metrics;
    struct socket_metrics socket_metrics;
    struct activity *activity;
    struct report report;
};

/* --- What the parts ask of each other --- */

/* The mount is there from before the first change until after the last. */

static void on_publishing(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt)
{
    struct parts *parts = container_of(listener, struct parts, listener);

    if (parts->mount)
        mount_publishing(parts->mount, effects, rebuilt);
}

/* Hands corosync.conf of the tree to the thread that keeps the host's file like it. `reload`:
 * corosync is to be told. */
static void submit_conf(struct parts *parts, bool reload)
{
    const struct state *state = replica_read_lock(parts->replica);
    const struct entry *entry = tree_child(state->tree, 0, CONF_PATH);
    struct buffer *content = entry && entry->content ? buffer_ref(entry->content) : NULL;
    uint32_t size = entry ? entry->size : 0;

    replica_read_unlock(parts->replica);
    if (content)
        conf_submit(parts->conf, content, size, reload);
    buffer_unref(content);
}

static bool writes_conf(const struct effect *effect)
{
    switch (effect->operation) {
    case CHANGE_WRITE:
    case CHANGE_CREATE:
        return strcmp(effect->path, CONF_PATH) == 0;
    case CHANGE_RENAME:
        return strcmp(effect->to, CONF_PATH) == 0;
    default:
        return false;
    }
}

static void submit_changed_conf(struct parts *parts, const GPtrArray *effects, bool rebuilt)
{
    bool changed = rebuilt;
    bool reload = false;

    for (guint i = 0; i < effects->len && !rebuilt; i++) {
        const struct effect *effect = effects->pdata[i];
        if (writes_conf(effect)) {
            changed = true;
            reload = reload || effect->origin; /* this node asked for it */
        }
    }
    if (changed)
        submit_conf(parts, reload);
}

static void on_published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct parts *parts = container_of(listener, struct parts, listener);

    if (parts->conf)
        submit_changed_conf(parts, effects, rebuilt);
    if (parts->mount)
        mount_published(parts->mount, effects, rebuilt);
    else
        g_ptr_array_unref(effects);
}

static void on_quorum_changed(struct replica_listener *listener, bool quorate)
{
    struct parts *parts = container_of(listener, struct parts, listener);

    status_set_quorate(parts->status, quorate);
    if (parts->mount)
        mount_quorum_changed(parts->mount);
}

static void on_unmounted(void *context)
{
    struct parts *parts = context;

    if (atomic_load(&parts->stopping))
        return;
    log_info("the file system was unmounted");
    daemon_request_stop();
}

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
    parts->listener = (struct replica_listener){.publishing = on_publishing,
                                                .published = on_published,
                                                .quorum_changed = on_quorum_changed};
    parts->guests = (struct guest_source){.take = take_guests};
}

/* --- Start --- */

/* Who we are: names only, nothing is touched. */
static int find_identity(struct parts *parts)
{
    const struct options *options = &parts->options;

    int error = node_group(options->group, &parts->group);
    if (error < 0)
        return error;
    parts->nodename = options->nodename ? g_strdup(options->nodename) : node_name();
    if (!parts->nodename)
        return -EINVAL;
    parts->address = options->address ? g_strdup(options->address) : node_address(parts->nodename);
    return parts->address ? 0 : -ENOENT;
}

/* The lock comes before all that a second daemon could spoil. */
static int take_place(struct parts *parts)
{
    const struct options *options = &parts->options;

    int error = place_make_directory(options->state_dir, 0750);
    if (error < 0)
        return error;
    parts->lock_fd = place_lock(options->state_dir, options->lockfile_timeout);
    if (parts->lock_fd < 0)
        return parts->lock_fd;
    error = place_make_run_directory(options->run_dir, parts->group);
    if (error < 0)
        return error;
    error = place_write_pid_file(options->pid_file);
    if (error < 0)
        return error;
    parts->pid_file_written = true;
    return place_prepare_mountpoint(options->mountpoint);
}

static int start_database(struct parts *parts, struct tree **tree)
{
    int error = database_open(&parts->options, &parts->store, tree);
    if (error < 0)
        return error;
    parts->keeper = keeper_start(parts->store, &(struct keeper_options){0});
    if (!parts->keeper) {
        error = -errno;
        log_error("cannot start the thread that tends the database: %s", strerror(errno));
        tree_free(*tree);
    }
    return error;
}

static int start_status(struct parts *parts)
{
    parts->status = status_new(parts->nodename, parts->address, (uint32_t)getpid(), &parts->clock);
    int error = rrd_start(parts->options.rrd_dir, parts->options.rrdcached_address, &parts->rrd);
    if (error < 0) {
        log_error("cannot start the thread that writes RRD files: %s", strerror(-error));
        return error;
    }
    status_set_rrd_listener(parts->status, rrd_listener(parts->rrd));
    return 0;
}

/* What mount and socket tell of the whole. */
static void start_report(struct parts *parts)
{
    parts->activity = activity_new(&parts->clock);
    report_init(&parts->report, &(struct report_parts){
                                    .mountpoint = parts->options.mountpoint,
                                    .state_dir = parts->options.state_dir,
                                    .clock = &parts->clock,
                                    .store = parts->store,
                                    .replica = parts->replica,
                                    .status = parts->status,
                                    .corosync = parts->groups.corosync,
                                    .mount = &parts->mount_metrics,
                                    .socket = &parts->socket_metrics,
                                });
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
        .clock = &parts->clock,
        .listener = &parts->listener,
    };

    status_start_feed(parts->status, tree->root.version);
    parts->replica = replica_new(&options, parts->store, tree);
    status_rebuilt(parts->status, NULL);
}

/* Local mode: a group of one, which is there at once. */
static void start_local(struct parts *parts)
{
    log_info("local mode: no cluster");
    parts->status_group = status_group_new(parts->status, NULL, &parts->clock, (struct member){0});
    loopback_start(&parts->loopback, parts->replica, (struct member){0});
}

/* Cluster mode: all is made, but corosync is talked to only when the rest stands. */
static int prepare_cluster(struct parts *parts)
{
    const struct conf_options options = {.host_path = parts->options.corosync_conf};

    parts->conf = conf_new(&options);
    if (!parts->conf)
        return -EAGAIN;
    groups_init(&parts->groups, parts->replica, parts->status, &parts->clock,
                parts->options.rejoin_delay, parts->options.verify_interval, &parts->status_group);
    return 0;
}

static int start_cluster(struct parts *parts)
{
    /* Corosync may be waiting for this file. */
    submit_conf(parts, true);
    int error = groups_start(&parts->groups);
    if (error < 0)
        log_error("cannot start the thread that talks to corosync: %s", strerror(-error));
    return error;
}

static int start_mount(struct parts *parts)
{
    const struct mount_options options = {
        .mountpoint = parts->options.mountpoint,
        .nodename = parts->nodename,
        .group = parts->group,
        .replica = parts->replica,
        .status = parts->status,
        .guests = &parts->guests,
        .overview = &parts->report.overview,
        .activity = parts->activity,
        .metrics = &parts->mount_metrics,
        .unmounted = on_unmounted,
        .context = parts,
    };
    g_autofree char *problem = NULL;

    parts->mount = mount_new(&options, &problem);
    if (!parts->mount) {
        log_error("cannot mount at %s: %s", options.mountpoint, problem);
        return -EIO;
    }
    guard_mounted(parts->guard);
    int error = mount_serve(parts->mount);
    if (error < 0)
        log_error("cannot start the threads of the mount: %s", strerror(-error));
    return error;
}

static int start_socket(struct parts *parts)
{
    const struct socket_options options = {
        .name = parts->options.socket_name,
        .group = parts->group,
        .replica = parts->replica,
        .status = parts->status,
        .status_group = parts->status_group,
        .guests = &parts->guests,
        .overview = &parts->report.overview,
        .activity = parts->activity,
        .metrics = &parts->socket_metrics,
    };

    int error = socket_start(&options, &parts->socket);
    if (error < 0) {
        log_error("cannot open the local socket '%s': %s%s", options.name, strerror(-error),
                  error == -EADDRINUSE
                      ? "; another daemon has that name: stop it, or choose one with --socket-name"
                      : "");
        return error;
    }
    place_remove_restart_flag(parts->options.run_dir);
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
    start_replica(parts, tree);
    if (parts->cluster)
        return prepare_cluster(parts);
    start_local(parts);
    return 0;
}

static int start(struct parts *parts)
{
    int error = find_identity(parts);
    if (error < 0)
        return error;
    connect_parts(parts);
    daemon_block_signals();
    error = take_place(parts);
    if (error < 0)
        return error;
    parts->guard = guard_start(parts->options.mountpoint);
    if (parts->guard < 0)
        log_warning("no guard (%s): if this daemon is killed, processes may hang",
                    strerror((int)-parts->guard));
    error = start_inside(parts);
    if (error < 0)
        return error;
    start_report(parts);
    error = start_mount(parts);
    if (error < 0)
        return error;
    error = start_socket(parts);
    if (error < 0)
        return error;
    return parts->cluster ? start_cluster(parts) : 0;
}

/* --- Stop --- */

/* The groups are left first: nothing comes from there any more, and nothing goes there. */
static void stop_cluster(struct parts *parts, const struct last_resort *resort)
{
    if (!parts->groups.corosync)
        return;
    if (groups_stop(&parts->groups, LEAVE_GROUPS_MILLISECONDS_MAX) < 0) {
        log_warning("a thread hangs, leaving without it");
        daemon_leave(resort);
    }
    conf_free(parts->conf);
    parts->conf = NULL;
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
    stop_cluster(parts, resort);
    if (parts->replica)
        replica_expire(parts->replica, 0);
    if (parts->mount)
        mount_free(parts->mount);
    parts->mount = NULL;
    if (parts->socket) {
        place_make_restart_flag(parts->options.run_dir, parts->group);
        socket_stop(parts->socket);
    }
    if (parts->activity)
        report_clear(&parts->report);
    activity_free(parts->activity);
    if (parts->replica) {
        replica_settle(parts->replica);
        replica_free(parts->replica);
    }
    stop_status(parts);
    if (parts->groups.corosync)
        groups_free(&parts->groups);
    keeper_stop(parts->keeper);
    store_close(parts->store);
}

static void leave_place(struct parts *parts)
{
    guard_stop(parts->guard);
    if (parts->pid_file_written)
        unlink(parts->options.pid_file);
    if (parts->lock_fd >= 0)
        close(parts->lock_fd);
    g_free(parts->nodename);
    g_free(parts->address);
}

/* In a cluster, changes whose answer never comes are given up from time to time. */
static void wait_for_stop(struct parts *parts)
{
    const uint64_t pause = CLAMP(parts->options.answer_timeout / 10, 10, 1000);

    if (!parts->cluster) {
        daemon_wait_for_stop();
        return;
    }
    while (!daemon_wait_for_stop_until(pause))
        replica_expire(parts->replica, parts->options.answer_timeout);
}

/* The daemon's life, in the process that is the daemon. */
static int run(struct parts *parts, int ready_fd)
{
    umask(022);
    int error = start(parts);
    if (error == 0) {
        log_info("pmxcfs is ready: node %s, address %s, mounted at %s", parts->nodename,
                 parts->address, parts->options.mountpoint);
        daemon_ready(ready_fd);
        wait_for_stop(parts);
    }
    const struct last_resort resort = {
        .mountpoint = parts->mount ? parts->options.mountpoint : NULL,
        .pid_file = parts->pid_file_written ? parts->options.pid_file : NULL,
        .exit_code = error == 0 ? EXIT_SUCCESS : EXIT_FAILURE,
        .milliseconds = STOP_MILLISECONDS_MAX,
    };
    atomic_store(&parts->stopping, true);
    daemon_begin_stop(&resort);
    stop(parts, &resort);
    leave_place(parts);
    log_info("stopped");
    return resort.exit_code;
}

static int run_in_background(struct parts *parts)
{
    int ready_fd = -1;

    if (!parts->options.foreground) {
        ready_fd = daemon_fork();
        if (ready_fd < 0) {
            fprintf(stderr, "error: cannot start a process: %s\n", strerror(-ready_fd));
            return EXIT_FAILURE;
        }
    }
    log_open("pmxcfs", !daemon_stderr_is_journal(), parts->options.debug);
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
    struct parts parts = {.lock_fd = -1};
    g_autoptr(GError) error = NULL;
    int code = EXIT_SUCCESS;

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
        code = run_in_background(&parts);
    }
    options_clear(&parts.options);
    return code;
}
