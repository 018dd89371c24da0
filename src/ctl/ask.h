/* SPDX-License-Identifier: GPL-3.0-or-later */
/* One question to the daemon, its answer as JSON, and the words for when there is none. */
#ifndef PMXCFS_CTL_ASK_H
#define PMXCFS_CTL_ASK_H

#include <jansson.h>
#include <stddef.h>
#include <stdint.h>

#include "ctl/client.h"
#include "ctl/commands.h"

/* Requests of the local socket (doc/ipc.md). */
enum ask_request {
    ASK_VERSIONS = 1,
    ASK_MEMBERS = 2,
    ASK_GUESTS = 3,
    ASK_CONFIG = 6,
    ASK_LOG = 8,
    ASK_OVERVIEW = 101,
    ASK_LOCKS = 102,
    ASK_VERIFY = 103,
    ASK_ACTIVITY = 104,
    ASK_METRICS = 105,
    ASK_HISTORY = 110,
    ASK_TRIAL_BEGIN = 111,
    ASK_TRIAL_END = 112,
    ASK_TRIALS = 113,
};

/* JSON of the daemon's; NULL: it is none. Texts in it are from anybody, and may hold NULs. */
json_t *ask_parse(const char *text, size_t size);

/* Connects to the daemon; NULL with *code and in *error the errno, and tells nobody. */
struct client *ask_connect(const struct context *context, int *code, int *error);

/* Asks, and tells nobody. EXIT_DONE, and *answer (json_decref() it) unless it is NULL; else an exit
 * code and in *error the errno of the daemon or the connection: EXIT_NO_DAEMON and ETIMEDOUT if it
 * runs and does not answer. */
int ask_quietly(const struct context *context, enum ask_request id, const void *request,
                size_t size, json_t **answer, int *error);

/* Says on stderr why there was no answer. */
void ask_complain(const struct context *context, int code, int error);

/* Both: NULL with *code set and the reason on stderr. */
json_t *ask(const struct context *context, enum ask_request id, const void *request, size_t size,
            int *code);

/* The content of a file of the tree, to be freed with g_free(); NULL: it cannot be had. */
char *ask_file(const struct context *context, const char *path);

/* For people to read, and as one line. */
void print_json(json_t *value);
void print_json_line(json_t *value);

/* Fields of an answer, with something harmless for what is not there. */
const char *field_text(json_t *object, const char *key);
json_int_t field_number(json_t *object, const char *key);
bool field_bool(json_t *object, const char *key);

/* By the daemon's overview: can the tree be changed? False: stderr says why not. */
bool ask_is_quorate(json_t *overview);

/* The field, or any text, with "?" for what cannot be printed, which a terminal may
 * obey; g_free() it. */
char *field_printable(json_t *object, const char *key);
char *text_printable(const char *text);

#endif
