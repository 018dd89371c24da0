/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What corosync tells of itself, within a deadline. */
#ifndef PMXCFS_CTL_DOCTOR_ASK_COROSYNC_H
#define PMXCFS_CTL_DOCTOR_ASK_COROSYNC_H

#include <jansson.h>

/* Asks the corosync of this host, in a process of its own, since its libraries wait for ever for
 * one that is stopped. An object, json_decref() it:
 *   "own"      id of this node
 *   "version"  totem.config_version that it works with, 0: none
 *   "nodes"    list of "id", "name", "votes", "joined", "links": a list of "number", "connected"
 *   "votes"    "expected", "total", "needed", "quorate"; missing without votequorum
 * NULL with *error: -ENOTCONN (none runs), -ETIMEDOUT, or another negative errno. */
json_t *doctor_ask_corosync(int milliseconds, int *error);

#endif
