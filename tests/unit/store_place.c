/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A directory of its own for a test of the store, and looks at what is in it that need no store. */
#include "store_place.h"

#include <errno.h>
#include <fcntl.h>
#include <sched.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>

#include <cmocka.h>

#define MEMORY_LIMIT "size=1g,mode=0700"

static char *base; /* NULL: the directory of temporary files */

bool place_use_memory(void)
{
    char *directory = g_dir_make_tmp("store-XXXXXX", NULL);

    if (!directory)
        return false;
    if (unshare(CLONE_NEWNS) == 0 && mount("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) == 0 &&
        mount("tmpfs", directory, "tmpfs", 0, MEMORY_LIMIT) == 0) {
        base = directory;
        return true;
    }
    rmdir(directory);
    g_free(directory);
    return false;
}

void place_leave_memory(void)
{
    if (base) {
        umount2(base, MNT_DETACH);
        rmdir(base);
    }
    g_clear_pointer(&base, g_free);
}

void place_start(struct place *place)
{
    place->directory = g_build_filename(base ? base : g_get_tmp_dir(), "store-XXXXXX", NULL);
    assert_non_null(g_mkdtemp(place->directory));
    place->path = g_build_filename(place->directory, "config.db", NULL);
}

static int compare_strings(gconstpointer a, gconstpointer b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* The names in a directory, sorted. */
static GPtrArray *list(const char *directory)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    g_autoptr(GDir) dir = g_dir_open(directory, 0, NULL);
    const char *name;

    while (dir && (name = g_dir_read_name(dir)))
        g_ptr_array_add(names, g_strdup(name));
    g_ptr_array_sort(names, compare_strings);
    return names;
}

void place_stop(struct place *place)
{
    g_autoptr(GPtrArray) names = list(place->directory);

    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(place->directory, names->pdata[i], NULL);
        if (unlink(path) < 0)
            rmdir(path);
    }
    rmdir(place->directory);
    g_free(place->path);
    g_free(place->directory);
}

char *place_snapshot(const struct place *place)
{
    g_autoptr(GPtrArray) names = list(place->directory);
    GString *text = g_string_new(NULL);

    for (guint i = 0; i < names->len; i++) {
        g_autofree char *path = g_build_filename(place->directory, names->pdata[i], NULL);
        g_autofree char *bytes = NULL;
        gsize size = 0;
        g_file_get_contents(path, &bytes, &size, NULL);
        g_autofree char *sum =
            g_compute_checksum_for_data(G_CHECKSUM_SHA256, (const guchar *)bytes, size);
        g_string_append_printf(text, "%s %zu %s\n", (char *)names->pdata[i], size, sum);
    }
    return g_string_free(text, FALSE);
}

char *place_names(const struct place *place)
{
    g_autoptr(GPtrArray) names = list(place->directory);

    g_ptr_array_add(names, NULL);
    return g_strjoinv(" ", (char **)names->pdata);
}

sqlite3 *place_connect(const char *path)
{
    sqlite3 *db;

    if (sqlite3_open_v2(path, &db, SQLITE_OPEN_READWRITE | SQLITE_OPEN_CREATE, NULL) != SQLITE_OK)
        fail_msg("%s: %s", path, sqlite3_errmsg(db));
    sqlite3_exec(db, "PRAGMA synchronous=OFF", NULL, NULL, NULL);
    return db;
}

void place_run(const struct place *place, const char *sql)
{
    sqlite3 *db = place_connect(place->path);

    if (sqlite3_exec(db, sql, NULL, NULL, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    sqlite3_close(db);
}

static void append_value(GString *text, sqlite3_stmt *row, int column)
{
    if (sqlite3_column_type(row, column) == SQLITE_BLOB) {
        const uint8_t *bytes = sqlite3_column_blob(row, column);
        g_string_append(text, "x'");
        for (int i = 0; i < sqlite3_column_bytes(row, column); i++)
            g_string_append_printf(text, "%02x", bytes[i]);
        g_string_append_c(text, '\'');
    } else if (sqlite3_column_type(row, column) == SQLITE_NULL) {
        g_string_append(text, "NULL");
    } else {
        g_string_append_len(text, (const char *)sqlite3_column_text(row, column),
                            sqlite3_column_bytes(row, column));
    }
}

char *place_rows(sqlite3 *db, const char *sql)
{
    GString *text = g_string_new(NULL);
    sqlite3_stmt *row;

    if (sqlite3_prepare_v2(db, sql, -1, &row, NULL) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    while (sqlite3_step(row) == SQLITE_ROW) {
        for (int i = 0; i < sqlite3_column_count(row); i++) {
            if (i > 0)
                g_string_append_c(text, '|');
            append_value(text, row, i);
        }
        g_string_append_c(text, '\n');
    }
    if (sqlite3_finalize(row) != SQLITE_OK)
        fail_msg("%s: %s", sql, sqlite3_errmsg(db));
    return g_string_free(text, FALSE);
}

/* What is between holes: of a journal with two areas that is little. */
static void copy_data(int from, int to, off_t begin, off_t end)
{
    char block[65536];

    while (begin < end) {
        ssize_t count = pread(from, block, MIN(sizeof(block), (size_t)(end - begin)), begin);
        assert_true(count > 0);
        assert_int_equal(pwrite(to, block, (size_t)count, begin), count);
        begin += count;
    }
}

void place_copy(const char *from, const char *to)
{
    int source = open(from, O_RDONLY | O_CLOEXEC);
    struct stat info;
    off_t hole = 0;

    assert_true(source >= 0);
    assert_int_equal(fstat(source, &info), 0);
    unlink(to);
    int target = open(to, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(target >= 0);
    assert_int_equal(ftruncate(target, info.st_size), 0);
    for (;;) {
        off_t data = lseek(source, hole, SEEK_DATA);
        if (data < 0)
            break;
        hole = lseek(source, data, SEEK_HOLE);
        assert_true(hole > data);
        copy_data(source, target, data, hole);
    }
    assert_int_equal(errno, ENXIO); /* no more data */
    close(target);
    close(source);
}

GPtrArray *place_vectors(void)
{
    GPtrArray *paths = g_ptr_array_new_with_free_func(g_free);
    const char *top = g_getenv("VECTORS");

    assert_non_null(top);
    g_autoptr(GPtrArray) directories = list(top);
    for (guint i = 0; i < directories->len; i++) {
        g_autofree char *directory = g_build_filename(top, directories->pdata[i], NULL);
        g_autoptr(GPtrArray) names = list(directory);
        for (guint j = 0; j < names->len; j++) {
            if (g_str_has_suffix(names->pdata[j], ".db"))
                g_ptr_array_add(paths, g_build_filename(directory, names->pdata[j], NULL));
        }
    }
    return paths;
}

uint32_t next_random(uint32_t *seed)
{
    *seed = *seed * 1664525u + 1013904223u;
    return *seed >> 8;
}

void place_write(const char *path, const void *bytes, size_t size)
{
    assert_true(g_file_set_contents(path, bytes, (gssize)size, NULL));
}
