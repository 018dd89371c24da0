/* SPDX-License-Identifier: GPL-3.0-or-later */
/* New databases: an empty one, and one that holds a tree. */
#include "ctl/tools/save.h"

#include <errno.h>
#include <glib.h>

#include "core/state.h"
#include "ctl/tools/check.h"
#include "store/file.h"
#include "store/write.h"

int tools_create(const char *path, char **message)
{
    *message = NULL;
    int error = file_probe(path, NULL, message);

    if (error == -ENOENT)
        return file_create(path, NULL, message);
    if (!error) {
        *message = g_strdup_printf("%s is there already", path);
        error = -EEXIST;
    }
    return error;
}

static int write_tree(const struct tree *tree, const char *path, char **message)
{
    g_autoptr(GPtrArray) entries = tree_sorted(tree);
    struct state *empty = state_new(tree_new(), 0);
    struct draft *draft = draft_new(empty);

    for (guint i = 0; i < entries->len; i++)
        draft_put(draft, entry_ref(entries->pdata[i]));
    draft->root = tree->root;
    int error = store_write(path, draft, message);
    draft_free(draft);
    state_free(empty);
    return error;
}

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
    error = write_tree(tree, unfinished, message);
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
