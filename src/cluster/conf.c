/* SPDX-License-Identifier: GPL-3.0-or-later */
/* corosync.conf: into a new database, and from the tree to the host, where corosync reads it. */
#include "cluster/conf.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <spawn.h>
#include <stdio.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/pidfd.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/lock.h"
#include "base/log.h"
#include "base/write.h"
#include "core/apply.h"
#include "core/limits.h"

#define RELOAD_DELAY 1000u
#define RELOAD_PATIENCE 15000 /* milliseconds that corosync-cfgtool may take */

struct conf {
    char *host_path;
    uint64_t reload_delay;
    pthread_t thread;
    int wake; /* eventfd: something was submitted, or it is time to stop */

    struct lock lock;
    struct buffer *content; /* submitted and not looked at yet, or NULL */
    uint32_t size;
    bool reload; /* one of those submitted since the last look allows it */
    bool stop;

    /* The thread's own. */
    uint64_t reload_at; /* milliseconds; 0: nothing to tell */
};

/* --- The version --- */

static const uint8_t *skip_blanks(const uint8_t *at, const uint8_t *end)
{
    while (at < end && (*at == ' ' || (*at >= '\t' && *at <= '\r')))
        at++;
    return at;
}

/* What stands after the word, or false: no colon or no digits. */
static bool parse_number(const uint8_t *at, const uint8_t *end, uint64_t *number)
{
    at = skip_blanks(at, end);
    if (at == end || *at != ':')
        return false;
    at = skip_blanks(at + 1, end);
    if (at == end || *at < '0' || *at > '9')
        return false;
    *number = 0;
    for (; at < end && *at >= '0' && *at <= '9'; at++) {
        if (__builtin_mul_overflow(*number, (uint64_t)10, number) ||
            __builtin_add_overflow(*number, (uint64_t)(*at - '0'), number)) {
            *number = UINT64_MAX;
            break;
        }
    }
    return true;
}

uint64_t conf_version(const uint8_t *data, size_t size)
{
    static const char word[] = "config_version";
    const size_t length = sizeof(word) - 1;
    const uint8_t *at = data;
    const uint8_t *end = size > 0 ? data + size : data;
    uint64_t number;

    while (at && (at = memmem(at, (size_t)(end - at), word, length))) {
        at += length;
        if (parse_number(at, end, &number))
            return number;
    }
    return 0;
}

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

int conf_import(const char *host_path, struct draft *draft, uint32_t time)
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
static void sync_directory(const char *path)
{
    g_autofree char *directory = g_path_get_dirname(path);
    int fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

    if (fd < 0)
        return;
    if (fsync(fd) < 0)
        log_warning("cannot sync %s: %s", directory, strerror(errno));
    close(fd);
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
        sync_directory(path);
    return error;
}

/* --- From the tree to the host --- */

/* True if `content` is to be written over what the host has. */
static bool is_wanted(const struct conf *conf, const struct buffer *content, uint32_t size,
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

static void synchronise(struct conf *conf, const struct buffer *content, uint32_t size, bool reload)
{
    if (size == 0)
        return;
    g_autoptr(GByteArray) host = read_host_file(conf->host_path);
    if (!host || !is_wanted(conf, content, size, host))
        return;
    int error = replace_host_file(conf->host_path, content->data, size);
    if (error) {
        log_error("cannot write %s: %s", conf->host_path, strerror(-error));
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

static bool is_stopping(struct conf *conf)
{
    lock_take(&conf->lock);
    bool stop = conf->stop;
    lock_give(&conf->lock);
    return stop;
}

/* Waits until the process is about to be reaped; false: it is late, or we are to stop. */
static bool wait_for_end(struct conf *conf, pid_t pid)
{
    uint64_t end = clock_milliseconds() + RELOAD_PATIENCE;
    int fd = pidfd_open(pid, 0);
    bool ended = false;

    /* In small steps: the stop must not wait for it. */
    while (fd >= 0 && !ended && clock_milliseconds() < end && !is_stopping(conf)) {
        struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
        ended = poll(&poll_fd, 1, 100) > 0;
    }
    if (fd >= 0)
        close(fd);
    return ended;
}

static void reload_corosync(struct conf *conf)
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

/* The newest content (one reference, the caller's), or NULL. */
static struct buffer *take_content(struct conf *conf, uint32_t *size, bool *reload, bool *stop)
{
    lock_take(&conf->lock);
    struct buffer *content = conf->content;
    *size = conf->size;
    *reload = conf->reload;
    *stop = conf->stop;
    conf->content = NULL;
    conf->reload = false;
    lock_give(&conf->lock);
    return content;
}

static void wait_for_work(struct conf *conf)
{
    struct pollfd fd = {.fd = conf->wake, .events = POLLIN};
    uint64_t now = clock_milliseconds();
    int timeout = -1;
    uint64_t drained;

    if (conf->reload_at)
        timeout = conf->reload_at > now ? (int)(conf->reload_at - now) : 0;
    if (poll(&fd, 1, timeout) > 0 && read(conf->wake, &drained, sizeof(drained)) < 0)
        log_debug("the conf thread was woken up for nothing");
}

static void *conf_thread(void *data)
{
    struct conf *conf = data;
    bool stop = false;
    bool reload;
    uint32_t size;

    while (!stop) {
        wait_for_work(conf);
        struct buffer *content = take_content(conf, &size, &reload, &stop);
        if (content)
            synchronise(conf, content, size, reload);
        buffer_unref(content);
        if (!stop && conf->reload_at && clock_milliseconds() >= conf->reload_at)
            reload_corosync(conf);
    }
    return NULL;
}

static void wake_thread(struct conf *conf)
{
    uint64_t one = 1;
    ssize_t written = write(conf->wake, &one, sizeof(one));

    (void)written;
}

static void destroy(struct conf *conf)
{
    buffer_unref(conf->content);
    if (conf->wake >= 0)
        close(conf->wake);
    lock_destroy(&conf->lock);
    g_free(conf->host_path);
    g_free(conf);
}

struct conf *conf_new(const struct conf_options *options)
{
    struct conf *conf = g_new0(struct conf, 1);

    conf->host_path = g_strdup(options->host_path);
    conf->reload_delay = options->reload_delay ? options->reload_delay : RELOAD_DELAY;
    lock_init(&conf->lock, LOCK_RANK_CONF);
    conf->wake = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int error = conf->wake < 0 ? errno : pthread_create(&conf->thread, NULL, conf_thread, conf);
    if (error) {
        log_error("cannot start the thread for corosync.conf: %s", strerror(error));
        destroy(conf);
        return NULL;
    }
    return conf;
}

void conf_submit(struct conf *conf, struct buffer *content, uint32_t size, bool reload)
{
    lock_take(&conf->lock);
    buffer_unref(conf->content);
    conf->content = buffer_ref(content);
    conf->size = content ? size : 0;
    conf->reload = conf->reload || reload;
    lock_give(&conf->lock);
    wake_thread(conf);
}

void conf_free(struct conf *conf)
{
    if (!conf)
        return;
    lock_take(&conf->lock);
    conf->stop = true;
    lock_give(&conf->lock);
    wake_thread(conf);
    pthread_join(conf->thread, NULL);
    destroy(conf);
}
