/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Synchronisation with the state in hand: a node's index, the leader's entries, the follower's
 * commit. */
#include "replica/synchronise.h"

#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "cluster/wire.h"
#include "core/index.h"

/* Bytes of entries under way at a time. Corosync sends some 24 KB each time the token comes: with
 * little under way it comes in vain before this process has had a processor, and each of its rounds
 * costs all nodes. Without a limit a change would have to wait for the whole synchronisation. */
#define UPDATE_WINDOW (256u * 1024)
#define NAMES_LOGGED_MAX 20u

/* Entries that the leader still has to send: those of the moment of choosing. */
struct outgoing_updates {
    struct epoch epoch;
    struct root root;
    bool with_root;
    GPtrArray *entries; /* struct entry, owned references; taken from the end */
    size_t in_flight;   /* bytes sent and not delivered yet */
};

/* --- The leader's entries --- */

void synchronise_stop(struct synchronisation *synchronisation)
{
    if (!synchronisation->updates)
        return;
    g_ptr_array_unref(synchronisation->updates->entries);
    g_free(synchronisation->updates);
    synchronisation->updates = NULL;
}

/* Sends one entry (NULL: the root). One that cannot be sent is left out: the commit will tell.
 * False if nothing can be sent at all. */
static bool send_update(struct synchronisation *synchronisation, const struct entry *entry)
{
    struct outgoing_updates *updates = synchronisation->updates;
    struct buffer *message = wire_build_update(
        &updates->epoch, executor_seconds(synchronisation->executor), entry, &updates->root);
    struct transport *transport = synchronisation->executor->transport;
    int error = transport->multicast(transport, message, SEND_UPDATE, message->capacity);

    if (!error)
        updates->in_flight += message->capacity;
    else if (error != -EBUSY)
        log_warning("an entry of the synchronisation could not be sent: %s",
                    entry ? entry->name : "the root");
    buffer_unref(message);
    return error != -EBUSY;
}

static void give_up_updates(struct synchronisation *synchronisation)
{
    synchronise_stop(synchronisation);
    machine_fail(synchronisation->executor->machine, "the synchronisation cannot be sent");
}

static void continue_updates(struct synchronisation *synchronisation)
{
    struct outgoing_updates *updates = synchronisation->updates;
    GPtrArray *entries = updates->entries;

    while (entries->len > 0 && updates->in_flight < UPDATE_WINDOW) {
        if (!send_update(synchronisation, entries->pdata[entries->len - 1])) {
            give_up_updates(synchronisation);
            return;
        }
        g_ptr_array_set_size(entries, (gint)entries->len - 1);
    }
    if (entries->len > 0)
        return;
    if (updates->with_root && !send_update(synchronisation, NULL)) {
        give_up_updates(synchronisation);
        return;
    }
    struct buffer *complete =
        wire_build_sync(MESSAGE_UPDATE_COMPLETE, CONFIGURATION_PROTOCOL, &updates->epoch,
                        executor_seconds(synchronisation->executor), NULL, 0);
    executor_multicast(synchronisation->executor, complete, SEND_SYNC, "");
    buffer_unref(complete);
    synchronise_stop(synchronisation);
}

void synchronise_send_updates(struct synchronisation *synchronisation, const struct action *action)
{
    struct outgoing_updates *updates = g_new0(struct outgoing_updates, 1);
    const struct tree *tree = synchronisation->committer->state->tree;

    synchronise_stop(synchronisation);
    updates->epoch = action->epoch;
    updates->root = tree->root;
    updates->entries = g_ptr_array_new_with_free_func(entry_destroy);
    for (guint i = 0; i < action->inodes->len; i++) {
        uint64_t inode = g_array_index(action->inodes, uint64_t, i);
        struct entry *entry = tree_entry(tree, inode);
        if (inode == 0)
            updates->with_root = true;
        else if (entry)
            g_ptr_array_add(updates->entries, entry_ref(entry));
    }
    counter_add(&synchronisation->committer->parts.metrics->entries_sent, updates->entries->len);
    if (updates->entries->len > 0)
        log_info("sending %u %s to the members that take the configuration over",
                 updates->entries->len, updates->entries->len == 1 ? "entry" : "entries");
    synchronisation->updates = updates;
    continue_updates(synchronisation);
}

void synchronise_delivered(struct synchronisation *synchronisation, size_t bytes)
{
    struct outgoing_updates *updates = synchronisation->updates;

    if (!updates)
        return;
    updates->in_flight -= MIN(bytes, updates->in_flight);
    /* In large steps: each message by itself would be a hand-over to corosync and back. */
    if (updates->in_flight <= UPDATE_WINDOW / 2)
        continue_updates(synchronisation);
}

/* --- The follower's commit --- */

/* Puts the leader's entries into the draft. Each message gives its memory to the next entry,
 * so that a whole tree is not in memory twice. */
static int take_updates(struct draft *draft, GPtrArray *updates)
{
    for (guint i = 0; i < updates->len; i++) {
        const struct buffer *message = updates->pdata[i];
        struct header header;
        struct entry *entry;
        int error = wire_parse_header(message->data, message->capacity, &header);
        if (!error)
            error = wire_parse_update(header.body, header.body_size, &entry);
        buffer_unref(g_steal_pointer(&updates->pdata[i]));
        if (error)
            return error;
        if (entry->inode != 0) {
            draft_put(draft, entry);
            continue;
        }
        draft->root = (struct root){entry->version, entry->writer, entry->mtime};
        entry_unref(entry);
    }
    return 0;
}

static void remove_surplus(struct draft *draft, const struct index_view *own,
                           const struct index_view *leader)
{
    g_autoptr(GArray) surplus = g_array_new(FALSE, FALSE, sizeof(uint64_t));

    index_surplus(own, leader, surplus);
    for (guint i = 0; i < surplus->len; i++)
        draft_remove(draft, g_array_index(surplus, uint64_t, i));
}

/* Why the draft cannot become the state; NULL: it can. g_free() it. */
static char *find_problem(const struct draft *draft, const struct buffer *leader)
{
    char *problem = NULL;
    uint32_t id;
    g_autofree char *first = NULL;
    g_autofree char *second = NULL;

    if (draft_check(draft, &problem))
        return problem;
    if (draft_find_duplicate_guest(draft, &id, &first, &second))
        return g_strdup_printf("guest %u would exist twice, as %s and %s", id, first, second);
    struct buffer *result = index_build(draft);
    if (result->capacity != leader->capacity ||
        memcmp(result->data, leader->data, leader->capacity) != 0)
        problem = g_strdup("the result differs from the leader's index");
    buffer_unref(result);
    return problem;
}

/* An effect of the draft as a whole on that path; NULL: on the root alone. */
static struct effect *add_effect(struct draft *draft, const char *path)
{
    struct effect *effect = effect_new(path, NULL);

    effect->version = draft->root.version;
    effect->writer = draft->root.writer;
    effect->time = draft->root.mtime;
    g_ptr_array_add(draft->effects, effect);
    return effect;
}

/* One effect for each entry that the synchronisation changes, so that kernel caches and subscribers
 * know. */
static void add_effects(struct draft *draft)
{
    GHashTableIter iter;
    gpointer inode;
    gpointer after;

    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, &inode, &after)) {
        struct entry *before = tree_entry(draft->base->tree, (uint64_t)(uintptr_t)inode);
        if (!before && !after)
            continue;
        g_autofree char *path =
            after ? draft_path(draft, after) : tree_path(draft->base->tree, before->inode);
        struct effect *effect = add_effect(draft, path);
        effect->before = entry_ref(before);
        effect->after = entry_ref(after);
    }
    /* Only the root differed (something was made and deleted again): its version is to be known. */
    if (draft->effects->len == 0)
        add_effect(draft, NULL);
}

/* Tells by name what differed, so that whoever looks for the cause need not guess. */
static void log_differences(const struct draft *draft)
{
    guint logged = 0;

    for (guint i = 0; i < draft->effects->len; i++) {
        const struct effect *effect = draft->effects->pdata[i];
        if (!effect->path)
            continue;
        if (++logged <= NAMES_LOGGED_MAX)
            log_info("differed from the others: '%s' (%s)", effect->path,
                     !effect->before  ? "was missing here"
                     : !effect->after ? "is deleted"
                                      : "is replaced");
    }
    if (logged > NAMES_LOGGED_MAX)
        log_info("differed from the others: %u more", logged - NAMES_LOGGED_MAX);
    log_info("the configuration was taken over: %u %s changed here, version %" G_GUINT64_FORMAT
             " is in force",
             logged, logged == 1 ? "entry" : "entries", draft->root.version);
}

static int prepare_commit(struct synchronisation *synchronisation, const struct action *action)
{
    struct draft *draft = synchronisation->committer->draft;
    struct index_view leader;
    struct index_view own;
    struct buffer *own_index = index_build(draft);
    int error = index_parse(action->message->data, action->message->capacity, &leader);

    if (!error)
        error = index_parse(own_index->data, own_index->capacity, &own);
    if (!error) {
        remove_surplus(draft, &own, &leader);
        error = take_updates(draft, action->updates);
    }
    buffer_unref(own_index);
    return error;
}

/* `doublings`: of the time that a node waits in any case before it joins again. */
static void put_off(struct synchronisation *synchronisation, unsigned doublings, uint64_t most)
{
    struct clock_source *clock = synchronisation->committer->parts.clock;
    uint64_t pause = MIN(synchronisation->rejoin_delay << MIN(doublings, 16u), most);

    synchronisation->begun = 0;
    synchronisation->failures++;
    synchronisation->pause = doublings > 0 ? pause : 0;
    synchronisation->retry_at = clock->milliseconds(clock) + synchronisation->pause;
}

static void note_failure(struct synchronisation *synchronisation, int error)
{
    put_off(synchronisation, synchronisation->failures + 1, SYNCHRONISE_PAUSE_MAX);
    log_error("synchronisation failed: the database did not take it (%s); the old state is kept; "
              "the next attempt is made in %" G_GUINT64_FORMAT " s at the earliest",
              g_strerror(-error), synchronisation->pause / 1000);
}

void synchronise_left(struct synchronisation *synchronisation)
{
    if (synchronisation->begun == 0)
        return;
    put_off(synchronisation, synchronisation->failures, SYNCHRONISE_PAUSE_SHORT_MAX);
    if (synchronisation->pause > 0)
        log_info("%u synchronisations in a row have come to nothing: the next attempt is made in "
                 "%" G_GUINT64_FORMAT " s at the earliest",
                 synchronisation->failures, synchronisation->pause / 1000);
}

bool synchronise_is_due(const struct synchronisation *synchronisation, uint64_t now)
{
    return synchronisation->failures == 0 || now >= synchronisation->retry_at;
}

void synchronise_succeeded(struct synchronisation *synchronisation)
{
    synchronisation->failures = 0;
    synchronisation->retry_at = 0;
}

void synchronise_destroy(struct synchronisation *synchronisation)
{
    synchronise_stop(synchronisation);
    safety_clear(&synchronisation->copy);
}

int synchronise_commit(struct synchronisation *synchronisation, const struct action *action,
                       uint32_t node)
{
    struct committer *committer = synchronisation->committer;
    struct replica_metrics *metrics = committer->parts.metrics;
    struct draft *draft = committer->draft;
    int error = prepare_commit(synchronisation, action);
    g_autofree char *problem = NULL;

    if (error)
        problem = g_strdup("an entry or the index is malformed");
    else
        problem = find_problem(draft, action->message);
    if (problem) {
        log_error("synchronisation failed: %s; the old state is kept", problem);
        commit_drop_draft(committer);
        return -EBADMSG;
    }
    draft->rebuild = true;
    add_effects(draft);
    if (safety_keep(&synchronisation->copy, synchronisation->safety_directory, draft, node,
                    executor_seconds(synchronisation->executor)))
        counter_add(&metrics->safety_copies, 1);
    error = commit_store_rebuilt(committer);
    if (error) {
        note_failure(synchronisation, error);
        return error;
    }
    safety_stored(&synchronisation->copy, synchronisation->safety_directory);
    synchronise_succeeded(synchronisation);
    counter_add(&metrics->entries_taken, action->updates->len);
    log_differences(draft);
    commit_publish_rebuilt(committer);
    return 0;
}
