/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text of .metrics: what each part has to tell, one after the other (doc/metrics.md). */
#ifndef PMXCFS_DAEMON_METRICS_H
#define PMXCFS_DAEMON_METRICS_H

struct parts;

/* Makes `metrics.source` give the text: up to a second old, from memory and /proc only. It may be
 * asked while all parts but mount and socket are there. */
void metrics_init(struct parts *parts);
void metrics_clear(struct parts *parts);

#endif
