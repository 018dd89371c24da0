/* SPDX-License-Identifier: GPL-3.0-or-later */
/* New databases that hold a tree. */
#include "ctl/tools/save.h"

#include <glib.h>

#include "ctl/tools/check.h"
#include "store/file.h"
#include "store/write.h"

static void ignore(struct store_checker *checker, const struct store_finding *finding)
{
    (void)checker;
    (void)finding;
}

int tools_save(const struct tree *tree, const char *path, char **message)
{
    struct store_checker checker = {.found = ignore};
    g_autofree char *unfinished = g_strconcat(path, ".unfinished", NULL);

    *message = NULL;
    int error = file_require_absent(path, message);
    if (error)
        return error;
    file_remove(unfinished);
    error = store_write(unfinished, tree->entries, &tree->root, message);
    if (!error) {
        error = tools_check(unfinished, NULL, &checker);
        if (error)
            *message = g_strdup_printf("what was written to %s does not load", unfinished);
    }
    if (!error)
        error = file_rename(unfinished, path, message);
    if (error)
        file_remove(unfinished);
    return error;
}
