/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RRD files: written by a thread of their own, through rrdcached when it answers. */
#include "status/rrd.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <pthread.h>
#include <stdbool.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/rate.h"
#include "base/thread.h"
#include "base/util.h"
#include "status/librrd.h"
#include "status/rrd_form.h"
#include "status/rrdcached.h"

#define RRDCACHED_PATIENCE_MS 2000
#define RRDCACHED_RETRY_US G_USEC_PER_SEC
#define RRDCACHED_RETURN_US (60 * G_USEC_PER_SEC)  /* it is waited for */
#define RRDCACHED_PAUSE_US (10 * G_USEC_PER_SEC)   /* after it was waited for in vain */
#define REFUSAL_OF_OLD "illegal attempt to update" /* how rrdcached's begins */
#define STOP_PATIENCE G_USEC_PER_SEC
#define DIRECTORY_MODE 0750
#define AHEAD_SECONDS_MAX 3600

/* What became of a value. */
enum outcome {
    OUTCOME_WRITTEN,
    OUTCOME_FAILED,
    OUTCOME_WAITS,  /* rrdcached may be back soon */
    OUTCOME_DIRECT, /* rrdcached does not take it: it is for the file */
};

/* One value on its way. */
struct submission {
    size_t size; /* bytes of value, without a NUL */
    char *value; /* behind the key, in the same allocation */
    char key[];
};

/* Whether rrdcached is there. Times are microseconds, monotonic. */
struct presence {
    int64_t return_us;    /* how long it is waited for */
    int64_t silent_since; /* 0: it answers, or was not asked */
    int64_t pause_end;    /* it is not asked before */
    bool answered;        /* ever */
    bool given_up;        /* files are written directly, and that was logged */
    bool retrying;        /* it may have taken the value in hand, without an answer */
};

struct rrd {
    struct rrd_listener listener;

    struct lock lock; /* guards what follows, up to the thread's own */
    pthread_cond_t wake;
    GQueue queue;                     /* struct submission */
    size_t bytes;                     /* of all that wait */
    struct rrd_statistics statistics; /* but for `waiting` */
    bool stopping;
    bool ended;     /* the thread is done; `wake` tells the one who stops */
    bool abandoned; /* nobody waits for the thread any more: it frees everything */

    pthread_t thread;

    /* The thread's own. */
    char *directory;
    struct librrd librrd;
    struct rrdcached rrdcached;
    struct presence presence;
    struct rate_limit bad_keys;
    struct rate_limit failures;
};

static void free_all(struct rrd *rrd)
{
    g_queue_clear_full(&rrd->queue, g_free);
    rrdcached_clear(&rrd->rrdcached);
    pthread_cond_destroy(&rrd->wake);
    lock_destroy(&rrd->lock);
    g_free(rrd->directory);
    g_free(rrd);
}

/* The queue */

static struct submission *submission_new(const char *key, const void *value, size_t size)
{
    size_t key_size = strlen(key) + 1;
    struct submission *submission = g_malloc(sizeof(*submission) + key_size + size);

    submission->size = size;
    submission->value = submission->key + key_size;
    memcpy(submission->key, key, key_size);
    memcpy(submission->value, value, size);
    return submission;
}

/* Takes the first one out of the queue; the lock is held. */
static struct submission *queue_take(struct rrd *rrd)
{
    struct submission *submission = g_queue_pop_head(&rrd->queue);

    if (submission)
        rrd->bytes -= submission->size;
    return submission;
}

/* Appends one and takes out those that have to go for it; the lock is held. */
static void queue_append(struct rrd *rrd, struct submission *submission, GQueue *dropped)
{
    while (rrd->queue.length > 0 && (rrd->queue.length >= RRD_QUEUE_VALUES ||
                                     rrd->bytes + submission->size > RRD_QUEUE_BYTES)) {
        g_queue_push_tail(dropped, queue_take(rrd));
        rrd->statistics.dropped++;
    }
    g_queue_push_tail(&rrd->queue, submission);
    rrd->bytes += submission->size;
}

void rrd_submit(struct rrd *rrd, const char *key, const void *value, size_t size)
{
    struct submission *submission = submission_new(key, value, MIN(size, RRD_VALUE_MAX));
    GQueue dropped = G_QUEUE_INIT;

    lock_take(&rrd->lock);
    queue_append(rrd, submission, &dropped);
    pthread_cond_signal(&rrd->wake);
    lock_give(&rrd->lock);
    g_queue_clear_full(&dropped, g_free);
}

static void hear_value(struct rrd_listener *listener, const char *key, const char *value)
{
    rrd_submit(container_of(listener, struct rrd, listener), key, value, strlen(value));
}

struct rrd_listener *rrd_listener(struct rrd *rrd)
{
    return &rrd->listener;
}

struct rrd_statistics rrd_statistics(struct rrd *rrd)
{
    LOCKED(&rrd->lock);
    struct rrd_statistics statistics = rrd->statistics;
    statistics.waiting = rrd->queue.length;
    return statistics;
}

/* The files */

/* librrd's mmap would end the process with SIGBUS if a page of a file had no room on the disk: a
 * file with holes (a backup that was restored) gets them filled first. */
static int fill_holes(const char *path)
{
    struct stat status;
    int fd = open(path, O_RDWR | O_CLOEXEC);

    if (fd < 0)
        return -errno;
    int error = 0;
    if (fstat(fd, &status) == 0 && status.st_blocks * 512 < status.st_size &&
        fallocate(fd, 0, 0, status.st_size) != 0 && errno != EOPNOTSUPP && errno != EINTR)
        error = -errno;
    close(fd);
    return error;
}

/* Makes a directory, and those above it, with our mode whatever the umask. */
static int make_directory(const char *path)
{
    if (mkdir(path, DIRECTORY_MODE) == 0)
        return chmod(path, DIRECTORY_MODE) == 0 ? 0 : -errno;
    if (errno == EEXIST)
        return 0;
    if (errno != ENOENT)
        return -errno;
    g_autofree char *parent = g_path_get_dirname(path);
    int error = make_directory(parent);
    return error ? error : make_directory(path);
}

static time_t last_midnight(void)
{
    time_t now = (time_t)clock_seconds();
    struct tm day;

    localtime_r(&now, &day);
    day.tm_sec = day.tm_min = day.tm_hour = 0;
    day.tm_isdst = -1;
    return mktime(&day);
}

/* What librrd says about its failure in this thread just now. About a full disk it says nothing,
 * and leaves an errno of something that it did later. */
static char *library_error(const struct librrd *librrd, const char *what, const char *path)
{
    struct statvfs room = {0};
    char *message;

    if (librrd->test_error()) {
        message = g_strdup(librrd->get_error());
    } else {
        g_autofree char *directory = g_path_get_dirname(path);
        statvfs(directory, &room);
        message =
            g_strdup_printf("%s, librrd does not say why; %llu KiB are free in %s", what,
                            (unsigned long long)room.f_bavail * room.f_frsize / 1024, directory);
    }
    librrd->clear_error();
    return message;
}

/* Makes the file (librrd writes a temporary one and renames it) and its directory. NULL, or what
 * went wrong. */
static char *create_file(struct rrd *rrd, const struct rrd_target *target, const char *path)
{
    const char *arguments[RRD_ARGUMENTS_MAX];
    g_autofree char *directory = g_build_filename(rrd->directory, target->directory, NULL);

    int error = make_directory(directory);
    if (error)
        return g_strdup_printf("%s: %s", directory, g_strerror(-error));
    char *problem = librrd_load(&rrd->librrd);
    if (problem)
        return problem;
    int count = rrd_target_arguments(target, arguments);
    if (rrd->librrd.create(path, RRD_STEP_SECONDS, last_midnight(), count, arguments) == 0)
        return NULL;
    return library_error(&rrd->librrd, "the file cannot be made", path);
}

static char *update_file(struct rrd *rrd, const char *path, const char *update)
{
    int error = fill_holes(path);

    if (error)
        return g_strdup_printf("%s: %s", path, g_strerror(-error));
    char *problem = librrd_load(&rrd->librrd);
    if (problem)
        return problem;
    if (rrd->librrd.update(path, NULL, 1, &update) == 0)
        return NULL;
    return library_error(&rrd->librrd, "the file cannot be written", path);
}

/* rrdcached */

/* Notes that it could not be asked. True if it may be back soon: what it held when it ended is in
 * its journal, and librrd refuses all of that once the file has a newer value. */
static bool note_silence(struct rrd *rrd, int error)
{
    struct presence *presence = &rrd->presence;
    int64_t now = g_get_monotonic_time();
    bool first = presence->silent_since == 0;

    if (first)
        presence->silent_since = now;
    if (presence->answered && now - presence->silent_since < presence->return_us) {
        if (first)
            log_info("rrdcached does not answer (%s): RRD values wait for it", g_strerror(-error));
        return true;
    }
    presence->pause_end = now + RRDCACHED_PAUSE_US;
    if (!presence->given_up)
        log_info("rrdcached does not answer (%s): RRD files are written directly",
                 g_strerror(-error));
    presence->given_up = true;
    return false;
}

static void note_answer(struct rrd *rrd)
{
    struct presence *presence = &rrd->presence;

    if (presence->silent_since != 0)
        log_info("rrdcached answers again");
    presence->answered = true;
    presence->silent_since = 0;
    presence->given_up = false;
}

static enum outcome update_cached(struct rrd *rrd, const char *path, const char *update,
                                  char **problem)
{
    g_autofree char *refusal = NULL;

    if (!rrd->rrdcached.path || g_get_monotonic_time() < rrd->presence.pause_end)
        return OUTCOME_DIRECT;
    int result = rrdcached_update(&rrd->rrdcached, path, update, &refusal);
    if (result == -E2BIG)
        return OUTCOME_DIRECT;
    if (result < 0)
        return note_silence(rrd, result) ? OUTCOME_WAITS : OUTCOME_DIRECT;
    note_answer(rrd);
    if (!refusal)
        return OUTCOME_WRITTEN;
    log_debug("rrdcached refuses %s: %s", path, refusal);
    if (!g_str_has_prefix(refusal, REFUSAL_OF_OLD))
        return OUTCOME_DIRECT;
    /* It holds a newer value. The file, which lacks that, would take this one, and then nothing of
     * what rrdcached holds: librrd refuses a batch whose first value is not newer. */
    if (rrd->presence.retrying)
        return OUTCOME_WRITTEN;
    *problem = g_strdup_printf("rrdcached refuses it: %s", refusal);
    return OUTCOME_FAILED;
}

/* The thread */

static enum outcome write_value(struct rrd *rrd, const struct rrd_target *target,
                                const char *update, char **problem)
{
    g_autofree char *path = g_build_filename(rrd->directory, target->path, NULL);

    if (access(path, F_OK) != 0)
        *problem = create_file(rrd, target, path);
    if (*problem)
        return OUTCOME_FAILED;
    enum outcome outcome = update_cached(rrd, path, update, problem);
    if (outcome != OUTCOME_DIRECT)
        return outcome;
    *problem = update_file(rrd, path, update);
    return *problem ? OUTCOME_FAILED : OUTCOME_WRITTEN;
}

/* A file takes no value that is older than its last one: of a node whose clock was once a year
 * ahead it would take none for a year. */
static char *time_problem(const char *update)
{
    gint64 ahead = g_ascii_strtoll(update, NULL, 10) - (gint64)clock_seconds();

    if (ahead <= AHEAD_SECONDS_MAX)
        return NULL;
    return g_strdup_printf("its time is %" G_GINT64_FORMAT
                           " s ahead of this node's clock: look which of the two is wrong",
                           ahead);
}

static void log_limited(struct rate_limit *limit, const char *what, const char *key,
                        const char *why)
{
    uint32_t held_back;

    if (!rate_limit_pass(limit, &held_back))
        return;
    g_autofree char *name = g_strescape(key, NULL);
    if (held_back > 0)
        log_warning("%s \"%.200s\": %s (%u more such messages were held back)", what, name, why,
                    held_back);
    else
        log_warning("%s \"%.200s\": %s", what, name, why);
}

static enum outcome process(struct rrd *rrd, const struct submission *submission)
{
    struct rrd_target target;

    if (rrd_target_parse(submission->key, &target) != 0) {
        log_limited(&rrd->bad_keys, "RRD key", submission->key,
                    "of no known form, no file is written");
        return OUTCOME_FAILED;
    }
    g_autofree char *update = rrd_target_update(&target, submission->value, submission->size);
    g_autofree char *problem = update ? time_problem(update) : g_strdup("the value is malformed");
    enum outcome outcome = OUTCOME_FAILED;
    if (!problem)
        outcome = write_value(rrd, &target, update, &problem);
    if (problem)
        log_limited(&rrd->failures, "RRD value for", submission->key, problem);
    rrd_target_clear(&target);
    return outcome;
}

/* Before rrdcached is asked again; the lock is held. */
static void wait_for_rrdcached(struct rrd *rrd)
{
    int64_t deadline = g_get_monotonic_time() + RRDCACHED_RETRY_US;
    int error = 0;

    while (!rrd->stopping && error == 0)
        error = lock_wait_until(&rrd->lock, &rrd->wake, deadline);
}

/* At a stop rrdcached is not waited for: a minute's values are less than what it holds. The lock
 * is held. */
static void lose_waiting(struct rrd *rrd)
{
    uint32_t lost = 1 + rrd->queue.length; /* with the one in hand */

    rrd->statistics.failed += lost;
    g_queue_clear_full(&rrd->queue, g_free);
    rrd->bytes = 0;
    log_warning("rrdcached does not answer: %u RRD values that waited for it are lost", lost);
}

/* Writes one value, however often rrdcached must be asked; the lock is held, but not meanwhile. */
static void work_off(struct rrd *rrd, const struct submission *submission)
{
    bool last_time;
    enum outcome outcome;

    rrd->presence.retrying = false;
    for (;;) {
        last_time = rrd->stopping;
        lock_give(&rrd->lock);
        outcome = process(rrd, submission);
        lock_take(&rrd->lock);
        if (outcome != OUTCOME_WAITS || last_time || rrd->abandoned)
            break;
        wait_for_rrdcached(rrd);
        rrd->presence.retrying = true;
    }
    if (outcome == OUTCOME_WAITS && !rrd->abandoned)
        lose_waiting(rrd);
    else
        (*(outcome == OUTCOME_WRITTEN ? &rrd->statistics.written : &rrd->statistics.failed))++;
}

static void *run(void *argument)
{
    struct rrd *rrd = argument;

    lock_take(&rrd->lock);
    while (!rrd->abandoned) {
        struct submission *submission = queue_take(rrd);
        if (!submission && rrd->stopping)
            break;
        if (!submission) {
            lock_wait(&rrd->lock, &rrd->wake);
            continue;
        }
        work_off(rrd, submission);
        g_free(submission);
    }
    rrd->ended = true;
    bool abandoned = rrd->abandoned;
    pthread_cond_broadcast(&rrd->wake);
    lock_give(&rrd->lock);
    if (abandoned)
        free_all(rrd);
    return NULL;
}

int rrd_start(const char *directory, const char *rrdcached_address, struct rrd **rrd_out)
{
    struct rrd *rrd = g_new0(struct rrd, 1);

    lock_init(&rrd->lock, LOCK_RANK_RRD);
    thread_condition_init(&rrd->wake);
    rrd->listener.value = hear_value;
    g_queue_init(&rrd->queue);
    rrd->directory = g_strdup(directory);
    rrd->presence.return_us = RRDCACHED_RETURN_US;
    rrd->bad_keys.per_minute = 10;
    rrd->failures.per_minute = 10;
    rrdcached_init(&rrd->rrdcached, rrdcached_address, RRDCACHED_PATIENCE_MS);
    int error = thread_start(&rrd->thread, run, rrd);
    if (error)
        free_all(rrd);
    else
        *rrd_out = rrd;
    return error;
}

void rrd_set_patience(struct rrd *rrd, uint32_t milliseconds)
{
    rrd->presence.return_us = (int64_t)milliseconds * 1000;
}

/* Waits for the thread's end, a second at most; the lock is held. True if it came. */
static bool wait_end(struct rrd *rrd)
{
    int64_t deadline = g_get_monotonic_time() + STOP_PATIENCE;
    int error = 0;

    while (!rrd->ended && error == 0)
        error = lock_wait_until(&rrd->lock, &rrd->wake, deadline);
    return rrd->ended;
}

void rrd_stop(struct rrd *rrd)
{
    if (!rrd)
        return;
    lock_take(&rrd->lock);
    rrd->stopping = true;
    pthread_cond_broadcast(&rrd->wake);
    bool ended = wait_end(rrd);
    uint32_t waiting = rrd->queue.length;
    rrd->abandoned = !ended;
    /* The thread may free everything from here on, so it is detached before. */
    pthread_t thread = rrd->thread;
    if (!ended)
        pthread_detach(thread);
    lock_give(&rrd->lock);
    if (!ended) {
        log_warning("writing RRD files is stuck, %u values are lost", waiting);
        return;
    }
    pthread_join(thread, NULL);
    free_all(rrd);
}
