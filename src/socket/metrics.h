/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the local socket has to tell (doc/metrics.md). */
#ifndef PMXCFS_SOCKET_METRICS_H
#define PMXCFS_SOCKET_METRICS_H

struct open_metrics;
struct socket_metrics;

void socket_metrics_write(const struct socket_metrics *socket, struct open_metrics *metrics);

#endif
