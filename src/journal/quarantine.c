/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quarantine: journals and WALs that could not be brought in are kept beside the database. */
#include "journal/quarantine.h"

#include <errno.h>
#include <glib.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/directory.h"

#define KEPT_MAX 10u

static bool is_kept(const char *suffix, const char *const *words)
{
    for (; *words; words++) {
        if (g_str_has_prefix(suffix, *words))
            return true;
    }
    return false;
}

/* By the date, behind the first hyphen. */
static int compare_dates(gconstpointer a, gconstpointer b)
{
    return strcmp(strchr(*(const char *const *)a, '-'), strchr(*(const char *const *)b, '-'));
}

void quarantine_keep_newest(const char *made, const char *path, const char *const *words,
                            unsigned int count)
{
    const char *made_suffix = made + strlen(path);
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *base = g_path_get_basename(path);
    g_autoptr(GPtrArray) others = g_ptr_array_new_with_free_func(g_free);
    GDir *listing = g_dir_open(directory, 0, NULL);
    const char *name;

    while (listing && (name = g_dir_read_name(listing))) {
        const char *suffix = name + strlen(base);
        if (g_str_has_prefix(name, base) && is_kept(suffix, words) &&
            strcmp(suffix, made_suffix) != 0)
            g_ptr_array_add(others, g_strdup(suffix));
    }
    if (listing)
        g_dir_close(listing);
    g_ptr_array_sort(others, compare_dates);
    for (guint i = 0; i + count <= others->len; i++) {
        g_autofree char *old = g_strconcat(directory, "/", base, others->pdata[i], NULL);
        unlink(old);
    }
}

int quarantine_move(const char *path, const char *word, char **name)
{
    static const char *const words[] = {".overtaken-", ".damaged-", ".orphaned-", NULL};
    time_t now = time(NULL);
    struct tm date;
    char stamp[32];
    unsigned int number = 0;

    localtime_r(&now, &date);
    strftime(stamp, sizeof(stamp), "%Y%m%d-%H%M%S", &date);
    *name = g_strdup_printf("%s.%s-%s", path, word, stamp);
    while (access(*name, F_OK) == 0) {
        g_free(*name);
        *name = g_strdup_printf("%s.%s-%s-%u", path, word, stamp, ++number);
    }
    /* Keys and passwords are in there, whoever copied it. */
    if (chmod(path, 0600) < 0 || rename(path, *name) < 0) {
        int error = -errno;
        g_clear_pointer(name, g_free);
        return error;
    }
    directory_sync(path);
    quarantine_keep_newest(*name, path, words, KEPT_MAX);
    return 0;
}
