/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Tests of the synchronisation state machine (doc/cluster.md): verification. */
#include <errno.h>
#include <string.h>
#include <syslog.h>

#include "base/util.h"
#include "core/index.h"
#include "machine_trace.h"

/* Verification */

static const uint8_t other_digest[DIGEST_SIZE] = "another one of thirty-two bytes";

static void deliver_verify(struct fixture *fixture, uint64_t id, const uint8_t *digest)
{
    uint8_t body[8 + DIGEST_SIZE];

    put_le64(body, id);
    memcpy(body + 8, digest, DIGEST_SIZE);
    deliver_sync(fixture, A, MESSAGE_VERIFY, &round_epoch, body, sizeof(body));
}

static void verification_asked_for(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    ask(&fixture); /* START */
    start_round(&fixture);
    ask(&fixture);
    CHECK(&fixture, "");
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(1)");
    ask(&fixture); /* has not come back yet */
    CHECK(&fixture, "");
    deliver_request(&fixture, A, 1);
    CHECK(&fixture, "checksum");
    compute(&fixture);
    CHECK(&fixture, "verify(1)");
    compute(&fixture); /* nobody asked */
    CHECK(&fixture, "");
    deliver_verify(&fixture, 1, some_digest);
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_SYNCED);
    ask(&fixture);
    CHECK(&fixture, "request(2)");
    /* It never comes back: the members changed. The ids go on, also over a restart. */
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(3)");
    machine_restart(fixture.machine, A);
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(4)");
}

static void verification_by_lowest_alone(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "");
    change_members(&fixture, "B", "");
    ask(&fixture);
    CHECK(&fixture, "alone request(1)");
}

static void verification_of_another(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    deliver_verify(&fixture, 5, some_digest); /* nothing remembered */
    deliver_request(&fixture, A, 5);
    CHECK(&fixture, "checksum");
    compute(&fixture);
    CHECK(&fixture, ""); /* the one who asked sends it */
    deliver_verify(&fixture, 4, other_digest);
    deliver_verify(&fixture, 5, some_digest);
    CHECK_MODE(&fixture, MODE_SYNCED);
    CHECK(&fixture, "");
    deliver_verify(&fixture, 5, other_digest);
    CHECK(&fixture, "error leave");
}

/* Another's request is no answer to one's own, and what it asks for is sent by the other. */
static void verification_crossing(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, A);

    (void)state;
    become_synced(&fixture);
    ask(&fixture);
    CHECK(&fixture, "request(1)");
    deliver_request(&fixture, B, 1);
    compute(&fixture);
    CHECK(&fixture, "checksum");
    ask(&fixture);
    CHECK(&fixture, "");
    deliver_request(&fixture, A, 1);
    compute(&fixture);
    ask(&fixture);
    CHECK(&fixture, "checksum verify(1) request(2)");
}

static void verification_is_forgotten(void **state)
{
    FIXTURE(fixture, GROUP_CONFIGURATION, B);

    (void)state;
    become_synced(&fixture);
    deliver_request(&fixture, A, 5);
    compute(&fixture);
    become_synced(&fixture); /* the same epoch, since the test gives the same again */
    deliver_verify(&fixture, 5, other_digest);
    CHECK(&fixture, "");
    deliver_request(&fixture, A, 6);
    become_synced(&fixture);
    compute(&fixture);
    deliver_verify(&fixture, 6, other_digest);
    CHECK(&fixture, "");
    CHECK_MODE(&fixture, MODE_SYNCED);
}

static void malformed_verification(void **state)
{
    static const size_t lengths[] = {0, 7, 9, 39, 41};
    uint8_t body[48] = {0};

    (void)state;
    for (size_t i = 0; i < G_N_ELEMENTS(lengths); i++)
        for (enum message_type type = MESSAGE_VERIFY_REQUEST; type <= MESSAGE_VERIFY; type++) {
            FIXTURE(fixture, GROUP_CONFIGURATION, B);
            FIXTURE(updating, GROUP_CONFIGURATION, B);
            become_synced(&fixture);
            deliver_sync(&fixture, A, type, &round_epoch, body, lengths[i]);
            CHECK(&fixture, "error leave");
            become_updating(&updating);
            deliver_sync(&updating, A, type, &round_epoch, body, lengths[i]);
            CHECK(&updating, "");
        }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(verification_asked_for),    cmocka_unit_test(verification_by_lowest_alone),
        cmocka_unit_test(verification_of_another),   cmocka_unit_test(verification_crossing),
        cmocka_unit_test(verification_is_forgotten), cmocka_unit_test(malformed_verification),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
