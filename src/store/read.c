/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The door for database rows: reads them, finds all that is wrong, and makes a tree of them. */
#include "store/read.h"

#include "store/load.h"
#include "store/rows.h"
#include "store/schema.h"
#include "store/structure.h"

int store_read_connection(sqlite3 *db, struct store_checker *checker, struct tree **tree)
{
    struct load load;

    load_init(&load, db, checker);
    if (schema_check(&load) && rows_read(&load))
        structure_check(&load);
    load_report(&load);
    int error = load.error;
    if (tree)
        *tree = error ? NULL : load_tree(&load);
    load_clear(&load);
    return error;
}
