/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Carries out what a group's machine decides: what both groups have in common. */
#include "cluster/executor.h"

#include <errno.h>
#include <syslog.h>

#include "base/log.h"
#include "cluster/wire.h"

#define NOT_SENT "a message to the group could not be sent"

void executor_init(struct executor *executor, enum machine_group group, struct member self,
                   const struct group_actions *actions, struct clock_source *clock)
{
    *executor = (struct executor){
        .group = group,
        .actions = actions,
        .machine = machine_new(group, self),
        .clock = clock,
    };
    atomic_init(&executor->mode, MODE_START);
}

void executor_destroy(struct executor *executor)
{
    machine_free(executor->machine);
}

uint32_t executor_seconds(const struct executor *executor)
{
    return executor->clock->seconds(executor->clock);
}

int executor_multicast(struct executor *executor, struct buffer *message, enum send_kind kind,
                       const char *what)
{
    struct transport *transport = executor->transport;
    int error = transport ? transport->multicast(transport, message, kind, 0) : -ENOTCONN;

    if (error && kind == SEND_SYNC)
        machine_fail(executor->machine, NOT_SENT);
    else if (error)
        log_warning("%s could not be sent", what);
    return error;
}

/* --- Actions --- */

static void send_state(struct executor *executor, const struct action *action)
{
    struct buffer *state = executor->actions->state(executor);

    if (!state)
        return;
    struct buffer *message = wire_build_sync(
        MESSAGE_STATE,
        executor->group == GROUP_CONFIGURATION ? CONFIGURATION_PROTOCOL : STATUS_PROTOCOL,
        &action->epoch, executor_seconds(executor), state->data, state->capacity);
    executor_multicast(executor, message, SEND_SYNC, "the state");
    buffer_unref(message);
    buffer_unref(state);
}

static void leave(struct executor *executor, bool stay_out)
{
    struct transport *transport = executor->transport;

    executor->actions->leaving(executor);
    if (transport)
        transport->leave(transport, stay_out);
}

/* A member by its name, or else by its number. */
static char *with_name(const struct executor *executor, const struct action *action)
{
    struct node_names *names = executor->names;
    g_autofree char *name = names ? names->name_of(names, action->sender.node) : NULL;
    g_autofree char *number = g_strdup_printf("node %u", action->sender.node);
    GString *text = g_string_new(action->text);

    g_string_replace(text, LOG_MEMBER, name ? name : number, 0);
    return g_string_free(text, FALSE);
}

static void write_log(const struct executor *executor, const struct action *action)
{
    const char *prefix = executor->group == GROUP_STATUS ? "status group: " : "";
    g_autofree char *text = with_name(executor, action);

    if (action->priority <= LOG_ERR)
        log_error("%s%s", prefix, text);
    else if (action->priority <= LOG_WARNING)
        log_warning("%s%s", prefix, text);
    else if (action->priority <= LOG_INFO)
        log_info("%s%s", prefix, text);
    else
        log_debug("%s%s", prefix, text);
}

static void carry_out(struct executor *executor, const struct action *action)
{
    const struct group_actions *actions = executor->actions;

    switch (action->type) {
    case ACTION_SEND:
        if (executor_multicast(executor, action->message, action->kind,
                               "a request for a verification") &&
            action->kind == SEND_UPDATE)
            machine_verify_failed(executor->machine);
        break;
    case ACTION_SEND_STATE:
        send_state(executor, action);
        break;
    case ACTION_LEAVE:
    case ACTION_STAY_OUT:
        leave(executor, action->type == ACTION_STAY_OUT);
        break;
    case ACTION_LOG:
        write_log(executor, action);
        break;
    default:
        if (actions->of[action->type])
            actions->of[action->type](executor, action);
        break;
    }
}

void executor_run(struct executor *executor)
{
    struct action action;

    atomic_store(&executor->mode, (int)machine_mode(executor->machine));
    while (machine_next(executor->machine, &action)) {
        carry_out(executor, &action);
        atomic_store(&executor->mode, (int)machine_mode(executor->machine));
    }
}

/* --- Events --- */

void executor_handle(struct executor *executor, const struct event *event)
{
    struct machine *machine = executor->machine;

    switch (event->type) {
    case EVENT_CONNECTED:
        machine_restart(machine, event->member);
        break;
    case EVENT_CONFIGURATION:
        machine_configuration(machine, event->members, event->member_count, event->joined_count > 0,
                              executor_seconds(executor));
        break;
    case EVENT_MESSAGE:
        machine_deliver(machine, event->member, event->message);
        break;
    case EVENT_SEND_FAILED:
        if (event->kind == SEND_SYNC)
            machine_fail(machine, NOT_SENT);
        break;
    case EVENT_VERIFY:
        machine_verify(machine, executor_seconds(executor));
        break;
    case EVENT_DISCONNECTED:
        machine_disconnected(machine);
        atomic_store(&executor->mode, MODE_START);
        return;
    case EVENT_QUORUM:
    case EVENT_PROBE:
        break;
    }
    executor_run(executor);
}

void executor_end_batch(struct executor *executor)
{
    if (machine_end_batch(executor->machine))
        executor_run(executor);
}
