/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The recorder: a thread that writes what is published into history.db, off the writer's way. */
#include "history/recorder.h"

#include <errno.h>
#include <pthread.h>
#include <stdatomic.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "history/batch.h"
#include "history/queue.h"

#define QUEUE_BYTES_DEFAULT (32u * 1024 * 1024)
#define QUEUE_RECORDS_MAX 100000u
#define RETRY_MILLISECONDS 5000u
#define SETTLE_MILLISECONDS 5000u
/* For what is stored to be published: the one who does that may itself wait for the fold that waits
 * here. */
#define PUBLISH_MILLISECONDS 100u
#define REPLAY_MILLISECONDS 10000u

/* Many members: what it was told, what the thread works with, and what others give it. */
struct recorder {
    char *path;
    struct patterns *patterns;
    uint64_t delay;
    size_t queue_bytes;
    _Atomic(struct node_names *) names;
    pthread_t thread;
    atomic_bool tree_wanted; /* the history has to be compared with the tree */

    /* The thread's own. */
    struct batch_writer writer;
    struct record_queue batch; /* what is being written, or could not be */

    struct lock lock; /* never held over I/O; guards what follows */
    pthread_cond_t wake;
    pthread_cond_t done;
    bool stop;
    bool prompt;  /* all is wanted at once */
    bool wanted;  /* to be written at once */
    uint64_t due; /* milliseconds; 0: nothing waits */
    struct record_queue pending;
    size_t waiting;        /* records, of both queues */
    size_t trees;          /* of these, those with a whole tree */
    uint64_t published;    /* the version that was taken last */
    uint64_t lost;         /* records left out since the last that was written */
    unsigned int settling; /* so many wait for `done` */
    struct recorder_status status;
};

/* For lock_wait_until(). */
static int64_t time_after(uint64_t milliseconds)
{
    return (int64_t)(clock_milliseconds() + milliseconds) * 1000;
}

/* Says it once when it begins and once when it is over. With the lock held. */
static void note_outcome(struct recorder *recorder, int error, const char *message)
{
    if (error && !recorder->status.failing)
        log_warning("the history is not written (%s): changes wait in memory, and are left out of "
                    "it when those are too many",
                    message ? message : g_strerror(-error));
    else if (!error && recorder->status.failing)
        log_info("the history is written again");
    recorder->status.failing = error != 0;
}

/* With the lock held. */
static void note_written(struct recorder *recorder, const struct history_store_size *size,
                         uint64_t rows, uint64_t lost)
{
    const struct record *last = recorder->batch.last;

    /* Who waited for it to be written gives the tree with what comes next. */
    if (last && (size->fresh || lost > 0))
        atomic_store(&recorder->tree_wanted, true);
    recorder->status.written = last ? last->number : recorder->status.written;
    recorder->status.rows += rows;
    recorder->status.waiting_bytes -= recorder->batch.bytes;
    recorder->waiting -= recorder->batch.count;
    recorder->trees -= recorder->batch.trees;
    recorder->status.bytes = size->bytes;
    recorder->status.complete = size->complete;
    recorder->status.left_out = size->left_out;
    recorder->lost -= last ? lost : 0;
}

static void forget_batch(struct recorder *recorder, uint64_t lost)
{
    if (recorder->batch.last && lost > 0)
        log_warning("%" G_GUINT64_FORMAT " changes were left out of the history: more waited than "
                    "it may keep in memory",
                    lost);
    record_queue_clear(&recorder->batch);
}

/* A new history has to be told what there is; the writer does that with its next change. Returns
 * with the lock held, and all that the outcome means is told at once. */
static int work(struct recorder *recorder, uint64_t lost)
{
    g_autofree char *message = NULL;
    struct history_store_size size = {0};
    uint64_t rows;
    int error = batch_write(&recorder->writer, &recorder->batch, lost,
                            atomic_load(&recorder->names), &rows, &message);

    if (!error)
        history_store_size(recorder->writer.store, &size);
    lock_take(&recorder->lock);
    note_outcome(recorder, error, message);
    if (error)
        return error;
    note_written(recorder, &size, rows, lost);
    lock_give(&recorder->lock);
    forget_batch(recorder, lost);
    lock_take(&recorder->lock);
    return 0;
}

/* Waits until something is to be written; false: to stop, and nothing is left. Holds the lock. */
static bool wait_for_work(struct recorder *recorder)
{
    for (;;) {
        uint64_t now = clock_milliseconds();
        if (recorder->stop)
            return recorder->pending.first || recorder->batch.first;
        if (recorder->wanted || (recorder->due > 0 && now >= recorder->due))
            return true;
        if (recorder->due == 0) {
            lock_wait(&recorder->lock, &recorder->wake);
            continue;
        }
        lock_wait_until(&recorder->lock, &recorder->wake, (int64_t)recorder->due * 1000);
    }
}

static void *recorder_main(void *pointer)
{
    struct recorder *recorder = pointer;

    thread_give_way();
    lock_take(&recorder->lock);
    while (wait_for_work(recorder)) {
        uint64_t lost = recorder->lost;
        recorder->wanted = false;
        recorder->due = 0;
        record_queue_move(&recorder->batch, &recorder->pending);
        lock_give(&recorder->lock);
        if (work(recorder, lost)) { /* takes the lock */
            recorder->due = clock_milliseconds() + RETRY_MILLISECONDS;
            if (recorder->stop)
                break;
        }
        pthread_cond_broadcast(&recorder->done);
    }
    if (recorder->status.failing && recorder->batch.first)
        log_warning("%zu changes are not in the history", recorder->batch.count);
    lock_give(&recorder->lock);
    return NULL;
}

/* --- Start, stop --- */

static void recorder_free(struct recorder *recorder)
{
    history_store_close(recorder->writer.store);
    record_queue_clear(&recorder->batch);
    record_queue_clear(&recorder->pending);
    patterns_free(recorder->patterns);
    pthread_cond_destroy(&recorder->wake);
    pthread_cond_destroy(&recorder->done);
    lock_destroy(&recorder->lock);
    g_free(recorder->path);
    g_free(recorder);
}

struct recorder *recorder_start(const struct recorder_options *options)
{
    struct recorder *recorder = g_new0(struct recorder, 1);

    recorder->path = g_build_filename(options->directory, HISTORY_FILE, NULL);
    recorder->patterns = patterns_new(options->patterns);
    recorder->writer = (struct batch_writer){.path = recorder->path,
                                             .limits = options->limits,
                                             .patterns = recorder->patterns,
                                             .askers = options->askers,
                                             .private = options->private};
    recorder->delay = options->delay;
    recorder->queue_bytes = options->queue_bytes > 0 ? options->queue_bytes : QUEUE_BYTES_DEFAULT;
    recorder->status.path = recorder->path;
    lock_init(&recorder->lock, LOCK_RANK_RECORDER);
    thread_condition_init(&recorder->wake);
    thread_condition_init(&recorder->done);
    int error = thread_start(&recorder->thread, recorder_main, recorder);
    if (!error)
        return recorder;
    recorder_free(recorder);
    errno = -error;
    return NULL;
}

void recorder_stop(struct recorder *recorder)
{
    if (!recorder)
        return;
    lock_take(&recorder->lock);
    recorder->stop = true;
    pthread_cond_signal(&recorder->wake);
    lock_give(&recorder->lock);
    pthread_join(recorder->thread, NULL);
    recorder_free(recorder);
}

void recorder_set_names(struct recorder *recorder, struct node_names *names)
{
    atomic_store(&recorder->names, names);
}

/* --- What is given to it --- */

static bool has_room(const struct recorder *recorder, const struct record *record)
{
    return recorder->waiting < QUEUE_RECORDS_MAX &&
           recorder->status.waiting_bytes + record->bytes <= recorder->queue_bytes;
}

/* With the lock held. Mostly the thread is left alone: it wakes up when something is due. */
static void call_thread(struct recorder *recorder)
{
    bool early =
        recorder->status.waiting_bytes > recorder->queue_bytes / 2 && !recorder->status.failing;
    bool at_once = (early || recorder->prompt) && !recorder->wanted;

    if (recorder->due > 0 && !at_once)
        return;
    recorder->wanted |= at_once;
    if (recorder->due == 0)
        recorder->due = clock_milliseconds() + recorder->delay;
    pthread_cond_signal(&recorder->wake);
}

/* With the lock held; takes the record over. What is to be freed, or NULL. */
static struct record *push(struct recorder *recorder, struct record *record)
{
    struct record *step = record_queue_absorb(&recorder->pending, record);

    if (step) {
        recorder->waiting--;
        recorder->status.waiting_bytes -= step->bytes;
    } else if (!has_room(recorder, record)) {
        recorder->lost++;
        return record;
    }
    record->number = ++recorder->status.taken;
    recorder->waiting++;
    recorder->trees += record->tree ? 1 : 0;
    recorder->status.waiting_bytes += record->bytes;
    record_queue_add(&recorder->pending, record);
    call_thread(recorder);
    return step;
}

/* Takes over a chain of records, and what was published with them; once for all of them, since the
 * writer waits. */
static void give(struct recorder *recorder, struct record *chain, uint64_t version)
{
    struct record *done = NULL;
    struct record *next;

    lock_take(&recorder->lock);
    for (; chain; chain = next) {
        next = chain->next;
        struct record *over = push(recorder, chain);
        if (over)
            over->next = done;
        done = over ? over : done;
    }
    recorder->published = version;
    if (recorder->settling > 0)
        pthread_cond_broadcast(&recorder->done);
    lock_give(&recorder->lock);
    for (; done; done = next) {
        next = done->next;
        record_free(done);
    }
}

static struct record *records_of_effects(const GPtrArray *effects, bool replayed)
{
    struct record *chain = NULL;
    struct record **end = &chain;

    for (guint i = 0; i < effects->len; i++) {
        *end = record_of_effect(effects->pdata[i], replayed);
        if (*end)
            end = &(*end)->next;
    }
    return chain;
}

static const struct effect *last_of(const GPtrArray *effects)
{
    return effects->len > 0 ? effects->pdata[effects->len - 1] : NULL;
}

void recorder_replayed(struct recorder *recorder, const GPtrArray *effects)
{
    int64_t end = time_after(REPLAY_MILLISECONDS);

    give(recorder, records_of_effects(effects, true), 0);
    uint64_t taken = recorder_ask(recorder);
    lock_take(&recorder->lock);
    while (recorder->status.written < taken && !recorder->status.failing &&
           lock_wait_until(&recorder->lock, &recorder->done, end) == 0)
        ;
    lock_give(&recorder->lock);
}

void recorder_found(struct recorder *recorder, const struct tree *tree)
{
    give(recorder, record_of_tree(tree, HISTORY_FOUND, NULL), tree->root.version);
    recorder_ask(recorder);
}

bool recorder_wants_tree(struct recorder *recorder)
{
    return atomic_load_explicit(&recorder->tree_wanted, memory_order_relaxed);
}

void recorder_take(struct recorder *recorder, const GPtrArray *effects)
{
    const struct effect *last = last_of(effects);

    if (last)
        give(recorder, records_of_effects(effects, false), last->version);
}

void recorder_take_tree(struct recorder *recorder, const struct tree *tree,
                        const GPtrArray *effects, bool rebuilt)
{
    const struct effect *last = last_of(effects);
    struct record *found = NULL;

    if (!rebuilt)
        recorder_take(recorder, effects);
    if (rebuilt && last)
        found = record_of_tree(tree, HISTORY_RESYNC, last);
    else if (!rebuilt && atomic_exchange(&recorder->tree_wanted, false))
        found = record_of_tree(tree, HISTORY_FOUND, NULL);
    give(recorder, found, tree->root.version);
}

bool recorder_is_comparing(struct recorder *recorder)
{
    LOCKED(&recorder->lock);
    return recorder->trees > 0;
}

/* As long as writing does not fail. True: so many records are written. With the lock held. */
static bool wait_until_written(struct recorder *recorder, uint64_t wanted, int64_t end)
{
    int error = 0;

    if (recorder->status.written < wanted) {
        recorder->wanted = true;
        pthread_cond_signal(&recorder->wake);
    }
    recorder->settling++;
    while (recorder->status.written < wanted && !recorder->status.failing && !error)
        error = lock_wait_until(&recorder->lock, &recorder->done, end);
    recorder->settling--;
    return recorder->status.written >= wanted;
}

/* Versions may go back, by a synchronisation; then the time is what ends the wait. */
bool recorder_settle(struct recorder *recorder, uint64_t version)
{
    int64_t published_end = time_after(PUBLISH_MILLISECONDS);
    int64_t end = time_after(SETTLE_MILLISECONDS);
    int error = 0;

    lock_take(&recorder->lock);
    recorder->settling++;
    while (recorder->published < version && !recorder->status.failing && !error)
        error = lock_wait_until(&recorder->lock, &recorder->done, published_end);
    recorder->settling--;
    bool written = wait_until_written(recorder, recorder->status.taken, end);
    bool settled = recorder->status.failing || (recorder->published >= version && written);
    lock_give(&recorder->lock);
    return settled;
}

bool recorder_write(struct recorder *recorder)
{
    LOCKED(&recorder->lock);
    bool written =
        wait_until_written(recorder, recorder->status.taken, time_after(SETTLE_MILLISECONDS));
    return written && recorder->lost == 0;
}

void recorder_set_prompt(struct recorder *recorder, bool prompt)
{
    LOCKED(&recorder->lock);
    recorder->prompt = prompt;
}

uint64_t recorder_ask(struct recorder *recorder)
{
    lock_take(&recorder->lock);
    uint64_t taken = recorder->status.taken;
    if (recorder->status.written < taken) {
        recorder->wanted = true;
        pthread_cond_signal(&recorder->wake);
    }
    lock_give(&recorder->lock);
    return taken;
}

void recorder_get_status(struct recorder *recorder, struct recorder_status *status)
{
    lock_take(&recorder->lock);
    *status = recorder->status;
    status->left_out += recorder->lost;
    lock_give(&recorder->lock);
}
