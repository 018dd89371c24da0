/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file system that answers every request at once and stores nothing: what FUSE itself costs. */
#define FUSE_USE_VERSION 312
#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

/* What exists is what the kernel remembers: names and attributes are given to it for ever, and a
 * name that it asks for does not exist. So there is no tree and no lock here. */
#define FOR_EVER 86400.0

/* Node ids say what a node is: directories (the root is 1) are odd, files are even. */
static atomic_uint_fast64_t last_directory = 1;
static atomic_uint_fast64_t last_file = 2;

/* A file that every look-up asks for again, as ours is. */
#define ASKED_NAME ".version"
#define ASKED_NODE 2

static struct stat make_attributes(fuse_ino_t node, off_t size)
{
    struct stat attributes = {.st_ino = node, .st_nlink = 1, .st_size = size};
    attributes.st_mode = node % 2 ? S_IFDIR | 0755 : S_IFREG | 0640;
    return attributes;
}

static struct fuse_entry_param make_entry(fuse_ino_t node)
{
    struct fuse_entry_param entry = {.ino = node, .generation = 1};
    entry.attr = make_attributes(node, 0);
    entry.attr_timeout = FOR_EVER;
    entry.entry_timeout = FOR_EVER;
    return entry;
}

static void answer_init(void *data, struct fuse_conn_info *connection)
{
    (void)data;
    connection->want |= connection->capable & FUSE_CAP_PARALLEL_DIROPS;
}

static void answer_lookup(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    struct fuse_entry_param entry = {.entry_timeout = FOR_EVER};
    if (parent == FUSE_ROOT_ID && strcmp(name, ASKED_NAME) == 0) {
        entry = make_entry(ASKED_NODE);
        entry.entry_timeout = 0;
    }
    fuse_reply_entry(request, &entry);
}

static void answer_getattr(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    (void)file;
    struct stat attributes = make_attributes(node, 0);
    fuse_reply_attr(request, &attributes, FOR_EVER);
}

static void answer_setattr(fuse_req_t request, fuse_ino_t node, struct stat *wanted, int which,
                           struct fuse_file_info *file)
{
    (void)file;
    struct stat attributes =
        make_attributes(node, which & FUSE_SET_ATTR_SIZE ? wanted->st_size : 0);
    fuse_reply_attr(request, &attributes, FOR_EVER);
}

static void answer_open(fuse_req_t request, fuse_ino_t node, struct fuse_file_info *file)
{
    (void)node;
    (void)file;
    fuse_reply_err(request, ENOSYS);
}

static void answer_create(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode,
                          struct fuse_file_info *file)
{
    (void)parent;
    (void)name;
    (void)mode;
    struct fuse_entry_param entry = make_entry(atomic_fetch_add(&last_file, 2) + 2);
    file->keep_cache = 1;
    fuse_reply_create(request, &entry, file);
}

static void answer_mkdir(fuse_req_t request, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)parent;
    (void)name;
    (void)mode;
    struct fuse_entry_param entry = make_entry(atomic_fetch_add(&last_directory, 2) + 2);
    fuse_reply_entry(request, &entry);
}

static void answer_write(fuse_req_t request, fuse_ino_t node, const char *data, size_t size,
                         off_t offset, struct fuse_file_info *file)
{
    (void)node;
    (void)data;
    (void)offset;
    (void)file;
    fuse_reply_write(request, size);
}

static void answer_remove(fuse_req_t request, fuse_ino_t parent, const char *name)
{
    (void)parent;
    (void)name;
    fuse_reply_err(request, 0);
}

static void answer_rename(fuse_req_t request, fuse_ino_t parent, const char *name,
                          fuse_ino_t new_parent, const char *new_name, unsigned int flags)
{
    (void)parent;
    (void)name;
    (void)new_parent;
    (void)new_name;
    fuse_reply_err(request, flags ? EINVAL : 0);
}

/* What is missing here (flush, getxattr, ...) libfuse answers with ENOSYS, and the kernel asks for
 * it only once. */
static const struct fuse_lowlevel_ops operations = {
    .init = answer_init,
    .lookup = answer_lookup,
    .getattr = answer_getattr,
    .setattr = answer_setattr,
    .open = answer_open,
    .opendir = answer_open,
    .create = answer_create,
    .mkdir = answer_mkdir,
    .write = answer_write,
    .unlink = answer_remove,
    .rmdir = answer_remove,
    .rename = answer_rename,
};

static int serve(const char *mountpoint)
{
    struct fuse_args arguments = FUSE_ARGS_INIT(0, NULL);
    fuse_opt_add_arg(&arguments, "null_fs");
    fuse_opt_add_arg(&arguments, "-odefault_permissions,allow_other,nosuid,nodev,fsname=null");
    struct fuse_session *session =
        fuse_session_new(&arguments, &operations, sizeof(operations), NULL);
    int result = 1;

    if (session && fuse_session_mount(session, mountpoint) == 0) {
        if (fuse_set_signal_handlers(session) == 0) {
            struct fuse_loop_config *config = fuse_loop_cfg_create();
            result = fuse_session_loop_mt(session, config) < 0;
            fuse_loop_cfg_destroy(config);
            fuse_remove_signal_handlers(session);
        }
        fuse_session_unmount(session);
    }
    if (session)
        fuse_session_destroy(session);
    fuse_opt_free_args(&arguments);
    return result;
}

int main(int argc, char **argv)
{
    if (argc != 2) {
        fprintf(stderr, "usage: null_fs MOUNTPOINT (stays in the foreground)\n");
        return 2;
    }
    return serve(argv[1]);
}
