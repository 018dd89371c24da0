/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Guests as the history has them: those that were deleted, and those of a dead host. */
#ifndef PMXCFS_CTL_GUESTS_DELETED_H
#define PMXCFS_CTL_GUESTS_DELETED_H

#include <jansson.h>
#include <stdint.h>

#include "ctl/commands.h"
#include "history/reader.h"

/* The guests that the history has now, as .vmlist has them; json_decref() it. NULL: stderr says why
 * not. */
json_t *guests_recorded(struct history_reader *reader);

/* Those that were deleted since then (seconds) and whose id is not in `ids`, the last one first:
 * id, type, node, path, version, time, who and the command that brings it back; json_decref() it.
 * NULL: stderr says why not. */
json_t *guests_deleted(struct history_reader *reader, int64_t since, json_t *ids);

/* Prints them. */
void guests_print_deleted(json_t *deleted);

/* That one; NULL: it is not among them (which may be NULL). Borrowed. */
json_t *guests_find_deleted(json_t *deleted, const char *id);

#endif
