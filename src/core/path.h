/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the form of a path says: guest configurations, private paths, locks, virtual names. Pure. */
#ifndef PMXCFS_CORE_PATH_H
#define PMXCFS_CORE_PATH_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Paths are NUL-ended, relative to the root, without a leading slash; "" is the root. */

enum guest_type { GUEST_QEMU = 0, GUEST_LXC = 1, GUEST_OPENVZ = 2 };

/* nodes/NODE/TYPE/ID.conf taken apart; `node` points into the path. */
struct guest_path {
    uint32_t id;
    enum guest_type type;
    const char *node;
    size_t node_length;
};

/* True, and `*guest` filled in, if `path` is that of a guest configuration. */
bool path_parse_guest(const char *path, struct guest_path *guest);

/* nodes/NODE/qemu-server, nodes/NODE/openvz or nodes/NODE/lxc: must be a directory. */
bool path_is_guest_directory(const char *path);

/* priv, nodes/X/priv, or anything below one of them. */
bool path_is_private(const char *path);

/* priv/lock/NAME: a directory there is a lock. */
bool path_is_lock(const char *path);

/* Anything below priv/lock/, at any depth. */
bool path_is_below_lock(const char *path);

/* A name in the root that is made up by the daemon (local, .version ...) and hides entries of the
 * tree. */
bool path_is_virtual(const char *path);

/* Splits at the last slash: *parent_length bytes of `path` are the parent's path, the name is what
 * is returned (it may be empty). */
const char *path_split(const char *path, size_t *parent_length);

/* Whether the bytes can be an entry's name: not empty, without a NUL or a slash, not "." or "..".
 */
bool path_is_name(const char *name, size_t length);

/* A copy of `path` without leading and repeated slashes; g_free() it. */
char *path_clean(const char *path);

/* "qemu", "lxc", "openvz": the words of .vmlist. */
const char *guest_type_name(enum guest_type type);

#endif
