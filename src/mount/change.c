/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests that change something: each becomes a change, and is answered when that is done. */
#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/util.h"
#include "core/limits.h"
#include "mount/internal.h"

static struct mount *mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

/* --- Answers --- */

/* Several nodes may make one name at the same time, and one of them was first. ESTALE makes the
 * kernel look again: it finds the file, and fails only those who insisted (O_EXCL) on making it
 * themselves. */
static int creation_error(struct request *request, int error)
{
    int lookup_error;

    if (error != -EEXIST || request->kind != REQUEST_MKNOD)
        return error;
    const struct state *state = replica_read_lock(request->mount->options.replica);
    bool there = tree_lookup(state->tree, request->path, &lookup_error) != NULL;
    replica_read_unlock(request->mount->options.replica);
    return there ? -ESTALE : error;
}

static void reply_new_entry(struct request *request)
{
    struct mount *mount = request->mount;
    struct fuse_entry_param param;
    int error;

    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry = tree_lookup(state->tree, request->path, &error);
    /* The kernel takes nothing but what it asked for: EIO if a file has become a directory. */
    if (entry && entry_is_directory(entry) != (request->kind == REQUEST_MKDIR))
        entry = NULL;
    if (entry)
        fill_entry(mount, entry, request->path, request->thread, &param);
    replica_read_unlock(mount->options.replica);
    if (!entry)
        fuse_reply_err(request->req, ENOENT); /* another node was quick to delete or replace it */
    else if (fuse_reply_entry(request->req, &param) != 0)
        node_forget(mount, node_of(mount, param.ino), 1);
}

static void reply_success(struct request *request)
{
    struct stat attributes;

    switch (request->kind) {
    case REQUEST_MKNOD:
    case REQUEST_MKDIR:
        reply_new_entry(request);
        break;
    case REQUEST_SETATTR:
        attributes_of_node(request->mount, request->node, &attributes);
        /* The kernel takes these whatever it was told meanwhile of another's change, unlike those
         * of a look-up: so it must not keep them. */
        fuse_reply_attr(request->req, &attributes, 0);
        break;
    case REQUEST_WRITE:
        fuse_reply_write(request->req, request->size);
        break;
    case REQUEST_OTHER:
        fuse_reply_err(request->req, 0);
        break;
    case REQUEST_OPEN:
    case REQUEST_TRUNCATE:
        break;
    }
}

/* The file is empty for its opener, and others are led elsewhere. 0 or a negative errno, and then
 * no answer yet. */
static int begin_truncation(struct request *request)
{
    struct stat attributes;
    int error =
        truncate_begin(request->mount, request->node, request->thread, request->path, &attributes);

    if (!error)
        fuse_reply_attr(request->req, &attributes, 0); /* so that all others have to ask */
    return error;
}

/* What the truncation leaves behind. One that nobody wrote to has a pin. */
static int clean_up(struct request *request, int result)
{
    struct mount *mount = request->mount;

    if (result && request->truncates)
        truncate_cancel(mount, request->node);
    if (request->kind != REQUEST_TRUNCATE)
        return result;
    if (result)
        log_warning("%s: the truncation failed: %s; the old content stays", request->path,
                    g_strerror(-result));
    truncate_done(mount, request->node);
    node_unpin(mount, request->node);
    return 0;
}

void request_finish(struct request *request, int result)
{
    unwatch_request(request);
    result = clean_up(request, result);
    if (result)
        result = creation_error(request, result);
    else if (request->kind == REQUEST_OPEN)
        result = begin_truncation(request);
    if (result)
        fuse_reply_err(request->req, -result);
    else
        reply_success(request);
    operation_answered(request->mount, &request->operation, result);
    g_free(request->path);
    g_free(request);
}

/* After a change through a node that the file's name does not lead to (one of several), the name
 * must lead there. A utimens() that deleted an expired lock took a name away, which the kernel
 * does not expect. */
static void answer(struct caller *caller, int result)
{
    struct request *request = container_of(caller, struct request, caller);
    bool through_node = request->kind == REQUEST_WRITE || request->kind == REQUEST_SETATTR;

    if (!result && through_node &&
        (node_takes_names(request->mount, request->node) ||
         node_is_gone(request->mount, request->node)))
        invalidate_name_and_finish(request, result);
    else
        request_finish(request, result);
}

struct request *request_new(fuse_req_t req, enum request_kind kind, char *path)
{
    struct request *request = g_new(struct request, 1);
    struct mount *mount = req ? mount_of(req) : NULL; /* without one the caller fills it in */

    *request = (struct request){
        .caller = {.answer = answer, .origin = mount},
        .mount = mount,
        .req = req,
        .kind = kind,
        .operation = operation_hand_on(),
        .path = path,
        .thread = req ? fuse_req_ctx(req)->pid : 0,
    };
    return request;
}

void request_submit(struct request *request, struct change *change)
{
    struct mount *mount = request->mount;

    assert(mount);
    if (!request->path) {
        request_finish(request, -ENOENT);
        return;
    }
    watch_request(request);
    change->path = request->path;
    replica_change(mount->options.replica, change, &request->caller);
}

/* The path of `name` in a directory; NULL if the directory is gone. */
static char *child_path(struct mount *mount, fuse_ino_t parent, const char *name)
{
    const struct node *directory = node_of(mount, parent);
    const struct state *state = replica_read_lock(mount->options.replica);
    bool gone = node_is_gone(mount, directory);
    char *path = gone ? NULL : tree_path_of(state->tree, directory->inode, name);

    replica_read_unlock(mount->options.replica);
    return path;
}

static void change_child(fuse_req_t req, fuse_ino_t parent, const char *name,
                         enum request_kind kind, enum change_operation operation)
{
    struct change change = {.operation = operation};

    request_submit(request_new(req, kind, child_path(mount_of(req), parent, name)), &change);
}

/* --- Operations --- */

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    (void)device;
    if (!S_ISREG(mode)) {
        fuse_reply_err(req, EPERM);
        return;
    }
    change_child(req, parent, name, REQUEST_MKNOD, CHANGE_CREATE);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)mode;
    change_child(req, parent, name, REQUEST_MKDIR, CHANGE_MKDIR);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    change_child(req, parent, name, REQUEST_OTHER, CHANGE_DELETE);
}

void op_rename(fuse_req_t req, fuse_ino_t parent, const char *name, fuse_ino_t new_parent,
               const char *new_name, unsigned int flags)
{
    struct mount *mount = mount_of(req);
    struct change change = {.operation = CHANGE_RENAME};

    if (flags) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    struct request *request = request_new(req, REQUEST_OTHER, child_path(mount, parent, name));
    g_autofree char *to = child_path(mount, new_parent, new_name);
    if (!to) {
        request_finish(request, -ENOENT);
        return;
    }
    change.to = to;
    request_submit(request, &change);
}

/* Makes a write one change with the truncation before it: the new content from its first byte on.
 * What is returned holds the data. */
static uint8_t *join_truncation(struct change *change)
{
    uint32_t size = change->offset + change->size;
    uint8_t *padded = NULL;

    if (change->offset > 0) {
        padded = g_malloc0(size);
        memcpy(padded + change->offset, change->data, change->size);
        change->data = padded;
    }
    change->offset = 0;
    change->size = size;
    change->truncate = true;
    return padded;
}

static void refuse_size(fuse_req_t req, struct node *node)
{
    struct mount *mount = mount_of(req);
    g_autofree char *path = NULL;

    entry_unref(node_entry(mount, node, &path));
    replica_note_too_large(mount->options.replica, path);
    fuse_reply_err(req, EFBIG);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
              struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    struct node *node = node_of(mount, ino);

    (void)file;
    if (node->virtual_name != VIRTUAL_NONE) {
        int error = virtual_write(node->virtual_name, data, size, offset);
        if (error)
            fuse_reply_err(req, -error);
        else
            fuse_reply_write(req, size);
        return;
    }
    if (offset < 0 || offset > FILE_SIZE_MAX || size > FILE_SIZE_MAX - (size_t)offset) {
        refuse_size(req, node);
        return;
    }
    g_autofree char *path = NULL;
    entry_unref(node_entry(mount, node, &path));
    struct request *request = request_new(req, REQUEST_WRITE, g_steal_pointer(&path));
    struct change change = {
        .operation = CHANGE_WRITE,
        .offset = (uint32_t)offset,
        .size = (uint32_t)size,
        .data = (const uint8_t *)data,
    };
    g_autofree uint8_t *padded = NULL;
    request->size = size;
    request->node = node;
    request->caller.origin = node;
    request->truncates = truncate_take(mount, node, request->thread);
    if (request->truncates)
        padded = join_truncation(&change);
    request_submit(request, &change);
}

void op_symlink(fuse_req_t req, const char *target, fuse_ino_t parent, const char *name)
{
    (void)target;
    (void)parent;
    (void)name;
    fuse_reply_err(req, EPERM);
}

void op_link(fuse_req_t req, fuse_ino_t ino, fuse_ino_t new_parent, const char *new_name)
{
    (void)ino;
    (void)new_parent;
    (void)new_name;
    fuse_reply_err(req, EPERM);
}

/* --- setattr --- */

static void set_size(fuse_req_t req, struct node *node, off_t size)
{
    struct mount *mount = mount_of(req);
    struct change change = {.operation = CHANGE_WRITE, .truncate = true};
    g_autofree uint8_t *zeros = NULL;
    char *path = NULL;

    if (size < 0 || size > FILE_SIZE_MAX) {
        refuse_size(req, node);
        return;
    }
    struct entry *entry = node_entry(mount, node, &path);
    change.offset = (uint32_t)size;
    if (entry && !entry->content && size > 0) {
        /* Other implementations store nothing when an empty file is grown without data. */
        change.offset = 0;
        change.size = (uint32_t)size;
        change.data = zeros = g_malloc0((size_t)size);
    }
    entry_unref(entry);
    struct request *request = request_new(req, REQUEST_SETATTR, path);
    request->truncates = truncate_take(mount, node, request->thread);
    request->node = node;
    request->caller.origin = node;
    request_submit(request, &change);
}

static void set_mtime(fuse_req_t req, struct node *node, int64_t mtime)
{
    struct mount *mount = mount_of(req);
    struct change change = {.operation = CHANGE_MTIME, .offset = (uint32_t)mtime};
    char *path = NULL;

    if (mtime < 0 || mtime > UINT32_MAX) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    entry_unref(node_entry(mount, node, &path));
    struct request *request = request_new(req, REQUEST_SETATTR, path);
    request->node = node;
    request->caller.origin = node;
    if (mtime == 0 && path && path_is_lock(path)) {
        watch_request(request);
        replica_request_unlock(mount->options.replica, path, &request->caller);
        return;
    }
    request_submit(request, &change);
}

/* Owner, group and mode cannot be changed; asking for what they are anyway is fine. */
static bool keeps_owner_and_mode(struct mount *mount, const struct node *node,
                                 const struct stat *wanted, int to_set)
{
    mode_t mode = wanted->st_mode & 07777;
    g_autofree char *path = NULL;
    struct stat now;

    if ((to_set & FUSE_SET_ATTR_UID) && wanted->st_uid != 0 && wanted->st_uid != (uid_t)-1)
        return false;
    if ((to_set & FUSE_SET_ATTR_GID) && wanted->st_gid != mount->options.group &&
        wanted->st_gid != (gid_t)-1)
        return false;
    if (!(to_set & FUSE_SET_ATTR_MODE))
        return true;
    if (node->virtual_name == VIRTUAL_NONE)
        entry_unref(node_entry(mount, node, &path));
    attributes_of_node(mount, node, &now);
    if (S_ISDIR(now.st_mode) && mode == (now.st_mode & 07777))
        return true;
    return mode == (path && path_is_private(path) ? 0600 : 0640);
}

static void reply_attributes(fuse_req_t req, const struct node *node)
{
    struct stat attributes;

    attributes_of_node(mount_of(req), node, &attributes);
    fuse_reply_attr(req, &attributes, 0);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int to_set,
                struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    struct node *node = node_of(mount, ino);
    bool is_entry = node->virtual_name == VIRTUAL_NONE && !node->is_root;

    /* The truncation of an open comes without a file and without a time, unlike ftruncate(). That
     * of truncate() looks the same, but nobody will write or close there. */
    bool opens = is_entry && to_set == FUSE_SET_ATTR_SIZE && !file && wanted->st_size == 0 &&
                 truncate_may_be_opening(fuse_req_ctx(req)->pid);

    if (!keeps_owner_and_mode(mount, node, wanted, to_set))
        fuse_reply_err(req, EPERM);
    else if (opens)
        truncate_at_open(req, node);
    else if ((to_set & FUSE_SET_ATTR_SIZE) && is_entry)
        set_size(req, node, wanted->st_size);
    else if ((to_set & FUSE_SET_ATTR_SIZE) && node->virtual_name != VIRTUAL_DEBUG)
        fuse_reply_err(req, EIO);
    else if ((to_set & FUSE_SET_ATTR_SIZE) || !(to_set & FUSE_SET_ATTR_MTIME))
        reply_attributes(req, node);
    else if (!is_entry)
        fuse_reply_err(req, EACCES);
    else if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        set_mtime(req, node, g_get_real_time() / G_USEC_PER_SEC);
    else
        set_mtime(req, node, wanted->st_mtime);
}
