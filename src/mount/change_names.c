/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests that make, remove and rename: each becomes a change, and is answered when that is done.
 */
#include <errno.h>
#include <fcntl.h>

#include "mount/handlers.h"
#include "mount/request.h"

static struct request *new_request(fuse_req_t req, fuse_ino_t parent, const char *name,
                                   enum request_kind kind)
{
    struct mount *mount = mount_of(req);
    struct request *request = request_new(mount, req, kind, path_of_child(mount, parent, name));

    request->directories[0] = node_of_id(mount, parent);
    return request;
}

static void change_name(fuse_req_t req, fuse_ino_t parent, const char *name, enum request_kind kind,
                        enum change_operation operation)
{
    struct change change = {.operation = operation};

    request_submit(new_request(req, parent, name, kind), &change);
}

void op_create(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode,
               struct fuse_file_info *file)
{
    struct change change = {.operation = CHANGE_CREATE};
    struct request *request = new_request(req, parent, name, REQUEST_CREATE);

    (void)mode;
    request->open_flags = file->flags;
    /* The kernel has just found nothing of that name: but others make files too. */
    if ((file->flags & O_EXCL) || !request_answer_existing(request))
        request_submit(request, &change);
}

void op_mknod(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode, dev_t device)
{
    (void)device;
    if (S_ISREG(mode))
        change_name(req, parent, name, REQUEST_MKNOD, CHANGE_CREATE);
    else
        fuse_reply_err(req, EPERM);
}

void op_mkdir(fuse_req_t req, fuse_ino_t parent, const char *name, mode_t mode)
{
    (void)mode;
    change_name(req, parent, name, REQUEST_MKDIR, CHANGE_MKDIR);
}

void op_unlink(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    change_name(req, parent, name, REQUEST_REMOVE, CHANGE_DELETE);
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
    struct request *request = new_request(req, parent, name, REQUEST_RENAME);
    request->directories[1] = node_of_id(mount, new_parent);
    request->to = path_of_child(mount, new_parent, new_name);
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
