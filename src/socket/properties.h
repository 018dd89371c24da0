/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Properties of guests, as their configurations hold them: requests 11 and 13 (doc/ipc.md). */
#ifndef PMXCFS_SOCKET_PROPERTIES_H
#define PMXCFS_SOCKET_PROPERTIES_H

#include <stdint.h>

#include "core/buffer.h"
#include "replica/replica.h"

/* Remembers what it found, so that a request for all guests costs nothing while no guest changes,
 * and after a change of one guest the parsing of that one. One thread uses it. */
struct properties;

/* Texts over this are not made (-EMSGSIZE). */
#define PROPERTIES_TEXT_MAX (1024u * 1024)

/* The replica must outlive it. */
struct properties *properties_new(struct replica *replica);
void properties_free(struct properties *properties); /* NULL is allowed */

/* {"ID":{"NAME":"value"}} for the guests that have any of `names` (NULL-ended, at least one).
 * `id` 0: all guests. 0 and *text with a reference for the caller; -ENOENT: no guest of that id;
 * -EMSGSIZE. Takes the state's lock for short times, touches memory only. */
int properties_get(struct properties *properties, uint32_t id, const char *const *names,
                   struct buffer **text);

/* How many configurations were parsed so far, for tests. */
uint64_t properties_parsed(const struct properties *properties);

#endif
