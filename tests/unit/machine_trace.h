/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A machine under test: what it does for each event, read as a short trace. */
#ifndef PMXCFS_TESTS_MACHINE_TRACE_H
#define PMXCFS_TESTS_MACHINE_TRACE_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>

#include "cluster/machine.h"
#include "cluster/wire.h"

/* Three members; the machine is that of B unless a test says otherwise. X is never a member. */
#define A ((struct member){1, 10})
#define B ((struct member){2, 20})
#define C ((struct member){3, 30})
#define X ((struct member){9, 90})

/* What A, the lowest, starts a synchronisation with. */
extern const struct epoch round_epoch;

#define NOW 1000u
#define UNKNOWN_TYPE ((enum message_type)7)

/* What ACTION_CHECKSUM is answered with. */
extern const uint8_t some_digest[DIGEST_SIZE];

/* A machine, and what it did since it was last looked at, one word for each action:
 *   start(E)          SYNC_START with epoch counter E   state(E/N)  SEND_STATE, epoch E of node N
 *   resend(N:C)       message C of node N once more     updates(I,I) SEND_UPDATES of these inodes
 *   apply(N:C)        with * if own                     commit(U)   with U kept updates
 *   merge(S)          with S states                     checksum
 *   synced, alone     with ! if the mode was another    request(I), verify(I)
 *   give-up(C)        the own message C
 *   leave, out                                          error       a log line with LOG_ERR */
struct fixture {
    struct machine *machine;
    GString *trace;
    uint32_t protocol;
    int commit_result;
    bool hold_commit; /* do not answer ACTION_COMMIT */
};

#define FIXTURE(name, group, self)                                                                 \
    struct fixture name __attribute__((cleanup(fixture_clear))) = fixture_new(group, self)

/* The same, in a round that has just begun. */
#define ROUND(name, group, self)                                                                   \
    struct fixture name __attribute__((cleanup(fixture_clear))) = round_new(group, self)

#define CHECK(fixture, expected) check_at(fixture, expected, __FILE__, __LINE__)
#define CHECK_MODE(fixture, mode) assert_int_equal(machine_mode((fixture)->machine), mode)

void drain(struct fixture *fixture);
/* What was done since the last look. */
void check_at(struct fixture *fixture, const char *expected, const char *file, int line);
/* A configuration change: members and joined by their letters. */
void change_members(struct fixture *fixture, const char *members, const char *joined);
/* Delivers a message and gives the reference back. */
void deliver(struct fixture *fixture, struct member sender, struct buffer *message);
void deliver_normal(struct fixture *fixture, struct member sender, uint64_t count);
void deliver_sync(struct fixture *fixture, struct member sender, enum message_type type,
                  const struct epoch *epoch, const void *body, size_t body_size);
/* An index as text: version, mtime, then inode (a digit) and digest (a letter) by turns. */
GByteArray *make_index(uint64_t version, uint32_t mtime, const char *entries);
void deliver_index(struct fixture *fixture, struct member sender, uint64_t version, uint32_t mtime,
                   const char *entries);
/* Of A, B and C, who are alike. */
void deliver_indexes(struct fixture *fixture, const char *entries);
void deliver_logs(struct fixture *fixture);
void deliver_update(struct fixture *fixture, struct member sender, uint64_t inode);
/* Into START_SYNC with A, B, C and A's epoch. Nothing is left in the trace. */
void start_round(struct fixture *fixture);
void become_synced(struct fixture *fixture);
/* B and C are behind A. */
void become_updating(struct fixture *fixture);
void complete(struct fixture *fixture);
void enter(struct fixture *fixture, enum machine_mode mode);
/* The epoch that is current when enter(mode) is done. */
struct epoch current_epoch(enum machine_mode mode);
void deliver_type(struct fixture *fixture, enum message_type type, const struct epoch *epoch);
void fixture_clear(struct fixture *fixture);
struct fixture fixture_new(enum machine_group group, struct member self);
struct fixture round_new(enum machine_group group, struct member self);
void deliver_log(struct fixture *fixture, struct member sender, uint32_t length, uint32_t size);
void deliver_request(struct fixture *fixture, struct member sender, uint64_t id);
void compute(struct fixture *fixture);
void ask(struct fixture *fixture);

#endif
