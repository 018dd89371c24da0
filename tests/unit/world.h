/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A small replicated state for the core's tests: changes in a line each, and what must hold after
 * every one of them. */
#ifndef PMXCFS_TESTS_WORLD_H
#define PMXCFS_TESTS_WORLD_H

#include <glib.h>
#include <stdint.h>

#include "core/admit.h"
#include "core/apply.h"
#include "core/buffer.h"
#include "core/change.h"
#include "core/digest.h"
#include "core/draft.h"
#include "core/entry.h"
#include "core/guests.h"
#include "core/index.h"
#include "core/limits.h"
#include "core/path.h"
#include "core/state.h"
#include "core/tree.h"

struct world {
    struct state *state;
    struct draft *draft;
    uint32_t writer; /* of the next change; 1 at first */
    uint32_t time;   /* of the next change, seconds; 1000 at first */
    uint64_t now;    /* milliseconds, for publication */
};

void world_start(struct world *world);
void world_stop(struct world *world);

/* Applies a change (writer and time are the world's) and checks what must hold for any: a refusal
 * changes nothing at all; a success raises the version by one, makes the change's writer the
 * root's, leaves one effect and a proper tree whose sums are right. Gives its result. */
int world_apply(struct world *world, struct change change);

int world_create(struct world *world, const char *path);
int world_mkdir(struct world *world, const char *path);
int world_delete(struct world *world, const char *path);
int world_rename(struct world *world, const char *path, const char *to);
int world_mtime(struct world *world, const char *path, uint32_t mtime);
int world_write(struct world *world, const char *path, uint32_t offset, const char *text);
int world_truncate(struct world *world, const char *path, uint32_t size);
int world_unlock(struct world *world, const char *path, const uint8_t *digest);

/* The same for what must succeed. */
void world_make(struct world *world, const char *const *directories); /* NULL-ended */
void world_file(struct world *world, const char *path, const char *text);

/* Publishes the draft and checks that readers see what the draft had. */
void world_publish(struct world *world);

/* The entry at `path` in the draft's result; fails if there is none. */
struct entry *world_entry(const struct world *world, const char *path);

/* The file at `path` has these bytes (a string). */
void world_assert_content(const struct world *world, const char *path, const char *text);

/* The guest list: "100=node1/qemu 200=node3/lxc", by id; g_free() it. */
char *world_guests(const struct world *world);
void world_assert_guests(const struct world *world, const char *expected);

#endif
