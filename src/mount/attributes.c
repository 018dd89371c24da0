/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stat shows: owner, modes with and without quorum, sizes, times (doc/filesystem.md,
 * Attributes). */
#include <string.h>

#include "mount/internal.h"

#define BLOCK_SIZE 4096
#define ROOT_NUMBER                                                                                \
    1 /* no entry ever has this inode number: the first change of all makes number 2 */
#define FIRST_VIRTUAL_NUMBER 0x7fffffffffff0000ull

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

void attributes_of_entry(const struct mount *mount, const struct entry *entry, const char *path,
                         struct stat *attributes)
{
    bool quorate = replica_is_quorate(mount->options.replica);
    /* What is gone has no path; nobody can reach it but through what was open. */
    bool private = !path || path_is_private(path);

    set_common(mount, attributes);
    attributes->st_ino = entry->inode;
    attributes->st_mtime = attributes->st_ctime = attributes->st_atime = (time_t)entry->mtime;
    if (entry_is_directory(entry)) {
        attributes->st_mode = S_IFDIR | directory_mode(private, quorate);
        attributes->st_nlink = 2;
        return;
    }
    attributes->st_mode = S_IFREG | file_mode(private, quorate);
    if (is_legacy_script(entry->name))
        attributes->st_mode |= 0100;
    set_size(attributes, entry->size);
}

void attributes_of_root(const struct mount *mount, struct stat *attributes)
{
    set_common(mount, attributes);
    attributes->st_ino = ROOT_NUMBER;
    attributes->st_mode = S_IFDIR | 0755;
    attributes->st_nlink = 2;
}

void attributes_of_virtual(const struct mount *mount, const struct node *node,
                           struct stat *attributes)
{
    set_common(mount, attributes);
    attributes->st_ino = FIRST_VIRTUAL_NUMBER + (ino_t)node->virtual_name;
    if (virtual_is_link(node->virtual_name)) {
        attributes->st_mode = S_IFLNK | (atomic_load(&mount->links_quorate) ? 0755 : 0555);
        attributes->st_size = (off_t)strlen(mount->link_targets[node->virtual_name]);
        return;
    }
    attributes->st_mode = S_IFREG | (node->virtual_name == VIRTUAL_DEBUG ? 0640 : 0440);
    set_size(attributes, node->text->capacity);
}

void attributes_of_node(struct mount *mount, const struct node *node, struct stat *attributes)
{
    if (node->virtual_name != VIRTUAL_NONE) {
        attributes_of_virtual(mount, node, attributes);
        return;
    }
    g_autofree char *path = NULL;
    struct entry *entry = node_entry(mount, node, &path);
    if (entry)
        attributes_of_entry(mount, entry, path, attributes);
    else
        attributes_of_root(mount, attributes);
    if (entry && !path)
        attributes->st_nlink = 0;
    entry_unref(entry);
}
