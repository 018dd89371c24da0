/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The truncations of opens that wait for a write: which of them are sent, and when. */
#include "kernel/truncations.h"

#include <errno.h>
#include <signal.h>

#include "base/process.h"

/* So much longer a truncation waits for the write of a thread that is on its way there: on a busy
 * machine it, and we, may get no processor for longer than programs think before a write. */
#define BUSY_MILLISECONDS 900u

void truncations_init(struct truncations *truncations, struct truncations_owner *owner,
                      struct node_table *table)
{
    *truncations = (struct truncations){.owner = owner, .table = table, .nodes = g_ptr_array_new()};
    lock_init(&truncations->lock, LOCK_RANK_TRUNCATIONS);
}

void truncations_destroy(struct truncations *truncations)
{
    for (guint i = 0; i < truncations->nodes->len; i++)
        node_unpin(truncations->table, truncations->nodes->pdata[i]);
    g_ptr_array_unref(truncations->nodes);
    lock_destroy(&truncations->lock);
}

void truncations_add(struct truncations *truncations, struct node *node)
{
    LOCKED(&truncations->lock);
    g_ptr_array_add(truncations->nodes, node);
}

bool truncations_wait(struct truncations *truncations)
{
    LOCKED(&truncations->lock);
    return truncations->nodes->len > 0;
}

/* Which truncations are sent. */
struct choice {
    enum {
        CHOICE_ALL,
        CHOICE_CALLER, /* those of a thread, and of threads that have ended */
        CHOICE_DUE,
    } kind;
    pid_t caller;       /* CALLER */
    uint64_t now;       /* DUE: milliseconds */
    const GArray *busy; /* DUE: pid_t, threads that get more time */
};

static bool is_among(const GArray *threads, pid_t thread)
{
    for (guint i = 0; i < threads->len; i++) {
        if (g_array_index(threads, pid_t, i) == thread)
            return true;
    }
    return false;
}

/* The time by which a truncation of that thread's is judged. */
static uint64_t time_for(const struct choice *choice, pid_t opener)
{
    switch (choice->kind) {
    case CHOICE_CALLER:
        if (opener != choice->caller && (kill(opener, 0) == 0 || errno != ESRCH))
            return 0;
        break;
    case CHOICE_DUE:
        return is_among(choice->busy, opener) ? choice->now - BUSY_MILLISECONDS : choice->now;
    case CHOICE_ALL:
        break;
    }
    return UINT64_MAX;
}

/* Takes what is chosen out of the list, and what is no longer to be there. In one piece: whoever
 * chooses at the same time misses nothing. */
static GPtrArray *take_chosen(struct truncations *truncations, const struct choice *choice)
{
    GPtrArray *chosen = g_ptr_array_new();
    guint stay = 0;

    LOCKED(&truncations->lock);
    for (guint i = 0; i < truncations->nodes->len; i++) {
        struct node *node = truncations->nodes->pdata[i];
        pid_t opener = node_waits_for(truncations->table, node);
        switch (node_meet(truncations->table, node, time_for(choice, opener))) {
        case NODE_STAYS:
            truncations->nodes->pdata[stay++] = node;
            break;
        case NODE_SEND:
            g_ptr_array_add(chosen, node);
            break;
        case NODE_DONE:
            node_unpin(truncations->table, node);
            break;
        }
    }
    g_ptr_array_set_size(truncations->nodes, (gint)stay);
    return chosen;
}

static void send_chosen(struct truncations *truncations, const struct choice *choice)
{
    g_autoptr(GPtrArray) chosen = take_chosen(truncations, choice);

    for (guint i = 0; i < chosen->len; i++) {
        truncations->owner->send(truncations->owner, chosen->pdata[i]);
        node_unpin(truncations->table, chosen->pdata[i]);
    }
}

static GArray *list_openers(struct truncations *truncations)
{
    GArray *openers = g_array_new(false, false, sizeof(pid_t));

    LOCKED(&truncations->lock);
    for (guint i = 0; i < truncations->nodes->len; i++) {
        pid_t opener = node_waits_for(truncations->table, truncations->nodes->pdata[i]);
        if (opener != 0 && !is_among(openers, opener))
            g_array_append_val(openers, opener);
    }
    return openers;
}

/* /proc may wait for the thread that it is asked about: so no list is held meanwhile. */
void truncations_send_due(struct truncations *truncations, uint64_t now)
{
    g_autoptr(GArray) openers = list_openers(truncations);
    g_autoptr(GArray) busy = g_array_new(false, false, sizeof(pid_t));
    const struct choice choice = {.kind = CHOICE_DUE, .now = now, .busy = busy};

    for (guint i = 0; i < openers->len; i++) {
        pid_t opener = g_array_index(openers, pid_t, i);
        if (process_may_be_writing(opener))
            g_array_append_val(busy, opener);
    }
    send_chosen(truncations, &choice);
}

void truncations_flush_caller(struct truncations *truncations, pid_t thread)
{
    const struct choice choice = {.kind = CHOICE_CALLER, .caller = thread};

    if (node_table_waits(truncations->table))
        send_chosen(truncations, &choice);
}

void truncations_flush(struct truncations *truncations)
{
    const struct choice choice = {.kind = CHOICE_ALL};

    send_chosen(truncations, &choice);
}
