/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One file or directory of the tree: immutable once it is in a tree or a draft, reference-counted.
 */
#include "core/entry.h"

#include <glib.h>
#include <string.h>

struct entry *entry_new(uint64_t inode, uint64_t parent, uint8_t type, const char *name,
                        size_t name_length, struct buffer *content, uint32_t size)
{
    struct entry *entry = g_malloc(sizeof(*entry) + name_length + 1);
    char *own_name = (char *)(entry + 1);

    *entry = (struct entry){
        .inode = inode,
        .parent = parent,
        .size = size,
        .type = type,
        .content = buffer_ref(content),
        .name_length = (uint32_t)name_length,
        .name = own_name,
    };
    atomic_init(&entry->references, 1);
    memcpy(own_name, name, name_length);
    own_name[name_length] = '\0';
    return entry;
}

struct entry *entry_clone(const struct entry *entry)
{
    return entry_clone_renamed(entry, entry->parent, entry->name, entry->name_length);
}

struct entry *entry_clone_renamed(const struct entry *entry, uint64_t parent, const char *name,
                                  size_t name_length)
{
    struct entry *copy = entry_new(entry->inode, parent, entry->type, name, name_length,
                                   entry->content, entry->size);

    copy->version = entry->version;
    copy->writer = entry->writer;
    copy->mtime = entry->mtime;
    return copy;
}

bool entry_same_place(const struct entry *first, const struct entry *second)
{
    return first->parent == second->parent && first->type == second->type &&
           strcmp(first->name, second->name) == 0;
}

struct entry *entry_ref(struct entry *entry)
{
    if (entry)
        atomic_fetch_add_explicit(&entry->references, 1, memory_order_relaxed);
    return entry;
}

void entry_unref(struct entry *entry)
{
    if (!entry || atomic_fetch_sub_explicit(&entry->references, 1, memory_order_acq_rel) != 1)
        return;
    buffer_unref(entry->content);
    g_free(entry);
}

void entry_destroy(void *entry)
{
    entry_unref(entry);
}
