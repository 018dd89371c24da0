/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the replicated state has to tell, and its sizes. */
#include "replica/metrics.h"

#include "base/open_metrics.h"
#include "core/limits.h"
#include "replica/replica.h"

void replica_get_sizes(struct replica *replica, struct replica_sizes *sizes)
{
    const struct state *state = replica_read_lock(replica);

    *sizes = (struct replica_sizes){
        .version = state->tree->root.version,
        .bytes = state->tree->bytes,
        .entries = tree_entry_count(state->tree),
        .guests = g_hash_table_size(state->guests.by_id),
        .locks = g_hash_table_size(state->locks),
    };
    replica_read_unlock(replica);
}

static void add_changes(struct replica *replica, struct open_metrics *metrics)
{
    static const char *const names[CHANGE_UNLOCK + 1] = {
        [CHANGE_WRITE] = "write",   [CHANGE_MKDIR] = "mkdir",   [CHANGE_DELETE] = "delete",
        [CHANGE_RENAME] = "rename", [CHANGE_CREATE] = "create", [CHANGE_MTIME] = "mtime",
        [CHANGE_UNLOCK] = "unlock",
    };
    const struct replica_metrics *counted = replica_metrics(replica);

    open_metrics_family(metrics, "pmxcfs_changes", OPEN_METRICS_COUNTER, NULL,
                        "Changes applied here, whichever node asked for them.");
    for (int i = 0; i <= CHANGE_UNLOCK; i++) {
        if (names[i])
            open_metrics_counter(metrics, "operation", names[i], counter_get(&counted->changes[i]));
    }
    open_metrics_single_counter(metrics, "pmxcfs_own_changes", NULL,
                                "Of these, asked for on this node.",
                                counter_get(&counted->own_changes));
    open_metrics_single_counter(metrics, "pmxcfs_change_bytes", "bytes", "Bytes of their messages.",
                                counter_get(&counted->change_bytes));
    open_metrics_single_histogram(metrics, "pmxcfs_batch_changes", NULL,
                                  "Changes that were stored together.", &counted->batches,
                                  &histogram_sizes);
    open_metrics_single_histogram(metrics, "pmxcfs_commit_seconds", "seconds",
                                  "Duration of storing a batch, in the journal or in config.db.",
                                  &counted->commits, &histogram_durations);
    open_metrics_single_counter(metrics, "pmxcfs_commits_failed", NULL,
                                "Batches that the database did not take.",
                                counter_get(&counted->commit_failures));
}

static void add_refusals(struct replica *replica, struct open_metrics *metrics)
{
    open_metrics_family(metrics, "pmxcfs_refusals", OPEN_METRICS_COUNTER, NULL,
                        "Changes refused for a reason that an administrator can do something "
                        "about, by cause.");
    for (int i = 0; i < REFUSAL_COUNT; i++)
        open_metrics_counter(metrics, "cause", refusals_name((enum refusal)i),
                             refusals_count(replica_refusals(replica), (enum refusal)i));
}

static void add_sizes(struct replica *replica, struct open_metrics *metrics)
{
    struct replica_sizes sizes;

    replica_get_sizes(replica, &sizes);
    open_metrics_single_gauge(metrics, "pmxcfs_content_bytes", "bytes", "Bytes of all files.",
                              sizes.bytes);
    open_metrics_single_gauge(metrics, "pmxcfs_content_limit_bytes", "bytes",
                              "How many there may be.", CONTENT_MAX);
    open_metrics_single_gauge(metrics, "pmxcfs_entries", NULL, "Files and directories.",
                              sizes.entries);
    open_metrics_single_gauge(metrics, "pmxcfs_entries_limit", NULL, "How many there may be.",
                              INODES_MAX);
    open_metrics_single_gauge(metrics, "pmxcfs_guests", NULL, "Guests of all nodes.", sizes.guests);
    open_metrics_single_gauge(metrics, "pmxcfs_locks", NULL,
                              "Locks that are there, expired ones among them.", sizes.locks);
}

static void add_state(struct replica *replica, struct open_metrics *metrics)
{
    struct replica_status status;
    g_autoptr(GArray) members = replica_members(replica);
    unsigned int synced = 0;

    replica_get_status(replica, &status);
    for (guint i = 0; i < members->len; i++)
        synced += g_array_index(members, struct replica_member, i).synced;
    open_metrics_single_gauge(metrics, "pmxcfs_quorate", NULL, "1 with quorum.", status.quorate);
    open_metrics_single_gauge(metrics, "pmxcfs_joined", NULL, "1 if this node is in the group.",
                              status.joined);
    open_metrics_single_gauge(metrics, "pmxcfs_in_sync", NULL,
                              "1 if this node has the state of the group.",
                              status.joined && status.mode == MODE_SYNCED);
    open_metrics_single_gauge(metrics, "pmxcfs_database_ok", NULL,
                              "0 while the database takes no writes.", !status.broken);
    open_metrics_single_gauge(metrics, "pmxcfs_group_members", NULL,
                              "Members of the group, this node among them.", members->len);
    open_metrics_single_gauge(metrics, "pmxcfs_group_members_in_sync", NULL,
                              "Of these, in sync as far as this node knows.", synced);
}

static void add_synchronisations(struct replica *replica, struct open_metrics *metrics)
{
    const struct replica_metrics *counted = replica_metrics(replica);
    struct replica_status status;

    replica_get_status(replica, &status);
    open_metrics_single_histogram(metrics, "pmxcfs_synchronisation_seconds", "seconds",
                                  "From a change of membership until this node was in sync.",
                                  &counted->synchronisations, &histogram_durations);
    open_metrics_family(metrics, "pmxcfs_synchronisation_entries", OPEN_METRICS_COUNTER, NULL,
                        "Entries that synchronisations sent and took over.");
    open_metrics_counter(metrics, "direction", "sent", counter_get(&counted->entries_sent));
    open_metrics_counter(metrics, "direction", "taken", counter_get(&counted->entries_taken));
    open_metrics_single_counter(metrics, "pmxcfs_safety_copies", NULL,
                                "Safety copies written, of what synchronisations took away.",
                                counter_get(&counted->safety_copies));
    open_metrics_single_counter(metrics, "pmxcfs_group_departures", NULL,
                                "How often this node left the group because of an error.",
                                counter_get(&counted->departures));
    open_metrics_family(metrics, "pmxcfs_verifications", OPEN_METRICS_COUNTER, NULL,
                        "Comparisons of this node's copy with a member's checksum.");
    open_metrics_counter(metrics, "result", "equal", status.verifications.equal);
    open_metrics_counter(metrics, "result", "different", status.verifications.different);
}

void replica_metrics_write(struct replica *replica, struct open_metrics *metrics)
{
    add_changes(replica, metrics);
    add_refusals(replica, metrics);
    add_sizes(replica, metrics);
    add_state(replica, metrics);
    add_synchronisations(replica, metrics);
}
