/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What can be said to the kernel of one node. */
#define FUSE_USE_VERSION 312

#include "kernel/tell.h"

#include <errno.h>
#include <fcntl.h>
#include <fuse_lowlevel.h>
#include <linux/openat2.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/log.h"
#include "kernel/inode_number.h"
#include "replica/replica.h"

#define PAUSE_MICROSECONDS 50u
#define PAUSE_MICROSECONDS_MAX 3200u

/* Own writes that go on meanwhile change the size each time: nothing is wrong with that. */
#define REFRESH_TRIES 5

/* What fuse gives name_to_handle_at(): the node's id, upper half first, and its generation, in
 * words. */
#define HANDLE_TYPE 0x81
#define HANDLE_BYTES 12

static fuse_ino_t node_id(const struct node *node)
{
    return node->is_root ? FUSE_ROOT_ID : (fuse_ino_t)(uintptr_t)node;
}

/* Attributes, and from `offset` on (-1: none) pages. The kernel does not know a node whose first
 * look-up is still being answered, perhaps with what is old by now, and would keep that for ever:
 * so it is told again until it knows the node, or has forgotten it. */
static void tell(struct teller *teller, const struct node *node, off_t offset)
{
    unsigned int pause = PAUSE_MICROSECONDS;

    while (fuse_lowlevel_notify_inval_inode(teller->session, node_id(node), offset, 0) == -ENOENT &&
           node_is_known(teller->table, node) && !atomic_load(&teller->ending)) {
        usleep(pause);
        pause = MIN(2 * pause, PAUSE_MICROSECONDS_MAX);
    }
}

void teller_tell_attributes(struct teller *teller, const struct node *node)
{
    tell(teller, node, -1);
}

/* A descriptor of the node, which opens nothing, or a negative errno. Names would lead there too,
 * but past directories that anybody may hold. */
static int open_node(const struct teller *teller, const struct node *node)
{
    union {
        struct file_handle handle;
        uint8_t space[sizeof(struct file_handle) + HANDLE_BYTES];
    } handle = {.handle = {.handle_bytes = HANDLE_BYTES, .handle_type = HANDLE_TYPE}};
    uint64_t id = node_id(node);
    const uint32_t words[] = {(uint32_t)(id >> 32), (uint32_t)id, 0};
    int root = open(teller->mountpoint, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (root < 0)
        return -errno;
    memcpy(handle.handle.f_handle, words, sizeof(words));
    int fd = open_by_handle_at(root, &handle.handle, O_PATH | O_CLOEXEC);
    int error = fd < 0 ? -errno : 0;
    close(root);
    return error ? error : fd;
}

/* Until what the kernel knows is what it was answered: an earlier answer that it took meanwhile, to
 * somebody else's request, makes ours void. */
static bool refresh(int fd)
{
    struct statx answered;
    struct statx known;

    for (int i = 0; i < REFRESH_TRIES; i++) {
        if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC, STATX_SIZE, &answered) != 0 ||
            statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE, &known) != 0 ||
            known.stx_size == answered.stx_size)
            return true;
    }
    return false;
}

bool teller_refresh_attributes(struct teller *teller, const struct node *node)
{
    int fd = open_node(teller, node);
    bool taken = true;

    if (fd >= 0) {
        taken = refresh(fd);
        close(fd);
    } else if ((fd == -EPERM || fd == -ENOSYS) && !teller->warned) {
        teller->warned = true;
        log_warning("cannot open files by handle (%s): who reads a file just while another node "
                    "writes it may see a part of it; give the daemon CAP_DAC_READ_SEARCH",
                    g_strerror(-fd));
    }
    return taken;
}

static char *path_of(const struct teller *teller, const struct node *node)
{
    const struct state *state = replica_read_lock(teller->replica);
    char *path = node_path(teller->table, node, state->tree);

    replica_read_unlock(teller->replica);
    return path;
}

/* The size that the kernel has, or -EAGAIN. */
static int64_t known_size(int fd, const struct node *node)
{
    struct statx known;

    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_SIZE | STATX_INO, &known) != 0 ||
        known.stx_ino != inode_number(node->inode))
        return -EAGAIN;
    return (int64_t)known.stx_size;
}

/* A descriptor of what the kernel has under the path of a node, if it need not ask us for anything
 * on the way there; or a negative errno. */
static int open_known(const struct teller *teller, const struct node *node)
{
    const struct open_how how = {
        .flags = O_PATH | O_NOFOLLOW | O_CLOEXEC,
        .resolve = RESOLVE_CACHED,
    };
    g_autofree char *path = path_of(teller, node);
    g_autofree char *full = path ? g_strconcat(teller->mountpoint, "/", path, NULL) : NULL;

    if (!full)
        return -ENOENT;
    int fd = (int)syscall(SYS_openat2, AT_FDCWD, full, &how, sizeof(how));
    return fd < 0 ? -errno : fd;
}

/* Takes over the descriptor, or a negative errno in its place. */
static int end_shortening(const struct teller *teller, struct node *node,
                          const struct shortening *shortening, int fd)
{
    if (fd < 0)
        return -EAGAIN;
    int64_t size = known_size(fd, node);
    close(fd);
    if (size == -EAGAIN)
        return -EAGAIN;
    if (size != shortening->size)
        return -EBUSY;
    node_end_shortening(teller->table, node, shortening->number);
    return 0;
}

int teller_end_shortening(const struct teller *teller, struct node *node, pid_t reader)
{
    struct shortening shortening;

    if (!node_is_shortened(teller->table, node, &shortening))
        return 0;
    if (reader > 0 && reader == shortening.thread) {
        node_end_shortening(teller->table, node, shortening.number); /* its truncate() came back */
        return 0;
    }
    int error = end_shortening(teller, node, &shortening, open_known(teller, node));
    if (error == -EAGAIN && reader == READER_NONE)
        error = end_shortening(teller, node, &shortening, open_node(teller, node));
    return error;
}

void teller_drop_pages(struct teller *teller, struct node *node)
{
    node_begin_drop(teller->table, node, clock_milliseconds());
    counter_add(&teller->table->metrics->pages_dropped, 1);
    tell(teller, node, 0);
    node_end_drop(teller->table, node, clock_milliseconds());
}
