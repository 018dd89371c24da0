/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the mount has to tell (doc/metrics.md). */
#ifndef PMXCFS_MOUNT_METRICS_H
#define PMXCFS_MOUNT_METRICS_H

struct mount_metrics;
struct open_metrics;

void mount_metrics_write(const struct mount_metrics *mount, struct open_metrics *metrics);

#endif
