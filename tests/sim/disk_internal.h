/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The disk's own files: disk.c (files, faults, SQLite's file layer), disk_calls.c (the journal's
 * system calls), disk_store.c (what does without SQLite). */
#ifndef PMXCFS_SIM_DISK_INTERNAL_H
#define PMXCFS_SIM_DISK_INTERNAL_H

#include <stddef.h>

#include "core/tree.h"
#include "disk.h"

/* A write or truncation that power loss may undo. */
struct unsynced {
    uint64_t offset;
    GByteArray *bytes; /* NULL: truncated to `offset` */
};

struct file {
    GByteArray *now;
    GByteArray *safe;   /* as of the last sync */
    GArray *unsynced;   /* struct unsynced, in order */
    GPtrArray *handles; /* struct handle, borrowed */
    GPtrArray *shm;     /* regions of the log's index, owned */
};

/* The rows of a database without SQLite. */
struct rows {
    GHashTable *entries; /* inode → struct entry, owned reference */
    struct root root;
};

/* A safety copy. */
struct copy {
    struct rows *rows;
    bool whole;  /* all was written */
    bool stored; /* what it was made for was done, as far as is known */
};

/* Many members: what is on it, and what is wrong with it. */
struct disk {
    struct random *random;
    struct disk_listener *listener;
    bool sqlite;
    bool full;
    bool failing;
    bool bad_block;
    bool in_rebuild; /* the commit of a synchronisation is under way */
    bool crashed;
    bool lost_power; /* ever */
    uint32_t fail_at;
    uint32_t crash_at;
    enum crash_kind crash_kind;
    char path[32];
    char directory[16]; /* for safety copies */
    GHashTable *copies; /* name → struct copy */
    char *kept;         /* name of the last one; NULL: none, or it is forgotten */
    GHashTable *files;  /* name → struct file */
    struct rows *rows;
    GHashTable *left; /* after a crash: name → GByteArray */
};

/* The disk that has files of such names, NULL: none. */
struct disk *disk_of(const char *name);

/* The disk that has `address` at `offset` of its structure, NULL: none. */
struct disk *disk_at(const void *address, size_t offset);

/* NULL: there is none, and none is to be made. */
struct file *disk_file(struct disk *disk, const char *name, bool make);

/* 0, -EIO or -ENOSPC; a step at which the disk may crash. */
int disk_write(struct disk *disk, struct file *file, const void *data, size_t size,
               uint64_t offset);
/* Without a step, and without a look at what is wrong. */
void disk_truncate(struct file *file, uint64_t size);
void disk_sync(struct file *file);

/* One more write or sync was carried out. */
void disk_count_step(struct disk *disk);

/* It has crashed, or refuses every write. */
bool disk_is_useless(const struct disk *disk);

struct rows *rows_new(void);
void rows_free(struct rows *rows); /* NULL is allowed */
struct rows *rows_copy(const struct rows *rows);
void copy_free(gpointer copy);

/* Away with a safety copy; false: there is none of this name. */
bool disk_remove_copy(struct disk *disk, const char *name);

#endif
