/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the steps of a load share: the rows read so far, and what is wrong with them. Inside store
 * only. */
#ifndef PMXCFS_STORE_LOADER_H
#define PMXCFS_STORE_LOADER_H

#include <glib.h>
#include <sqlite3.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/tree.h"
#include "store/check.h"

#define ROOT_NAME "__version__"

/* Rows are found by their place in the array of all rows, which ascends by inode. */
#define PLACE_ROOT UINT32_MAX        /* the parent is the root */
#define PLACE_NONE (UINT32_MAX - 1u) /* the parent is missing */

enum row_mark { ROW_UNKNOWN, ROW_ON_THE_WAY, ROW_REACHED, ROW_LOST };

/* Repeats what is looked up most: the entries lie far apart in memory, between their contents. */
struct row {
    struct entry *entry; /* owned; a type or name that is refused is made up */
    uint64_t inode;
    uint64_t parent_inode;
    uint32_t parent; /* the place of the parent's row, or PLACE_ROOT, PLACE_NONE */
    uint16_t level;  /* how deep, when the mark is ROW_REACHED; the root's children have 1 */
    uint8_t mark;    /* enum row_mark: does its way up end at the root? */
    bool directory;
    bool stray; /* its parent is no number, or its inode negative: it has no place in the tree */
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

struct loader {
    sqlite3 *db;
    struct store_checker *checker;
    GArray *rows;  /* struct row */
    GArray *notes; /* struct note */
    struct root root;
    bool has_root; /* there is a row 0 */
    int error;     /* 0, or the negative errno of the load */
};

static inline struct row *loader_row(const struct loader *loader, uint32_t place)
{
    return &g_array_index(loader->rows, struct row, place);
}

void loader_init(struct loader *loader, sqlite3 *db, struct store_checker *checker);
void loader_clear(struct loader *loader);

GArray *loader_notes_new(void); /* of struct note, owned */

/* The steps, in this order. loader_read_schema: true if there are rows that can be read;
 * loader_read_rows: true if all were. */
bool loader_read_schema(struct loader *loader);
bool loader_read_rows(struct loader *loader);
void loader_check_structure(struct loader *loader);

/* Reads the rows from inode `from` on, as far as that goes. True if it went to the end; else what
 * could be read last is *last, below `from` if nothing was. */
bool loader_read_from(struct loader *loader, int64_t from, int64_t *last);

/* Reads all rows that can be read, over damaged pages too; notes what is lost. False: nothing can,
 * and the notes say why. */
bool loader_salvage(struct loader *loader);

/* The SELECT that gives rows from inode ?1 on; as loader_prepare(). */
sqlite3_stmt *loader_select(struct loader *loader);

/* Tells the checker what the notes say, with paths as they are now. */
void loader_report(struct loader *loader);

/* The place of an inode's row, PLACE_ROOT for 0. */
uint32_t loader_find(const struct loader *loader, uint64_t inode);

/* Notes what is wrong; both strings are taken over, `remedy` may be NULL. */
void loader_warn(struct loader *loader, enum store_problem problem, uint64_t inode, uint64_t other,
                 char *text, char *remedy);
void loader_refuse(struct loader *loader, enum store_problem problem, uint64_t inode,
                   uint64_t other, char *text, char *remedy);

/* Notes that SQLite could not read `what`, with its reason. */
void loader_refuse_unreadable(struct loader *loader, const char *what);

/* Notes what a repair has done (STORE_REPAIRED) or could not do (STORE_LOST); takes `text` over. */
void loader_note_repair(struct loader *loader, enum store_severity severity,
                        enum store_problem problem, uint64_t inode, uint64_t other, char *text);

/* Remedies; g_free() them. */
char *remedy_delete(uint64_t inode);
char *remedy_set(uint64_t inode, const char *assignment);
char *remedy_restore(void);

/* A copy of bytes from anywhere that can be printed, cut if it is long; g_free() it. */
char *name_shown(const char *bytes, size_t length);

/* Prepares `sql`; NULL: could not, which is noted as `what` being unreadable. */
sqlite3_stmt *loader_prepare(struct loader *loader, const char *sql, const char *what);

/* The text of a column, never NULL. */
const char *loader_text(sqlite3_stmt *statement, int column);

#endif
