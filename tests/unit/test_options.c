/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Unit tests of the command line. */
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>
#include <string.h>

#include "host/options.h"

/* Parses words that are given with spaces between them. */
static bool parse(const char *words, struct options *options, GError **error)
{
    g_autofree char *line = g_strconcat("pmxcfs ", words, NULL);
    g_auto(GStrv) argv = g_strsplit(line, " ", -1);
    return options_parse((int)g_strv_length(argv), (const char *const *)argv, options, error);
}

static void assert_refused(const char *words, const char *reason)
{
    struct options options;
    g_autoptr(GError) error = NULL;

    if (parse(words, &options, &error))
        fail_msg("'%s' was accepted", words);
    assert_non_null(error);
    if (!strstr(error->message, reason))
        fail_msg("'%s' was refused with '%s', not with '%s'", words, error->message, reason);
    /* Nothing is left to free. */
    assert_null(options.mountpoint);
    assert_null(options.pid_file);
}

static void test_defaults(void **unused)
{
    struct options options;
    const char *const argv[] = {"pmxcfs", NULL};
    (void)unused;

    assert_true(options_parse(1, argv, &options, NULL));
    assert_string_equal(options.mountpoint, "/etc/pve");
    assert_string_equal(options.state_dir, "/var/lib/pve-cluster");
    assert_string_equal(options.run_dir, "/run/pve-cluster");
    assert_string_equal(options.pid_file, "/run/pve-cluster.pid");
    assert_string_equal(options.rrd_dir, "/var/lib/rrdcached/db");
    assert_string_equal(options.rrdcached_address, "unix:/run/rrdcached.sock");
    assert_string_equal(options.corosync_conf, "/etc/corosync/corosync.conf");
    assert_string_equal(options.socket_name, "pve2");
    assert_string_equal(options.group, "www-data");
    assert_null(options.nodename);
    assert_null(options.address);
    assert_false(options.help || options.version || options.debug);
    assert_false(options.foreground || options.local);
    assert_false(options.acknowledge_all || options.durability_full);
    assert_int_equal(options.fold_delay, 30000);
    assert_int_equal(options.lock_lifetime, 120000);
    assert_int_equal(options.lockfile_timeout, 10000);
    assert_int_equal(options.verify_interval, 3600000);
    assert_int_equal(options.answer_timeout, 30000);
    assert_int_equal(options.rejoin_delay, 6000);
    options_clear(&options);
}

static void test_switches(void **unused)
{
    struct options options;
    (void)unused;

    assert_true(parse("-dfl", &options, NULL));
    assert_true(options.debug && options.foreground && options.local);
    options_clear(&options);
    assert_true(parse("--debug --foreground --local", &options, NULL));
    assert_true(options.debug && options.foreground && options.local);
    options_clear(&options);
    assert_true(parse("-h", &options, NULL));
    assert_true(options.help);
    options_clear(&options);
    assert_true(parse("--version", &options, NULL));
    assert_true(options.version);
    options_clear(&options);
}

static void test_values(void **unused)
{
    struct options options;
    (void)unused;

    assert_true(parse("--mountpoint /m --state-dir=/s//t/ --run-dir /r --rrd-dir /d --group g "
                      "--corosync-conf /c --socket-name n --nodename node-1 --address 2001:db8::1 "
                      "--rrdcached-address unix:/x --acknowledge all --durability full",
                      &options, NULL));
    assert_string_equal(options.mountpoint, "/m");
    assert_string_equal(options.state_dir, "/s/t");
    assert_string_equal(options.run_dir, "/r");
    assert_string_equal(options.pid_file, "/r.pid");
    assert_string_equal(options.rrd_dir, "/d");
    assert_string_equal(options.corosync_conf, "/c");
    assert_string_equal(options.socket_name, "n");
    assert_string_equal(options.nodename, "node-1");
    assert_string_equal(options.address, "2001:db8::1");
    assert_string_equal(options.group, "g");
    assert_string_equal(options.rrdcached_address, "unix:/x");
    assert_true(options.acknowledge_all && options.durability_full);
    options_clear(&options);

    assert_true(parse("--acknowledge own --durability normal", &options, NULL));
    assert_false(options.acknowledge_all || options.durability_full);
    options_clear(&options);
}

static void test_relative_paths(void **unused)
{
    struct options options;
    g_autofree char *here = g_get_current_dir();
    g_autofree char *expected = g_build_filename(here, "x/y", NULL);
    (void)unused;

    assert_true(parse("--mountpoint x/./z/../y", &options, NULL));
    assert_string_equal(options.mountpoint, expected);
    options_clear(&options);
}

static void test_the_last_one_counts(void **unused)
{
    struct options options;
    (void)unused;

    assert_true(parse("--group a --mountpoint /a --group b --mountpoint /b", &options, NULL));
    assert_string_equal(options.group, "b");
    assert_string_equal(options.mountpoint, "/b");
    options_clear(&options);
}

static void test_times(void **unused)
{
    static const struct {
        const char *words;
        uint64_t milliseconds;
    } good[] = {
        {"--lock-lifetime 3", 3000},       {"--lock-lifetime 0.5", 500},
        {"--lock-lifetime 0.001", 1},      {"--lock-lifetime 1.25", 1250},
        {"--lock-lifetime 007.070", 7070}, {"--lock-lifetime 31536000", 31536000000},
    };
    struct options options;
    (void)unused;

    for (size_t i = 0; i < G_N_ELEMENTS(good); i++) {
        assert_true(parse(good[i].words, &options, NULL));
        assert_int_equal(options.lock_lifetime, good[i].milliseconds);
        options_clear(&options);
    }
    assert_true(
        parse("--lockfile-timeout 0 --fold-delay 0 --verify-interval 1.5 --answer-timeout 2 "
              "--rejoin-delay 0.25",
              &options, NULL));
    assert_int_equal(options.lockfile_timeout, 0);
    assert_int_equal(options.fold_delay, 0);
    assert_int_equal(options.verify_interval, 1500);
    assert_int_equal(options.answer_timeout, 2000);
    assert_int_equal(options.rejoin_delay, 250);
    options_clear(&options);
}

static void test_bad_times(void **unused)
{
    static const char *const bad[] = {
        "x",    "-1", "+1",       "1e3",        "0x10",
        "1,5",  ".5", "1.",       "1.0005",     "1 ",
        "inf",  "",   "31536001", "31536000.1", "99999999999999999999999999",
        "1.5s",
    };
    (void)unused;

    for (size_t i = 0; i < G_N_ELEMENTS(bad); i++) {
        g_autofree char *value = g_strconcat("--lock-lifetime=", bad[i], NULL);
        const char *const argv[] = {"pmxcfs", value, NULL};
        struct options options;
        g_autoptr(GError) error = NULL;

        if (options_parse(2, argv, &options, &error))
            fail_msg("'%s' was accepted as seconds", bad[i]);
        assert_non_null(strstr(error->message, "seconds"));
    }
    assert_refused("--lock-lifetime 0", "more than 0");
    assert_refused("--verify-interval 0.000", "more than 0");
    assert_refused("--answer-timeout 0", "more than 0");
    assert_refused("--rejoin-delay 0", "more than 0");
}

static void test_unknown_and_stray(void **unused)
{
    (void)unused;

    assert_refused("--unknown", "--unknown");
    assert_refused("-x", "-x");
    assert_refused("-dfx", "-dfx");
    assert_refused("stray", "Unexpected argument stray");
    assert_refused("-f stray", "Unexpected argument stray");
    assert_refused("-- stray", "Unexpected argument");
    assert_refused("--local=yes", "--local");
    assert_refused("--mountpoint", "--mountpoint");
}

static void test_bad_values(void **unused)
{
    g_autofree char *long_path = g_strnfill(5000, 'p');
    g_autofree char *long_words = g_strconcat("--state-dir /", long_path, NULL);
    (void)unused;

    assert_refused("--mountpoint=", "empty path");
    assert_refused("--mountpoint /", "root directory");
    assert_refused("--run-dir /x/..", "root directory");
    assert_refused(long_words, "too long");
    assert_refused("--nodename a/b", "--nodename");
    assert_refused("--nodename a.b", "--nodename");
    assert_refused("--nodename=", "empty");
    assert_refused(
        "--nodename "
        "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
        "too long");
    assert_refused("--socket-name a/b", "--socket-name");
    assert_refused("--address here", "IPv4 or IPv6");
    assert_refused("--address 1.2.3.4.5", "IPv4 or IPv6");
    assert_refused("--group=", "empty");
    assert_refused("--rrdcached-address=", "empty");
    assert_refused("--acknowledge some", "own or all");
    assert_refused("--durability less", "normal or full");
}

static void test_no_program_name(void **unused)
{
    struct options options;
    const char *const argv[] = {NULL};
    (void)unused;

    assert_true(options_parse(0, argv, &options, NULL));
    options_clear(&options);
}

/* Whoever adds an option must add it to the help. */
static void test_help(void **unused)
{
    static const char *const names[] = {
        "-h, --help",         "--version",           "-d, --debug",
        "-f, --foreground",   "-l, --local",         "--mountpoint",
        "--state-dir",        "--run-dir",           "--rrd-dir",
        "--corosync-conf",    "--rrdcached-address", "--socket-name",
        "--nodename",         "--address",           "--group",
        "--acknowledge",      "--durability",        "--lock-lifetime",
        "--lockfile-timeout", "--verify-interval",   "--rejoin-delay",
        "--answer-timeout",   "--fold-delay",
    };
    g_autofree char *help = options_help();
    (void)unused;

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (!strstr(help, names[i]))
            fail_msg("%s is not in the help", names[i]);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_switches),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_relative_paths),
        cmocka_unit_test(test_the_last_one_counts),
        cmocka_unit_test(test_times),
        cmocka_unit_test(test_bad_times),
        cmocka_unit_test(test_unknown_and_stray),
        cmocka_unit_test(test_bad_values),
        cmocka_unit_test(test_no_program_name),
        cmocka_unit_test(test_help),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
