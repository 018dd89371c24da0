/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What only a person at a terminal gets to see: colours and progress bars. */
#ifndef PMXCFS_CTL_TERMINAL_H
#define PMXCFS_CTL_TERMINAL_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

#include "base/lock.h"

enum colour { COLOUR_RED, COLOUR_GREEN, COLOUR_YELLOW, COLOUR_BOLD };

/* What begins a colour on `file`, and what ends it: "" unless it is a terminal that has colours and
 * the environment has no NO_COLOR. */
const char *colour_begin(FILE *file, enum colour colour);
const char *colour_end(FILE *file);

#define CLEAR_SCREEN "\033[H\033[2J"

/* Waits so long; false: somebody pressed q at the terminal meanwhile, or it has gone. Without a
 * terminal at stdin, and in the background, it only waits. */
bool terminal_pause(double seconds);

/* One line on stderr, if that is a terminal, for what takes longer than a second. A thread of its
 * own writes it, so that it is there also while nobody tells how far it is. */
struct progress {
    const char *what; /* "reading config.db": lent until progress_end() */
    GThread *thread;  /* NULL: no terminal, nothing is shown */
    struct lock lock; /* guards all that follows */
    pthread_cond_t changed;
    int64_t started; /* of g_get_monotonic_time() */
    uint64_t done, total;
    bool shown; /* the line is there */
    bool stop;
};

/* The struct must stay where it is until progress_end(). */
void progress_start(struct progress *progress, const char *what);

/* So much is done; as often as one likes. `total` 0: how much there is to do is not known. */
void progress_step(struct progress *progress, uint64_t done, uint64_t total);

/* Takes the line away, since something else is to be printed; it comes again in a second. */
void progress_hide(struct progress *progress);

/* Takes the line away for good. Also if it was ended before, or is all zero. */
void progress_end(struct progress *progress);

#endif
