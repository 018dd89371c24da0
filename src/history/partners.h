/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Files that are of no use without others: the halves of a pair of keys, a certificate and its
 * issuer. */
#ifndef PMXCFS_HISTORY_PARTNERS_H
#define PMXCFS_HISTORY_PARTNERS_H

#include <stdbool.h>
#include <stddef.h>

/* Partner number `index` of a path of the tree, from 0: all of them have to be of the same time.
 * NULL: there are no more. One that begins with a slash is of the host, not of the tree. g_free()
 * it. */
char *partners_get(const char *path, size_t index);

/* Whether it is outside the tree. */
bool partners_is_outside(const char *partner);

#endif
