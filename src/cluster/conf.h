/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The version in a corosync.conf. */
#ifndef PMXCFS_CLUSTER_CONF_H
#define PMXCFS_CLUSTER_CONF_H

#include <stddef.h>
#include <stdint.h>

/* Rules: doc/cluster.md, "corosync.conf". */

/* Its path in the tree. */
#define CONF_PATH "corosync.conf"

/* The number after the first "config_version:", blanks and newlines around the colon allowed; 0:
 * there is none. What does not fit is UINT64_MAX. Foreign bytes, any. */
uint64_t conf_version(const uint8_t *data, size_t size);

#endif
