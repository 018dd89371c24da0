/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the history has to tell. */
#ifndef PMXCFS_HISTORY_METRICS_H
#define PMXCFS_HISTORY_METRICS_H

struct open_metrics;
struct recorder;

/* Appends the families; none if no history is written (NULL). */
void history_metrics_write(struct recorder *recorder, struct open_metrics *metrics);

#endif
