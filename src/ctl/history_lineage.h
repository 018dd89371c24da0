/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a file became what it is, also under the names that it had before. */
#ifndef PMXCFS_CTL_HISTORY_LINEAGE_H
#define PMXCFS_CTL_HISTORY_LINEAGE_H

#include <stdbool.h>
#include <stdint.h>

#include "history/reader.h"

/* The changes of the file that had the path at `position`, newest first: struct history_change,
 * which g_ptr_array_unref() frees. A rename to a name that was free is followed and is no change
 * itself (a guest that moves stays the same guest); what is renamed over another file is a new
 * version of that. 0 or a negative errno; empty: nothing is recorded of it. */
int history_lineage(struct history_reader *reader, const char *path, int64_t position,
                    GPtrArray **changes);

/* Did that change alter a content, or whether there is one? Where none is kept: may it have? */
bool history_lineage_alters(const struct history_change *change);

/* Is the older one, which comes behind the newer in a list, a piece of the same writing of a file?
 * What is written in large pieces is several changes; and all rows of one version are one. */
bool history_lineage_continues(const struct history_change *newer,
                               const struct history_change *older);

#endif
