/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Replicas in one process: real stores in a temporary directory, clocks that stand still, and a
 * group that delivers in agreed order when it is told to. */
#ifndef PMXCFS_TESTS_REPLICAS_H
#define PMXCFS_TESTS_REPLICAS_H

#include <glib.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>

#include "fixture.h"
#include "replica/loopback.h"
#include "replica/replica.h"
#include "store/store.h"
#include "store_place.h"

#define NODES_MAX 4

struct group;

/* A node: its replica and what a test wants to know of it. */
struct node {
    struct group *group; /* NULL: local mode */
    struct member self;
    struct place place;
    struct store *store;
    struct replica *replica;
    struct loopback loopback;
    struct test_transport transport;
    struct manual_clock clock;
    struct replica_listener listener;
    bool acknowledge_all;  /* before node_start() */
    unsigned fail_commits; /* while the disk is full for it */
    uint64_t fail_room;    /* bytes that it takes all the same */
    unsigned left;         /* how often it has left */

    /* What its listener saw. */
    GString *story; /* "publishing 2;published 2;answer 0;" */
    bool keep_story;
    unsigned published;
    unsigned rebuilt;
    unsigned quorum_changes;
};

/* The group: messages in one order for all. */
struct group {
    struct node nodes[NODES_MAX];
    struct sent_queue sent;
    uint32_t next_pid;
};

/* A change that somebody asked for, and its answer. */
struct asker {
    struct caller caller;
    struct node *node;
    int result; /* NOT_ANSWERED before */
    unsigned answers;
    atomic_bool done;
    void (*then)(struct asker *asker); /* called by the answer */
};
#define NOT_ANSWERED 1

void node_open(struct node *node);  /* opens the store and makes the replica */
void node_close(struct node *node); /* the daemon stops */
void node_free(struct node *node);  /* and its directory goes */

/* Local mode, started. */
void node_start_local(struct node *node);

/* Asks; `asker` must stay until it is answered. */
void node_ask(struct node *node, struct asker *asker, struct change change);

/* Asks in local mode, where the answer comes at once. */
int node_do(struct node *node, struct change change);
int node_create(struct node *node, const char *path);
int node_mkdir(struct node *node, const char *path);
int node_write(struct node *node, const char *path, const char *text);
int node_delete(struct node *node, const char *path);
int node_unlock(struct node *node, const char *path);

struct change change_create(const char *path);
struct change change_text(const char *path, const char *text); /* the whole file replaced */

/* The same by `size` bytes of `fill`. */
struct change change_fill(const char *path, uint8_t *buffer, uint32_t size, uint8_t fill);

/* What readers see. */
bool node_has(struct node *node, const char *path);
char *node_read(struct node *node, const char *path); /* NULL: not there; g_free() it */
void node_assert_content(struct node *node, const char *path, const char *expected);
uint64_t node_version(struct node *node);
struct buffer *node_index(struct node *node); /* published; nothing may be going on */
struct replica_status node_status(struct node *node);

/* The database, loaded anew, is what readers see. */
void node_assert_stored(struct node *node);

/* A disk that takes no more than `bytes` beyond what the database's log has now; the whole process
 * is held to it. */
void disk_full(const struct node *node, uint64_t bytes);
void disk_free(void);

/* --- Groups --- */

void group_start(struct group *group, unsigned nodes);        /* opened, nobody has joined */
void group_start_joined(struct group *group, unsigned nodes); /* all have, and are in sync */
void group_stop(struct group *group);

/* Membership: everything sent before is delivered first. */
void group_join(struct group *group, unsigned index);  /* nodes[index], quorate, joins */
void group_leave(struct group *group, unsigned index); /* as if it were cut off */

/* The same at any moment: what was sent is still to be delivered, but for what who is cut off said.
 */
void group_add(struct group *group, unsigned index);
void group_cut(struct group *group, unsigned index);

/* Delivers one message, or lets one node that wants to leave do so; false: nothing was to do. */
bool group_step(struct group *group);
void group_settle(struct group *group); /* all of them */

/* Gives members a message of somebody who is none of our nodes. */
void group_inject(struct group *group, struct member sender, struct buffer *message);

/* Asks, lets the group settle, gives the answer. */
int group_do(struct group *group, unsigned index, struct change change);

/* All members are in sync and have the same entries, in memory and in their databases. */
void group_assert_same(struct group *group);

/* --- What several tests make --- */

unsigned node_count_copies(const struct node *node);
struct change change_mkdir(const char *path);
/* Fills a node by itself: `count` files and a guest configuration directory. */
void group_fill(struct group *group, unsigned index, const char *prefix, unsigned count);
struct buffer *message_normal(uint16_t subtype, const void *body, size_t size);

#endif
