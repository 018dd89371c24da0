/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Recordings of what a daemon gave to and got from libcpg, for tests that replay them. */
#ifndef PMXCFS_TESTS_TRACE_H
#define PMXCFS_TESTS_TRACE_H

#include <glib.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "cluster/machine.h"
#include "core/buffer.h"

/* The two groups: what a recording calls "h". */
enum trace_group { TRACE_CONFIGURATION = 0, TRACE_STATUS = 1 };

enum trace_type {
    TRACE_INIT,    /* a connection to libcpg; for TRACE_CONFIGURATION: the daemon (re)started */
    TRACE_LOCAL,   /* `member` is the daemon itself */
    TRACE_JOIN,    /* `group_name`, `length` */
    TRACE_LEAVE,   /* `group_name` */
    TRACE_CONFCHG, /* `members`, `left`, `joined` */
    TRACE_SEND,    /* the daemon multicast `message` */
    TRACE_DELIVER, /* it was given `message` of `member` */
    TRACE_MARK,    /* a step of the scenario, `mark`, was just done */
};

struct trace_event {
    enum trace_type type;
    enum trace_group group; /* but MARK */
    size_t line;            /* in the recording, from 1 */
    double time;            /* seconds of the recorder's clock; CONFCHG, SEND, DELIVER */
    struct member member;
    char *group_name;
    uint32_t length;
    GArray *members; /* struct member */
    GArray *left;
    GArray *joined;
    struct buffer *message; /* whole */
    uint32_t guarantee;     /* SEND: cpg_guarantee_t */
    char *mark;
};

/* Reads DIRECTORY/nodeN.jsonl.xz below the folder of recordings (environment: VECTORS) through xz.
 * The array owns struct trace_event; g_ptr_array_unref() it. Ends the test program with a message
 * on anything that it cannot read: a recording that is skipped tests nothing. */
GPtrArray *trace_load(const char *directory, unsigned node);

/* The bytes of the file DIRECTORY/NAME there, NUL-ended; g_free() it. */
char *trace_file(const char *directory, const char *name, size_t *size);

/* The index of the first event at or after `from` that is the mark `mark`; or the number of events.
 */
size_t trace_find_mark(const GPtrArray *trace, size_t from, const char *mark);

static inline const struct trace_event *trace_at(const GPtrArray *trace, size_t index)
{
    return g_ptr_array_index(trace, index);
}

#endif
