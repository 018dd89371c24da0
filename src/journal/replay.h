/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What a journal that was left behind says, and whether it may be brought in. Pure. */
#ifndef PMXCFS_JOURNAL_REPLAY_H
#define PMXCFS_JOURNAL_REPLAY_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/draft.h"
#include "journal/record.h"

/* What one area holds. */
struct replay_area {
    const uint8_t *data;
    size_t size;
    uint32_t count; /* records from its beginning on, whole and in order; 0: none, or damaged */
    uint64_t generation;
    struct root base; /* on what the first of them was made, and what the last one made */
    struct root end;
    uint32_t behind; /* whole records of this or a later generation behind what cannot be read */
    uint64_t behind_generation; /* of the latest of these */
};

enum replay_outcome {
    REPLAY_NOTHING, /* config.db has all that is in the journal, or nothing is */
    REPLAY_CHANGES, /* the draft has what is to be stored */
    REPLAY_REFUSED, /* nothing of it can be brought in */
};

struct replay {
    struct replay_area areas[JOURNAL_AREAS];
    enum replay_outcome outcome;
    bool damaged;       /* why all or some of it cannot: true: it is damaged; false: config.db is
                           another one than that on which it was made */
    bool keep;          /* some of it was acknowledged and is not brought in */
    uint32_t changes;   /* records brought in */
    char *reason;       /* if `keep`: what is wrong. Owned */
    GPtrArray *effects; /* set after replay_read(): what the records that are brought in did (struct
                           effect) is added. NULL: not wanted. The caller's */
};

/* What was done with the journal that a killed daemon left. */
struct replay_report {
    unsigned int changes;    /* brought in */
    bool left;               /* config.db does not take them: they are in the journal still */
    uint64_t version_before; /* of config.db; 0: there was no journal, nothing was looked at */
    uint64_t version;        /* with them */
    char *quarantine;        /* the name under which a journal was kept; NULL: none was. Owned */
};

/* Looks at one area. `bytes` must stay. */
void replay_read_area(struct replay_area *area, const uint8_t *bytes, size_t size);

/* Looks at a journal: what its areas hold. `bytes` must stay. */
void replay_read(struct replay *replay, const uint8_t *bytes, size_t size);

/* The generation of the latest record, 0: there is none. */
uint64_t replay_generation(const struct replay *replay);

/* True if a config.db whose row 0 is `root` has, with this journal, all that had been acknowledged
 * when the journal was read: its records go on from there, and none between them is missing. False
 * for a journal without any: whether these were brought in cannot be seen. */
bool replay_follows(const struct replay *replay, const struct root *root);

/* Decides, after replay_read(), and puts what is to be stored into `draft`, which is empty over the
 * state that config.db has. */
void replay_decide(struct replay *replay, struct draft *draft);

void replay_clear(struct replay *replay);

#endif
