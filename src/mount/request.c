/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A request that waits for its change, and how it is answered. */
#include "mount/request.h"

#include <errno.h>
#include <fcntl.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "base/util.h"
#include "history/askers.h"
#include "status/activity.h"

/* A truncation that no write follows is sent after this time, so that nobody waits for an emptied
 * file to be seen elsewhere; the timer gives a writer that has no processor more. */
#define TRUNCATE_MILLISECONDS 100u

/* How often a file is made again that others take away in the same moment, or a change sent again
 * of one that is being renamed. */
#define TRIES 100u

static const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');

    return slash ? slash + 1 : path;
}

void truncation_begin(struct mount *mount, struct node *node, pid_t opener)
{
    uint64_t now = timer_now();

    const struct state *state = replica_read_lock(mount->options.replica);
    node_begin_shortening(&mount->nodes, node, state->tree, opener, 0);
    replica_read_unlock(mount->options.replica);
    const struct emptying emptying = {
        .opener = opener, .now = now, .due = now + TRUNCATE_MILLISECONDS, .time = clock_seconds()};
    if (!node_truncate(&mount->nodes, node, &emptying))
        return;
    truncations_add(&mount->truncations, node);
    timer_wake(&mount->timer);
}

/* --- Answers --- */

/* Looks up what the request made, or found. -ENOENT, or -EEXIST: it is of another kind. */
static int find_made(struct request *request, struct fuse_entry_param *param)
{
    struct mount *mount = request->mount;
    int error = 0;

    const struct state *state = replica_read_lock(mount->options.replica);
    const struct entry *entry = tree_lookup(state->tree, request->path, &error);
    if (!entry)
        error = -ENOENT;
    else if (entry_is_directory(entry) != (request->kind == REQUEST_MKDIR))
        error = -EEXIST;
    else
        fill_entry(mount, state, entry, request->path, param);
    replica_read_unlock(mount->options.replica);
    return error;
}

/* The answer to an open that made the file, or found another's: that one is emptied if it is to be,
 * and its attributes are not kept, as the kernel takes them whatever it was told meanwhile. */
static int reply_create(struct request *request, struct fuse_entry_param *param, bool found)
{
    struct mount *mount = request->mount;
    struct fuse_file_info file = {.flags = request->open_flags, .keep_cache = 1};

    if (found)
        param->attr_timeout = 0;
    if (found && (request->open_flags & O_TRUNC)) {
        truncation_begin(mount, node_of_id(mount, param->ino), request->timed.thread);
        param->attr.st_size = param->attr.st_blocks = 0;
    }
    return fuse_reply_create(request->req, param, &file);
}

static int reply_made(struct request *request)
{
    struct mount *mount = request->mount;
    struct fuse_entry_param param;

    int error = find_made(request, &param);
    if (error)
        return error;
    if (fuse_reply_entry(request->req, &param) != 0)
        node_forget(&mount->nodes, node_of_id(mount, param.ino), 1);
    return 0;
}

static void reply_attributes(struct request *request)
{
    struct stat attributes;

    attributes_of_node(request->mount, request->node, &attributes);
    /* The kernel takes these whatever it was told meanwhile of another's change, unlike those of a
     * look-up: so it must not keep them. */
    fuse_reply_attr(request->req, &attributes, 0);
}

/* 0, or the error that has to be answered after all. */
static int reply_success(struct request *request)
{
    switch (request->kind) {
    case REQUEST_MKNOD:
    case REQUEST_MKDIR:
        return reply_made(request);
    case REQUEST_SETATTR:
        reply_attributes(request);
        break;
    case REQUEST_WRITE:
        fuse_reply_write(request->req, request->write.size);
        break;
    case REQUEST_REMOVE:
    case REQUEST_RENAME:
    case REQUEST_FSYNC:
        fuse_reply_err(request->req, 0);
        break;
    case REQUEST_CREATE: /* answered by answer_open() */
    case REQUEST_TRUNCATE:
        break;
    }
    return 0;
}

static void request_free(struct request *request)
{
    if (request->kind == REQUEST_TRUNCATE && request->node)
        node_unpin(&request->mount->nodes, request->node);
    g_free(request->path);
    g_free(request->to);
    g_free(request->data);
    g_free(request->padded);
    g_free(request);
}

static void answer_now(struct request *request, int result)
{
    if (!result)
        result = reply_success(request);
    if (result && request->req)
        fuse_reply_err(request->req, -result);
    operation_answered(request->mount->options.metrics, &request->operation, result);
}

/* --- What the kernel cannot know by itself --- */

static void drop_names(const struct request *request)
{
    struct names *names = &request->mount->notifier.names;

    if (request->directories[0] && request->path)
        names_drop(names, request->directories[0], name_of(request->path), NULL);
    if (request->directories[1] && request->to)
        names_drop(names, request->directories[1], name_of(request->to), NULL);
}

/* The kernel does by itself what it asked for; but not if the answer is an error while the change
 * may have been made, and not, rightly, what others changed at the same time. Queued before the
 * answer, while the kernel still holds what the request is about. */
static void tell_kernel(struct request *request, int result)
{
    struct mount *mount = request->mount;
    bool doubtful = result == -EINTR || result == -EBUSY || result == -EIO;
    bool spoils = doubtful || request->stale || (result && request->changes_content);
    bool may_spoil = spoils || request->skips;

    if (request->kind == REQUEST_TRUNCATE)
        may_spoil |= node_end_truncation(&mount->nodes, request->node);
    else if (request->changes_content)
        may_spoil |= node_end_change(&mount->nodes, request->node, request->truncates, timer_now());
    if (request->node && spoils)
        atomic_store(&request->node->spoiled, true);
    if (request->node && may_spoil)
        notifier_drop_node(&mount->notifier, request->node);
    if (doubtful || request->names_changed != atomic_load(&mount->names_changed))
        drop_names(request);
}

static void note_failed_truncation(const struct request *request, int result)
{
    if (request->kind == REQUEST_TRUNCATE && request->path && result)
        log_warning("%s: the truncation failed: %s; the old content stays", request->path,
                    g_strerror(-result));
}

/* For who asks whose a lock is: a lock is made, or renewed by its times. Looked up when it is asked
 * for, not on the writer's way; the thread may end long before its process, which has the lock. */
static pid_t find_holder(const struct request *request)
{
    bool takes = request->kind == REQUEST_MKDIR || request->kind == REQUEST_SETATTR;

    if (!takes || request->timed.thread == 0 || !path_is_lock(request->path))
        return 0;
    return askers_process(request->timed.thread);
}

static void note_lock(const struct request *request, int result)
{
    if (!result && request->holder > 0 && request->path)
        activity_note_lock(request->mount->options.activity, request->path, request->holder);
}

static void finish(struct request *request, int result)
{
    /* The page stays with those who have the map. An error would be that of the file system, and
     * so of anybody's syncfs(). */
    if (request->of_map && result == -ENOENT)
        result = 0;
    tell_kernel(request, result);
    note_lock(request, result);
    note_failed_truncation(request, result);
    answer_now(request, result);
    request_free(request);
}

static void finish_notified(struct notified *notified)
{
    finish(container_of(notified, struct request, notified), 0);
}

/* --- The life of a request --- */

static void forget_caller(struct request *request)
{
    /* After this call nobody notes a signal for the request. */
    if (request->req)
        fuse_req_interrupt_func(request->req, NULL, NULL);
    timer_forget(&request->mount->timer, &request->timed);
}

static void answer(struct caller *caller, int result);

/* What may be opened may not be emptied: without quorum nothing is changed. */
static int refusal_of_open(const struct request *request, bool found)
{
    bool empties = found && (request->open_flags & O_TRUNC);

    return empties ? replica_refusal(request->mount->options.replica, request->path) : 0;
}

/* Answers an open that makes a file with what is there now. Without O_EXCL it succeeds whoever made
 * it. False: nothing is there. */
static bool answer_open(struct request *request, bool found)
{
    struct mount *mount = request->mount;
    struct fuse_entry_param param;

    int error = refusal_of_open(request, found);
    if (!error)
        error = find_made(request, &param);
    if (error == -ENOENT)
        return false;
    if (error == -EEXIST)
        error = -EISDIR;
    tell_kernel(request, 0);
    if (error)
        fuse_reply_err(request->req, -error);
    else if (reply_create(request, &param, found) != 0)
        node_forget(&mount->nodes, node_of_id(mount, param.ino), 1);
    operation_answered(mount->options.metrics, &request->operation, error);
    request_free(request);
    return true;
}

/* False: it has been sent too often. */
static bool send_again(struct request *request, struct change *change)
{
    if (++request->tries > TRIES)
        return false;
    request->caller = (struct caller){
        .answer = answer, .origin = request->caller.origin, .asker = request->caller.asker};
    request_submit(request, change);
    return true;
}

/* An open that makes a file: true, and it has been answered, or is asked for again since what was
 * there a moment ago has gone. */
static bool answer_create(struct request *request, int result)
{
    struct change change = {.operation = CHANGE_CREATE};
    bool found = result == -EEXIST && !(request->open_flags & O_EXCL);

    if (result && !found)
        return false;
    if (answer_open(request, found))
        return true;
    return send_again(request, &change);
}

/* A change goes by the path that a file had when it was asked for: true if that one has been
 * renamed since, and the change is sent after it. */
static bool follow_rename(struct request *request, int result)
{
    struct change change = request->change;

    if (result != -ENOENT || !request->node || !change.path)
        return false;
    char *path = path_of_node(request->mount, request->node);
    if (!path) /* it is gone */
        return false;
    g_free(request->path);
    request->path = path;
    return send_again(request, &change);
}

/* Under the path that was written to this node's kernel may have the old file for a moment, without
 * what was written: so that is not answered as done. */
static bool is_overtaken(const struct request *request)
{
    return request->changes_content && node_is_overtaken(&request->mount->nodes, request->node);
}

static void answer(struct caller *caller, int result)
{
    struct request *request = container_of(caller, struct request, caller);

    forget_caller(request);
    if (!result && is_overtaken(request))
        result = -EBUSY;
    if (request->kind == REQUEST_CREATE && answer_create(request, result))
        return;
    if (follow_rename(request, result))
        return;
    /* A utimens() has deleted an expired lock, which the kernel does not take for a deletion:
     * whoever makes it anew must find it gone. */
    if (!result && request->kind == REQUEST_SETATTR &&
        node_is_gone(&request->mount->nodes, request->node)) {
        request->notified.call = finish_notified;
        notifier_call(&request->mount->notifier, &request->notified);
    } else {
        finish(request, result);
    }
}

/* libfuse calls this with a lock of the request's held, in a worker. */
static void note_interrupt(fuse_req_t req, void *context)
{
    struct request *request = context;

    (void)req;
    timer_watch_caller(&request->mount->timer, &request->timed);
}

static void watch_caller(struct request *request)
{
    if (request->req)
        fuse_req_interrupt_func(request->req, note_interrupt, request);
}

static bool take_dying(struct timed *timed)
{
    struct request *request = container_of(timed, struct request, timed);

    return replica_cancel(request->mount->options.replica, &request->caller);
}

static void end_dying(struct timed *timed)
{
    struct request *request = container_of(timed, struct request, timed);

    forget_caller(request);
    finish(request, -EINTR);
}

static void send_truncation(struct truncations_owner *owner, struct node *node)
{
    request_send_truncation(container_of(owner, struct mount, truncations_owner), node);
}

void request_own_timer(struct mount *mount)
{
    mount->timer_owner = (struct timer_owner){.take = take_dying, .end = end_dying};
    mount->truncations_owner = (struct truncations_owner){.send = send_truncation};
}

static uint32_t find_asker(struct mount *mount, fuse_req_t req)
{
    const struct fuse_ctx *caller = req ? fuse_req_ctx(req) : NULL;

    return caller ? askers_note(mount->options.askers, caller->pid, caller->uid) : 0;
}

struct request *request_new(struct mount *mount, fuse_req_t req, enum request_kind kind, char *path)
{
    struct request *request = g_new(struct request, 1);

    *request = (struct request){
        .caller = {.answer = answer, .origin = mount, .asker = find_asker(mount, req)},
        .timed = {.thread = req ? fuse_req_ctx(req)->pid : 0},
        .mount = mount,
        .req = req,
        .kind = kind,
        .operation = req ? operation_hand_on() : (struct operation){0},
        .path = path,
        .names_changed = atomic_load(&mount->names_changed),
    };
    return request;
}

void request_submit(struct request *request, struct change *change)
{
    if (!request->path || (request->kind == REQUEST_RENAME && !request->to)) {
        finish(request, -ENOENT);
        return;
    }
    if (request->req)
        truncations_flush_caller(&request->mount->truncations, request->timed.thread);
    request->holder = find_holder(request);
    watch_caller(request);
    change->path = request->path;
    change->to = request->to;
    request->change = *change;
    replica_change(request->mount->options.replica, change, &request->caller);
}

void request_submit_unlock(struct request *request)
{
    watch_caller(request);
    replica_request_unlock(request->mount->options.replica, request->path, &request->caller);
}

void request_refuse(struct request *request, int error)
{
    finish(request, error);
}

bool request_answer_existing(struct request *request)
{
    return request->path && answer_open(request, true);
}

void request_send_truncation(struct mount *mount, struct node *node)
{
    struct change change = {
        .operation = CHANGE_WRITE, .truncate = true, .time = node_emptied_at(&mount->nodes, node)};
    char *path = path_of_node(mount, node);
    struct request *request = request_new(mount, NULL, REQUEST_TRUNCATE, path);

    node_pin(&mount->nodes, node);
    request->node = node;
    request->changes_content = true;
    request->truncates = true;
    request->caller.origin = node;
    if (!path)
        request_refuse(request, -ENOENT);
    else
        request_submit(request, &change);
}
