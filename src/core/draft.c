/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A draft: changes over a state that only the writer sees until they are stored and published. */
#include "core/draft.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "core/key.h"
#include "core/state.h"

struct effect *effect_new(const char *path, const char *to)
{
    size_t path_size = path ? strlen(path) + 1 : 0;
    size_t to_size = to ? strlen(to) + 1 : 0;
    struct effect *effect = g_malloc(sizeof(*effect) + path_size + to_size);
    char *text = (char *)(effect + 1);

    *effect = (struct effect){.path = path ? text : NULL, .to = to ? text + path_size : NULL};
    if (path)
        memcpy(text, path, path_size);
    if (to)
        memcpy(text + path_size, to, to_size);
    return effect;
}

static void effect_destroy(gpointer pointer)
{
    struct effect *effect = pointer;

    entry_unref(effect->before);
    entry_unref(effect->after);
    entry_unref(effect->replaced);
    g_free(effect);
}

GPtrArray *draft_effects_new(void)
{
    return g_ptr_array_new_with_free_func(effect_destroy);
}

void draft_effects_own(GPtrArray *effects)
{
    g_ptr_array_set_free_func(effects, effect_destroy);
}

struct draft *draft_new(const struct state *base)
{
    struct draft *draft = g_new0(struct draft, 1);

    draft->base = base;
    draft->entries = g_hash_table_new_full(g_direct_hash, NULL, NULL, entry_destroy);
    draft->names = g_hash_table_new_full(name_hash, name_equal, entry_destroy, NULL);
    draft->children = g_hash_table_new(g_direct_hash, NULL);
    draft->guests = g_hash_table_new_full(g_direct_hash, NULL, NULL, g_free);
    draft->changes = g_array_new(FALSE, FALSE, sizeof(struct draft_change));
    draft->effects = draft_effects_new();
    draft_restart(draft);
    return draft;
}

/* Gives the references to the names' entries back. Stealing leaves the table its memory, unlike
 * removing. */
static void forget_names(GHashTable *names)
{
    GHashTableIter iter;
    gpointer key;

    if (g_hash_table_size(names) == 0)
        return;
    g_hash_table_iter_init(&iter, names);
    while (g_hash_table_iter_next(&iter, &key, NULL))
        entry_unref(key);
    g_hash_table_steal_all(names);
}

void draft_restart(struct draft *draft)
{
    forget_names(draft->names);
    g_hash_table_remove_all(draft->entries);
    g_hash_table_remove_all(draft->children);
    g_hash_table_remove_all(draft->guests);
    draft->root = draft->base->tree->root;
    draft->bytes = draft->base->tree->bytes;
    draft->guest_version = draft->base->guests.last_version;
    draft->rebuild = false;
}

void draft_free(struct draft *draft)
{
    if (!draft)
        return;
    g_hash_table_unref(draft->names);
    g_hash_table_unref(draft->entries);
    g_hash_table_unref(draft->children);
    g_hash_table_unref(draft->guests);
    g_array_unref(draft->changes);
    g_ptr_array_unref(draft->effects);
    g_free(draft);
}

GPtrArray *draft_take_effects(struct draft *draft)
{
    GPtrArray *effects = draft->effects;

    draft->effects = draft_effects_new();
    return effects;
}

bool draft_is_empty(const struct draft *draft)
{
    return g_hash_table_size(draft->entries) == 0 &&
           memcmp(&draft->root, &draft->base->tree->root, sizeof(draft->root)) == 0;
}

/* True if the draft changes an inode: into *entry, NULL if it is deleted. */
static bool find_change(const struct draft *draft, uint64_t inode, struct entry **entry)
{
    gpointer changed;

    if (g_hash_table_size(draft->entries) == 0 ||
        !g_hash_table_lookup_extended(draft->entries, INODE_KEY(inode), NULL, &changed))
        return false;
    *entry = changed;
    return true;
}

struct entry *draft_entry(const struct draft *draft, uint64_t inode)
{
    struct entry *entry;

    return find_change(draft, inode, &entry) ? entry : tree_entry(draft->base->tree, inode);
}

/* As draft_child(); `name` ends after `length` bytes. */
static struct entry *find_child(const struct draft *draft, uint64_t parent, const char *name,
                                size_t length)
{
    gpointer inode;

    if (g_hash_table_size(draft->names) > 0 &&
        g_hash_table_lookup_extended(draft->names, NAME_KEY(parent, name, length), NULL, &inode))
        return inode ? draft_entry(draft, (uintptr_t)inode) : NULL;
    struct entry *entry = tree_named(draft->base->tree, parent, name, length);
    if (entry)
        find_change(draft, entry->inode, &entry);
    return entry;
}

struct entry *draft_child(const struct draft *draft, uint64_t parent, const char *name)
{
    return find_child(draft, parent, name, strlen(name));
}

struct entry *draft_lookup(const struct draft *draft, const char *path, int *error)
{
    return draft_lookup_bytes(draft, path, strlen(path), error);
}

struct entry *draft_lookup_bytes(const struct draft *draft, const char *path, size_t size,
                                 int *error)
{
    const char *end = path + size;
    struct entry *entry = NULL;
    size_t length;

    *error = 0;
    while (path < end) {
        if (entry && !entry_is_directory(entry)) {
            *error = -ENOTDIR;
            return NULL;
        }
        const char *name = path_next_name(&path, end, &length);
        entry = find_child(draft, entry ? entry->inode : 0, name, length);
        if (!entry) {
            *error = -ENOENT;
            return NULL;
        }
    }
    return entry;
}

/* The bytes of a path with its NUL; 0: it does not lead to the root. However deep it is: members
 * apply a change at any depth. In a circle one comes by the same place again, of which there is a
 * new one after 1, 2, 4 ... levels. */
static size_t path_size(const struct draft *draft, const struct entry *entry)
{
    size_t size = entry->name_length + 1;
    uint64_t place = entry->inode;
    uint64_t level = 0;
    uint64_t next = 1;

    while (entry->parent != 0) {
        entry = draft_entry(draft, entry->parent);
        if (!entry || !entry_is_directory(entry) || entry->inode == place)
            return 0;
        size += entry->name_length + 1;
        if (++level == next) {
            place = entry->inode;
            next *= 2;
        }
    }
    return size;
}

char *draft_path(const struct draft *draft, const struct entry *entry)
{
    size_t size = path_size(draft, entry);

    if (size == 0)
        return NULL;
    /* From its end to its beginning, as the tree leads. */
    char *path = g_malloc(size);
    char *to = path + size;
    for (*--to = '\0';; *--to = '/') {
        to -= entry->name_length;
        memcpy(to, entry->name, entry->name_length);
        if (entry->parent == 0)
            return path;
        entry = draft_entry(draft, entry->parent);
    }
}

bool draft_has_children(const struct draft *draft, uint64_t inode)
{
    int delta = GPOINTER_TO_INT(g_hash_table_lookup(draft->children, INODE_KEY(inode)));

    return (int64_t)tree_child_count(draft->base->tree, inode) + delta > 0;
}

static int compare_changes(gconstpointer a, gconstpointer b)
{
    const struct draft_change *first = a;
    const struct draft_change *second = b;

    return (first->inode > second->inode) - (first->inode < second->inode);
}

const GArray *draft_changes(const struct draft *draft)
{
    GArray *changes = draft->changes;
    GHashTableIter iter;
    gpointer inode;
    gpointer entry;

    g_array_set_size(changes, g_hash_table_size(draft->entries));
    g_hash_table_iter_init(&iter, draft->entries);
    for (guint i = 0; g_hash_table_iter_next(&iter, &inode, &entry); i++)
        g_array_index(changes, struct draft_change, i) =
            (struct draft_change){(uintptr_t)inode, entry};
    if (changes->len > 1)
        g_array_sort(changes, compare_changes);
    return changes;
}

GPtrArray *draft_sorted(const struct draft *draft)
{
    GPtrArray *base = tree_sorted(draft->base->tree);
    guint at = 0;

    if (g_hash_table_size(draft->entries) == 0)
        return base;
    const GArray *changes = draft_changes(draft);
    GPtrArray *sorted = g_ptr_array_sized_new(base->len + changes->len);
    for (guint i = 0; i < changes->len; i++) {
        const struct draft_change *change = &g_array_index(changes, struct draft_change, i);
        struct entry *entry = NULL;
        while (at < base->len && (entry = base->pdata[at])->inode < change->inode) {
            g_ptr_array_add(sorted, entry);
            at++;
        }
        if (at < base->len && entry->inode == change->inode)
            at++;
        if (change->entry)
            g_ptr_array_add(sorted, change->entry);
    }
    for (; at < base->len; at++)
        g_ptr_array_add(sorted, base->pdata[at]);
    g_ptr_array_unref(base);
    return sorted;
}

const struct guest *draft_guest(const struct draft *draft, uint32_t id)
{
    gpointer guest;

    if (g_hash_table_lookup_extended(draft->guests, INODE_KEY(id), NULL, &guest))
        return guest;
    return g_hash_table_lookup(draft->base->guests.by_id, INODE_KEY(id));
}

static void count_child(struct draft *draft, uint64_t directory, int delta)
{
    gpointer key = INODE_KEY(directory);
    int old = GPOINTER_TO_INT(g_hash_table_lookup(draft->children, key));

    g_hash_table_insert(draft->children, key, GINT_TO_POINTER(old + delta));
}

/* Notes that the name of `entry` is another inode's now, 0: nobody's. */
static void give_name(struct draft *draft, struct entry *entry, uint64_t inode)
{
    g_hash_table_insert(draft->names, entry_ref(entry), INODE_KEY(inode));
}

/* True if an entry's name is its own, and not one that another took over, as happens on the way
 * through a synchronisation. In the tree below the draft all names are their entries' own. */
static bool has_name(const struct draft *draft, const struct entry *entry)
{
    return g_hash_table_size(draft->names) == 0 ||
           find_child(draft, entry->parent, entry->name, entry->name_length) == entry;
}

static void leave_directory(struct draft *draft, struct entry *old)
{
    if (has_name(draft, old))
        give_name(draft, old, 0);
    count_child(draft, old->parent, -1);
}

void draft_put(struct draft *draft, struct entry *entry)
{
    struct entry *old = draft_entry(draft, entry->inode);
    bool stays = old && name_equal(old, entry);

    assert(entry->inode != 0); /* the root is no entry */
    if (old) {
        assert(draft->bytes >= old->size);
        draft->bytes -= old->size;
        if (!stays)
            leave_directory(draft, old);
    }
    if (!stays)
        count_child(draft, entry->parent, 1);
    if (!stays || !has_name(draft, old))
        give_name(draft, entry, entry->inode);
    draft->bytes += entry->size;
    g_hash_table_insert(draft->entries, INODE_KEY(entry->inode), entry);
}

void draft_remove(struct draft *draft, uint64_t inode)
{
    struct entry *old = draft_entry(draft, inode);

    if (!old)
        return;
    leave_directory(draft, old);
    assert(draft->bytes >= old->size);
    draft->bytes -= old->size;
    g_hash_table_insert(draft->entries, INODE_KEY(inode), NULL);
}

void draft_register_guest(struct draft *draft, const struct guest_path *path)
{
    g_hash_table_insert(draft->guests, INODE_KEY(path->id),
                        guest_new(path, ++draft->guest_version));
}

void draft_unregister_guest(struct draft *draft, uint32_t id)
{
    g_hash_table_insert(draft->guests, INODE_KEY(id), NULL);
}

/* What is wrong with an entry by itself and in its directory; NULL: nothing. */
static const char *entry_problem(const struct draft *draft, const struct entry *entry)
{
    if (!path_is_name(entry->name, entry->name_length))
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

/* Whether a directory's way up, of at most `most` entries, ends at the root. All on a way that does
 * are put into `reached`, so that each is gone by once. */
static bool is_reached(const struct draft *draft, const struct entry *directory, guint most,
                       GHashTable *reached)
{
    g_autoptr(GPtrArray) way = g_ptr_array_new();
    const struct entry *entry = directory;

    while (!g_hash_table_contains(reached, INODE_KEY(entry->inode))) {
        g_ptr_array_add(way, INODE_KEY(entry->inode));
        if (entry->parent == 0)
            break;
        entry = draft_entry(draft, entry->parent);
        if (!entry || !entry_is_directory(entry) || way->len > most)
            return false;
    }
    for (guint i = 0; i < way->len; i++)
        g_hash_table_add(reached, way->pdata[i]);
    return true;
}

int draft_check(const struct draft *draft, char **problem)
{
    g_autoptr(GPtrArray) sorted = draft_sorted(draft);
    g_autoptr(GHashTable) reached = g_hash_table_new(g_direct_hash, NULL);

    for (guint i = 0; i < sorted->len; i++) {
        const struct entry *entry = sorted->pdata[i];
        const char *what = entry_problem(draft, entry);
        if (!what && entry_is_directory(entry) && !is_reached(draft, entry, sorted->len, reached))
            what = "does not lead to the root";
        if (what) {
            *problem = g_strdup_printf("inode %" G_GUINT64_FORMAT " (%s) %s", entry->inode,
                                       entry->name, what);
            return -EBADMSG;
        }
    }
    return 0;
}

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
