/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls a command of the shell for an event of the change feed. */
#ifndef PMXCFS_CTL_RUN_COMMAND_H
#define PMXCFS_CTL_RUN_COMMAND_H

#include <jansson.h>
#include <stddef.h>

/* Runs `command` with /bin/sh and waits for its end. It gets the event's line of JSON on its
 * standard input, and the fields as PMXCFS_VERSION, PMXCFS_OPERATION, PMXCFS_PATH and so on in its
 * environment. A failure is told on stderr, and is no reason to stop. */
void run_command(const char *command, json_t *event, const char *line, size_t size);

#endif
