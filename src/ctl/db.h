/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands that work on a database file share. */
#ifndef PMXCFS_CTL_DB_H
#define PMXCFS_CTL_DB_H

#include <jansson.h>
#include <stdbool.h>

#include "core/tree.h"
#include "ctl/terminal.h"
#include "store/finding.h"

#define DEFAULT_STATE_DIR "/var/lib/pve-cluster"
#define DATABASE_NAME "config.db"
#define DEFAULT_DATABASE DEFAULT_STATE_DIR "/" DATABASE_NAME

/* A checker that prints what it is told, or keeps it for JSON, and shows how far it is. */
struct db_findings {
    struct store_checker checker;
    struct progress progress;
    FILE *to;     /* where findings are printed, or NULL: */
    json_t *list; /* they are kept here; json_decref() it */
    unsigned int notes, refused, warnings, repaired, lost;
    unsigned int rows; /* of `refused`: those that are in single rows, which a repair puts right */
};

/* Prints to `to`, or with NULL keeps the list. The progress is not started. */
void db_findings_init(struct db_findings *findings, FILE *to);

/* Why the file can be no database at all, not even a damaged one, so that nothing of it can be
 * repaired: "it is empty"; NULL: it may be one. A file that cannot be looked at may be one. */
const char *db_no_database(const char *path);

/* The tree in the database and its journal, between two changes if a daemon works on it;
 * tree_free() it. NULL: stderr says why, with what a load refuses. */
struct tree *db_read(const char *path);

/* As JSON, with \xNN for what is no UTF-8. */
json_t *db_json_text(const char *bytes, size_t length);
json_t *db_json_string(const char *string);

/* Prints it to stdout and frees it. */
void db_print_json(json_t *value);

/* How many entries the tree has, the root among them as in all that counts against the limit.
 * "7 entries"; g_free() it. */
char *db_entries_shown(const struct tree *tree);

/* Which file, version and how many entries: of a database that was written; printed, or as JSON. */
void db_print_written(const char *path, const struct tree *tree);
json_t *db_json_written(const char *path, const struct tree *tree);

/* The path of an entry as it can be printed; g_free() it. */
char *db_path_shown(const struct tree *tree, const struct entry *entry);

/* All entries by path, without the root; g_ptr_array_unref() it. */
struct db_entry {
    char *path; /* the bytes as they are */
    const struct entry *entry;
};
GArray *db_sorted(const struct tree *tree);

/* Prints all that is in it, by path (db dump), as text or a line of JSON for each entry. */
void db_dump(const struct tree *tree, bool json);

/* The order of paths as directories are listed: what is in one follows it at once. */
int db_compare_paths(const char *first, const char *second);

/* "1 guest", "3 guests". g_free() it. */
char *db_count_shown(uint64_t count, const char *one, const char *more);

/* "3.4 MiB". g_free() it. */
char *db_size_shown(uint64_t bytes);

/* "2026-11-22 18:41:50", by the local clock. g_free() it. */
char *db_time_shown(uint32_t seconds);

/* Are these one file? */
bool db_same_file(const char *path, const char *other);

/* Gives a finished file its name, safe against power loss. 0 or a negative errno (errno too). */
int db_rename(const char *from, const char *to);

/* Keeps daemons away from a state directory until the descriptor is closed. -EWOULDBLOCK: one
 * runs; -ENOENT: no such directory; without `make`, which makes the lock file: there never was a
 * daemon. Or another negative errno. */
int db_lock(const char *state_dir, bool make);

/* Whether a daemon runs on the directory. Keeps none away. */
bool db_is_running(const char *state_dir);

#endif
