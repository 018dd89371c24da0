/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Locks, as the daemon tells them. */
#ifndef PMXCFS_CTL_LOCKS_H
#define PMXCFS_CTL_LOCKS_H

#include <jansson.h>

/* Who took or renewed it last, as far as can be known: "process 123 (pvedaemon)". g_free() it. */
char *locks_holder(json_t *lock);

#endif
