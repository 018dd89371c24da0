/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Who is told what goes into config.db by way of the journal, before it does. */
#ifndef PMXCFS_STORE_WITNESS_H
#define PMXCFS_STORE_WITNESS_H

#include <glib.h>
#include <stdbool.h>
#include <stdint.h>

/* Embed it. */
struct store_witness {
    /* What a journal holds that a killed daemon left: the effects (struct effect) of its records,
     * in order, as far as the records tell. Borrowed. */
    void (*replayed)(struct store_witness *witness, const GPtrArray *effects);
    /* All up to that version is about to be folded. True: the witness has it, or will never have
     * it. False: it may have it in a while; who can wait folds then. Any thread that flushes or
     * commits. */
    bool (*folding)(struct store_witness *witness, uint64_t version);
};

#endif
