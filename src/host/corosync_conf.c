/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The host's corosync.conf: into a new database, and from the tree to the host. */
#include "host/corosync_conf.h"

#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/directory.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/thread.h"
#include "base/write.h"
#include "cluster/conf.h"
#include "core/apply.h"
#include "core/limits.h"

#define RELOAD_DELAY 1000u
#define RELOAD_PATIENCE 15000u /* milliseconds that corosync-cfgtool may take */
#define STOP_PATIENCE 1000u    /* and that the stop waits for it */

struct corosync_conf {
    char *host_path;
    uint64_t reload_delay;
    pthread_t thread;

    struct lock lock;       /* for what follows */
    pthread_cond_t changed; /* something was submitted, or it is time to stop */
    struct buffer *content; /* submitted and not looked at yet, or NULL */
    uint32_t size;
    bool reload; /* one of those submitted since the last look allows it */
    bool stop;

    /* The thread's own. */
    uint64_t reload_at; /* milliseconds; 0: nothing to tell */
};

/* --- The host's file --- */

/* All of an open file; NULL with errno: it cannot be read, or is longer than a file in the tree. */
static GByteArray *read_all(int fd)
{
    g_autoptr(GByteArray) content = g_byte_array_new();
    uint8_t buffer[16384];
    ssize_t got;

    while ((got = read(fd, buffer, sizeof(buffer))) != 0) {
        if (got < 0 && errno == EINTR)
            continue;
        if (got < 0)
            return NULL;
        if (content->len + (size_t)got > FILE_SIZE_MAX) {
            errno = EFBIG;
            return NULL;
        }
        g_byte_array_append(content, buffer, (guint)got);
    }
    return g_steal_pointer(&content);
}

/* g_byte_array_unref() it; empty if there is no file. NULL: an error, which is logged. */
static GByteArray *read_host_file(const char *path)
{
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK | O_NOCTTY);

    if (fd < 0 && errno == ENOENT)
        return g_byte_array_new();
    GByteArray *content = fd < 0 ? NULL : read_all(fd);
    int error = errno;
    if (fd >= 0)
        close(fd);
    errno = error;
    if (!content)
        log_error("cannot read %s: %s", path, strerror(error));
    return content;
}

static int apply_both(struct draft *draft, const GByteArray *content, uint32_t time)
{
    struct change change = {.operation = CHANGE_CREATE, .path = CONF_PATH, .time = time};
    int error = apply(draft, &change, NULL);

    if (error)
        return error;
    change.operation = CHANGE_WRITE;
    change.truncate = true;
    change.data = content->data;
    change.size = content->len;
    return apply(draft, &change, NULL);
}

int corosync_conf_import(const char *host_path, struct draft *draft, uint32_t time)
{
    g_autoptr(GByteArray) content = read_host_file(host_path);

    if (!content)
        return -EIO;
    if (content->len == 0)
        return 0;
    int error = apply_both(draft, content, time);
    if (error)
        log_error("cannot take %s into the database: %s", host_path, strerror(-error));
    return error;
}

static int write_file(int fd, const uint8_t *data, size_t size)
{
    int error = write_all(fd, data, size);

    if (!error && (fchmod(fd, 0644) < 0 || fsync(fd) < 0))
        error = -errno;
    return error;
}

/* The name is as safe on the disk as the bytes, or corosync might start without a file. */
static void sync_name(const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);
    int error = directory_sync(path);

    if (error)
        log_warning("cannot sync %s: %s", directory, strerror(-error));
}

static int replace_host_file(const char *path, const uint8_t *data, size_t size)
{
    g_autofree char *temporary = g_strdup_printf("%s.new.XXXXXX", path);
    int fd = mkostemp(temporary, O_CLOEXEC);

    if (fd < 0)
        return -errno;
    int error = write_file(fd, data, size);
    close(fd);
    if (!error && rename(temporary, path) < 0)
        error = -errno;
    if (error)
        unlink(temporary);
    else
        sync_name(path);
    return error;
}

/* --- From the tree to the host --- */

/* True if `content` is to be written over what the host has. */
static bool is_wanted(const struct corosync_conf *conf, const struct buffer *content, uint32_t size,
                      const GByteArray *host)
{
    uint64_t version = conf_version(content->data, size);
    uint64_t host_version = conf_version(host->data, host->len);

    if (version == 0) {
        log_error("corosync.conf has no config_version: it is not copied to %s", conf->host_path);
        return false;
    }
    if (size == host->len && memcmp(content->data, host->data, size) == 0)
        return false;
    if (version < host_version) {
        log_error("local corosync.conf is newer: %s has version %" PRIu64
                  ", that of the cluster has %" PRIu64,
                  conf->host_path, host_version, version);
        return false;
    }
    return true;
}

static void synchronise(struct corosync_conf *conf, const struct buffer *content, uint32_t size,
                        bool reload)
{
    if (size == 0)
        return;
    g_autoptr(GByteArray) host = read_host_file(conf->host_path);
    if (!host || !is_wanted(conf, content, size, host))
        return;
    int error = replace_host_file(conf->host_path, content->data, size);
    if (error) {
        log_error("cannot write corosync.conf of the host, %s: %s", conf->host_path,
                  strerror(-error));
        return;
    }
    log_info("wrote new corosync.conf, version %" PRIu64, conf_version(content->data, size));
    if (reload && conf_version(host->data, host->len) > 0)
        conf->reload_at = clock_milliseconds() + conf->reload_delay;
}

/* --- Telling corosync --- */

static int start_cfgtool(pid_t *pid)
{
    char *argv[] = {(char *)"corosync-cfgtool", (char *)"-R", NULL};
    posix_spawnattr_t attributes;
    posix_spawn_file_actions_t files;
    sigset_t none;

    sigemptyset(&none);
    posix_spawnattr_init(&attributes);
    posix_spawnattr_setsigmask(&attributes, &none);
    posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK);
    posix_spawn_file_actions_init(&files);
    posix_spawn_file_actions_addopen(&files, STDIN_FILENO, "/dev/null", O_RDONLY, 0);
    posix_spawn_file_actions_addopen(&files, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
    int error = posix_spawnp(pid, argv[0], &files, &attributes, argv, environ);
    posix_spawn_file_actions_destroy(&files);
    posix_spawnattr_destroy(&attributes);
    return -error;
}

static bool is_stopping(struct corosync_conf *conf)
{
    LOCKED(&conf->lock);
    return conf->stop;
}

/* Waits until the process is about to be reaped; false: it is late. */
static bool wait_for_end(struct corosync_conf *conf, pid_t pid)
{
    uint64_t end = clock_milliseconds() + RELOAD_PATIENCE;
    int fd = pidfd_open(pid, 0);
    bool ended = false;
    bool stopping = false;

    /* In small steps: it may be time to stop. */
    while (fd >= 0 && !ended && clock_milliseconds() < end) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        ended = poll(&poll_fd, 1, 100) > 0;
        if (!stopping && is_stopping(conf)) {
            stopping = true;
            end = MIN(end, clock_milliseconds() + STOP_PATIENCE);
        }
    }
    if (fd >= 0)
        close(fd);
    return ended;
}

static void reload_corosync(struct corosync_conf *conf)
{
    pid_t pid;
    int status = 0;

    conf->reload_at = 0;
    int error = start_cfgtool(&pid);
    if (error) {
        log_error("cannot run corosync-cfgtool -R: %s", strerror(-error));
        return;
    }
    if (!wait_for_end(conf, pid))
        kill(pid, SIGKILL);
    while (waitpid(pid, &status, 0) < 0 && errno == EINTR)
        ;
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        log_error("corosync-cfgtool -R failed: corosync goes on with its old configuration; run it "
                  "again when corosync is there");
    else
        log_info("corosync was told to read its new configuration");
}

/* --- The thread --- */

/* Waits for something to do and takes it: the newest content (one reference, the caller's), or
 * NULL. False: the thread is to end. Corosync is told before that: the next start would find its
 * file written, and nothing to tell. */
static bool take_work(struct corosync_conf *conf, struct buffer **content, uint32_t *size,
                      bool *reload)
{
    int error = 0;

    LOCKED(&conf->lock);
    while (!conf->content && !error && (!conf->stop || conf->reload_at)) {
        if (conf->reload_at)
            error = lock_wait_until(&conf->lock, &conf->changed, (int64_t)conf->reload_at * 1000);
        else
            lock_wait(&conf->lock, &conf->changed);
    }
    *content = g_steal_pointer(&conf->content);
    *size = conf->size;
    *reload = conf->reload;
    conf->reload = false;
    return *content || conf->reload_at || !conf->stop;
}

static void *run(void *data)
{
    struct corosync_conf *conf = data;
    bool goes_on = true;

    while (goes_on) {
        struct buffer *content;
        uint32_t size;
        bool reload;

        goes_on = take_work(conf, &content, &size, &reload);
        if (content)
            synchronise(conf, content, size, reload);
        buffer_unref(content);
        if (conf->reload_at && clock_milliseconds() >= conf->reload_at)
            reload_corosync(conf);
    }
    return NULL;
}

static void destroy(struct corosync_conf *conf)
{
    buffer_unref(conf->content);
    pthread_cond_destroy(&conf->changed);
    lock_destroy(&conf->lock);
    g_free(conf->host_path);
    g_free(conf);
}

struct corosync_conf *corosync_conf_start(const char *host_path, uint64_t reload_delay)
{
    struct corosync_conf *conf = g_new0(struct corosync_conf, 1);

    conf->host_path = g_strdup(host_path);
    conf->reload_delay = reload_delay ? reload_delay : RELOAD_DELAY;
    lock_init(&conf->lock, LOCK_RANK_COROSYNC_CONF);
    thread_condition_init(&conf->changed);
    int error = thread_start(&conf->thread, run, conf);
    if (error) {
        log_error("cannot start the thread for corosync.conf: %s", strerror(-error));
        destroy(conf);
        return NULL;
    }
    return conf;
}

void corosync_conf_submit(struct corosync_conf *conf, const struct entry *entry, bool reload)
{
    if (!entry || !entry->content)
        return;
    LOCKED(&conf->lock);
    buffer_unref(conf->content);
    conf->content = buffer_ref(entry->content);
    conf->size = entry->size;
    conf->reload = conf->reload || reload;
    pthread_cond_signal(&conf->changed);
}

static bool writes_conf(const struct effect *effect)
{
    switch (effect->operation) {
    case CHANGE_WRITE:
    case CHANGE_CREATE:
        return strcmp(effect->path, CONF_PATH) == 0;
    case CHANGE_RENAME:
        return strcmp(effect->to, CONF_PATH) == 0;
    default:
        return false;
    }
}

bool corosync_conf_is_written(const GPtrArray *effects, bool rebuilt, bool *reload)
{
    bool written = rebuilt;

    *reload = false;
    for (guint i = 0; i < effects->len && !rebuilt; i++) {
        const struct effect *effect = effects->pdata[i];
        if (writes_conf(effect)) {
            written = true;
            *reload = *reload || effect->origin; /* this node asked for it */
        }
    }
    return written;
}

void corosync_conf_stop(struct corosync_conf *conf)
{
    if (!conf)
        return;
    lock_take(&conf->lock);
    conf->stop = true;
    pthread_cond_signal(&conf->changed);
    lock_give(&conf->lock);
    pthread_join(conf->thread, NULL);
    destroy(conf);
}
