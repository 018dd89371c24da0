/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Application: what every member does with a delivered change. A pure function of draft and change.
 */
#include "core/apply.h"

#include <errno.h>
#include <string.h>

#include "core/digest.h"
#include "core/limits.h"

/* Where a path leads: its directory, its last name, and what is there. */
struct target {
    uint64_t parent;
    const char *name;
    struct entry *entry; /* NULL: nothing yet */
};

/* Finds the directory of `path`: -ENOENT, -ENOTDIR. */
static int find_parent(const struct draft *draft, const char *path, struct target *target)
{
    size_t parent_length;
    int error;

    target->name = path_split(path, &parent_length);
    const struct entry *parent = draft_lookup_bytes(draft, path, parent_length, &error);
    if (error)
        return error;
    if (parent && !entry_is_directory(parent))
        return -ENOTDIR;
    target->parent = parent ? parent->inode : 0;
    return 0;
}

/* The first tests of every change with one path: parent, then name. */
static int find_target(const struct draft *draft, const char *path, struct target *target)
{
    int error = find_parent(draft, path, target);

    if (error)
        return error;
    if (!path_is_name(target->name, strlen(target->name)))
        return -EACCES;
    target->entry = draft_child(draft, target->parent, target->name);
    return 0;
}

/* True if the id of the guest path is registered for another node or type. */
static bool guest_is_elsewhere(const struct draft *draft, const struct guest_path *path)
{
    const struct guest *guest = draft_guest(draft, path->id);

    return guest && !guest_is_at(guest, path);
}

/* A new global version, made by `change`. */
static void raise_version(struct draft *draft, const struct change *change, uint32_t mtime)
{
    draft->root.version++;
    draft->root.writer = change->writer;
    draft->root.mtime = mtime;
}

static struct effect *add_effect(struct draft *draft, const struct change *change,
                                 const void *origin, struct entry *before, struct entry *after)
{
    struct effect *effect = effect_new(change->path, change->to);

    effect->operation = change->operation;
    effect->version = draft->root.version;
    effect->time = change->time;
    effect->writer = change->writer;
    effect->truncated = change->operation == CHANGE_WRITE && change->truncate;
    effect->origin = origin;
    effect->before = entry_ref(before);
    effect->after = entry_ref(after);
    g_ptr_array_add(draft->effects, effect);
    return effect;
}

/* Puts `after` (a reference, which is taken over) in the place of `before`: NULL: nothing was
 * there. Its version is the one that raise_version() has just made. */
static struct effect *put_entry(struct draft *draft, const struct change *change,
                                const void *origin, struct entry *before, struct entry *after)
{
    after->version = draft->root.version;
    after->writer = draft->root.writer;
    after->mtime = draft->root.mtime;
    /* The effect comes first: it keeps `before`, which the draft may be the last to have. */
    struct effect *effect = add_effect(draft, change, origin, before, after);
    draft_put(draft, after);
    return effect;
}

static void make_entry(struct draft *draft, const struct change *change, const void *origin,
                       const struct target *target, uint8_t type)
{
    raise_version(draft, change, change->time);
    put_entry(draft, change, origin, NULL,
              entry_new(draft->root.version, target->parent, type, target->name,
                        strlen(target->name), NULL, 0));
}

static int apply_create(struct draft *draft, const struct change *change, const void *origin)
{
    struct target target;
    struct guest_path guest;
    bool is_guest = path_parse_guest(change->path, &guest);
    int error = find_target(draft, change->path, &target);

    if (error)
        return error;
    if (is_guest && guest_is_elsewhere(draft, &guest))
        return -EEXIST;
    if (target.entry)
        return entry_is_directory(target.entry) ? -ENOTDIR : -EEXIST;
    make_entry(draft, change, origin, &target, ENTRY_FILE);
    if (is_guest)
        draft_register_guest(draft, &guest);
    return 0;
}

static int apply_mkdir(struct draft *draft, const struct change *change, const void *origin)
{
    struct target target;
    int error = find_target(draft, change->path, &target);

    if (error)
        return error;
    if (target.entry)
        return -EEXIST;
    make_entry(draft, change, origin, &target, ENTRY_DIRECTORY);
    return 0;
}

/* The content of `old` with the change's bytes at their offset, `size` bytes in all. NULL: no
 * bytes. */
static struct buffer *written_content(const struct entry *old, const struct change *change,
                                      uint32_t size)
{
    uint32_t old_size = old->content ? old->size : 0;
    uint32_t end = change->offset + change->size;

    if (size == 0)
        return NULL;
    if (change->offset == old_size && size == end)
        return buffer_append(old->content, old_size, change->data, change->size);
    struct buffer *content = buffer_new(size);
    uint32_t kept = MIN(old_size, size);
    if (kept > 0)
        memcpy(content->data, old->content->data, kept);
    if (size > kept)
        memset(content->data + kept, 0, size - kept);
    if (change->size > 0)
        memcpy(content->data + change->offset, change->data, change->size);
    return content;
}

/* The entry as the write leaves it. A file without content starts from nothing; growing one without
 * data stores none (a hole that all implementations know as a size alone). */
static struct entry *written_entry(const struct entry *old, const struct change *change)
{
    uint32_t end = change->offset + change->size;
    uint32_t size = change->truncate || !old->content ? end : MAX(old->size, end);
    bool hole = !old->content && change->size == 0;
    struct entry *entry =
        entry_new(old->inode, old->parent, old->type, old->name, old->name_length, NULL, size);

    entry->content = hole ? NULL : written_content(old, change, size);
    return entry;
}

static int apply_write(struct draft *draft, const struct change *change, const void *origin)
{
    struct target target;
    struct guest_path guest;
    bool is_guest = path_parse_guest(change->path, &guest);

    if ((uint64_t)change->offset + change->size > FILE_SIZE_MAX)
        return -EFBIG;
    int error = find_target(draft, change->path, &target);
    if (error)
        return error;
    if (is_guest && guest_is_elsewhere(draft, &guest))
        return -EEXIST;
    if (!target.entry)
        return -ENOENT;
    if (entry_is_directory(target.entry))
        return -ENOTDIR;
    raise_version(draft, change, change->time);
    put_entry(draft, change, origin, target.entry, written_entry(target.entry, change));
    if (is_guest)
        draft_register_guest(draft, &guest);
    return 0;
}

/* Deletes an entry that may be deleted, whatever was asked for (delete, unlock). */
static void delete_entry(struct draft *draft, const struct change *change, const void *origin,
                         struct entry *entry)
{
    struct guest_path guest;

    raise_version(draft, change, change->time);
    add_effect(draft, change, origin, entry, NULL);
    draft_remove(draft, entry->inode);
    if (path_parse_guest(change->path, &guest))
        draft_unregister_guest(draft, guest.id);
}

static int apply_delete(struct draft *draft, const struct change *change, const void *origin)
{
    int error;
    struct entry *entry = draft_lookup(draft, change->path, &error);

    if (error)
        return error;
    if (!entry)
        return -EACCES;
    if (entry_is_directory(entry) && draft_has_children(draft, entry->inode))
        return -ENOTEMPTY;
    delete_entry(draft, change, origin, entry);
    return 0;
}

/* The guest rule of a rename: only regular files can make a second guest. */
static bool rename_takes_guest(const struct draft *draft, const struct change *change,
                               const struct entry *source)
{
    struct guest_path from;
    struct guest_path to;

    if (entry_is_directory(source) || !path_parse_guest(change->to, &to))
        return false;
    if (path_parse_guest(change->path, &from) && from.id == to.id)
        return false;
    return guest_is_elsewhere(draft, &to);
}

/* All that a rename tests behind the source's existence. */
static int test_rename(const struct draft *draft, const struct change *change,
                       const struct entry *source, struct target *target)
{
    bool directory = entry_is_directory(source);

    if (rename_takes_guest(draft, change, source))
        return -EEXIST;
    if (directory && path_is_below_lock(change->path))
        return -EACCES;
    int error = find_parent(draft, change->to, target);
    target->entry = error ? NULL : draft_child(draft, target->parent, target->name);
    if (target->entry) {
        /* Onto itself: never sent, since it brings other implementations down. */
        if (target->entry == source)
            return -EEXIST;
        if (entry_is_directory(target->entry) && draft_has_children(draft, target->entry->inode))
            return -ENOTEMPTY;
    } else if (error || !path_is_name(target->name, strlen(target->name))) {
        return error ? error : -EACCES;
    }
    if (directory && draft_has_children(draft, source->inode))
        return -ENOTEMPTY;
    /* Below itself would cut it off from the root; every kernel refuses to ask for that. */
    return target->parent == source->inode ? -EINVAL : 0;
}

static void rename_guests(struct draft *draft, const struct change *change)
{
    struct guest_path guest;

    if (path_parse_guest(change->path, &guest))
        draft_unregister_guest(draft, guest.id);
    if (path_parse_guest(change->to, &guest))
        draft_register_guest(draft, &guest);
}

static int apply_rename(struct draft *draft, const struct change *change, const void *origin)
{
    int error;
    struct target target;
    struct entry *source = draft_lookup(draft, change->path, &error);

    if (error)
        return error;
    if (!source || !change->to || !*change->to)
        return -EACCES;
    error = test_rename(draft, change, source, &target);
    if (error)
        return error;
    struct entry *replaced = entry_ref(target.entry);
    raise_version(draft, change, change->time);
    if (replaced)
        draft_remove(draft, replaced->inode);
    struct entry *after =
        entry_clone_renamed(source, target.parent, target.name, strlen(target.name));
    put_entry(draft, change, origin, source, after)->replaced = replaced;
    if (!entry_is_directory(after))
        rename_guests(draft, change);
    return 0;
}

static int apply_mtime(struct draft *draft, const struct change *change, const void *origin)
{
    struct target target;
    int error = *change->path ? find_target(draft, change->path, &target) : -EACCES;

    if (error)
        return error;
    if (!target.entry)
        return -ENOENT;
    if (entry_is_directory(target.entry) && path_is_lock(change->path) &&
        (change->writer != target.entry->writer || change->offset < target.entry->mtime))
        return -EACCES;
    raise_version(draft, change, change->offset);
    put_entry(draft, change, origin, target.entry, entry_clone(target.entry));
    return 0;
}

static int apply_unlock(struct draft *draft, const struct change *change, const void *origin)
{
    uint8_t digest[DIGEST_SIZE];
    int error;
    struct entry *entry = draft_lookup(draft, change->path, &error);

    if (error)
        return error;
    if (!entry || !entry_is_directory(entry) || !path_is_below_lock(change->path))
        return -EACCES;
    lock_digest(entry, digest);
    if (memcmp(digest, change->digest, DIGEST_SIZE) != 0)
        return -EACCES;
    if (draft_has_children(draft, entry->inode))
        return -ENOTEMPTY;
    delete_entry(draft, change, origin, entry);
    return 0;
}

int apply(struct draft *draft, const struct change *change, const void *origin)
{
    if (!change->path)
        return -EINVAL;
    switch (change->operation) {
    case CHANGE_WRITE:
        return apply_write(draft, change, origin);
    case CHANGE_MKDIR:
        return apply_mkdir(draft, change, origin);
    case CHANGE_DELETE:
        return apply_delete(draft, change, origin);
    case CHANGE_RENAME:
        return apply_rename(draft, change, origin);
    case CHANGE_CREATE:
        return apply_create(draft, change, origin);
    case CHANGE_MTIME:
        return apply_mtime(draft, change, origin);
    case CHANGE_UNLOCK_REQUEST:
        return 0;
    case CHANGE_UNLOCK:
        return apply_unlock(draft, change, origin);
    }
    return -EINVAL;
}
