/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands that read the history share. */
#include "ctl/history_common.h"

#include <errno.h>
#include <inttypes.h>
#include <pwd.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "ctl/ask.h"
#include "ctl/db.h"
#include "ctl/history_time.h"
#include "ctl/suggest.h"
#include "ctl/tools/journal.h"
#include "history/replayed.h"
#include "host/node.h"
#include "store/text.h"

#define PAUSE_MICROSECONDS 10000u
#define PAUSES_MAX 1000 /* 10 s */

/* ---- Opening ---- */

/* Has the daemon write down what is pending; *path is its history, to be g_free()d, NULL: there is
 * none, and *error says why. */
static int flush_daemon(const struct context *context, char **path, int *error)
{
    json_int_t wanted = -1;

    *path = NULL;
    for (int i = 0; i < PAUSES_MAX; i++) {
        json_t *answer = NULL;
        int code = ask_quietly(context, ASK_HISTORY, NULL, 0, &answer, error);
        if (code != EXIT_DONE)
            return code;
        if (wanted < 0)
            wanted = field_number(answer, "asked");
        bool written = field_number(answer, "written") >= wanted;
        bool failing = !written && field_bool(answer, "failing");
        g_free(*path);
        *path = g_strdup(json_string_value(json_object_get(answer, "path")));
        json_decref(answer);
        if (written)
            return EXIT_DONE;
        if (failing)
            break;
        g_usleep(PAUSE_MICROSECONDS);
    }
    fputs("warning: the daemon does not get its history written; the newest changes are missing "
          "(its log says why)\n",
          stderr);
    return EXIT_DONE;
}

/* What can be done about one that is damaged. */
static void advise(const char *file)
{
    fprintf(stderr,
            "What is in /etc/pve is not touched by that. Every node writes a history of its own: "
            "ask another one,\nor for other paths. A new one begins when %s is moved away while "
            "pmxcfs is stopped.\n",
            file);
}

/* NULL: stderr says why. */
static struct history_reader *open_file(const char *path)
{
    struct history_reader *reader = NULL;
    g_autofree char *message = NULL;
    g_autofree char *directory = g_path_get_dirname(path);
    int error = db_is_running(directory) ? history_open_live(path, &reader, &message)
                                         : history_open(path, &reader, &message);

    if (!error)
        return reader;
    if (message)
        fprintf(stderr, "error: %s\n", message);
    else
        fprintf(stderr, "error: %s: %s\n", path, g_strerror(-error));
    if (error == -EBADMSG && g_file_test(path, G_FILE_TEST_IS_REGULAR))
        advise(path);
    return NULL;
}

/* A whole history lies in a temporary directory meanwhile, which somebody who gets impatient must
 * not leave there. */
static int add_uninterrupted(struct history_reader **reader, const GPtrArray *effects,
                             char **message)
{
    static const int numbers[] = {SIGHUP, SIGINT, SIGQUIT, SIGTERM, SIGTSTP};
    sigset_t ending;
    sigset_t before;

    sigemptyset(&ending);
    for (size_t i = 0; i < G_N_ELEMENTS(numbers); i++)
        sigaddset(&ending, numbers[i]);
    pthread_sigmask(SIG_BLOCK, &ending, &before);
    int error = history_add_replayed(reader, effects, message);
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return error;
}

/* What is in the journal of a host that died has not reached its history. */
static void add_journal(struct history_reader **reader, const char *database)
{
    g_autofree char *message = NULL;
    GPtrArray *effects = NULL;
    int error = tools_read_journal(database, &effects, &message);

    if (!error)
        error = add_uninterrupted(reader, effects, &message);
    if (effects)
        g_ptr_array_unref(effects);
    if (error)
        fprintf(stderr,
                "warning: the last changes, which may be in the journal of %s only, are missing "
                "(%s); a start of pmxcfs brings them in\n",
                database, message ? message : g_strerror(-error));
}

/* `given`: a state directory, or the database in it, with the journal; or a history alone. */
static struct history_reader *open_given(const char *given)
{
    g_autofree char *name = g_path_get_basename(given);
    bool is_directory = g_file_test(given, G_FILE_TEST_IS_DIR);

    if (!is_directory && strcmp(name, DATABASE_NAME) != 0)
        return open_file(given);
    g_autofree char *directory = is_directory ? g_strdup(given) : g_path_get_dirname(given);
    g_autofree char *history = g_build_filename(directory, HISTORY_FILE, NULL);
    g_autofree char *database = g_build_filename(directory, DATABASE_NAME, NULL);
    struct history_reader *reader = open_file(history);
    if (reader && g_file_test(database, G_FILE_TEST_EXISTS))
        add_journal(&reader, database);
    return reader;
}

struct history_reader *history_common_open(const struct context *context, const char *database,
                                           int *code)
{
    g_autofree char *path = NULL;
    int error = 0;

    *code = EXIT_FAILED;
    if (database)
        return open_given(database);
    int asked = flush_daemon(context, &path, &error);
    bool hangs = error == ETIMEDOUT || error == EAGAIN; /* the newest changes are not in the file */
    if (asked == EXIT_NO_DAEMON && !hangs && !context->socket_given) {
        struct history_reader *reader = open_given(DEFAULT_STATE_DIR);
        if (!reader) /* that is why it was to be a file */
            ask_complain(context, asked, error);
        return reader;
    }
    if (error == EOPNOTSUPP) {
        fputs("error: the daemon writes no history\n", stderr);
        return NULL;
    } else if (asked != EXIT_DONE || !path) {
        *code = asked != EXIT_DONE ? asked : EXIT_FAILED;
        ask_complain(context, *code, error ? error : EBADMSG);
        return NULL;
    }
    return open_file(path);
}

struct history_reader *history_common_open_quietly(const struct context *context)
{
    g_autofree char *path = NULL;
    int error;

    return flush_daemon(context, &path, &error) == EXIT_DONE && path ? open_file(path) : NULL;
}

int history_common_damaged(const struct history_reader *reader, const char *what, int error)
{
    const char *file = history_file(reader);
    g_autofree char *shown = what ? store_text_shown(what, strlen(what)) : g_strdup("");
    bool damaged = error == -EBADMSG || error == -ENOENT;

    fprintf(stderr, "error: %s: %s%scannot be read: %s\n", file, shown, what ? " " : "",
            damaged ? "the file is damaged" : g_strerror(-error));
    if (damaged)
        advise(file);
    return EXIT_FAILED;
}

bool history_common_take_node(struct history_reader *reader, const char *node,
                              struct history_filter *filter)
{
    GPtrArray *names = NULL;
    int error = node ? history_node_id(reader, node, &filter->node) : 0;

    filter->by_node = node != NULL;
    if (!error)
        return true;
    if (error == -ENOENT)
        error = history_known_nodes(reader, &names);
    if (error) {
        history_common_damaged(reader, "the names of nodes", error);
        return false;
    }
    g_autofree char *hint = suggest_text(node, names);
    fprintf(stderr, "error: the history knows no node '%s'%s\n", node, hint);
    g_ptr_array_unref(names);
    return false;
}

bool history_common_take_time(const char *text, int64_t *taken)
{
    int64_t now = time(NULL);

    if (history_time_parse(text, now, taken))
        fprintf(stderr, "error: '%s' is no time (2h, yesterday, 18:41, 2026-11-22 18:41)\n", text);
    else if (*taken > now)
        fprintf(stderr, "error: '%s' is still to come\n", text);
    else
        return true;
    return false;
}

bool history_common_take_lines(int lines, const char *since, struct history_filter *filter)
{
    if (lines < 0 || lines >= (int)HISTORY_LIST_MAX) {
        fprintf(stderr, "error: --lines: 0 to %u\n", HISTORY_LIST_MAX - 1);
        return false;
    }
    filter->limit = lines > 0 ? (size_t)lines + 1 : 0;
    return !since || history_common_take_time(since, &filter->since);
}

void history_common_take_path(const char *path, struct history_filter *filter)
{
    if (path && strpbrk(path, "*?"))
        filter->pattern = path;
    else
        filter->path = path;
}

/* ---- Words ---- */

static char *clean_path(const char *given)
{
    static const char mount[] = "/etc/pve";
    size_t length = strlen(mount);

    if (strncmp(given, mount, length) == 0 && (given[length] == '/' || !given[length]))
        given += length;
    while (*given == '/')
        given++;
    char *path = g_strdup(given);
    while (g_str_has_suffix(path, "/"))
        path[strlen(path) - 1] = '\0';
    return path;
}

/* What this node is called; NULL: nobody tells. g_free() it. */
static char *own_name(const struct context *context)
{
    json_t *members = NULL;
    int error;

    if (ask_quietly(context, ASK_MEMBERS, NULL, 0, &members, &error) != EXIT_DONE)
        return context->socket_given ? NULL : node_name();
    char *name = g_strdup(json_string_value(json_object_get(members, "nodename")));
    json_decref(members);
    return name;
}

char *history_common_here(const struct context *context, const char *database, const char *given)
{
    static const char *const links[] = {"local", "qemu-server", "lxc", "openvz"};
    g_autofree char *path = clean_path(given);
    size_t length = strcspn(path, "/@");

    for (size_t i = 0; !database && i < G_N_ELEMENTS(links); i++) {
        if (strlen(links[i]) != length || strncmp(path, links[i], length) != 0)
            continue;
        g_autofree char *name = own_name(context);
        if (name)
            return g_strconcat("nodes/", name, i > 0 ? "/" : "", i > 0 ? links[i] : "",
                               path + length, NULL);
    }
    return g_steal_pointer(&path);
}

bool history_common_take_argument(const char *path)
{
    if (*path)
        return true;
    fputs("error: the path is empty ('/' is the whole tree)\n", stderr);
    return false;
}

/* Bytes that would be lost between a terminal and a shell: bash and zsh know this form. */
static char *escape_bytes(const char *text)
{
    GString *quoted = g_string_new("$'");

    for (; *text; text++) {
        bool plain = g_ascii_isprint(*text) && *text != '\'' && *text != '\\';
        g_string_append_printf(quoted, plain ? "%c" : "\\%03o", (unsigned char)*text);
    }
    g_string_append_c(quoted, '\'');
    return g_string_free(quoted, FALSE);
}

char *history_common_argument(const char *path, const char *at)
{
    static const char harmless[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789"
                                   "/._-+,:@%";
    /* An empty one is the root, and one with a dash no option. */
    const char *slash = *path == '-' || !*path ? "/" : "";
    g_autofree char *whole = g_strconcat(slash, path, at ? "@" : "", at ? at : "", NULL);
    g_autofree char *shown = store_text_shown(whole, strlen(whole));

    if (strspn(whole, harmless) == strlen(whole))
        return g_steal_pointer(&whole);
    return strcmp(shown, whole) == 0 && !strchr(whole, '\\') ? g_shell_quote(whole)
                                                             : escape_bytes(whole);
}

const char *history_common_operation(enum history_operation operation)
{
    static const char *const words[] = {
        [HISTORY_WRITE] = "write",   [HISTORY_MKDIR] = "mkdir",   [HISTORY_DELETE] = "delete",
        [HISTORY_RENAME] = "rename", [HISTORY_CREATE] = "create", [HISTORY_MTIME] = "mtime",
        [HISTORY_UNLOCK] = "unlock", [HISTORY_RESYNC] = "resync", [HISTORY_FOUND] = "found",
        [HISTORY_GAP] = "gap",
    };

    return (size_t)operation < G_N_ELEMENTS(words) && words[operation] ? words[operation] : "?";
}

char *history_common_node(struct history_reader *reader, uint32_t node)
{
    g_autofree char *name = history_node_name(reader, node);

    return name ? store_text_shown(name, strlen(name)) : g_strdup_printf("%" PRIu32, node);
}

static json_t *version_json(const struct history_version *version)
{
    if (!version->exists)
        return json_null();
    return json_pack("{s:s, s:I, s:I, s:b, s:b}", "type", version->directory ? "directory" : "file",
                     "bytes", (json_int_t)version->size, "mtime", (json_int_t)version->mtime,
                     "kept", version->kept == HISTORY_KEPT, "private",
                     version->kept == HISTORY_PRIVATE);
}

static json_t *actor_json(const struct history_actor *actor)
{
    if (!actor->known)
        return json_null();
    json_t *object = json_pack("{s:I, s:I, s:o, s:o}", "uid", (json_int_t)actor->uid, "pid",
                               (json_int_t)actor->pid, "name", db_json_string(actor->name),
                               "command", db_json_string(actor->command));
    if (actor->login != UINT32_MAX)
        json_object_set_new(object, "login", json_integer(actor->login));
    return object;
}

json_t *history_common_json(struct history_reader *reader, const struct history_change *change)
{
    g_autofree char *node = history_common_node(reader, change->node);
    json_t *object =
        json_pack("{s:I, s:I, s:I, s:o, s:s, s:o, s:o, s:o, s:o}", "id", (json_int_t)change->id,
                  "version", (json_int_t)change->version, "time", (json_int_t)change->time, "node",
                  db_json_string(node), "operation", history_common_operation(change->operation),
                  "path", db_json_string(change->path), "before", version_json(&change->before),
                  "after", version_json(&change->after), "who", actor_json(&change->actor));

    if (change->other)
        json_object_set_new(object, "other", db_json_string(change->other));
    return object;
}

char *history_common_user(uint32_t uid)
{
    const struct passwd *user = getpwuid(uid);

    return user ? store_text_shown(user->pw_name, strlen(user->pw_name))
                : g_strdup_printf("%" PRIu32, uid);
}

char *history_common_who(const struct history_actor *actor)
{
    g_autofree char *user =
        history_common_user(actor->login != UINT32_MAX ? actor->login : actor->uid);
    g_autofree char *name = store_text_shown(actor->name, strlen(actor->name));
    g_autofree char *command = store_text_shown(actor->command, strlen(actor->command));

    return g_strconcat(user, ": ", *command ? command : name, NULL);
}

/* Of a list, as db_print_json() would print all of it, which would need some GiB for the largest.
 */
static void print_element(json_t *element, bool first)
{
    char *text = json_dumps(element, JSON_INDENT(2));

    fputs(first ? "[\n  " : ",\n  ", stdout);
    for (const char *at = text; *at; at++) {
        putchar(*at);
        if (*at == '\n')
            fputs("  ", stdout);
    }
    free(text);
    json_decref(element);
}

void history_common_tell(const struct context *context, struct history_reader *reader,
                         const GPtrArray *changes, guint lines,
                         void (*print)(struct history_reader *reader,
                                       const struct history_change *change))
{
    guint count = lines > 0 ? MIN(lines, changes->len) : changes->len;

    for (guint i = 0; i < count; i++) {
        if (context->json)
            print_element(history_common_json(reader, changes->pdata[i]), i == 0);
        else
            print(reader, changes->pdata[i]);
    }
    if (context->json)
        puts(count > 0 ? "\n]" : "[]");
    else if (changes->len > count)
        fprintf(stderr, "there are older ones: see --lines\n");
}
