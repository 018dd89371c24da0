/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replicated state of a node: tree, guest list, lock ages. */
#include "core/state.h"

#include <errno.h>
#include <string.h>

#include "core/digest.h"
#include "core/key.h"

/* Gives a guest a new version, at its path; those of old are used again, since freeing and making
 * thousands of them would hold up readers. */
static void register_guest(struct guest_list *guests, const struct guest_path *path)
{
    struct guest *guest = g_hash_table_lookup(guests->by_id, INODE_KEY(path->id));
    uint64_t version = ++guests->last_version;

    if (guest && guest_is_at(guest, path))
        guest->version = version;
    else
        g_hash_table_insert(guests->by_id, INODE_KEY(path->id), guest_new(path, version));
}

static gboolean is_older(gpointer id, gpointer guest, gpointer version)
{
    (void)id;
    return ((struct guest *)guest)->version <= *(uint64_t *)version;
}

/* Registers the guests whose configurations are in a directory; `path` is its path with a slash,
 * and is so again at the end. */
static void register_guests_in(struct state *state, const struct entry *directory, GString *path)
{
    const struct entry *child;
    gsize length = path->len;

    for (uint64_t after = 0; (child = tree_next_child(state->tree, directory->inode, after));
         after = child->inode) {
        struct guest_path guest;
        if (entry_is_directory(child))
            continue;
        g_string_append_len(path, child->name, child->name_length);
        if (path_parse_guest(path->str, &guest))
            register_guest(&state->guests, &guest);
        g_string_truncate(path, length);
    }
}

/* The guest list anew, by way of the directories that can have guests: readers wait meanwhile. */
static void rebuild_guests(struct state *state)
{
    const struct tree *tree = state->tree;
    const struct entry *nodes = tree_child(tree, 0, "nodes");
    const struct entry *node;
    const struct entry *directory;
    uint64_t version = state->guests.last_version;
    g_autoptr(GString) path = g_string_new(NULL);

    for (uint64_t after = 0; nodes && (node = tree_next_child(tree, nodes->inode, after));
         after = node->inode) {
        for (uint64_t last = 0; (directory = tree_next_child(tree, node->inode, last));
             last = directory->inode) {
            g_string_printf(path, "nodes/%s/%s", node->name, directory->name);
            if (!path_is_guest_directory(path->str))
                continue;
            g_string_append_c(path, '/');
            register_guests_in(state, directory, path);
        }
    }
    g_hash_table_foreach_remove(state->guests.by_id, is_older, &version);
}

/* True if nothing differs that the lock digests of two directories are made of. */
static bool is_same_lock(const struct entry *lock, const struct entry *other)
{
    return lock->inode == other->inode && lock->version == other->version &&
           lock->writer == other->writer && lock->mtime == other->mtime &&
           lock->size == other->size && name_equal(lock, other);
}

static void lock_free(gpointer pointer)
{
    struct lock_age *lock = pointer;

    entry_unref(lock->directory);
    g_free(lock);
}

/* Notes a lock directory: one whose digest is new starts its age anew. */
static void note_lock(struct state *state, struct entry *directory, uint64_t now)
{
    struct lock_age *lock = g_hash_table_lookup(state->locks, INODE_KEY(directory->inode));

    if (lock && is_same_lock(lock->directory, directory))
        return;
    lock = g_new(struct lock_age, 1);
    *lock = (struct lock_age){.directory = entry_ref(directory), .since = now};
    g_hash_table_insert(state->locks, INODE_KEY(directory->inode), lock);
}

/* True if the path of `entry` begins with priv/lock/. */
static bool is_below_lock(const struct tree *tree, const struct entry *entry)
{
    const struct entry *second = NULL; /* the second directory of the path, as far as is known */
    const struct entry *third = NULL;

    while (entry && entry->parent != 0) {
        third = second;
        second = entry;
        entry = tree_entry(tree, entry->parent);
    }
    return entry && third && strcmp(entry->name, "priv") == 0 && strcmp(second->name, "lock") == 0;
}

void state_update_lock(struct state *state, uint64_t inode, struct entry *entry, uint64_t now)
{
    if (entry && !entry_is_directory(entry))
        return; /* numbers are not given twice but by a commit */
    if (entry && is_below_lock(state->tree, entry))
        note_lock(state, entry, now);
    else
        g_hash_table_remove(state->locks, INODE_KEY(inode));
}

/* Notes all directories below one, however deep a foreign database has them, and adds them to
 * `seen`. */
static void note_locks_below(struct state *state, uint64_t directory, uint64_t now,
                             GHashTable *seen)
{
    g_autoptr(GArray) pending = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    struct entry *child;

    g_array_append_val(pending, directory);
    while (pending->len > 0) {
        uint64_t inode = g_array_index(pending, uint64_t, pending->len - 1);
        g_array_set_size(pending, pending->len - 1);
        for (uint64_t after = 0; (child = tree_next_child(state->tree, inode, after));
             after = child->inode) {
            if (!entry_is_directory(child))
                continue;
            note_lock(state, child, now);
            g_hash_table_add(seen, INODE_KEY(child->inode));
            g_array_append_val(pending, child->inode);
        }
    }
}

static gboolean is_not_seen(gpointer inode, gpointer lock, gpointer seen)
{
    (void)lock;
    return !g_hash_table_contains(seen, inode);
}

/* All locks anew; those whose digest did not change keep their age. */
static void rebuild_locks(struct state *state, uint64_t now)
{
    int error;
    const struct entry *directory = tree_lookup(state->tree, "priv/lock", &error);
    g_autoptr(GHashTable) seen = g_hash_table_new(g_direct_hash, NULL);

    if (directory && entry_is_directory(directory))
        note_locks_below(state, directory->inode, now, seen);
    g_hash_table_foreach_remove(state->locks, is_not_seen, seen);
}

void state_rebuild(struct state *state, uint64_t now)
{
    rebuild_guests(state);
    rebuild_locks(state, now);
}

struct state *state_new(struct tree *tree, uint64_t now)
{
    struct state *state = g_new0(struct state, 1);

    state->tree = tree;
    state->guests.by_id = g_hash_table_new_full(g_direct_hash, NULL, NULL, g_free);
    state->locks = g_hash_table_new_full(g_direct_hash, NULL, NULL, lock_free);
    state_rebuild(state, now);
    return state;
}

struct tree *state_give_tree(struct state *state)
{
    struct tree *tree = g_steal_pointer(&state->tree);

    state_free(state);
    return tree;
}

void state_free(struct state *state)
{
    if (!state)
        return;
    g_hash_table_unref(state->locks);
    g_hash_table_unref(state->guests.by_id);
    tree_free(state->tree);
    g_free(state);
}

const struct lock_age *state_lock(const struct state *state, uint64_t inode)
{
    return g_hash_table_lookup(state->locks, INODE_KEY(inode));
}

int64_t state_lock_age(const struct state *state, const char *path, const uint8_t *digest,
                       uint64_t now)
{
    int error;
    const struct entry *entry = tree_lookup(state->tree, path, &error);

    if (!entry || !path_is_below_lock(path))
        return -ENOENT;
    const struct lock_age *lock = state_lock(state, entry->inode);
    if (!lock)
        return -ENOENT;
    if (digest) {
        uint8_t known[DIGEST_SIZE];
        lock_digest(lock->directory, known);
        if (memcmp(known, digest, DIGEST_SIZE) != 0)
            return -ENOENT;
    }
    return now > lock->since ? (int64_t)(now - lock->since) : 0;
}
