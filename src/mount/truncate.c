/* SPDX-License-Identifier: GPL-3.0-or-later */
/* O_TRUNC waits for the write that follows: until then all but its opener see the old content, then
 * they see the new one. */
#include <dirent.h>
#include <errno.h>
#include <limits.h>
#include <stdio.h>
#include <string.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/log.h"
#include "mount/internal.h"

/* A truncation that no write follows is sent after this time, or when somebody looks at the file
 * after its opener has closed it. */
#define WAIT_MILLISECONDS 100u

/* How long a look-up waits for an opener to be seen, which may have to wait for a processor. */
#define OPENER_MILLISECONDS 50u
#define OPENER_PAUSE_MICROSECONDS 100u

/* The opener's node gets a life of its own: its kernel pages are empty, and its entry's name leads
 * to another node from now on. False: it cannot (it is gone). */
static bool detach(struct mount *mount, struct node *node, struct entry *empty, pid_t opener)
{
    struct node_table *table = &mount->nodes;

    pthread_mutex_lock(&table->lock);
    bool possible = !node->gone;
    if (possible) {
        entry_unref(node->kept);
        node->kept = entry_ref(empty);
        node->named = false;
        node->opener = opener;
        node_set_truncation(mount, node, TRUNCATION_WAITS);
        node_set_deadline(mount, node, watch_now() + WAIT_MILLISECONDS);
    }
    pthread_mutex_unlock(&table->lock);
    return possible;
}

void truncate_at_open(fuse_req_t req, struct node *node)
{
    struct mount *mount = fuse_req_userdata(req);
    char *path = NULL;
    struct entry *entry = node_entry(mount, node, &path);
    struct request *request = request_new(req, REQUEST_SETATTR, path);
    int error = path ? replica_refusal(mount->options.replica, path) : -ENOENT;
    struct entry *empty = NULL;

    request->node = node;
    if (!error && entry) {
        empty = entry_new(entry->inode, entry->parent, entry->type, entry->name, entry->name_length,
                          NULL, 0);
        empty->mtime = entry->mtime;
        if (!detach(mount, node, empty, request->thread))
            error = -ENOENT;
    }
    if (error || !entry)
        request_finish(request, error ? error : -ENOENT);
    else
        invalidate_name_and_finish(request, 0, false);
    entry_unref(empty);
    entry_unref(entry);
}

bool truncate_take(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool waits = node->truncation == TRUNCATION_WAITS;
    if (waits)
        node_set_truncation(mount, node, TRUNCATION_SENT);
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
    struct late_lookup *lookup = last ? g_steal_pointer(&node->late) : NULL;
    atomic_fetch_sub(&mount->truncations, 1);
    pthread_mutex_unlock(&mount->nodes.lock);
    while (lookup) {
        struct late_lookup *next = lookup->next;
        look_up(lookup->req, lookup->parent, lookup->name);
        g_free(lookup->name);
        g_free(lookup);
        lookup = next;
    }
}

void truncate_cancel(struct mount *mount, struct node *node)
{
    pthread_mutex_lock(&mount->nodes.lock);
    bool cancelled = node->truncation != TRUNCATION_NONE && !node->gone;
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

    request->caller.origin = request->node;
    request_submit(request, &change);
}

/* True if what a descriptor leads to, `size` bytes of `target`, is a file called `name`. Its name
 * was dropped from the kernel's cache, which the kernel shows as a deletion. */
static bool leads_to(const char *target, size_t size, const char *name)
{
    static const char deleted[] = " (deleted)";
    const size_t suffix = sizeof(deleted) - 1;
    size_t length = strlen(name);

    if (size > suffix && memcmp(target + size - suffix, deleted, suffix) == 0)
        size -= suffix;
    return size > length && target[size - length - 1] == '/' &&
           memcmp(target + size - length, name, length) == 0;
}

/* True if a thread's descriptor leads to that inode number, or nobody can tell. */
static bool leads_to_inode(pid_t thread, const char *descriptor, uint64_t inode)
{
    char path[PATH_MAX];
    char line[256];
    unsigned long long number = inode;

    snprintf(path, sizeof(path), "/proc/%d/fdinfo/%s", (int)thread, descriptor);
    FILE *file = fopen(path, "re");
    if (!file)
        return false;
    while (fgets(line, sizeof(line), file) && sscanf(line, "ino: %llu", &number) != 1) {
    }
    fclose(file);
    return number == inode;
}

/* True if a file descriptor of the thread leads to that entry. Its name alone is not enough: files
 * in other directories have the same one. */
static bool has_descriptor(pid_t thread, const char *name, uint64_t inode)
{
    char path[64];
    char target[PATH_MAX];
    struct dirent *entry;
    bool found = false;

    snprintf(path, sizeof(path), "/proc/%d/fd", (int)thread);
    DIR *descriptors = opendir(path);
    while (descriptors && !found && (entry = readdir(descriptors))) {
        ssize_t size = readlinkat(dirfd(descriptors), entry->d_name, target, sizeof(target));
        found = size > 0 && leads_to(target, (size_t)size, name) &&
                leads_to_inode(thread, entry->d_name, inode);
    }
    if (descriptors)
        closedir(descriptors);
    return found;
}

/* Inside of open(), so that the descriptor may not be there yet. */
enum opening { OPENING_NO, OPENING_YES, OPENING_UNKNOWN /* it runs and cannot be looked at */ };

static enum opening opening_of(pid_t thread)
{
    static const long numbers[] = {
#ifdef SYS_open
        SYS_open,
        SYS_creat,
#endif
        SYS_openat,
        SYS_openat2,
    };
    char path[64];
    char text[32];
    long number;

    snprintf(path, sizeof(path), "/proc/%d/syscall", (int)thread);
    FILE *file = fopen(path, "re");
    if (!file)
        return OPENING_NO; /* it has ended */
    bool known = fgets(text, sizeof(text), file) && sscanf(text, "%ld", &number) == 1;
    fclose(file);
    for (size_t i = 0; known && i < G_N_ELEMENTS(numbers); i++) {
        if (number == numbers[i])
            return OPENING_YES;
    }
    return known ? OPENING_NO : OPENING_UNKNOWN;
}

bool truncate_may_be_opening(pid_t thread)
{
    return opening_of(thread) != OPENING_NO;
}

/* True if the opener of a truncated file has closed it, as far as `asker`, another thread or the
 * same, can tell. One that runs, or waits for a processor, will soon be seen elsewhere. */
static bool has_closed(pid_t opener, pid_t asker, const char *name, uint64_t inode)
{
    uint64_t due = watch_now() + OPENER_MILLISECONDS;

    for (;;) {
        if (has_descriptor(opener, name, inode))
            return false;
        enum opening opening = asker == opener ? OPENING_NO : opening_of(opener);
        if (opening == OPENING_NO)
            return !has_descriptor(opener, name, inode);
        if (opening == OPENING_YES || watch_now() >= due)
            return false;
        usleep(OPENER_PAUSE_MICROSECONDS);
    }
}

static bool wait_for_truncation(fuse_req_t req, fuse_ino_t parent, const char *name, uint64_t inode)
{
    struct mount *mount = fuse_req_userdata(req);

    pthread_mutex_lock(&mount->nodes.lock);
    struct node *node = node_truncating(mount, inode);
    if (node) {
        struct late_lookup *lookup = g_new(struct late_lookup, 1);
        *lookup = (struct late_lookup){node->late, req, parent, g_strdup(name)};
        node->late = lookup;
    }
    pthread_mutex_unlock(&mount->nodes.lock);
    return node != NULL;
}

bool truncate_before_lookup(fuse_req_t req, fuse_ino_t parent, const char *name, uint64_t inode)
{
    struct mount *mount = fuse_req_userdata(req);
    pid_t opener;
    struct node *node = node_pin_waiting(mount, inode, &opener);
    char *path = NULL;

    if (!node)
        return wait_for_truncation(req, parent, name, inode);
    if (!has_closed(opener, fuse_req_ctx(req)->pid, name, inode)) {
        node_unpin(mount, node);
        return false;
    }
    if (!take_unwritten(mount, node)) {
        node_unpin(mount, node);
        return wait_for_truncation(req, parent, name, inode);
    }
    entry_unref(node_entry(mount, node, &path));
    struct request *request = request_new(req, REQUEST_LOOKUP, path);
    request->node = node;
    request->parent = parent;
    request->name = g_strdup(name);
    send_truncation(request);
    return true;
}

/* Nobody looked and nothing was written. */
static void send_late(struct mount *mount, struct node *node)
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

void op_fsync(fuse_req_t req, fuse_ino_t ino, int data_only, struct fuse_file_info *file)
{
    struct mount *mount = fuse_req_userdata(req);
    struct node *node = node_of(mount, ino);
    char *path = NULL;

    (void)data_only;
    (void)file;
    if (node->virtual_name != VIRTUAL_NONE || node->is_root || !truncate_take(mount, node)) {
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
            send_late(mount, node);
        else if (thawed)
            invalidate_node(mount, node);
        node_unpin(mount, node);
    }
}
