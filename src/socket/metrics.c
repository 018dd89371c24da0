/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the local socket has to tell. */
#include "socket/metrics.h"

#include "base/open_metrics.h"
#include "socket/requests.h"

void socket_metrics_write(const struct socket_metrics *socket, struct open_metrics *metrics)
{
    open_metrics_family(metrics, "pmxcfs_requests", OPEN_METRICS_COUNTER, NULL,
                        "Requests on the local socket.");
    for (int32_t i = 0; i <= REQUEST_ID_MAX; i++) {
        const char *name = i == 0 ? "unknown" : request_name(i);
        if (name)
            open_metrics_counter(metrics, "request", name, counter_get(&socket->requests[i]));
    }
    open_metrics_single_counter(metrics, "pmxcfs_requests_refused", NULL,
                                "Requests on the local socket that were answered with an error.",
                                counter_get(&socket->refused));
    open_metrics_single_histogram(
        metrics, "pmxcfs_request_seconds", "seconds",
        "Duration of requests on the local socket, until the answer was made.", &socket->answers,
        &histogram_durations);
    open_metrics_single_gauge(metrics, "pmxcfs_clients", NULL, "Connections of the local socket.",
                              counter_get(&socket->clients));
    open_metrics_single_gauge(metrics, "pmxcfs_subscribers", NULL,
                              "Connections that hear the change feed.",
                              counter_get(&socket->subscribers));
}
