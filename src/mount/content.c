/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests about contents: reading waits for nobody; writes, truncations and times become changes.
 */
#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/process.h"
#include "core/limits.h"
#include "mount/handlers.h"
#include "mount/request.h"
#include "mount/virtual.h"

/* --- Reading --- */

void op_open(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    (void)ino;
    (void)file;
    fuse_reply_err(req, ENOSYS); /* for good: the kernel asks no more */
}

static void reply_part(fuse_req_t req, const uint8_t *data, size_t data_size, size_t size,
                       size_t offset)
{
    if (offset >= data_size)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, (const char *)data + offset, MIN(size, data_size - offset));
}

/* Of a file that is just being changed, or whose content is a hole. */
static void read_changing(fuse_req_t req, struct node *node, size_t size, size_t offset,
                          bool direct)
{
    struct mount *mount = mount_of(req);
    g_autofree uint8_t *copy = g_malloc(size);

    teller_end_shortening(&mount->notifier.teller, node, fuse_req_ctx(req)->pid);
    const struct state *state = replica_read_lock(mount->options.replica);
    size_t used = node_read(&mount->nodes, node, state->tree, direct, offset, size, copy);
    replica_read_unlock(mount->options.replica);
    fuse_reply_buf(req, (const char *)copy, used);
}

static void read_entry(fuse_req_t req, struct node *node, size_t size, size_t offset, bool direct)
{
    struct mount *mount = mount_of(req);
    const struct state *state = replica_read_lock(mount->options.replica);
    struct entry *entry = node_content(&mount->nodes, node, state->tree);

    replica_read_unlock(mount->options.replica);
    if (entry && entry->content)
        reply_part(req, entry->content->data, entry->size, size, offset);
    else
        read_changing(req, node, size, offset, direct);
    entry_unref(entry);
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *file)
{
    struct node *node = node_of_id(mount_of(req), ino);

    if (offset < 0 || size > FILE_SIZE_MAX) {
        fuse_reply_err(req, EINVAL);
    } else if (node->text) {
        /* The node may be forgotten as soon as the kernel has the answer. */
        struct buffer *text = buffer_ref(node->text);
        reply_part(req, text->data, text->capacity, size, (size_t)offset);
        buffer_unref(text);
    } else {
        /* What fills pages for a descriptor with O_DIRECT has no owner. */
        bool direct = file && (file->flags & O_DIRECT) && file->lock_owner != 0;
        read_entry(req, node, size, (size_t)offset, direct);
    }
}

/* --- Writing --- */

/* A request that changes the content of a node, and what is known of it. */
static struct request *new_request(fuse_req_t req, struct node *node, enum request_kind kind,
                                   char *path)
{
    struct request *request = request_new(mount_of(req), req, kind, path);

    request->node = node;
    request->caller.origin = node;
    return request;
}

static void refuse_size(fuse_req_t req, struct node *node)
{
    struct mount *mount = mount_of(req);
    g_autofree char *path = path_of_node(mount, node);

    replica_note_too_large(mount->options.replica, path);
    fuse_reply_err(req, EFBIG);
}

/* Makes a write one change with the truncation before it: the new content from its first byte on.
 */
static void join_truncation(struct request *request, struct change *change)
{
    uint32_t size = change->offset + change->size;

    if (change->offset > 0) {
        request->padded = g_malloc0(size);
        memcpy(request->padded + change->offset, change->data, change->size);
        change->data = request->padded;
    }
    change->offset = 0;
    change->size = size;
    change->truncate = true;
}

/* Its content from the first byte on is too long for one change: the truncation goes before it, as
 * one of its own. */
static void send_truncation_first(struct request *request)
{
    request_send_truncation(request->mount, request->node);
    request->truncates = false;
}

/* Where a write goes: an append to the end of what is there, which the kernel may not have heard
 * of. Its path too; NULL: it is gone. `*skips`: it leaves a hole. `*stale`: the kernel's pages will
 * not be as it thinks. */
static char *find_target(struct mount *mount, struct node *node, bool appends, off_t *offset,
                         bool *skips, bool *stale)
{
    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry = tree_entry(state->tree, node->inode);
    char *path = node_path(&mount->nodes, node, state->tree);
    off_t size = entry && !node_is_emptied(&mount->nodes, node) ? entry->size : 0;

    replica_read_unlock(mount->options.replica);
    *skips = !appends && *offset > size; /* what is skipped reads as zeros */
    *stale = appends ? *offset != size : *skips && node_has_older(&mount->nodes, node);
    if (appends)
        *offset = size;
    return path;
}

static void write_entry(fuse_req_t req, struct node *node, const char *data, size_t size,
                        off_t offset, const struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    bool appends = file && (file->flags & O_APPEND);
    bool skips;
    bool stale;
    g_autofree char *path = find_target(mount, node, appends, &offset, &skips, &stale);

    if (offset < 0 || offset > FILE_SIZE_MAX || size > FILE_SIZE_MAX - (size_t)offset) {
        refuse_size(req, node);
        return;
    }
    struct request *request = new_request(req, node, REQUEST_WRITE, g_steal_pointer(&path));
    request->data = g_memdup2(data, size);
    request->write = (struct own_write){.offset = (uint32_t)offset,
                                        .size = (uint32_t)size,
                                        .data = request->data,
                                        .heard = timer_now()};
    request->skips = skips;
    request->stale = stale;
    request->of_map = file && file->writepage;
    request->changes_content = true;
    request->truncates = node_begin_change(&mount->nodes, node, &request->write);
    struct change change = {
        .operation = CHANGE_WRITE,
        .offset = (uint32_t)offset,
        .size = (uint32_t)size,
        .data = request->data,
    };
    if (request->truncates && offset + size > CHANGE_DATA_MAX)
        send_truncation_first(request);
    if (request->truncates)
        join_truncation(request, &change);
    request_submit(request, &change);
}

void op_write(fuse_req_t req, fuse_ino_t ino, const char *data, size_t size, off_t offset,
              struct fuse_file_info *file)
{
    struct node *node = node_of_id(mount_of(req), ino);

    if (node->virtual_name == VIRTUAL_NONE) {
        write_entry(req, node, data, size, offset, file);
        return;
    }
    int error = virtual_write(node->virtual_name, data, size, offset);
    if (error)
        fuse_reply_err(req, -error);
    else
        fuse_reply_write(req, size);
}

/* --- Truncating --- */

/* 0, or why a file may not be emptied now; one that is gone may. */
static int refusal_of_truncation(struct mount *mount, const struct node *node)
{
    if (replica_takes_changes(mount->options.replica))
        return 0;
    g_autofree char *path = path_of_node(mount, node);
    return path ? replica_refusal(mount->options.replica, path) : 0;
}

/* open() with O_TRUNC: the write that follows makes the truncation. */
static void truncate_at_open(fuse_req_t req, struct node *node)
{
    struct mount *mount = mount_of(req);
    struct stat attributes;

    int error = refusal_of_truncation(mount, node);
    if (error) {
        fuse_reply_err(req, -error);
        return;
    }
    truncations_flush_caller(&mount->truncations, fuse_req_ctx(req)->pid);
    truncation_begin(mount, node, fuse_req_ctx(req)->pid);
    attributes_of_node(mount, node, &attributes);
    fuse_reply_attr(req, &attributes, SIZED_MILLISECONDS / 1e3);
}

/* Other implementations store nothing when an empty file is grown without data: so there is some.
 */
static void grow_empty(struct request *request, uint32_t size, struct change *change)
{
    bool whole = size <= CHANGE_DATA_MAX;

    if (request->truncates && !whole)
        send_truncation_first(request);
    change->size = whole ? size : 1;
    change->offset = size - change->size; /* what is before that is zeros, too */
    change->data = request->padded = g_malloc0(change->size);
}

static void set_size(fuse_req_t req, struct node *node, off_t size)
{
    struct mount *mount = mount_of(req);
    struct change change = {.operation = CHANGE_WRITE, .truncate = true};

    if (size < 0 || size > FILE_SIZE_MAX) {
        refuse_size(req, node);
        return;
    }
    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry = tree_entry(state->tree, node->inode);
    bool empty = entry && !entry->content;
    char *path = node_path(&mount->nodes, node, state->tree);
    node_begin_shortening(&mount->nodes, node, state->tree, fuse_req_ctx(req)->pid, (uint32_t)size);
    replica_read_unlock(mount->options.replica);

    struct request *request = new_request(req, node, REQUEST_SETATTR, path);
    request->changes_content = true;
    request->truncates = node_begin_change(&mount->nodes, node, NULL);
    change.offset = (uint32_t)size;
    if ((empty || request->truncates) && size > 0)
        grow_empty(request, (uint32_t)size, &change);
    request_submit(request, &change);
}

/* What was written was stored before write() came back; the truncation of an open may not be. One
 * that is under way already is waited for with a change behind it, of the time that it sets. */
void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    struct node *node = node_of_id(mount, ino);
    struct change change = {.operation = CHANGE_WRITE, .truncate = true};
    bool truncates =
        node->virtual_name == VIRTUAL_NONE && node_begin_change(&mount->nodes, node, NULL);

    (void)data_only;
    (void)file;
    if (!truncates &&
        (!node_is_emptied(&mount->nodes, node) || node_is_gone(&mount->nodes, node))) {
        fuse_reply_err(req, 0);
        return;
    }
    if (!truncates)
        change = (struct change){.operation = CHANGE_MTIME, .offset = clock_seconds()};
    struct request *request = new_request(req, node, REQUEST_FSYNC, path_of_node(mount, node));
    request->changes_content = true;
    request->truncates = truncates;
    request_submit(request, &change);
}

/* --- Attributes --- */

static void set_mtime(fuse_req_t req, struct node *node, int64_t mtime)
{
    struct change change = {.operation = CHANGE_MTIME, .offset = (uint32_t)mtime};

    if (mtime < 0 || mtime > UINT32_MAX) {
        fuse_reply_err(req, EINVAL);
        return;
    }
    char *path = path_of_node(mount_of(req), node);
    struct request *request = new_request(req, node, REQUEST_SETATTR, path);
    if (mtime == 0 && path && path_is_lock(path))
        request_submit_unlock(request);
    else
        request_submit(request, &change);
}

/* Owner, group and mode cannot be changed; asking for what they are anyway is fine. */
static bool keeps_owner_and_mode(struct mount *mount, struct node *node, const struct stat *wanted,
                                 int to_set)
{
    mode_t mode = wanted->st_mode & 07777;
    struct stat now;

    if ((to_set & FUSE_SET_ATTR_UID) && wanted->st_uid != 0 && wanted->st_uid != (uid_t)-1)
        return false;
    if ((to_set & FUSE_SET_ATTR_GID) && wanted->st_gid != mount->options.group &&
        wanted->st_gid != (gid_t)-1)
        return false;
    if (!(to_set & FUSE_SET_ATTR_MODE))
        return true;
    attributes_of_node(mount, node, &now);
    if (S_ISDIR(now.st_mode) && mode == (now.st_mode & 07777))
        return true;
    return mode == (now.st_mode & S_IRGRP ? 0640 : 0600); /* what is private is its owner's alone */
}

static void reply_attributes(fuse_req_t req, struct node *node)
{
    struct stat attributes;

    attributes_of_node(mount_of(req), node, &attributes);
    fuse_reply_attr(req, &attributes, 0);
}

void op_setattr(fuse_req_t req, fuse_ino_t ino, struct stat *wanted, int to_set,
                struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    struct node *node = node_of_id(mount, ino);
    bool is_entry = node->virtual_name == VIRTUAL_NONE && !node->is_root;
    bool sets_size = to_set & FUSE_SET_ATTR_SIZE;

    /* The truncation of an open comes without a file and without a time, unlike ftruncate(). */
    bool opens = is_entry && to_set == FUSE_SET_ATTR_SIZE && !file && wanted->st_size == 0 &&
                 !process_truncates(fuse_req_ctx(req)->pid);

    if (!keeps_owner_and_mode(mount, node, wanted, to_set))
        fuse_reply_err(req, EPERM);
    else if (opens)
        truncate_at_open(req, node);
    else if (sets_size && is_entry)
        set_size(req, node, wanted->st_size);
    else if (sets_size && node->virtual_name != VIRTUAL_DEBUG)
        fuse_reply_err(req, EIO);
    else if (sets_size || !(to_set & FUSE_SET_ATTR_MTIME))
        reply_attributes(req, node);
    else if (!is_entry)
        fuse_reply_err(req, EACCES);
    else if (to_set & FUSE_SET_ATTR_MTIME_NOW)
        set_mtime(req, node, clock_seconds());
    else
        set_mtime(req, node, wanted->st_mtime);
}
