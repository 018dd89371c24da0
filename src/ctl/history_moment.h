/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Moments of the history as people name them, and paths at them. */
#ifndef PMXCFS_CTL_HISTORY_MOMENT_H
#define PMXCFS_CTL_HISTORY_MOMENT_H

#include <stdbool.h>
#include <stdint.h>

#include "ctl/commands.h"
#include "history/reader.h"

struct history_moment {
    int64_t position; /* 0: before all that is recorded; HISTORY_NOW */
    bool complete;    /* trees and "was not there" are exact at it */
};

/* "now", a version, or what history_time_parse() takes (which must be over). EXIT_DONE, or another
 * code, and stderr says why. */
int history_moment_parse(struct history_reader *reader, const char *text,
                         struct history_moment *moment);

/* Cuts the path off before "@MOMENT", if it is known without that only: "MOMENT", which is in it;
 * NULL: it stays as it is. */
char *history_moment_cut(struct history_reader *reader, char *path);

/* PATH or PATH@MOMENT (else now), of which the path is what history_common_here() gave; it may have
 * an @ in it. *path: g_free() it, also after an error. */
int history_moment_split(struct history_reader *reader, const char *given, char **path,
                         struct history_moment *moment);

/* Does the history know the path, or something below it? If not, stderr says so, with the nearest
 * one. EXIT_DONE, EXIT_FAILED. */
int history_moment_known(struct history_reader *reader, const char *path);

/* The last change of the path up to the moment, after which it exists; history_change_free() it.
 * NULL: stderr says why there is none, and what could be asked instead. */
struct history_change *history_moment_of(struct history_reader *reader, const char *path,
                                         const struct history_moment *moment);

/* Says on stderr from when on the history is complete. */
void history_moment_warn(struct history_reader *reader);

/* Why there is no content of a version that exists: "it is private ..."; NULL: there is. */
const char *history_moment_missing(const struct history_version *version);

#endif
