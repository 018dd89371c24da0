/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Telling the kernel what changed, in order, from a thread of its own. */
#include "kernel/notify.h"

#include <string.h>

#include "base/thread.h"
#include "base/util.h"
#include "replica/replica.h"

/* Longer than the kernel needs to take an answer that it has got. */
#define TAKE_MILLISECONDS 20u

/* The kernel takes the answer to a truncation as soon as its caller gets a processor; what was made
 * all the same, but answered with an error, it does not take at all. */
#define LIMIT_MILLISECONDS 1000u

/* How soon a notice is looked at again: while something is due, and while names are held up. */
#define TICK_MICROSECONDS 1000
#define NAMES_MICROSECONDS 100000

enum notice_kind { NOTICE_EFFECTS, NOTICE_QUORUM, NOTICE_NODE, NOTICE_CALL };

/* What the kernel is told is done in two steps: all that can be done at once is, in the order of
 * the queue; what has to wait (for readers, for directories) is waited for without holding up what
 * others have queued. Notices end in order. */
struct notice {
    enum notice_kind kind;
    GPtrArray *effects;        /* EFFECTS */
    bool rebuilt;              /* EFFECTS: of a synchronisation */
    bool quorate;              /* QUORUM */
    struct node *node;         /* NODE: pinned */
    struct notified *notified; /* CALL */

    struct names_batch batch;
    GPtrArray *turns;  /* struct turn: of nodes that are turned over */
    GPtrArray *again;  /* struct node, pinned: to be told of again ... */
    uint64_t again_at; /* ... at that time (milliseconds); NODE: at the latest */
};

static uint64_t now(void)
{
    return (uint64_t)g_get_monotonic_time() / 1000;
}

/* --- Attributes --- */

/* An open with O_TRUNC that was being answered meanwhile makes the kernel keep older attributes
 * than it was told of: then it is told again. */
static void tell_attributes(struct notifier *notifier, struct notice *notice, struct node *node)
{
    uint64_t time = now();

    teller_tell_attributes(&notifier->teller, node);
    if (!node_was_sized_since(notifier->teller.table, node, time - TAKE_MILLISECONDS))
        return;
    node_pin(notifier->teller.table, node);
    g_ptr_array_add(notice->again, node);
    notice->again_at = now() + TAKE_MILLISECONDS;
}

/* What pages were filled from before an own truncation is in none when the kernel has taken the
 * answer and has dropped what it read until then. False: it is not time yet. */
static bool end_shortening(struct notifier *notifier, const struct notice *notice,
                           struct node *node)
{
    struct node_table *table = notifier->teller.table;
    struct shortening shortening;

    node_is_shortened(table, node, &shortening);
    int error = teller_end_shortening(&notifier->teller, node, READER_NONE);
    if (error == -EBUSY && now() < notice->again_at)
        return false;
    if (error || atomic_load(&node->spoiled))
        teller_drop_pages(&notifier->teller, node);
    if (error)
        node_end_shortening(table, node, shortening.number);
    return true;
}

static void drop_node(struct notifier *notifier, struct notice *notice)
{
    struct shortening shortening;

    if (node_is_shortened(notifier->teller.table, notice->node, &shortening)) {
        node_pin(notifier->teller.table, notice->node);
        g_ptr_array_add(notice->again, notice->node);
        notice->again_at = now() + LIMIT_MILLISECONDS;
    } else if (atomic_load(&notice->node->spoiled)) {
        teller_drop_pages(&notifier->teller, notice->node);
    }
}

/* False: it is not time yet. */
static bool tell_again(struct notifier *notifier, struct notice *notice)
{
    for (guint i = 0; i < notice->again->len; i++) {
        struct node *node = notice->again->pdata[i];
        if (notice->kind == NOTICE_NODE ? !end_shortening(notifier, notice, node)
                                        : now() < notice->again_at)
            return false;
        if (notice->kind != NOTICE_NODE)
            teller_tell_attributes(&notifier->teller, node);
        node_unpin(notifier->teller.table, node);
    }
    g_ptr_array_set_size(notice->again, 0);
    return true;
}

/* --- Effects --- */

static void drop_entry(struct notifier *notifier, const struct entry *entry,
                       struct names_batch *batch)
{
    struct node *directory = node_find(notifier->teller.table, entry->parent);

    if (!directory)
        return;
    names_drop(&notifier->names, directory, entry->name, batch);
    node_unpin(notifier->teller.table, directory);
}

static void drop_entries(struct notifier *notifier, const struct effect *effect,
                         struct names_batch *batch)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;

    if (before && after && entry_same_place(before, after))
        return;
    if (before)
        drop_entry(notifier, before, batch);
    if (after)
        drop_entry(notifier, after, batch);
}

static void tell_content(struct notifier *notifier, struct notice *notice,
                         const struct effect *effect)
{
    const struct entry *before = effect->before;
    const struct entry *after = effect->after;
    struct turn *turn = NULL;

    if (!before || !after)
        return;
    struct node *node = node_find(notifier->teller.table, after->inode);
    if (!node)
        return;
    if (before->content != after->content || before->size != after->size)
        turn = turns_begin(&notifier->turns, node, now());
    if (turn)
        g_ptr_array_add(notice->turns, turn);
    else
        tell_attributes(notifier, notice, node);
    node_unpin(notifier->teller.table, node);
}

/* Who has a file open that is gone finds no name of it left. */
static void tell_ended(struct notifier *notifier)
{
    g_autoptr(GPtrArray) ended = node_take_ended(notifier->teller.table);

    for (guint i = 0; i < ended->len; i++) {
        teller_tell_attributes(&notifier->teller, ended->pdata[i]);
        node_unpin(notifier->teller.table, ended->pdata[i]);
    }
}

static void begin_effects(struct notifier *notifier, struct notice *notice)
{
    for (guint i = 0; i < notice->effects->len; i++)
        drop_entries(notifier, notice->effects->pdata[i], &notice->batch);
    for (guint i = 0; i < notice->effects->len; i++)
        tell_content(notifier, notice, notice->effects->pdata[i]);
    tell_ended(notifier);
}

/* --- Modes --- */

/* Takes over the array. */
static void tell_all_attributes(struct notifier *notifier, struct notice *notice, GPtrArray *nodes)
{
    for (guint i = 0; i < nodes->len; i++) {
        tell_attributes(notifier, notice, nodes->pdata[i]);
        node_unpin(notifier->teller.table, nodes->pdata[i]);
    }
    g_ptr_array_unref(nodes);
}

/* Clients test for quorum with the link `local`: links show it only when the kernel has dropped all
 * other modes. Those that were looked up until then are found after that. */
static void end_quorum(struct notifier *notifier, struct notice *notice)
{
    atomic_store(&notifier->links_quorate, notice->quorate);
    tell_all_attributes(notifier, notice, node_all_links(notifier->teller.table));
}

/* --- The life of a notice --- */

static struct notice *notice_new(enum notice_kind kind)
{
    struct notice *notice = g_new0(struct notice, 1);

    notice->kind = kind;
    notice->turns = g_ptr_array_new_with_free_func((GDestroyNotify)turn_unref);
    notice->again = g_ptr_array_new();
    return notice;
}

static void notice_free(struct notifier *notifier, struct notice *notice)
{
    for (guint i = 0; i < notice->again->len; i++)
        node_unpin(notifier->teller.table, notice->again->pdata[i]);
    if (notice->node)
        node_unpin(notifier->teller.table, notice->node);
    if (notice->effects)
        g_ptr_array_unref(notice->effects);
    g_ptr_array_unref(notice->again);
    g_ptr_array_unref(notice->turns);
    g_free(notice);
}

static void begin(struct notifier *notifier, struct notice *notice)
{
    if (notice->kind == NOTICE_EFFECTS)
        begin_effects(notifier, notice);
    else if (notice->kind == NOTICE_QUORUM)
        tell_all_attributes(notifier, notice, node_all(notifier->teller.table));
    else if (notice->kind == NOTICE_NODE)
        drop_node(notifier, notice);
}

/* True if the kernel knows what the notice says. */
static bool is_known(struct notifier *notifier, struct notice *notice)
{
    while (notice->turns->len > 0) {
        if (!turn_is_done(notice->turns->pdata[notice->turns->len - 1]))
            return false;
        g_ptr_array_set_size(notice->turns, (gint)notice->turns->len - 1);
    }
    return tell_again(notifier, notice) && names_are_dropped(&notifier->names, &notice->batch);
}

static void note_ended(struct notifier *notifier)
{
    LOCKED(&notifier->lock);
    notifier->pending--;
}

static void end(struct notifier *notifier, struct notice *notice)
{
    if (notice->kind == NOTICE_EFFECTS)
        notifier->listener->told(notifier->listener, g_steal_pointer(&notice->effects),
                                 notice->rebuilt);
    else if (notice->kind == NOTICE_QUORUM)
        end_quorum(notifier, notice);
    else if (notice->kind == NOTICE_CALL)
        notice->notified->call(notice->notified);
    notice_free(notifier, notice);
    note_ended(notifier);
}

/* --- The thread --- */

/* What can be done now. Microseconds after which there may be more; 0: none is under way. */
static int64_t carry_on(struct notifier *notifier)
{
    struct notice *notice;
    bool turning = turns_advance(&notifier->turns, now());

    while ((notice = g_queue_peek_head(&notifier->under_way)) && is_known(notifier, notice))
        end(notifier, g_queue_pop_head(&notifier->under_way));
    if (!notice)
        return 0;
    return turning || notice->again->len > 0 ? TICK_MICROSECONDS : NAMES_MICROSECONDS;
}

/* Waits for a notice, for names, or so long (0: for ever). With the lock held. */
static void wait(struct notifier *notifier, int64_t microseconds)
{
    int64_t until = g_get_monotonic_time() + microseconds;
    int error = 0;

    while (g_queue_is_empty(&notifier->queue) && !notifier->woken && !notifier->end && !error) {
        if (microseconds > 0)
            error = lock_wait_until(&notifier->lock, &notifier->there, until);
        else
            lock_wait(&notifier->lock, &notifier->there);
    }
    notifier->woken = false;
}

/* What has been queued until now, and no more: however many come, those before them end too. */
static void begin_all(struct notifier *notifier, GQueue *notices)
{
    struct notice *notice;

    while ((notice = g_queue_pop_head(notices))) {
        begin(notifier, notice);
        g_queue_push_tail(&notifier->under_way, notice);
    }
}

static void *run(void *context)
{
    struct notifier *notifier = context;

    turns_enter(&notifier->turns);
    lock_take(&notifier->lock);
    while (!notifier->end) {
        GQueue taken = notifier->queue;
        g_queue_init(&notifier->queue);
        lock_give(&notifier->lock);
        begin_all(notifier, &taken);
        int64_t pause = carry_on(notifier);
        lock_take(&notifier->lock);
        wait(notifier, pause);
    }
    lock_give(&notifier->lock);
    return NULL;
}

/* --- For others --- */

static void queue_notice(struct notifier *notifier, struct notice *notice)
{
    lock_take(&notifier->lock);
    g_queue_push_tail(&notifier->queue, notice);
    notifier->pending++;
    lock_give(&notifier->lock);
    pthread_cond_signal(&notifier->there); /* who is woken does not find it locked */
}

static void on_dropped(struct names_listener *listener)
{
    struct notifier *notifier = container_of(listener, struct notifier, names_listener);

    LOCKED(&notifier->lock);
    notifier->woken = true;
    pthread_cond_signal(&notifier->there);
}

bool notifier_has_told(struct notifier *notifier)
{
    LOCKED(&notifier->lock);
    return notifier->pending == 0;
}

/* Nothing that is told before is still under way, and the kernel has nothing of all this. */
static bool knows_already(struct notifier *notifier, const GPtrArray *effects)
{
    return !node_any_known(notifier->teller.table, effects) && notifier_has_told(notifier);
}

void notifier_tell(struct notifier *notifier, GPtrArray *effects, bool rebuilt)
{
    struct notice *notice;

    if (knows_already(notifier, effects)) {
        notifier->listener->told(notifier->listener, effects, rebuilt);
        return;
    }
    notice = notice_new(NOTICE_EFFECTS);
    notice->effects = effects;
    notice->rebuilt = rebuilt;
    queue_notice(notifier, notice);
}

void notifier_tell_quorum(struct notifier *notifier, bool quorate)
{
    struct notice *notice = notice_new(NOTICE_QUORUM);

    notice->quorate = quorate;
    queue_notice(notifier, notice);
}

void notifier_drop_node(struct notifier *notifier, struct node *node)
{
    struct notice *notice = notice_new(NOTICE_NODE);

    node_pin(notifier->teller.table, node);
    notice->node = node;
    queue_notice(notifier, notice);
}

void notifier_call(struct notifier *notifier, struct notified *notified)
{
    struct notice *notice = notice_new(NOTICE_CALL);

    notice->notified = notified;
    queue_notice(notifier, notice);
}

void notifier_drop_time(struct notifier *notifier, uint64_t inode)
{
    struct node *node = node_find(notifier->teller.table, inode);

    if (!node)
        return;
    teller_tell_attributes(&notifier->teller, node);
    node_unpin(notifier->teller.table, node);
}

/* --- Beginning and end --- */

void notifier_init(struct notifier *notifier, struct notifier_listener *listener,
                   struct turn_owner *owner, struct replica *replica, const char *mountpoint,
                   struct fuse_session *session, struct node_table *table)
{
    notifier->listener = listener;
    notifier->names_listener.dropped = on_dropped;
    notifier->teller = (struct teller){
        .session = session, .replica = replica, .mountpoint = mountpoint, .table = table};
    atomic_init(&notifier->links_quorate, replica_is_quorate(replica));
    lock_init(&notifier->lock, LOCK_RANK_NOTIFIER);
    thread_condition_init(&notifier->there);
    turns_init(&notifier->turns, &notifier->teller, owner);
    names_init(&notifier->names, &notifier->names_listener, replica, mountpoint, session, table);
}

int notifier_start(struct notifier *notifier)
{
    return thread_start(&notifier->thread, run, notifier);
}

bool notifier_stop(struct notifier *notifier)
{
    atomic_store(&notifier->teller.ending, true);
    lock_take(&notifier->lock);
    notifier->end = true;
    pthread_cond_signal(&notifier->there);
    lock_give(&notifier->lock);
    pthread_join(notifier->thread, NULL);
    return names_stop(&notifier->names);
}

static void forget_notices(struct notifier *notifier, GQueue *notices)
{
    struct notice *notice;

    while ((notice = g_queue_pop_head(notices))) {
        if (notice->kind == NOTICE_CALL)
            notice->notified->call(notice->notified);
        notice_free(notifier, notice);
    }
}

void notifier_destroy(struct notifier *notifier)
{
    forget_notices(notifier, &notifier->under_way);
    forget_notices(notifier, &notifier->queue);
    turns_destroy(&notifier->turns);
    names_destroy(&notifier->names);
    pthread_cond_destroy(&notifier->there);
    lock_destroy(&notifier->lock);
}
