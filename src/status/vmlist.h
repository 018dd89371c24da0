/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The text of .vmlist, made of a copy of the guest list. */
#ifndef PMXCFS_STATUS_VMLIST_H
#define PMXCFS_STATUS_VMLIST_H

#include <stdint.h>

#include "core/buffer.h"
#include "core/guests.h"

/* A copy of the guest list in two pieces of memory: made under the state's lock, turned into text
 * without it. */
struct guest_snapshot;

/* The caller holds the state's lock (shared will do). */
struct guest_snapshot *guest_snapshot_new(const struct guest_list *list);
void guest_snapshot_free(struct guest_snapshot *snapshot);

/* Embedded in whoever owns the state: gives a copy of the guest list as of now, the caller's to
 * free. Any thread; takes the state's lock itself. */
struct guest_source {
    struct guest_snapshot *(*take)(struct guest_source *source);
};

/* Compact JSON, guests in order of their ids (the snapshot is put in order). One reference. */
struct buffer *vmlist_text(struct guest_snapshot *snapshot, uint64_t version);

#endif
