/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A copy of config.db at one moment, while a daemon may be writing to it. */
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <sqlite3.h>
#include <stdio.h>
#include <unistd.h>

#include "store/file.h"
#include "store/store.h"

#define BUSY_TIMEOUT 10000

/* All pages in one step: a commit in between would begin it anew. In WAL mode that holds up nobody.
 */
static int copy_pages(sqlite3 *from, sqlite3 *to)
{
    sqlite3_backup *backup = sqlite3_backup_init(to, "main", from, "main");

    if (!backup)
        return sqlite3_extended_errcode(to);
    sqlite3_backup_step(backup, -1);
    return sqlite3_backup_finish(backup);
}

static int copy_database(const char *path, const char *copy, char **message)
{
    sqlite3 *from = NULL;
    sqlite3 *to = NULL;
    int result = sqlite3_open_v2(path, &from, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);

    if (result == SQLITE_OK) {
        sqlite3_busy_timeout(from, BUSY_TIMEOUT);
        result = sqlite3_open_v2(copy, &to, SQLITE_OPEN_READWRITE | SQLITE_OPEN_EXRESCODE, NULL);
    }
    if (result == SQLITE_OK)
        result = sqlite3_exec(to, "PRAGMA synchronous=FULL", NULL, NULL, NULL);
    if (result == SQLITE_OK)
        result = copy_pages(from, to);
    int error = file_errno(to ? to : from, result);
    if (error)
        *message = g_strdup_printf("cannot copy %s to %s: %s", path, copy, sqlite3_errstr(result));
    sqlite3_close(from);
    sqlite3_close(to);
    return error;
}

int store_backup(const char *given, const char *copy, char **message)
{
    g_autofree char *path = file_resolve(given, NULL);
    g_autofree char *unfinished = g_strconcat(copy, ".new", NULL);

    *message = NULL;
    int error = file_probe(path, NULL, message);
    if (error == -ENOENT)
        *message = g_strdup_printf("there is no %s", path);
    if (error)
        return error;
    error = file_make_private(unfinished, message);
    if (!error)
        error = copy_database(path, unfinished, message);
    if (!error)
        error = file_rename(unfinished, copy, message);
    if (error)
        file_remove(unfinished);
    return error;
}
