/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A database and its journal as they are at one moment, while a daemon may be writing to both.
 * Inside tools only. */
#ifndef PMXCFS_CTL_TOOLS_SNAPSHOT_H
#define PMXCFS_CTL_TOOLS_SNAPSHOT_H

#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>

#include "journal/replay.h"

/* From now on `db`, a connection to the database at `path`, reads it as it is at this moment, and
 * *journal (g_byte_array_unref() it) is what goes with that. 0, or a negative errno with *message.
 */
int snapshot_begin(sqlite3 *db, const char *path, GByteArray **journal, char **message);

/* True if nothing at all is in the journal. */
bool snapshot_is_empty(const GByteArray *journal);

/* What a start would do with the journal: brings it into the tree that was read, as far as that
 * goes; the pointer may change. `effects`: what its records did is added; NULL: not wanted.
 * replay_clear() *replay, before `journal` goes. */
void snapshot_replay(const GByteArray *journal, GPtrArray *effects, struct replay *replay,
                     struct tree **tree);

#endif
