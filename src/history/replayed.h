/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A history together with what a journal holds that has not reached it: that of a dead host. */
#ifndef PMXCFS_HISTORY_REPLAYED_H
#define PMXCFS_HISTORY_REPLAYED_H

#include <glib.h>

#include "history/reader.h"

/* If there is anything in `effects` (struct effect, in order) that the history has not, *reader is
 * replaced by one of a copy that has; the copy has no name, and goes with it. What is never kept,
 * and contents of private files, are not in it, nor who asked. 0, or a negative errno with *message
 * (g_free() it); then *reader is as before. */
int history_add_replayed(struct history_reader **reader, const GPtrArray *effects, char **message);

#endif
