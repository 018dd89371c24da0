/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text of .metrics (doc/metrics.md). */
#include <dirent.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "core/limits.h"
#include "daemon/report.h"
#include "status/open_metrics.h"

/* What all families are made of. */
struct making {
    struct open_metrics metrics;
    const struct report_parts *parts;
    struct report_facts facts;
};

static const char *const group_names[] = {
    [GROUP_CONFIGURATION] = "configuration",
    [GROUP_STATUS] = "status",
};

/* --- Families of one sample --- */

static void add_counter(struct making *making, const char *name, const char *unit, const char *help,
                        uint64_t count)
{
    open_metrics_family(&making->metrics, name, OPEN_METRICS_COUNTER, unit, help);
    open_metrics_counter(&making->metrics, NULL, NULL, count);
}

static void add_gauge(struct making *making, const char *name, const char *unit, const char *help,
                      uint64_t value)
{
    open_metrics_family(&making->metrics, name, OPEN_METRICS_GAUGE, unit, help);
    open_metrics_gauge(&making->metrics, NULL, NULL, value);
}

static void add_histogram(struct making *making, const char *name, const char *unit,
                          const char *help, const struct histogram *histogram,
                          const struct histogram_form *form)
{
    open_metrics_family(&making->metrics, name, OPEN_METRICS_HISTOGRAM, unit, help);
    open_metrics_histogram(&making->metrics, NULL, NULL, histogram, form);
}

/* --- The process --- */

static void add_process(struct making *making)
{
    struct rusage usage;
    uint64_t size, resident = 0;
    FILE *memory = fopen("/proc/self/statm", "re");

    open_metrics_family(&making->metrics, "pmxcfs_build", OPEN_METRICS_INFO, NULL,
                        "Which release runs.");
    open_metrics_info(&making->metrics, "version", PMXCFS_VERSION);
    add_gauge(making, "process_start_time_seconds", "seconds",
              "When the daemon started, in seconds since 1970.",
              status_start_time(making->parts->status));
    getrusage(RUSAGE_SELF, &usage);
    open_metrics_family(&making->metrics, "process_cpu_seconds", OPEN_METRICS_COUNTER, "seconds",
                        "Time that all threads have used.");
    open_metrics_counter_seconds(&making->metrics,
                                 (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) /
                                         1000000.0);
    if (memory) {
        if (fscanf(memory, "%" SCNu64 " %" SCNu64, &size, &resident) == 2)
            add_gauge(making, "process_resident_memory_bytes", "bytes", "Memory in use.",
                      resident * (uint64_t)sysconf(_SC_PAGESIZE));
        fclose(memory);
    }
}

/* What the kernel counted for the whole process: the database, RRD files, all. */
static void add_written(struct making *making)
{
    FILE *file = fopen("/proc/self/io", "re");
    char line[128];
    uint64_t bytes;

    if (!file)
        return;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "write_bytes: %" SCNu64, &bytes) == 1)
            add_counter(making, "pmxcfs_written_bytes", "bytes",
                        "What the daemon had the kernel write to disks: database and RRD files.",
                        bytes);
    }
    fclose(file);
}

/* --- Mount and socket --- */

static void add_mount(struct making *making)
{
    const struct mount_metrics *mount = making->parts->mount;

    open_metrics_family(&making->metrics, "pmxcfs_operation_seconds", OPEN_METRICS_HISTOGRAM,
                        "seconds",
                        "Requests of the kernel, from their arrival to the answer. What the "
                        "kernel's caches answered is not among them.");
    for (int i = 0; i < OPERATION_COUNT; i++)
        open_metrics_histogram(&making->metrics, "operation",
                               operation_name((enum operation_kind)i), &mount->operations[i],
                               &histogram_durations);
    open_metrics_family(&making->metrics, "pmxcfs_operations_refused", OPEN_METRICS_COUNTER, NULL,
                        "Changes asked for through the mount that were answered with an error.");
    for (int i = 0; i < OPERATION_COUNT; i++) {
        if (operation_changes((enum operation_kind)i))
            open_metrics_counter(&making->metrics, "operation",
                                 operation_name((enum operation_kind)i),
                                 counter_get(&mount->refused[i]));
    }
    add_gauge(making, "pmxcfs_kernel_nodes", NULL, "Files and directories that the kernel knows.",
              counter_get(&mount->nodes_made) - counter_get(&mount->nodes_freed));
    open_metrics_family(&making->metrics, "pmxcfs_kernel_drops", OPEN_METRICS_COUNTER, NULL,
                        "How often the kernel was told to drop contents or a name.");
    open_metrics_counter(&making->metrics, "what", "content", counter_get(&mount->pages_dropped));
    open_metrics_counter(&making->metrics, "what", "name", counter_get(&mount->names_dropped));
}

static void add_socket(struct making *making)
{
    const struct socket_metrics *socket = making->parts->socket;

    open_metrics_family(&making->metrics, "pmxcfs_requests", OPEN_METRICS_COUNTER, NULL,
                        "Requests on the local socket.");
    for (int32_t i = 0; i <= REQUEST_ID_MAX; i++) {
        const char *name = i == 0 ? "unknown" : request_name(i);
        if (name)
            open_metrics_counter(&making->metrics, "request", name,
                                 counter_get(&socket->requests[i]));
    }
    add_counter(making, "pmxcfs_requests_refused", NULL,
                "Requests on the local socket that were answered with an error.",
                counter_get(&socket->refused));
    add_histogram(making, "pmxcfs_request_seconds", "seconds",
                  "Duration of requests on the local socket, until the answer was made.",
                  &socket->answers, &histogram_durations);
    add_gauge(making, "pmxcfs_clients", NULL, "Connections of the local socket.",
              counter_get(&socket->clients_come) - counter_get(&socket->clients_gone));
    add_gauge(making, "pmxcfs_subscribers", NULL, "Connections that hear the change feed.",
              counter_get(&socket->subscribers_come) - counter_get(&socket->subscribers_gone));
}

static void add_texts(struct making *making)
{
    static const char *const names[TEXT_COUNT] = {
        [TEXT_VERSION] = "version",        [TEXT_MEMBERS] = "members", [TEXT_VMLIST] = "vmlist",
        [TEXT_CLUSTER_LOG] = "clusterlog", [TEXT_RRD] = "rrd",
    };

    open_metrics_family(&making->metrics, "pmxcfs_texts_made", OPEN_METRICS_COUNTER, NULL,
                        "How often the text of a status file was made anew.");
    for (int i = 0; i < TEXT_COUNT; i++)
        open_metrics_counter(
            &making->metrics, "text", names[i],
            counter_get(&status_text_metrics(making->parts->status, (enum status_text)i)->made));
    open_metrics_family(&making->metrics, "pmxcfs_texts_kept", OPEN_METRICS_COUNTER, NULL,
                        "How often the text made before would do.");
    for (int i = 0; i < TEXT_COUNT; i++)
        open_metrics_counter(
            &making->metrics, "text", names[i],
            counter_get(&status_text_metrics(making->parts->status, (enum status_text)i)->kept));
}

/* --- The replicated state --- */

static void add_changes(struct making *making)
{
    static const char *const names[CHANGE_UNLOCK + 1] = {
        [CHANGE_WRITE] = "write",   [CHANGE_MKDIR] = "mkdir",   [CHANGE_DELETE] = "delete",
        [CHANGE_RENAME] = "rename", [CHANGE_CREATE] = "create", [CHANGE_MTIME] = "mtime",
        [CHANGE_UNLOCK] = "unlock",
    };
    const struct replica_metrics *metrics = replica_metrics(making->parts->replica);

    open_metrics_family(&making->metrics, "pmxcfs_changes", OPEN_METRICS_COUNTER, NULL,
                        "Changes applied here, whichever node asked for them.");
    for (int i = 0; i <= CHANGE_UNLOCK; i++) {
        if (names[i])
            open_metrics_counter(&making->metrics, "operation", names[i],
                                 counter_get(&metrics->changes[i]));
    }
    add_counter(making, "pmxcfs_own_changes", NULL, "Of these, asked for on this node.",
                counter_get(&metrics->own_changes));
    add_counter(making, "pmxcfs_change_bytes", "bytes", "Bytes of their messages.",
                counter_get(&metrics->change_bytes));
    add_histogram(making, "pmxcfs_batch_changes", NULL, "Changes that were stored together.",
                  &metrics->batches, &histogram_sizes);
    add_histogram(making, "pmxcfs_commit_seconds", "seconds",
                  "Duration of storing a batch, in the journal or in config.db.", &metrics->commits,
                  &histogram_durations);
    add_counter(making, "pmxcfs_commits_failed", NULL, "Batches that the database did not take.",
                counter_get(&metrics->commit_failures));
}

static void add_store(struct making *making)
{
    struct store_metrics store;

    store_get_metrics(making->parts->store, &store);
    add_counter(making, "pmxcfs_journal_records", NULL, "Batches that went to the journal.",
                store.journal_records);
    add_counter(making, "pmxcfs_journal_bytes", "bytes", "Bytes of their records.",
                store.journal_bytes);
    add_histogram(making, "pmxcfs_transaction_seconds", "seconds",
                  "Transactions of config.db: batches that did not go to the journal, and what "
                  "was gathered there.",
                  store.transactions, &histogram_durations);
}

static void add_refusals(struct making *making)
{
    open_metrics_family(&making->metrics, "pmxcfs_refusals", OPEN_METRICS_COUNTER, NULL,
                        "Changes refused for a reason that an administrator can do something "
                        "about, by cause.");
    for (int i = 0; i < REFUSAL_COUNT; i++)
        open_metrics_counter(
            &making->metrics, "cause", refusals_name((enum refusal)i),
            refusals_count(replica_refusals(making->parts->replica), (enum refusal)i));
}

static void add_sizes(struct making *making)
{
    g_autoptr(GPtrArray) files = report_files();

    add_gauge(making, "pmxcfs_content_bytes", "bytes", "Bytes of all files.", making->facts.bytes);
    add_gauge(making, "pmxcfs_content_limit_bytes", "bytes", "How many there may be.", CONTENT_MAX);
    add_gauge(making, "pmxcfs_entries", NULL, "Files and directories.", making->facts.entries);
    add_gauge(making, "pmxcfs_entries_limit", NULL, "How many there may be.", INODES_MAX);
    add_gauge(making, "pmxcfs_guests", NULL, "Guests of all nodes.", making->facts.guests);
    add_gauge(making, "pmxcfs_locks", NULL, "Locks that are there, expired ones among them.",
              making->facts.locks);
    open_metrics_family(&making->metrics, "pmxcfs_database_file_bytes", OPEN_METRICS_GAUGE, "bytes",
                        "Size of the database's files.");
    for (guint i = 0; i < files->len; i++) {
        const struct report_file *file = files->pdata[i];
        open_metrics_gauge(&making->metrics, "file", file->name, file->bytes);
    }
}

static void add_versions(struct making *making)
{
    open_metrics_family(&making->metrics, "pmxcfs_version", OPEN_METRICS_GAUGE, NULL,
                        "Counters: of the tree, of the members, of the guest list.");
    open_metrics_gauge(&making->metrics, "of", "tree", making->facts.version);
    open_metrics_gauge(&making->metrics, "of", "clinfo", making->facts.counters.clinfo);
    open_metrics_gauge(&making->metrics, "of", "vmlist", making->facts.counters.vmlist);
}

/* --- The cluster --- */

static void add_state(struct making *making)
{
    const struct replica_status *status = &making->facts.replica;
    g_autoptr(GArray) members = replica_members(making->parts->replica);
    unsigned int synced = 0;

    for (guint i = 0; i < members->len; i++)
        synced += g_array_index(members, struct replica_member, i).synced;
    add_gauge(making, "pmxcfs_quorate", NULL, "1 with quorum.", status->quorate);
    add_gauge(making, "pmxcfs_joined", NULL, "1 if this node is in the group.", status->joined);
    add_gauge(making, "pmxcfs_in_sync", NULL, "1 if this node has the state of the group.",
              status->joined && status->mode == MODE_SYNCED);
    add_gauge(making, "pmxcfs_database_ok", NULL, "0 while the database takes no writes.",
              !status->broken);
    add_gauge(making, "pmxcfs_group_members", NULL, "Members of the group, this node among them.",
              members->len);
    add_gauge(making, "pmxcfs_group_members_in_sync", NULL,
              "Of these, in sync as far as this node knows.", synced);
}

static void add_synchronisations(struct making *making)
{
    const struct replica_metrics *metrics = replica_metrics(making->parts->replica);
    const struct machine_verifications *verifications = &making->facts.replica.verifications;

    add_histogram(making, "pmxcfs_synchronisation_seconds", "seconds",
                  "From a change of membership until this node was in sync.",
                  &metrics->synchronisations, &histogram_durations);
    open_metrics_family(&making->metrics, "pmxcfs_synchronisation_entries", OPEN_METRICS_COUNTER,
                        NULL, "Entries that synchronisations sent and took over.");
    open_metrics_counter(&making->metrics, "direction", "sent",
                         counter_get(&metrics->entries_sent));
    open_metrics_counter(&making->metrics, "direction", "taken",
                         counter_get(&metrics->entries_taken));
    add_counter(making, "pmxcfs_safety_copies", NULL,
                "Safety copies written, of what synchronisations took away.",
                counter_get(&metrics->safety_copies));
    add_counter(making, "pmxcfs_group_departures", NULL,
                "How often this node left the group because of an error.",
                counter_get(&metrics->departures));
    open_metrics_family(&making->metrics, "pmxcfs_verifications", OPEN_METRICS_COUNTER, NULL,
                        "Comparisons of this node's copy with a member's checksum.");
    open_metrics_counter(&making->metrics, "result", "equal", verifications->equal);
    open_metrics_counter(&making->metrics, "result", "different", verifications->different);
}

static void add_queues(struct making *making)
{
    const struct report_facts *facts = &making->facts;

    open_metrics_family(&making->metrics, "pmxcfs_queue_length", OPEN_METRICS_GAUGE, NULL,
                        "What waits: callers for their answer, own changes for the end of a "
                        "synchronisation, messages for the same, messages of a group for "
                        "corosync.");
    open_metrics_gauge(&making->metrics, "queue", "callers", facts->replica.waiting);
    open_metrics_gauge(&making->metrics, "queue", "held", facts->replica.held);
    open_metrics_gauge(&making->metrics, "queue", "synchronisation", facts->replica.queued);
    for (int i = 0; i < 2; i++) {
        g_autofree char *name = g_strconcat(group_names[i], "_group", NULL);
        open_metrics_gauge(&making->metrics, "queue", name, facts->outbox[i]);
    }
}

/* One counter of both groups; nothing was counted in local mode. `offset`: of the counter. */
static void add_group_counter(struct making *making, const char *name, const char *unit,
                              const char *help, size_t offset)
{
    struct corosync *corosync = making->parts->corosync;

    open_metrics_family(&making->metrics, name, OPEN_METRICS_COUNTER, unit, help);
    for (int i = 0; i < 2; i++) {
        uint64_t count = 0;
        if (corosync) {
            const struct group_metrics *group = corosync_metrics(corosync, (enum machine_group)i);
            count = counter_get((const struct counter *)((const char *)group + offset));
        }
        open_metrics_counter(&making->metrics, "group", group_names[i], count);
    }
}

static void add_groups(struct making *making)
{
    add_group_counter(making, "pmxcfs_messages_sent", NULL, "Messages that corosync took.",
                      offsetof(struct group_metrics, sent));
    add_group_counter(making, "pmxcfs_sent_bytes", "bytes", "Their bytes.",
                      offsetof(struct group_metrics, sent_bytes));
    add_group_counter(making, "pmxcfs_messages_received", NULL,
                      "Messages that corosync delivered, own ones among them.",
                      offsetof(struct group_metrics, received));
    add_group_counter(making, "pmxcfs_received_bytes", "bytes", "Their bytes.",
                      offsetof(struct group_metrics, received_bytes));
    add_group_counter(making, "pmxcfs_send_retries", NULL,
                      "How often corosync took a message not yet (TRY_AGAIN).",
                      offsetof(struct group_metrics, retries));
    add_group_counter(making, "pmxcfs_messages_given_up", NULL,
                      "Messages that corosync did not take in time.",
                      offsetof(struct group_metrics, given_up));
    add_group_counter(making, "pmxcfs_group_joins", NULL, "How often the group was joined.",
                      offsetof(struct group_metrics, joins));
}

struct buffer *report_make_metrics(const struct report *report)
{
    struct making making = {.parts = &report->parts};
    g_autoptr(GString) text = g_string_sized_new(32768);

    making.metrics.text = text;
    report_gather(report, &making.facts);
    add_process(&making);
    add_written(&making);
    add_mount(&making);
    add_socket(&making);
    add_texts(&making);
    add_changes(&making);
    add_store(&making);
    add_refusals(&making);
    add_sizes(&making);
    add_versions(&making);
    add_state(&making);
    add_synchronisations(&making);
    add_queues(&making);
    add_groups(&making);
    open_metrics_end(&making.metrics);
    return buffer_copy(text->str, (uint32_t)text->len);
}
