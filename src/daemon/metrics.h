/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text of .metrics: what each part has to tell, one after the other (doc/metrics.md). */
#ifndef PMXCFS_DAEMON_METRICS_H
#define PMXCFS_DAEMON_METRICS_H

struct buffer;
struct parts;

/* Up to a second old; one reference. Any thread, while all parts but mount and socket are there;
 * memory and /proc only. */
struct buffer *metrics_text(struct parts *parts);

#endif
