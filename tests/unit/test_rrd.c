/* SPDX-License-Identifier: GPL-3.0-or-later */
/* RRD values: keys, columns, files, and an rrdcached that answers, refuses, or is silent. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <math.h>
#include <pthread.h>
#include <rrd.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <time.h>
#include <unistd.h>

#include "remove_tree.h"
#include "status/rrd.h"
#include "status/rrd_form.h"
#include "status/rrdcached.h"

#define PATIENCE_SECONDS 60

static void test_good_keys(void **state)
{
    static const struct {
        const char *key;
        const char *directory;
        const char *path;
    } keys[] = {
        {"pve2-node/a", "pve-node-9.0", "pve-node-9.0/a"},
        {"pve-node-9.0/a", "pve-node-9.0", "pve-node-9.0/a"},
        {"pve-node-10.1/a b", "pve-node-9.0", "pve-node-9.0/a b"},
        {"pve2.3-vm/100", "pve-vm-9.0", "pve-vm-9.0/100"},
        {"pve-vm-9.0/100", "pve-vm-9.0", "pve-vm-9.0/100"},
        {"pve2-storage/a/local", "pve-storage-9.0/a", "pve-storage-9.0/a/local"},
        {"pve-storage-9.0/a/local", "pve-storage-9.0/a", "pve-storage-9.0/a/local"},
        {"pve-storage-9.9/a/...", "pve-storage-9.0/a", "pve-storage-9.0/a/..."},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        struct rrd_target target;
        assert_int_equal(rrd_target_parse(keys[i].key, &target), 0);
        assert_string_equal(target.directory, keys[i].directory);
        assert_string_equal(target.path, keys[i].path);
        rrd_target_clear(&target);
    }
}

static void test_bad_keys(void **state)
{
    static const char *const keys[] = {
        "",
        "/",
        "a",
        "pve2-node",
        "pve2-node/",
        "pve2-node//a",
        "/pve2-node/a",
        "pve2-node/a/",
        "pve2-node/a/b",
        "pve2-node/.",
        "pve2-node/..",
        "pve2-node/a\nb",
        "pve2-node/\x7f",
        "pve2-node-9.0/a",
        "pve-node-/a",
        "pve-node/a",
        "pve2.3-vm/100/x",
        "pve2-vm/100",
        "pve-vm-9.0",
        "pve2-storage/a",
        "pve2-storage/a/b/c",
        "pve2-storage/a/b/",
        "pve2-storage//b",
        "pve2-storage/../b",
        "pve2-storage/a/..",
        "pve-storage-9.0/a/b/c/d",
        "../pve2-node/a",
        "xpve2-node/a",
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(keys); i++) {
        struct rrd_target target;
        if (rrd_target_parse(keys[i], &target) != -EINVAL)
            fail_msg("key \"%s\" is taken", keys[i]);
    }
}

static char *update_of(const char *key, const char *value)
{
    struct rrd_target target;

    assert_int_equal(rrd_target_parse(key, &target), 0);
    char *update = rrd_target_update(&target, value, strlen(value) + 1);
    rrd_target_clear(&target);
    return update;
}

static void test_columns(void **state)
{
    static const struct {
        const char *key;
        const char *value;
        const char *update; /* NULL: malformed */
    } cases[] = {
        {"pve2-storage/a/b", "1000:5:4", "1000:5:4"},
        {"pve-storage-9.0/a/b", "1000:5", "1000:5:U"},
        {"pve-storage-10.0/a/b", "1000:5:4:3:2", "1000:5:4"},
        {"pve2-storage/a/b", "1000::4", "1000:U:4"},
        {"pve2-storage/a/b", "1000:5.5e+3:U", "1000:5.5e+3:U"},
        {"pve2-storage/a/b", "1000", NULL},
        {"pve2-storage/a/b", "", NULL},
        {"pve2-storage/a/b", "N:5:4", NULL},
        {"pve2-storage/a/b", "now-1h@5:4", NULL},
        {"pve2-storage/a/b", ":5:4", NULL},
        {"pve2-storage/a/b", "1000:5 4", NULL},
        {"pve2-storage/a/b", "1000:5:4\nFLUSHALL", NULL},
        {"pve2-node/a", "up:sub:1000:1:2:3:4:5:6:7:8:9:10:11:12",
         "1000:1:2:3:4:5:6:7:8:9:10:11:12:U:U:U:U:U:U:U"},
        /* what an old form has too much is of unknown meaning */
        {"pve2-node/a", "up:sub:1000:1:2:3:4:5:6:7:8:9:10:11:12:13",
         "1000:1:2:3:4:5:6:7:8:9:10:11:12:U:U:U:U:U:U:U"},
        {"pve-node-9.0/a", "up:sub:1000:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19",
         "1000:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19"},
        {"pve-node-9.1/a", "up:sub:1000:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19:20:21",
         "1000:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17:18:19"},
        {"pve-node-9.0/a", "up:sub:1000", NULL},
        {"pve2.3-vm/100", "up:a name:running:0:1000:1:2:3:4:5:6:7:8:9:10",
         "1000:1:2:3:4:5:6:7:8:9:10:U:U:U:U:U:U:U"},
        {"pve-vm-9.0/100", "up:name:st:0:1000:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17",
         "1000:1:2:3:4:5:6:7:8:9:10:11:12:13:14:15:16:17"},
        {"pve-vm-9.0/100", "up:name:st:0:1000", NULL},
    };

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(cases); i++) {
        g_autofree char *update = update_of(cases[i].key, cases[i].value);
        if (g_strcmp0(update, cases[i].update) != 0)
            fail_msg("%s %s gives %s", cases[i].key, cases[i].value, update ? update : "nothing");
    }
}

static void test_value_size(void **state)
{
    struct rrd_target target;

    (void)state;
    assert_int_equal(rrd_target_parse("pve2-storage/a/b", &target), 0);
    /* cut at the size, and at a NUL */
    g_autofree char *cut = rrd_target_update(&target, "1000:55:44", 9);
    assert_string_equal(cut, "1000:55:4");
    g_autofree char *ended = rrd_target_update(&target, "1000:5:4\0x:", 11);
    assert_string_equal(ended, "1000:5:4");
    g_autofree char *large = g_strnfill(RRD_VALUE_MAX + 1, '1');
    assert_null(rrd_target_update(&target, large, RRD_VALUE_MAX + 1));
    rrd_target_clear(&target);
}

/* A directory that goes with the test. */
struct place {
    char *root;
    char *rrd;
    char *socket;
    struct rrd *writer;
};

static int make_place(void **state)
{
    struct place *place = g_new0(struct place, 1);
    GError *error = NULL;

    place->root = g_dir_make_tmp("pmxcfs-rrd-XXXXXX", &error);
    assert_non_null(place->root);
    place->rrd = g_build_filename(place->root, "lib", "db", NULL);
    place->socket = g_build_filename(place->root, "rrdcached.sock", NULL);
    *state = place;
    return 0;
}

static int remove_place(void **state)
{
    struct place *place = *state;

    assert_int_equal(remove_tree(place->root), 0);
    g_free(place->root);
    g_free(place->rrd);
    g_free(place->socket);
    g_free(place);
    return 0;
}

static void start_writer(struct place *place, const char *address)
{
    assert_int_equal(rrd_start(place->rrd, address, &place->writer), 0);
}

static void submit(struct place *place, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

static void submit(struct place *place, const char *key, const char *format, ...)
{
    va_list arguments;

    va_start(arguments, format);
    g_autofree char *value = g_strdup_vprintf(format, arguments);
    va_end(arguments);
    rrd_submit(place->writer, key, value, strlen(value) + 1);
}

/* Waits until `done` values are worked off. */
static struct rrd_statistics wait_done(struct place *place, uint64_t done)
{
    struct rrd_statistics statistics;

    for (int i = 0; i < PATIENCE_SECONDS * 100; i++) {
        statistics = rrd_statistics(place->writer);
        if (statistics.written + statistics.failed >= done)
            return statistics;
        g_usleep(10000);
    }
    fail_msg("only %d of %d values were worked off", (int)(statistics.written + statistics.failed),
             (int)done);
    return statistics;
}

/* The average that a file holds for the minute that ends at `end`, of data source `source`. */
static double fetch(struct place *place, const char *file, time_t end, const char *source)
{
    g_autofree char *path = g_build_filename(place->rrd, file, NULL);
    time_t start = end - 60;
    time_t last = start;
    unsigned long step = 60;
    unsigned long count;
    char **names;
    rrd_value_t *data;
    double value = -1;

    if (rrd_fetch_r(path, "AVERAGE", &start, &last, &step, &count, &names, &data) != 0)
        fail_msg("%s: %s", path, rrd_get_error());
    for (unsigned long i = 0; i < count; i++) {
        if (strcmp(names[i], source) == 0)
            value = data[i];
        rrd_freemem(names[i]);
    }
    rrd_freemem(names);
    rrd_freemem(data);
    return value;
}

/* A full minute in the past of today, if today is old enough; tests in the first minutes after
 * midnight take one that is yet to come, which is as good. */
static time_t some_minute(void)
{
    return time(NULL) / 60 * 60 + 120;
}

static mode_t mode_of(struct place *place, const char *file)
{
    g_autofree char *path = g_build_filename(place->rrd, file, NULL);
    struct stat status;

    if (stat(path, &status) != 0)
        return 0;
    return status.st_mode & 07777;
}

static void test_writes_files(void **state)
{
    struct place *place = *state;
    long minute = some_minute();
    mode_t before = umask(0077);

    start_writer(place, NULL);
    submit(place, "pve2-storage/a/local", "%ld:100:50", minute - 60);
    submit(place, "pve2-storage/a/local", "%ld:200:70", minute);
    submit(place, "pve-node-9.0/a", "1:c:%ld:1:2:3:4:5:6:7:8:9:10:1000:2000:13:14:15:16:17:18:19",
           minute - 60);
    submit(place, "pve-node-9.1/a", "1:c:%ld:1:2:3:4:5:6:7:8:9:10:1600:2000:13:14:15:16:17:18:9:1",
           minute);
    submit(place, "pve2.3-vm/100", "1:n:r:0:%ld:1:2:3:4:5:6:7:8:9:10", minute - 60);
    submit(place, "pve2.3-vm/100", "1:n:r:0:%ld:1:2:3:4:5:6:7:8:9:10", minute);
    assert_int_equal(wait_done(place, 6).written, 6);
    rrd_stop(place->writer);
    umask(before);
    assert_float_equal(fetch(place, "pve-storage-9.0/a/local", minute, "total"), 200, 0.001);
    assert_float_equal(fetch(place, "pve-storage-9.0/a/local", minute, "used"), 70, 0.001);
    assert_float_equal(fetch(place, "pve-node-9.0/a", minute, "netin"), 10, 0.001);
    assert_float_equal(fetch(place, "pve-node-9.0/a", minute, "netout"), 0, 0.001);
    assert_float_equal(fetch(place, "pve-node-9.0/a", minute, "pressurememoryfull"), 9, 0.001);
    assert_float_equal(fetch(place, "pve-vm-9.0/100", minute, "disk"), 6, 0.001);
    assert_true(isnan(fetch(place, "pve-vm-9.0/100", minute, "memhost")));
    assert_int_equal(mode_of(place, "pve-storage-9.0"), 0750);
    assert_int_equal(mode_of(place, "pve-storage-9.0/a"), 0750);
    assert_int_equal(mode_of(place, "pve-node-9.0"), 0750);
    assert_int_equal(mode_of(place, ""), 0750);
}

/* The values of an RRD file's header by name, as librrd lists them. */
static unsigned long header_number(rrd_info_t *info, const char *name)
{
    for (; info; info = info->next) {
        if (strcmp(info->key, name) == 0)
            return info->type == RD_I_INT ? (unsigned long)info->value.u_int : info->value.u_cnt;
    }
    fail_msg("no %s", name);
    return 0;
}

static void test_new_file(void **state)
{
    struct place *place = *state;
    static const unsigned long rows[][2] = {{1, 1440}, {30, 1440}, {360, 1440}, {10080, 570}};
    unsigned sources = 0;

    start_writer(place, NULL);
    submit(place, "pve-vm-9.0/100",
           "1:n:r:0:1000:1:2"); /* too old: the file is made all the same */
    assert_int_equal(wait_done(place, 1).failed, 1);
    rrd_stop(place->writer);
    g_autofree char *path = g_build_filename(place->rrd, "pve-vm-9.0/100", NULL);
    rrd_info_t *info = rrd_info_r(path);
    assert_non_null(info);
    assert_int_equal(header_number(info, "step"), 60);
    time_t start = (time_t)header_number(info, "last_update");
    struct tm day;
    localtime_r(&start, &day);
    assert_true(day.tm_hour == 0 && day.tm_min == 0 && day.tm_sec == 0);
    assert_true(time(NULL) - start < 25 * 3600 + PATIENCE_SECONDS && start <= time(NULL));
    for (int archive = 0; archive < 8; archive++) {
        g_autofree char *steps = g_strdup_printf("rra[%d].pdp_per_row", archive);
        g_autofree char *count = g_strdup_printf("rra[%d].rows", archive);
        assert_int_equal(header_number(info, steps), rows[archive % 4][0]);
        assert_int_equal(header_number(info, count), rows[archive % 4][1]);
    }
    for (rrd_info_t *item = info; item; item = item->next) {
        if (g_str_has_suffix(item->key, "].minimal_heartbeat")) {
            assert_int_equal(item->value.u_cnt, 120);
            sources++;
        } else if (g_str_has_suffix(item->key, "].type")) {
            bool derived = strstr(item->key, "[net") || strstr(item->key, "[diskread") ||
                           strstr(item->key, "[diskwrite");
            assert_string_equal(item->value.u_str, derived ? "DERIVE" : "GAUGE");
        } else if (g_str_has_suffix(item->key, "].min")) {
            assert_float_equal(item->value.u_val, 0, 0);
        } else if (g_str_has_suffix(item->key, "].max")) {
            assert_true(isnan(item->value.u_val));
        }
    }
    assert_int_equal(sources, 17);
    rrd_info_free(info);
}

static void test_bad_key_writes_nothing(void **state)
{
    struct place *place = *state;

    start_writer(place, NULL);
    submit(place, "pve2-node/../../evil", "1:c:%ld:1:2:3", (long)some_minute());
    submit(place, "no-such-kind/a", "1:c:%ld:1:2:3", (long)some_minute());
    submit(place, "pve2-node/a", "garbage");
    assert_int_equal(wait_done(place, 3).failed, 3);
    rrd_stop(place->writer);
    assert_int_equal(mode_of(place, ""), 0);
}

/* A file whose blocks are not there (a backup that was restored) is filled and then written. */
static void test_sparse_file(void **state)
{
    struct place *place = *state;
    long minute = some_minute();

    start_writer(place, NULL);
    submit(place, "pve2-storage/a/b", "%ld:1:1", minute - 60);
    wait_done(place, 1);
    g_autofree char *path = g_build_filename(place->rrd, "pve-storage-9.0/a/b", NULL);
    int fd = open(path, O_RDWR | O_CLOEXEC);
    struct stat status;
    assert_int_equal(fstat(fd, &status), 0);
    if (fallocate(fd, FALLOC_FL_PUNCH_HOLE | FALLOC_FL_KEEP_SIZE, 65536, status.st_size - 65536) !=
        0) {
        close(fd);
        rrd_stop(place->writer);
        skip();
    }
    submit(place, "pve2-storage/a/b", "%ld:1:1", minute);
    assert_int_equal(wait_done(place, 2).written, 2);
    rrd_stop(place->writer);
    assert_int_equal(fstat(fd, &status), 0);
    assert_true(status.st_blocks * 512 >= status.st_size);
    close(fd);
}

/* A made-up rrdcached: answers the lines that it gets with what the test says. */
struct fake {
    int listener;
    pthread_t thread;
    const char *answer; /* NULL: none, ever */
    pthread_mutex_t mutex;
    GString *heard; /* guarded */
    int clients;    /* guarded */
    bool hang_up;   /* closes the connection after each answer */
};

static void *serve(void *argument)
{
    struct fake *fake = argument;
    char line[8192];
    int fd;

    while ((fd = accept(fake->listener, NULL, NULL)) >= 0) {
        pthread_mutex_lock(&fake->mutex);
        fake->clients++;
        pthread_mutex_unlock(&fake->mutex);
        ssize_t size;
        while ((size = read(fd, line, sizeof(line))) > 0) {
            pthread_mutex_lock(&fake->mutex);
            g_string_append_len(fake->heard, line, size);
            pthread_mutex_unlock(&fake->mutex);
            if (fake->answer && line[size - 1] == '\n')
                assert_int_equal(write(fd, fake->answer, strlen(fake->answer)),
                                 strlen(fake->answer));
            if (fake->hang_up)
                break;
        }
        close(fd);
    }
    return NULL;
}

static void start_fake(struct fake *fake, const char *path, const char *answer)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};

    *fake = (struct fake){.answer = answer, .heard = g_string_new("")};
    pthread_mutex_init(&fake->mutex, NULL);
    g_strlcpy(address.sun_path, path, sizeof(address.sun_path));
    fake->listener = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    assert_int_equal(bind(fake->listener, (struct sockaddr *)&address, sizeof(address)), 0);
    assert_int_equal(listen(fake->listener, 8), 0);
    assert_int_equal(pthread_create(&fake->thread, NULL, serve, fake), 0);
}

static void stop_fake(struct fake *fake)
{
    shutdown(fake->listener, SHUT_RDWR);
    pthread_join(fake->thread, NULL);
    close(fake->listener);
    pthread_mutex_destroy(&fake->mutex);
    g_string_free(fake->heard, TRUE);
}

static void test_cached(void **state)
{
    struct place *place = *state;
    struct fake fake;
    long minute = some_minute();

    start_fake(&fake, place->socket, "0 errors, enqueued 1 value(s).\n");
    g_autofree char *address = g_strconcat("unix:", place->socket, NULL);
    start_writer(place, address);
    submit(place, "pve2-storage/a/b c\\d", "%ld:1:2", minute);
    submit(place, "pve2-storage/a/e", "%ld:3:4", minute);
    assert_int_equal(wait_done(place, 2).written, 2);
    rrd_stop(place->writer);
    g_autofree char *expected = g_strdup_printf(
        "UPDATE %s/pve-storage-9.0/a/b\\ c\\\\d %ld:1:2\nUPDATE %s/pve-storage-9.0/a/e %ld:3:4\n",
        place->rrd, minute, place->rrd, minute);
    assert_string_equal(fake.heard->str, expected);
    assert_int_equal(fake.clients, 1);
    stop_fake(&fake);
    /* the files were made, and left to rrdcached */
    assert_true(isnan(fetch(place, "pve-storage-9.0/a/e", minute, "total")));
}

static void test_cached_hangs_up(void **state)
{
    struct place *place = *state;
    struct fake fake;

    start_fake(&fake, place->socket, "0 errors, enqueued 1 value(s).\n");
    fake.hang_up = true;
    start_writer(place, place->socket);
    for (int i = 0; i < 5; i++) {
        submit(place, "pve2-storage/a/b", "%ld:1:2", (long)some_minute() + i);
        assert_int_equal(wait_done(place, (uint64_t)i + 1).written, i + 1);
    }
    rrd_stop(place->writer);
    assert_int_equal(fake.clients, 5);
    stop_fake(&fake);
}

static void check_written_directly(struct place *place, const char *answer)
{
    struct fake fake;
    long minute = some_minute();

    start_fake(&fake, place->socket, answer);
    start_writer(place, place->socket);
    submit(place, "pve2-storage/a/b", "%ld:1:2", minute - 60);
    submit(place, "pve2-storage/a/b", "%ld:5:6", minute);
    assert_int_equal(wait_done(place, 2).written, 2);
    rrd_stop(place->writer);
    assert_true(fake.clients > 0);
    stop_fake(&fake);
    assert_float_equal(fetch(place, "pve-storage-9.0/a/b", minute, "total"), 5, 0.001);
}

static void test_cached_refuses(void **state)
{
    check_written_directly(*state, "-1 no such file\n");
}

static void test_cached_silent(void **state)
{
    check_written_directly(*state, NULL);
}

static void test_cached_talks_nonsense(void **state)
{
    check_written_directly(*state, "hello\n");
}

static void test_cached_answers_without_end(void **state)
{
    g_autofree char *answer = g_strnfill(20000, '1');

    check_written_directly(*state, answer);
}

/* The file is older than what rrdcached holds for it, and must stay so. */
static void test_cached_refuses_what_is_old(void **state)
{
    struct place *place = *state;
    struct fake fake;
    long minute = some_minute();

    start_fake(&fake, place->socket,
               "-1 illegal attempt to update using time 1.0 when last update time is 2.0 "
               "(minimum one second step)\n");
    start_writer(place, place->socket);
    submit(place, "pve2-storage/a/b", "%ld:1:2", minute - 60);
    submit(place, "pve2-storage/a/b", "%ld:1:2", minute);
    assert_int_equal(wait_done(place, 2).failed, 2);
    rrd_stop(place->writer);
    stop_fake(&fake);
    assert_true(isnan(fetch(place, "pve-storage-9.0/a/b", minute, "total")));
}

/* A made-up rrdcached that has taken one value and is gone, and two values that came since. */
static void lose_fake(struct place *place, long minute)
{
    struct fake fake;

    start_fake(&fake, place->socket, "0 errors, enqueued 1 value(s).\n");
    fake.hang_up = true;
    submit(place, "pve2-storage/a/b", "%ld:1:2", minute - 120);
    assert_int_equal(wait_done(place, 1).written, 1);
    stop_fake(&fake);
    assert_int_equal(g_unlink(place->socket), 0);
    submit(place, "pve2-storage/a/b", "%ld:1:2", minute - 60);
    submit(place, "pve2-storage/a/b", "%ld:5:6", minute);
}

/* What came while rrdcached was started anew is handed over behind what it held. */
static void test_cached_comes_back(void **state)
{
    struct place *place = *state;
    struct fake fake;
    long minute = some_minute();

    start_writer(place, place->socket);
    lose_fake(place, minute);
    while (rrd_statistics(place->writer).waiting > 1)
        g_usleep(1000);
    start_fake(&fake, place->socket, "0 errors, enqueued 1 value(s).\n");
    assert_int_equal(wait_done(place, 3).written, 3);
    rrd_stop(place->writer);
    g_autofree char *expected = g_strdup_printf("UPDATE %s/pve-storage-9.0/a/b %ld:1:2\nUPDATE "
                                                "%s/pve-storage-9.0/a/b %ld:5:6\n",
                                                place->rrd, minute - 60, place->rrd, minute);
    assert_string_equal(fake.heard->str, expected);
    stop_fake(&fake);
    assert_true(isnan(fetch(place, "pve-storage-9.0/a/b", minute, "total")));
}

/* What was perhaps taken before it could be answered is no failure, and not for the file. */
static void test_cached_had_taken_it(void **state)
{
    struct place *place = *state;
    struct fake fake;
    long minute = some_minute();

    start_writer(place, place->socket);
    lose_fake(place, minute);
    g_usleep(100000); /* it is asked for in vain; a test that is slower tests less */
    start_fake(&fake, place->socket, "-1 illegal attempt to update using time 1.0\n");
    struct rrd_statistics statistics = wait_done(place, 3);
    assert_true(statistics.failed == 1 || statistics.failed == 2);
    rrd_stop(place->writer);
    stop_fake(&fake);
    assert_true(isnan(fetch(place, "pve-storage-9.0/a/b", minute, "total")));
}

static void test_cached_is_gone_for_good(void **state)
{
    struct place *place = *state;
    long minute = some_minute();

    start_writer(place, place->socket);
    rrd_set_patience(place->writer, 100);
    lose_fake(place, minute);
    assert_int_equal(wait_done(place, 3).written, 3);
    rrd_stop(place->writer);
    assert_float_equal(fetch(place, "pve-storage-9.0/a/b", minute, "total"), 5, 0.001);
}

static void test_stop_does_not_wait_for_cached(void **state)
{
    struct place *place = *state;
    long minute = some_minute();

    start_writer(place, place->socket);
    lose_fake(place, minute);
    rrd_stop(place->writer);
    assert_true(isnan(fetch(place, "pve-storage-9.0/a/b", minute, "total")));
}

static void test_no_cached(void **state)
{
    struct place *place = *state;
    long minute = some_minute();

    start_writer(place, place->socket); /* nobody listens there */
    submit(place, "pve2-storage/a/b", "%ld:1:2", minute);
    assert_int_equal(wait_done(place, 1).written, 1);
    rrd_stop(place->writer);
}

/* While the thread waits for a silent rrdcached, the queue takes what it can and drops the oldest.
 */
static void test_queue_is_bounded(void **state)
{
    struct place *place = *state;
    struct fake fake;
    g_autofree char *large = g_strnfill(4000, '1');

    start_fake(&fake, place->socket, NULL);
    start_writer(place, place->socket);
    submit(place, "pve2-storage/a/b", "%ld:1:2", (long)some_minute());
    for (;;) { /* it is asked now, and the thread waits for its answer */
        pthread_mutex_lock(&fake.mutex);
        bool heard = fake.heard->len > 0;
        pthread_mutex_unlock(&fake.mutex);
        if (heard)
            break;
        g_usleep(1000);
    }
    for (unsigned i = 0; i < RRD_QUEUE_VALUES + 1000; i++)
        submit(place, "no/file", "%u", i);
    struct rrd_statistics statistics = rrd_statistics(place->writer);
    assert_int_equal(statistics.waiting + statistics.dropped + statistics.written +
                         statistics.failed,
                     RRD_QUEUE_VALUES + 1000 + (statistics.written ? 1 : 0));
    assert_true(statistics.waiting <= RRD_QUEUE_VALUES);
    for (unsigned i = 0; i < 2 * RRD_QUEUE_BYTES / 4000; i++)
        rrd_submit(place->writer, "no/file", large, 4000);
    statistics = rrd_statistics(place->writer);
    assert_true(statistics.waiting <= RRD_QUEUE_BYTES / 4000);
    assert_true(statistics.dropped > 0);
    rrd_stop(place->writer); /* may leave the thread behind; it must not use what is freed */
    stop_fake(&fake);
}

static void test_listener(void **state)
{
    struct place *place = *state;
    long minute = some_minute();

    start_writer(place, NULL);
    struct rrd_listener *listener = rrd_listener(place->writer);
    g_autofree char *value = g_strdup_printf("%ld:1:2", minute);
    listener->value(listener, "pve2-storage/a/b", value);
    assert_int_equal(wait_done(place, 1).written, 1);
    rrd_stop(place->writer);
    rrd_stop(NULL);
}

#define WITH_PLACE(test) cmocka_unit_test_setup_teardown(test, make_place, remove_place)

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good_keys),
        cmocka_unit_test(test_bad_keys),
        cmocka_unit_test(test_columns),
        cmocka_unit_test(test_value_size),
        WITH_PLACE(test_writes_files),
        WITH_PLACE(test_new_file),
        WITH_PLACE(test_bad_key_writes_nothing),
        WITH_PLACE(test_sparse_file),
        WITH_PLACE(test_cached),
        WITH_PLACE(test_cached_hangs_up),
        WITH_PLACE(test_cached_refuses),
        WITH_PLACE(test_cached_silent),
        WITH_PLACE(test_cached_talks_nonsense),
        WITH_PLACE(test_cached_answers_without_end),
        WITH_PLACE(test_cached_refuses_what_is_old),
        WITH_PLACE(test_cached_comes_back),
        WITH_PLACE(test_cached_had_taken_it),
        WITH_PLACE(test_cached_is_gone_for_good),
        WITH_PLACE(test_stop_does_not_wait_for_cached),
        WITH_PLACE(test_no_cached),
        WITH_PLACE(test_queue_is_bounded),
        WITH_PLACE(test_listener),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
