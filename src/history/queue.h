/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The records that wait to be written, in order; the steps of one piece of writing are one. */
#ifndef PMXCFS_HISTORY_QUEUE_H
#define PMXCFS_HISTORY_QUEUE_H

#include <stddef.h>

#include "history/record.h"

#define QUEUE_LATEST 256u

/* One thread at a time. Inside history only. */
struct record_queue {
    struct record *first;
    struct record *last;
    size_t count;
    size_t bytes; /* that the records keep in memory */
    size_t trees; /* of the records, those with a whole tree */
    /* By what is there after them: of the latest records those to which more may be added. A
     * collision costs a row. */
    struct record *latest[QUEUE_LATEST];
};

/* The record of the queue that `record` goes on with, which it has made part of itself: a file was
 * truncated, and then written, or more was written behind what there was, by the same process. It
 * is taken out, and the caller's to free. NULL: there is none. */
struct record *record_queue_absorb(struct record_queue *queue, struct record *record);

/* Adds it at the end, and takes it over. */
void record_queue_add(struct record_queue *queue, struct record *record);

/* Moves all of `from` behind what is in `to`; nothing is added to records of either any more. */
void record_queue_move(struct record_queue *to, struct record_queue *from);

/* Frees all of them. */
void record_queue_clear(struct record_queue *queue);

#endif
