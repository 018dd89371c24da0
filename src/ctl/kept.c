/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Safety copies: what a synchronisation took away from this node (store/safety.h). */
#include "ctl/kept.h"

#include <string.h>

#include "ctl/db.h"
#include "ctl/names.h"

#define PREFIX DATABASE_NAME ".kept-"

static int compare_names(gconstpointer a, gconstpointer b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

/* Not what lies beside a copy: SQLite's logs. */
static bool is_copy(const char *name)
{
    return g_str_has_prefix(name, PREFIX) && !g_str_has_suffix(name, "-wal") &&
           !g_str_has_suffix(name, "-shm") && !g_str_has_suffix(name, "-journal");
}

GPtrArray *kept_list(const char *state_dir)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    GDir *directory = g_dir_open(state_dir, 0, NULL);
    const char *name;

    while (directory && (name = g_dir_read_name(directory))) {
        if (is_copy(name))
            g_ptr_array_add(names, g_strdup(name + strlen(PREFIX)));
    }
    if (directory)
        g_dir_close(directory);
    g_ptr_array_sort(names, compare_names);
    return names;
}

char *kept_path(const char *state_dir, const char *name)
{
    g_autofree char *file = g_strconcat(PREFIX, name, NULL);

    return g_build_filename(state_dir, file, NULL);
}

struct tree *kept_read(const char *state_dir, const char *name, int *code)
{
    g_autoptr(GPtrArray) known = kept_list(state_dir);
    g_autofree char *base = g_path_get_basename(name);
    const char *wanted = g_str_has_prefix(base, PREFIX) ? base + strlen(PREFIX) : base;

    *code = EXIT_FAILED;
    if (strcmp(wanted, "latest") == 0 && known->len > 0)
        wanted = known->pdata[known->len - 1];
    if (!names_contain(known, wanted)) {
        names_complain("safety copy", wanted, known);
        return NULL;
    }
    g_autofree char *path = kept_path(state_dir, wanted);
    return db_read(path);
}
