/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What may have been meant by a name that nothing has. */
#ifndef PMXCFS_CTL_SUGGEST_H
#define PMXCFS_CTL_SUGGEST_H

#include <glib.h>

/* How many letters must be put in, left out, altered or swapped with their neighbour to make one of
 * the other; the case of ASCII letters does not count. Names are cut to 255 bytes. */
unsigned int suggest_distance(const char *first, const char *second);

/* The one of `known` (char *) that is nearest to `word`, NULL if none is near enough to be meant.
 * Of several that are equally near the first. */
const char *suggest(const char *word, const GPtrArray *known);

/* The same as the end of a message: "; did you mean 'node3'?", or "". g_free() it. */
char *suggest_text(const char *word, const GPtrArray *known);

#endif
