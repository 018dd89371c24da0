/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: what is known of the host, and what is found wrong with it. */
#ifndef PMXCFS_CTL_DOCTOR_H
#define PMXCFS_CTL_DOCTOR_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>

#include "core/tree.h"
#include "ctl/commands.h"
#include "ctl/doctor_options.h"

enum doctor_severity {
    DOCTOR_CRITICAL, /* something does not work now */
    DOCTOR_WARNING,  /* it works, and will not for ever, or not as it should */
};

/* One thing that is wrong. Strings are owned by the list that it is in; all but `what` may be NULL.
 */
struct doctor_finding {
    enum doctor_severity severity;
    const char *check; /* the row of the table that found it; static */
    char *what;        /* a sentence without a full stop */
    char *why;         /* how that comes, or what it means */
    char *command;     /* exactly what to enter; several lines are several commands */
    char *risk;        /* of the command */
};

/* What is looked at. What could not be learnt is NULL; whoever finds the reason tells it. */
struct doctor {
    const struct context *context;
    struct doctor_options *options; /* owned */
    bool quick;      /* leave out what takes long: the integrity of a large database */
    char *host_name; /* up to the first dot; NULL: the host has none that a node can have */

    /* Of the running daemon. */
    int daemon_error; /* 0: it answers; else the errno why not */
    json_t *overview; /* requests 101, 2, 102 (doc/ipc.md) */
    json_t *members;
    json_t *locks;

    /* Of the database. */
    char *database;
    struct tree *tree; /* what is in it, with its journal; NULL: it does not load, or is unread */
    bool unread;       /* too large for a quick look; the daemon has loaded it */

    /* Of corosync. */
    bool clustered;     /* the database, or else the host, has a corosync.conf */
    int corosync_error; /* 0: it answered; -ENOTCONN, -ETIMEDOUT ... */
    json_t *corosync;   /* doctor_ask_corosync() */

    const char *check; /* the row that is being worked on */
    GPtrArray *findings;
};

/* Looks at all, in the order of the table, and sorts by severity; what is in *doctor is learnt
 * first. doctor_clear() it. `context` is lent. Root alone sees all. */
void doctor_examine(struct doctor *doctor, const struct context *context,
                    const struct doctor_options *options, bool quick);
void doctor_clear(struct doctor *doctor);

/* The worst finding as one line, "critical: ...", without a newline; NULL: healthy. g_free() it. */
char *doctor_first_line(const struct doctor *doctor);

/* What several checks need (doctor_common.c). */

/* Adds a finding, whose strings it takes over. */
void doctor_add(struct doctor *doctor, struct doctor_finding finding);

/* Has a check, or any, found something critical already? `check` NULL: any. */
bool doctor_has_critical(const struct doctor *doctor, const char *check);

/* The command that starts, stops or restarts the service; g_free() it. */
char *doctor_service(const char *verb);

/* Words for lists: "a, b and 3 more"; g_free() it. */
char *doctor_list(const GPtrArray *words);

/* The "name" of each object of a list that has not that field, or has it false; the names are
 * borrowed. g_ptr_array_unref() it. */
GPtrArray *doctor_names_without(json_t *list, const char *field);

/* The nodes of the corosync.conf in the database, struct nodelist_node; NULL: there is none.
 * g_ptr_array_unref() it. */
GPtrArray *doctor_cluster_nodes(const struct doctor *doctor);

/* The name that the daemon goes by, or would if it was started; borrowed, NULL: none. */
const char *doctor_node_name(const struct doctor *doctor);

/* The checks, each of one group of things (doctor_*.c). */
void doctor_check_state_directory(struct doctor *doctor);
void doctor_check_space(struct doctor *doctor);
void doctor_check_permissions(struct doctor *doctor);
void doctor_check_database(struct doctor *doctor);
void doctor_check_journal(struct doctor *doctor);
void doctor_check_safety_copies(struct doctor *doctor);
void doctor_check_limits(struct doctor *doctor);
void doctor_check_name(struct doctor *doctor);
void doctor_check_address(struct doctor *doctor);
void doctor_check_renamed(struct doctor *doctor);
void doctor_check_lost_guests(struct doctor *doctor);
void doctor_check_corosync_conf(struct doctor *doctor);
void doctor_check_corosync_key(struct doctor *doctor);
void doctor_check_corosync(struct doctor *doctor);
void doctor_check_links(struct doctor *doctor);
void doctor_check_votes(struct doctor *doctor);
void doctor_check_fuse(struct doctor *doctor);
void doctor_check_group(struct doctor *doctor);
void doctor_check_mount(struct doctor *doctor);
void doctor_check_hidden(struct doctor *doctor);
void doctor_check_daemon(struct doctor *doctor);
void doctor_check_writes(struct doctor *doctor);
void doctor_check_sync(struct doctor *doctor);
void doctor_check_release(struct doctor *doctor);
void doctor_check_clocks(struct doctor *doctor);
void doctor_check_locks(struct doctor *doctor);
void doctor_check_certificates(struct doctor *doctor);

#endif
