/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The FUSE mount: requests become look-ups and changes, and the kernel's caches are kept true. */
#ifndef PMXCFS_MOUNT_MOUNT_H
#define PMXCFS_MOUNT_MOUNT_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "mount/options.h"

struct mount;

/* Mounts; requests wait until mount_serve(). NULL with *problem (g_free() it) if it is not
 * possible. What the options point to must outlive the mount. */
struct mount *mount_new(const struct mount_options *options, char **problem);

/* By which the kernel tells it from others (base/mounted.h); 0: not known. */
uint64_t mount_number(const struct mount *mount);

/* Starts the threads. 0 or a negative errno. */
int mount_serve(struct mount *mount);

/* Unmounts (lazily, so that open files hold nothing up) and ends the threads. Callers that still
 * wait must have been answered, or are answered by the connection's end. Where another mount lies
 * over this one, both stay, this one dead: taking it away would take the other along. */
void mount_free(struct mount *mount);

/* What publication asks of the mount (daemon/publication.h). `effects` is being published: the
 * state's lock is held exclusively. Memory only. */
void mount_publishing(struct mount *mount, const GPtrArray *effects, bool rebuilt);

/* What this mount was asked for has been published, and is not yet answered: the kernel is told
 * what it does not expect. Waits for nothing. */
void mount_tell_own(struct mount *mount, const GPtrArray *effects);

/* What others changed has been published: the kernel is told, and then told() is called. Takes over
 * `effects`; waits for nothing. */
void mount_tell(struct mount *mount, GPtrArray *effects, bool rebuilt);
void mount_quorum_changed(struct mount *mount, bool quorate);

/* True: the kernel knows all that it was told until now. */
bool mount_has_told(struct mount *mount);

/* Sends all truncations that wait for a write. Their changes need not be made when it returns. */
void mount_flush(struct mount *mount);

#endif
