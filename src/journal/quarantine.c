/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quarantine: journals that could not be brought in are kept beside the database. */
#include "journal/quarantine.h"

#include <errno.h>
#include <glib.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/directory.h"

#define KEPT_MAX 10u

/* The date within such a name, behind the last word's hyphen; NULL: another file. */
static const char *date_of(const char *name, const char *prefix)
{
    if (!g_str_has_prefix(name, prefix))
        return NULL;
    const char *word = name + strlen(prefix);
    return g_str_has_prefix(word, "overtaken-") || g_str_has_prefix(word, "damaged-")
               ? strchr(word, '-') + 1
               : NULL;
}

static int compare_dates(gconstpointer a, gconstpointer b)
{
    const char *first = *(const char *const *)a;
    const char *second = *(const char *const *)b;

    return strcmp(strchr(first, '-') + 1, strchr(second, '-') + 1);
}

static void delete_old(const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *base = g_path_get_basename(path);
    g_autofree char *prefix = g_strconcat(base, ".", NULL);
    g_autoptr(GPtrArray) words = g_ptr_array_new_with_free_func(g_free);
    GDir *listing = g_dir_open(directory, 0, NULL);
    const char *name;

    while (listing && (name = g_dir_read_name(listing))) {
        if (date_of(name, prefix))
            g_ptr_array_add(words, g_strdup(name + strlen(prefix)));
    }
    if (listing)
        g_dir_close(listing);
    g_ptr_array_sort(words, compare_dates);
    for (guint i = 0; i + KEPT_MAX < words->len; i++) {
        g_autofree char *old =
            g_strdup_printf("%s/%s%s", directory, prefix, (const char *)words->pdata[i]);
        unlink(old);
    }
}

int quarantine_move(const char *path, const char *word, char **name)
{
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
    delete_old(path);
    return 0;
}
