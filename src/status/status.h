/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What this node knows beside the tree, and the texts made of it: the thread-safe whole. */
#ifndef PMXCFS_STATUS_STATUS_H
#define PMXCFS_STATUS_STATUS_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/node_names.h"
#include "core/buffer.h"
#include "status/cluster_log.h"
#include "status/members.h"
#include "status/vmlist.h"

/* Formats and rules: doc/status.md. Any thread may call any function; one lock is held inside, over
 * memory only, and no other is taken while it is held. Texts are immutable buffers with a reference
 * for the caller, made once per version and kept: polling costs a lock and a reference. */
struct status;
struct open_metrics;

/* Hears of every RRD value, of this node and of others, on the thread that set or delivered it and
 * without a lock of status held. Must not block. `value`: text, NUL-ended, under 4096 bytes. */
struct rrd_listener {
    void (*value)(struct rrd_listener *listener, const char *key, const char *value);
};

/* `node_name`: this host's name; `address`: its address as text, NULL if not known; `pid`: of this
 * process, for its first log entry; `clock` must outlive the status. .version's starttime is now.
 */
struct status *status_new(const char *node_name, const char *address, uint32_t pid,
                          struct clock_source *clock);
void status_free(struct status *status);

/* Before the first value is set; NULL: nobody hears. */
void status_set_rrd_listener(struct status *status, struct rrd_listener *listener);

/* Who is asked for the guests when .vmlist is to be made anew; before that is asked for. */
void status_set_guest_source(struct status *status, struct guest_source *source);

/* What raises counters. The writer calls these after the content is there for every reader: a
 * counter must never be visible before what raised it. */
void status_published(struct status *status, const GPtrArray *effects /* struct effect */);
void status_rebuilt(struct status *status,
                    const GPtrArray *effects); /* load (NULL), or commit of a synchronisation */

/* Who knows what the askers of changes are; NULL: nobody (any more). */
struct askers;
void status_set_askers(struct status *status, struct askers *askers);

/* The change feed (status/feed.h). A listener is told that there is something new, with the status'
 * lock held: it may wake a thread, no more. NULL: nobody. */
struct feed_listener {
    void (*added)(struct feed_listener *listener);
};
void status_set_feed_listener(struct status *status, struct feed_listener *listener);

/* The version that the tree was loaded with; before the first publication. */
void status_start_feed(struct status *status, uint64_t version);

/* Where a subscriber who knows `version` (UINT64_MAX: what comes from now on) starts to read;
 * *missed: changes that are forgotten. */
uint64_t status_feed_position(struct status *status, uint64_t version, uint64_t *missed);

/* The next record at *position that may be seen (`all`: private paths too), as one line of JSON to
 * be freed with free(), and *position behind it; NULL: there is none yet. *missed: records that
 * were forgotten before they were read. */
char *status_feed_next(struct status *status, uint64_t *position, bool all, uint64_t *missed);

/* The cluster. Each raises clinfo if something changed. */
void status_set_nodes(struct status *status, const char *cluster_name, uint64_t config_version,
                      const struct cluster_node *nodes, size_t count);
void status_set_own_id(struct status *status, uint32_t id); /* this node's id; 0: ignored */
void status_set_online(struct status *status, const uint32_t *ids, size_t count);
/* The names of the nodes that are (not) online, with commas, g_free() it; NULL: none. */
char *status_names(struct status *status, bool online);
void status_set_quorate(struct status *status, bool quorate);

/* What this node tells of its release, before it joins; that a node's process is a new one, which
 * may be of another release; and what a node told, g_free() it (NULL: nothing, as other
 * implementations do). */
void status_set_release(struct status *status, const char *release);
void status_forget_release(struct status *status, uint32_t node);
char *status_release_of(struct status *status, uint32_t node);

/* A message of that node came, and has that time on it, in seconds; and how far its clock so is
 * ahead of ours (false: none came since it is online). */
void status_note_clock(struct status *status, uint32_t node, uint32_t time);
bool status_clock_of(struct status *status, uint32_t node, int64_t *ahead);

/* Key/value status. set_own stores a value of this node (size 0: deletes it): 0, and the value is
 * to be multicast; -EINVAL, -EFBIG, or -ENOSPC (see key_values.h). Use status_group_set(), which
 * multicasts too. set_remote stores one of another node: also -ENOENT, the node list lacks it. */
int status_set_own(struct status *status, const char *name, const void *value, size_t size);
int status_set_remote(struct status *status, uint32_t node, const char *name, const void *value,
                      size_t size);

/* A plain value as it was set, NULL if there is none; `node_name` NULL or "": this node. */
struct buffer *status_get(struct status *status, const char *node_name, const char *name);

/* What this node multicasts of its own: names of plain values (gchar *, owned by the array), and a
 * value as it is sent, also those of "nodeip" and RELEASE_NAME; NULL if there is none. */
GPtrArray *status_own_names(struct status *status);
struct buffer *status_own_value(struct status *status, const char *name);

/* Cluster log. status_log stores an entry of this node and gives it as it is multicast (use
 * status_group_log(), which does that); log_remote stores a foreign one: 0, or -EBADMSG. */
struct buffer *status_log(struct status *status, uint8_t priority, const char *ident,
                          const char *tag, const char *message, uint32_t pid);
int status_log_remote(struct status *status, const uint8_t *data, size_t size);

/* A copy of the whole buffer, and the merge of foreign ones; gives how many were malformed. */
struct buffer *status_log_buffer(struct status *status);
size_t status_log_merge(struct status *status, const struct cluster_log_buffer *buffers,
                        size_t count);

/* The texts. */
struct buffer *status_version_text(struct status *status);
struct buffer *status_members_text(struct status *status);

struct buffer *status_vmlist_text(struct status *status);

/* The status' part of .metrics: how often each text was made, and one that was kept would do. */
void status_metrics_write(const struct status *status, struct open_metrics *metrics);

/* What .version says of members and guests. */
struct status_counters {
    uint64_t clinfo;
    uint64_t vmlist;
};
void status_get_counters(struct status *status, struct status_counters *counters);

uint32_t status_start_time(const struct status *status); /* seconds */
const char *status_node_name(const struct status *status);

/* The name of a node of the node list (0: this one), g_free() it; NULL: not known. */
char *status_name_of(struct status *status, uint32_t id);

/* The same, for who knows no status. */
struct node_names *status_name_source(struct status *status);

/* `max` 0: 50; `user` NULL or "": all. */
struct buffer *status_cluster_log_text(struct status *status, uint32_t max, const char *user);

/* May lag 2 s behind when there are many values. May be empty. */
struct buffer *status_rrd_text(struct status *status);

#endif
