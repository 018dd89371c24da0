/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfs: makes the parts, starts them in order, and stops them in the opposite order. */
#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/log.h"
#include "daemon.h"
#include "node.h"
#include "options.h"
#include "place.h"

#define EXIT_USAGE 2
#define STOP_MILLISECONDS_MAX 5000u

/* Everything that lives from start to stop; NULL, -1 or false: not made (yet). */
struct parts {
    struct options options;
    char *nodename;
    char *address;
    gid_t group;
    int lock_fd;
    bool pid_file_written;
};

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

static int start(struct parts *parts)
{
    int error = find_identity(parts);
    if (error < 0)
        return error;
    daemon_block_signals();
    return take_place(parts);
}

static void stop(struct parts *parts)
{
    if (parts->pid_file_written)
        unlink(parts->options.pid_file);
    if (parts->lock_fd >= 0)
        close(parts->lock_fd);
    g_free(parts->nodename);
    g_free(parts->address);
}

/* The daemon's life, in the process that is the daemon. */
static int run(struct parts *parts, int ready_fd)
{
    umask(022);
    int error = start(parts);
    if (error == 0) {
        log_info("pmxcfs is ready");
        place_remove_restart_flag(parts->options.run_dir);
        daemon_ready(ready_fd);
        daemon_wait_for_stop();
    }
    int code = error == 0 ? EXIT_SUCCESS : EXIT_FAILURE;
    daemon_begin_stop(&(struct last_resort){
        .mountpoint = NULL,
        .pid_file = parts->pid_file_written ? parts->options.pid_file : NULL,
        .exit_code = code,
        .milliseconds = STOP_MILLISECONDS_MAX,
    });
    stop(parts);
    return code;
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
    log_open("pmxcfs", true, parts->options.debug);
    return run(parts, ready_fd);
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
        code = run_in_background(&parts);
    }
    options_clear(&parts.options);
    return code;
}
