/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands that read the history share. */
#ifndef PMXCFS_CTL_HISTORY_COMMON_H
#define PMXCFS_CTL_HISTORY_COMMON_H

#include <stdint.h>

#include "ctl/commands.h"
#include "history/reader.h"

/* The history of the daemon at the socket, after it has written down what is pending; without a
 * daemon, if nobody named a socket, what lies in the default state directory. `database` not NULL:
 * that history.db, or the one beside that file. NULL: stderr says why and *code is set. */
struct history_reader *history_common_open(const struct context *context, const char *database,
                                           int *code);

/* The path as the tree has it, from one that may begin with /etc/pve or end with slashes; g_free()
 * it. */
char *history_common_path(const char *given);

/* Says on stderr why the history could not be read; EXIT_FAILED. */
int history_common_complain(int error);

const char *history_common_operation(enum history_operation operation);

/* The node's name, or its number; g_free() it. */
char *history_common_node(struct history_reader *reader, uint32_t node);

#endif
