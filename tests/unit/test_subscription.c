/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A subscription to the change feed: what is sent of what cannot be. libqb's sending is this
 * file's. */
#include <errno.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>
#include <glib.h>
#include <string.h>

#include "core/draft.h"
#include "fixture.h"
#include "socket/subscription.h"

#define ROOM 1000u /* bytes of an event that the client takes */

static GString *received; /* lines */

ssize_t __wrap_qb_ipcs_event_sendv(qb_ipcs_connection_t *connection, const struct iovec *parts,
                                   size_t count);

ssize_t __wrap_qb_ipcs_event_sendv(qb_ipcs_connection_t *connection, const struct iovec *parts,
                                   size_t count)
{
    (void)connection;
    assert_int_equal(count, 2);
    size_t size = parts[0].iov_len + parts[1].iov_len;
    if (size > ROOM)
        return -EMSGSIZE;
    g_string_append_len(received, parts[1].iov_base, (gssize)parts[1].iov_len);
    g_string_append_c(received, '\n');
    return (ssize_t)size;
}

static void publish(struct status *status, uint64_t version, const char *path)
{
    g_autoptr(GPtrArray) effects = draft_effects_new();
    struct effect *effect = effect_new(path, NULL);

    effect->version = version;
    effect->operation = CHANGE_CREATE;
    g_ptr_array_add(effects, effect);
    status_published(status, effects);
}

static void test_what_is_too_long_is_missed(void **state)
{
    struct manual_clock clock;
    struct subscription subscription = {0};
    g_autofree char *path = g_strnfill(2 * ROOM, 'n');

    (void)state;
    manual_clock_init(&clock, 1000, 1000);
    struct status *status = status_new("a", NULL, 1, &clock.source);
    status_start_feed(status, 1);
    received = g_string_new(NULL);
    assert_int_equal(subscription_start(&subscription, status, NULL, 0), 0);
    publish(status, 2, "first");
    publish(status, 3, path);
    publish(status, 4, path);
    publish(status, 5, "last");
    assert_int_equal(subscription_send(&subscription, NULL, status, true), 0);
    const char *first = strstr(received->str, "first");
    const char *missed = strstr(received->str, "{\"operation\":\"missed\",\"count\":1}");
    const char *last = strstr(received->str, "last");
    assert_true(first && missed && last && first < missed && missed < last);
    assert_null(strstr(received->str, "nnnn"));
    subscription_clear(&subscription);
    g_string_free(received, TRUE);
    status_free(status);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_what_is_too_long_is_missed),
    };

    return cmocka_run_group_tests(tests, NULL, NULL);
}
