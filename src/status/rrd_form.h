/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The kinds of RRD values: which key goes to which file, and which columns it has. Pure. */
#ifndef PMXCFS_STATUS_RRD_FORM_H
#define PMXCFS_STATUS_RRD_FORM_H

#include <stddef.h>

#define RRD_STEP_SECONDS 60u
#define RRD_VALUE_MAX 4096u /* bytes of a value with its NUL (doc/rrd.md) */
#define RRD_ARGUMENTS_MAX 40u

struct rrd_kind; /* node, vm, storage: the sources of a file */

/* Where a key's values go. */
struct rrd_target {
    const struct rrd_kind *kind;
    char *directory; /* relative to the RRD directory: pve-node-9.0, pve-storage-9.0/NODE ... */
    char *path;      /* directory + "/" + the last part of the key */
    unsigned skip;   /* leading columns that are not stored */
    unsigned known;  /* columns behind the time that this form of key may have */
};

/* Takes a key (without "rrd/") apart as doc/rrd.md says. 0, and *target to be cleared with
 * rrd_target_clear(); or -EINVAL: no file may be written for it. */
int rrd_target_parse(const char *key, struct rrd_target *target);
void rrd_target_clear(struct rrd_target *target);

/* The update that a value means, "TIME:COLUMN:COLUMN...", with exactly the file's columns: cut, or
 * filled with U, which also stands for an empty one. `value` is text of `size` bytes, which end at
 * its first NUL. NULL: it is malformed (no time, no column, a character that no number has).
 * g_free() it. */
char *rrd_target_update(const struct rrd_target *target, const char *value, size_t size);

/* The data sources and archives of a new file, as librrd takes them: fills `arguments`
 * (RRD_ARGUMENTS_MAX of them; static strings) and returns their number. */
int rrd_target_arguments(const struct rrd_target *target, const char **arguments);

#endif
