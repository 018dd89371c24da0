/* SPDX-License-Identifier: GPL-3.0-or-later */
/* SHA-256 digests of entries, locks and whole trees (doc/cluster.md). */
#ifndef PMXCFS_CORE_DIGEST_H
#define PMXCFS_CORE_DIGEST_H

#include "core/tree.h"

/* Makes libcrypto ready. To be called before there are threads: when two begin with it at the same
 * time, the order of its thread-specific keys is chance, and in one order it never frees the error
 * state of a thread that ends. */
void digest_init(void);

/* Any thread. */
void bytes_digest(const void *data, size_t size, uint8_t digest[DIGEST_SIZE]);

/* The entry digest, computed when first asked for and kept in the entry. Writer only. */
const uint8_t *entry_digest(struct entry *entry);

/* Entry digests are computed anew from what is in memory now. Writer only. */
void tree_forget_digests(struct tree *tree);

void root_digest(const struct root *root, uint8_t digest[DIGEST_SIZE]);

/* The entry digest's fields with the inode before them. Any thread. */
void lock_digest(const struct entry *entry, uint8_t digest[DIGEST_SIZE]);

/* The full checksum of a published tree: what VERIFY messages compare. */
void tree_checksum(const struct tree *tree, uint8_t digest[DIGEST_SIZE]);

#endif
