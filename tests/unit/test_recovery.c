/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A journal that was left behind: that nothing is brought into a database that it was not made on,
 * and what becomes of torn and damaged ones (journal/replay.h, journal/quarantine.h). */
#include <errno.h>
#include <inttypes.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#include "base/log.h"
#include "ctl/tools/backup.h"
#include "journal/read.h"
#include "journal/record.h"
#include "journal/replay.h"
#include "store_node.h"

/* ---- What is not brought in ---- */

static char *quarantine_name(const struct node *node, const char *word)
{
    g_autofree char *names = place_names(&node->place);
    g_auto(GStrv) list = g_strsplit(names, " ", -1);
    g_autofree char *prefix = g_strdup_printf("config.db.journal.%s-", word);
    char *found = NULL;

    for (char **name = list; *name; name++) {
        if (!g_str_has_prefix(*name, prefix))
            continue;
        assert_null(found);
        found = g_build_filename(node->place.directory, *name, NULL);
    }
    return found;
}

/* The journal at `left` is not replayed but kept, and config.db is as `sql` made it. */
static void assert_overtaken(struct node *left, const char *sql)
{
    g_autofree char *journal = node_beside(left, ".journal");
    g_autofree char *before = NULL;
    g_autofree char *after = NULL;
    gsize size;

    place_run(&left->place, sql);
    sqlite3 *db = place_connect(left->place.path);
    g_autofree char *rows = place_rows(db, ALL_ROWS);
    assert_true(g_file_get_contents(journal, &before, &size, NULL));
    node_open(left);
    g_autofree char *found = place_rows(db, ALL_ROWS);
    sqlite3_close(db);
    assert_string_equal(found, rows);
    g_autofree char *quarantine = quarantine_name(left, "overtaken");
    assert_non_null(quarantine);
    struct stat info;
    assert_int_equal(stat(quarantine, &info), 0);
    assert_int_equal(info.st_mode & 07777, 0600);
    assert_true(g_file_get_contents(quarantine, &after, NULL, NULL));
    assert_memory_equal(before, after, size);
    node_make(left, CHANGE_MKDIR, "goes-on");
    node_stop(left);
}

static void test_overtaken(void **state)
{
    struct node *node = *state;
    static const char *const others_work[] = {
        "UPDATE tree SET version = 9 WHERE inode = 0",
        "UPDATE tree SET writer = 9 WHERE inode = 0",
        "UPDATE tree SET mtime = 9 WHERE inode = 0",
        "UPDATE tree SET data = 'other' WHERE name = 'f'",
        "UPDATE tree SET name = 'other' WHERE name = 'f'",
        "DELETE FROM tree WHERE name = 'f'",
        "INSERT INTO tree VALUES (4, 0, 3, 1, 1, 4, 'other', NULL)",
    };

    node_make(node, CHANGE_CREATE, "f");
    node_put_text(node, "f", "as it was");
    assert_int_equal(store_flush(node->store), 0);
    node_make(node, CHANGE_MKDIR, "new");
    node_put_text(node, "f", "as it is");
    node_put_text(node, "f", "as it is now");
    for (size_t i = 0; i < G_N_ELEMENTS(others_work); i++) {
        struct node left;
        node_crash(node, &left);
        assert_overtaken(&left, others_work[i]);
    }
}

/* A backup of long ago, and one of a moment that was neither's. */
static void test_a_restored_backup(void **state)
{
    struct node *node = *state;
    g_autofree char *backup = node_beside(node, ".backup");
    g_autofree char *message = NULL;

    for (unsigned i = 0; i < 2; i++) {
        struct node left;
        node_make(node, CHANGE_MKDIR, i ? "b" : "a");
        assert_int_equal(tools_backup(node->place.path, backup, &message), 0);
        node_make(node, CHANGE_MKDIR, i ? "b/more" : "a/more");
        assert_int_equal(store_flush(node->store), 0);
        node_make(node, CHANGE_MKDIR, i ? "b/most" : "a/most");
        node_crash(node, &left);
        g_autofree char *log = node_beside(&left, "-wal");
        unlink(log);
        place_copy(backup, left.place.path);
        assert_overtaken(&left, "SELECT 1");
    }
}

/* Puts a journal into quarantine beside twelve that are there, `old` of 0 to 11 behind the
 * database's name: which stay. g_free() it. */
static char *put_beside_twelve(struct node *node, char *(*old)(unsigned number))
{
    g_autofree char *journal = node_beside(node, ".journal");
    struct node left;

    node_make(node, CHANGE_MKDIR, "d");
    node_crash(node, &left);
    g_autofree char *left_journal = node_beside(&left, ".journal");
    node_open(&left);
    node_close(&left);
    place_run(&left.place, "UPDATE tree SET version = 9 WHERE inode = 0");
    for (unsigned i = 0; i < 12; i++) {
        g_autofree char *suffix = old(i);
        g_autofree char *name = node_beside(&left, suffix);
        assert_true(g_file_set_contents(name, "", 0, NULL));
    }
    place_copy(journal, left_journal);
    node_open(&left);
    char *names = place_names(&left.place);
    g_auto(GStrv) list = g_strsplit(names, ".journal.", -1);
    assert_int_equal(g_strv_length(list) - 1, 10);
    node_stop(&left);
    return names;
}

static char *of_long_ago(unsigned number)
{
    return g_strdup_printf(".journal.%s-20010101-0000%02u", number % 2 ? "damaged" : "overtaken",
                           number);
}

static void test_ten_are_kept(void **state)
{
    g_autofree char *names = put_beside_twelve(*state, of_long_ago);

    assert_null(strstr(names, "20010101-000002"));
    assert_non_null(strstr(names, "20010101-000003"));
}

static char *of_dates_to_come(unsigned number)
{
    return g_strdup_printf(".journal.damaged-%u0101-0000%02u", number < 11 ? 2101 : 2001, number);
}

/* A clock that was ahead, or is behind now: what is set aside just now stays. */
static void test_dates_to_come(void **state)
{
    g_autofree char *names = put_beside_twelve(*state, of_dates_to_come);

    assert_non_null(strstr(names, ".overtaken-"));
    assert_null(strstr(names, ".damaged-20010101-"));
    assert_null(strstr(names, "21010101-000001"));
    assert_non_null(strstr(names, "21010101-000002"));
}

/* A database that is refused stays as it is, and the journal too. */
static void test_a_refused_database(void **state)
{
    struct node *node = *state;
    struct node left;
    g_autofree char *message = NULL;

    node_make(node, CHANGE_MKDIR, "d");
    assert_int_equal(store_flush(node->store), 0);
    node_make(node, CHANGE_MKDIR, "e");
    node_crash(node, &left);
    place_run(&left.place, "UPDATE tree SET parent = 77 WHERE name = 'd'");
    g_autofree char *before = place_snapshot(&left.place);
    assert_int_equal(node_try_open(&left, &message), -EBADMSG);
    g_autofree char *after = place_snapshot(&left.place);
    assert_string_equal(before, after);
    node_stop(&left);
}

/* ---- Torn and damaged ---- */

/* A last record of which only some bytes arrived was not acknowledged. */
static void test_torn_at_every_byte(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = node_beside(node, ".journal");
    struct node before;

    node_make(node, CHANGE_CREATE, "f");
    node_crash(node, &before);
    size_t start_of_last = size_of(journal);
    node_put_text(node, "f", "content");
    size_t end = size_of(journal);
    node_open(&before);
    for (size_t size = start_of_last; size < end - 8; size++) {
        struct node left;
        node_crash(node, &left);
        g_autofree char *torn = node_beside(&left, ".journal");
        assert_int_equal(truncate(torn, (off_t)size), 0);
        node_open(&left);
        node_assert_same_state(&left, &before);
        node_assert_no_quarantine(&left);
        node_stop(&left);
    }
    node_stop(&before);
}

static void flip(const char *path, size_t at)
{
    g_autofree char *bytes = NULL;
    gsize size;

    assert_true(g_file_get_contents(path, &bytes, &size, NULL));
    assert_true(at < size);
    bytes[at] ^= 0x40;
    assert_true(g_file_set_contents(path, bytes, (gssize)size, NULL));
}

/* What is before a damaged record is brought in, and what follows is put into quarantine. */
static void test_damaged_in_the_middle(void **state)
{
    struct node *node = *state;
    g_autofree char *journal = node_beside(node, ".journal");
    size_t ends[4];

    for (unsigned i = 0; i < G_N_ELEMENTS(ends); i++) {
        g_autofree char *path = g_strdup_printf("d%u", i);
        node_make(node, CHANGE_MKDIR, path);
        ends[i] = size_of(journal);
    }
    for (unsigned damaged = 0; damaged < 3; damaged++) {
        for (size_t at = damaged ? ends[damaged - 1] : 0; at < ends[damaged] - 8; at += 5) {
            struct node left;
            node_crash(node, &left);
            g_autofree char *copy = node_beside(&left, ".journal");
            flip(copy, at);
            node_open(&left);
            assert_int_equal(left.state->tree->root.version, damaged + 1);
            g_autofree char *quarantine = quarantine_name(&left, "damaged");
            assert_non_null(quarantine);
            assert_int_equal(size_of(quarantine), size_of(journal));
            node_stop(&left);
        }
    }
}

/* ---- Damaged, while config.db takes nothing ---- */

/* A connection of its own finds the lock; the look before it only reads. */
static sqlite3 *lock(const struct node *node)
{
    sqlite3 *other = place_connect(node->place.path);

    assert_int_equal(sqlite3_exec(other, "BEGIN IMMEDIATE", NULL, NULL, NULL), SQLITE_OK);
    return other;
}

/* In quarantine is all that was in the damaged journal, in a file of its own. */
static void assert_kept(const struct node *left, GBytes *journal)
{
    g_autofree char *quarantine = quarantine_name(left, "damaged");
    g_autofree char *kept = NULL;
    gsize size;

    assert_non_null(quarantine);
    assert_true(g_file_get_contents(quarantine, &kept, &size, NULL));
    assert_int_equal(size, g_bytes_get_size(journal));
    assert_memory_equal(kept, g_bytes_get_data(journal, NULL), size);
}

/* Nothing of the journal is altered before config.db has what is before the damage: a kill at any
 * time takes nothing. */
static void assert_waits(const struct node *left, GBytes *journal)
{
    struct node again;

    node_assert_no_quarantine(left);
    node_crash(left, &again);
    node_open(&again);
    node_assert_same_state(left, &again);
    assert_kept(&again, journal);
    node_make(&again, CHANGE_MKDIR, "after-the-crash");
    node_stop(&again);
}

/* A daemon on a journal of four records, of which the third is damaged; the other program's
 * connection keeps config.db as it is. */
static sqlite3 *start_on_damaged(struct node *node, struct node *left, uint64_t fold_delay,
                                 GBytes **journal)
{
    g_autofree char *made = node_beside(node, ".journal");
    size_t end = 0;
    gsize size;
    char *bytes;

    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *path = g_strdup_printf("d%u", i);
        node_make(node, CHANGE_MKDIR, path);
        end = i == 1 ? size_of(made) : end;
    }
    node_crash(node, left);
    g_autofree char *copy = node_beside(left, ".journal");
    flip(copy, end + 60);
    assert_true(g_file_get_contents(copy, &bytes, &size, NULL));
    *journal = g_bytes_new_take(bytes, size);
    sqlite3 *other = lock(left);
    left->options.fold_delay = fold_delay;
    node_open(left);
    assert_int_equal(left->state->tree->root.version, 3);
    assert_waits(left, *journal);
    return other;
}

/* It starts as on any other journal, and the damaged one is kept when config.db has the rest. */
static void test_damaged_while_config_db_takes_nothing(void **state)
{
    struct node left;
    GBytes *journal;
    sqlite3 *other = start_on_damaged(*state, &left, FOLD_DELAY_LONG, &journal);

    assert_int_equal(
        node_apply(&left, (struct change){.operation = CHANGE_MKDIR, .path = "refused"}), 0);
    assert_int_equal(node_commit(&left), -EIO);
    assert_waits(&left, journal);
    sqlite3_close(other);
    node_make(&left, CHANGE_MKDIR, "second");
    assert_kept(&left, journal);
    node_assert_survives(&left);
    node_make(&left, CHANGE_MKDIR, "third");
    node_assert_survives(&left);
    node_close(&left);
    assert_kept(&left, journal);
    node_open(&left);
    assert_int_equal(left.state->tree->root.version, 5);
    node_stop(&left);
    g_bytes_unref(journal);
}

/* The same where nothing is changed before the stop, and without a journal of its own. */
static void test_damaged_and_folded_at_last(void **state)
{
    const uint64_t delays[] = {FOLD_DELAY_LONG, 0};

    for (size_t i = 0; i < G_N_ELEMENTS(delays); i++) {
        struct node node;
        struct node left;
        GBytes *journal;
        (void)state;
        node_start(&node, FOLD_DELAY_LONG);
        sqlite3 *other = start_on_damaged(&node, &left, delays[i], &journal);
        node_close(&left); /* in vain: all stays */
        node_assert_no_quarantine(&left);
        node_open(&left);
        sqlite3_close(other);
        assert_int_equal(store_flush(left.store), 0);
        assert_waits(&left, journal);
        node_close(&left);
        assert_kept(&left, journal);
        g_autofree char *gone = node_beside(&left, ".journal");
        assert_int_equal(access(gone, F_OK), -1);
        node_stop(&left);
        node_stop(&node);
        g_bytes_unref(journal);
    }
}

/* ---- Other files ---- */

/* What was there before the file's space was used again is no part of it. */
static void test_what_is_left_of_earlier_use(void **state)
{
    struct node *node = *state;

    for (unsigned i = 0; i < 6; i++) {
        for (unsigned j = 0; j < 12 - 2 * i; j++) {
            g_autofree char *path = g_strdup_printf("d%u-%u", i, j);
            node_make(node, CHANGE_MKDIR, path);
        }
        node_assert_survives(node);
        struct node left;
        node_crash(node, &left);
        g_autofree char *journal = node_beside(&left, ".journal");
        /* The first byte of the area in use: as if nothing of it had been written yet. */
        size_t begin = i % 2 ? JOURNAL_AREA_SIZE : 0;
        FILE *file = fopen(journal, "r+");
        assert_non_null(file);
        assert_int_equal(fseek(file, (long)begin, SEEK_SET), 0);
        assert_int_equal(fputc('x', file), 'x');
        fclose(file);
        node_open(&left);
        g_autofree char *quarantine = quarantine_name(&left, "damaged");
        assert_non_null(quarantine); /* whole records follow, of its own generation */
        node_stop(&left);
        assert_int_equal(store_flush(node->store), 0);
        node_assert_survives(node);
    }
}

static void test_no_journal_of_ours(void **state)
{
    struct node *node = *state;
    static const char text[] = "this is no journal at all, but long enough to be mistaken for one";

    for (size_t size = 0; size < sizeof(text); size++) {
        struct node left;
        node_make(node, CHANGE_MKDIR, "d");
        node_make(node, CHANGE_DELETE, "d");
        assert_int_equal(store_flush(node->store), 0);
        node_crash(node, &left);
        g_autofree char *journal = node_beside(&left, ".journal");
        assert_true(g_file_set_contents(journal, text, (gssize)size, NULL));
        node_open(&left);
        node_assert_same_state(node, &left);
        node_make(&left, CHANGE_MKDIR, "e");
        node_assert_survives(&left);
        node_stop(&left);
    }
}

/* ---- Read while a daemon goes on ---- */

#define MOMENTS 14u

/* What config.db and the journal are at some moment. */
struct moment {
    struct node left;
    struct root root; /* of config.db */
    int folded;       /* areas that are in config.db */
    int begun;        /* areas that were begun */
    GByteArray *journal;
    char *state; /* with all that was acknowledged */
};

static void take_moment(const struct node *node, struct moment *moment)
{
    g_autofree char *path = node_beside(node, ".journal");
    char *message = NULL;

    node_crash(node, &moment->left);
    sqlite3 *db = place_connect(moment->left.place.path);
    g_autofree char *row =
        place_rows(db, "SELECT version, writer, mtime FROM tree WHERE inode = 0");
    sqlite3_close(db);
    moment->root = (struct root){.version = 1};
    if (*row)
        assert_int_equal(sscanf(row, "%" SCNu64 "|%" SCNu32 "|%" SCNu32, &moment->root.version,
                                &moment->root.writer, &moment->root.mtime),
                         3);
    assert_int_equal(journal_read(path, &moment->journal, &message), 0);
    moment->state = tree_description(node->state->tree);
}

static void leave_moment(struct moment *moment)
{
    node_stop(&moment->left);
    g_byte_array_unref(moment->journal);
    g_free(moment->state);
}

/* With the journal of `later` the database of `earlier` becomes what was acknowledged then. */
static void assert_goes_on(const struct moment *earlier, const struct moment *later)
{
    struct node both;

    node_crash(&earlier->left, &both);
    node_copy_beside(&later->left, &both, ".journal");
    node_open(&both);
    g_autofree char *state = tree_description(both.state->tree);
    assert_string_equal(state, later->state);
    node_assert_no_quarantine(&both);
    node_stop(&both);
}

/* A database that was read first and a journal that was read later fit until its area is begun
 * anew, which is two folds later; and it is never taken for fitting if it does not. */
static void test_a_journal_that_went_on(void **state)
{
    struct node *node = *state;
    struct moment moments[MOMENTS] = {0};
    int folded = 0;
    int begun = 0;

    for (unsigned i = 0; i < MOMENTS; i++) {
        if (i > 0 && i % 3 == 0) {
            assert_int_equal(store_flush(node->store), 0);
            folded = begun;
        } else if (i > 0) {
            g_autofree char *path = g_strdup_printf("d%u", i);
            node_make(node, CHANGE_MKDIR, path);
            begun = folded + 1;
        }
        moments[i].folded = folded;
        moments[i].begun = begun;
        take_moment(node, &moments[i]);
    }
    for (unsigned i = 0; i < MOMENTS; i++) {
        for (unsigned j = i; j < MOMENTS; j++) {
            struct replay replay;
            replay_read(&replay, moments[j].journal->data, moments[j].journal->len);
            bool follows = replay_follows(&replay, &moments[i].root);
            assert_int_equal(follows,
                             moments[j].begun > 0 && moments[j].begun - moments[i].folded <= 2);
            if (follows)
                assert_goes_on(&moments[i], &moments[j]);
        }
    }
    for (unsigned i = 0; i < MOMENTS; i++)
        leave_moment(&moments[i]);
}

/* An area that is overwritten while it is read, and a database of another history. */
static void test_a_journal_that_does_not_fit(void **state)
{
    struct node *node = *state;
    g_autofree char *path = node_beside(node, ".journal");
    struct replay replay;
    GByteArray *journal;
    char *message = NULL;

    for (unsigned i = 0; i < 4; i++) {
        g_autofree char *name = g_strdup_printf("d%u", i);
        node_make(node, CHANGE_MKDIR, name);
    }
    assert_int_equal(journal_read(path, &journal, &message), 0);
    replay_read(&replay, journal->data, journal->len);
    assert_true(replay_follows(&replay, &(struct root){.version = 1}));
    assert_true(replay_follows(&replay, &node->state->tree->root));
    assert_false(replay_follows(&replay, &(struct root){.version = 2}));
    assert_false(replay_follows(&replay, &(struct root){.version = 1, .mtime = 1}));
    journal->data[size_of(path) / 2] ^= 0x40;
    replay_read(&replay, journal->data, journal->len);
    assert_false(replay_follows(&replay, &(struct root){.version = 1}));
    g_byte_array_unref(journal);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_overtaken, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_a_restored_backup, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_ten_are_kept, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_dates_to_come, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_a_refused_database, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_torn_at_every_byte, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_in_the_middle, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_damaged_while_config_db_takes_nothing, node_set_up,
                                        node_tear_down),
        cmocka_unit_test(test_damaged_and_folded_at_last),
        cmocka_unit_test_setup_teardown(test_what_is_left_of_earlier_use, node_set_up,
                                        node_tear_down),
        cmocka_unit_test_setup_teardown(test_no_journal_of_ours, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_a_journal_that_went_on, node_set_up, node_tear_down),
        cmocka_unit_test_setup_teardown(test_a_journal_that_does_not_fit, node_set_up,
                                        node_tear_down),
    };

    log_detach(); /* failures are expected */
    place_use_memory();
    int failures = cmocka_run_group_tests_name("recovery", tests, NULL, NULL);
    place_leave_memory();
    return failures;
}
