/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl guests move: moves the guests of a dead node to another. */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "ctl/ask.h"
#include "ctl/guests.h"
#include "ctl/names.h"

struct move {
    const struct context *context;
    const char *from;
    const char *to;
    char *mountpoint;
    bool dry_run;
    GPtrArray *guests; /* struct moved */
    char *managed;     /* ha/resources.cfg; NULL: there is none */
};

struct moved {
    char *id;
    const char *type;      /* as in .vmlist */
    const char *directory; /* qemu-server or lxc */
    bool done;
};

static void moved_free(gpointer data)
{
    struct moved *guest = data;

    g_free(guest->id);
    g_free(guest);
}

static int compare_guests(const void *a, const void *b)
{
    const struct moved *first = *(struct moved *const *)a;
    const struct moved *second = *(struct moved *const *)b;
    guint64 left = g_ascii_strtoull(first->id, NULL, 10);
    guint64 right = g_ascii_strtoull(second->id, NULL, 10);

    return (left > right) - (left < right);
}

static const char *directory_of(const char *type)
{
    if (strcmp(type, "qemu") == 0)
        return "qemu-server";
    return strcmp(type, "lxc") == 0 ? "lxc" : "openvz";
}

/* True if high availability has the guest among its resources. */
static bool is_managed(const struct move *move, const struct moved *guest)
{
    g_autofree char *line =
        g_strdup_printf("%s: %s", strcmp(guest->type, "qemu") == 0 ? "vm" : "ct", guest->id);
    g_auto(GStrv) lines = g_strsplit(move->managed ? move->managed : "", "\n", -1);

    for (char **at = lines; *at; at++) {
        if (strcmp(g_strchomp(*at), line) == 0)
            return true;
    }
    return false;
}

/* Why the move must not be made now, from the overview and the members; NULL: it may. g_free() it.
 */
static char *find_objection(const struct move *move, json_t *overview, json_t *members)
{
    json_t *nodes = json_object_get(members, "nodelist");
    json_t *from = json_object_get(nodes, move->from);
    json_t *to = json_object_get(nodes, move->to);
    bool local = field_bool(overview, "local");
    const char *own = field_text(overview, "node");

    if (strcmp(move->from, move->to) == 0)
        return g_strdup("both nodes are the same");
    if (!field_bool(overview, "quorate"))
        return g_strdup("there is no quorum: nothing can be changed, and nobody knows who runs");
    if (strcmp(move->from, own) == 0 || field_bool(from, "online"))
        return g_strdup_printf("%s is online: its guests may run there; migrate them instead",
                               move->from);
    if (local ? strcmp(move->to, own) != 0 : !to)
        return g_strdup_printf("%s is no node of this cluster (any more)", move->to);
    if (!local && !field_bool(to, "online"))
        return g_strdup_printf("%s is not online", move->to);
    return NULL;
}

/* Asks anew, and objects on stderr; false: the move must not be made (any more). */
static bool is_allowed(const struct move *move, int *code)
{
    json_t *overview = ask(move->context, ASK_OVERVIEW, NULL, 0, code);
    json_t *members = overview ? ask(move->context, ASK_MEMBERS, NULL, 0, code) : NULL;
    g_autofree char *objection = members ? find_objection(move, overview, members) : NULL;
    bool allowed = members && !objection;

    if (objection) {
        fprintf(stderr, "error: %s\n", objection);
        *code = EXIT_FAILED;
    }
    json_decref(members);
    json_decref(overview);
    return allowed;
}

static char *guest_path(const struct move *move, const char *node, const struct moved *guest)
{
    g_autofree char *file = g_strconcat(guest->id, ".conf", NULL);

    return g_build_filename(move->mountpoint, "nodes", node, guest->directory, file, NULL);
}

static char *directory_path(const struct move *move, const char *node, const struct moved *guest)
{
    return g_build_filename(move->mountpoint, "nodes", node, guest->directory, NULL);
}

/* As the move will need it: a name goes from one directory to the other. */
static bool may_write(const char *directory)
{
    if (faccessat(AT_FDCWD, directory, W_OK | X_OK, AT_EACCESS) == 0)
        return true;
    fprintf(stderr, "error: this user cannot move files in %s: %s\n", directory, g_strerror(errno));
    return false;
}

/* Every directory that is needed must be there, which a node has that was once up, and be writable,
 * before the first guest is moved, and also if none is to be. */
static bool has_directories(const struct move *move)
{
    for (guint i = 0; i < move->guests->len; i++) {
        const struct moved *guest = move->guests->pdata[i];
        g_autofree char *from = directory_path(move, move->from, guest);
        g_autofree char *to = directory_path(move, move->to, guest);
        struct stat info;
        if (stat(to, &info) != 0 || !S_ISDIR(info.st_mode)) {
            fprintf(stderr, "error: %s is not there: has %s ever run in this cluster?\n", to,
                    move->to);
            return false;
        }
        if (!may_write(from) || !may_write(to))
            return false;
    }
    return true;
}

/* The guests of the dead node, in order. False: *code says why. */
static bool find_guests(struct move *move, int *code)
{
    json_t *answer = guests_ask(move->context, code);
    const char *id;
    json_t *guest;

    json_object_foreach(json_object_get(answer, "ids"), id, guest)
    {
        if (strcmp(field_text(guest, "node"), move->from) != 0)
            continue;
        struct moved *found = g_new0(struct moved, 1);
        found->id = g_strdup(id);
        found->directory = directory_of(field_text(guest, "type"));
        found->type = strcmp(found->directory, "qemu-server") == 0 ? "qemu" : found->directory;
        g_ptr_array_add(move->guests, found);
    }
    if (move->guests->len > 1)
        qsort(move->guests->pdata, move->guests->len, sizeof(gpointer), compare_guests);
    json_decref(answer);
    return answer != NULL;
}

static void print_move(const struct move *move, const struct moved *guest)
{
    const char *note = is_managed(move, guest) ? "  (high availability has it, and may move it "
                                                 "itself)"
                                               : "";

    if (!move->context->json)
        printf("%s %10s  %-6s  %s -> %s%s\n", move->dry_run ? "would move" : "moved", guest->id,
               guest->type, move->from, move->to, note);
    fflush(stdout);
}

/* Moves one guest, if that is still right. */
static bool move_one(const struct move *move, struct moved *guest, int *code)
{
    g_autofree char *from = guest_path(move, move->from, guest);
    g_autofree char *to = guest_path(move, move->to, guest);

    if (!is_allowed(move, code))
        return false;
    if (rename(from, to) != 0) {
        fprintf(stderr, "error: cannot move %s to %s: %s\n", from, to, g_strerror(errno));
        *code = EXIT_FAILED;
        return false;
    }
    guest->done = true;
    print_move(move, guest);
    return true;
}

static void print_result(const struct move *move)
{
    json_t *list = json_array();

    for (guint i = 0; i < move->guests->len; i++) {
        const struct moved *guest = move->guests->pdata[i];
        json_array_append_new(list,
                              json_pack("{s:I, s:s, s:s, s:s, s:b, s:b}", "id",
                                        (json_int_t)g_ascii_strtoull(guest->id, NULL, 10), "type",
                                        guest->type, "from", move->from, "to", move->to, "moved",
                                        guest->done, "managed", is_managed(move, guest)));
    }
    print_json(list);
    json_decref(list);
}

static int move_all(struct move *move)
{
    int code;

    if (!is_allowed(move, &code) || !find_guests(move, &code))
        return code;
    if (!has_directories(move))
        return EXIT_FAILED;
    if (move->guests->len == 0 && !move->context->json)
        printf("%s has no guests\n", move->from);
    guint done = 0;
    while (done < move->guests->len) {
        struct moved *guest = move->guests->pdata[done];
        if (move->dry_run)
            print_move(move, guest);
        else if (!move_one(move, guest, &code))
            break;
        done++;
    }
    if (done < move->guests->len)
        fprintf(stderr, "error: moved %u of %u %s; the rest is where it was\n", done,
                move->guests->len, move->guests->len == 1 ? "guest" : "guests");
    if (move->context->json)
        print_result(move);
    return done < move->guests->len ? code : EXIT_DONE;
}

/* The mount point; NULL with *code set. g_free() it. */
static char *find_mountpoint(const struct context *context, int *code)
{
    json_t *overview = ask(context, ASK_OVERVIEW, NULL, 0, code);
    char *mountpoint = overview ? g_strdup(field_text(overview, "mountpoint")) : NULL;

    json_decref(overview);
    return mountpoint;
}

int command_guests_move(const struct context *context, int argc, char **argv)
{
    g_autofree char *from = NULL;
    g_autofree char *to = NULL;
    gboolean dry_run = FALSE;
    const GOptionEntry entries[] = {
        {"from", 0, 0, G_OPTION_ARG_STRING, &from, "the node that is dead", "NODE"},
        {"to", 0, 0, G_OPTION_ARG_STRING, &to, "the node that takes them over", "NODE"},
        {"dry-run", 0, 0, G_OPTION_ARG_NONE, &dry_run, "only say what would be moved", NULL},
        {NULL, 0, 0, 0, NULL, NULL, NULL}};
    int code;

    if (!command_parse(&argc, &argv, entries, NULL,
                       "Move the configurations of all guests of a dead node to another.\nBE SURE "
                       "THAT THE NODE IS OFF AND STAYS OFF: a guest that runs twice destroys its "
                       "disks. Disks on a local storage of the dead node stay there.\nRefused if "
                       "the node is online, without quorum, and if the other node is missing.",
                       0, 0))
        return EXIT_WRONG_USE;
    if (!from || !to || !*from || !*to || strchr(from, '/') || strchr(to, '/')) {
        fputs("error: --from and --to must both be names of nodes\n", stderr);
        return EXIT_WRONG_USE;
    }
    if (!names_check_node(context, from, &code) || !names_check_node(context, to, &code))
        return code;
    g_autofree char *mountpoint = find_mountpoint(context, &code);
    if (!mountpoint)
        return code;
    g_autofree char *managed = ask_file(context, "ha/resources.cfg");
    struct move move = {.context = context,
                        .from = from,
                        .to = to,
                        .mountpoint = mountpoint,
                        .dry_run = dry_run,
                        .guests = g_ptr_array_new_with_free_func(moved_free),
                        .managed = managed};
    code = move_all(&move);
    g_ptr_array_unref(move.guests);
    return code;
}
