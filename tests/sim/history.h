/* SPDX-License-Identifier: GPL-3.0-or-later */
/* All states that any node ever had, as a tree of the changes that led to them. */
#ifndef PMXCFS_SIM_HISTORY_H
#define PMXCFS_SIM_HISTORY_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* A change is known by who sent it when: the simulated clocks never give a node the same second
 * twice, and both are in every effect. */
typedef uint64_t change_id;

static inline change_id change_identity(uint32_t node, uint32_t time)
{
    return (uint64_t)node << 32 | time;
}

/* The state that one change made of another. Owned by the history. */
struct past {
    struct past *parent; /* NULL: the state of a database at the start */
    struct past *first_child;
    struct past *sibling;
    struct past *alike; /* another way to the same state, which stands for all; NULL: itself */
    struct past *ways;  /* of such a one: the first of the others */
    struct past *next_way;
    uint64_t search; /* the last one that has come by */
    change_id change;
    uint32_t depth;
    bool has_digest;
    uint64_t digest;   /* of the whole state, once a node published it */
    bool thin;         /* made by a group that was no majority, or not all in sync */
    bool foreign;      /* had by a member of the deployed kind */
    GArray *witnesses; /* uint32_t: members of its configuration that had gone another way */
};

struct history;

struct history *history_new(void);
void history_free(struct history *history);

/* The state with that digest, or NULL. */
struct past *history_find(const struct history *history, uint64_t digest);

/* A state that no change led to: a database at the start. */
struct past *history_start(struct history *history, uint64_t digest);

/* The state after one more change; *made tells whether nobody had it before. */
struct past *history_extend(struct history *history, struct past *past, change_id change,
                            bool *made);

/* That state was published with this digest. False: with another one before, or another history led
 * to the same digest. */
bool history_note_digest(struct history *history, struct past *past, uint64_t digest);

/* Two ways led to the same state. */
void history_note_alike(struct past *one, struct past *other);

bool past_is_same(struct past *one, struct past *other);
bool past_has(const struct past *past, change_id change);
bool past_may_have(struct past *past, change_id change);         /* by one of the ways to it */
bool past_is_ancestor(struct past *ancestor, struct past *past); /* or the same */

/* Where two histories part, as a step of `one`; NULL: they began with different databases. */
struct past *past_fork(struct past *one, struct past *other);

/* The first step from `ancestor` to `past`, which is another. */
struct past *past_first_step(struct past *ancestor, struct past *past);

#endif
