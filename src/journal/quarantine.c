/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Quarantine: journals and logs that could not be brought in are kept beside the database. */
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
#define DATE_SIZE strlen("-YYYYMMDD-HHMMSS")

static bool is_kept(const char *suffix, const char *const *words)
{
    for (; *words; words++) {
        if (g_str_has_prefix(suffix, *words))
            return true;
    }
    return false;
}

static const char *date_of(const char *suffix)
{
    return strchr(suffix, '-');
}

/* By the date, behind the first hyphen. One that is still to come is of a clock that was wrong then
 * and right now, or the other way round: `now` is not to be taken for older for that. */
static int compare_dates(gconstpointer a, gconstpointer b, gpointer now)
{
    const char *first = date_of(*(const char *const *)a);
    const char *second = date_of(*(const char *const *)b);
    int passed = strncmp(first, now, DATE_SIZE) <= 0;
    int other_passed = strncmp(second, now, DATE_SIZE) <= 0;

    return passed != other_passed ? passed - other_passed : strcmp(first, second);
}

void quarantine_keep_newest(const char *made, const char *path, const char *const *words,
                            unsigned int count)
{
    g_autofree char *now = g_strdup(date_of(made + strlen(path)));
    g_autofree char *directory = g_path_get_dirname(path);
    g_autofree char *base = g_path_get_basename(path);
    g_autoptr(GPtrArray) suffixes = g_ptr_array_new_with_free_func(g_free);
    GDir *listing = g_dir_open(directory, 0, NULL);
    const char *name;

    while (listing && (name = g_dir_read_name(listing))) {
        if (g_str_has_prefix(name, base) && is_kept(name + strlen(base), words))
            g_ptr_array_add(suffixes, g_strdup(name + strlen(base)));
    }
    if (listing)
        g_dir_close(listing);
    g_ptr_array_sort_with_data(suffixes, compare_dates, now);
    for (guint i = 0; i + count < suffixes->len; i++) {
        g_autofree char *old = g_strconcat(directory, "/", base, suffixes->pdata[i], NULL);
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
