/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the machine wants done: actions, queued until the executor asks for them. */
#include <stdarg.h>

#include "cluster/machine.h"
#include "cluster/machine_internal.h"

static void free_action(struct action *action)
{
    if (!action)
        return;
    buffer_unref(action->message);
    g_clear_pointer(&action->inodes, g_array_unref);
    g_clear_pointer(&action->updates, g_ptr_array_unref);
    g_clear_pointer(&action->states, g_ptr_array_unref);
    g_free(action->text);
    g_free(action);
}

void machine_push(struct machine *machine, struct action action)
{
    g_queue_push_tail(&machine->actions, g_memdup2(&action, sizeof(action)));
}

void machine_push_send(struct machine *machine, enum send_kind kind, struct buffer *message)
{
    machine_push(machine, (struct action){.type = ACTION_SEND, .kind = kind, .message = message});
}

void machine_push_log_of(struct machine *machine, struct member member, int priority,
                         const char *format, ...)
{
    struct action action = {.type = ACTION_LOG, .sender = member, .priority = priority};
    va_list arguments;

    va_start(arguments, format);
    action.text = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    machine_push(machine, action);
}

void machine_push_apply(struct machine *machine, struct member sender, struct buffer *message)
{
    machine_push(machine, (struct action){.type = ACTION_APPLY,
                                          .sender = sender,
                                          .own = same_member(&sender, &machine->self),
                                          .message = message});
}

static bool is_departure(const struct action *action)
{
    return action->type == ACTION_LEAVE || action->type == ACTION_STAY_OUT;
}

void machine_drop_actions(struct machine *machine, bool departures_too)
{
    for (guint left = machine->actions.length; left > 0; left--) {
        struct action *action = g_queue_pop_head(&machine->actions);
        if (!departures_too && is_departure(action))
            g_queue_push_tail(&machine->actions, action);
        else
            free_action(action);
    }
}

void machine_free_actions(struct machine *machine)
{
    machine_drop_actions(machine, true);
    g_clear_pointer(&machine->current, free_action);
}

bool machine_next(struct machine *machine, struct action *action)
{
    free_action(machine->current);
    machine->current = g_queue_pop_head(&machine->actions);
    if (!machine->current)
        return false;
    *action = *machine->current;
    return true;
}
