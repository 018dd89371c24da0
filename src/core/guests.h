/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The guest list: which guest id is registered for which node and type. */
#ifndef PMXCFS_CORE_GUESTS_H
#define PMXCFS_CORE_GUESTS_H

#include <glib.h>
#include <stdint.h>

#include "core/path.h"

/* Immutable but for its version, which a list that is built anew gives it under the state's lock.
 */
struct guest {
    uint32_t id;
    enum guest_type type;
    uint64_t version; /* unique in the process; changes with the configuration's content and path */
    char node[];
};

struct guest_list {
    GHashTable *by_id;     /* id → struct guest, owned */
    uint64_t last_version; /* last number given to a guest */
};

struct guest *guest_new(const struct guest_path *path, uint64_t version); /* g_free() it */

/* True if `guest` is registered for the node and type of `path`. */
bool guest_is_at(const struct guest *guest, const struct guest_path *path);

/* The node that all guests are registered for, a copy; NULL: there are no guests, or several nodes
 * have some. */
char *guest_list_only_node(const struct guest_list *guests);

#endif
