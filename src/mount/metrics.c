/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the mount has to tell. */
#include "mount/metrics.h"

#include "base/open_metrics.h"
#include "mount/operations.h"

void mount_metrics_write(const struct mount_metrics *mount, struct open_metrics *metrics)
{
    open_metrics_family(metrics, "pmxcfs_operation_seconds", OPEN_METRICS_HISTOGRAM, "seconds",
                        "Requests of the kernel, from their arrival to the answer. What the "
                        "kernel's caches answered is not among them.");
    for (int i = 0; i < OPERATION_COUNT; i++)
        open_metrics_histogram(metrics, "operation", operation_name((enum operation_kind)i),
                               &mount->operations[i], &histogram_durations);
    open_metrics_family(metrics, "pmxcfs_operations_refused", OPEN_METRICS_COUNTER, NULL,
                        "Changes asked for through the mount that were answered with an error.");
    for (int i = 0; i < OPERATION_COUNT; i++) {
        if (operation_changes((enum operation_kind)i))
            open_metrics_counter(metrics, "operation", operation_name((enum operation_kind)i),
                                 counter_get(&mount->refused[i]));
    }
    open_metrics_single_gauge(
        metrics, "pmxcfs_kernel_nodes", NULL, "Files and directories that the kernel knows.",
        counter_get(&mount->kernel.nodes_made) - counter_get(&mount->kernel.nodes_freed));
    open_metrics_family(metrics, "pmxcfs_kernel_drops", OPEN_METRICS_COUNTER, NULL,
                        "How often the kernel was told to drop contents or a name.");
    open_metrics_counter(metrics, "what", "content", counter_get(&mount->kernel.pages_dropped));
    open_metrics_counter(metrics, "what", "name", counter_get(&mount->kernel.names_dropped));
}
