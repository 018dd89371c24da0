/* SPDX-License-Identifier: GPL-3.0-or-later */
/* corosync.conf: into a new database, and from the tree to the host, where corosync reads it. */
#ifndef PMXCFS_CLUSTER_CONF_H
#define PMXCFS_CLUSTER_CONF_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buffer.h"
#include "core/draft.h"

/* Rules: doc/cluster.md, "corosync.conf". */

/* Its path in the tree. */
#define CONF_PATH "corosync.conf"

/* The number after the first "config_version:", blanks and newlines around the colon allowed; 0:
 * there is none. What does not fit is UINT64_MAX. Foreign bytes, any. */
uint64_t conf_version(const uint8_t *data, size_t size);

/* Puts the host's file, if there is one, into a draft over an empty tree, as writer 0 at that time
 * in seconds: a create and a write. 0 (also if there is none: the draft stays empty), or a negative
 * errno, which is logged. */
int conf_import(const char *host_path, struct draft *draft, uint32_t time);

struct conf_options {
    const char *host_path;
    uint64_t reload_delay; /* milliseconds from a rewritten file to corosync-cfgtool -R; 0: 1000 */
};

/* The thread that keeps the host's file like that in the tree; on its own since it waits for the
 * disk and for other programs. NULL: no thread could be started (logged). */
struct conf *conf_new(const struct conf_options *options);

/* The tree has this content now. `reload`: corosync may be told, since it is the start or this node
 * asked for the change. Takes a reference. Any thread, never waits: a content that has not been
 * looked at yet is replaced by the next. */
void conf_submit(struct conf *conf, struct buffer *content, uint32_t size, bool reload);

/* Ends the thread: what was submitted is still written, a reload that waits or hangs is dropped.
 * NULL is allowed. */
void conf_free(struct conf *conf);

#endif
