/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Replicas in one process: real stores in a temporary directory, clocks that stand still, and a
 * group that delivers in agreed order when it is told to. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <glib/gstdio.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include "base/util.h"
#include "cluster/wire.h"
#include "core/index.h"
#include "ctl/tools/backup.h"
#include "replica/internal.h"
#include "replicas.h"

/* --- A node --- */

static void tell(struct node *node, const char *what, int number)
{
    if (node->keep_story)
        g_string_append_printf(node->story, "%s %d;", what, number);
}

/* Readers are shut out now and see the old state afterwards, not before. */
static void on_publishing(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt)
{
    struct node *node = container_of(listener, struct node, listener);

    (void)rebuilt;
    assert_int_not_equal(pthread_rwlock_tryrdlock(&node->replica->committer.state_lock.rwlock), 0);
    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        assert_true(effect->version > node->replica->committer.state->tree->root.version ||
                    rebuilt);
    }
    tell(node, "publishing", (int)effects->len);
}

static void on_published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct node *node = container_of(listener, struct node, listener);
    const struct state *state = replica_read_lock(node->replica); /* no lock is held */

    for (guint i = 0; i < effects->len; i++) {
        const struct effect *effect = effects->pdata[i];
        assert_true(effect->version <= state->tree->root.version);
    }
    replica_read_unlock(node->replica);
    node->published++;
    node->rebuilt += rebuilt;
    tell(node, "published", (int)effects->len);
    g_ptr_array_unref(effects);
}

static void on_quorum_changed(struct replica_listener *listener, bool quorate)
{
    struct node *node = container_of(listener, struct node, listener);

    node->quorum_changes++;
    tell(node, "quorum", quorate);
    assert_true(replica_is_quorate(node->replica) == quorate);
}

static void prepare(struct node *node)
{
    place_start(&node->place);
    manual_clock_init(&node->clock, 1000000, 1700000000);
    node->listener = (struct replica_listener){on_publishing, on_published, on_quorum_changed};
    node->story = g_string_new(NULL);
}

void node_open(struct node *node)
{
    struct store_options options = {0};
    struct tree *tree;
    g_autofree char *message = NULL;

    if (!node->story)
        prepare(node);
    if (store_open(node->place.path, &options, &node->store, &tree, &message))
        fail_msg("%s", message);
    struct replica_options replica_options = {
        .self = node->self,
        .local = node->group == NULL,
        .acknowledge_all = node->acknowledge_all,
        .lock_lifetime = 120000,
        .safety_directory = node->place.directory,
        .clock = &node->clock.source,
        .listener = &node->listener,
    };
    node->replica = replica_new(&replica_options, node->store, tree);
    node->transport.leaving = false;
    node->transport.stays_out = false;
    if (node->group)
        replica_set_transport(node->replica, &node->transport.transport);
}

void node_close(struct node *node)
{
    replica_free(node->replica);
    store_close(node->store);
    node->replica = NULL;
    node->store = NULL;
}

void node_free(struct node *node)
{
    if (node->replica)
        node_close(node);
    if (!node->story)
        return;
    place_stop(&node->place);
    g_string_free(node->story, TRUE);
}

void node_start_local(struct node *node)
{
    node_open(node);
    loopback_start(&node->loopback, node->replica, node->self);
}

static void answer(struct caller *caller, int result)
{
    struct asker *asker = container_of(caller, struct asker, caller);

    tell(asker->node, "answer", result);
    asker->result = result;
    asker->answers++;
    if (asker->then)
        asker->then(asker);
    atomic_store(&asker->done, true);
}

void node_ask(struct node *node, struct asker *asker, struct change change)
{
    asker->node = node;
    asker->result = NOT_ANSWERED;
    asker->caller.answer = answer;
    asker->caller.origin = node;
    if (change.operation == CHANGE_UNLOCK_REQUEST)
        replica_request_unlock(node->replica, change.path, &asker->caller);
    else
        replica_change(node->replica, &change, &asker->caller);
}

int node_do(struct node *node, struct change change)
{
    struct asker asker = {0};

    node_ask(node, &asker, change);
    assert_int_equal(asker.answers, 1);
    return asker.result;
}

int node_create(struct node *node, const char *path)
{
    return node_do(node, (struct change){.operation = CHANGE_CREATE, .path = path});
}

int node_mkdir(struct node *node, const char *path)
{
    return node_do(node, (struct change){.operation = CHANGE_MKDIR, .path = path});
}

int node_write(struct node *node, const char *path, const char *text)
{
    return node_do(node, (struct change){.operation = CHANGE_WRITE,
                                         .path = path,
                                         .truncate = true,
                                         .data = (const uint8_t *)text,
                                         .size = (uint32_t)strlen(text)});
}

int node_delete(struct node *node, const char *path)
{
    return node_do(node, (struct change){.operation = CHANGE_DELETE, .path = path});
}

int node_unlock(struct node *node, const char *path)
{
    return node_do(node, (struct change){.operation = CHANGE_UNLOCK_REQUEST, .path = path});
}

struct change change_create(const char *path)
{
    return (struct change){.operation = CHANGE_CREATE, .path = path};
}

struct change change_text(const char *path, const char *text)
{
    return (struct change){.operation = CHANGE_WRITE,
                           .path = path,
                           .truncate = true,
                           .data = (const uint8_t *)text,
                           .size = (uint32_t)strlen(text)};
}

struct change change_fill(const char *path, uint8_t *buffer, uint32_t size, uint8_t fill)
{
    memset(buffer, fill, size);
    return (struct change){
        .operation = CHANGE_WRITE, .path = path, .truncate = true, .data = buffer, .size = size};
}

bool node_has(struct node *node, const char *path)
{
    int error;
    bool there = tree_lookup(replica_read_lock(node->replica)->tree, path, &error) != NULL;

    replica_read_unlock(node->replica);
    return there;
}

char *node_read(struct node *node, const char *path)
{
    int error;
    char *text = NULL;
    const struct entry *entry = tree_lookup(replica_read_lock(node->replica)->tree, path, &error);

    if (entry)
        text = entry->content ? g_strndup((const char *)entry->content->data, entry->size)
                              : g_strdup("");
    replica_read_unlock(node->replica);
    return text;
}

void node_assert_content(struct node *node, const char *path, const char *expected)
{
    g_autofree char *text = node_read(node, path);

    assert_non_null(text);
    assert_string_equal(text, expected);
}

uint64_t node_version(struct node *node)
{
    uint64_t version = replica_read_lock(node->replica)->tree->root.version;

    replica_read_unlock(node->replica);
    return version;
}

static struct buffer *index_of(const struct state *state)
{
    struct draft *draft = draft_new(state);
    struct buffer *index = index_build(draft);

    draft_free(draft);
    return index;
}

struct buffer *node_index(struct node *node)
{
    return index_of(node->replica->committer.state);
}

struct replica_status node_status(struct node *node)
{
    struct replica_status status;

    replica_get_status(node->replica, &status);
    return status;
}

static void assert_same_index(const struct node *node, const struct buffer *a,
                              const struct buffer *b, const char *what)
{
    if (a->capacity != b->capacity || memcmp(a->data, b->data, a->capacity) != 0)
        fail_msg("node %u: %s", node->self.node, what);
}

void node_assert_stored(struct node *node)
{
    struct store_options options = {0};
    struct store *store = NULL;
    struct tree *tree = NULL;
    g_autofree char *copy = g_strconcat(node->place.path, ".copy", NULL);
    g_autofree char *message = NULL;

    if (tools_backup(node->place.path, copy, &message) ||
        store_open(copy, &options, &store, &tree, &message))
        fail_msg("%s", message);
    struct state *loaded = state_new(tree, 0);
    struct buffer *stored = index_of(loaded);
    struct buffer *seen = node_index(node);
    assert_same_index(node, stored, seen, "the database is not what readers see");
    buffer_unref(seen);
    buffer_unref(stored);
    state_free(loaded);
    store_close(store);
    g_unlink(copy);
}

void disk_full(const struct node *node, uint64_t bytes)
{
    struct rlimit limit;
    GStatBuf status;
    g_autofree char *log = g_strconcat(node->place.path, "-wal", NULL);

    if (g_stat(log, &status) == 0)
        bytes += (uint64_t)status.st_size;
    signal(SIGXFSZ, SIG_IGN);
    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = bytes;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

void disk_free(void)
{
    struct rlimit limit;

    assert_int_equal(getrlimit(RLIMIT_FSIZE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_FSIZE, &limit), 0);
}

/* --- A group --- */

void group_start(struct group *group, unsigned nodes)
{
    *group = (struct group){.next_pid = 100};
    sent_queue_init(&group->sent);
    for (unsigned i = 0; i < nodes; i++) {
        struct node *node = &group->nodes[i];
        node->group = group;
        node->self = (struct member){i + 1, group->next_pid++};
        test_transport_init(&node->transport, &group->sent, &node->self);
        node_open(node);
    }
}

void group_stop(struct group *group)
{
    for (size_t i = 0; i < NODES_MAX; i++)
        node_free(&group->nodes[i]);
    sent_queue_destroy(&group->sent);
}

static void run(struct node *node)
{
    if (node->fail_commits)
        disk_full(node, node->fail_room);
    replica_run(node->replica);
    if (node->fail_commits)
        disk_free();
}

/* Tells all members, and whoever has just left, who is there now. */
static void configure(struct group *group, const struct node *joined)
{
    struct member members[NODES_MAX];
    size_t count = 0;

    for (size_t i = 0; i < NODES_MAX; i++) {
        if (group->nodes[i].transport.joined)
            members[count++] = group->nodes[i].self;
    }
    for (size_t i = 0; i < NODES_MAX; i++) {
        struct node *node = &group->nodes[i];
        if (!node->transport.joined)
            continue;
        replica_post(
            node->replica,
            event_configuration(members, count, joined ? &joined->self : NULL, joined ? 1 : 0));
        run(node);
    }
}

static void deliver_all(struct group *group)
{
    while (group_step(group))
        continue;
}

void group_join(struct group *group, unsigned index)
{
    deliver_all(group);
    group_add(group, index);
}

void group_add(struct group *group, unsigned index)
{
    struct node *node = &group->nodes[index];

    node->transport.leaving = false;
    replica_post(node->replica, event_connected(node->self));
    replica_post(node->replica, event_quorum(true));
    node->transport.joined = true;
    configure(group, node);
}

void group_leave(struct group *group, unsigned index)
{
    struct node *node = &group->nodes[index];

    deliver_all(group);
    node->transport.joined = false;
    configure(group, NULL);
    replica_post(node->replica, event_new(EVENT_DISCONNECTED));
    run(node);
}

/* What a node said and nobody has received goes with it. */
static void drop_sent_by(struct group *group, struct member sender)
{
    for (guint left = group->sent.messages.length; left > 0; left--) {
        struct sent *sent = sent_queue_take(&group->sent);
        if (!same_member(&sent->sender, &sender))
            sent_queue_add(&group->sent, sent->sender, sent->message);
        sent_free(sent);
    }
}

void group_cut(struct group *group, unsigned index)
{
    struct node *node = &group->nodes[index];

    drop_sent_by(group, node->self);
    node->transport.joined = false;
    configure(group, NULL);
    replica_post(node->replica, event_new(EVENT_DISCONNECTED));
    run(node);
}

/* A node that wants to leave does so between two messages. */
static bool let_one_leave(struct group *group)
{
    for (size_t i = 0; i < NODES_MAX; i++) {
        struct node *node = &group->nodes[i];
        if (!node->transport.joined || !node->transport.leaving)
            continue;
        node->transport.joined = false;
        node->left++;
        configure(group, NULL);
        return true;
    }
    return false;
}

bool group_step(struct group *group)
{
    if (let_one_leave(group))
        return true;
    struct sent *sent = sent_queue_take(&group->sent);
    if (!sent)
        return false;
    for (size_t i = 0; i < NODES_MAX; i++) {
        struct node *node = &group->nodes[i];
        if (!node->transport.joined)
            continue;
        replica_post(node->replica, event_message(sent->sender, sent->message));
        run(node);
    }
    sent_free(sent);
    return true;
}

void group_settle(struct group *group)
{
    deliver_all(group);
}

void group_start_joined(struct group *group, unsigned nodes)
{
    group_start(group, nodes);
    for (unsigned i = 0; i < nodes; i++)
        group_join(group, i);
    group_settle(group);
}

void group_inject(struct group *group, struct member sender, struct buffer *message)
{
    sent_queue_add(&group->sent, sender, message);
    buffer_unref(message);
}

int group_do(struct group *group, unsigned index, struct change change)
{
    struct asker asker = {0};

    node_ask(&group->nodes[index], &asker, change);
    group_settle(group);
    assert_int_equal(asker.answers, 1);
    return asker.result;
}

void group_assert_same(struct group *group)
{
    struct buffer *first = NULL;

    for (size_t i = 0; i < NODES_MAX; i++) {
        struct node *node = &group->nodes[i];
        if (!node->transport.joined)
            continue;
        assert_int_equal(node_status(node).mode, MODE_SYNCED);
        assert_int_equal(node_status(node).queued, 0);
        node_assert_stored(node);
        struct buffer *index = node_index(node);
        if (first)
            assert_same_index(node, index, first, "differs from the first member");
        else
            first = buffer_ref(index);
        buffer_unref(index);
    }
    assert_non_null(first);
    buffer_unref(first);
}

unsigned node_count_copies(const struct node *node)
{
    GDir *directory = g_dir_open(node->place.directory, 0, NULL);
    unsigned copies = 0;
    const char *name;

    while ((name = g_dir_read_name(directory)))
        copies += strstr(name, ".kept-") != NULL;
    g_dir_close(directory);
    return copies;
}

struct change change_mkdir(const char *path)
{
    return (struct change){.operation = CHANGE_MKDIR, .path = path};
}

void group_fill(struct group *group, unsigned index, const char *prefix, unsigned count)
{
    for (unsigned i = 0; i < count; i++) {
        g_autofree char *path = g_strdup_printf("%s%u", prefix, i);
        assert_int_equal(group_do(group, index, change_create(path)), 0);
        assert_int_equal(group_do(group, index, change_text(path, prefix)), 0);
    }
}

struct buffer *message_normal(uint16_t subtype, const void *body, size_t size)
{
    return wire_build_normal(subtype, 1, 1, 5, body, size);
}
