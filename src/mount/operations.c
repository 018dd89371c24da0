/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the kernel asks of the mount: how often, how long it takes, and who asks while somebody
 * wants to know. */
#include "mount/operations.h"

#include <linux/fuse.h>
#include <string.h>

#include "mount/context.h"
#include "status/activity.h"

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

static char *path_of(struct mount *mount, uint64_t id, const char *name)
{
    const struct node *node = node_of_id(mount, id);
    g_autofree char *path = NULL;

    if (node->virtual_name != VIRTUAL_NONE)
        return g_strdup(virtual_text_name(node->virtual_name));
    path = path_of_node(mount, node);
    if (!name)
        return g_strdup(path ? path : "?");
    return g_strconcat(path ? path : "?", path && !*path ? "" : "/", name, NULL);
}

static void tell(struct mount *mount, const struct fuse_buf *buffer, struct form form)
{
    const struct fuse_in_header *header = buffer->mem;
    g_autofree char *path = NULL;

    if (form.kind == OPERATION_OTHER || form.kind == OPERATION_FORGET)
        return;
    path = path_of(mount, header->nodeid, name_in(buffer, form.name));
    activity_note(mount->options.activity, names[form.kind], path, (pid_t)header->pid);
}

void operation_begin(struct mount *mount, const struct fuse_buf *buffer,
                     struct operation *operation)
{
    const struct fuse_in_header *header = buffer->mem;
    struct form form = {0};

    if (buffer->size >= sizeof(*header))
        form = form_of(header->opcode);
    *operation = (struct operation){.kind = form.kind, .begun = metrics_now()};
    under_way = operation;
    if (activity_is_watched(mount->options.activity))
        tell(mount, buffer, form);
}

struct operation operation_hand_on(void)
{
    if (!under_way)
        return (struct operation){0};
    under_way->handed_on = true;
    return *under_way;
}

void operation_end(struct mount *mount, const struct operation *operation)
{
    under_way = NULL;
    if (!operation->handed_on)
        operation_answered(mount, operation, 0);
}

void operation_answered(struct mount *mount, const struct operation *operation, int result)
{
    struct mount_metrics *metrics = mount->options.metrics;

    if (operation->begun == 0)
        return;
    histogram_note_since(&metrics->operations[operation->kind], operation->begun);
    if (result)
        counter_add(&metrics->refused[operation->kind], 1);
}
