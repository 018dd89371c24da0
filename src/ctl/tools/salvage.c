/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads the rows of a damaged table: from page to page that can be read. */
#include "ctl/tools/salvage.h"

#include <errno.h>

#include "store/rows.h"
#include "store/schema.h"

/* Is there a table `tree` whose rows can be asked for, by their inode? */
static bool is_readable(struct load *load)
{
    sqlite3_stmt *row = load_prepare(
        load,
        "SELECT 1 FROM sqlite_master, pragma_table_info('tree') AS info "
        "WHERE sqlite_master.name = 'tree' COLLATE NOCASE AND sqlite_master.type = 'table' "
        "AND rootpage > 0 AND info.name = 'inode' COLLATE NOCASE AND info.pk = 1 "
        "AND info.type = 'INTEGER' COLLATE NOCASE",
        "the table 'tree'");
    bool readable = row && sqlite3_step(row) == SQLITE_ROW;

    sqlite3_finalize(row);
    row = readable ? rows_select(load) : NULL;
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
static bool find_next(struct load *load, int64_t bad, int64_t *next)
{
    sqlite3_stmt *row = rows_select(load);
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

static void note_loss(struct load *load, int64_t last, bool found, int64_t next)
{
    g_autofree char *between =
        found
            ? g_strdup_printf("lie between inode %" G_GINT64_FORMAT " and inode %" G_GINT64_FORMAT,
                              MAX(last, 0), next)
            : g_strdup_printf("come after inode %" G_GINT64_FORMAT, MAX(last, 0));

    load_note(load, STORE_LOST, PROBLEM_FILE, 0, 0, NULL,
              "rows that %s cannot be read: they are lost", between);
}

bool salvage_rows(struct load *load)
{
    int64_t from = INT64_MIN;
    int64_t last;
    int64_t next;

    schema_check(load);
    if (!is_readable(load))
        return false;
    load->error = 0;
    for (;;) {
        if (rows_read_from(load, from, &last))
            return true;
        if (load->error == -EBUSY || load->error == -ENOMEM)
            return false;
        /* Below 0 there are no rows that are worth a search. */
        bool found = find_next(load, MAX(last, -1) + 1, &next);
        note_loss(load, last, found, next);
        if (!found)
            return load->rows->len > 0;
        from = next;
    }
}
