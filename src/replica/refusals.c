/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Refusals that an administrator can meet, told in the log: why, where, and what to do; each cause
 * once in a while. */
#include "replica/refusals.h"

#include <glib.h>

#include "base/log.h"

#define PAUSE_MILLISECONDS 10000u

static const struct {
    const char *name;
    const char *why;
    const char *remedy;
} texts[REFUSAL_COUNT] = {
    [REFUSAL_QUORUM] =
        {"quorum", "there is no quorum",
         "see 'corosync-quorumtool -s' for the nodes that are missing; if they are "
         "switched off for good, 'pvecm expected N' makes N votes the cluster: never "
         "while they may still run, or two halves change it apart (split brain)"},
    [REFUSAL_COROSYNC] = {"corosync", "corosync does not run, or does not answer",
                          "see 'systemctl status corosync' and 'journalctl -u corosync'; this node "
                          "comes back by itself"},
    [REFUSAL_NOT_JOINED] = {"not_joined", "this node has not joined the cluster's group yet",
                            "see 'systemctl status corosync'; it is tried again by itself"},
    [REFUSAL_WAITING] = {"waiting",
                         "too many changes wait for the end of the synchronisation with the others",
                         "they are made when it is over; 'pmxcfsctl status' shows the state"},
    [REFUSAL_PROTOCOL] = {"protocol", "a member speaks a newer version of the protocol",
                          "update the packages of this node and start pmxcfs again"},
    [REFUSAL_DATABASE] =
        {"database", "the database does not take writes",
         "look for a full or failing disk; when it is well again this node comes back by itself"},
    [REFUSAL_LIMIT] = {"limit", "a limit is reached",
                       "delete what is not needed; this is not for large files"},
    [REFUSAL_FORM] = {"form", "the name is not allowed here", "choose another"},
    [REFUSAL_GUEST] = {"guest", "the guest id is taken", "choose another id, or move that guest"},
    [REFUSAL_VERSION] = {"version", "the global version is at the end of its range",
                         "'pmxcfsctl db export' and 'db import' make a database that counts from "
                         "the beginning; all nodes have to start with it"},
};

void refusals_init(struct refusals *refusals)
{
    *refusals = (struct refusals){0};
    lock_init(&refusals->lock, LOCK_RANK_REFUSALS);
}

void refusals_destroy(struct refusals *refusals)
{
    lock_destroy(&refusals->lock);
}

uint64_t refusals_count(const struct refusals *refusals, enum refusal cause)
{
    return counter_get(&refusals->causes[cause].count);
}

const char *refusals_name(enum refusal cause)
{
    return texts[cause].name;
}

/* True if it is time for another message; *suppressed: how many were not logged since the last. */
static bool is_due(struct refusals *refusals, enum refusal cause, uint64_t now,
                   uint64_t *suppressed)
{
    LOCKED(&refusals->lock);
    uint64_t logged = refusals->causes[cause].logged;
    bool due = logged == 0 || now >= logged + PAUSE_MILLISECONDS;
    *suppressed = refusals->causes[cause].suppressed;
    refusals->causes[cause].suppressed = due ? 0 : *suppressed + 1;
    if (due)
        refusals->causes[cause].logged = MAX(now, 1);
    return due;
}

void refusals_note(struct refusals *refusals, enum refusal cause, const char *path,
                   const char *detail, uint64_t now)
{
    uint64_t suppressed;

    counter_add(&refusals->causes[cause].count, 1);
    if (!is_due(refusals, cause, now, &suppressed))
        return;
    g_autofree char *more =
        suppressed
            ? g_strdup_printf(" (and %" G_GUINT64_FORMAT " times before, not logged)", suppressed)
            : g_strdup("");
    log_warning("refused to change '%s': %s; %s%s", path ? path : "?",
                detail ? detail : texts[cause].why, texts[cause].remedy, more);
}
