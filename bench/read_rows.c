/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads all rows of a database with sqlite3, and every byte of them: the least that a start needs.
 */
#include <sqlite3.h>
#include <stdint.h>

#include "timing.h"

/* What is kept is given back by the end of the process. */
static void keep_column(sqlite3_stmt *rows, int column, uint64_t *bytes)
{
    const void *data = sqlite3_column_blob(rows, column);
    size_t size = (size_t)sqlite3_column_bytes(rows, column);
    char *copy = malloc(size + 1);
    if (!copy)
        fail("malloc");
    if (size)
        memcpy(copy, data, size);
    *bytes += size;
}

int main(int argc, char **argv)
{
    double start = seconds_now();
    sqlite3 *database = NULL;
    sqlite3_stmt *rows = NULL;
    uint64_t bytes = 0, numbers = 0;

    if (argc != 2)
        fail("usage: read_rows CONFIG_DB");
    if (sqlite3_open_v2(argv[1], &database, SQLITE_OPEN_READONLY, NULL) != SQLITE_OK ||
        sqlite3_prepare_v2(database,
                           "SELECT inode, parent, version, writer, mtime, type, name, data "
                           "FROM tree",
                           -1, &rows, NULL) != SQLITE_OK)
        fail("%s: %s", argv[1], sqlite3_errmsg(database));
    while (sqlite3_step(rows) == SQLITE_ROW) {
        for (int column = 0; column < 6; column++)
            numbers += (uint64_t)sqlite3_column_int64(rows, column);
        keep_column(rows, 6, &bytes);
        keep_column(rows, 7, &bytes);
    }
    sqlite3_finalize(rows);
    sqlite3_close(database);
    printf("{\"work\": \"start\", \"target\": \"sqlite3\", \"seconds\": %.9f}\n",
           seconds_now() - start);
    return numbers && bytes ? 0 : 1;
}
