/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Writes a database as a whole. */
#include "store/write.h"

#include <glib.h>

#include "store/store.h"

int store_write(const char *path, const struct draft *draft, char **message)
{
    const struct store_options options = {.durability = STORE_FULL};
    struct store *store;
    struct tree *loaded;
    int error = store_open(path, &options, &store, &loaded, message);

    if (error)
        return error;
    error = store_commit(store, draft);
    if (error)
        *message = g_strdup_printf("cannot write to %s: %s", path, store_error(store));
    store_close(store);
    tree_free(loaded);
    return error;
}
