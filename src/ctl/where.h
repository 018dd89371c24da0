/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which database a command works on if nobody names one. */
#ifndef PMXCFS_CTL_WHERE_H
#define PMXCFS_CTL_WHERE_H

#include "ctl/commands.h"

/* The state directory: `given`, if that is not NULL; else that of the daemon at the socket. If
 * nobody named the socket and no daemon answers there, the default one. NULL: a socket was named,
 * and its daemon does not tell; stderr says so and *code is set. g_free() it. */
char *where_state_dir(const struct context *context, const char *given, int *code);

/* The same for the database: `given`, or the one in that directory. */
char *where_database(const struct context *context, const char *given, int *code);

#endif
