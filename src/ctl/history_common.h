/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands that read the history share. */
#ifndef PMXCFS_CTL_HISTORY_COMMON_H
#define PMXCFS_CTL_HISTORY_COMMON_H

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

#include "ctl/commands.h"
#include "history/reader.h"

/* The history of the daemon at the socket, after it has written down what is pending; without a
 * daemon, if nobody named a socket, what lies in the default state directory. `database` not NULL:
 * that history.db, or the one beside that file. NULL: stderr says why and *code is set. */
struct history_reader *history_common_open(const struct context *context, const char *database,
                                           int *code);

/* The history of the daemon at the socket, for what can do without. NULL: there is none, or it is
 * not for this user; only if it cannot be read stderr says so. */
struct history_reader *history_common_open_quietly(const struct context *context);

/* The path as the tree has it, from one that may begin with /etc/pve or end with slashes, and with
 * what leads through the links of the mount (local, qemu-server ...) replaced by what those are on
 * this node, if the history is this node's: `database` NULL. g_free() it. */
char *history_common_here(const struct context *context, const char *database, const char *given);

/* The path as a shell takes it for an argument of ours; `at` NULL, or what is to stand behind an @.
 * g_free() it. */
char *history_common_argument(const char *path, const char *at);

/* False: stderr says that the path is empty, as that of a variable which is not set: it is none,
 * "/" is that of the whole tree. */
bool history_common_take_argument(const char *path);

/* Says on stderr why the history could not be read: its file, what of it ("the content of
 * storage.cfg"; NULL: it is not known) and what can be done. EXIT_FAILED. */
int history_common_damaged(const struct history_reader *reader, const char *what, int error);

/* False: stderr says that the history has no node of that name, and which may be meant. */
bool history_common_take_node(struct history_reader *reader, const char *node,
                              struct history_filter *filter);

const char *history_common_operation(enum history_operation operation);

/* The node's name, or its number; g_free() it. */
char *history_common_node(struct history_reader *reader, uint32_t node);

/* A time as people write it, which must be over. False: stderr says why not. */
bool history_common_take_time(const char *text, int64_t *taken);

/* --lines and --since (NULL: not given) of a list; one more than `lines` is asked for, to know
 * whether there is more. False: stderr says what is wrong. */
bool history_common_take_lines(int lines, const char *since, struct history_filter *filter);

/* Prints at most so many of the changes (0: all), each by `print` or, with --json, in a list, and
 * says if there are more. */
void history_common_tell(const struct context *context, struct history_reader *reader,
                         const GPtrArray *changes, guint lines,
                         void (*print)(struct history_reader *reader,
                                       const struct history_change *change));

/* `path` (NULL: all), which the filter borrows, as a path or, with * or ? in it, as a pattern. */
void history_common_take_path(const char *path, struct history_filter *filter);

/* "root", or the number; g_free() it. */
char *history_common_user(uint32_t uid);

/* "root: qm destroy 100", of one that is known; g_free() it. */
char *history_common_who(const struct history_actor *actor);

/* All that is known of a change. */
json_t *history_common_json(struct history_reader *reader, const struct history_change *change);

#endif
