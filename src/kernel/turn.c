/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Turning a node over from the version that the kernel has to the one that others wrote. */
#include "kernel/turn.h"

#include <unistd.h>

/* Longer than a request is on its way to us. */
#define REQUEST_MILLISECONDS 1u

/* Longer than a reader needs to take the pages that it was answered, or found. On a busy machine it
 * waits for a processor, as we do after each pause: so what is counted is pauses, of a millisecond
 * or what becomes of it. No longer than the limit, whoever reads. */
#define READER_PAUSES 40u
#define LIMIT_MILLISECONDS 1000u

struct turn {
    struct node *node;   /* pinned until it is done */
    uint64_t due;        /* milliseconds: at the latest */
    uint64_t looked;     /* milliseconds: when it was last looked at ... */
    uint64_t reads;      /* ... and what node_reads() was */
    unsigned int pauses; /* without a read since */
    bool shown;          /* the newer version is; the kernel may not have its size yet */
    uint64_t foreign;    /* what node_show_newer() said */
    bool done;
    unsigned int references;
};

/* A request for attributes that waits; its node lives as long as the kernel waits for that. */
struct asker {
    struct fuse_req *req;
    struct node *node;
};

void turns_init(struct turns *turns, struct teller *teller, struct turn_owner *owner)
{
    *turns = (struct turns){.teller = teller, .owner = owner};
    lock_init(&turns->lock, LOCK_RANK_TURNS);
}

/* --- Those who wait --- */

void turns_enter(struct turns *turns)
{
    atomic_store(&turns->thread, gettid());
}

bool turns_wait(struct turns *turns, struct fuse_req *req, pid_t thread, struct node *node,
                uint64_t now)
{
    /* 0: a process that cannot be seen from here. */
    if (thread == 0 || thread == atomic_load(&turns->thread))
        return false;
    LOCKED(&turns->lock);
    bool waits = node_holds_askers(turns->teller->table, node, now);
    if (waits) {
        struct asker *asker = g_new(struct asker, 1);
        *asker = (struct asker){.req = req, .node = node};
        g_queue_push_tail(&turns->waiting, asker);
    }
    return waits;
}

/* Takes those who wait for a node (NULL: for any). With the lock held. */
static GQueue take_askers(struct turns *turns, const struct node *node)
{
    GQueue taken = G_QUEUE_INIT;
    GList *next;

    for (GList *link = turns->waiting.head; link; link = next) {
        const struct asker *asker = link->data;
        next = link->next;
        if (node && asker->node != node)
            continue;
        g_queue_unlink(&turns->waiting, link);
        g_queue_push_tail_link(&taken, link);
    }
    return taken;
}

static void answer_askers(struct turns *turns, GQueue *askers)
{
    struct asker *asker;

    while ((asker = g_queue_pop_head(askers))) {
        turns->owner->answer_attributes(turns->owner, asker->req, asker->node);
        g_free(asker);
    }
}

/* --- One turn --- */

static struct turn *find_turn(struct turns *turns, const struct node *node)
{
    for (GList *link = turns->under_way.head; link; link = link->next) {
        struct turn *turn = link->data;
        if (turn->node == node)
            return turn;
    }
    return NULL;
}

struct turn *turns_begin(struct turns *turns, struct node *node, uint64_t now)
{
    struct node_table *table = turns->teller->table;

    if (!node_has_older(table, node))
        return NULL; /* it was turned over with an earlier change */
    struct turn *turn = find_turn(turns, node);
    if (turn) {
        if (turn->shown) { /* there is a still newer one */
            turn->shown = false;
            turn->pauses = 0;
            turn->due = now + LIMIT_MILLISECONDS;
        }
        turn->references++;
        return turn;
    }
    turn = g_new(struct turn, 1);
    *turn = (struct turn){
        .node = node, .due = now + LIMIT_MILLISECONDS, .looked = now, .references = 2};
    turn->reads = node_reads(table, node);
    node_pin(table, node);
    g_queue_push_tail(&turns->under_way, turn);
    /* Who reads from now on asks for pages again, and is counted. Whoever was just answered
     * attributes may read: so there is always a wait if the sizes differ. */
    teller_drop_pages(turns->teller, node);
    node_hold_askers(table, node, now + REQUEST_MILLISECONDS);
    return turn;
}

void turn_unref(struct turn *turn)
{
    if (--turn->references == 0)
        g_free(turn);
}

bool turn_is_done(const struct turn *turn)
{
    return turn->done;
}

/* No page that ends where the older version does must be there when the size grows: what is read
 * again goes on with the newer one. Then the newer version is shown, and the kernel takes its size
 * before it is told anything else, since a notification makes answers void that are on their way.
 * Pages that were read meanwhile, of either, are dropped too. Whoever waits is answered after that:
 * with the newer size it would find pages of the older version. False: the kernel has not taken the
 * size. Then pages go on with the older version, and it is tried again. */
static bool turn_over(struct turns *turns, struct turn *turn, uint64_t now)
{
    struct node_table *table = turns->teller->table;

    if (!turn->shown) {
        teller_drop_pages(turns->teller, turn->node);
        turn->foreign = node_show_newer(table, turn->node, now);
        turn->shown = true;
    }
    bool taken = teller_refresh_attributes(turns->teller, turn->node);
    teller_drop_pages(turns->teller, turn->node);
    if (!taken && now < turn->due)
        return false;
    node_settle(table, turn->node, turn->foreign);
    if (atomic_load(&turn->node->spoiled)) /* by what was read between the two */
        teller_drop_pages(turns->teller, turn->node);
    lock_take(&turns->lock);
    node_hold_askers(table, turn->node, 0);
    GQueue askers = take_askers(turns, turn->node);
    lock_give(&turns->lock);
    answer_askers(turns, &askers);
    node_unpin(table, turn->node);
    turn->done = true;
    return true;
}

/* True if nobody is between being answered pages and taking them. */
static bool is_quiet(const struct turns *turns, struct turn *turn, uint64_t now)
{
    uint64_t reads = node_reads(turns->teller->table, turn->node);

    if (turn->shown || !node_shows_other_size(turns->teller->table, turn->node) || now >= turn->due)
        return true;
    if (reads != turn->reads)
        turn->pauses = 0;
    else if (now > turn->looked)
        turn->pauses++;
    turn->reads = reads;
    turn->looked = now;
    return turn->pauses >= READER_PAUSES;
}

bool turns_advance(struct turns *turns, uint64_t now)
{
    GList *next;

    for (GList *link = turns->under_way.head; link; link = next) {
        struct turn *turn = link->data;
        next = link->next;
        if (!is_quiet(turns, turn, now) || !turn_over(turns, turn, now))
            continue;
        g_queue_delete_link(&turns->under_way, link);
        turn_unref(turn);
    }
    return !g_queue_is_empty(&turns->under_way);
}

void turns_destroy(struct turns *turns)
{
    struct turn *turn;
    GQueue askers = take_askers(turns, NULL);

    answer_askers(turns, &askers);
    while ((turn = g_queue_pop_head(&turns->under_way))) {
        node_unpin(turns->teller->table, turn->node);
        turn_unref(turn);
    }
    lock_destroy(&turns->lock);
}
