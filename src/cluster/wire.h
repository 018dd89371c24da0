/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages between members as bytes, and back. Every parser here is a door for foreign bytes. */
#ifndef PMXCFS_CLUSTER_WIRE_H
#define PMXCFS_CLUSTER_WIRE_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/machine_types.h"
#include "core/change.h"
#include "core/entry.h"
#include "core/limits.h"

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

/* The whole of a cluster log buffer, which is the body of the status group's STATE. */
#define CLUSTER_LOG_SIZE 131072u

/* No NORMAL message that is built here is longer than this, the header included: a file's content
 * and two paths. An UPDATE may be longer by an old entry's name; a STATE has 40 bytes for each
 * entry of the tree. */
#define MESSAGE_SIZE_MAX (FILE_SIZE_MAX + 2 * (PATH_LENGTH_MAX + 1) + 64u)

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

/* The header of any message; unknown types are taken as those with an epoch. -EBADMSG: too short.
 * `type` to `time` are filled in all the same if there are HEADER_SIZE bytes, since the protocol
 * version is judged before the length. Everything else is 0 then. */
int wire_parse_header(const uint8_t *data, size_t size, struct header *header);

/* The body of a configuration NORMAL message (after the count). -EBADMSG: malformed, the group is
 * left; a missing path is not malformed (change->path NULL). writer and time are filled in by the
 * caller. */
int wire_parse_change(uint16_t subtype, const uint8_t *body, size_t size, struct change *change);

/* A whole NORMAL message with a change, one reference; wire_number() is still to come. 0, or
 * -EMSGSIZE and NULL if it would be longer than MESSAGE_SIZE_MAX. */
int wire_build_change(const struct change *change, struct buffer **message);

/* An UPDATE's body (after the epoch) as a new entry with one reference, the caller's; -EBADMSG for
 * a wrong type, length or NUL. The root comes as inode 0 with an empty name. A file may come with a
 * size and no data at all: a hole (doc/cluster.md, UPDATE). */
int wire_parse_update(const uint8_t *body, size_t size, struct entry **entry);

/* The same test without making an entry. */
int wire_check_update(const uint8_t *body, size_t size);

/* A whole UPDATE message, one reference. The root: `entry` NULL, its fields from `root`. */
struct root;
struct buffer *wire_build_update(const struct epoch *epoch, uint32_t time,
                                 const struct entry *entry, const struct root *root);

/* A whole NORMAL message, one reference, with `body_size` bytes after the count, at most
 * MESSAGE_SIZE_MAX with the header. */
struct buffer *wire_build_normal(uint16_t subtype, uint32_t protocol, uint64_t count, uint32_t time,
                                 const uint8_t *body, size_t body_size);

/* Puts count and time into a NORMAL message that nobody else has yet. */
void wire_number(struct buffer *message, uint64_t count, uint32_t time);

/* A whole message of types 1 to 6, one reference, with `body_size` bytes after the epoch. */
struct buffer *wire_build_sync(enum message_type type, uint32_t protocol, const struct epoch *epoch,
                               uint32_t time, const uint8_t *body, size_t body_size);

/* Confirmations: messages of the configuration group with an epoch that no synchronisation has, so
 * that members which do not know of them ignore them in every mode. */

/* A member's request for confirmation that another has all that was delivered up to it. */
struct confirmation {
    struct member member; /* whose request */
    uint64_t count;       /* the number that it gave it */
};

/* Whether a whole message is one of the two; it need not be well-formed. */
bool wire_is_confirm_request(const struct header *header);
bool wire_is_confirmation(const struct header *header);

/* Whole messages, one reference. A confirmation of nothing tells that its sender confirms. */
struct buffer *wire_build_confirm_request(uint64_t count, uint32_t time);
struct buffer *wire_build_confirmation(const struct confirmation *confirmations, size_t number,
                                       uint32_t time);

/* Their bodies. -EBADMSG: malformed, to be ignored. The count is 0 if nothing of that member's is
 * confirmed. */
int wire_parse_confirm_request(const uint8_t *body, size_t size, uint64_t *count);
int wire_parse_confirmation(const uint8_t *body, size_t size, struct member member,
                            uint64_t *count);

#endif
