/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What stat shows as inode numbers: those of a tree's entries and of the made-up names, no two of
 * which are the same. */
#ifndef PMXCFS_KERNEL_INODE_NUMBER_H
#define PMXCFS_KERNEL_INODE_NUMBER_H

#include <stdint.h>
#include <sys/types.h>

#include "kernel/virtual_name.h"

#define INODE_NUMBER_ROOT 1
#define INODE_NUMBER_VIRTUAL 0x7fffffffffff0000ull /* of the first made-up name */
/* Of the entry whose inode number is the root's: databases made by tools have one. */
#define INODE_NUMBER_DISPLACED (INODE_NUMBER_VIRTUAL + VIRTUAL_COUNT)

/* 0: the root. */
static inline ino_t inode_number(uint64_t inode)
{
    if (inode == 0)
        return INODE_NUMBER_ROOT;
    return inode == INODE_NUMBER_ROOT ? INODE_NUMBER_DISPLACED : inode;
}

static inline ino_t inode_number_of_virtual(enum virtual_name name)
{
    return INODE_NUMBER_VIRTUAL + (ino_t)name;
}

#endif
