/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text of .metrics: what each part has to tell, one after the other (doc/metrics.md). */
#include "daemon/metrics.h"

#include <inttypes.h>
#include <stdio.h>
#include <sys/resource.h>
#include <unistd.h>

#include "base/open_metrics.h"
#include "base/util.h"
#include "cluster/corosync.h"
#include "cluster/metrics.h"
#include "daemon/parts.h"
#include "history/metrics.h"
#include "mount/metrics.h"
#include "replica/metrics.h"
#include "socket/metrics.h"
#include "store/metrics.h"

/* For so long a text is given out again: it may be 2 s old. */
#define TEXT_MILLISECONDS 1000u

/* --- The process --- */

static void add_process(const struct parts *parts, struct open_metrics *metrics)
{
    struct rusage usage;
    uint64_t size, resident = 0;
    FILE *memory = fopen("/proc/self/statm", "re");

    open_metrics_family(metrics, "pmxcfs_build", OPEN_METRICS_INFO, NULL, "Which release runs.");
    open_metrics_info(metrics, "version", PMXCFS_VERSION);
    open_metrics_single_gauge(metrics, "pmxcfs_process_start_time_seconds", "seconds",
                              "When the daemon started, in seconds since 1970.",
                              status_start_time(parts->status));
    getrusage(RUSAGE_SELF, &usage);
    open_metrics_family(metrics, "pmxcfs_process_cpu_seconds", OPEN_METRICS_COUNTER, "seconds",
                        "Time that all threads have used.");
    open_metrics_counter_seconds(
        metrics, (double)(usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) +
                     (double)(usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) / 1000000.0);
    if (memory) {
        if (fscanf(memory, "%" SCNu64 " %" SCNu64, &size, &resident) == 2)
            open_metrics_single_gauge(metrics, "pmxcfs_process_resident_memory_bytes", "bytes",
                                      "Memory in use.", resident * (uint64_t)sysconf(_SC_PAGESIZE));
        fclose(memory);
    }
}

/* What the kernel counted for the whole process: the database, RRD files, all. */
static void add_written(struct open_metrics *metrics)
{
    FILE *file = fopen("/proc/self/io", "re");
    char line[128];
    uint64_t bytes;

    if (!file)
        return;
    while (fgets(line, sizeof(line), file)) {
        if (sscanf(line, "write_bytes: %" SCNu64, &bytes) == 1)
            open_metrics_single_counter(
                metrics, "pmxcfs_written_bytes", "bytes",
                "What the daemon had the kernel write to disks: database and RRD files.", bytes);
    }
    fclose(file);
}

/* --- Families with samples of several parts --- */

static void add_versions(const struct parts *parts, struct open_metrics *metrics)
{
    struct replica_sizes sizes;
    struct status_counters counters;

    replica_get_sizes(parts->replica, &sizes);
    status_get_counters(parts->status, &counters);
    open_metrics_family(metrics, "pmxcfs_version", OPEN_METRICS_GAUGE, NULL,
                        "Counters: of the tree, of the members, of the guest list.");
    open_metrics_gauge(metrics, "of", "tree", sizes.version);
    open_metrics_gauge(metrics, "of", "clinfo", counters.clinfo);
    open_metrics_gauge(metrics, "of", "vmlist", counters.vmlist);
}

static void add_queues(const struct parts *parts, struct open_metrics *metrics)
{
    struct replica_status status;

    replica_get_status(parts->replica, &status);
    open_metrics_family(metrics, "pmxcfs_queue_length", OPEN_METRICS_GAUGE, NULL,
                        "What waits: callers for their answer, own changes for the end of a "
                        "synchronisation, messages for the same, messages of a group for "
                        "corosync.");
    open_metrics_gauge(metrics, "queue", "callers", status.waiting);
    open_metrics_gauge(metrics, "queue", "held", status.held);
    open_metrics_gauge(metrics, "queue", "synchronisation", status.queued);
    for (int i = 0; i < 2; i++) {
        enum machine_group group = (enum machine_group)i;
        g_autofree char *name = g_strconcat(group_name(group), "_group", NULL);
        open_metrics_gauge(metrics, "queue", name, corosync_outbox(parts->corosync, group));
    }
}

static struct buffer *make_text(const struct parts *parts)
{
    g_autoptr(GString) text = g_string_sized_new(32768);
    struct open_metrics metrics = {.text = text};

    add_process(parts, &metrics);
    add_written(&metrics);
    mount_metrics_write(&parts->metrics.mount, &metrics);
    socket_metrics_write(&parts->metrics.socket, &metrics);
    status_metrics_write(parts->status, &metrics);
    replica_metrics_write(parts->replica, &metrics);
    store_metrics_write(parts->store, &metrics);
    history_metrics_write(parts->history.recorder, &metrics);
    add_versions(parts, &metrics);
    add_queues(parts, &metrics);
    corosync_metrics_write(parts->corosync, &metrics);
    open_metrics_end(&metrics);
    return buffer_copy(text->str, (uint32_t)text->len);
}

static struct buffer *take_text(struct metrics_source *source)
{
    struct parts *parts = container_of(source, struct parts, metrics.source);
    struct metrics *kept = &parts->metrics;
    uint64_t now = parts->clock.milliseconds(&parts->clock);

    LOCKED(&kept->lock);
    if (!kept->text || now >= kept->made + TEXT_MILLISECONDS) {
        buffer_unref(kept->text);
        kept->text = make_text(parts);
        kept->made = now;
    }
    return buffer_ref(kept->text);
}

void metrics_init(struct parts *parts)
{
    parts->metrics.source.text = take_text;
    lock_init(&parts->metrics.lock, LOCK_RANK_METRICS);
}

void metrics_clear(struct parts *parts)
{
    buffer_unref(parts->metrics.text);
    lock_destroy(&parts->metrics.lock);
}
