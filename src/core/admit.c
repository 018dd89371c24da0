/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Admission: what the node where a change is asked for refuses before anything is sent. */
#include "core/admit.h"

#include <errno.h>
#include <string.h>

#include "core/limits.h"

static int refuse(int error, const char **reason, const char *text)
{
    *reason = text;
    return error;
}

/* How far something reaches: as far as the longest path and the deepest level in it. */
struct reach {
    size_t length; /* bytes of a path */
    size_t levels; /* names in a path */
};

static bool is_too_far(const struct reach *reach)
{
    return reach->length > PATH_LENGTH_MAX || reach->levels > LEVELS_MAX;
}

static struct reach reach_of(const char *path)
{
    struct reach reach = {.levels = 1};

    for (; path[reach.length]; reach.length++)
        reach.levels += path[reach.length] == '/';
    return reach;
}

/* The path of something new: its form may be refused. */
static int admit_new_path(const char *path, bool directory, const char **reason)
{
    const struct reach reach = reach_of(path);
    size_t parent_length;
    struct guest_path guest;

    if (strlen(path_split(path, &parent_length)) > NAME_MAX_ADMITTED || is_too_far(&reach))
        return refuse(-ENAMETOOLONG, reason, NULL);
    if (directory && path_parse_guest(path, &guest))
        return refuse(-EACCES, reason, "a directory cannot have the name of a guest configuration");
    if (!directory && path_is_guest_directory(path))
        return refuse(-EACCES, reason,
                      "this must be a directory for guest configurations, not a file");
    return 0;
}

/* Room for one more entry. */
static int admit_entry(const struct state *state, const char *path,
                       const struct admit_reserve *under_way, struct admit_reserve *reserve,
                       const char **reason)
{
    int error;

    if (!*path || tree_lookup(state->tree, path, &error))
        return 0; /* application says EEXIST, which is clearer */
    if ((uint64_t)tree_entry_count(state->tree) + under_way->entries + 1 > INODES_MAX)
        return refuse(-ENOSPC, reason, "the limit of 262144 files and directories is reached");
    reserve->entries = 1;
    return 0;
}

static int admit_write(const struct state *state, const struct change *change,
                       const struct admit_reserve *under_way, struct admit_reserve *reserve,
                       const char **reason)
{
    int error;
    uint64_t end = (uint64_t)change->offset + change->size;

    if (end > FILE_SIZE_MAX)
        return refuse(-EFBIG, reason, "a file can have 1 MiB at most");
    const struct entry *entry = tree_lookup(state->tree, change->path, &error);
    if (!entry || end <= entry->size)
        return 0;
    if (state->tree->bytes + under_way->bytes + (end - entry->size) > CONTENT_MAX)
        return refuse(-ENOSPC, reason,
                      "the limit of 128 MiB for the contents of all files is reached");
    reserve->bytes = end - entry->size;
    return 0;
}

/* Whether what is below `directory`, which would reach as far as `above`, would reach too far.
 * Calls itself at most LEVELS_MAX times. */
static bool leads_too_far(const struct tree *tree, const struct entry *directory,
                          const struct reach *above)
{
    const struct entry *child;

    for (uint64_t after = 0; (child = tree_next_child(tree, directory->inode, after));
         after = child->inode) {
        const struct reach reach = {.length = above->length + 1 + child->name_length,
                                    .levels = above->levels + 1};
        if (is_too_far(&reach) || (entry_is_directory(child) && leads_too_far(tree, child, &reach)))
            return true;
    }
    return false;
}

static int admit_rename(const struct state *state, const struct change *change, const char **reason)
{
    int error;
    const struct entry *source = tree_lookup(state->tree, change->path, &error);
    const struct entry *target = tree_lookup(state->tree, change->to, &error);

    if (!source)
        return 0;
    if (target && entry_is_directory(target) && path_is_below_lock(change->to))
        return refuse(-EACCES, reason, NULL);
    /* Other implementations lose the target in memory, not in their database. */
    if (target && entry_is_directory(target) && tree_child_count(state->tree, source->inode) > 0)
        return refuse(-ENOTEMPTY, reason, NULL);
    const struct reach from = reach_of(change->path);
    const struct reach to = reach_of(change->to);
    if (entry_is_directory(source) && (to.length > from.length || to.levels > from.levels) &&
        leads_too_far(state->tree, source, &to))
        return refuse(-ENAMETOOLONG, reason, NULL);
    return admit_new_path(change->to, entry_is_directory(source), reason);
}

int admit(const struct state *state, const struct change *change,
          const struct admit_reserve *under_way, struct admit_reserve *reserve, const char **reason)
{
    int error;

    *reserve = (struct admit_reserve){0};
    *reason = NULL;
    if (!change->path || (change->operation == CHANGE_RENAME && !change->to))
        return -EINVAL;
    if (path_is_virtual(change->path) || (change->to && path_is_virtual(change->to)))
        return -EACCES;
    if (state->tree->root.version >= VERSION_MAX_ADMITTED)
        return refuse(-EOVERFLOW, reason, "the global version is at the end of its range");
    switch (change->operation) {
    case CHANGE_WRITE:
        return admit_write(state, change, under_way, reserve, reason);
    case CHANGE_MKDIR:
    case CHANGE_CREATE:
        error = admit_new_path(change->path, change->operation == CHANGE_MKDIR, reason);
        return error ? error : admit_entry(state, change->path, under_way, reserve, reason);
    case CHANGE_RENAME:
        return admit_rename(state, change, reason);
    default:
        return 0;
    }
}
