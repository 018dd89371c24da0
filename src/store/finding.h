/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What can be wrong with a database, and who is told. */
#ifndef PMXCFS_STORE_FINDING_H
#define PMXCFS_STORE_FINDING_H

#include <stdint.h>

enum store_severity {
    STORE_NOTE,     /* nothing is wrong: something that is to be known */
    STORE_WARNING,  /* loads, but somebody should know */
    STORE_REFUSED,  /* a load refuses the database */
    STORE_REPAIRED, /* tools_repair() has put it right */
    STORE_LOST,     /* tools_repair() could not save it */
};

/* What kind of thing is wrong: what a repair goes by. */
enum store_problem {
    PROBLEM_FILE,            /* with the file, the table, or what SQLite can read of it */
    PROBLEM_NUMBER,          /* a column is no number or out of its range */
    PROBLEM_NEGATIVE,        /* an inode below 0 */
    PROBLEM_NAME,            /* a name that no entry can have */
    PROBLEM_TYPE,            /* neither file nor directory */
    PROBLEM_DATA,            /* a directory with data */
    PROBLEM_PARENT,          /* the parent is missing or no directory */
    PROBLEM_LOOP,            /* a directory within itself */
    PROBLEM_TWIN,            /* two entries of one name in one directory */
    PROBLEM_GUEST_DIRECTORY, /* a file where guests' configurations should be */
    PROBLEM_GUEST_TWIN,      /* two configurations of one guest */
    PROBLEM_VERSION,         /* an inode above the global version */
    PROBLEM_JOURNAL,         /* a journal beside the database; STORE_NOTE: it goes with it */
};

/* One thing that is wrong. The strings are lent for the time of the call; none is longer than 1 KiB
 * and what is printed of names has no control characters. */
struct store_finding {
    enum store_severity severity;
    enum store_problem problem;
    uint64_t inode;   /* the row; 0: row 0, or the file as a whole */
    uint64_t other;   /* a second row that has to do with it, or 0 */
    const char *path; /* where the row is in the tree, "?" for what cannot be told; NULL: no row */
    const char *text; /* what is wrong: a sentence without a full stop that names the inodes */
    const char
        *remedy; /* what to do: SQL for this file, or a short sentence; NULL: nothing to do */
};

/* Embed it; both are called in the checking thread. */
struct store_checker {
    /* Once a finding. */
    void (*found)(struct store_checker *checker, const struct store_finding *finding);
    /* Often, while rows are read; `total` 0: how many there are is not known. May be NULL. */
    void (*progress)(struct store_checker *checker, uint64_t done, uint64_t total);
};

#endif
