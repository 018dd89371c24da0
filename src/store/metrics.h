/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The part of .metrics that the store has to tell, and the sizes of its files. */
#ifndef PMXCFS_STORE_METRICS_H
#define PMXCFS_STORE_METRICS_H

#include <stddef.h>
#include <stdint.h>

struct open_metrics;
struct store;

#define STORE_FILES_MAX 4

struct store_file {
    const char *name; /* static: config.db, config.db-wal ... */
    uint64_t bytes;
};

/* The files of the open database that are there; gives their number. The names of open files are in
 * the kernel's memory: this does not wait for a disk that hangs. Any thread. */
size_t store_files(const struct store *store, struct store_file files[STORE_FILES_MAX]);

void store_metrics_write(struct store *store, struct open_metrics *metrics);

#endif
