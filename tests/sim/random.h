/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Numbers that look random and are the same for the same seed everywhere (splitmix64). */
#ifndef PMXCFS_SIM_RANDOM_H
#define PMXCFS_SIM_RANDOM_H

#include <stdbool.h>
#include <stdint.h>

struct random {
    uint64_t state;
};

static inline uint64_t random_next(struct random *random)
{
    uint64_t mixed = (random->state += 0x9e3779b97f4a7c15u);

    mixed = (mixed ^ (mixed >> 30)) * 0xbf58476d1ce4e5b9u;
    mixed = (mixed ^ (mixed >> 27)) * 0x94d049bb133111ebu;
    return mixed ^ (mixed >> 31);
}

/* 0 to `limit` - 1. */
static inline uint32_t random_below(struct random *random, uint32_t limit)
{
    return (uint32_t)((random_next(random) >> 32) * limit >> 32);
}

/* True in `count` of a thousand cases. */
static inline bool random_chance(struct random *random, uint32_t count)
{
    return random_below(random, 1000) < count;
}

#endif
