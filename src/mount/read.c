/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests that only read: look-ups, attributes, contents, listings. They wait for nobody. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "core/limits.h"
#include "mount/internal.h"

#define BLOCK_SIZE 4096u
/* Positions in the root's listing: the made-up names first, then entries by inode. */
#define FIRST_ENTRY_POSITION 64

static struct mount *mount_of(fuse_req_t req)
{
    return fuse_req_userdata(req);
}

void fill_entry(struct mount *mount, const struct entry *entry, const char *path, pid_t thread,
                struct fuse_entry_param *param)
{
    *param = (struct fuse_entry_param){
        .ino = node_id(node_look_up(mount, entry->inode, thread)),
        .attr_timeout = CACHE_FOR_EVER,
        .entry_timeout = CACHE_FOR_EVER,
    };
    attributes_of_entry(mount, entry, path, &param->attr);
}

/* A look-up of a status file is never cached: the next one may find another text, which is another
 * node. */
static void fill_virtual(struct mount *mount, enum virtual_name name,
                         struct fuse_entry_param *param)
{
    struct node *node = node_look_up_virtual(mount, name);

    *param = (struct fuse_entry_param){
        .ino = node_id(node),
        .attr_timeout = CACHE_FOR_EVER,
        .entry_timeout = virtual_is_link(name) ? CACHE_FOR_EVER : 0,
    };
    attributes_of_virtual(mount, node, &param->attr);
}

/* Gives back the look-up that an answer which did not arrive would have counted. */
static void reply_entry(fuse_req_t req, const struct fuse_entry_param *param)
{
    struct mount *mount = mount_of(req);

    if (fuse_reply_entry(req, param) != 0 && param->ino != 0)
        node_forget(mount, node_of(mount, param->ino), 1);
}

/* With the state's lock held. A directory that is gone has no children. */
static const struct entry *child_of(struct mount *mount, const struct state *state,
                                    const struct node *directory, const char *name)
{
    return node_is_gone(mount, directory) ? NULL : tree_child(state->tree, directory->inode, name);
}

void look_up(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mount *mount = mount_of(req);
    const struct node *directory = node_of(mount, parent);
    struct fuse_entry_param param = {.entry_timeout = CACHE_FOR_EVER};

    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry = child_of(mount, state, directory, name);
    if (entry) {
        g_autofree char *path = tree_path(state->tree, entry->inode);
        fill_entry(mount, entry, path, fuse_req_ctx(req)->pid, &param);
    }
    replica_read_unlock(mount->options.replica);
    reply_entry(req, &param);
}

static uint64_t child_inode(struct mount *mount, const struct node *directory, const char *name)
{
    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry = child_of(mount, state, directory, name);
    uint64_t inode = entry ? entry->inode : 0;

    replica_read_unlock(mount->options.replica);
    return inode;
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mount *mount = mount_of(req);
    const struct node *directory = node_of(mount, parent);
    enum virtual_name virtual_name = directory->is_root ? virtual_find(name) : VIRTUAL_NONE;
    struct fuse_entry_param param;

    if (strlen(name) > NAME_MAX_STORED) {
        fuse_reply_err(req, ENAMETOOLONG);
        return;
    }
    if (virtual_name != VIRTUAL_NONE) {
        fill_virtual(mount, virtual_name, &param);
        reply_entry(req, &param);
        return;
    }
    if (atomic_load(&mount->truncations) > 0) {
        uint64_t inode = child_inode(mount, directory, name);
        if (inode && truncate_before_lookup(req, parent, name, inode))
            return;
    }
    look_up(req, parent, name);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
    struct mount *mount = mount_of(req);

    node_forget(mount, node_of(mount, ino), lookups);
    fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct mount *mount = mount_of(req);

    for (size_t i = 0; i < count; i++)
        node_forget(mount, node_of(mount, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    struct node *node = node_of(mount, ino);
    enum truncate_view view = truncate_view(mount, node, fuse_req_ctx(req)->pid);
    struct stat attributes;

    (void)file;
    if (view == VIEW_ELSEWHERE) {
        fuse_reply_err(req, ESTALE);
        return;
    }
    attributes_of_node(mount, node, &attributes);
    fuse_reply_attr(req, &attributes, view == VIEW_LASTS ? CACHE_FOR_EVER : 0);
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct mount *mount = mount_of(req);

    fuse_reply_readlink(req, mount->link_targets[node_of(mount, ino)->virtual_name]);
}

static void reply_part(fuse_req_t req, const void *data, size_t data_size, size_t size,
                       off_t offset)
{
    if (offset < 0 || (size_t)offset >= data_size)
        fuse_reply_buf(req, NULL, 0);
    else
        fuse_reply_buf(req, (const char *)data + offset, MIN(size, data_size - (size_t)offset));
}

void op_read(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset, struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    const struct node *node = node_of(mount, ino);

    (void)file;
    if (node->text) {
        /* The node may be forgotten as soon as the kernel has the answer. */
        struct buffer *text = buffer_ref(node->text);
        reply_part(req, text->data, text->capacity, size, offset);
        buffer_unref(text);
        return;
    }
    struct entry *entry = node_entry(mount, node, NULL);
    if (!entry || entry_is_directory(entry)) {
        fuse_reply_err(req, EISDIR);
    } else if (entry->content) {
        reply_part(req, entry->content->data, entry->size, size, offset);
    } else {
        /* A hole: zeros that nobody has stored. */
        g_autofree char *zeros = g_malloc0(entry->size + 1);
        reply_part(req, zeros, entry->size, size, offset);
    }
    entry_unref(entry);
}

/* A listing under way. */
struct listing {
    fuse_req_t req;
    char *buffer;
    size_t size;
    size_t used;
};

/* False: it is full. */
static bool list(struct listing *listing, const char *name, ino_t number, mode_t mode,
                 off_t position)
{
    struct stat attributes = {.st_ino = number, .st_mode = mode};
    size_t needed = fuse_add_direntry(listing->req, listing->buffer + listing->used,
                                      listing->size - listing->used, name, &attributes, position);

    if (needed > listing->size - listing->used)
        return false;
    listing->used += needed;
    return true;
}

/* ".", ".." and, in the root, the made-up names; `offset` is the position of the one listed last.
 */
static bool list_fixed(struct listing *listing, const struct node *directory, off_t offset)
{
    int last = directory->is_root ? VIRTUAL_COUNT : 0;

    if (offset < 1 && !list(listing, ".", 1, S_IFDIR, 1))
        return false;
    if (offset < 2 && !list(listing, "..", 1, S_IFDIR, 2))
        return false;
    for (int i = (int)MAX(offset, 2) - 2; i < last; i++) {
        const char *name = virtual_text_name((enum virtual_name)i);
        mode_t mode = virtual_is_link((enum virtual_name)i) ? S_IFLNK : S_IFREG;
        if (!list(listing, name, 1, mode, i + 3))
            return false;
    }
    return true;
}

static void list_entries(struct mount *mount, struct listing *listing, const struct node *directory,
                         off_t offset)
{
    uint64_t after = offset > FIRST_ENTRY_POSITION ? (uint64_t)offset - FIRST_ENTRY_POSITION : 0;
    const struct entry *entry;
    const struct state *state = replica_read_lock(mount->options.replica);

    while (!node_is_gone(mount, directory) &&
           (entry = tree_next_child(state->tree, directory->inode, after))) {
        mode_t mode = entry_is_directory(entry) ? S_IFDIR : S_IFREG;
        bool hidden = directory->is_root && path_is_virtual(entry->name);
        if (!hidden && !list(listing, entry->name, entry->inode, mode,
                             (off_t)entry->inode + FIRST_ENTRY_POSITION))
            break;
        after = entry->inode;
    }
    replica_read_unlock(mount->options.replica);
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    const struct node *directory = node_of(mount, ino);
    g_autofree char *buffer = g_malloc(size);
    struct listing listing = {.req = req, .buffer = buffer, .size = size};

    (void)file;
    if (offset >= FIRST_ENTRY_POSITION || list_fixed(&listing, directory, offset))
        list_entries(mount, &listing, directory, offset);
    fuse_reply_buf(req, buffer, listing.used);
}

void op_statfs(fuse_req_t req, fuse_ino_t ino)
{
    struct mount *mount = mount_of(req);
    const struct state *state = replica_read_lock(mount->options.replica);
    uint64_t used = (state->tree->bytes + BLOCK_SIZE - 1) / BLOCK_SIZE;
    uint64_t entries = tree_entry_count(state->tree);
    struct statvfs statistics = {
        .f_bsize = BLOCK_SIZE,
        .f_frsize = BLOCK_SIZE,
        .f_blocks = CONTENT_MAX / BLOCK_SIZE,
        .f_files = INODES_MAX,
        .f_namemax = NAME_MAX_ADMITTED,
    };

    (void)ino;
    replica_read_unlock(mount->options.replica);
    statistics.f_bfree = statistics.f_blocks - MIN(used, statistics.f_blocks);
    statistics.f_bavail = statistics.f_bfree;
    statistics.f_ffree = statistics.f_files - MIN(entries, statistics.f_files);
    statistics.f_favail = statistics.f_ffree;
    fuse_reply_statfs(req, &statistics);
}
