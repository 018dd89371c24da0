/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the daemon needs of the host's file system: directories, lock and pid file, restart flag,
 * mount point. */
#include "host/paths.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/file.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "base/log.h"
#include "host/process.h"

#define RESTART_FLAG "cfs-restart-flag"
#define LOCK_RETRY_MILLISECONDS 50u
#define STALE_MOUNTS_MAX 64u
#define NAMES_SHOWN_MAX 5u /* of what a mount hides */

static int report(const char *what, const char *path)
{
    int error = errno;
    log_error("%s %s: %s", what, path, strerror(error));
    return -error;
}

int paths_make_directory(const char *path, mode_t mode)
{
    g_autofree char *parent = g_path_get_dirname(path);

    if (g_mkdir_with_parents(parent, 0755) < 0)
        return report("cannot make the directory", parent);
    if (mkdir(path, mode) == 0)
        return chmod(path, mode) == 0 ? 0 : report("cannot set the mode of", path);
    if (errno != EEXIST)
        return report("cannot make the directory", path);
    if (!g_file_test(path, G_FILE_TEST_IS_DIR)) {
        errno = ENOTDIR;
        return report("cannot use", path);
    }
    return 0;
}

int paths_make_run_directory(const char *path, gid_t group)
{
    int error = paths_make_directory(path, 0750);

    if (error < 0)
        return error;
    if (chown(path, (uid_t)-1, group) < 0)
        return report("cannot set the group of", path);
    if (chmod(path, 0750) < 0)
        return report("cannot set the mode of", path);
    return 0;
}

static int lock_within(int fd, const char *path, uint64_t milliseconds)
{
    const int64_t end = g_get_monotonic_time() + (int64_t)milliseconds * 1000;
    bool told = false;

    while (flock(fd, LOCK_EX | LOCK_NB) < 0) {
        if (errno != EWOULDBLOCK && errno != EINTR)
            return report("cannot lock", path);
        if (g_get_monotonic_time() >= end) {
            log_error("cannot lock %s: another pmxcfs runs on this state directory", path);
            return -EWOULDBLOCK;
        }
        if (!told)
            log_info("another daemon holds %s, waiting for its end", path);
        told = true;
        if (process_wait_for_stop_until(LOCK_RETRY_MILLISECONDS))
            return -EINTR;
    }
    return 0;
}

int paths_lock_state(const char *state_dir, uint64_t milliseconds)
{
    g_autofree char *path = g_build_filename(state_dir, STATE_LOCK_FILE, NULL);

    int fd = open(path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return report("cannot open", path);
    int error = lock_within(fd, path, milliseconds);
    if (error < 0) {
        close(fd);
        return error;
    }
    return fd;
}

int paths_write_pid_file(const char *path)
{
    g_autofree char *text = g_strdup_printf("%ld\n", (long)getpid());
    g_autoptr(GError) error = NULL;

    if (!g_file_set_contents_full(path, text, -1, G_FILE_SET_CONTENTS_CONSISTENT, 0644, &error)) {
        log_error("cannot write the pid file: %s", error->message);
        return -EIO;
    }
    return chmod(path, 0644) == 0 ? 0 : report("cannot set the mode of", path);
}

int paths_make_restart_flag(const char *run_dir, gid_t group)
{
    g_autofree char *path = g_build_filename(run_dir, RESTART_FLAG, NULL);
    int result = 0;

    unlink(path);
    int fd = open(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0440);
    if (fd < 0)
        return report("cannot make", path);
    if (fchown(fd, (uid_t)-1, group) < 0 || fchmod(fd, 0440) < 0)
        result = report("cannot set group and mode of", path);
    close(fd);
    return result;
}

void paths_remove_restart_flag(const char *run_dir)
{
    g_autofree char *path = g_build_filename(run_dir, RESTART_FLAG, NULL);

    if (unlink(path) < 0 && errno != ENOENT)
        report("cannot remove", path);
}

/* The kernel may answer anything else from its caches, but statfs always asks the daemon. */
static bool is_stale_mount(const char *path)
{
    struct statvfs status;
    return statvfs(path, &status) < 0 && (errno == ENOTCONN || errno == ECONNABORTED);
}

static int remove_stale_mounts(const char *path)
{
    for (unsigned int count = 0; count < STALE_MOUNTS_MAX && is_stale_mount(path); count++) {
        log_info("taking away the mount that an earlier daemon left at %s", path);
        if (umount2(path, MNT_DETACH) < 0)
            return report("cannot take away the stale mount at", path);
    }
    return 0;
}

static bool is_mounted(const char *path)
{
    struct statx here;

    return statx(AT_FDCWD, path, 0, STATX_BASIC_STATS, &here) == 0 &&
           here.stx_attributes & STATX_ATTR_MOUNT_ROOT;
}

/* The names in it, the first few of them; NULL: none. *error: negative errno. */
static char *names_in(const char *path, int *error)
{
    g_autoptr(GError) problem = NULL;
    g_autoptr(GDir) directory = g_dir_open(path, 0, &problem);
    unsigned int count = 0;
    const char *name;

    *error = directory ? 0 : -EIO;
    if (!directory) {
        log_error("cannot read the mount point: %s", problem->message);
        return NULL;
    }
    GString *names = g_string_new(NULL);
    while ((name = g_dir_read_name(directory)) && ++count <= NAMES_SHOWN_MAX)
        g_string_append_printf(names, "%s'%s'", count > 1 ? ", " : "", name);
    if (name)
        g_string_append(names, " and more");
    return g_string_free(names, count == 0);
}

/* Whoever wrote there while nothing was mounted must not keep the host without its configuration.
 */
static int warn_of_hidden(const char *path)
{
    int error;
    g_autofree char *names = names_in(path, &error);

    if (error || !names)
        return error;
    if (is_mounted(path)) {
        log_error("the mount point %s is not empty: another file system is mounted there, with %s "
                  "in it; see 'findmnt %s', and unmount it",
                  path, names, path);
        return -ENOTEMPTY;
    }
    log_warning("the mount point %s is not empty: %s will be hidden below the mount. To look at "
                "it: 'mount --bind / /mnt', then below /mnt%s",
                path, names, path);
    return 0;
}

/* Opening it also makes the kernel load its module. */
static int test_fuse(void)
{
    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0) {
        log_error("no FUSE on this system: cannot open /dev/fuse: %s (load the kernel module "
                  "'fuse', or allow the container to use it)",
                  strerror(errno));
        return -ENODEV;
    }
    close(fd);
    return 0;
}

int paths_prepare_mountpoint(const char *path)
{
    struct stat status;

    int error = remove_stale_mounts(path);
    if (error < 0)
        return error;
    if (stat(path, &status) == 0 && !S_ISDIR(status.st_mode)) {
        log_error("the mount point %s is not a directory", path);
        return -ENOTDIR;
    }
    error = paths_make_directory(path, 0755);
    if (error < 0)
        return error;
    error = warn_of_hidden(path);
    return error < 0 ? error : test_fuse();
}
