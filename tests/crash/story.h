/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Stories that are told to a store while the disk is recorded: commits of every kind, what was
 * promised of them at each event, and whether that holds after a crash there. */
#ifndef PMXCFS_TESTS_STORY_H
#define PMXCFS_TESTS_STORY_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

#include "core/change.h"
#include "core/state.h"
#include "disk_log.h"
#include "store/store.h"
#include "store_place.h"

/* Do nodes have a journal from now on? */
extern bool story_has_journal;

/* A node's state and its database. */
struct node {
    struct place place;
    struct store_options options;
    struct store *store;
    struct state *state;
    struct draft *draft;
    uint32_t time;
    uint8_t *big;
};

/* What had been promised when an event of the disk happened. */
struct promise {
    unsigned acknowledged; /* commits */
    unsigned started;
    unsigned safe; /* commits that survive a power loss with STORE_NORMAL too */
};

/* A recording: states and promises on the way, and what the disk saw. */
struct story {
    struct node *node;
    GPtrArray *indexes; /* struct buffer: the state after so many commits */
    GArray *promises;   /* struct promise, by the events' mark */
    struct promise now;
    GPtrArray *events;
};

/* One crash: how, and at which event. */
struct point {
    guint count; /* events that happened */
    enum disk_crash crash;
    uint32_t seed;
};

/* A database in a place of its own, closed. */
void node_start(struct node *node, enum store_durability durability);
void node_stop(struct node *node);
int node_open(struct node *node); /* what store_open() gives */
void node_close(struct node *node);
int node_commit(struct node *node); /* the draft */

/* Is the draft's state the one of that index? */
bool node_is_index(const struct node *node, const struct buffer *expected);

/* Changes to the draft: 0 or a negative errno. */
typedef int (*change_function)(struct node *node);
int change_make(struct node *node, enum change_operation operation, const char *path);
int change_make_directories(struct node *node);
int change_make_directory(struct node *node);
int change_make_guest(struct node *node);
int change_make_batch(struct node *node);
int change_write_big(struct node *node);
int change_write_middle(struct node *node);
int change_take_lock(struct node *node);
int change_synchronise(struct node *node);
int change_delete_file(struct node *node);

/* Every kind, to be committed one by one; NULL: a place to do something else. */
#define CHANGES_ALL 24
#define CHANGES_HUGE 5
extern const change_function all_changes[CHANGES_ALL];
extern const change_function huge_changes[CHANGES_HUGE];

/* Begins to record what the node does to its disk; story_stop() frees what was remembered, and the
 * events. */
void story_start(struct story *story, struct node *node);
void story_stop(struct story *story);
void story_promise(struct story *story);  /* what `now` says holds from here on */
void story_remember(struct story *story); /* the draft's state is the next one */
void story_commit(struct story *story, change_function change);
void story_flush(struct story *story); /* makes safe all that was acknowledged */

/* Every kind of crash after the first `count` events: the test fails unless the database loads, is
 * in a state that was promised, and takes changes. How many they were. */
unsigned story_check(const struct story *story, guint count);

/* The database is sound, or not there; else the test fails. */
void point_assert_sound(const char *path, const struct point *point);

void buffer_destroy(gpointer buffer);

#endif
