/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How large a database is. */
#ifndef PMXCFS_CTL_TOOLS_MEASURE_H
#define PMXCFS_CTL_TOOLS_MEASURE_H

#include <stdint.h>

/* What a database takes on the disk. */
struct tools_sizes {
    uint64_t file;    /* bytes */
    uint64_t wal;     /* bytes of the WAL beside it, 0: there is none */
    uint64_t journal; /* the same of the journal */
    uint32_t page_size;
    uint32_t pages;
    uint32_t free_pages; /* of these */
};

/* Looks at the database at `path` without altering it. 0, or a negative errno with *message. */
int tools_measure(const char *path, struct tools_sizes *sizes, char **message);

#endif
