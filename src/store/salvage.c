/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads the rows of a damaged table: from page to page that can be read. */
#include <errno.h>

#include "store/loader.h"

/* Is there a table `tree` whose rows can be asked for, by their inode? */
static bool is_readable(struct loader *loader)
{
    sqlite3_stmt *row = loader_prepare(
        loader,
        "SELECT 1 FROM sqlite_master, pragma_table_info('tree') AS info "
        "WHERE sqlite_master.name = 'tree' COLLATE NOCASE AND sqlite_master.type = 'table' "
        "AND rootpage > 0 AND info.name = 'inode' COLLATE NOCASE AND info.pk = 1 "
        "AND info.type = 'INTEGER' COLLATE NOCASE",
        "the table 'tree'");
    bool readable = row && sqlite3_step(row) == SQLITE_ROW;

    sqlite3_finalize(row);
    row = readable ? loader_select(loader) : NULL;
    readable = row != NULL;
    sqlite3_finalize(row);
    return readable;
}

/* Can the first row from inode `from` on be read? True as well if there is none. */
static bool probe(sqlite3_stmt *row, int64_t from)
{
    sqlite3_bind_int64(row, 1, from);
    int result = sqlite3_step(row);
    bool good =
        result == SQLITE_DONE || (result == SQLITE_ROW && sqlite3_column_int64(row, 0) >= from);

    sqlite3_reset(row);
    return good;
}

/* The first inode above `bad` from where rows can be read again, as steps of doubling length and
 * then of halving length find it; false: there is none. */
static bool find_next(struct loader *loader, int64_t bad, int64_t *next)
{
    sqlite3_stmt *row = loader_select(loader);
    int64_t good = bad;
    int64_t step = 1;
    bool found = false;

    while (row && !found && !__builtin_add_overflow(bad, step, &good)) {
        found = probe(row, good);
        if (found)
            break;
        bad = good;
        if (__builtin_mul_overflow(step, (int64_t)2, &step))
            break;
    }
    while (found && good - bad > 1) {
        int64_t middle = bad + (good - bad) / 2;
        if (probe(row, middle))
            good = middle;
        else
            bad = middle;
    }
    sqlite3_finalize(row);
    *next = good;
    return found;
}

static void note_loss(struct loader *loader, int64_t last, bool found, int64_t next)
{
    char *text =
        found ? g_strdup_printf("rows that lie between inode %" G_GINT64_FORMAT
                                " and inode %" G_GINT64_FORMAT " cannot be read: they are lost",
                                MAX(last, 0), next)
              : g_strdup_printf("rows that come after inode %" G_GINT64_FORMAT
                                " cannot be read: they are lost",
                                MAX(last, 0));

    loader_note_repair(loader, STORE_LOST, PROBLEM_FILE, 0, 0, text);
}

bool loader_salvage(struct loader *loader)
{
    int64_t from = INT64_MIN;
    int64_t last;
    int64_t next;

    loader_read_schema(loader);
    if (!is_readable(loader))
        return false;
    loader->error = 0;
    for (;;) {
        if (loader_read_from(loader, from, &last))
            return true;
        if (loader->error == -EBUSY || loader->error == -ENOMEM)
            return false;
        /* Below 0 there are no rows that are worth a search. */
        bool found = find_next(loader, MAX(last, -1) + 1, &next);
        note_loss(loader, last, found, next);
        if (!found)
            return loader->rows->len > 0;
        from = next;
    }
}
