/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The guest list, for all commands that need it. */
#ifndef PMXCFS_CTL_GUESTS_H
#define PMXCFS_CTL_GUESTS_H

#include <jansson.h>

#include "ctl/commands.h"

/* The guests as .vmlist has them; json_decref() it. NULL with *code set, and *error as by
 * ask_quietly(). Those of a very large cluster fit no reply, but the mount has them too. */
json_t *guests_ask_quietly(const struct context *context, int *code, int *error);

/* The same; stderr says why there is none. */
json_t *guests_ask(const struct context *context, int *code);

#endif
