/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What each request of the local socket means, and its answer (doc/ipc.md). */
#include "socket/requests.h"

#include <errno.h>
#include <glib.h>
#include <string.h>

#include "base/util.h"
#include "cluster/corosync.h"
#include "core/path.h"
#include "core/state.h"
#include "history/recorder.h"
#include "history/trials.h"
#include "socket/overview.h"
#include "socket/properties.h"
#include "socket/subscription.h"
#include "status/json_text.h"

#define NAME_FIELD 256u /* bytes of a name in requests 4 and 5 */
#define TOKENS_PATH "priv/token.cfg"
#define FIRST_GUEST_ID 100u
#define PRIORITY_MAX 7u            /* syslog's debug */
#define PROPERTIES_SIZE_MAX 65536u /* bytes of a request for properties */
#define ANY_SIZE SIZE_MAX

typedef struct reply (*request_handler)(const struct socket_request *request);

static struct reply failure(int error)
{
    return (struct reply){.error = error};
}

/* Takes over the reference; NULL is an answer without data. */
static struct reply whole_buffer(struct buffer *buffer)
{
    return (struct reply){.buffer = buffer, .size = buffer ? buffer->capacity : 0};
}

/* A string that is all of what is left, NUL-ended and without a NUL inside; NULL: it is not. */
static const char *rest_string(struct reader *reader)
{
    const char *string = reader_string(reader, reader->left);

    return reader->bad ? NULL : string;
}

/* A name in a field of fixed size, padded with NULs; NULL: it is not ended, or data follows it. */
static const char *padded_name(struct reader *reader)
{
    const uint8_t *field = reader_bytes(reader, NAME_FIELD);

    return field && memchr(field, 0, NAME_FIELD) ? (const char *)field : NULL;
}

/* Status */

static struct reply get_version(const struct socket_request *request)
{
    return whole_buffer(status_version_text(request->sources->status));
}

static struct reply get_members(const struct socket_request *request)
{
    return whole_buffer(status_members_text(request->sources->status));
}

static struct reply get_guests(const struct socket_request *request)
{
    return whole_buffer(status_vmlist_text(request->sources->status));
}

static struct reply set_status(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    const char *name = padded_name(&reader);

    if (!name)
        return failure(-EINVAL);
    return failure(
        status_group_set(request->sources->status_group, name, reader.data, reader.left));
}

static struct reply get_status(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    const char *name = padded_name(&reader);
    const char *node = padded_name(&reader);

    if (!name || !node)
        return failure(-EINVAL);
    struct buffer *value = status_get(request->sources->status, node, name);
    return value ? whole_buffer(value) : failure(-ENOENT);
}

/* `.rrd` has one NUL at its end here. */
static struct reply get_rrd(const struct socket_request *request)
{
    struct buffer *text = status_rrd_text(request->sources->status);
    struct buffer *answer = buffer_new(text->capacity + 1);

    memcpy(answer->data, text->data, text->capacity);
    answer->data[text->capacity] = 0;
    buffer_unref(text);
    return whole_buffer(answer);
}

/* Cluster log */

static struct reply add_log(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    uint8_t priority = reader_u8(&reader);
    uint8_t ident_size = reader_u8(&reader);
    uint8_t tag_size = reader_u8(&reader);
    const char *ident = reader_string(&reader, ident_size);
    const char *tag = reader_string(&reader, tag_size);
    const char *message = rest_string(&reader);

    if (priority > PRIORITY_MAX || !ident || !tag || !message)
        return failure(-EINVAL);
    status_group_log(request->sources->status_group, priority, ident, tag, message,
                     (uint32_t)request->client);
    return failure(0);
}

static struct reply get_log(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    uint32_t maximum = reader_u32(&reader);
    reader_bytes(&reader, 3 * sizeof(uint32_t));
    const char *user = rest_string(&reader);

    if (!user)
        return failure(-EINVAL);
    return whole_buffer(status_cluster_log_text(request->sources->status, maximum, user));
}

/* Configurations */

/* A status file or a link in the root, or what the name of one would lead to. */
static bool is_below_virtual(const char *path)
{
    g_autofree char *first = g_strndup(path, strcspn(path, "/"));

    return path_is_virtual(first);
}

/* The content of the file at `path`, with a reference. -ENOENT: there is no such file. */
static int take_content(struct replica *replica, const char *path, struct reply *reply)
{
    const struct state *state = replica_read_lock(replica);
    int error;
    const struct entry *entry = tree_lookup(state->tree, path, &error);

    error = entry && !entry_is_directory(entry) ? 0 : -ENOENT;
    if (!error)
        *reply = (struct reply){.buffer = buffer_ref(entry->content), .size = entry->size};
    replica_read_unlock(replica);
    return error;
}

static struct reply get_config(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    const char *asked = rest_string(&reader);
    struct reply reply;

    if (!asked)
        return failure(-EINVAL);
    g_autofree char *path = path_clean(asked);
    if (!request->may_write && path_is_private(path))
        return failure(-EPERM);
    if (is_below_virtual(path))
        return failure(-ENOENT);
    int error = take_content(request->sources->replica, path, &reply);
    if (error)
        return failure(error);
    /* A size without content is a hole of zeros. */
    if (reply.size > 0 && !reply.buffer) {
        reply.buffer = buffer_new((uint32_t)reply.size);
        memset(reply.buffer->data, 0, reply.size);
    }
    return reply;
}

static bool has_line(const char *text, size_t size, const char *line)
{
    const char *end = text + size;
    size_t length = strlen(line);

    while (text < end) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        const char *line_end = newline ? newline : end;
        if ((size_t)(line_end - text) == length && memcmp(text, line, length) == 0)
            return true;
        text = newline ? newline + 1 : end;
    }
    return false;
}

static struct reply verify_token(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    const char *token = rest_string(&reader);
    struct reply tokens = {0};

    if (!token || *token == '\0' || strchr(token, '\n'))
        return failure(-EINVAL);
    if (take_content(request->sources->replica, TOKENS_PATH, &tokens) != 0)
        return failure(-ENOENT);
    bool found = tokens.buffer && has_line((const char *)tokens.buffer->data, tokens.size, token);
    buffer_unref(tokens.buffer);
    return failure(found ? 0 : -ENOENT);
}

/* Guest properties */

static struct reply properties_reply(const struct request_sources *sources, uint32_t id,
                                     const char *const *names)
{
    struct buffer *text = NULL;

    if (id > 0 && id < FIRST_GUEST_ID)
        return failure(-EINVAL);
    int error = properties_get(sources->properties, id, names, &text);
    return error ? failure(error) : whole_buffer(text);
}

static struct reply get_property(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    uint32_t id = reader_u32(&reader);
    const char *names[] = {rest_string(&reader), NULL};

    if (!names[0] || *names[0] == '\0')
        return failure(-EINVAL);
    return properties_reply(request->sources, id, names);
}

/* The next of several strings, each NUL-ended; NULL: the last one is not. */
static const char *next_string(struct reader *reader)
{
    const uint8_t *end = memchr(reader->data, 0, reader->left);

    return end ? reader_string(reader, (size_t)(end + 1 - reader->data)) : NULL;
}

static struct reply get_properties(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    uint32_t id = reader_u32(&reader);
    uint8_t count = reader_u8(&reader);
    const char *names[UINT8_MAX + 1] = {NULL};

    for (uint8_t i = 0; i < count; i++) {
        names[i] = next_string(&reader);
        if (!names[i] || !g_ascii_islower(*names[i]))
            return failure(-EINVAL);
    }
    if (count == 0 || reader.left > 0)
        return failure(-EINVAL);
    return properties_reply(request->sources, id, names);
}

/* The daemon itself */

static struct reply get_overview(const struct socket_request *request)
{
    return whole_buffer(overview_text(request->sources));
}

static json_t *lock_object(const struct request_sources *sources, const struct replica_lock *lock)
{
    json_t *object = json_object();
    g_autofree char *node = status_name_of(sources->status, lock->writer);
    bool own = g_strcmp0(node, status_node_name(sources->status)) == 0;

    json_text_set_string(object, "path", lock->path);
    json_text_set_string(object, "node", node);
    json_text_set(object, "age", json_real((double)lock->age / 1000.0));
    json_text_set(object, "expired", json_boolean(lock->expired));
    json_text_set(object, "holder",
                  own ? activity_lock_holder(sources->activity, lock->path) : json_null());
    return object;
}

static struct reply get_locks(const struct socket_request *request)
{
    g_autoptr(GPtrArray) locks = replica_locks(request->sources->replica);
    json_t *list = json_array();

    for (guint i = 0; i < locks->len; i++)
        json_array_append_new(list, lock_object(request->sources, locks->pdata[i]));
    return whole_buffer(json_text_buffer(list, JSON_COMPACT));
}

static struct reply verify(const struct socket_request *request)
{
    struct replica_status status;

    if (!request->sources->corosync)
        return failure(-EOPNOTSUPP);
    replica_get_status(request->sources->replica, &status);
    if (status.mode != MODE_SYNCED)
        return failure(-EAGAIN);
    if (!status.lowest)
        return failure(-EPERM);
    corosync_verify(request->sources->corosync);
    return failure(0);
}

static struct reply get_activity(const struct socket_request *request)
{
    return whole_buffer(activity_take(request->sources->activity));
}

static struct reply get_metrics(const struct socket_request *request)
{
    struct metrics_source *source = request->sources->metrics_source;

    return source ? whole_buffer(source->text(source)) : failure(-EOPNOTSUPP);
}

/* History */

/* Nothing waits for the disk here: who asks sees by the numbers when all is written. */
static struct reply get_history(const struct socket_request *request)
{
    if (!request->sources->recorder)
        return failure(-EOPNOTSUPP);
    recorder_ask(request->sources->recorder);
    return whole_buffer(overview_history_text(request->sources->recorder));
}

static struct reply begin_trial(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    uint32_t seconds = reader_u32(&reader);
    uint32_t group = reader_u32(&reader);
    const char *command = rest_string(&reader);
    uint32_t id;

    if (!request->sources->trials)
        return failure(-EOPNOTSUPP);
    if (!command || seconds < 1 || seconds > TRIAL_SECONDS_MAX || group > INT32_MAX)
        return failure(-EINVAL);
    int error = trials_begin(request->sources->trials, seconds, (pid_t)group, command, &id);
    if (error)
        return failure(error);
    json_t *object = json_object();
    json_text_set_number(object, "id", id);
    return whole_buffer(json_text_buffer(object, JSON_COMPACT));
}

static struct reply end_trial(const struct socket_request *request)
{
    struct reader reader = {.data = request->data, .left = request->size};
    struct trials *trials = request->sources->trials;
    uint32_t id = reader_u32(&reader);
    uint8_t what = reader_u8(&reader);

    if (what > TRIAL_ABORT)
        return failure(-EINVAL);
    return failure(trials ? trials_end(trials, id, (enum trial_end)what) : -ENOENT);
}

static struct reply get_trials(const struct socket_request *request)
{
    struct trials *trials = request->sources->trials;
    json_t *list = trials ? trials_list(trials) : json_array();

    return whole_buffer(json_text_buffer(list, JSON_COMPACT));
}

/* The requests by their numbers. Sizes are those of the data, without libqb's header. */
static const struct {
    request_handler handler;
    size_t least;
    size_t most;
    bool writes; /* read-only clients may not ask */
    const char *name;
} requests[] = {
    [1] = {get_version, 0, 0, false, "version"},
    [2] = {get_members, 0, 0, false, "members"},
    [3] = {get_guests, 0, 0, false, "guests"},
    [4] = {set_status, NAME_FIELD, ANY_SIZE, true, "set_status"},
    [5] = {get_status, 2 * NAME_FIELD, 2 * NAME_FIELD, false, "get_status"},
    [6] = {get_config, 1, ANY_SIZE, false, "config"},
    [7] = {add_log, 6, ANY_SIZE, true, "log"},
    [8] = {get_log, 17, ANY_SIZE, false, "cluster_log"},
    [10] = {get_rrd, 0, 0, false, "rrd"},
    [11] = {get_property, 5, PROPERTIES_SIZE_MAX, false, "property"},
    [12] = {verify_token, 1, ANY_SIZE, false, "verify_token"},
    [13] = {get_properties, 6, PROPERTIES_SIZE_MAX, false, "properties"},
    [101] = {get_overview, 0, 0, false, "overview"},
    [102] = {get_locks, 0, 0, true, "locks"},
    [103] = {verify, 0, 0, true, "verify"},
    [104] = {get_activity, 0, 0, true, "activity"},
    [105] = {get_metrics, 0, 0, false, "metrics"},
    [110] = {get_history, 0, 0, true, "history"},
    [111] = {begin_trial, 9, 8 + TRIAL_COMMAND_MAX + 1, true, "try"},
    [112] = {end_trial, 5, 5, true, "end_try"},
    [REQUEST_ID_MAX] = {get_trials, 0, 0, true, "trials"},
};

const char *request_name(int32_t id)
{
    if (id == REQUEST_SUBSCRIBE)
        return "subscribe";
    return id >= 0 && id <= REQUEST_ID_MAX ? requests[id].name : NULL;
}

struct reply request_answer(const struct socket_request *request)
{
    int32_t id = request->id;

    if (id < 0 || id >= (int32_t)G_N_ELEMENTS(requests) || !requests[id].handler)
        return failure(-ECHRNG);
    if (requests[id].writes && !request->may_write)
        return failure(-EPERM);
    if (request->size < requests[id].least || request->size > requests[id].most)
        return failure(-EINVAL);
    return requests[id].handler(request);
}
