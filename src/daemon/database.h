/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Opens the database at the start, and gives a new one the host's corosync.conf. */
#ifndef PMXCFS_DAEMON_DATABASE_H
#define PMXCFS_DAEMON_DATABASE_H

#include "host/options.h"
#include "store/store.h"

/* Opens STATE_DIR/config.db, or makes it. A database in which nothing ever was gets the host's
 * corosync.conf, if there is one, unless the options say local mode. `witness`: of the store, or
 * NULL. 0, and *store and *tree are the caller's; or a negative errno, which is logged, and both
 * are NULL. */
int database_open(const struct options *options, struct store_witness *witness,
                  struct store **store, struct tree **tree);

#endif
