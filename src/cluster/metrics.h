/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the process groups have to tell (doc/metrics.md). */
#ifndef PMXCFS_CLUSTER_METRICS_H
#define PMXCFS_CLUSTER_METRICS_H

#include "cluster/machine.h"

struct corosync;
struct open_metrics;

/* The label of a group. */
const char *group_name(enum machine_group group);

/* `corosync` NULL: local mode, in which nothing is counted. */
void corosync_metrics_write(const struct corosync *corosync, struct open_metrics *metrics);

#endif
