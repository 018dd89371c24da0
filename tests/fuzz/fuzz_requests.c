/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Fuzz target: requests of the local socket, answered by a node in local mode with a small tree. */
#include <errno.h>
#include <glib.h>
#include <glib/gstdio.h>
#include <jansson.h>
#include <string.h>

#include "fuzz.h"
#include "replica/loopback.h"
#include "socket/properties.h"
#include "socket/requests.h"
#include "store/store.h"

int LLVMFuzzerInitialize(int *argc, char ***argv);

/* Lives as long as the process: requests do not alter the tree. */
static struct {
    struct store *store;
    struct replica *replica;
    struct loopback loopback;
    struct replica_listener listener;
    struct clock_source clock;
    struct guest_source guests;
} node;

static uint32_t seconds(struct clock_source *clock)
{
    (void)clock;
    return 1700000000;
}

static uint64_t milliseconds(struct clock_source *clock)
{
    (void)clock;
    return 1000;
}

static void publishing(struct replica_listener *listener, const GPtrArray *effects, bool rebuilt)
{
    (void)listener;
    (void)effects;
    (void)rebuilt;
}

static void published(struct replica_listener *listener, GPtrArray *effects, bool rebuilt)
{
    (void)listener;
    (void)rebuilt;
    g_ptr_array_unref(effects);
}

static void quorum_changed(struct replica_listener *listener, bool quorate)
{
    (void)listener;
    (void)quorate;
}

static struct guest_snapshot *take_guests(struct guest_source *source)
{
    const struct state *state = replica_read_lock(node.replica);
    struct guest_snapshot *snapshot = guest_snapshot_new(&state->guests);

    (void)source;
    replica_read_unlock(node.replica);
    return snapshot;
}

static void answer(struct caller *caller, int result)
{
    (void)caller;
    if (result)
        fprintf(stderr, "the tree: %s\n", strerror(-result));
    MUST(result == 0);
}

static void change(enum change_operation operation, const char *path, const char *text)
{
    struct caller caller = {.answer = answer};
    struct change wanted = {.operation = operation,
                            .path = path,
                            .truncate = true,
                            .data = (const uint8_t *)text,
                            .size = text ? (uint32_t)strlen(text) : 0};

    replica_change(node.replica, &wanted, &caller);
}

static void add_file(const char *path, const char *text)
{
    change(CHANGE_CREATE, path, NULL);
    change(CHANGE_WRITE, path, text);
}

static void fill_tree(void)
{
    static const char *const directories[] = {"priv", "nodes", "nodes/n1", "nodes/n1/qemu-server",
                                              "nodes/n1/lxc"};

    for (size_t i = 0; i < G_N_ELEMENTS(directories); i++)
        change(CHANGE_MKDIR, directories[i], NULL);
    add_file("priv/token.cfg", "root@pam!one 11111111-1111-1111-1111-111111111111\n");
    add_file("user.cfg", "user:root@pam:1:0:::::\n");
    add_file("nodes/n1/qemu-server/100.conf",
             "name: one\ntags: a;b\nlock: backup\n\n[snap]\nx: 1\n");
    add_file("nodes/n1/lxc/101.conf", "hostname: two\ntags: c\n\"quoted\": \\ \t\nlock:\n");
    add_file("nodes/n1/lxc/102.conf", "");
    change(CHANGE_CREATE, "hole", NULL);
    struct caller caller = {.answer = answer};
    struct change truncate = {
        .operation = CHANGE_WRITE, .path = "hole", .truncate = true, .offset = 5000};
    replica_change(node.replica, &truncate, &caller);
}

int LLVMFuzzerInitialize(int *argc, char ***argv)
{
    g_autofree char *directory = g_dir_make_tmp("pmxcfs-fuzz-XXXXXX", NULL);
    g_autofree char *path = g_build_filename(directory, "config.db", NULL);
    g_autofree char *log = g_strconcat(path, "-wal", NULL);
    g_autofree char *index = g_strconcat(path, "-shm", NULL);
    struct tree *tree;
    char *message;

    (void)argc;
    (void)argv;
    MUST(store_open(path, NULL, &node.store, &tree, &message) == 0);
    node.clock = (struct clock_source){seconds, milliseconds};
    node.listener = (struct replica_listener){publishing, published, quorum_changed};
    node.guests = (struct guest_source){take_guests};
    struct member self = {0, 1};
    struct replica_options options = {.self = self,
                                      .local = true,
                                      .lock_lifetime = 120000,
                                      .clock = &node.clock,
                                      .listener = &node.listener};
    node.replica = replica_new(&options, node.store, tree);
    loopback_start(&node.loopback, node.replica, self);
    fill_tree();
    /* Open files live on; nothing is left behind, however the process ends. */
    g_unlink(path);
    g_unlink(log);
    g_unlink(index);
    g_rmdir(directory);
    return 0;
}

static bool is_json(int32_t id)
{
    return id == 1 || id == 2 || id == 3 || id == 8 || id == 11 || id == 13 || id == 101 ||
           id == 102 || id == 104;
}

static void check_reply(const struct reply *reply, int32_t id)
{
    MUST(reply->error <= 0);
    MUST(!reply->error || (!reply->buffer && reply->size == 0));
    MUST(reply->size == 0 || (reply->buffer && reply->size <= reply->buffer->capacity));
    if (reply->error || !is_json(id))
        return;
    json_t *object = json_loadb((const char *)reply->buffer->data, reply->size, 0, NULL);
    MUST(object);
    json_decref(object);
}

static void ask(const struct request_sources *sources, struct reader *input)
{
    struct socket_request request = {
        .sources = sources, .id = (int8_t)reader_u8(input), .client = 1};
    uint8_t *data;

    request.may_write = reader_u8(input) & 1;
    data = take_piece(input, &request.size);
    request.data = data;
    struct reply reply = request_answer(&request);
    check_reply(&reply, request.id);
    buffer_unref(reply.buffer);
    free(data);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct reader input = {.data = data, .left = size};
    static struct socket_metrics metrics;
    struct request_sources sources = {.mountpoint = "/etc/pve",
                                      .state_dir = "/var/lib/pve-cluster",
                                      .store = node.store,
                                      .replica = node.replica,
                                      .metrics = &metrics};

    sources.status = status_new("n1", "192.0.2.1", 1, &node.clock);
    status_set_guest_source(sources.status, &node.guests);
    sources.status_group =
        status_group_new(sources.status, NULL, &node.clock, (struct member){0, 0});
    sources.properties = properties_new(node.replica);
    sources.activity = activity_new(&node.clock);
    while (input.left > 0 && !input.bad)
        ask(&sources, &input);
    properties_free(sources.properties);
    activity_free(sources.activity);
    status_group_free(sources.status_group);
    status_free(sources.status);
    return 0;
}
