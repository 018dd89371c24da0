/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What history.db looks like (doc/history.md): the tables, and the numbers in them. */
#ifndef PMXCFS_HISTORY_FORMAT_H
#define PMXCFS_HISTORY_FORMAT_H

#define HISTORY_FILE "history.db"
#define HISTORY_APPLICATION_ID 0x706d7868 /* "pmxh" */
#define HISTORY_FORMAT 1                  /* PRAGMA user_version */

#define HISTORY_COMMAND_MAX 100u /* bytes of a command line that are kept */
#define HISTORY_NAME_MAX 15u     /* bytes of a process name: the kernel has no more */

/* The numbers of the first ones are those of enum change_operation. */
enum history_operation {
    HISTORY_WRITE = 1,
    HISTORY_MKDIR = 2,
    HISTORY_DELETE = 3,
    HISTORY_RENAME = 4, /* the path went to `other`, or came from there */
    HISTORY_CREATE = 5,
    HISTORY_MTIME = 6,
    HISTORY_UNLOCK = 8,
    HISTORY_RESYNC = 16, /* a synchronisation replaced what this node had */
    HISTORY_FOUND = 17,  /* config.db had it at a start and the history did not: the history's own
                            beginning, a restored backup, a database that another program wrote */
    HISTORY_GAP = 18,    /* no path: the records before it are not complete (left out, set aside) */
};

/* How the bytes of a content are stored. */
enum history_codec { HISTORY_PLAIN = 0, HISTORY_ZSTD = 1 };

/* Why a change has no content. */
enum history_kept {
    HISTORY_KEPT = 0,    /* it has, or there is none: a directory, an empty file, nothing */
    HISTORY_PRIVATE = 1, /* the path is private */
    HISTORY_LARGE = 2,   /* there was no room for it */
};

#endif
