/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How tables of entries are keyed. */
#include "core/key.h"

guint name_hash(gconstpointer entry)
{
    const struct entry *key = entry;
    guint hash = (guint)key->parent * 2654435761u;

    for (uint32_t i = 0; i < key->name_length; i++)
        hash = hash * 33 + (guchar)key->name[i];
    return hash;
}

gboolean name_equal(gconstpointer entry, gconstpointer other)
{
    const struct entry *first = entry;
    const struct entry *second = other;

    return first->parent == second->parent && first->name_length == second->name_length &&
           memcmp(first->name, second->name, first->name_length) == 0;
}
