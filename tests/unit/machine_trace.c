/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine under test: what it does for each event, read as a short trace. */
#include "machine_trace.h"

#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "core/index.h"

const struct epoch round_epoch = {7, 70, 1, 10};
const uint8_t some_digest[DIGEST_SIZE] = "a checksum of thirty-two bytes.";

void fixture_clear(struct fixture *fixture)
{
    machine_free(fixture->machine);
    g_string_free(fixture->trace, TRUE);
}

struct fixture fixture_new(enum machine_group group, struct member self)
{
    return (struct fixture){
        .machine = machine_new(group, self),
        .trace = g_string_new(NULL),
        .protocol = group == GROUP_CONFIGURATION ? CONFIGURATION_PROTOCOL : STATUS_PROTOCOL,
    };
}

struct fixture round_new(enum machine_group group, struct member self)
{
    struct fixture fixture = fixture_new(group, self);

    start_round(&fixture);
    return fixture;
}

/* Traces */

static void trace_send(GString *trace, const struct action *action)
{
    struct header header;

    assert_int_equal(
        wire_parse_header(action->message->data, message_size(action->message), &header), 0);
    assert_int_equal(action->kind, header.type == MESSAGE_VERIFY_REQUEST ? SEND_UPDATE : SEND_SYNC);
    switch (header.type) {
    case MESSAGE_NORMAL:
        g_string_append_printf(trace, "resend(%u:%u) ", header.body[0], (unsigned)header.count);
        break;
    case MESSAGE_SYNC_START:
        assert_int_equal(header.time, NOW);
        assert_int_equal(header.body_size, 0);
        g_string_append_printf(trace, "start(%u) ", header.epoch.counter);
        break;
    case MESSAGE_VERIFY_REQUEST:
        assert_int_equal(header.body_size, 8);
        g_string_append_printf(trace, "request(%u) ", (unsigned)get_le64(header.body));
        break;
    case MESSAGE_VERIFY:
        assert_int_equal(header.body_size, 40);
        assert_memory_equal(header.body + 8, some_digest, DIGEST_SIZE);
        g_string_append_printf(trace, "verify(%u) ", (unsigned)get_le64(header.body));
        break;
    default:
        fail_msg("message of type %u sent", header.type);
    }
}

static void trace_updates(GString *trace, const struct action *action)
{
    g_string_append(trace, "updates(");
    for (guint i = 0; i < action->inodes->len; i++)
        g_string_append_printf(trace, "%s%u", i ? "," : "",
                               (unsigned)g_array_index(action->inodes, uint64_t, i));
    g_string_append(trace, ") ");
}

static void trace_action(struct fixture *fixture, const struct action *action)
{
    GString *trace = fixture->trace;

    switch (action->type) {
    case ACTION_SEND:
        trace_send(trace, action);
        break;
    case ACTION_SEND_STATE:
        g_string_append_printf(trace, "state(%u/%u) ", action->epoch.counter, action->epoch.node);
        break;
    case ACTION_APPLY:
        g_string_append_printf(trace, "apply(%u:%u)%s ", action->sender.node,
                               (unsigned)get_le64(action->message->data + HEADER_SIZE),
                               action->own ? "*" : "");
        break;
    case ACTION_GIVE_UP:
        g_string_append_printf(trace, "give-up(%u) ",
                               (unsigned)get_le64(action->message->data + HEADER_SIZE));
        break;
    case ACTION_SEND_UPDATES:
        trace_updates(trace, action);
        break;
    case ACTION_COMMIT:
        g_string_append_printf(trace, "commit(%u) ", action->updates->len);
        if (!fixture->hold_commit)
            machine_committed(fixture->machine, fixture->commit_result);
        break;
    case ACTION_MERGE:
        g_string_append_printf(trace, "merge(%u) ", action->states->len);
        break;
    case ACTION_SYNCED:
        g_string_append_printf(trace, "%s%s ", action->alone ? "alone" : "synced",
                               action->became ? "!" : "");
        break;
    case ACTION_CHECKSUM:
        g_string_append(trace, "checksum ");
        break;
    case ACTION_LEAVE:
        g_string_append(trace, "leave ");
        break;
    case ACTION_STAY_OUT:
        g_string_append(trace, "out ");
        break;
    case ACTION_LOG:
        assert_true(action->text && action->text[0]);
        g_string_append(trace, action->priority == LOG_ERR ? "error " : "");
        break;
    }
}

void drain(struct fixture *fixture)
{
    struct action action;

    machine_end_batch(fixture->machine);
    while (machine_next(fixture->machine, &action))
        trace_action(fixture, &action);
}

/* What was done since the last look. */
void check_at(struct fixture *fixture, const char *expected, const char *file, int line)
{
    g_autofree char *seen = g_strchomp(g_strdup(fixture->trace->str));

    g_string_truncate(fixture->trace, 0);
    _assert_string_equal(seen, expected, file, line);
}

/* Events */

static size_t name_members(const char *names, struct member *members)
{
    size_t count = strlen(names);

    for (size_t i = 0; i < count; i++)
        members[i] = names[i] == 'A' ? A : names[i] == 'B' ? B : names[i] == 'C' ? C : X;
    return count;
}

/* A configuration change: members and joined by their letters. */
void change_members(struct fixture *fixture, const char *members, const char *joined)
{
    struct member all[8] = {0};
    size_t all_count = name_members(members, all);

    machine_configuration(fixture->machine, all, all_count, *joined, NOW);
    drain(fixture);
}

/* Delivers a message and gives the reference back. */
void deliver(struct fixture *fixture, struct member sender, struct buffer *message)
{
    machine_deliver(fixture->machine, sender, message);
    buffer_unref(message);
    drain(fixture);
}

void deliver_normal(struct fixture *fixture, struct member sender, uint64_t count)
{
    uint8_t body = (uint8_t)sender.node;

    deliver(fixture, sender, wire_build_normal(1, fixture->protocol, count, NOW, &body, 1));
}

void deliver_sync(struct fixture *fixture, struct member sender, enum message_type type,
                  const struct epoch *epoch, const void *body, size_t body_size)
{
    deliver(fixture, sender, wire_build_sync(type, fixture->protocol, epoch, NOW, body, body_size));
}

/* An index as text: version, mtime, then inode (a digit) and digest (a letter) by turns. */
GByteArray *make_index(uint64_t version, uint32_t mtime, const char *entries)
{
    uint32_t count = (uint32_t)strlen(entries) / 2;
    GByteArray *index = g_byte_array_new();
    uint8_t *to;

    g_byte_array_set_size(index, INDEX_HEADER_SIZE + count * INDEX_ENTRY_SIZE);
    to = index->data;
    put_le64(to, version);
    put_le64(to + 8, count > 0 ? (uint64_t)(entries[2 * count - 2] - '0') : 0);
    put_le32(to + 16, 1);
    put_le32(to + 20, mtime);
    put_le32(to + 24, count);
    put_le32(to + 28, index->len);
    to += INDEX_HEADER_SIZE;
    for (uint32_t i = 0; i < count; i++, to += INDEX_ENTRY_SIZE) {
        put_le64(to, (uint64_t)(entries[2 * i] - '0'));
        memset(to + 8, entries[2 * i + 1], DIGEST_SIZE);
    }
    return index;
}

void deliver_index(struct fixture *fixture, struct member sender, uint64_t version, uint32_t mtime,
                   const char *entries)
{
    g_autoptr(GByteArray) index = make_index(version, mtime, entries);

    deliver_sync(fixture, sender, MESSAGE_STATE, &round_epoch, index->data, index->len);
}

void deliver_indexes(struct fixture *fixture, const char *entries)
{
    deliver_index(fixture, A, 5, 1, entries);
    deliver_index(fixture, B, 5, 1, entries);
    deliver_index(fixture, C, 5, 1, entries);
}

void deliver_update(struct fixture *fixture, struct member sender, uint64_t inode)
{
    struct entry *entry = entry_new(inode, 0, ENTRY_FILE, "name", 4, NULL, 0);

    deliver(fixture, sender, wire_build_update(&round_epoch, NOW, entry, NULL));
    entry_unref(entry);
}

/* Into START_SYNC with A, B, C and A's epoch. Nothing is left in the trace. */
void start_round(struct fixture *fixture)
{
    change_members(fixture, "ABC", "ABC");
    deliver_sync(fixture, A, MESSAGE_SYNC_START, &round_epoch, NULL, 0);
    g_string_truncate(fixture->trace, 0);
    CHECK_MODE(fixture, MODE_START_SYNC);
}

void become_synced(struct fixture *fixture)
{
    start_round(fixture);
    deliver_indexes(fixture, "0a1b");
    g_string_truncate(fixture->trace, 0);
    CHECK_MODE(fixture, MODE_SYNCED);
}

/* B and C are behind A. */
void become_updating(struct fixture *fixture)
{
    start_round(fixture);
    deliver_index(fixture, A, 6, 1, "0a1b2c");
    deliver_index(fixture, B, 5, 1, "0x1b");
    deliver_index(fixture, C, 4, 1, "0y");
    g_string_truncate(fixture->trace, 0);
    CHECK_MODE(fixture, MODE_UPDATE);
}

void complete(struct fixture *fixture)
{
    deliver_sync(fixture, A, MESSAGE_UPDATE_COMPLETE, &round_epoch, NULL, 0);
}

void enter(struct fixture *fixture, enum machine_mode mode)
{
    switch (mode) {
    case MODE_START:
        change_members(fixture, "AC", "AC"); /* others are there, but not yet B itself */
        break;
    case MODE_START_SYNC:
        start_round(fixture);
        break;
    case MODE_SYNCED:
        become_synced(fixture);
        break;
    default:
        become_updating(fixture);
    }
    CHECK(fixture, "");
    CHECK_MODE(fixture, mode);
}

/* The epoch that is current when enter(mode) is done. */
struct epoch current_epoch(enum machine_mode mode)
{
    return mode == MODE_START ? (struct epoch){1, NOW, B.node, B.pid} : round_epoch;
}

void deliver_type(struct fixture *fixture, enum message_type type, const struct epoch *epoch)
{
    g_autoptr(GByteArray) index = make_index(5, 1, "0a");
    struct entry *entry = entry_new(3, 0, ENTRY_FILE, "name", 4, NULL, 0);
    uint8_t verification[40] = {0};

    switch (type) {
    case MESSAGE_NORMAL:
        deliver_normal(fixture, A, 1);
        break;
    case MESSAGE_STATE:
        deliver_sync(fixture, A, type, epoch, index->data, index->len);
        break;
    case MESSAGE_UPDATE:
        deliver(fixture, A, wire_build_update(epoch, NOW, entry, NULL));
        break;
    case MESSAGE_VERIFY_REQUEST:
    case MESSAGE_VERIFY:
        deliver_sync(fixture, A, type, epoch, verification, type == MESSAGE_VERIFY ? 40 : 8);
        break;
    default:
        deliver_sync(fixture, A, type, epoch, NULL, 0);
    }
    entry_unref(entry);
}

void deliver_log(struct fixture *fixture, struct member sender, uint32_t length, uint32_t size)
{
    g_autofree uint8_t *log = g_malloc0(length + 8u);

    put_le32(log, size);
    deliver_sync(fixture, sender, MESSAGE_STATE, &round_epoch, log, length);
}

void deliver_logs(struct fixture *fixture)
{
    deliver_log(fixture, A, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    deliver_log(fixture, B, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
    deliver_log(fixture, C, CLUSTER_LOG_SIZE, CLUSTER_LOG_SIZE);
}

void deliver_request(struct fixture *fixture, struct member sender, uint64_t id)
{
    uint8_t body[8];

    put_le64(body, id);
    deliver_sync(fixture, sender, MESSAGE_VERIFY_REQUEST, &round_epoch, body, sizeof(body));
}

void compute(struct fixture *fixture)
{
    machine_checksum(fixture->machine, some_digest, NOW);
    drain(fixture);
}

void ask(struct fixture *fixture)
{
    machine_verify(fixture->machine, NOW);
    drain(fixture);
}
