/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: what a process group gives to one member, in any order, for either group. */
#include <errno.h>
#include <glib.h>
#include <string.h>

#include "cluster/machine.h"
#include "cluster/wire.h"
#include "core/apply.h"
#include "core/index.h"
#include "core/publish.h"
#include "fuzz.h"
#include "status/status_group.h"

#define SELF 1u
#define EPOCH_OFFSET 16u
#define ACTIONS_MAX 100000u
#define SENT_MAX 2000u

/* The steps of an input (make_corpus.py writes them too). */
enum step {
    STEP_CONFIGURATION, /* u8 members, u8 joined: bit n is node n + 1 */
    STEP_DELIVER,       /* u8 node, piece: a message as it is */
    STEP_DELIVER_OWN,   /* the next message that this node sent comes back */
    STEP_DELIVER_EPOCH, /* as DELIVER, in the epoch of the last synchronisation */
    STEP_DELIVER_LOG,   /* the same, its body filled up with zeros to a cluster log */
    STEP_RESTART,
    STEP_VERIFY,
    STEP_CHANGE, /* u8 subtype, piece: this node multicasts a change */
    STEP_FAIL,
    STEP_COUNT,
};

/* The member under test: a machine with a small tree, or a status group. */
struct fuzzed {
    struct machine *machine;
    struct state *state;
    struct draft *draft;

    struct status *status;
    struct status_group *group;
    struct clock_source clock;

    struct transport transport;
    uint64_t count; /* of its NORMAL messages */
    GQueue sent;    /* struct buffer: multicast, not yet delivered */
    struct epoch epoch;
    bool has_epoch;
};

static struct member member_of(uint32_t node)
{
    return (struct member){node, 1000 + node};
}

static uint32_t seconds(struct clock_source *clock)
{
    (void)clock;
    return 1700000000;
}

static uint64_t milliseconds(struct clock_source *clock)
{
    (void)clock;
    return 1000;
}

static int multicast(struct transport *transport, struct buffer *message, enum send_kind kind,
                     uint64_t count)
{
    struct fuzzed *fuzzed = container_of(transport, struct fuzzed, transport);

    (void)kind;
    (void)count;
    if (g_queue_get_length(&fuzzed->sent) >= SENT_MAX)
        return -ENOBUFS;
    g_queue_push_tail(&fuzzed->sent, buffer_ref(message));
    return 0;
}

static void leave(struct transport *transport, int stay_out)
{
    (void)transport;
    (void)stay_out;
}

static void send_built(struct fuzzed *fuzzed, struct buffer *message)
{
    multicast(&fuzzed->transport, message, SEND_SYNC, 0);
    buffer_unref(message);
}

/* --- The configuration group's executor, in short --- */

static void carry_apply(struct fuzzed *fuzzed, const struct action *action)
{
    struct header header;
    struct change change;

    MUST(wire_parse_header(action->message->data, action->message->capacity, &header) == 0);
    if (wire_parse_change(header.subtype, header.body, header.body_size, &change) != 0) {
        machine_fail(fuzzed->machine, "malformed");
        return;
    }
    change.writer = action->sender.node;
    change.time = header.time;
    uint64_t version = fuzzed->draft->root.version;
    int error = apply(fuzzed->draft, &change, NULL);
    MUST(!error || fuzzed->draft->root.version == version);
    g_ptr_array_unref(draft_take_effects(fuzzed->draft));
    state_publish(fuzzed->state, fuzzed->draft, 1000);
}

static void carry_state(struct fuzzed *fuzzed, const struct action *action)
{
    struct buffer *index = index_build(fuzzed->draft);

    send_built(fuzzed, wire_build_sync(MESSAGE_STATE, CONFIGURATION_PROTOCOL, &action->epoch, 1,
                                       index->data, index->capacity));
    buffer_unref(index);
}

static void carry_updates(struct fuzzed *fuzzed, const struct action *action)
{
    for (guint i = 0; i < action->inodes->len; i++) {
        uint64_t inode = g_array_index(action->inodes, uint64_t, i);
        struct entry *entry = inode ? tree_entry(fuzzed->state->tree, inode) : NULL;
        if (inode == 0 || entry)
            send_built(fuzzed, wire_build_update(&action->epoch, 1, entry, &fuzzed->draft->root));
    }
    send_built(fuzzed, wire_build_sync(MESSAGE_UPDATE_COMPLETE, CONFIGURATION_PROTOCOL,
                                       &action->epoch, 1, NULL, 0));
}

static int take_updates(struct fuzzed *fuzzed, const struct action *action)
{
    struct draft *draft = fuzzed->draft;

    for (guint i = 0; i < action->updates->len; i++) {
        const struct buffer *message = action->updates->pdata[i];
        struct header header;
        struct entry *entry;
        MUST(wire_parse_header(message->data, message->capacity, &header) == 0);
        if (wire_parse_update(header.body, header.body_size, &entry) != 0)
            return -EBADMSG;
        if (entry->inode != 0) {
            draft_put(draft, entry);
        } else {
            draft->root = (struct root){entry->version, entry->writer, entry->mtime};
            entry_unref(entry);
        }
    }
    return 0;
}

/* The leader's state in place of ours, if it is one. */
static int carry_commit(struct fuzzed *fuzzed, const struct action *action)
{
    g_autoptr(GArray) surplus = g_array_new(FALSE, FALSE, sizeof(uint64_t));
    struct buffer *own_index = index_build(fuzzed->draft);
    struct index_view leader;
    struct index_view own;
    g_autofree char *problem = NULL;

    MUST(index_parse(own_index->data, own_index->capacity, &own) == 0);
    int error = index_parse(action->message->data, action->message->capacity, &leader);
    if (!error) {
        index_surplus(&own, &leader, surplus);
        for (guint i = 0; i < surplus->len; i++)
            draft_remove(fuzzed->draft, g_array_index(surplus, uint64_t, i));
        error = take_updates(fuzzed, action);
    }
    if (!error)
        error = draft_check(fuzzed->draft, &problem);
    if (error) {
        draft_restart(fuzzed->draft);
    } else {
        fuzzed->draft->rebuild = true;
        state_publish(fuzzed->state, fuzzed->draft, 1000);
    }
    buffer_unref(own_index);
    return error;
}

static void carry_out(struct fuzzed *fuzzed, const struct action *action)
{
    static const uint8_t digest[DIGEST_SIZE] = {1};

    switch (action->type) {
    case ACTION_SEND:
        MUST(action->message);
        multicast(&fuzzed->transport, action->message, action->kind, 0);
        break;
    case ACTION_SEND_STATE:
        carry_state(fuzzed, action);
        break;
    case ACTION_APPLY:
        carry_apply(fuzzed, action);
        break;
    case ACTION_SEND_UPDATES:
        carry_updates(fuzzed, action);
        break;
    case ACTION_COMMIT:
        machine_committed(fuzzed->machine, carry_commit(fuzzed, action));
        break;
    case ACTION_CHECKSUM:
        machine_checksum(fuzzed->machine, digest, 1);
        break;
    case ACTION_LOG:
        MUST(action->text);
        break;
    default:
        break;
    }
}

static void settle(struct fuzzed *fuzzed)
{
    struct action action;

    if (fuzzed->machine)
        machine_end_batch(fuzzed->machine);
    for (unsigned count = 0; fuzzed->machine && machine_next(fuzzed->machine, &action); count++) {
        MUST(count < ACTIONS_MAX);
        carry_out(fuzzed, &action);
    }
}

/* --- Steps --- */

static void step_configuration(struct fuzzed *fuzzed, struct reader *input)
{
    uint8_t present = reader_u8(input);
    uint8_t fresh = reader_u8(input);
    struct member members[8];
    struct member joined[8];
    size_t count = 0;
    size_t joined_count = 0;

    for (uint32_t i = 0; i < 8; i++) {
        if (present & 1u << i)
            members[count++] = member_of(i + 1);
        if (present & fresh & 1u << i)
            joined[joined_count++] = member_of(i + 1);
    }
    if (fuzzed->machine)
        machine_configuration(fuzzed->machine, members, count, joined_count > 0, 1);
    else
        status_group_handle(fuzzed->group,
                            event_configuration(members, count, joined, joined_count));
}

/* What the replica asks before the machine gets a message. */
static void look_for_confirmations(const struct header *header)
{
    uint64_t count = 0;

    if (wire_is_confirm_request(header))
        MUST(!wire_parse_confirm_request(header->body, header->body_size, &count) ||
             header->body_size != 8);
    if (header->type == MESSAGE_VERIFY)
        MUST(!wire_parse_confirmation(header->body, header->body_size, member_of(SELF), &count) ||
             count == 0);
}

/* Takes over the message. */
static void deliver(struct fuzzed *fuzzed, uint32_t node, struct buffer *message)
{
    struct header header;

    if (wire_parse_header(message->data, message->capacity, &header) == 0) {
        look_for_confirmations(&header);
        if (header.type == MESSAGE_SYNC_START) {
            fuzzed->epoch = header.epoch;
            fuzzed->has_epoch = true;
        }
    }
    if (fuzzed->machine)
        machine_deliver(fuzzed->machine, member_of(node), message);
    else
        status_group_handle(fuzzed->group, event_message(member_of(node), message));
    buffer_unref(message);
}

static void step_deliver(struct fuzzed *fuzzed, struct reader *input, enum step step)
{
    uint32_t node = reader_u8(input);
    size_t size;
    uint8_t *bytes = take_piece(input, &size);
    size_t wanted = step == STEP_DELIVER_LOG ? SYNC_HEADER_SIZE + CLUSTER_LOG_SIZE : size;
    struct buffer *message = buffer_new((uint32_t)wanted);

    memcpy(message->data, bytes, size);
    if (size < wanted)
        memset(message->data + size, 0, wanted - size);
    if (step != STEP_DELIVER && wanted >= SYNC_HEADER_SIZE && fuzzed->has_epoch) {
        put_le32(message->data + EPOCH_OFFSET, fuzzed->epoch.counter);
        put_le32(message->data + EPOCH_OFFSET + 4, fuzzed->epoch.time);
        put_le32(message->data + EPOCH_OFFSET + 8, fuzzed->epoch.node);
        put_le32(message->data + EPOCH_OFFSET + 12, fuzzed->epoch.pid);
    }
    free(bytes);
    deliver(fuzzed, node, message);
}

static void step_change(struct fuzzed *fuzzed, struct reader *input)
{
    uint8_t subtype = reader_u8(input);
    size_t size;
    uint8_t *bytes = take_piece(input, &size);

    if (fuzzed->machine) {
        send_built(fuzzed, wire_build_normal(subtype, CONFIGURATION_PROTOCOL, ++fuzzed->count, 1,
                                             bytes, size));
    } else if (subtype & 1) {
        status_group_set(fuzzed->group, "some-key", bytes, size);
    } else {
        status_group_log(fuzzed->group, 6, "root@pam", "tag", "message", 1);
    }
    free(bytes);
}

static void take_step(struct fuzzed *fuzzed, struct reader *input, enum step step)
{
    struct buffer *own;

    switch (step) {
    case STEP_CONFIGURATION:
        step_configuration(fuzzed, input);
        break;
    case STEP_DELIVER:
    case STEP_DELIVER_EPOCH:
    case STEP_DELIVER_LOG:
        step_deliver(fuzzed, input, step);
        break;
    case STEP_DELIVER_OWN:
        if ((own = g_queue_pop_head(&fuzzed->sent)))
            deliver(fuzzed, SELF, own);
        break;
    case STEP_RESTART:
        if (fuzzed->machine)
            machine_restart(fuzzed->machine, member_of(SELF));
        else
            status_group_handle(fuzzed->group, event_connected(member_of(SELF)));
        break;
    case STEP_VERIFY:
        if (fuzzed->machine)
            machine_verify(fuzzed->machine, 1);
        break;
    case STEP_CHANGE:
        step_change(fuzzed, input);
        break;
    default:
        if (fuzzed->machine)
            machine_fail(fuzzed->machine, "so it was asked");
        else
            status_group_handle(fuzzed->group, event_new(EVENT_DISCONNECTED));
    }
    settle(fuzzed);
}

/* --- Start and end --- */

static void start(struct fuzzed *fuzzed, bool status)
{
    static const struct cluster_node nodes[] = {{1, 1, "node1"}, {2, 1, "node2"}, {3, 1, "node3"}};

    *fuzzed = (struct fuzzed){.transport = {multicast, leave}, .clock = {seconds, milliseconds}};
    g_queue_init(&fuzzed->sent);
    if (status) {
        fuzzed->status = status_new("node1", "192.0.2.1", 1, &fuzzed->clock);
        status_set_nodes(fuzzed->status, "fuzz", 1, nodes, G_N_ELEMENTS(nodes));
        fuzzed->group =
            status_group_new(fuzzed->status, &fuzzed->transport, &fuzzed->clock, member_of(SELF));
    } else {
        fuzzed->machine = machine_new(GROUP_CONFIGURATION, member_of(SELF));
        fuzzed->state = state_new(tree_new(), 0);
        fuzzed->draft = draft_new(fuzzed->state);
    }
}

static void finish(struct fuzzed *fuzzed)
{
    struct buffer *message;

    while ((message = g_queue_pop_head(&fuzzed->sent)))
        buffer_unref(message);
    if (fuzzed->machine) {
        g_autofree char *problem = NULL;
        MUST(draft_check(fuzzed->draft, &problem) == 0);
        machine_free(fuzzed->machine);
        draft_free(fuzzed->draft);
        state_free(fuzzed->state);
        return;
    }
    buffer_unref(status_cluster_log_text(fuzzed->status, 0, NULL));
    buffer_unref(status_members_text(fuzzed->status));
    buffer_unref(status_rrd_text(fuzzed->status));
    status_group_free(fuzzed->group);
    status_free(fuzzed->status);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader input = {.data = data, .left = size};
    struct fuzzed fuzzed;

    start(&fuzzed, reader_u8(&input) & 1);
    while (input.left > 0 && !input.bad)
        take_step(&fuzzed, &input, (enum step)(reader_u8(&input) % STEP_COUNT));
    finish(&fuzzed);
    return 0;
}
