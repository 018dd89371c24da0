/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The running journal: what was acknowledged and is not in config.db yet, in a file beside it and
 * in memory (doc/journal.md). */
#ifndef PMXCFS_JOURNAL_JOURNAL_H
#define PMXCFS_JOURNAL_JOURNAL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "base/clock.h"
#include "base/metrics.h"
#include "core/draft.h"
#include "journal/record.h"

struct journal;

/* What is in one area: the outcome of its records. */
struct journal_waiting {
    GHashTable *entries; /* inode → struct entry (owned reference) or NULL: deleted */
    struct root root;    /* row 0 after them */
    const char *aside;   /* the word of quarantine under which the file is kept once they are in
                            config.db, since there is more in it; NULL: it is dropped */
};

/* What an append says to those who fold. */
enum journal_urgency {
    JOURNAL_WAITS, /* others wait already */
    JOURNAL_FIRST, /* the first of its area: its age counts from now on */
    JOURNAL_LARGE, /* so much waits that it should be folded now */
};

struct journal_options {
    bool full;                  /* a record is synced before its append returns */
    uint64_t delay;             /* milliseconds that a record may wait; 0: none is appended */
    struct clock_source *clock; /* borrowed; NULL: the system's */
};

/* Opens or makes the journal at `path` (mode 0600). What is in the file is dropped, unless `left`
 * says what of it is to be folded first: then nothing is appended before journal_restart(). `left`
 * is taken over, or NULL. 0, or a negative errno with *message (`left` is freed then). */
int journal_open(const char *path, const struct journal_options *options,
                 struct journal_waiting *left, struct journal **journal, char **message);

/* Appends all that `draft` changes. 0: it survives the end of this process (full: of power).
 * -EAGAIN: not by this way, or not now: fold, journal_restart(), and store it in config.db; -ENOSPC
 * and others: the same, since the file could not be written. The writer. */
int journal_append(struct journal *journal, const struct draft *draft,
                   enum journal_urgency *urgency);

/* What is to be folded next; NULL: nothing waits. It stays until journal_folded(), while appends go
 * on. One thread at a time, any. */
const struct journal_waiting *journal_take(struct journal *journal);

/* What was taken is in config.db, and safe there; or config.db did not take it. Without either the
 * fold is under way, and appends go on for longer. */
void journal_folded(struct journal *journal);
void journal_not_folded(struct journal *journal);

/* Empties the file, or begins another where it is to be kept (`aside`); nothing waits and no append
 * is under way. Before config.db is changed by another way than a fold, or the file would look
 * overtaken. 0 or a negative errno. */
int journal_restart(struct journal *journal);

/* What was appended since it was opened. Any thread. */
struct journal_metrics {
    struct counter records;
    struct counter bytes;
};
const struct journal_metrics *journal_metrics(const struct journal *journal);

/* Closes it; `remove`: with its file, unless that is to be kept. NULL is allowed. */
void journal_close(struct journal *journal, bool remove);

/* An empty list of entries that owns them. */
GHashTable *journal_entries_new(void);

#endif
