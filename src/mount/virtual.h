/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The names in the root that no database holds: links to this node's directories, and status files.
 */
#ifndef PMXCFS_MOUNT_VIRTUAL_H
#define PMXCFS_MOUNT_VIRTUAL_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

struct buffer;
struct mount_options;

/* The order is that of their listing. */
enum virtual_name {
    VIRTUAL_LOCAL,
    VIRTUAL_QEMU_SERVER,
    VIRTUAL_LXC,
    VIRTUAL_OPENVZ,
    VIRTUAL_VERSION,
    VIRTUAL_MEMBERS,
    VIRTUAL_VMLIST,
    VIRTUAL_CLUSTERLOG,
    VIRTUAL_RRD,
    VIRTUAL_DEBUG,
    VIRTUAL_METRICS,
    VIRTUAL_COUNT,
    VIRTUAL_NONE = -1,
};

static inline bool virtual_is_link(enum virtual_name name)
{
    return name >= VIRTUAL_LOCAL && name <= VIRTUAL_OPENVZ;
}

/* VIRTUAL_NONE: no such name. */
enum virtual_name virtual_find(const char *name);
const char *virtual_text_name(enum virtual_name name);

/* The text of a status file as it is now; buffer_unref() it. */
struct buffer *virtual_text(const struct mount_options *options, enum virtual_name name);

/* A write to a status file: 0, or -EIO for all but the switch of debug messages. */
int virtual_write(enum virtual_name name, const char *data, size_t size, off_t offset);

#endif
