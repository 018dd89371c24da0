/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Safety copies: what a synchronisation takes away from this node is kept beside the database. */
#include "store/safety.h"

#include <glib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/log.h"
#include "core/digest.h"
#include "core/state.h"
#include "journal/quarantine.h"
#include "store/file.h"
#include "store/write.h"

#define NAMES_LOGGED_MAX 20u

/* The highest version that this node and the leader surely have in common: that of an entry that
 * stays as it is. */
static uint64_t common_version(const struct draft *draft)
{
    GHashTableIter iter;
    gpointer inode;
    gpointer entry;
    uint64_t common = 0;

    g_hash_table_iter_init(&iter, draft->base->tree->entries);
    while (g_hash_table_iter_next(&iter, &inode, &entry)) {
        if (!g_hash_table_contains(draft->entries, inode))
            common = MAX(common, ((struct entry *)entry)->version);
    }
    return common;
}

/* True if the leader made another change under a version number that this node had used already:
 * the two went different ways. A node that was merely away gets higher versions only. */
static bool has_diverged(const struct draft *draft)
{
    GHashTableIter iter;
    gpointer pointer;
    uint64_t own = draft->base->tree->root.version;

    if (draft->root.version <= own)
        return true;
    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, NULL, &pointer)) {
        const struct entry *entry = pointer;
        if (entry && entry->version <= own)
            return true;
    }
    return false;
}

static bool is_same(struct entry *before, struct entry *after)
{
    return after && memcmp(entry_digest(before), entry_digest(after), DIGEST_SIZE) == 0;
}

/* True if the leader has another content where both should have the same: under one version, or
 * with nothing newer of its own. No history leads to that; somebody's copy was altered. */
static bool contradicts(const struct draft *draft, const struct entry *before,
                        const struct entry *after)
{
    return draft->root.version <= draft->base->tree->root.version ||
           (after && after->version <= before->version);
}

/* The entries to keep, borrowed, in ascending inode order. What was changed last by this node
 * itself, or in local mode, may be unknown to all others even if nothing else shows it. */
static GPtrArray *find_taken(const struct draft *draft, uint32_t own)
{
    GPtrArray *taken = g_ptr_array_new();
    g_autoptr(GPtrArray) sorted = tree_sorted(draft->base->tree);
    uint64_t common = common_version(draft);
    bool diverged = has_diverged(draft);

    for (guint i = 0; i < sorted->len; i++) {
        struct entry *before = sorted->pdata[i];
        gpointer after;
        if (!g_hash_table_lookup_extended(draft->entries, (gpointer)(uintptr_t)before->inode, NULL,
                                          &after) ||
            is_same(before, after))
            continue;
        bool unknown = diverged || before->writer == own || before->writer == 0;
        if (contradicts(draft, before, after) || (before->version > common && unknown))
            g_ptr_array_add(taken, before);
    }
    return taken;
}

/* An entry and all directories above it. */
static void add_with_parents(GHashTable *copy, const struct tree *tree, struct entry *entry)
{
    while (entry && g_hash_table_insert(copy, (gpointer)(uintptr_t)entry->inode, entry))
        entry = tree_entry(tree, entry->parent);
}

static int write_copy(const char *path, const struct tree *tree, const GPtrArray *taken)
{
    g_autoptr(GHashTable) copy = g_hash_table_new(g_direct_hash, NULL);
    g_autofree char *message = NULL;

    for (guint i = 0; i < taken->len; i++)
        add_with_parents(copy, tree, taken->pdata[i]);
    bool fresh = access(path, F_OK) < 0;
    int error = store_write(path, copy, &tree->root, &message);
    if (error)
        log_error("%s", message);
    if (error && fresh)
        file_remove(path); /* what is not whole must not count as one of the newest */
    return error;
}

static void log_taken(const struct tree *tree, const GPtrArray *taken, const char *path)
{
    log_warning("the synchronisation takes away %u %s that only this node had; kept in %s (a "
                "database of its own: 'pmxcfsctl kept' shows what is in it, and brings it back)",
                taken->len, taken->len == 1 ? "entry" : "entries", path);
    for (guint i = 0; i < MIN(taken->len, NAMES_LOGGED_MAX); i++) {
        g_autofree char *name = tree_path(tree, ((struct entry *)taken->pdata[i])->inode);
        log_warning("taken away: %s", name);
    }
    if (taken->len > NAMES_LOGGED_MAX)
        log_warning("taken away: %u more", taken->len - NAMES_LOGGED_MAX);
}

static void digest_taken(const GPtrArray *taken, uint8_t digest[DIGEST_SIZE])
{
    GChecksum *checksum = g_checksum_new(G_CHECKSUM_SHA256);
    gsize size = DIGEST_SIZE;

    for (guint i = 0; i < taken->len; i++) {
        struct entry *entry = taken->pdata[i];
        g_checksum_update(checksum, (const guchar *)&entry->inode, sizeof(entry->inode));
        g_checksum_update(checksum, entry_digest(entry), DIGEST_SIZE);
    }
    g_checksum_get_digest(checksum, digest, &size);
    g_checksum_free(checksum);
}

static bool is_there(const struct safety_copy *copy, const uint8_t digest[DIGEST_SIZE])
{
    return copy->path && memcmp(copy->digest, digest, DIGEST_SIZE) == 0 &&
           access(copy->path, F_OK) == 0;
}

static char *name_copy(const char *directory, uint32_t time, uint64_t version)
{
    time_t seconds = (time_t)time;
    struct tm date;
    char stamp[32];

    localtime_r(&seconds, &date);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &date);
    return g_strdup_printf("%s/config.db.kept-%s-%" G_GUINT64_FORMAT, directory, stamp, version);
}

/* The one before is of an attempt that took nothing away. */
static void replace_copy(struct safety_copy *copy, char *path, const uint8_t digest[DIGEST_SIZE])
{
    if (copy->path && strcmp(copy->path, path) != 0)
        unlink(copy->path);
    g_free(copy->path);
    copy->path = path;
    memcpy(copy->digest, digest, DIGEST_SIZE);
}

bool safety_keep(struct safety_copy *copy, const char *directory, const struct draft *draft,
                 uint32_t own, uint32_t time)
{
    const struct tree *tree = draft->base->tree;
    g_autoptr(GPtrArray) taken = find_taken(draft, own);
    uint8_t digest[DIGEST_SIZE];

    if (!directory || taken->len == 0)
        return false;
    digest_taken(taken, digest);
    if (is_there(copy, digest))
        return false;
    char *path = name_copy(directory, time, tree->root.version);
    log_taken(tree, taken, path);
    if (write_copy(path, tree, taken)) {
        log_error("the entries could not be kept in %s", path);
        g_free(path);
        return false;
    }
    replace_copy(copy, path, digest);
    return true;
}

void safety_stored(struct safety_copy *copy, const char *directory)
{
    static const char *const words[] = {".kept-", NULL};

    if (!copy->path)
        return;
    g_autofree char *database = g_build_filename(directory, "config.db", NULL);
    quarantine_keep_newest(copy->path, database, words, SAFETY_COPIES_MAX);
    safety_clear(copy);
}

void safety_clear(struct safety_copy *copy)
{
    g_free(copy->path);
    copy->path = NULL;
}
