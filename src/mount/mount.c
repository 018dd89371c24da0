/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The FUSE session: mounting, the threads that serve it, unmounting. */
#include "mount/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/log.h"
#include "mount/internal.h"

/* The kernel keeps contents, attributes and names until it is told otherwise, and does not ask to
 * open. */
static void op_init(void *context, struct fuse_conn_info *connection)
{
    const unsigned int wanted = FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_EXPLICIT_INVAL_DATA |
                                FUSE_CAP_PARALLEL_DIROPS | FUSE_CAP_ASYNC_READ |
                                FUSE_CAP_NO_OPEN_SUPPORT | FUSE_CAP_NO_OPENDIR_SUPPORT;

    (void)context;
    /* Without FUSE_CAP_ATOMIC_O_TRUNC the kernel sends the truncation of an open by itself. */
    connection->want = connection->capable & wanted;
}

static void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    (void)ino;
    (void)file;
    fuse_reply_err(req, ENOSYS); /* for good: the kernel asks no more */
}

static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .mknod = op_mknod,
    .mkdir = op_mkdir,
    .unlink = op_unlink,
    .rmdir = op_unlink,
    .symlink = op_symlink,
    .rename = op_rename,
    .fsync = op_fsync,
    .link = op_link,
    .open = op_open,
    .opendir = op_open,
    .read = op_read,
    .write = op_write,
    .readdir = op_readdir,
    .statfs = op_statfs,
};

static void make_link_targets(struct mount *mount)
{
    static const char *const below[] = {"", "/qemu-server", "/lxc", "/openvz"};

    for (int i = 0; i <= VIRTUAL_OPENVZ; i++)
        mount->link_targets[i] = g_strconcat("nodes/", mount->options.nodename, below[i], NULL);
}

static void free_parts(struct mount *mount)
{
    watch_destroy(mount);
    node_table_destroy(&mount->nodes);
    for (int i = 0; i <= VIRTUAL_OPENVZ; i++)
        g_free(mount->link_targets[i]);
    g_free(mount);
}

/* Mounts, and gives the session the descriptor. libfuse's own mount would keep a copy of the path
 * for an unmount that is not lazy, and hides why it failed. 0 or a negative errno. */
static int mount_kernel(struct fuse_session *session, const char *mountpoint)
{
    g_autofree char *data = NULL;
    g_autofree char *path = NULL;

    int fd = open("/dev/fuse", O_RDWR | O_CLOEXEC);
    if (fd < 0)
        return -errno;
    data = g_strdup_printf("fd=%d,rootmode=%o,user_id=0,group_id=0,default_permissions,allow_other",
                           fd, (unsigned int)S_IFDIR);
    path = g_strdup_printf("/dev/fd/%d", fd);
    int error = mount("/dev/fuse", mountpoint, "fuse", MS_NOSUID | MS_NODEV, data) ? -errno : 0;
    if (!error && fuse_session_mount(session, path) != 0) {
        umount2(mountpoint, MNT_DETACH);
        error = -EIO;
    }
    if (error)
        close(fd);
    return error;
}

struct mount *mount_new(const struct mount_options *options, char **problem)
{
    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    struct mount *mount = g_new0(struct mount, 1);
    int error;

    mount->options = *options;
    node_table_init(&mount->nodes);
    watch_init(mount);
    make_link_targets(mount);
    atomic_init(&mount->links_quorate, replica_is_quorate(options->replica));
    fuse_opt_add_arg(&arguments, "pmxcfs");
    mount->session = fuse_session_new(&arguments, &operations, sizeof(operations), mount);
    fuse_opt_free_args(&arguments);
    if (!mount->session) {
        *problem = g_strdup("libfuse does not accept the mount options");
    } else if ((error = mount_kernel(mount->session, options->mountpoint)) < 0) {
        *problem = g_strdup_printf("%s (is FUSE there (modprobe fuse), and is this root?)",
                                   g_strerror(-error));
        fuse_session_destroy(mount->session);
    } else {
        return mount;
    }
    free_parts(mount);
    return NULL;
}

int mount_serve(struct mount *mount)
{
    int error = invalidation_start(mount);

    if (!error)
        error = watch_start(mount);
    if (!error)
        error = workers_start(mount);
    mount->serving = !error;
    return error;
}

void mount_free(struct mount *mount)
{
    if (!mount)
        return;
    atomic_store(&mount->unmounting, true);
    /* Lazily: whoever has a file open or stands inside keeps a mount that is in nobody's way. */
    if (umount2(mount->options.mountpoint, MNT_DETACH) != 0 && errno != EINVAL)
        log_warning("cannot unmount %s: %s", mount->options.mountpoint, g_strerror(errno));
    if (mount->serving) {
        /* Workers go on answering until the invalidator, which may wait for a request of theirs,
         * has ended. */
        invalidation_stop(mount);
        workers_stop(mount);
        watch_stop(mount);
    }
    fuse_session_destroy(mount->session);
    free_parts(mount);
}
