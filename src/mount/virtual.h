/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The texts of the names in the root that no database holds. */
#ifndef PMXCFS_MOUNT_VIRTUAL_H
#define PMXCFS_MOUNT_VIRTUAL_H

#include <stddef.h>
#include <sys/types.h>

#include "kernel/virtual_name.h"

struct buffer;
struct mount_options;

/* VIRTUAL_NONE: no such name. */
enum virtual_name virtual_find(const char *name);
const char *virtual_text_name(enum virtual_name name);

/* The text of a status file as it is now; buffer_unref() it. */
struct buffer *virtual_text(const struct mount_options *options, enum virtual_name name);

/* A write to a status file: 0, or -EIO for all but the switch of debug messages. */
int virtual_write(enum virtual_name name, const char *data, size_t size, off_t offset);

#endif
