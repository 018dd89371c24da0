/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Brings a journal that was left behind into its database, without a daemon. */
#include "ctl/tools/fold.h"

#include <errno.h>
#include <glib.h>
#include <unistd.h>

#include "store/file.h"
#include "store/store.h"

int tools_fold(const char *given, struct replay_report *report, char **message)
{
    g_autofree char *path = file_resolve(given, NULL);
    g_autofree char *journal = g_strconcat(path, ".journal", NULL);
    struct store *store;
    struct tree *tree;

    *message = NULL;
    *report = (struct replay_report){0};
    int error = file_require_present(path, NULL, message);
    if (error || (access(journal, F_OK) < 0 && errno == ENOENT))
        return error;
    error = store_open(path, NULL, &store, &tree, message);
    if (error)
        return error;
    *report = *store_recovery(store);
    report->quarantine = g_strdup(report->quarantine);
    tree_free(tree);
    store_close(store);
    return 0;
}
