/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node's state and its database, for tests of the store, of the journal and of the tools. */
#ifndef PMXCFS_TESTS_STORE_NODE_H
#define PMXCFS_TESTS_STORE_NODE_H

#include "core/change.h"
#include "core/draft.h"
#include "core/state.h"
#include "store/store.h"
#include "store_place.h"

/* Nothing is folded for its age alone. */
#define FOLD_DELAY_LONG 3600000u

struct node {
    struct place place;
    struct store_options options;
    struct store *store; /* NULL: not open; state and draft are not there either then */
    struct state *state;
    struct draft *draft;
    uint32_t writer;
    uint32_t time; /* of the next change */
};

/* Opens the database; the test fails if that fails, but for node_try_open(). */
int node_try_open(struct node *node, char **message);
void node_open(struct node *node);
void node_open_with(struct node *node, const struct store_options *options); /* NULL: all zero */
void node_close(struct node *node);
void node_reopen(struct node *node);

/* A place of its own with an open database, in which nothing is; node_stop() removes it. */
void node_start(struct node *node, uint64_t fold_delay);
void node_stop(struct node *node);

/* Applies a change to the draft, with the node's writer and time; what apply() gives. */
int node_apply(struct node *node, struct change change);

/* The same, which must succeed; of a write, `data` replaces the content; of a change of mtime,
 * `size` is the time. */
void node_draft(struct node *node, enum change_operation operation, const char *path,
                const char *to, const void *data, size_t size);

/* Stores the draft and installs it. */
int node_commit(struct node *node);

/* One change that must succeed, stored. `text`: what a file becomes, or NULL. */
void node_change(struct node *node, enum change_operation operation, const char *path,
                 const char *to, const char *text);
void node_make(struct node *node, enum change_operation operation, const char *path);
void node_put(struct node *node, const char *path, uint32_t offset, const void *data, uint32_t size,
              bool truncate);
void node_put_text(struct node *node, const char *path, const char *text);
void node_move(struct node *node, const char *path, const char *to);

/* A synchronisation's commit, which has no history in common. */
void node_synchronise(struct node *node, uint64_t version);

/* The rows as another program sees them at this moment. */
void node_assert_rows(const struct node *node, const char *query, const char *expected);
void node_assert_intact(const struct node *node);

/* What config.db itself says, without its WAL. g_free() it. */
char *node_file_rows(const struct node *node, const char *query);

/* The version that config.db itself is at. */
uint64_t node_stored_version(const struct node *node);

/* The path of what lies beside the database, g_free() it; and its size. */
char *node_beside(const struct node *node, const char *suffix);
size_t size_of(const char *path);
void node_copy_beside(const struct node *from, const struct node *to, const char *suffix);

/* What `node` would leave if it were killed now, in a place of its own, not opened yet. */
void node_crash(const struct node *node, struct node *left);
void node_assert_same_state(const struct node *a, const struct node *b);
void node_assert_no_quarantine(const struct node *node);

/* A start after a crash finds the same state, and takes changes. */
void node_assert_survives(const struct node *node);

/* Everything that a tree holds, in a text. */
char *tree_description(const struct tree *tree);

/* Of a test: its state is a node that folds late, and nothing of it is left. */
int node_set_up(void **state);
int node_tear_down(void **state);

#endif
