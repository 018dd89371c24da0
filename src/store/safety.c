/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Safety copies: what a synchronisation takes away from this node is kept beside the database. */
#include "store/safety.h"

#include <glib.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/log.h"
#include "core/digest.h"
#include "core/state.h"
#include "journal/quarantine.h"
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

/* A draft over an empty state that holds the entries and all directories above them. */
static void add_with_parents(struct draft *copy, const struct tree *tree, struct entry *entry)
{
    while (entry && !draft_entry(copy, entry->inode)) {
        draft_put(copy, entry_ref(entry));
        entry = tree_entry(tree, entry->parent);
    }
}

static int write_copy(const char *path, const struct tree *tree, const GPtrArray *taken)
{
    struct state *empty = state_new(tree_new(), 0);
    struct draft *copy = draft_new(empty);
    g_autofree char *message = NULL;

    for (guint i = 0; i < taken->len; i++)
        add_with_parents(copy, tree, taken->pdata[i]);
    copy->root = tree->root;
    int error = store_write(path, copy, &message);
    if (error)
        log_error("%s", message);
    draft_free(copy);
    state_free(empty);
    return error;
}

static void log_taken(const struct tree *tree, const GPtrArray *taken, const char *path)
{
    log_warning(
        "the synchronisation takes away %u entries that only this node had; they are kept in %s "
        "(a database of its own; pmxcfs(8), RECOVERY, says how to read it)",
        taken->len, path);
    for (guint i = 0; i < MIN(taken->len, NAMES_LOGGED_MAX); i++) {
        g_autofree char *name = tree_path(tree, ((struct entry *)taken->pdata[i])->inode);
        log_warning("taken away: %s", name);
    }
    if (taken->len > NAMES_LOGGED_MAX)
        log_warning("taken away: %u more", taken->len - NAMES_LOGGED_MAX);
}

bool safety_keep(const char *directory, const struct draft *draft, uint32_t own, uint32_t time)
{
    static const char *const words[] = {".kept-", NULL};
    const struct tree *tree = draft->base->tree;
    g_autoptr(GPtrArray) taken = find_taken(draft, own);
    time_t seconds = (time_t)time;
    struct tm date;
    char stamp[32];

    if (!directory || taken->len == 0)
        return false;
    g_autofree char *database = g_build_filename(directory, "config.db", NULL);
    localtime_r(&seconds, &date);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &date);
    g_autofree char *path =
        g_strdup_printf("%s.kept-%s-%" G_GUINT64_FORMAT, database, stamp, tree->root.version);
    log_taken(tree, taken, path);
    bool kept = write_copy(path, tree, taken) == 0;
    if (!kept)
        log_error("the entries could not be kept in %s", path);
    quarantine_keep_newest(database, words, SAFETY_COPIES_MAX);
    return kept;
}
