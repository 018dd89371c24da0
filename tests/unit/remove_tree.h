/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Removes what a test has made. */
#ifndef PMXCFS_TESTS_REMOVE_TREE_H
#define PMXCFS_TESTS_REMOVE_TREE_H

#include <glib.h>
#include <glib/gstdio.h>

/* A file, or a directory with all that is in it; 0 or -1 with errno. */
static inline int remove_tree(const char *path)
{
    GDir *directory = g_dir_open(path, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        g_autofree char *child = g_build_filename(path, name, NULL);
        remove_tree(child);
    }
    if (directory)
        g_dir_close(directory);
    return g_remove(path);
}

#endif
