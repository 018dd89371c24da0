/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A load under way: the rows read so far, and what is wrong with them; what its steps share. Inside
 * store and ctl/tools only. */
#ifndef PMXCFS_STORE_LOAD_H
#define PMXCFS_STORE_LOAD_H

#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/tree.h"
#include "store/finding.h"

/* Rows are found by their index in the array of all rows, which ascends by inode. */
#define ROW_ROOT UINT32_MAX        /* the parent is the root */
#define ROW_NONE (UINT32_MAX - 1u) /* the parent is missing */

enum row_mark { ROW_UNKNOWN, ROW_ON_THE_WAY, ROW_REACHED, ROW_LOST };

/* Repeats what is looked up most: the entries lie far apart in memory, between their contents. */
struct row {
    struct entry *entry; /* owned; a type or name that is refused is made up */
    uint64_t inode;
    uint64_t parent_inode;
    uint32_t parent; /* the index of the parent's row, or ROW_ROOT, ROW_NONE */
    uint16_t level;  /* how deep at least, if the mark is ROW_REACHED; the root's children have 1 */
    uint8_t mark;    /* enum row_mark: does its way up end at the root? */
    bool directory;
    bool stray; /* its parent is no number, or its inode negative: it is nowhere in the tree */
    bool gone;  /* a repair has taken it out */
};

/* A finding that waits for the end of the load, when paths can be told. */
struct note {
    enum store_severity severity;
    enum store_problem problem;
    uint64_t inode;
    uint64_t other;
    char *text;
    char *remedy;
};

struct load {
    sqlite3 *db;
    struct store_checker *checker;
    GArray *rows;  /* struct row */
    GArray *notes; /* struct note */
    struct root root;
    bool has_root; /* there is a row 0 */
    int error;     /* 0, or the negative errno of the load */
};

static inline struct row *load_row(const struct load *load, uint32_t index)
{
    return &g_array_index(load->rows, struct row, index);
}

void load_init(struct load *load, sqlite3 *db, struct store_checker *checker);
void load_clear(struct load *load);

GArray *load_notes_new(void); /* an empty array of struct note that owns their texts */

/* All that was read; the rows stay. Only if nothing is refused. */
struct tree *load_tree(const struct load *load);

/* Tells the checker what the notes say, with paths as they are now. */
void load_report(struct load *load);

/* The index of an inode's row, ROW_ROOT for 0. */
uint32_t load_find(const struct load *load, uint64_t inode);

/* Notes what is wrong; `remedy` is taken over, and may be NULL. load_refuse(): of severity
 * STORE_REFUSED, which makes the load fail. */
#define load_refuse(load, problem, ...) load_note(load, STORE_REFUSED, problem, __VA_ARGS__)
void load_note(struct load *load, enum store_severity severity, enum store_problem problem,
               uint64_t inode, uint64_t other, char *remedy, const char *format, ...)
    G_GNUC_PRINTF(7, 8);

/* Notes that SQLite could not read `what`, with its reason. */
void load_refuse_unreadable(struct load *load, const char *what);

/* Remedies; g_free() them. */
char *remedy_delete(uint64_t inode);
char *remedy_set(uint64_t inode, const char *assignment);
char *remedy_set_or_delete(uint64_t inode, const char *assignment);
char *remedy_restore(void);

/* Prepares `sql`; NULL: could not, which is noted as `what` being unreadable. */
sqlite3_stmt *load_prepare(struct load *load, const char *sql, const char *what);

/* The text of a column, never NULL. */
const char *load_text(sqlite3_stmt *statement, int column);

#endif
