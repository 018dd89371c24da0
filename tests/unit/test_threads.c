/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What only several threads can break: the hand-over of the writer role, and the outbox. The thread
 * sanitizer watches them in build-threads; elsewhere what comes out of it is tested. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <sched.h>
#include <string.h>

#include "base/util.h"
#include "core/limits.h"
#include "replica/outbox.h"
#include "replicas.h"

#define ASKERS 5u
#define CHANGES 60u /* of each */

/* Threads have no place to fail: they count what is wrong. */
static atomic_uint wrong;

/* ---- The writer role ---- */

/* One node in local mode, and all that its threads share. */
struct writers {
    struct node node;
    struct replica_listener inner; /* the node's own */
    atomic_int inside;             /* of the writer role */
    atomic_bool over;
};

struct writer {
    struct writers *writers;
    unsigned number;
};

static struct writers *writers_of(struct replica_listener *listener)
{
    return container_of(listener, struct writers, node.listener);
}

static void enter(struct writers *writers)
{
    wrong += atomic_fetch_add(&writers->inside, 1) != 0;
    sched_yield(); /* whoever is let in wrongly has the time to come */
}

static void on_publishing(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt)
{
    struct writers *writers = writers_of(listener);

    enter(writers);
    writers->inner.publishing(listener, effects, rebuilt);
    atomic_fetch_sub(&writers->inside, 1);
}

static void on_published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct writers *writers = writers_of(listener);

    enter(writers);
    writers->inner.published(listener, effects, rebuilt);
    atomic_fetch_sub(&writers->inside, 1);
}

static void wait_for_answer(struct asker *asker)
{
    while (!atomic_load(&asker->done))
        g_usleep(20);
    wrong += asker->answers != 1;
}

/* Makes files of its own and writes them: with five of these each becomes the writer now and then,
 * and hands the role over to none while another's change waits. */
static gpointer write_files(gpointer data)
{
    const struct writer *writer = data;

    for (unsigned i = 0; i < CHANGES; i++) {
        g_autofree char *path = g_strdup_printf("f%u-%u", writer->number, i / 2);
        struct asker asker = {0};
        struct change change = i % 2 ? change_text(path, "text") : change_create(path);
        node_ask(&writer->writers->node, &asker, change);
        wait_for_answer(&asker);
        wrong += asker.result != 0;
        wrong += !node_has(&writer->writers->node, path);
    }
    return NULL;
}

/* What the daemon's other threads do beside them. */
static gpointer look_around(gpointer data)
{
    struct writers *writers = data;
    uint64_t version = 0;

    while (!atomic_load(&writers->over)) {
        uint64_t now = node_version(&writers->node);
        wrong += now < version;
        version = now;
        replica_expire(writers->node.replica, 3600000);
        replica_post(writers->node.replica, event_new(EVENT_PROBE));
        replica_run(writers->node.replica);
        replica_settle(writers->node.replica);
        struct replica_status status = node_status(&writers->node);
        wrong += !status.quorate;
    }
    return NULL;
}

static void test_writer_role(void **state)
{
    struct writers *writers = g_new0(struct writers, 1);
    struct writer each[ASKERS];
    GThread *threads[ASKERS];

    (void)state;
    node_start_local(&writers->node);
    writers->inner = writers->node.listener;
    writers->node.listener.publishing = on_publishing;
    writers->node.listener.published = on_published;
    uint64_t version = node_version(&writers->node);
    GThread *other = g_thread_new("other", look_around, writers);
    for (unsigned i = 0; i < ASKERS; i++) {
        each[i] = (struct writer){writers, i};
        threads[i] = g_thread_new("writer", write_files, &each[i]);
    }
    for (unsigned i = 0; i < ASKERS; i++)
        g_thread_join(threads[i]);
    atomic_store(&writers->over, true);
    g_thread_join(other);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(node_version(&writers->node), version + ASKERS * CHANGES);
    node_assert_content(&writers->node, "f0-0", "text");
    node_assert_stored(&writers->node);
    node_free(&writers->node);
    g_free(writers);
}

/* ---- A writer that its disk holds up ---- */

#define FILES 4u

struct stalled {
    struct group group;
    struct replica_listener inner;
    atomic_bool inside; /* of the writer role, and held up */
    atomic_bool go_on;
    atomic_uint taken; /* messages that the group has handed over */
};

static void publishing_is_held_up(struct replica_listener *listener, const GPtrArray *effects,
                                  bool rebuilt)
{
    struct stalled *stalled = container_of(listener, struct stalled, group.nodes[0].listener);

    /* As a disk would: before anything is published. No reader is kept out by that here. */
    atomic_store(&stalled->inside, true);
    while (!atomic_load(&stalled->go_on))
        g_usleep(100);
    stalled->inner.publishing(listener, effects, rebuilt);
}

static void publishing_goes_on(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    struct stalled *stalled = container_of(listener, struct stalled, group.nodes[0].listener);

    stalled->inner.published(listener, effects, rebuilt);
}

/* Somebody of the mount who is the writer. */
static gpointer be_writer(gpointer data)
{
    struct stalled *stalled = data;
    struct sent *sent = sent_queue_take(&stalled->group.sent);

    replica_post(stalled->group.nodes[0].replica, event_message(sent->sender, sent->message));
    sent_free(sent);
    replica_run(stalled->group.nodes[0].replica);
    return NULL;
}

/* The cluster's thread: hands over what comes. */
static gpointer hand_over(gpointer data)
{
    struct stalled *stalled = data;
    struct group_consumer *consumer = replica_consumer(stalled->group.nodes[0].replica);
    struct sent *sent;

    while ((sent = sent_queue_take(&stalled->group.sent))) {
        GQueue events = G_QUEUE_INIT;
        g_queue_push_tail(&events, event_message(sent->sender, sent->message));
        sent_free(sent);
        consumer->take(consumer, &events);
        atomic_fetch_add(&stalled->taken, 1);
    }
    return NULL;
}

/* The group waits for the writer before what is delivered fills the memory; nothing is lost. */
static void test_stalled_writer(void **state)
{
    struct stalled *stalled = g_new0(struct stalled, 1);
    struct node *node = &stalled->group.nodes[0];
    struct asker askers[40] = {0};
    g_autofree uint8_t *bytes = g_malloc(FILE_SIZE_MAX);

    (void)state;
    group_start_joined(&stalled->group, 1);
    for (unsigned i = 0; i < FILES; i++) {
        g_autofree char *path = g_strdup_printf("f%u", i);
        assert_int_equal(group_do(&stalled->group, 0, change_create(path)), 0);
    }
    stalled->inner = node->listener;
    node->listener.publishing = publishing_is_held_up;
    node->listener.published = publishing_goes_on;
    for (unsigned i = 0; i < G_N_ELEMENTS(askers); i++) {
        g_autofree char *path = g_strdup_printf("f%u", i % FILES);
        node_ask(node, &askers[i], change_fill(path, bytes, FILE_SIZE_MAX, (uint8_t)i));
    }
    GThread *writer = g_thread_new("writer", be_writer, stalled);
    while (!atomic_load(&stalled->inside))
        g_usleep(100);
    GThread *cluster = g_thread_new("cluster", hand_over, stalled);
    while (atomic_load(&stalled->taken) < 15)
        g_usleep(100);
    g_usleep(50000); /* it would be through with the rest by now */
    assert_int_equal(atomic_load(&stalled->taken), 15);
    atomic_store(&stalled->go_on, true);
    g_thread_join(cluster);
    g_thread_join(writer);
    for (unsigned i = 0; i < G_N_ELEMENTS(askers); i++) {
        assert_int_equal(askers[i].answers, 1);
        assert_int_equal(askers[i].result, 0);
    }
    group_stop(&stalled->group);
    g_free(stalled);
}

/* ---- The outbox ---- */

/* An outbox whose group is entered and left all the time. */
struct post {
    struct waiters waiters;
    struct outbox outbox;
    struct transport transport;
    struct manual_clock clock;
    uint64_t last;     /* count that was multicast: the outbox's lock guards it */
    GAsyncQueue *sent; /* counts, as pointers */
    atomic_bool over;
};

/* What a caller gets, and how often. */
struct letter {
    struct caller caller;
    atomic_int result;
    atomic_uint answers;
};

static int multicast(struct transport *transport, struct buffer *message, enum send_kind kind,
                     uint64_t count)
{
    struct post *post = container_of(transport, struct post, transport);

    (void)message;
    (void)kind;
    wrong += count <= post->last;
    post->last = count;
    if (count % 17 == 0)
        return -ENOBUFS;
    g_async_queue_push(post->sent, GSIZE_TO_POINTER(count));
    return 0;
}

static void answer(struct caller *caller, int result)
{
    struct letter *letter = container_of(caller, struct letter, caller);

    atomic_store(&letter->result, result);
    atomic_fetch_add(&letter->answers, 1);
}

/* Sends; every fifth caller dies instead of waiting. */
static gpointer send_letters(gpointer data)
{
    struct post *post = data;

    for (unsigned i = 0; i < CHANGES; i++) {
        struct change change = {.operation = CHANGE_MKDIR, .path = "d"};
        struct letter letter = {.caller = {.answer = answer, .reserve = {10, 1}}};
        outbox_send(&post->outbox, NULL, &change, &letter.caller);
        if (i % 5 == 4 && waiters_cancel(&post->waiters, &letter.caller)) {
            outbox_drop_answered(&post->outbox);
            wrong += atomic_load(&letter.answers) != 0;
            continue;
        }
        while (atomic_load(&letter.answers) == 0)
            g_usleep(20);
        int result = atomic_load(&letter.result);
        wrong += result != 0 && result != -EBUSY && result != -ENOBUFS;
    }
    return NULL;
}

/* The group's side: delivers what was sent, and is left and entered. */
static gpointer deliver(gpointer data)
{
    struct post *post = data;
    unsigned round = 0;

    while (!atomic_load(&post->over)) {
        gpointer count = g_async_queue_timeout_pop(post->sent, 200);
        if (count)
            waiters_answer(&post->waiters, GPOINTER_TO_SIZE(count), 0);
        switch (round++ % 7) {
        case 0:
            outbox_hold(&post->outbox);
            break;
        case 3:
            outbox_release(&post->outbox);
            break;
        case 5:
            if (round % 3 == 0)
                outbox_drop(&post->outbox);
            break;
        default:
            break;
        }
    }
    return NULL;
}

static void post_init(struct post *post)
{
    post->transport.multicast = multicast;
    post->sent = g_async_queue_new();
    manual_clock_init(&post->clock, 1000, 1000);
    waiters_init(&post->waiters);
    outbox_init(&post->outbox, &post->waiters, &post->clock.source);
    post->outbox.transport = &post->transport;
}

static void post_clear(struct post *post)
{
    outbox_drop(&post->outbox);
    waiters_fail(&post->waiters, UINT64_MAX, -EBUSY);
    outbox_destroy(&post->outbox);
    waiters_destroy(&post->waiters);
    g_async_queue_unref(post->sent);
    g_free(post);
}

static void test_outbox(void **state)
{
    struct post *post = g_new0(struct post, 1);
    GThread *threads[ASKERS];

    (void)state;
    post_init(post);
    GThread *group = g_thread_new("group", deliver, post);
    for (unsigned i = 0; i < ASKERS; i++)
        threads[i] = g_thread_new("sender", send_letters, post);
    for (unsigned i = 0; i < ASKERS; i++)
        g_thread_join(threads[i]);
    atomic_store(&post->over, true);
    g_thread_join(group);
    assert_int_equal(atomic_load(&wrong), 0);
    assert_int_equal(waiters_count(&post->waiters), 0);
    post_clear(post);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_writer_role),
        cmocka_unit_test(test_stalled_writer),
        cmocka_unit_test(test_outbox),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
