/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the machine wants done: actions, queued until the executor asks for them. */
#include <stdarg.h>

#include "cluster/machine.h"
#include "cluster/machine_internal.h"

static void pending_free(struct pending *pending)
{
    if (!pending)
        return;
    buffer_unref(pending->action.message);
    g_clear_pointer(&pending->action.inodes, g_array_unref);
    g_clear_pointer(&pending->action.updates, g_ptr_array_unref);
    g_clear_pointer(&pending->action.states, g_ptr_array_unref);
    g_free(pending->text);
    g_free(pending);
}

static void add_pending(struct machine *machine, struct pending *pending)
{
    pending->link = (GList){.data = pending};
    g_queue_push_tail_link(&machine->actions, &pending->link);
}

/* The next one, taken out of the queue; NULL: there is none. */
static struct pending *take_pending(struct machine *machine)
{
    GList *link = g_queue_pop_head_link(&machine->actions);

    return link ? link->data : NULL;
}

void machine_push(struct machine *machine, struct action action)
{
    struct pending *pending = g_new(struct pending, 1);

    pending->action = action;
    pending->text = NULL;
    add_pending(machine, pending);
}

void machine_push_send(struct machine *machine, enum send_kind kind, struct buffer *message)
{
    machine_push(machine, (struct action){.type = ACTION_SEND, .kind = kind, .message = message});
}

void machine_push_log_of(struct machine *machine, struct member member, int priority,
                         const char *format, ...)
{
    struct pending *pending = g_new(struct pending, 1);
    va_list arguments;

    va_start(arguments, format);
    pending->text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    pending->action = (struct action){
        .type = ACTION_LOG, .sender = member, .priority = priority, .text = pending->text};
    add_pending(machine, pending);
}

void machine_push_apply(struct machine *machine, struct member sender, struct buffer *message)
{
    machine_push(machine, (struct action){.type = ACTION_APPLY,
                                          .sender = sender,
                                          .own = same_member(&sender, &machine->self),
                                          .message = message});
}

static bool is_departure(const struct pending *pending)
{
    return pending->action.type == ACTION_LEAVE || pending->action.type == ACTION_STAY_OUT;
}

void machine_drop_actions(struct machine *machine, bool departures_too)
{
    for (guint left = machine->actions.length; left > 0; left--) {
        struct pending *pending = take_pending(machine);
        if (!departures_too && is_departure(pending))
            add_pending(machine, pending);
        else
            pending_free(pending);
    }
}

void machine_free_actions(struct machine *machine)
{
    machine_drop_actions(machine, true);
    pending_free(machine->current);
    machine->current = NULL;
}

bool machine_next(struct machine *machine, struct action *action)
{
    pending_free(machine->current);
    machine->current = take_pending(machine);
    if (!machine->current)
        return false;
    *action = machine->current->action;
    return true;
}
