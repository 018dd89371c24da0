/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which paths the history does not keep: locks, temporary names, what changes all day by itself. */
#ifndef PMXCFS_HISTORY_PATTERNS_H
#define PMXCFS_HISTORY_PATTERNS_H

#include <stdbool.h>

struct patterns;

/* `changes`: a list with commas of patterns that are added to the usual ones, or, with "!" before
 * them, taken away from those; NULL: none. A pattern with a slash, or with "^" before it, is one of
 * whole paths, any other one of names. "*" and "?" stand for slashes too. */
struct patterns *patterns_new(const char *changes);
void patterns_free(struct patterns *patterns);

/* Whether the path is not kept. Any thread. */
bool patterns_skip(const struct patterns *patterns, const char *path);

#endif
