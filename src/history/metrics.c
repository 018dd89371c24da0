/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the history has to tell. */
#include "history/metrics.h"

#include "base/open_metrics.h"
#include "history/recorder.h"

void history_metrics_write(struct recorder *recorder, struct open_metrics *metrics)
{
    struct recorder_status status;

    if (!recorder)
        return;
    recorder_get_status(recorder, &status);
    open_metrics_single_gauge(metrics, "pmxcfs_history_size_bytes", "bytes",
                              "Bytes of history.db that are in use.", status.bytes);
    open_metrics_single_gauge(metrics, "pmxcfs_history_complete_time_seconds", "seconds",
                              "How far the history reaches back, in seconds since 1970; 0: it has "
                              "not begun.",
                              (uint64_t)status.complete);
    open_metrics_single_counter(metrics, "pmxcfs_history_rows", NULL,
                                "Changes of paths that were written into the history.",
                                status.rows);
    open_metrics_single_gauge(metrics, "pmxcfs_history_left_out", NULL,
                              "Changes that the history lacks since there was no room for them.",
                              status.left_out);
    open_metrics_single_gauge(metrics, "pmxcfs_history_waiting_bytes", "bytes",
                              "Contents in memory that wait to be written into the history.",
                              status.waiting_bytes);
    open_metrics_single_gauge(metrics, "pmxcfs_history_failing", NULL,
                              "1 if the history could not be written when that was tried last.",
                              status.failing);
}
