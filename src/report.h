/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the daemon tells of itself as a whole: .metrics, and the answer of request 101. */
#ifndef PMXCFS_REPORT_H
#define PMXCFS_REPORT_H

#include <pthread.h>
#include <stdbool.h>

#include "base/clock.h"
#include "cluster/corosync.h"
#include "mount/operations.h"
#include "replica/replica.h"
#include "socket/requests.h"
#include "status/overview.h"
#include "status/status.h"
#include "store/store.h"

/* Who is asked; all must outlive the report. */
struct report_parts {
    const char *mountpoint;
    const char *state_dir;
    struct clock_source *clock;
    struct store *store;
    struct replica *replica;
    struct status *status;
    struct corosync *corosync; /* NULL: local mode */
    const struct mount_metrics *mount;
    const struct socket_metrics *socket;
};

/* Embedded in its owner, who must not move it. */
struct report {
    struct overview overview;
    struct report_parts parts;

    /* The text of .metrics and when it was made. */
    pthread_mutex_t lock;
    struct buffer *text;
    uint64_t made; /* milliseconds */
};

void report_init(struct report *report, const struct report_parts *parts);
void report_clear(struct report *report);

/* What several of the texts need, as of now; for report*.c. */
struct report_facts {
    struct replica_status replica;
    struct replica_checksum checksum;
    struct status_counters counters;
    uint64_t version; /* of the tree */
    uint64_t bytes;   /* of all contents */
    uint32_t entries;
    uint32_t guests;
    uint32_t locks;
    uint64_t outbox[2]; /* by enum machine_group */
};
void report_gather(const struct report *report, struct report_facts *facts);

/* A file of the database and its bytes; `name` is owned. */
struct report_file {
    char *name;
    uint64_t bytes;
};

/* The files of the database that are open: their sizes are in memory, unlike directories, whose
 * reading may wait for a disk that hangs. g_ptr_array_unref() frees them. */
GPtrArray *report_files(void);

/* report_metrics.c: the text of .metrics. One reference. */
struct buffer *report_make_metrics(const struct report *report);

#endif
