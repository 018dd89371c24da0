/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RRD files: written by a thread of their own, through rrdcached when it answers. */
#ifndef PMXCFS_STATUS_RRD_H
#define PMXCFS_STATUS_RRD_H

#include <stddef.h>
#include <stdint.h>

#include "status/status.h"

struct rrd;

/* What waits to be written is bounded by both; the oldest is dropped. Every value of a cluster with
 * 20 000 guests fits. */
#define RRD_QUEUE_VALUES 32768u
#define RRD_QUEUE_BYTES (16u * 1024 * 1024)

/* For tests: what became of the values. */
struct rrd_statistics {
    uint64_t written; /* values that reached a file or rrdcached */
    uint64_t failed;  /* values that could not be written, or may not be (doc/rrd.md) */
    uint64_t dropped; /* values that came while the queue was full */
    uint32_t waiting;
};

/* Starts the thread. `directory` (absolute, made when first needed) is where the files are;
 * `rrdcached_address` is as librrd takes it (unix:PATH), NULL: always write to the files. 0 and
 * *rrd, or a negative errno. The files and keys are described in doc/rrd.md. */
int rrd_start(const char *directory, const char *rrdcached_address, struct rrd **rrd);

/* Hands over a value that was set for the status name "rrd/KEY" (`key` is without "rrd/"); the
 * bytes are copied. Any thread; memory only, never waits. */
void rrd_submit(struct rrd *rrd, const char *key, const void *value, size_t size);

/* What hands the values that a status hears of over to rrd_submit(); owned by `rrd`. */
struct rrd_listener *rrd_listener(struct rrd *rrd);

/* For tests. Any thread. */
struct rrd_statistics rrd_statistics(struct rrd *rrd);

/* For tests, before the first value: how long a rrdcached that has answered is waited for. */
void rrd_set_patience(struct rrd *rrd, uint32_t milliseconds);

/* Ends the thread and frees all; NULL is allowed. What waits is still written, for a second at
 * most; what waits for a rrdcached that does not answer is lost. A thread that is then stuck (a
 * disk that hangs) is left behind; it frees what it holds if it ever comes back. Nobody may submit
 * any more. */
void rrd_stop(struct rrd *rrd);

#endif
