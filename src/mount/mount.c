/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The FUSE session: mounting, the threads that serve it, unmounting. */
#include "mount/mount.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>
#include <sys/mount.h>
#include <unistd.h>

#include "base/log.h"
#include "base/mounted.h"
#include "base/util.h"
#include "core/limits.h"
#include "mount/handlers.h"
#include "mount/request.h"
#include "mount/workers.h"

/* The kernel keeps contents, attributes and names until it is told otherwise, and does not ask to
 * open. */
static void op_init(void *context, struct fuse_conn_info *connection)
{
    const unsigned int wanted = FUSE_CAP_CACHE_SYMLINKS | FUSE_CAP_PARALLEL_DIROPS |
                                FUSE_CAP_ASYNC_READ | FUSE_CAP_NO_OPEN_SUPPORT |
                                FUSE_CAP_NO_OPENDIR_SUPPORT;

    (void)context;
    /* Without FUSE_CAP_ATOMIC_O_TRUNC the kernel sends the truncation of an open by itself. Without
     * FUSE_CAP_AUTO_INVAL_DATA and FUSE_CAP_EXPLICIT_INVAL_DATA it drops pages by itself when a
     * size has changed, and only then. */
    connection->want = connection->capable & wanted;
    connection->max_write = CHANGE_DATA_MAX;
}

static const struct fuse_lowlevel_ops operations = {
    .init = op_init,
    .lookup = op_lookup,
    .forget = op_forget,
    .forget_multi = op_forget_multi,
    .getattr = op_getattr,
    .setattr = op_setattr,
    .readlink = op_readlink,
    .create = op_create,
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

static void free_mount(struct mount *mount)
{
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

static void on_told(struct notifier_listener *listener, GPtrArray *effects, bool rebuilt)
{
    const struct mount *mount = container_of(listener, struct mount, listener);

    mount->options.listener->told(mount->options.listener, effects, rebuilt);
}

struct mount *mount_new(const struct mount_options *options, char **problem)
{
    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    struct mount *mount = g_new0(struct mount, 1);
    int error;

    mount->options = *options;
    make_link_targets(mount);
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
        mount->number = mounted_number(AT_FDCWD, options->mountpoint);
        node_table_init(&mount->nodes, &options->metrics->kernel);
        mount->listener.told = on_told;
        own_turns(mount);
        notifier_init(&mount->notifier, &mount->listener, &mount->turn_owner, options->replica,
                      options->mountpoint, mount->session, &mount->nodes);
        request_own_timer(mount);
        truncations_init(&mount->truncations, &mount->truncations_owner, &mount->nodes);
        timer_init(&mount->timer, &mount->timer_owner, &mount->truncations);
        return mount;
    }
    free_mount(mount);
    return NULL;
}

uint64_t mount_number(const struct mount *mount)
{
    return mount->number;
}

int mount_serve(struct mount *mount)
{
    int error = notifier_start(&mount->notifier);

    if (!error)
        error = timer_start(&mount->timer);
    if (!error)
        error = workers_start(mount);
    mount->serving = !error;
    return error;
}

/* Workers go on answering until the notifier, which may wait for a request of theirs, has ended;
 * what they and the timer still tell it is forgotten. False: a thread hangs in the kernel. */
static bool stop_threads(struct mount *mount)
{
    bool ended = notifier_stop(&mount->notifier);

    workers_stop(mount);
    timer_stop(&mount->timer);
    return ended;
}

/* Lazily: whoever has a file open or stands inside keeps a mount that is in nobody's way. */
static void unmount(const struct mount *mount)
{
    const char *mountpoint = mount->options.mountpoint;

    if (mounted_is_other(mountpoint, mount->number))
        mounted_warn_of_other(mountpoint);
    else if (umount2(mountpoint, MNT_DETACH) != 0 && errno != EINVAL)
        log_warning("cannot unmount %s: %s", mountpoint, g_strerror(errno));
}

void mount_free(struct mount *mount)
{
    if (!mount)
        return;
    atomic_store(&mount->unmounting, true);
    unmount(mount);
    if (mount->serving && !stop_threads(mount))
        return; /* the process is about to end; the thread may still look at all of this */
    timer_destroy(&mount->timer);
    truncations_destroy(&mount->truncations);
    notifier_destroy(&mount->notifier);
    node_table_destroy(&mount->nodes);
    fuse_session_destroy(mount->session);
    free_mount(mount);
}

/* --- Publication --- */

/* True if a name leads elsewhere than before. */
static bool changes_names(const GPtrArray *effects)
{
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        const struct entry *before = effect->before;
        const struct entry *after = effect->after;
        if (!effect->origin && (!before || !after || before->parent != after->parent ||
                                strcmp(before->name, after->name) != 0))
            return true;
    }
    return false;
}

void mount_publishing(struct mount *mount, const GPtrArray *effects, bool rebuilt)
{
    if (changes_names(effects))
        atomic_fetch_add(&mount->names_changed, 1);
    node_table_publishing(&mount->nodes, effects, rebuilt);
}

void mount_tell_own(struct mount *mount, const GPtrArray *effects)
{
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        /* What asked gets no attributes with the answer (fsync() sets a time, too), and others may
         * have asked for them meanwhile. */
        bool sets_time = effect->operation == CHANGE_RENAME || effect->operation == CHANGE_MTIME;
        if (sets_time && effect->after)
            notifier_drop_time(&mount->notifier, effect->after->inode);
    }
}

void mount_tell(struct mount *mount, GPtrArray *effects, bool rebuilt)
{
    notifier_tell(&mount->notifier, effects, rebuilt);
}

bool mount_has_told(struct mount *mount)
{
    return notifier_has_told(&mount->notifier);
}

void mount_quorum_changed(struct mount *mount, bool quorate)
{
    notifier_tell_quorum(&mount->notifier, quorate);
}

void mount_flush(struct mount *mount)
{
    truncations_flush(&mount->truncations);
}
