/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The threads that serve the kernel's requests. */
#ifndef PMXCFS_MOUNT_WORKERS_H
#define PMXCFS_MOUNT_WORKERS_H

#include "mount/context.h"

int workers_start(struct mount *mount); /* 0 or a negative errno */
void workers_stop(struct mount *mount);

#endif
