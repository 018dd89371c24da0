/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernel asks of the mount: how often, how long it takes, and who asks while somebody
 * wants to know. */
#include "mount/operations.h"

#define FUSE_USE_VERSION 312
#include <fuse_lowlevel.h>
#include <glib.h>
#include <linux/fuse.h>
#include <string.h>

static const char *const names[OPERATION_COUNT] = {
    [OPERATION_OTHER] = "other",     [OPERATION_LOOKUP] = "lookup",
    [OPERATION_FORGET] = "forget",   [OPERATION_GETATTR] = "getattr",
    [OPERATION_SETATTR] = "setattr", [OPERATION_READLINK] = "readlink",
    [OPERATION_CREATE] = "create",   [OPERATION_MKDIR] = "mkdir",
    [OPERATION_UNLINK] = "unlink",   [OPERATION_RMDIR] = "rmdir",
    [OPERATION_RENAME] = "rename",   [OPERATION_READ] = "read",
    [OPERATION_WRITE] = "write",     [OPERATION_STATFS] = "statfs",
    [OPERATION_FSYNC] = "fsync",     [OPERATION_READDIR] = "readdir",
};

/* The kernel's requests. `name`: bytes before the name in a directory that follows; 0: none does.
 */
static const struct form {
    enum operation_kind kind;
    size_t name;
} forms[] = {
    [FUSE_LOOKUP] = {OPERATION_LOOKUP, sizeof(struct fuse_in_header)},
    [FUSE_FORGET] = {OPERATION_FORGET, 0},
    [FUSE_BATCH_FORGET] = {OPERATION_FORGET, 0},
    [FUSE_GETATTR] = {OPERATION_GETATTR, 0},
    [FUSE_SETATTR] = {OPERATION_SETATTR, 0},
    [FUSE_READLINK] = {OPERATION_READLINK, 0},
    [FUSE_CREATE] = {OPERATION_CREATE,
                     sizeof(struct fuse_in_header) + sizeof(struct fuse_create_in)},
    [FUSE_MKNOD] = {OPERATION_CREATE, sizeof(struct fuse_in_header) + sizeof(struct fuse_mknod_in)},
    [FUSE_MKDIR] = {OPERATION_MKDIR, sizeof(struct fuse_in_header) + sizeof(struct fuse_mkdir_in)},
    [FUSE_UNLINK] = {OPERATION_UNLINK, sizeof(struct fuse_in_header)},
    [FUSE_RMDIR] = {OPERATION_RMDIR, sizeof(struct fuse_in_header)},
    [FUSE_RENAME] = {OPERATION_RENAME,
                     sizeof(struct fuse_in_header) + sizeof(struct fuse_rename_in)},
    [FUSE_RENAME2] = {OPERATION_RENAME,
                      sizeof(struct fuse_in_header) + sizeof(struct fuse_rename2_in)},
    [FUSE_READ] = {OPERATION_READ, 0},
    [FUSE_WRITE] = {OPERATION_WRITE, 0},
    [FUSE_STATFS] = {OPERATION_STATFS, 0},
    [FUSE_FSYNC] = {OPERATION_FSYNC, 0},
    [FUSE_READDIR] = {OPERATION_READDIR, 0},
};

/* libfuse's handlers carry nothing of the thread that calls them. */
static _Thread_local struct operation *under_way;

const char *operation_name(enum operation_kind kind)
{
    return names[kind];
}

bool operation_changes(enum operation_kind kind)
{
    switch (kind) {
    case OPERATION_SETATTR:
    case OPERATION_CREATE:
    case OPERATION_MKDIR:
    case OPERATION_UNLINK:
    case OPERATION_RMDIR:
    case OPERATION_RENAME:
    case OPERATION_WRITE:
    case OPERATION_FSYNC: /* of a truncation that waits */
        return true;
    default:
        return false;
    }
}

static struct form form_of(uint32_t opcode)
{
    return opcode < G_N_ELEMENTS(forms) ? forms[opcode] : (struct form){0};
}

/* The name in a directory that the request is about; NULL: it has none. */
static const char *name_in(const struct fuse_buf *buffer, size_t offset)
{
    const char *name = (const char *)buffer->mem + offset;

    return offset > 0 && offset < buffer->size && memchr(name, 0, buffer->size - offset) ? name
                                                                                         : NULL;
}

static struct form form_in(const struct fuse_buf *buffer)
{
    const struct fuse_in_header *header = buffer->mem;

    return buffer->size >= sizeof(*header) ? form_of(header->opcode) : (struct form){0};
}

bool operation_target(const struct fuse_buf *buffer, uint64_t *node, const char **name)
{
    const struct fuse_in_header *header = buffer->mem;
    struct form form = form_in(buffer);

    if (form.kind == OPERATION_OTHER || form.kind == OPERATION_FORGET)
        return false;
    *node = header->nodeid;
    *name = name_in(buffer, form.name);
    return true;
}

void operation_begin(const struct fuse_buf *buffer, struct operation *operation)
{
    *operation = (struct operation){.kind = form_in(buffer).kind, .begun = metrics_now()};
    under_way = operation;
}

struct operation operation_hand_on(void)
{
    if (!under_way)
        return (struct operation){0};
    under_way->handed_on = true;
    return *under_way;
}

void operation_end(struct mount_metrics *metrics, const struct operation *operation)
{
    under_way = NULL;
    if (!operation->handed_on)
        operation_answered(metrics, operation, 0);
}

void operation_answered(struct mount_metrics *metrics, const struct operation *operation,
                        int result)
{
    if (operation->begun == 0)
        return;
    histogram_note_since(&metrics->operations[operation->kind], operation->begun);
    if (result)
        counter_add(&metrics->refused[operation->kind], 1);
}
