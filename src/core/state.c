/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The replicated state of a node: tree, guest list, lock ages. */
#include "core/state.h"

#include <errno.h>
#include <string.h>

#include "core/digest.h"
#include "core/key.h"

/* With more changes than that the order of all entries is made anew. */
#define ORDER_KEPT_MAX 256u

/* Only nodes/NODE/TYPE/ID.conf can be a guest: three levels up is the directory "nodes" in the
 * root. */
static char *guest_path_of(const struct draft *draft, const struct entry *entry,
                           struct guest_path *guest)
{
    if (entry->type != ENTRY_FILE || !g_str_has_suffix(entry->name, ".conf"))
        return NULL;
    char *path = draft_path(draft, entry);
    if (path && path_parse_guest(path, guest))
        return path;
    g_free(path);
    return NULL;
}

bool draft_find_duplicate_guest(const struct draft *draft, uint32_t *id, char **first,
                                char **second)
{
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);
    g_autoptr(GHashTable) seen = g_hash_table_new_full(g_direct_hash, NULL, NULL, g_free);

    for (guint i = 0; i < sorted->len; i++) {
        struct guest_path guest;
        char *path = guest_path_of(draft, sorted->pdata[i], &guest);
        if (!path)
            continue;
        const char *other = g_hash_table_lookup(seen, INODE_KEY(guest.id));
        if (other) {
            *id = guest.id;
            *first = g_strdup(other);
            *second = path;
            return true;
        }
        g_hash_table_insert(seen, INODE_KEY(guest.id), path);
    }
    return false;
}

/* Gives a guest a new version, at its place; those of old are used again, since freeing and making
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
           lock->size == other->size && place_equal(lock, other);
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

/* The lock table's part of one change. */
static void update_lock(struct state *state, const struct draft_change *change, uint64_t now)
{
    if (change->entry && !entry_is_directory(change->entry))
        return; /* numbers are not given twice but by a commit */
    if (change->entry && is_below_lock(state->tree, change->entry))
        note_lock(state, change->entry, now);
    else
        g_hash_table_remove(state->locks, INODE_KEY(change->inode));
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

struct state *state_new(struct tree *tree, uint64_t now)
{
    struct state *state = g_new0(struct state, 1);

    state->tree = tree;
    state->guests.by_id = g_hash_table_new_full(g_direct_hash, NULL, NULL, g_free);
    state->locks = g_hash_table_new_full(g_direct_hash, NULL, NULL, lock_free);
    rebuild_guests(state);
    rebuild_locks(state, now);
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

/* Moves the draft's entries into the tree. */
static void publish_entries(struct tree *tree, struct draft *draft, const GArray *changes)
{
    if (changes->len > ORDER_KEPT_MAX)
        tree_forget_order(tree);
    /* In ascending order: directories' lists grow at their end then. */
    for (guint i = 0; i < changes->len; i++) {
        const struct draft_change *change = &g_array_index(changes, struct draft_change, i);
        if (change->entry)
            tree_put(tree, change->entry);
        else
            tree_remove(tree, change->inode);
    }
    g_hash_table_steal_all(draft->entries);
    tree->root = draft->root;
}

static void publish_guests(struct guest_list *guests, struct draft *draft)
{
    GHashTableIter iter;
    gpointer id;
    gpointer guest;

    if (g_hash_table_size(draft->guests) == 0)
        return;
    g_hash_table_iter_init(&iter, draft->guests);
    while (g_hash_table_iter_next(&iter, &id, &guest)) {
        g_hash_table_iter_steal(&iter);
        if (guest)
            g_hash_table_insert(guests->by_id, id, guest);
        else
            g_hash_table_remove(guests->by_id, id);
    }
    guests->last_version = draft->guest_version;
}

void state_publish(struct state *state, struct draft *draft, uint64_t now)
{
    const GArray *changes = draft_changes(draft);

    publish_entries(state->tree, draft, changes);
    publish_guests(&state->guests, draft);
    if (draft->rebuild) {
        rebuild_guests(state);
        rebuild_locks(state, now);
    } else {
        for (guint i = 0; i < changes->len; i++)
            update_lock(state, &g_array_index(changes, struct draft_change, i), now);
    }
    draft_restart(draft);
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

/* What is wrong with an entry by itself and in its directory; NULL: nothing. */
static const char *entry_problem(const struct draft *draft, const struct entry *entry)
{
    if (entry->name_length == 0 || strlen(entry->name) != entry->name_length ||
        strchr(entry->name, '/') || strcmp(entry->name, ".") == 0 || strcmp(entry->name, "..") == 0)
        return "has a name that no file can have";
    if (entry_is_directory(entry) && entry->content)
        return "is a directory with data";
    if (draft_child(draft, entry->parent, entry->name) != entry)
        return "has the name of another entry in its directory";
    if (entry->parent != 0) {
        const struct entry *parent = draft_entry(draft, entry->parent);
        if (!parent || !entry_is_directory(parent))
            return "has a parent that is missing or no directory";
    }
    return NULL;
}

int draft_check(const struct draft *draft, char **problem)
{
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);

    for (guint i = 0; i < sorted->len; i++) {
        const struct entry *entry = sorted->pdata[i];
        const char *what = entry_problem(draft, entry);
        if (!what && entry_is_directory(entry)) {
            g_autofree char *path = draft_path(draft, entry);
            what = path ? NULL : "does not lead to the root";
        }
        if (what) {
            *problem = g_strdup_printf("inode %" G_GUINT64_FORMAT " (%s) %s", entry->inode,
                                       entry->name, what);
            return -EBADMSG;
        }
    }
    return 0;
}
