/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The counters of .version: what clients compare to learn that something changed. */
#ifndef PMXCFS_STATUS_VERSIONS_H
#define PMXCFS_STATUS_VERSIONS_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

/* Which operation raises what: doc/status.md, ".version". No lock: the owner serialises. */

#define WATCHED_FILES 43u

struct versions {
    uint64_t clinfo;
    uint64_t vmlist;
    uint64_t files[WATCHED_FILES]; /* in an order of their own */
};

/* Raises what the applied changes `effects` (struct effect, in order) concern; true if anything
 * rose. */
bool versions_published(struct versions *versions, const GPtrArray *effects);

/* After a load or a commit of a synchronisation: every file and the guest list count as changed. */
void versions_rebuilt(struct versions *versions);

/* Adds clinfo, vmlist and all files to a JSON object. */
void versions_json(const struct versions *versions, json_t *object);

#endif
