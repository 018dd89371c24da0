/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The host's corosync.conf: into a new database, and from the tree to the host. */
#ifndef PMXCFS_HOST_COROSYNC_CONF_H
#define PMXCFS_HOST_COROSYNC_CONF_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/draft.h"
#include "core/entry.h"

/* Rules: doc/cluster.md, "corosync.conf". */

/* Puts the host's file, if there is one, into a draft over an empty tree, as writer 0 at that time
 * in seconds: a create and a write. 0 (also if there is none: the draft stays empty), or a negative
 * errno, which is logged. */
int corosync_conf_import(const char *host_path, struct draft *draft, uint32_t time);

struct corosync_conf;

/* Starts the thread that keeps the host's file like that in the tree; on its own since it waits for
 * the disk and for other programs. `reload_delay`: milliseconds from a rewritten file to
 * corosync-cfgtool -R; 0: 1000. NULL: no thread could be started (logged). */
struct corosync_conf *corosync_conf_start(const char *host_path, uint64_t reload_delay);

/* The file in the tree is this one now; NULL: there is none, and the host's stays. `reload`:
 * corosync may be told, since it is the start or this node asked for the change. Takes a reference
 * to the content. Any thread, also with the state's lock held; never waits: a content that has not
 * been looked at yet is replaced by the next. */
void corosync_conf_submit(struct corosync_conf *conf, const struct entry *entry, bool reload);

/* Whether published changes (struct effect) are to be followed by corosync_conf_submit(), and with
 * which `reload`. */
bool corosync_conf_is_written(const GPtrArray *effects, bool rebuilt, bool *reload);

/* Ends the thread: what was submitted is still written, a reload that waits or hangs is dropped.
 * NULL is allowed. */
void corosync_conf_stop(struct corosync_conf *conf);

#endif
