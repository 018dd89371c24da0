/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the shells' completion asks for: pmxcfsctl --complete WORD... */
#ifndef PMXCFS_CTL_COMPLETE_H
#define PMXCFS_CTL_COMPLETE_H

#include <glib.h>
#include <stddef.h>

#include "ctl/commands.h"

/* Prints what the last of `words` (at least one; those after "pmxcfsctl") can become, given those
 * before it: lines of a candidate, a tab, and a description. ":files" stands for names of files. */
void complete(const struct command *commands, size_t count, const char *socket, int word_count,
              char **words);

/* A command is called with these five as its arguments, in place of what a user would write, so
 * that command_parse() lets its own table of options tell. */
enum {
    COMPLETE_NAME,
    COMPLETE_MARK,
    COMPLETE_SOCKET,
    COMPLETE_BEFORE,
    COMPLETE_WORD,
    COMPLETE_COUNT
};
#define COMPLETE_MARK_TEXT "--complete-options"

/* For command_parse(): `parameters` as there. */
void complete_options(const GOptionEntry *entries, const char *parameters, char **arguments);

#endif
