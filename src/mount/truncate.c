/* SPDX-License-Identifier: GPL-3.0-or-later */
/* O_TRUNC waits for the write that follows: until then all but its opener see the old content, then
 * they see the new one. */
#include <errno.h>
#include <unistd.h>

#include "base/log.h"
#include "mount/internal.h"

/* A truncation that no write follows is sent after this time, or when somebody looks at the file
 * after its opener has closed it. */
#define WAIT_MILLISECONDS 100u

/* How long a look-up waits for an opener to be seen, which may have to wait for a processor. */
#define OPENER_MILLISECONDS 50u
#define OPENER_PAUSE_MICROSECONDS 100u

int truncate_begin(struct mount *mount, struct node *node, pid_t opener, const char *path,
                   struct stat *attributes)
{
    struct node_table *table = &mount->nodes;
    struct entry *entry = node_entry(mount, node, NULL);
    struct entry *empty = entry ? entry_new(entry->inode, entry->parent, entry->type, entry->name,
                                            entry->name_length, NULL, 0)
                                : NULL;

    if (empty) {
        empty->mtime = entry->mtime;
        attributes_of_entry(mount, empty, path, attributes);
    }
    entry_unref(entry);
    pthread_mutex_lock(&table->lock);
    bool possible = empty && !node->gone;
    if (possible) {
        entry_unref(node->kept);
        node->kept = g_steal_pointer(&empty);
        node->rewriter = opener;
        node_set_truncation(mount, node, TRUNCATION_WAITS);
        node_set_deadline(mount, node, watch_now() + WAIT_MILLISECONDS);
    }
    pthread_mutex_unlock(&table->lock);
    entry_unref(empty);
    return possible ? 0 : -ENOENT;
}

/* True if somebody may be on the way to the node who must not be led elsewhere. Then its name must
 * lead nobody else there any more. */
static bool must_lose_name(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool visited = node->visited;
    if (visited)
        node->named = false;
    pthread_mutex_unlock(&mount->nodes.lock);
    return visited;
}

void truncate_at_open(fuse_req_t req, struct node *node)
{
    struct mount *mount = fuse_req_userdata(req);
    char *path = NULL;

    entry_unref(node_entry(mount, node, &path));
    struct request *request = request_new(req, REQUEST_OPEN, path);
    int error = path ? replica_refusal(mount->options.replica, path) : -ENOENT;
    request->node = node;
    if (!error && must_lose_name(mount, node))
        invalidate_name_and_finish(request, 0);
    else
        request_finish(request, error);
}

/* True if the thread, which waits for us, is about to open the file or looks at its name, rather
 * than at what it has open. */
static bool comes_by_name(pid_t thread)
{
    uint64_t due = watch_now() + OPENER_MILLISECONDS;
    enum thread_call call;

    while ((call = thread_call(thread)) == THREAD_RUNS && watch_now() < due)
        usleep(OPENER_PAUSE_MICROSECONDS);
    return call == THREAD_OPENS || call == THREAD_LOOKS;
}

enum truncate_view truncate_view(struct mount *mount, struct node *node, pid_t asker)
{
    struct node_table *table = &mount->nodes;
    enum truncate_view view = VIEW_LASTS;

    pthread_mutex_lock(&table->lock);
    /* A rewriter who asks is out of its write: the kernel has all of it. */
    if (node->truncation == TRUNCATION_MADE && asker == node->rewriter)
        node_set_truncation(mount, node, TRUNCATION_NONE);
    if (node->truncation != TRUNCATION_NONE)
        view = asker == node->rewriter || node->visited ? VIEW_PASSES : VIEW_ELSEWHERE;
    pthread_mutex_unlock(&table->lock);
    if (view != VIEW_ELSEWHERE)
        return view;
    if (!comes_by_name(asker))
        return VIEW_PASSES;
    node_note_looking_again(mount, asker);
    return VIEW_ELSEWHERE;
}

bool truncate_take(struct mount *mount, struct node *node, pid_t writer)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool waits = node->truncation == TRUNCATION_WAITS;
    if (waits) {
        node->rewriter = writer;
        node_set_truncation(mount, node, TRUNCATION_SENT);
    }
    pthread_mutex_unlock(&mount->nodes.lock);
    return waits;
}

/* The same for one that nobody wrote to: look-ups wait from now on. */
static bool take_unwritten(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool waits = node->truncation == TRUNCATION_WAITS;
    if (waits) {
        node_set_truncation(mount, node, TRUNCATION_SENT);
        node->truncates++;
        atomic_fetch_add(&mount->truncations, 1);
    }
    pthread_mutex_unlock(&mount->nodes.lock);
    return waits;
}

void truncate_done(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool last = --node->truncates == 0;
    atomic_fetch_sub(&mount->truncations, 1);
    pthread_mutex_unlock(&mount->nodes.lock);
    if (last)
        answer_lookups_of(mount, node);
}

void truncate_cancel(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool cancelled = !node->gone &&
                     (node->truncation == TRUNCATION_WAITS || node->truncation == TRUNCATION_SENT);
    if (cancelled) {
        node_set_truncation(mount, node, TRUNCATION_NONE);
        node_clear_deadline(mount, node);
        entry_unref(node->kept);
        node->kept = NULL;
    }
    pthread_mutex_unlock(&mount->nodes.lock);
    if (cancelled)
        invalidate_node(mount, node);
}

static void send_truncation(struct request *request)
{
    struct change change = {.operation = CHANGE_WRITE, .truncate = true};

    request->truncates = true;
    request->caller.origin = request->node;
    request_submit(request, &change);
}

bool truncate_may_be_opening(pid_t thread)
{
    enum thread_call call = thread_call(thread);

    return call == THREAD_OPENS || call == THREAD_RUNS;
}

/* True if the opener of a truncated file has closed it, as far as `asker`, another thread or the
 * same, can tell. One that runs, or waits for a processor, will soon be seen elsewhere. */
static bool has_closed(pid_t opener, pid_t asker, const char *name, uint64_t inode)
{
    uint64_t due = watch_now() + OPENER_MILLISECONDS;

    for (;;) {
        if (thread_has_descriptor(opener, name, inode))
            return false;
        enum thread_call call = asker == opener ? THREAD_ELSEWHERE : thread_call(opener);
        if (call == THREAD_OPENS || (call == THREAD_RUNS && watch_now() >= due))
            return false;
        if (call != THREAD_RUNS)
            return !thread_has_descriptor(opener, name, inode);
        usleep(OPENER_PAUSE_MICROSECONDS);
    }
}

/* Nobody has written to it, or will. */
static void send_unwritten(struct mount *mount, struct node *node)
{
    char *path = NULL;

    if (!take_unwritten(mount, node))
        return;
    entry_unref(node_entry(mount, node, &path));
    struct request *request = request_new(NULL, REQUEST_TRUNCATE, path);
    request->mount = mount;
    request->node = node;
    node_pin(mount, node);
    send_truncation(request);
}

bool truncate_before_lookup(fuse_req_t req, fuse_ino_t parent, const char *name, uint64_t inode)
{
    struct mount *mount = fuse_req_userdata(req);
    pid_t opener;
    struct node *waiting = node_pin_waiting(mount, inode, &opener);

    if (waiting && has_closed(opener, fuse_req_ctx(req)->pid, name, inode))
        send_unwritten(mount, waiting);
    if (waiting)
        node_unpin(mount, waiting);
    pthread_mutex_lock(&mount->nodes.lock);
    struct node *node = node_truncating(mount, inode);
    if (node) {
        node->pins++;
        watch_lookup(mount, node, req, parent, name);
    }
    pthread_mutex_unlock(&mount->nodes.lock);
    return node != NULL;
}

void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *file)
{
    struct mount *mount = fuse_req_userdata(req);
    struct node *node = node_of(mount, ino);
    char *path = NULL;

    (void)data_only;
    (void)file;
    if (node->virtual_name != VIRTUAL_NONE || node->is_root ||
        !truncate_take(mount, node, fuse_req_ctx(req)->pid)) {
        fuse_reply_err(req, 0); /* what was written was stored before write() came back */
        return;
    }
    entry_unref(node_entry(mount, node, &path));
    struct request *request = request_new(req, REQUEST_OTHER, path);
    request->node = node;
    send_truncation(request);
}

/* What is to be done with a node whose time has come. With the table's lock held: true if it is a
 * truncation to be sent. */
static bool meet(struct node *node, bool *thawed)
{
    node->deadline = 0;
    if (node->truncation == TRUNCATION_WAITS)
        return true;
    *thawed = node->truncation == TRUNCATION_NONE && !node->gone && node->kept;
    if (*thawed) {
        entry_unref(node->kept);
        node->kept = NULL;
    }
    return false;
}

/* Takes those out of the list whose time has come, or that wait for nothing any more. */
static GPtrArray *take_due(struct mount *mount, uint64_t now)
{
    GPtrArray *due = g_ptr_array_new();

    pthread_mutex_lock(&mount->nodes.lock);
    pthread_mutex_lock(&mount->watch_lock);
    for (guint i = mount->deadlines->len; i-- > 0;) {
        struct node *node = mount->deadlines->pdata[i];
        if (node->deadline > now)
            continue;
        node->listed = false;
        g_ptr_array_add(due, g_ptr_array_remove_index_fast(mount->deadlines, i));
    }
    pthread_mutex_unlock(&mount->watch_lock);
    pthread_mutex_unlock(&mount->nodes.lock);
    return due;
}

void deadlines_meet(struct mount *mount, uint64_t now)
{
    g_autoptr(GPtrArray) due = take_due(mount, now);

    for (guint i = 0; i < due->len; i++) {
        struct node *node = due->pdata[i];
        bool thawed = false;
        pthread_mutex_lock(&mount->nodes.lock);
        bool late = meet(node, &thawed);
        pthread_mutex_unlock(&mount->nodes.lock);
        if (late)
            send_unwritten(mount, node);
        else if (thawed)
            invalidate_node(mount, node);
        node_unpin(mount, node);
    }
}
