/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cluster log: a ring buffer of entries that travels between nodes as it is. */
#ifndef PMXCFS_STATUS_CLUSTER_LOG_H
#define PMXCFS_STATUS_CLUSTER_LOG_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/wire.h" /* CLUSTER_LOG_SIZE: bytes of the buffer, header included */
#include "core/buffer.h"

/* Bytes and rules: doc/status.md, "Cluster log". Nothing here knows a clock or a lock; the owner
 * (struct status) serialises. Buffers and messages from other members are foreign bytes: they go
 * through cluster_log_walk_start()/cluster_log_walk_next() and cluster_log_entry_parse(), the only
 * doors. */

#define CLUSTER_LOG_ENTRY_MAX 4096u /* bytes of an entry */
#define CLUSTER_LOG_SHOWN 50u       /* entries of .clusterlog when nobody asks for a number */

/* One checked entry. Strings are NUL-ended, lengths in bytes without the NUL; all borrow from the
 * bytes that were parsed. */
struct cluster_log_entry {
    uint32_t uid;         /* counter of the process that packed it */
    uint32_t time;        /* seconds, that process's clock */
    uint64_t node_digest; /* FNV-1a of node with its NUL */
    uint32_t pid;         /* of whoever logged */
    uint8_t priority;     /* of syslog */
    uint8_t node_length;
    uint8_t ident_length;
    uint8_t tag_length;
    uint32_t message_length;
    const char *node;
    const char *ident;
    const char *tag;
    const char *message;
    const uint8_t *bytes; /* the whole entry */
    uint32_t size;        /* its bytes: 48 and the four strings with their NULs */
};

/* What an entry to be packed holds. Strings of any bytes; too long ones are cut. */
struct cluster_log_record {
    const char *node;
    const char *ident;
    const char *tag;
    const char *message; /* converted to ASCII */
    uint32_t uid;
    uint32_t time;
    uint32_t pid;
    uint8_t priority;
};

struct cluster_log_stamp {
    uint32_t time;
    uint32_t uid;
};

struct cluster_log {
    uint8_t *buffer; /* CLUSTER_LOG_SIZE bytes: what STATE messages carry */
    GHashTable
        *newest; /* node digest → struct cluster_log_stamp of the last entry taken of that node */
    uint64_t version; /* one more whenever the buffer changes */
    bool told_ahead;  /* the daemon's log has that this node's entries get a time to come */
};

/* 64-bit FNV-1a of a string with its NUL. */
uint64_t cluster_log_digest(const char *string);

/* The bytes of an entry, prev and next 0: as multicast. Never fails: strings are cut. */
struct buffer *cluster_log_entry_pack(const struct cluster_log_record *record);

/* Checks exactly `size` bytes as one entry. 0, or -EBADMSG. */
int cluster_log_entry_parse(const uint8_t *data, size_t size, struct cluster_log_entry *entry);

/* A way through a buffer from its newest entry backwards. */
struct cluster_log_walk {
    const uint8_t *buffer;
    uint32_t newest; /* offset of the newest entry */
    uint32_t offset; /* of the entry that comes next, 0: the end */
    uint32_t limit;  /* that entry must end here or before */
};

/* 0, or -EBADMSG if `size` or the header is wrong. */
int cluster_log_walk_start(struct cluster_log_walk *walk, const uint8_t *buffer, size_t size);

/* The next older entry, or false at the end or at the first thing that is wrong. */
bool cluster_log_walk_next(struct cluster_log_walk *walk, struct cluster_log_entry *entry);

struct cluster_log *cluster_log_new(void);
void cluster_log_free(struct cluster_log *log);

/* Stores a copy of the entry if it is newer than the last one taken of its node; tells whether. */
bool cluster_log_insert(struct cluster_log *log, const struct cluster_log_entry *entry);

/* Raises *stamp, if need be, above the last one taken of that node: an entry that this node makes
 * with it is taken everywhere, also when its clock was set back or it restarted within a second.
 * Logs it, once, if it is raised by more than a minute. */
void cluster_log_next_stamp(struct cluster_log *log, uint64_t node_digest,
                            struct cluster_log_stamp *stamp);

/* Replaces the buffer by the newest entries of its own and of `buffers` (foreign, each should be
 * CLUSTER_LOG_SIZE bytes). Gives the number of buffers that were left out as malformed. */
struct cluster_log_buffer {
    const uint8_t *data;
    size_t size;
};
size_t cluster_log_merge(struct cluster_log *log, const struct cluster_log_buffer *buffers,
                         size_t count);

/* .clusterlog of a buffer: JSON, the newest `max` entries (0: CLUSTER_LOG_SHOWN) of user `user`
 * (NULL or "": all). One reference. */
struct buffer *cluster_log_text(const uint8_t *buffer, uint32_t max, const char *user);

#endif
