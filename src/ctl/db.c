/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the commands that work on a database file share. */
#include "ctl/db.h"

#include <errno.h>
#include <fcntl.h>
#include <glib.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/util.h"
#include "ctl/tools/check.h"
#include "host/paths.h"
#include "store/text.h"

/* ---- Findings ---- */

static const struct {
    const char *word;
    enum colour colour;
} severities[] = {
    [STORE_NOTE] = {"note", COLOUR_BOLD},      [STORE_WARNING] = {"warning", COLOUR_YELLOW},
    [STORE_REFUSED] = {"refused", COLOUR_RED}, [STORE_REPAIRED] = {"repaired", COLOUR_GREEN},
    [STORE_LOST] = {"lost", COLOUR_RED},
};

static void print_finding(FILE *to, const struct store_finding *finding)
{
    fprintf(to, "%s%s%s: %s\n", colour_begin(to, severities[finding->severity].colour),
            severities[finding->severity].word, colour_end(to), finding->text);
    if (finding->path)
        fprintf(to, "    path: %s\n", finding->path);
    if (finding->remedy)
        fprintf(to, "    remedy: %s\n", finding->remedy);
}

static void keep_finding(json_t *list, const struct store_finding *finding)
{
    json_t *object = json_object();

    json_object_set_new(object, "severity", json_string(severities[finding->severity].word));
    json_object_set_new(object, "problem", json_string(tools_problem_name(finding->problem)));
    json_object_set_new(object, "inode", json_integer((json_int_t)finding->inode));
    if (finding->other)
        json_object_set_new(object, "other", json_integer((json_int_t)finding->other));
    if (finding->path)
        json_object_set_new(object, "path", db_json_string(finding->path));
    json_object_set_new(object, "text", db_json_string(finding->text));
    if (finding->remedy)
        json_object_set_new(object, "remedy", db_json_string(finding->remedy));
    json_array_append_new(list, object);
}

static void found(struct store_checker *checker, const struct store_finding *finding)
{
    struct db_findings *findings = container_of(checker, struct db_findings, checker);
    unsigned int *const counts[] = {
        [STORE_NOTE] = &findings->notes,      [STORE_WARNING] = &findings->warnings,
        [STORE_REFUSED] = &findings->refused, [STORE_REPAIRED] = &findings->repaired,
        [STORE_LOST] = &findings->lost,
    };

    progress_hide(&findings->progress);
    (*counts[finding->severity])++;
    findings->rows += finding->severity == STORE_REFUSED && finding->problem != PROBLEM_FILE;
    if (findings->to)
        print_finding(findings->to, finding);
    else
        keep_finding(findings->list, finding);
}

static void step(struct store_checker *checker, uint64_t done, uint64_t total)
{
    struct db_findings *findings = container_of(checker, struct db_findings, checker);

    progress_step(&findings->progress, done, total);
}

void db_findings_init(struct db_findings *findings, FILE *to)
{
    *findings = (struct db_findings){
        .checker = {.found = found, .progress = step}, .to = to, .list = to ? NULL : json_array()};
}

/* Warnings are for those who check, unless something is not read that was acknowledged. */
static void found_reading(struct store_checker *checker, const struct store_finding *finding)
{
    if (finding->severity == STORE_REFUSED ||
        (finding->severity == STORE_WARNING && finding->problem == PROBLEM_JOURNAL))
        found(checker, finding);
}

const char *db_no_database(const char *path)
{
    static const char magic[16] = "SQLite format 3"; /* with its NUL */
    char first[sizeof(magic)];
    struct stat info;
    const char *reason = NULL;

    if (stat(path, &info) < 0)
        return NULL;
    if (S_ISDIR(info.st_mode))
        return "it is a directory";
    if (!S_ISREG(info.st_mode))
        return "it is no file";
    if (info.st_size == 0)
        return "it is empty";
    int file = open(path, O_RDONLY | O_CLOEXEC);
    ssize_t got = file < 0 ? -1 : pread(file, first, sizeof(first), 0);
    if (got >= 0 && got < (ssize_t)sizeof(first))
        reason = "it is too short";
    else if (got > 0 && memcmp(first, magic, sizeof(magic)) != 0)
        reason = "it does not begin as SQLite's files do";
    if (file >= 0)
        close(file);
    return reason;
}

struct tree *db_read(const char *path)
{
    struct db_findings findings;
    struct tree *tree;
    g_autofree char *what = g_strconcat("reading ", path, NULL);

    db_findings_init(&findings, stderr);
    findings.checker.found = found_reading;
    progress_start(&findings.progress, what);
    int error = tools_read(path, NULL, &findings.checker, &tree);
    progress_end(&findings.progress);
    if (!error)
        return tree;
    const char *reason = db_no_database(path);
    if (reason)
        fprintf(stderr, "error: %s is no database: %s\n", path, reason);
    else
        fprintf(stderr, "error: %s cannot be read%s\n", path,
                error == -EBADMSG ? " (pmxcfsctl db check --repair may help)" : "");
    return NULL;
}

/* ---- Texts ---- */

json_t *db_json_text(const char *bytes, size_t length)
{
    if (g_utf8_validate_len(bytes, length, NULL))
        return json_stringn(bytes, length);
    g_autofree char *shown = store_text_shown(bytes, length);
    return json_string(shown);
}

json_t *db_json_string(const char *string)
{
    return db_json_text(string, strlen(string));
}

void db_print_json(json_t *value)
{
    json_dumpf(value, stdout, JSON_INDENT(2));
    putchar('\n');
    json_decref(value);
}

void db_print_written(const char *path, const struct tree *tree)
{
    g_autofree char *entries = db_entries_shown(tree);

    printf("%s: version %" PRIu64 ", %s\n", path, tree->root.version, entries);
}

json_t *db_json_written(const char *path, const struct tree *tree)
{
    return json_pack("{s:o, s:I, s:I}", "file", db_json_string(path), "version",
                     (json_int_t)tree->root.version, "entries", (json_int_t)tree_entry_count(tree));
}

char *db_path_shown(const struct tree *tree, const struct entry *entry)
{
    g_autofree char *path = tree_path(tree, entry->inode);

    return store_text_shown(path, strlen(path));
}

char *db_count_shown(uint64_t count, const char *one, const char *more)
{
    return g_strdup_printf("%" PRIu64 " %s", count, count == 1 ? one : more);
}

char *db_entries_shown(const struct tree *tree)
{
    return db_count_shown(tree_entry_count(tree), "entry", "entries");
}

/* Not g_format_size(): its space is one that cannot be typed, so nobody could search for it. */
char *db_size_shown(uint64_t bytes)
{
    static const char *const units[] = {"bytes", "KiB", "MiB", "GiB", "TiB"};
    double size = (double)bytes;
    size_t unit = 0;

    while (size >= 1024 && unit + 1 < G_N_ELEMENTS(units)) {
        size /= 1024;
        unit++;
    }
    return g_strdup_printf(unit ? "%.1f %s" : "%.0f %s", size, units[unit]);
}

char *db_time_shown(uint32_t seconds)
{
    time_t time = (time_t)seconds;
    struct tm date;
    char stamp[32];

    localtime_r(&time, &date);
    strftime(stamp, sizeof(stamp), "%Y-%m-%d %H:%M:%S", &date);
    return g_strdup(stamp);
}

/* ---- Files ---- */

bool db_same_file(const char *path, const char *other)
{
    struct stat first;
    struct stat second;

    return stat(path, &first) == 0 && stat(other, &second) == 0 && first.st_dev == second.st_dev &&
           first.st_ino == second.st_ino;
}

int db_rename(const char *from, const char *to)
{
    g_autofree char *directory = g_path_get_dirname(to);
    int file = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    int error = file < 0 || rename(from, to) < 0 || fsync(file) < 0 ? -errno : 0;

    if (file >= 0)
        close(file);
    errno = -error;
    return error;
}

int db_lock(const char *state_dir, bool make)
{
    g_autofree char *path = g_build_filename(state_dir, STATE_LOCK_FILE, NULL);
    int file = open(path, O_RDWR | O_CLOEXEC | O_NOFOLLOW | (make ? O_CREAT : 0), 0600);

    if (file < 0)
        return -errno;
    if (flock(file, LOCK_EX | LOCK_NB) == 0)
        return file;
    int error = -errno;
    close(file);
    return error;
}

bool db_is_running(const char *state_dir)
{
    int lock = db_lock(state_dir, false);

    if (lock >= 0)
        close(lock);
    return lock == -EWOULDBLOCK;
}

/* ---- Paths ---- */

static void clear_entry(gpointer pointer)
{
    g_free(((struct db_entry *)pointer)->path);
}

int db_compare_paths(const char *first, const char *second)
{
    while (*first && *first == *second) {
        first++;
        second++;
    }
    int left = *first == '/' ? 1 : (unsigned char)*first;
    int right = *second == '/' ? 1 : (unsigned char)*second;
    return left - right;
}

static int compare_entries(gconstpointer a, gconstpointer b)
{
    return db_compare_paths(((const struct db_entry *)a)->path, ((const struct db_entry *)b)->path);
}

GArray *db_sorted(const struct tree *tree)
{
    g_autoptr(GPtrArray) entries = tree_sorted(tree);
    GArray *sorted = g_array_sized_new(FALSE, FALSE, sizeof(struct db_entry), entries->len);

    g_array_set_clear_func(sorted, clear_entry);
    for (guint i = 0; i < entries->len; i++) {
        const struct entry *entry = entries->pdata[i];
        struct db_entry item = {.path = tree_path(tree, entry->inode), .entry = entry};
        g_array_append_val(sorted, item);
    }
    g_array_sort(sorted, compare_entries);
    return sorted;
}
