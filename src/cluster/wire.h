/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages between members as bytes, and back. Every parser here is a door for foreign bytes. */
#ifndef PMXCFS_CLUSTER_WIRE_H
#define PMXCFS_CLUSTER_WIRE_H

#include <stddef.h>
#include <stdint.h>

#include "cluster/machine.h"
#include "core/change.h"
#include "core/entry.h"

/* Layouts: doc/cluster.md. Parsers give 0 or -EBADMSG; what they give borrows from `data`. */

enum message_type {
    MESSAGE_NORMAL = 0,
    MESSAGE_SYNC_START = 1,
    MESSAGE_STATE = 2,
    MESSAGE_UPDATE = 3,
    MESSAGE_UPDATE_COMPLETE = 4,
    MESSAGE_VERIFY_REQUEST = 5,
    MESSAGE_VERIFY = 6,
};

#define HEADER_SIZE 16u
#define NORMAL_HEADER_SIZE 24u /* with the count */
#define SYNC_HEADER_SIZE 32u   /* with the epoch */
#define CONFIGURATION_PROTOCOL 1u
#define STATUS_PROTOCOL 0u

/* The longest message that libcpg takes in one piece is 1 MiB and a little more; none of ours is
 * longer than this. */
#define MESSAGE_SIZE_MAX (FILE_SIZE_MAX + 8192u)

struct header {
    uint16_t type;
    uint16_t subtype;
    uint32_t protocol;
    uint32_t time;
    uint64_t count;      /* NORMAL */
    struct epoch epoch;  /* all others */
    const uint8_t *body; /* what follows */
    size_t body_size;
};

int wire_parse_header(const uint8_t *data, size_t size, struct header *header);

/* The body of a configuration NORMAL message (after the count). -EBADMSG: malformed, the group is
 * left; a missing path is not malformed (change->path NULL). writer and time are filled in by the
 * caller. */
int wire_parse_change(uint16_t subtype, const uint8_t *body, size_t size, struct change *change);

/* The body of a change, appended to `body`. 0, or -EMSGSIZE. */
int wire_build_change(const struct change *change, GByteArray *body);

/* An UPDATE's body (after the epoch) as a new entry; -EBADMSG for a wrong type, length or NUL. The
 * root comes as inode 0 with an empty name. */
int wire_parse_update(const uint8_t *body, size_t size, struct entry **entry);

/* A whole UPDATE message. The root: `entry` NULL, its fields from `root`. */
struct root;
struct block *wire_build_update(const struct epoch *epoch, uint32_t time, const struct entry *entry,
                                const struct root *root);

/* A whole message of types 1 to 6 with `body_size` bytes after the epoch. */
struct block *wire_build_sync(enum message_type type, uint32_t protocol, const struct epoch *epoch,
                              uint32_t time, const uint8_t *body, size_t body_size);

#endif
