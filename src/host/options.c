/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The command line: parsing, defaults, and the bounds of what may be given. */
#include "host/options.h"

#include <arpa/inet.h>
#include <limits.h>
#include <string.h>

/* Room that stays for the names that the daemon appends to a path. */
#define PATH_SIZE_MAX (PATH_MAX - 256)
#define ADDRESS_SIZE_MAX 1024u
#define SECONDS_MAX 31536000u

enum kind {
    SWITCH,
    PATH,
    NAME,
    IP_ADDRESS,
    ADDRESS,
    CHOICE,
    NUMBER,
    SECONDS,
};

/* An option, and the member of struct options that it sets: bool, char * or uint64_t. */
struct form {
    const char *name;
    char letter;
    enum kind kind;
    size_t member;
    const char *fallback; /* stands for an option that is not given; NULL: nothing does */
    const char *value;    /* what --help calls it; CHOICE: the two words */
    const char *help;
    size_t size_max;  /* NAME: bytes; NUMBER: the highest */
    const char *also; /* NAME: characters that are allowed besides letters and digits */
    bool zero;        /* SECONDS, NUMBER: may be 0 */
};

#define MEMBER(name) offsetof(struct options, name)

static const struct form forms[] = {
    {"help", 'h', SWITCH, MEMBER(help), .help = "Show this help and exit"},
    {"version", 0, SWITCH, MEMBER(version), .help = "Show the version and exit"},
    {"debug", 'd', SWITCH, MEMBER(debug), .help = "Log debug messages from the start"},
    {"foreground", 'f', SWITCH, MEMBER(foreground),
     .help = "Stay in the foreground, log to stderr"},
    {"local", 'l', SWITCH, MEMBER(local), .help = "No cluster, even if there is a corosync.conf"},
    {"mountpoint", 0, PATH, MEMBER(mountpoint), "/etc/pve", "PATH",
     .help = "Where to mount (/etc/pve)"},
    {"state-dir", 0, PATH, MEMBER(state_dir), "/var/lib/pve-cluster", "PATH",
     .help = "Where config.db is (/var/lib/pve-cluster)"},
    {"run-dir", 0, PATH, MEMBER(run_dir), "/run/pve-cluster", "PATH",
     .help = "Run directory; PATH.pid is the pid file (/run/pve-cluster)"},
    {"rrd-dir", 0, PATH, MEMBER(rrd_dir), "/var/lib/rrdcached/db", "PATH",
     .help = "Where RRD files are (/var/lib/rrdcached/db)"},
    {"rrdcached-address", 0, ADDRESS, MEMBER(rrdcached_address), "unix:/run/rrdcached.sock",
     "ADDRESS", .help = "rrdcached (unix:/run/rrdcached.sock)"},
    {"corosync-conf", 0, PATH, MEMBER(corosync_conf), "/etc/corosync/corosync.conf", "PATH",
     .help = "The host's corosync.conf (/etc/corosync/corosync.conf)"},
    {"socket-name", 0, NAME, MEMBER(socket_name), "pve2", "NAME",
     .help = "Name of the local socket (pve2)", .size_max = 64, .also = "-_."},
    {"nodename", 0, NAME, MEMBER(nodename), NULL, "NAME",
     .help = "Name of this node (the host name up to its first dot)", .size_max = 64, .also = "-_"},
    {"address", 0, IP_ADDRESS, MEMBER(address), NULL, "IP",
     .help = "Address of this node (looked up from its name)"},
    {"group", 0, NAME, MEMBER(group), "www-data", "GROUP", .help = "Group of all files (www-data)",
     .size_max = 256, .also = "-_.$"},
    {"acknowledge", 0, CHOICE, MEMBER(acknowledge_all), "own", "own|all",
     .help = "Answer a change when this node has stored it, or all in the group (own)"},
    {"durability", 0, CHOICE, MEMBER(durability_full), "normal", "normal|full",
     .help = "How a commit is synced: as safe as a crash needs, or as a power loss needs (normal)"},
    {"fold-delay", 0, SECONDS, MEMBER(fold_delay), "30", "SECONDS",
     .help = "How far config.db may be behind its journal; 0: no journal (30)", .zero = true},
    {"history-size", 0, NUMBER, MEMBER(history_size), "64", "MIB",
     .help = "Size of the history; 0: none is written (64)", .size_max = 65536, .zero = true},
    {"history-days", 0, NUMBER, MEMBER(history_days), "400", "DAYS",
     .help = "How far back the history reaches (400)", .size_max = 36500},
    {"history-skip", 0, NAME, MEMBER(history_skip), NULL, "PATTERNS",
     .help = "Patterns of paths that the history leaves out besides the usual ones, with commas; "
             "!PATTERN keeps what one of those leaves out",
     .size_max = 4096, .also = "-_.,/*?!^~#@+:= "},
    {"history-private", 0, SWITCH, MEMBER(history_private),
     .help = "Keep contents of private files in the history"},
    {"lock-lifetime", 0, SECONDS, MEMBER(lock_lifetime), "120", "SECONDS",
     .help = "Life of a lock that is not renewed (120)"},
    {"lockfile-timeout", 0, SECONDS, MEMBER(lockfile_timeout), "10", "SECONDS",
     .help = "How long to wait for another daemon to end (10)", .zero = true},
    {"verify-interval", 0, SECONDS, MEMBER(verify_interval), "3600", "SECONDS",
     .help = "Time between comparisons of all nodes (3600)"},
    {"answer-timeout", 0, SECONDS, MEMBER(answer_timeout), "30", "SECONDS",
     .help = "How long a change may be under way (30)"},
    {"rejoin-delay", 0, SECONDS, MEMBER(rejoin_delay), "6", "SECONDS",
     .help = "Pause before a group is joined again (6)"},
};

#define FORMS G_N_ELEMENTS(forms)

/* What was given, by the numbers of the forms. */
struct given {
    gboolean switches[FORMS]; /* an int, as GLib writes it */
    char *values[FORMS];      /* NULL: not given */
};

/* A context that fills in *given; g_option_context_free() it. */
static GOptionContext *make_context(struct given *given)
{
    GOptionEntry entries[FORMS + 1] = {0};
    GOptionContext *context = g_option_context_new(NULL);

    for (size_t i = 0; i < FORMS; i++) {
        const struct form *form = &forms[i];
        entries[i] = (GOptionEntry){
            .long_name = form->name,
            .short_name = form->letter,
            .arg = form->kind == SWITCH ? G_OPTION_ARG_NONE
                   : form->kind == PATH ? G_OPTION_ARG_FILENAME
                                        : G_OPTION_ARG_STRING,
            .arg_data =
                form->kind == SWITCH ? (gpointer)&given->switches[i] : (gpointer)&given->values[i],
            .description = form->help,
            .arg_description = form->value,
        };
    }
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
static bool take_path(const char *option, const char *value, char **path, GError **error)
{
    if (!*value)
        return fail(error, option, value, "an empty path");
    *path = g_canonicalize_filename(value, NULL);
    if (strlen(*path) > PATH_SIZE_MAX)
        return fail(error, option, value, "the path is too long");
    if (strcmp(*path, "/") == 0)
        return fail(error, option, value, "the root directory cannot be used");
    return true;
}

static bool take_name(const struct form *form, const char *value, char **name, GError **error)
{
    size_t size = strlen(value);

    *name = g_strdup(value);
    if (size == 0 || size > form->size_max)
        return fail(error, form->name, value, "the name is empty or too long");
    for (const char *c = value; *c; c++) {
        if (!g_ascii_isalnum(*c) && !strchr(form->also, *c))
            return fail(error, form->name, value, "a character that no such name has");
    }
    return true;
}

static bool take_ip_address(const char *option, const char *value, char **address, GError **error)
{
    struct in6_addr bytes;

    if (inet_pton(AF_INET, value, &bytes) != 1 && inet_pton(AF_INET6, value, &bytes) != 1)
        return fail(error, option, value, "not an IPv4 or IPv6 address");
    *address = g_strdup(value);
    return true;
}

static bool take_address(const char *option, const char *value, char **address, GError **error)
{
    *address = g_strdup(value);
    if (!*value || strlen(value) > ADDRESS_SIZE_MAX)
        return fail(error, option, value, "the address is empty or too long");
    return true;
}

/* One of two words, "FIRST|SECOND"; *second tells which. */
static bool take_choice(const struct form *form, const char *value, bool *second, GError **error)
{
    g_auto(GStrv) words = g_strsplit(form->value, "|", 2);

    *second = strcmp(value, words[1]) == 0;
    if (*second || strcmp(value, words[0]) == 0)
        return true;
    g_autofree char *reason = g_strdup_printf("must be %s or %s", words[0], words[1]);
    return fail(error, form->name, value, reason);
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

static bool take_seconds(const struct form *form, const char *value, uint64_t *milliseconds,
                         GError **error)
{
    if (!parse_milliseconds(value, milliseconds))
        return fail(error, form->name, value,
                    "not a number of seconds, at most a year, with at most three decimals");
    if (*milliseconds == 0 && !form->zero)
        return fail(error, form->name, value, "must be more than 0");
    return true;
}

static bool take_number(const struct form *form, const char *value, uint64_t *number,
                        GError **error)
{
    g_autofree char *reason =
        g_strdup_printf("not a number from %d to %d", form->zero ? 0 : 1, (int)form->size_max);

    if (g_ascii_isdigit(*value) &&
        g_ascii_string_to_unsigned(value, 10, form->zero ? 0 : 1, form->size_max, number, NULL))
        return true;
    return fail(error, form->name, value, reason);
}

static bool take(const struct form *form, const char *value, struct options *options,
                 GError **error)
{
    void *member = (char *)options + form->member;

    switch (form->kind) {
    case SWITCH:
        break;
    case PATH:
        return take_path(form->name, value, member, error);
    case NAME:
        return take_name(form, value, member, error);
    case IP_ADDRESS:
        return take_ip_address(form->name, value, member, error);
    case ADDRESS:
        return take_address(form->name, value, member, error);
    case CHOICE:
        return take_choice(form, value, member, error);
    case NUMBER:
        return take_number(form, value, member, error);
    case SECONDS:
        return take_seconds(form, value, member, error);
    }
    return true;
}

static bool take_all(const struct given *given, struct options *options, GError **error)
{
    for (size_t i = 0; i < FORMS; i++) {
        const char *value = given->values[i] ? given->values[i] : forms[i].fallback;
        if (forms[i].kind == SWITCH)
            *(bool *)((char *)options + forms[i].member) = given->switches[i];
        else if (value && !take(&forms[i], value, options, error))
            return false;
    }
    options->pid_file = g_strconcat(options->run_dir, ".pid", NULL);
    return true;
}

/* GLib would take --local=no as --local. */
static bool refuse_value_of_switch(const char *word, GError **error)
{
    size_t length = strcspn(word, "=");

    for (size_t i = 0; i < FORMS && word[length] == '='; i++) {
        if (forms[i].kind == SWITCH && strlen(forms[i].name) + 2 == length &&
            g_str_has_prefix(word, "--") && strncmp(word + 2, forms[i].name, length - 2) == 0) {
            g_set_error(error, G_OPTION_ERROR, G_OPTION_ERROR_BAD_VALUE,
                        "%s: this option has no value", word);
            return false;
        }
    }
    return true;
}

/* GLib's parser alters its array, so it gets a copy. */
static bool parse(int argc, const char *const *argv, struct given *given, GError **error)
{
    g_autoptr(GOptionContext) context = make_context(given);
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
    struct given given = {0};

    *options = (struct options){0};
    bool good = parse(argc, argv, &given, error) && take_all(&given, options, error);
    for (size_t i = 0; i < FORMS; i++)
        g_free(given.values[i]);
    if (!good)
        options_clear(options);
    return good;
}

void options_clear(struct options *options)
{
    for (size_t i = 0; i < FORMS; i++) {
        enum kind kind = forms[i].kind;
        if (kind == PATH || kind == NAME || kind == IP_ADDRESS || kind == ADDRESS)
            g_free(*(char **)((char *)options + forms[i].member));
    }
    g_free(options->pid_file);
    *options = (struct options){0};
}

char *options_help(void)
{
    struct given given = {0};
    g_autoptr(GOptionContext) context = make_context(&given);

    return g_option_context_get_help(context, TRUE, NULL);
}
