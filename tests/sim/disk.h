/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node's disk in memory: it fills up, fails, and loses what was not synced when power goes. */
#ifndef PMXCFS_SIM_DISK_H
#define PMXCFS_SIM_DISK_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/draft.h"
#include "core/entry.h"
#include "random.h"

/* Two kinds of database lie on it. With SQLite, a file layer of SQLite's keeps the files here, with
 * all their writes and syncs, and the journal's system calls end here too. Without, a commit is one
 * step that puts rows into a map (store_*() are wrapped by the linker): 20 times as fast, which
 * buys more seeds. */
struct disk;

/* What is on a disk that nobody has open; a new disk may start as a copy of it. */
struct image;

/* How a crash ends. */
enum crash_kind {
    CRASH_PROCESS, /* kill -9: what was written is there */
    CRASH_POWER,   /* what was synced is there, and anything or nothing of the rest */
};

struct disk_listener {
    /* The disk has reached the write at which it was to crash. */
    void (*crashing)(struct disk_listener *listener);
    /* A commit failed: until the next one that does not, a start may find what it was to make. */
    void (*refused)(struct disk_listener *listener, const struct draft *draft);
    void (*stored)(struct disk_listener *listener);
    /* What is done to safety copies is not what was promised. */
    void (*copies_wrong)(struct disk_listener *listener, const char *what);
};

struct disk *disk_new(struct random *random, bool sqlite, struct disk_listener *listener);
void disk_free(struct disk *disk);

/* The name for store_open(), and the file layer for store_options. */
const char *disk_path(const struct disk *disk);
const char *disk_vfs(const struct disk *disk);

/* Where safety copies go; has the last one this entry, as it is? And away with it. */
const char *disk_safety_directory(const struct disk *disk);
bool disk_has_kept(const struct disk *disk, const struct entry *entry);
void disk_forget_kept(struct disk *disk);

/* Older safety copies, as of long ago. How many there are, and of these; has any an entry of that
 * name? */
void disk_add_copies(struct disk *disk, unsigned count);
unsigned disk_count_copies(const struct disk *disk, unsigned *old);
bool disk_is_kept(const struct disk *disk, const char *name);

/* The database of a node that is stopped, and such a one in its place: a journal stays. Nobody may
 * have it open. */
struct image *disk_image(const struct disk *disk);
void disk_restore(struct disk *disk, const struct image *image);
bool disk_has_journal(const struct disk *disk); /* with changes in it */
void image_free(struct image *image);

/* Faults: writes that need more room fail; every write and sync fails; the commits of
 * synchronisations, which are large, reach a bad block. */
void disk_set_full(struct disk *disk, bool full);
void disk_set_failing(struct disk *disk, bool failing);
void disk_set_bad_block(struct disk *disk, bool bad);
void disk_fail_at(struct disk *disk, uint32_t count); /* after so many writes and syncs from now */
void disk_mend(struct disk *disk);
bool disk_is_well(const struct disk *disk);

/* The `count`-th write or sync from now (from 1) is the last one that is carried out, then the
 * listener is told and nothing works any more until disk_reboot(). 0: never. */
void disk_crash_at(struct disk *disk, uint32_t count, enum crash_kind kind);
void disk_crash(struct disk *disk, enum crash_kind kind); /* now */
bool disk_has_crashed(const struct disk *disk);
bool disk_lost_power(const struct disk *disk); /* ever */

/* After a crash, when the store was closed: what is left is what the disk holds. */
void disk_reboot(struct disk *disk);

#endif
