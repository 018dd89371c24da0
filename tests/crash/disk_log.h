/* SPDX-License-Identifier: GPL-3.0-or-later */
/* All that a process does to files of SQLite, as a list; and the disk as it may be found after a
 * crash at any place of that list. */
#ifndef PMXCFS_TESTS_DISK_LOG_H
#define PMXCFS_TESTS_DISK_LOG_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* SQLite's usual file layer with a recorder around it becomes the default one; open(), rename(),
 * unlink(), fsync(), and what is done to the journal, go through it too (--wrap of the linker). One
 * thread at a time. */
void disk_log_install(void);

enum disk_step {
    DISK_CREATE,   /* `name`: a new, empty file */
    DISK_WRITE,    /* `file`, `offset`, `bytes` */
    DISK_TRUNCATE, /* `file`, `offset`: its size from now on */
    DISK_SYNC,     /* `file` */
    DISK_DELETE,   /* `name` */
    DISK_RENAME,   /* `name`, `to` */
    DISK_SYNC_DIRECTORY,
};

struct disk_event {
    enum disk_step step;
    unsigned file; /* a number for each file that was ever made */
    char *name;    /* without the directory */
    char *to;
    uint64_t offset;
    GByteArray *bytes;
    unsigned mark; /* as disk_log_mark() set it */
};

/* Starts a list of what happens to files in `directory`, which is empty. */
void disk_log_start(const char *directory);

/* What events that follow have as their mark. */
void disk_log_mark(unsigned mark);

/* Called before each step and each look at the disk, outside of all of them; NULL: nothing. */
void disk_log_each(void (*function)(void));

/* Ends the list: struct disk_event, g_ptr_array_unref() it. */
GPtrArray *disk_log_stop(void);

/* How the process ended. */
enum disk_crash {
    CRASH_KILLED, /* the process alone: all that it did is there */
    CRASH_TORN,   /* the same, but of the last write there is a part only */
    CRASH_POWER,  /* what was synced is there, nothing else */
    CRASH_MIXED,  /* what was synced is there, and of the rest any sectors, files and names */
};

/* Puts into `directory` (empty) what is left after the first `count` events. `seed`: for what is
 * left to chance. */
void disk_log_restore(const GPtrArray *events, guint count, enum disk_crash crash, uint32_t seed,
                      const char *directory);

/* --- Errors --- */

enum disk_fault {
    FAULT_ERROR,  /* EIO */
    FAULT_FULL,   /* what needs room: ENOSPC; else EIO */
    FAULT_MEMORY, /* calls are SQLite's for memory, which there is none of */
};

/* The `count`-th call from now (from 1) fails, and if `lasting` all after it. 0: none. */
void disk_fail_at(unsigned count, enum disk_fault fault, bool lasting);

/* Calls since then, and whether one failed. */
unsigned disk_calls(void);
bool disk_has_failed(void);

#endif
