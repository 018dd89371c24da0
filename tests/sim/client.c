/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Clients: they ask for changes, take locks, and remember what they were promised. */
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "replica/internal.h"
#include "sim.h"

enum call_kind { CALL_CHANGE, CALL_LOCK, CALL_RENEW, CALL_RELEASE, CALL_BREAK };

struct call {
    struct caller caller;
    struct node *node;
    enum call_kind kind;
    uint32_t lock; /* which, for all but CHANGE */
    uint64_t since;
    bool answered;
    bool cancelled;
    int result;
    char what[96];
};

static const char *const files[] = {"a/f1", "a/f2", "a/f3", "b/f1", "b/f2", "f"};
static const char *const guest_directories[] = {"nodes/n1/qemu-server", "nodes/n2/qemu-server",
                                                "nodes/n2/lxc"};

bool call_is_answered(const struct call *call)
{
    return call->answered;
}

int call_result(const struct call *call)
{
    return call->result;
}

/* What was answered, or nobody waits for, before it was sent is never sent. */
static void check_wanted(const struct node *node, uint64_t count)
{
    for (guint i = 0; i < node->calls->len; i++) {
        const struct call *call = node->calls->pdata[i];
        if (call->caller.count == count && (call->answered || call->cancelled))
            sim_fail(node->sim, "node %u sends a change whose caller %s: %s", node->id,
                     call->answered ? "was told that it failed" : "is gone", call->what);
    }
}

void client_note_sent(struct node *node, const struct outgoing *outgoing)
{
    struct header header;

    if (outgoing->kind != SEND_NORMAL ||
        wire_parse_header(outgoing->message->data, message_size(outgoing->message), &header) < 0)
        return;
    check_wanted(node, outgoing->count);
    uint64_t *key = g_new(uint64_t, 1);
    change_id *change = g_new(change_id, 1);
    *key = outgoing->count;
    *change = change_identity(node->id, header.time);
    g_hash_table_insert(node->sent, key, change);
}

/* ---- Answers ---- */

/* Another owner within the time of the first, although the cluster knew of it? */
static void check_claim(const struct call *call, const struct claim *claim)
{
    struct sim *sim = call->node->sim;

    if (!claim->owner || sim->plan.deployed || sim->now >= claim->until ||
        !past_has(call->node->past, claim->change))
        return;
    sim_fail(sim, "lock %u was given to node %u, but is node %u's for another %u ms", call->lock,
             call->node->id, claim->owner->id, (uint32_t)(claim->until - sim->now));
}

static void take_claim(const struct call *call, change_id change)
{
    struct claim *claim = &call->node->sim->claims[call->lock];

    if (call->kind == CALL_LOCK) {
        bool doubtful = claim->releases > 0 || call->since <= claim->doubt;
        check_claim(call, claim);
        claim->owner = doubtful ? NULL : call->node;
        claim->until = call->since + LOCK_LIFETIME;
        claim->change = change;
    } else if (call->kind == CALL_RENEW && claim->owner == call->node) {
        claim->until = call->since + LOCK_LIFETIME;
        claim->change = change;
    }
}

/* Acknowledged by all: each member that confirms has, or had, it; whatever becomes of the cluster
 * then. */
static void check_everywhere(const struct call *call, change_id change)
{
    const struct node *node = call->node;
    size_t count;
    const struct member *members = machine_members(node->replica->executor.machine, &count);

    for (size_t i = 0; i < count; i++) {
        const struct node *other = node->sim->nodes->pdata[members[i].node - 1];
        if (!node_is_deployed(other) && !node_had(other, change))
            sim_fail(node->sim, "node %u acknowledges for all what node %u never had: %s", node->id,
                     other->id, call->what);
    }
}

static void check_acknowledged(const struct call *call)
{
    struct node *node = call->node;
    struct sim *sim = node->sim;
    const change_id *change = g_hash_table_lookup(node->sent, &call->caller.count);

    if (!change)
        sim_fail(sim, "node %u acknowledges what it never sent: %s", node->id, call->what);
    if (!past_may_have(node->past, *change))
        sim_fail(sim, "node %u acknowledges what it has not: %s", node->id, call->what);
    if (sim->plan.acknowledge_all && !node_is_deployed(node))
        check_everywhere(call, *change);
    change_id *copy = g_new(change_id, 1);
    *copy = *change;
    g_hash_table_add(sim->acknowledged, copy);
    sim->statistics.acknowledged++;
    take_claim(call, *change);
}

static void end_release(const struct call *call, int result)
{
    struct claim *claim = &call->node->sim->claims[call->lock];
    bool certain = !result || result == -ENOENT || result == -ENOTEMPTY;

    claim->releases--;
    claim->doubt = MAX(claim->doubt, call->node->sim->now + (certain ? 0 : 2 * LOCK_LIFETIME));
}

static void answer(struct caller *caller, int result)
{
    struct call *call = container_of(caller, struct call, caller);
    struct node *node = call->node;

    if (call->answered || call->cancelled)
        sim_fail(node->sim, "node %u answers twice: %s", node->id, call->what);
    call->answered = true;
    call->result = result;
    if (call->kind == CALL_RELEASE)
        end_release(call, result);
    if (disk_has_crashed(node->disk))
        return; /* nobody is there any more to hear it */
    sim_trace(node->sim, "%u answers %d: %s", node->id, result, call->what);
    if (result)
        node->sim->statistics.refused++;
    else if (!node->sim->plan.unchecked && strncmp(call->what, "=", 1) != 0)
        check_acknowledged(call);
    if (call->kind == CALL_RENEW && result && result != -EBUSY &&
        node->sim->claims[call->lock].owner == node)
        node->sim->claims[call->lock].owner = NULL;
}

/* ---- Asking ---- */

static struct call *call_new(struct node *node, enum call_kind kind, const char *verb,
                             const char *path)
{
    struct call *call = g_new0(struct call, 1);

    call->caller.answer = answer;
    call->node = node;
    call->kind = kind;
    call->since = node->sim->now;
    g_snprintf(call->what, sizeof(call->what), "%s %s", verb, path);
    g_ptr_array_add(node->calls, call);
    node->sim->statistics.changes++;
    sim_trace(node->sim, "%u asks: %s", node->id, call->what);
    return call;
}

static struct call *ask(struct node *node, enum call_kind kind, uint32_t lock, const char *verb,
                        const struct change *change)
{
    struct call *call = call_new(node, kind, verb, change->path);

    call->lock = lock;
    replica_change(node->replica, change, &call->caller);
    return call;
}

static struct call *ask_write(struct node *node, const char *path, uint32_t offset, bool truncate,
                              uint32_t size)
{
    g_autofree uint8_t *data = g_malloc0(size + 16);
    struct change change = {.operation = CHANGE_WRITE,
                            .path = path,
                            .offset = offset,
                            .truncate = truncate,
                            .size = size,
                            .data = data};

    put_le32(data, ++node->sim->next_token);
    return ask(node, CALL_CHANGE, 0, "write", &change);
}

static void ask_simple(struct node *node, enum change_operation operation, const char *verb,
                       const char *path)
{
    struct change change = {.operation = operation, .path = path};

    if (operation == CHANGE_MTIME)
        change.offset = random_below(&node->sim->random, 2000000000);
    ask(node, CALL_CHANGE, 0, verb, &change);
}

static void ask_rename(struct node *node, const char *path, const char *to)
{
    struct change change = {.operation = CHANGE_RENAME, .path = path, .to = to};

    ask(node, CALL_CHANGE, 0, strcmp(path, to) == 0 ? "=rename" : "rename", &change);
}

static const char *any_file(struct sim *sim)
{
    return files[random_below(&sim->random, G_N_ELEMENTS(files))];
}

static void change_file(struct node *node)
{
    struct sim *sim = node->sim;
    const char *path = any_file(sim);
    uint32_t size = 1 + random_below(&sim->random, 60);

    switch (random_below(&sim->random, 9)) {
    case 0:
    case 1:
        ask_simple(node, CHANGE_CREATE, "create", path);
        break;
    case 2:
        ask_simple(node, CHANGE_DELETE, "delete", path);
        break;
    case 3:
        ask_rename(node, path, any_file(sim));
        break;
    case 4:
        ask_simple(node, CHANGE_MTIME, "mtime", path);
        break;
    case 5:
        ask_write(node, path, random_below(&sim->random, 40), false, size);
        break;
    case 6:
        ask_write(node, path, 0, true, random_chance(&sim->random, 20) ? 100000 : 0);
        break;
    default:
        ask_write(node, path, 0, true, size);
        break;
    }
}

static void change_directory(struct node *node)
{
    static const char *const names[] = {"a/d", "b/d", "d"};
    struct sim *sim = node->sim;
    const char *path = names[random_below(&sim->random, G_N_ELEMENTS(names))];

    switch (random_below(&sim->random, 4)) {
    case 0:
        ask_simple(node, CHANGE_DELETE, "rmdir", path);
        break;
    case 1:
        ask_rename(node, path, names[random_below(&sim->random, G_N_ELEMENTS(names))]);
        break;
    default:
        ask_simple(node, CHANGE_MKDIR, "mkdir", path);
        break;
    }
}

static void change_guest(struct node *node)
{
    struct sim *sim = node->sim;
    uint32_t id = 100 + random_below(&sim->random, 3);
    g_autofree char *path = g_strdup_printf(
        "%s/%u.conf",
        guest_directories[random_below(&sim->random, G_N_ELEMENTS(guest_directories))], id);

    switch (random_below(&sim->random, 5)) {
    case 0:
        ask_simple(node, CHANGE_DELETE, "delete", path);
        break;
    case 1: {
        g_autofree char *to = g_strdup_printf(
            "%s/%u.conf",
            guest_directories[random_below(&sim->random, G_N_ELEMENTS(guest_directories))],
            random_chance(&sim->random, 800) ? id : 100 + random_below(&sim->random, 3));
        ask_rename(node, path, to);
        break;
    }
    case 2:
        ask_write(node, path, 0, true, 20);
        break;
    default:
        ask_simple(node, CHANGE_CREATE, "create", path);
        break;
    }
}

static uint32_t lock_mtime(struct node *node, const char *path)
{
    int error;
    const struct state *state = replica_read_lock(node->replica);
    const struct entry *entry = tree_lookup(state->tree, path, &error);
    uint32_t mtime = entry ? entry->mtime : 1;

    replica_read_unlock(node->replica);
    return mtime + random_below(&node->sim->random, 3);
}

static void change_lock(struct node *node)
{
    struct sim *sim = node->sim;
    uint32_t lock = random_below(&sim->random, CLAIMS);
    struct claim *claim = &sim->claims[lock];
    g_autofree char *path = g_strdup_printf("priv/lock/%u", lock);
    struct change change = {.operation = CHANGE_MKDIR, .path = path};

    if (claim->owner == node && random_chance(&sim->random, 500)) {
        change.operation = CHANGE_MTIME;
        change.offset = lock_mtime(node, path);
        ask(node, CALL_RENEW, lock, "renew", &change);
    } else if (claim->owner == node) {
        claim->owner = NULL;
        claim->releases++;
        change.operation = CHANGE_DELETE;
        ask(node, CALL_RELEASE, lock, "release", &change);
    } else if (random_chance(&sim->random, 500)) {
        ask(node, CALL_LOCK, lock, "lock", &change);
    } else {
        struct call *call = call_new(node, CALL_BREAK, "break", path);
        replica_request_unlock(node->replica, path, &call->caller);
    }
}

/* A caller is killed; all that wait are told that it takes too long. */
static void cancel_some(struct node *node)
{
    struct sim *sim = node->sim;

    if (random_chance(&sim->random, 20 + sim->plan.cancels)) {
        struct call *call = node->calls->pdata[random_below(&sim->random, node->calls->len)];
        if (!call->answered && !call->cancelled && replica_cancel(node->replica, &call->caller)) {
            sim_trace(sim, "%u cancels: %s", node->id, call->what);
            call->cancelled = true;
        }
    }
    if (random_chance(&sim->random, sim->plan.cancels / 4))
        replica_expire(node->replica, random_below(&sim->random, 2000));
}

void client_change(struct node *node)
{
    struct sim *sim = node->sim;

    switch (random_below(&sim->random, 8)) {
    case 0:
        change_directory(node);
        break;
    case 1:
    case 2:
        change_guest(node);
        break;
    case 3:
        change_lock(node);
        break;
    default:
        change_file(node);
        break;
    }
    cancel_some(node);
}

struct call *client_write(struct node *node)
{
    g_autofree char *path = g_strdup_printf("end-%u-%u", node->id, ++node->sim->next_token);

    ask_simple(node, CHANGE_CREATE, "create", path);
    return ask_write(node, path, 0, true, 30);
}

void client_check_answered(struct node *node)
{
    for (guint i = 0; i < node->calls->len; i++) {
        const struct call *call = node->calls->pdata[i];
        if (!call->answered && !call->cancelled)
            sim_fail(node->sim, "node %u never answered: %s", node->id, call->what);
    }
    g_ptr_array_set_size(node->calls, 0);
}
