/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stat shows: owner, modes with and without quorum, sizes, times (doc/filesystem.md,
 * Attributes). */
#include <string.h>

#include "kernel/inode_number.h"
#include "mount/context.h"

#define BLOCK_SIZE 4096

static void set_common(const struct mount *mount, struct stat *attributes)
{
    memset(attributes, 0, sizeof(*attributes));
    attributes->st_gid = mount->options.group;
    attributes->st_blksize = BLOCK_SIZE;
    attributes->st_nlink = 1;
}

static void set_size(struct stat *attributes, size_t size)
{
    attributes->st_size = (off_t)size;
    attributes->st_blocks = (blkcnt_t)((size + BLOCK_SIZE - 1) / BLOCK_SIZE * (BLOCK_SIZE / 512));
}

/* vps.ACTION and <digits>.ACTION: scripts of old, which their owner may execute. */
static bool is_legacy_script(const char *name)
{
    static const char *const actions[] = {"mount", "umount",   "start",
                                          "stop",  "premount", "postumount"};
    size_t digits = strspn(name, "0123456789");
    const char *dot = strncmp(name, "vps.", 4) == 0 ? name + 3 : name + digits;

    if (dot == name || *dot != '.')
        return false;
    for (size_t i = 0; i < G_N_ELEMENTS(actions); i++) {
        if (strcmp(dot + 1, actions[i]) == 0)
            return true;
    }
    return false;
}

static mode_t directory_mode(bool private, bool quorate)
{
    if (private)
        return quorate ? 0700 : 0500;
    return quorate ? 0755 : 0555;
}

static mode_t file_mode(bool private, bool quorate)
{
    if (private)
        return quorate ? 0600 : 0400;
    return quorate ? 0640 : 0440;
}

static void attributes_of_root(const struct mount *mount, struct stat *attributes)
{
    set_common(mount, attributes);
    attributes->st_ino = INODE_NUMBER_ROOT;
    attributes->st_mode = S_IFDIR | 0755;
    attributes->st_nlink = 2;
}

static void attributes_of_virtual(const struct mount *mount, const struct node *node,
                                  struct stat *attributes)
{
    set_common(mount, attributes);
    attributes->st_ino = inode_number_of_virtual(node->virtual_name);
    if (virtual_is_link(node->virtual_name)) {
        bool quorate = atomic_load(&mount->notifier.links_quorate);
        attributes->st_mode = S_IFLNK | (quorate ? 0755 : 0555);
        attributes->st_size = (off_t)strlen(mount->link_targets[node->virtual_name]);
        return;
    }
    attributes->st_mode = S_IFREG | (node->virtual_name == VIRTUAL_DEBUG ? 0640 : 0440);
    set_size(attributes, node->text->capacity);
}

static void attributes_of_view(const struct mount *mount, const struct node_view *view,
                               const char *path, struct stat *attributes)
{
    const struct entry *entry = view->entry;
    bool quorate = replica_is_quorate(mount->options.replica);
    bool private = view->gone ? view->private : path_is_private(path);
    int64_t mtime = view->emptied && !view->gone ? view->emptied_at : entry->mtime;

    set_common(mount, attributes);
    attributes->st_ino = inode_number(entry->inode);
    attributes->st_mtime = attributes->st_ctime = attributes->st_atime = (time_t)mtime;
    if (entry_is_directory(entry)) {
        attributes->st_mode = S_IFDIR | directory_mode(private, quorate);
        attributes->st_nlink = view->gone ? 0 : 2;
        return;
    }
    attributes->st_mode = S_IFREG | file_mode(private, quorate);
    attributes->st_nlink = view->gone ? 0 : 1;
    if (is_legacy_script(entry->name))
        attributes->st_mode |= 0100;
    set_size(attributes, view->emptied ? 0 : entry->size);
}

bool attributes_of_entry(struct mount *mount, struct node *node, const struct state *state,
                         const char *path, struct stat *attributes)
{
    struct node_view view;

    node_view(&mount->nodes, node, state->tree, &view);
    attributes_of_view(mount, &view, path, attributes);
    entry_unref(view.entry);
    return !view.passing;
}

bool attributes_of_node(struct mount *mount, struct node *node, struct stat *attributes)
{
    g_autofree char *path = NULL;

    if (node->virtual_name != VIRTUAL_NONE) {
        attributes_of_virtual(mount, node, attributes);
        return true;
    }
    if (node->is_root) {
        attributes_of_root(mount, attributes);
        return true;
    }
    const struct state *state = replica_read_lock(mount->options.replica);
    path = node_path(&mount->nodes, node, state->tree);
    bool lasts = attributes_of_entry(mount, node, state, path, attributes);
    replica_read_unlock(mount->options.replica);
    return lasts;
}
