/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the shells' completion asks for: pmxcfsctl --complete WORD... */
#ifndef PMXCFS_CTL_COMPLETE_H
#define PMXCFS_CTL_COMPLETE_H

#include <glib.h>
#include <stddef.h>

#include "ctl/commands.h"

/* Prints what the last of `words` (at least one; those after "pmxcfsctl") can become, given those
 * before it: lines of a candidate, a tab, and a description. ":files" stands for names of files.
 * A "=" may stand alone, as bash gives it, or within the word. `context`: what the environment says
 * of the socket. */
void complete(const struct command *commands, size_t count, const struct context *context,
              int word_count, char **words);

/* A command is called with these as its arguments, in place of what a user would write, so that
 * command_parse() lets its own table of options tell. */
enum {
    COMPLETE_NAME,
    COMPLETE_MARK,
    COMPLETE_SOCKET, /* "": nobody named one */
    COMPLETE_BEFORE, /* the word before: an option whose value it is, perhaps */
    COMPLETE_PREFIX, /* what each candidate begins with: "--from=" */
    COMPLETE_WORD,
    COMPLETE_COUNT
};
#define COMPLETE_MARK_TEXT "--complete-options"

/* For command_parse(): `entries` and `parameters` as there, `common` the options of all commands.
 */
void complete_options(const GOptionEntry *entries, const GOptionEntry *common,
                      const char *parameters, char **arguments);

#endif
