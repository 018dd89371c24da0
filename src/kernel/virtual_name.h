/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The names in the root that no database holds: links to this node's directories, and status files.
 */
#ifndef PMXCFS_KERNEL_VIRTUAL_NAME_H
#define PMXCFS_KERNEL_VIRTUAL_NAME_H

#include <stdbool.h>

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

#endif
