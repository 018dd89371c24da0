/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line: parsing, defaults, and the bounds of what may be given. */
#include "host/options.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>

/* Room that stays for the names that the daemon appends to a path. */
#define PATH_SIZE_MAX (PATH_MAX - 256)
#define NODENAME_SIZE_MAX 64u
#define SOCKET_NAME_SIZE_MAX 64u
#define GROUP_SIZE_MAX 256u
#define ADDRESS_SIZE_MAX 1024u
#define SECONDS_MAX 31536000u

/* The options that have a value, as they were given; NULL: not given. */
struct raw {
    char *mountpoint;
    char *state_dir;
    char *run_dir;
    char *rrd_dir;
    char *rrdcached_address;
    char *corosync_conf;
    char *socket_name;
    char *nodename;
    char *address;
    char *group;
    char *acknowledge;
    char *durability;
    char *fold_delay;
    char *lock_lifetime;
    char *lockfile_timeout;
    char *verify_interval;
    char *answer_timeout;
    char *rejoin_delay;
};

/* GLib writes switches as gboolean, which is an int. */
struct switches {
    gboolean help;
    gboolean version;
    gboolean debug;
    gboolean foreground;
    gboolean local;
};

static void raw_clear(struct raw *raw)
{
    g_free(raw->mountpoint);
    g_free(raw->state_dir);
    g_free(raw->run_dir);
    g_free(raw->rrd_dir);
    g_free(raw->rrdcached_address);
    g_free(raw->corosync_conf);
    g_free(raw->socket_name);
    g_free(raw->nodename);
    g_free(raw->address);
    g_free(raw->group);
    g_free(raw->acknowledge);
    g_free(raw->durability);
    g_free(raw->fold_delay);
    g_free(raw->lock_lifetime);
    g_free(raw->lockfile_timeout);
    g_free(raw->verify_interval);
    g_free(raw->answer_timeout);
    g_free(raw->rejoin_delay);
}

#define SWITCH(name, letter, field, help)                                                          \
    {                                                                                              \
        name, letter, 0, G_OPTION_ARG_NONE, &switches->field, help, NULL                           \
    }
#define FILENAME(name, field, help)                                                                \
    {                                                                                              \
        name, 0, 0, G_OPTION_ARG_FILENAME, &raw->field, help, "PATH"                               \
    }
#define STRING(name, field, help, value)                                                           \
    {                                                                                              \
        name, 0, 0, G_OPTION_ARG_STRING, &raw->field, help, value                                  \
    }

/* A context that fills in *switches and *raw; g_option_context_free() it. */
static GOptionContext *make_context(struct switches *switches, struct raw *raw)
{
    const GOptionEntry entries[] = {
        SWITCH("help", 'h', help, "Show this help and exit"),
        SWITCH("version", 0, version, "Show the version and exit"),
        SWITCH("debug", 'd', debug, "Log debug messages from the start"),
        SWITCH("foreground", 'f', foreground, "Stay in the foreground, log to stderr"),
        SWITCH("local", 'l', local, "No cluster, even if there is a corosync.conf"),
        FILENAME("mountpoint", mountpoint, "Where to mount (/etc/pve)"),
        FILENAME("state-dir", state_dir, "Where config.db is (/var/lib/pve-cluster)"),
        FILENAME("run-dir", run_dir, "Run directory; PATH.pid is the pid file (/run/pve-cluster)"),
        FILENAME("rrd-dir", rrd_dir, "Where RRD files are (/var/lib/rrdcached/db)"),
        STRING("rrdcached-address", rrdcached_address, "rrdcached (unix:/run/rrdcached.sock)",
               "ADDRESS"),
        FILENAME("corosync-conf", corosync_conf,
                 "The host's corosync.conf (/etc/corosync/corosync.conf)"),
        STRING("socket-name", socket_name, "Name of the local socket (pve2)", "NAME"),
        STRING("nodename", nodename, "Name of this node (the host name up to its first dot)",
               "NAME"),
        STRING("address", address, "Address of this node (looked up from its name)", "IP"),
        STRING("group", group, "Group of all files (www-data)", "GROUP"),
        STRING("acknowledge", acknowledge, "Answer when this node has a change, or all have (own)",
               "own|all"),
        STRING("durability", durability,
               "How a commit is synced: as safe as a crash needs, or as a power loss needs "
               "(normal)",
               "normal|full"),
        STRING("fold-delay", fold_delay,
               "How far config.db may be behind its journal; 0: no journal (30)", "SECONDS"),
        STRING("lock-lifetime", lock_lifetime, "Life of a lock that is not renewed (120)",
               "SECONDS"),
        STRING("lockfile-timeout", lockfile_timeout,
               "How long to wait for another daemon to end (10)", "SECONDS"),
        STRING("verify-interval", verify_interval, "Time between comparisons of all nodes (3600)",
               "SECONDS"),
        STRING("answer-timeout", answer_timeout, "How long a change may be under way (30)",
               "SECONDS"),
        STRING("rejoin-delay", rejoin_delay, "Pause before a group is joined again (6)", "SECONDS"),
        {0},
    };
    GOptionContext *context = g_option_context_new(NULL);
    g_option_context_set_help_enabled(context, FALSE);
    g_option_context_set_summary(context, "A replicated file system for cluster configuration.");
    g_option_context_add_main_entries(context, entries, NULL);
    return context;
}

static bool fail(GError **error, const char *option, const char *value, const char *reason)
{
    g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE, "--%s %s: %s", option, value,
                reason);
    return false;
}

/* Completes a relative path, since process_fork() leaves the current directory. */
static bool take_path(const char *option, const char *value, const char *fallback, char **path,
                      GError **error)
{
    if (!value)
        value = fallback;
    if (!*value)
        return fail(error, option, value, "an empty path");
    *path = g_canonicalize_filename(value, NULL);
    if (strlen(*path) > PATH_SIZE_MAX)
        return fail(error, option, value, "the path is too long");
    if (strcmp(*path, "/") == 0)
        return fail(error, option, value, "the root directory cannot be used");
    return true;
}

/* `also`: characters that are allowed besides letters and digits. */
static bool take_name(const char *option, const char *value, const char *fallback, size_t size_max,
                      const char *also, char **name, GError **error)
{
    if (!value && !fallback)
        return true;
    *name = g_strdup(value ? value : fallback);
    size_t size = strlen(*name);
    if (size == 0 || size > size_max)
        return fail(error, option, *name, "the name is empty or too long");
    for (const char *c = *name; *c; c++) {
        if (!g_ascii_isalnum(*c) && !strchr(also, *c))
            return fail(error, option, *name, "a character that no such name has");
    }
    return true;
}

static bool take_address(const char *value, char **address, GError **error)
{
    struct in6_addr bytes;
    if (!value)
        return true;
    if (inet_pton(AF_INET, value, &bytes) != 1 && inet_pton(AF_INET6, value, &bytes) != 1)
        return fail(error, "address", value, "not an IPv4 or IPv6 address");
    *address = g_strdup(value);
    return true;
}

static bool take_rrdcached_address(const char *value, char **address, GError **error)
{
    *address = g_strdup(value ? value : "unix:/run/rrdcached.sock");
    if (!**address || strlen(*address) > ADDRESS_SIZE_MAX)
        return fail(error, "rrdcached-address", *address, "the address is empty or too long");
    return true;
}

/* One of two words; *second tells which. */
static bool take_choice(const char *option, const char *value, const char *const words[2],
                        bool *second, GError **error)
{
    if (value && strcmp(value, words[0]) != 0 && strcmp(value, words[1]) != 0) {
        g_autofree char *reason = g_strdup_printf("must be %s or %s", words[0], words[1]);
        return fail(error, option, value, reason);
    }
    *second = value && strcmp(value, words[1]) == 0;
    return true;
}

/* Seconds with up to three decimals. Digits are read by hand: strtod() would take the locale's
 * comma, exponents, and "nan". */
static bool parse_milliseconds(const char *text, uint64_t *milliseconds)
{
    uint64_t whole = 0;
    uint64_t fraction = 0;
    const char *c = text;

    if (!g_ascii_isdigit(*c))
        return false;
    for (; g_ascii_isdigit(*c) && whole <= SECONDS_MAX; c++)
        whole = whole * 10 + (uint64_t)(*c - '0');
    if (*c == '.') {
        c++;
        if (!g_ascii_isdigit(*c))
            return false;
        for (uint64_t unit = 100; g_ascii_isdigit(*c) && unit > 0; c++, unit /= 10)
            fraction += unit * (uint64_t)(*c - '0');
    }
    *milliseconds = whole * 1000 + fraction;
    return *c == '\0' && *milliseconds <= SECONDS_MAX * 1000ull;
}

static bool take_seconds(const char *option, const char *value, uint64_t fallback_seconds,
                         uint64_t minimum, uint64_t *milliseconds, GError **error)
{
    *milliseconds = fallback_seconds * 1000;
    if (!value)
        return true;
    if (!parse_milliseconds(value, milliseconds))
        return fail(error, option, value,
                    "not a number of seconds, at most a year, with at most three decimals");
    if (*milliseconds < minimum)
        return fail(error, option, value, "must be more than 0");
    return true;
}

static bool take_paths(const struct raw *raw, struct options *options, GError **error)
{
    if (!take_path("mountpoint", raw->mountpoint, "/etc/pve", &options->mountpoint, error) ||
        !take_path("state-dir", raw->state_dir, "/var/lib/pve-cluster", &options->state_dir,
                   error) ||
        !take_path("run-dir", raw->run_dir, "/run/pve-cluster", &options->run_dir, error) ||
        !take_path("rrd-dir", raw->rrd_dir, "/var/lib/rrdcached/db", &options->rrd_dir, error) ||
        !take_path("corosync-conf", raw->corosync_conf, "/etc/corosync/corosync.conf",
                   &options->corosync_conf, error))
        return false;
    options->pid_file = g_strconcat(options->run_dir, ".pid", NULL);
    return true;
}

static bool take_names(const struct raw *raw, struct options *options, GError **error)
{
    static const char *const acknowledge[2] = {"own", "all"};
    static const char *const durability[2] = {"normal", "full"};

    return take_name("socket-name", raw->socket_name, "pve2", SOCKET_NAME_SIZE_MAX, "-_.",
                     &options->socket_name, error) &&
           take_name("nodename", raw->nodename, NULL, NODENAME_SIZE_MAX, "-_", &options->nodename,
                     error) &&
           take_name("group", raw->group, "www-data", GROUP_SIZE_MAX, "-_.$", &options->group,
                     error) &&
           take_address(raw->address, &options->address, error) &&
           take_rrdcached_address(raw->rrdcached_address, &options->rrdcached_address, error) &&
           take_choice("acknowledge", raw->acknowledge, acknowledge, &options->acknowledge_all,
                       error) &&
           take_choice("durability", raw->durability, durability, &options->durability_full, error);
}

static bool take_times(const struct raw *raw, struct options *options, GError **error)
{
    return take_seconds("lock-lifetime", raw->lock_lifetime, 120, 1, &options->lock_lifetime,
                        error) &&
           take_seconds("fold-delay", raw->fold_delay, 30, 0, &options->fold_delay, error) &&
           take_seconds("lockfile-timeout", raw->lockfile_timeout, 10, 0,
                        &options->lockfile_timeout, error) &&
           take_seconds("verify-interval", raw->verify_interval, 3600, 1, &options->verify_interval,
                        error) &&
           take_seconds("answer-timeout", raw->answer_timeout, 30, 1, &options->answer_timeout,
                        error) &&
           take_seconds("rejoin-delay", raw->rejoin_delay, 6, 1, &options->rejoin_delay, error);
}

/* GLib would take --local=no as --local. */
static bool refuse_value_of_switch(const char *word, GError **error)
{
    static const char *const names[] = {
        "--help=", "--version=", "--debug=", "--foreground=", "--local="};

    for (size_t i = 0; i < G_N_ELEMENTS(names); i++) {
        if (g_str_has_prefix(word, names[i])) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "%s: this option has no value", word);
            return false;
        }
    }
    return true;
}

/* GLib's parser alters its array, so it gets a copy. */
static bool parse_raw(int argc, const char *const *argv, struct switches *switches, struct raw *raw,
                      GError **error)
{
    g_autoptr(GOptionContext) context = make_context(switches, raw);
    g_auto(GStrv) words = g_new0(char *, (size_t)argc + 2);

    words[0] = g_strdup("pmxcfs");
    for (int i = 1; i < argc; i++) {
        if (!refuse_value_of_switch(argv[i], error))
            return false;
        words[i] = g_strdup(argv[i]);
    }
    if (!g_option_context_parse_strv(context, &words, error))
        return false;
    if (words[0] && words[1]) {
        g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_FAILED, "Unexpected argument %s",
                    words[1]);
        return false;
    }
    return true;
}

bool options_parse(int argc, const char *const *argv, struct options *options, GError **error)
{
    struct switches switches = {0};
    struct raw raw = {0};

    *options = (struct options){0};
    bool good = parse_raw(argc, argv, &switches, &raw, error) && take_paths(&raw, options, error) &&
                take_names(&raw, options, error) && take_times(&raw, options, error);
    raw_clear(&raw);
    if (!good) {
        options_clear(options);
        return false;
    }
    options->help = switches.help;
    options->version = switches.version;
    options->debug = switches.debug;
    options->foreground = switches.foreground;
    options->local = switches.local;
    return true;
}

void options_clear(struct options *options)
{
    g_free(options->mountpoint);
    g_free(options->state_dir);
    g_free(options->run_dir);
    g_free(options->pid_file);
    g_free(options->rrd_dir);
    g_free(options->rrdcached_address);
    g_free(options->corosync_conf);
    g_free(options->socket_name);
    g_free(options->nodename);
    g_free(options->address);
    g_free(options->group);
    *options = (struct options){0};
}

char *options_help(void)
{
    struct switches switches = {0};
    struct raw raw = {0};
    g_autoptr(GOptionContext) context = make_context(&switches, &raw);
    return g_option_context_get_help(context, TRUE, NULL);
}
