/* SPDX-License-Identifier: GPL-3.0-or-later */
/* How a trial's changes are brought back: ordinary changes of this node's, one after the other. */
#include "daemon/reverter.h"

#include <errno.h>
#include <pthread.h>

#include "base/lock.h"
#include "base/thread.h"
#include "base/util.h"
#include "core/limits.h"
#include "mount/mount.h"
#include "replica/replica.h"

/* A change that somebody waits for here. Whoever answers may do so long after a caller would have
 * given up: then with an error, by the daemon's answer timeout. */
struct waiting_change {
    struct caller caller;
    struct lock lock;
    pthread_cond_t answered;
    bool done;
    int result;
};

static void answer(struct caller *caller, int result)
{
    struct waiting_change *waiting = container_of(caller, struct waiting_change, caller);

    LOCKED(&waiting->lock);
    waiting->result = result;
    waiting->done = true;
    pthread_cond_signal(&waiting->answered);
}

static int make_change(struct reverter *reverter, const struct change *change)
{
    struct tree_reverter *tree = container_of(reverter, struct tree_reverter, reverter);
    struct waiting_change waiting = {.caller.answer = answer};

    lock_init(&waiting.lock, LOCK_RANK_REVERTER);
    thread_condition_init(&waiting.answered);
    replica_change(tree->replica, change, &waiting.caller);
    lock_take(&waiting.lock);
    while (!waiting.done)
        lock_wait(&waiting.lock, &waiting.answered);
    lock_give(&waiting.lock);
    pthread_cond_destroy(&waiting.answered);
    lock_destroy(&waiting.lock);
    return waiting.result;
}

static int look(struct reverter *reverter, const char *path, bool *directory, GBytes **content)
{
    struct tree_reverter *tree = container_of(reverter, struct tree_reverter, reverter);
    const struct state *state = replica_read_lock(tree->replica);
    int error = 0;
    struct entry *entry = tree_lookup(state->tree, path, &error);

    *content = NULL;
    if (entry)
        entry_ref(entry);
    replica_read_unlock(tree->replica);
    if (!entry)
        return -ENOENT;
    *directory = entry_is_directory(entry);
    if (!*directory && entry->content)
        *content = g_bytes_new(entry->content->data, entry->size);
    else if (!*directory)
        *content = g_bytes_new(NULL, 0);
    entry_unref(entry);
    return 0;
}

static int write_file(struct reverter *reverter, const char *path, GBytes *content, bool exists)
{
    struct change create = {.operation = CHANGE_CREATE, .path = path};
    gsize size;
    const uint8_t *data = g_bytes_get_data(content, &size);
    struct change change = {.operation = CHANGE_WRITE, .path = path, .truncate = true};
    int error = exists ? 0 : make_change(reverter, &create);

    do {
        change.data = data + change.offset;
        change.size = MIN((uint32_t)size - change.offset, CHANGE_DATA_MAX);
        error = error ? error : make_change(reverter, &change);
        change.offset += change.size;
        change.truncate = false;
    } while (change.offset < size && !error);
    return error;
}

static int make_directory(struct reverter *reverter, const char *path)
{
    const struct change change = {.operation = CHANGE_MKDIR, .path = path};

    return make_change(reverter, &change);
}

static int remove_entry(struct reverter *reverter, const char *path)
{
    const struct change change = {.operation = CHANGE_DELETE, .path = path};

    return make_change(reverter, &change);
}

static bool shown(struct reverter *reverter)
{
    return mount_has_told(container_of(reverter, struct tree_reverter, reverter)->mount);
}

void reverter_init(struct tree_reverter *reverter, struct replica *replica, struct mount *mount)
{
    *reverter = (struct tree_reverter){
        .reverter = {.look = look,
                     .write = write_file,
                     .make_directory = make_directory,
                     .remove = remove_entry,
                     .shown = shown},
        .replica = replica,
        .mount = mount,
    };
}
