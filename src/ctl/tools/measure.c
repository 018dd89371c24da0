/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How large a database is. */
#include "ctl/tools/measure.h"

#include <glib.h>
#include <sys/stat.h>

#include "store/file.h"

static uint64_t size_of(const char *path, const char *suffix)
{
    g_autofree char *name = g_strconcat(path, suffix, NULL);
    struct stat info;

    return stat(name, &info) == 0 ? (uint64_t)info.st_size : 0;
}

static uint32_t ask(sqlite3 *db, const char *pragma)
{
    g_autofree char *answer = file_ask(db, pragma);

    return answer ? (uint32_t)g_ascii_strtoull(answer, NULL, 10) : 0;
}

int tools_measure(const char *given, struct tools_sizes *sizes, char **message)
{
    g_autofree char *path = file_resolve(given, NULL);
    sqlite3 *db;

    *message = NULL;
    int error = file_open_untouched(path, NULL, 0, &db, message);
    if (error)
        return error;
    *sizes = (struct tools_sizes){.file = size_of(path, ""),
                                  .wal = size_of(path, "-wal"),
                                  .journal = size_of(path, ".journal"),
                                  .page_size = ask(db, "PRAGMA page_size"),
                                  .pages = ask(db, "PRAGMA page_count"),
                                  .free_pages = ask(db, "PRAGMA freelist_count")};
    sqlite3_close(db);
    return 0;
}
