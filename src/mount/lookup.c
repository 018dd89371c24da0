/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Requests about names and attributes: look-ups, forgetting, stat, links, listings. They wait for
 * nobody. */
#include <errno.h>
#include <string.h>
#include <sys/statvfs.h>

#include "base/util.h"
#include "core/limits.h"
#include "kernel/inode_number.h"
#include "mount/handlers.h"
#include "mount/virtual.h"

#define BLOCK_SIZE 4096u
/* Positions in the root's listing: the made-up names first, then entries by inode. */
#define FIRST_ENTRY_POSITION 64

char *path_of_node(struct mount *mount, const struct node *node)
{
    if (node->virtual_name != VIRTUAL_NONE)
        return g_strdup("");
    const struct state *state = replica_read_lock(mount->options.replica);
    char *path = node_path(&mount->nodes, node, state->tree);

    replica_read_unlock(mount->options.replica);
    return path;
}

char *path_of_child(struct mount *mount, fuse_ino_t parent, const char *name)
{
    const struct node *directory = node_of_id(mount, parent);
    const struct state *state = replica_read_lock(mount->options.replica);
    bool gone = node_is_gone(&mount->nodes, directory);
    char *path = gone ? NULL : tree_path_of(state->tree, directory->inode, name);

    replica_read_unlock(mount->options.replica);
    return path;
}

void fill_entry(struct mount *mount, const struct state *state, const struct entry *entry,
                const char *path, struct fuse_entry_param *param)
{
    struct node *node = node_look_up(&mount->nodes, entry->inode);

    *param = (struct fuse_entry_param){.ino = id_of_node(node), .entry_timeout = CACHE_FOR_EVER};
    if (attributes_of_entry(mount, node, state, path, &param->attr))
        param->attr_timeout = CACHE_FOR_EVER;
}

/* A look-up of a status file is never cached: the next one may find another text, which is another
 * node. */
static void fill_virtual(struct mount *mount, enum virtual_name name,
                         struct fuse_entry_param *param)
{
    bool is_link = virtual_is_link(name);
    struct buffer *text = is_link ? NULL : virtual_text(&mount->options, name);
    struct node *node = node_look_up_virtual(&mount->nodes, name, text);

    buffer_unref(text);
    *param = (struct fuse_entry_param){
        .ino = id_of_node(node),
        .attr_timeout = CACHE_FOR_EVER,
        .entry_timeout = is_link ? CACHE_FOR_EVER : 0,
    };
    attributes_of_node(mount, node, &param->attr);
}

/* With the state's lock held. A directory that is gone has no children. */
static const struct entry *child_of(struct mount *mount, const struct state *state,
                                    const struct node *directory, const char *name)
{
    return node_is_gone(&mount->nodes, directory) ? NULL
                                                  : tree_child(state->tree, directory->inode, name);
}

static void fill_child(struct mount *mount, const struct node *directory, const char *name,
                       struct fuse_entry_param *param)
{
    *param = (struct fuse_entry_param){.entry_timeout = CACHE_FOR_EVER};
    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry = child_of(mount, state, directory, name);
    if (entry) {
        g_autofree char *path = tree_path(state->tree, entry->inode);
        fill_entry(mount, state, entry, path, param);
    }
    replica_read_unlock(mount->options.replica);
}

void op_lookup(fuse_req_t req, fuse_ino_t parent, const char *name)
{
    struct mount *mount = mount_of(req);
    const struct node *directory = node_of_id(mount, parent);
    enum virtual_name virtual_name = directory->is_root ? virtual_find(name) : VIRTUAL_NONE;
    struct fuse_entry_param param;

    if (virtual_name != VIRTUAL_NONE)
        fill_virtual(mount, virtual_name, &param);
    else
        fill_child(mount, directory, name, &param);
    /* Longer ones are there only if they came with a database. */
    if (param.ino == 0 && strlen(name) > NAME_MAX_ADMITTED) {
        fuse_reply_err(req, ENAMETOOLONG);
        return;
    }
    /* An answer that did not arrive counts no look-up. */
    if (fuse_reply_entry(req, &param) != 0 && param.ino != 0)
        node_forget(&mount->nodes, node_of_id(mount, param.ino), 1);
}

void op_forget(fuse_req_t req, fuse_ino_t ino, uint64_t lookups)
{
    struct mount *mount = mount_of(req);

    node_forget(&mount->nodes, node_of_id(mount, ino), lookups);
    fuse_reply_none(req);
}

void op_forget_multi(fuse_req_t req, size_t count, struct fuse_forget_data *forgets)
{
    struct mount *mount = mount_of(req);

    for (size_t i = 0; i < count; i++)
        node_forget(&mount->nodes, node_of_id(mount, forgets[i].ino), forgets[i].nlookup);
    fuse_reply_none(req);
}

static void reply_getattr(struct mount *mount, fuse_req_t req, struct node *node)
{
    struct stat attributes;

    bool lasts = attributes_of_node(mount, node, &attributes);
    fuse_reply_attr(req, &attributes, lasts ? CACHE_FOR_EVER : 0);
}

void op_getattr(fuse_req_t req, fuse_ino_t ino, struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    struct node *node = node_of_id(mount, ino);

    (void)file;
    if (!turns_wait(&mount->notifier.turns, req, fuse_req_ctx(req)->pid, node, timer_now()))
        reply_getattr(mount, req, node);
}

static void answer_attributes(struct turn_owner *owner, fuse_req_t req, struct node *node)
{
    reply_getattr(container_of(owner, struct mount, turn_owner), req, node);
}

void own_turns(struct mount *mount)
{
    mount->turn_owner.answer_attributes = answer_attributes;
}

void op_readlink(fuse_req_t req, fuse_ino_t ino)
{
    struct mount *mount = mount_of(req);

    fuse_reply_readlink(req, mount->link_targets[node_of_id(mount, ino)->virtual_name]);
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
static bool list_fixed(struct listing *listing, const struct node *directory, uint64_t parent,
                       off_t offset)
{
    int last = directory->is_root ? VIRTUAL_COUNT : 0;

    if (offset < 1 && !list(listing, ".", inode_number(directory->inode), S_IFDIR, 1))
        return false;
    if (offset < 2 && !list(listing, "..", inode_number(parent), S_IFDIR, 2))
        return false;
    for (int i = (int)MAX(offset, 2) - 2; i < last; i++) {
        enum virtual_name name = (enum virtual_name)i;
        mode_t mode = virtual_is_link(name) ? S_IFLNK : S_IFREG;
        if (!list(listing, virtual_text_name(name), inode_number_of_virtual(name), mode, i + 3))
            return false;
    }
    return true;
}

/* With the state's lock held. A name of more than 1024 bytes, which another member may have made,
 * is left out: for one that it does not take a kernel gives up the whole listing (EIO), and one of
 * 4 KiB has no room in it. Nor do kernels look such names up, but for newer ones some of them. What
 * is not listed is told by the log at a start, and by pmxcfsctl db check. */
static void list_entries(struct mount *mount, const struct tree *tree, struct listing *listing,
                         const struct node *directory, off_t offset)
{
    uint64_t after = offset > FIRST_ENTRY_POSITION ? (uint64_t)offset - FIRST_ENTRY_POSITION : 0;
    const struct entry *entry;

    while (!node_is_gone(&mount->nodes, directory) &&
           (entry = tree_next_child(tree, directory->inode, after))) {
        mode_t mode = entry_is_directory(entry) ? S_IFDIR : S_IFREG;
        bool hidden = (directory->is_root && path_is_virtual(entry->name)) ||
                      entry->name_length > NAME_MAX_LISTED;
        if (!hidden && !list(listing, entry->name, inode_number(entry->inode), mode,
                             (off_t)entry->inode + FIRST_ENTRY_POSITION))
            break;
        after = entry->inode;
    }
}

void op_readdir(fuse_req_t req, fuse_ino_t ino, size_t size, off_t offset,
                struct fuse_file_info *file)
{
    struct mount *mount = mount_of(req);
    const struct node *directory = node_of_id(mount, ino);
    g_autofree char *buffer = g_malloc(size);
    struct listing listing = {.req = req, .buffer = buffer, .size = size};

    (void)file;
    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry =
        directory->is_root ? NULL : tree_entry(state->tree, directory->inode);
    uint64_t parent = entry ? entry->parent : 0;
    if (offset >= FIRST_ENTRY_POSITION || list_fixed(&listing, directory, parent, offset))
        list_entries(mount, state->tree, &listing, directory, offset);
    replica_read_unlock(mount->options.replica);
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
