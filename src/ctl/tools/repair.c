/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Makes a database that loads of one that does not: what the load's own checks find is put right,
 * until they find nothing more. */
#include "ctl/tools/repair.h"

#include <errno.h>
#include <string.h>

#include "ctl/tools/salvage.h"
#include "ctl/tools/save.h"
#include "ctl/tools/snapshot.h"
#include "journal/read.h"
#include "journal/replay.h"
#include "store/file.h"
#include "store/load.h"
#include "store/structure.h"
#include "store/text.h"

/* Times that all rows are looked at; each brings one level of a tree into order at least. */
#define ROUNDS_MAX 10000
/* Bytes of the old name that a name in lost+found begins with. */
#define OLD_NAME_KEPT 200u

struct repair {
    struct load load;
    GHashTable *parents; /* inodes that are some row's parent, as keys */
    GHashTable *moved; /* inode of a directory that is gone → the one that has its content now */
    GHashTable *missing; /* inode of a missing directory → the one made in its index */
    GHashTable *kept;    /* inode of the first of several twins → the one that keeps its index */
    GHashTable *settled; /* inodes that were moved in this round: notes on them are out of date */
    uint64_t version;    /* the global version before */
    uint64_t lost;       /* inode of lost+found; 0: not needed so far */
    bool full;           /* there are no more inodes */
};

static gpointer key_of(uint64_t inode)
{
    return (gpointer)(uintptr_t)inode;
}

static uint64_t look_up(GHashTable *table, uint64_t inode)
{
    return (uintptr_t)g_hash_table_lookup(table, key_of(inode));
}

/* The row of an inode; NULL: there is none any more. Valid until a row is added. */
static struct row *find(const struct repair *repair, uint64_t inode)
{
    uint32_t index = load_find(&repair->load, inode);
    struct row *row = index < ROW_NONE ? load_row(&repair->load, index) : NULL;

    return row && !row->gone ? row : NULL;
}

/* A new row at the end, which takes `entry` over; its inode is the number of the last. */
static void append(struct repair *repair, struct entry *entry)
{
    struct row row = {.entry = entry,
                      .inode = entry->inode,
                      .parent_inode = entry->parent,
                      .parent = ROW_NONE,
                      .directory = entry_is_directory(entry)};

    g_array_append_val(repair->load.rows, row);
    g_hash_table_add(repair->parents, key_of(entry->parent));
}

/* The number of the next new entry, which is also the version that it makes. 0: there are no more.
 */
static uint64_t next_inode(struct repair *repair)
{
    const GArray *rows = repair->load.rows;
    struct root *root = &repair->load.root;
    int64_t last = rows->len > 0 ? (int64_t)load_row(&repair->load, rows->len - 1)->inode : 0;
    uint64_t highest = MAX(root->version, (uint64_t)MAX(last, 0));

    repair->full = repair->full || highest >= INT64_MAX;
    if (repair->full)
        return 0;
    root->version = highest + 1;
    return root->version;
}

static uint64_t add_entry(struct repair *repair, uint64_t parent, enum entry_type type,
                          const char *name, struct buffer *content, uint32_t size)
{
    uint64_t inode = next_inode(repair);

    if (inode == 0)
        return 0;
    struct entry *entry =
        entry_new(inode, parent, (uint8_t)type, name, strlen(name), content, size);
    entry->version = inode;
    entry->mtime = (uint32_t)(g_get_real_time() / G_USEC_PER_SEC);
    append(repair, entry);
    return inode;
}

/* The directory of that name, which is made if there is none. 0: no numbers are left. */
static uint64_t need_directory(struct repair *repair, uint64_t parent, const char *name)
{
    for (guint i = 0; i < repair->load.rows->len; i++) {
        const struct row *row = load_row(&repair->load, i);
        if (!row->gone && !row->stray && row->directory && row->parent_inode == parent &&
            strcmp(row->entry->name, name) == 0)
            return row->inode;
    }
    return add_entry(repair, parent, ENTRY_DIRECTORY, name, NULL, 0);
}

static uint64_t lost_directory(struct repair *repair)
{
    if (repair->lost == 0) {
        uint64_t private = need_directory(repair, 0, "priv");
        repair->lost = private ? need_directory(repair, private, "lost+found") : 0;
    }
    return repair->lost;
}

/* NAME.inode-9: no other entry can be called so. */
static char *lost_name(const struct entry *entry, const char *suffix)
{
    GString *name = g_string_new_len(entry->name, MIN(entry->name_length, OLD_NAME_KEPT));

    for (gsize i = 0; i < name->len; i++) {
        if (name->str[i] == '/' || name->str[i] == '\0')
            name->str[i] = '_';
    }
    g_string_append_printf(name, "%sinode-%" G_GINT64_FORMAT "%s", name->len > 0 ? "." : "",
                           (int64_t)entry->inode, suffix);
    return g_string_free(name, FALSE);
}

static void set_parent(struct repair *repair, struct row *row, uint64_t parent)
{
    row->entry->parent = parent;
    row->parent_inode = parent;
    g_hash_table_add(repair->parents, key_of(parent));
}

/* ---- What is done about each problem: it says what it did, NULL: nothing ---- */

static char *move_to_lost(struct repair *repair, uint64_t inode)
{
    uint64_t lost = lost_directory(repair);
    struct row *row = find(repair, inode);

    if (!row || lost == 0 || !g_hash_table_add(repair->settled, key_of(inode)))
        return NULL;
    g_autofree char *name = lost_name(row->entry, "");
    struct entry *renamed = entry_clone_renamed(row->entry, lost, name, strlen(name));
    entry_unref(row->entry);
    row->entry = renamed;
    row->stray = row->stray && (int64_t)inode < 0;
    set_parent(repair, row, lost);
    return g_strdup("it is in " REPAIR_DIRECTORY " now");
}

/* All that was in one missing directory stays together. */
static char *adopt(struct repair *repair, uint64_t inode)
{
    struct row *row = find(repair, inode);

    if (!row)
        return NULL;
    if (row->stray)
        return move_to_lost(repair, inode);
    uint64_t parent = row->parent_inode;
    uint64_t home = look_up(repair->missing, parent);
    if (home == 0) {
        uint64_t lost = lost_directory(repair);
        g_autofree char *name = g_strdup_printf("inode-%" G_GINT64_FORMAT, (int64_t)parent);
        home = lost ? add_entry(repair, lost, ENTRY_DIRECTORY, name, NULL, 0) : 0;
        if (home == 0)
            return NULL;
        g_hash_table_insert(repair->missing, key_of(parent), key_of(home));
        row = find(repair, inode);
    }
    set_parent(repair, row, home);
    return g_strdup_printf("it is in " REPAIR_DIRECTORY "/inode-%" G_GINT64_FORMAT " now",
                           (int64_t)parent);
}

/* The data of a directory becomes a file. */
static char *split_data(struct repair *repair, uint64_t inode)
{
    const struct row *row = find(repair, inode);

    if (!row || !row->directory || !row->entry->content)
        return NULL;
    struct entry *entry = row->entry;
    uint64_t lost = lost_directory(repair);
    if (lost == 0)
        return NULL;
    struct buffer *content = g_steal_pointer(&entry->content);
    g_autofree char *name = lost_name(entry, ".data");
    g_autofree char *shown = text_name_shown(name, strlen(name));
    add_entry(repair, lost, ENTRY_FILE, name, content, entry->size);
    entry->size = 0;
    buffer_unref(content);
    return g_strdup_printf("the data is in " REPAIR_DIRECTORY "/%s now", shown);
}

/* Something with content that nothing lies in is a file. */
static char *choose_type(struct repair *repair, uint64_t inode)
{
    struct row *row = find(repair, inode);

    if (!row)
        return NULL;
    if (!row->entry->content || g_hash_table_contains(repair->parents, key_of(inode))) {
        g_free(split_data(repair, inode));
        return g_strdup("it is a directory now");
    }
    row->directory = false;
    row->entry->type = ENTRY_FILE;
    return g_strdup("it is a file now");
}

/* A new number; what lies in it comes along at the end of the round. */
static char *renumber(struct repair *repair, uint64_t inode)
{
    uint64_t number = find(repair, inode) ? next_inode(repair) : 0;

    if (number == 0)
        return NULL;
    struct row *row = find(repair, inode);
    struct entry *entry = g_steal_pointer(&row->entry);
    row->gone = true;
    entry->inode = number;
    append(repair, entry);
    g_hash_table_insert(repair->moved, key_of(inode), key_of(number));
    return g_strdup_printf("it is inode %" G_GUINT64_FORMAT " now", number);
}

/* The newer of two files stays. */
static char *keep_newer(struct repair *repair, uint64_t inode, uint64_t first)
{
    uint64_t winner = look_up(repair->kept, first);
    const struct row *row = find(repair, inode);

    winner = winner ? winner : first;
    const struct row *other = find(repair, winner);
    if (!row || !other || row == other || g_hash_table_contains(repair->settled, key_of(inode)) ||
        g_hash_table_contains(repair->settled, key_of(winner)))
        return NULL;
    bool newer = row->directory != other->directory ? row->directory
                                                    : row->entry->version > other->entry->version;
    g_hash_table_insert(repair->kept, key_of(first), key_of(newer ? inode : winner));
    g_free(move_to_lost(repair, newer ? winner : inode));
    return g_strdup_printf("inode %" G_GUINT64_FORMAT ", the older one, is in " REPAIR_DIRECTORY
                           " now",
                           newer ? winner : inode);
}

/* Two directories of one name become one. */
static char *merge(struct repair *repair, uint64_t inode, uint64_t first)
{
    struct row *row = find(repair, inode);
    const struct row *other = find(repair, first);

    if (!row || !other || !row->directory || !other->directory)
        return keep_newer(repair, inode, first);
    row->gone = true;
    g_hash_table_insert(repair->moved, key_of(inode), key_of(first));
    if (repair->lost == inode)
        repair->lost = first;
    return g_strdup_printf("all that was in inode %" G_GUINT64_FORMAT
                           " is in inode %" G_GUINT64_FORMAT " now",
                           inode, first);
}

static char *raise_version(struct repair *repair, uint64_t inode)
{
    repair->load.root.version = MAX(repair->load.root.version, inode);
    return g_strdup_printf("it is %" G_GUINT64_FORMAT " now", repair->load.root.version);
}

static char *put_right(struct repair *repair, const struct note *note)
{
    switch (note->problem) {
    case PROBLEM_NUMBER:
        return g_strdup("it is 0 now");
    case PROBLEM_NEGATIVE:
        return renumber(repair, note->inode);
    case PROBLEM_NAME:
        return note->inode == 0 ? g_strdup("it has its name again")
                                : move_to_lost(repair, note->inode);
    case PROBLEM_LOOP:
    case PROBLEM_GUEST_DIRECTORY:
        return move_to_lost(repair, note->inode);
    case PROBLEM_TYPE:
        return note->inode == 0 ? g_strdup("it is 8 now") : choose_type(repair, note->inode);
    case PROBLEM_DATA:
        return split_data(repair, note->inode);
    case PROBLEM_PARENT:
        return note->other ? move_to_lost(repair, note->inode) : adopt(repair, note->inode);
    case PROBLEM_TWIN:
        return merge(repair, note->inode, note->other);
    case PROBLEM_GUEST_TWIN:
        return keep_newer(repair, note->inode, note->other);
    case PROBLEM_VERSION:
        return raise_version(repair, note->inode);
    case PROBLEM_JOURNAL:
    case PROBLEM_FILE:
        break; /* the new file is another one */
    }
    return NULL;
}

/* ---- All of them ---- */

/* Takes rows out that are gone, and gives what lay in them its new parent. */
static void sweep(struct repair *repair)
{
    GArray *rows = repair->load.rows;
    guint kept = 0;

    for (guint i = 0; i < rows->len; i++) {
        struct row row = *load_row(&repair->load, i);
        load_row(&repair->load, i)->entry = NULL;
        if (row.gone) {
            entry_unref(row.entry);
            continue;
        }
        uint64_t parent = look_up(repair->moved, row.parent_inode);
        if (parent)
            set_parent(repair, &row, parent);
        *load_row(&repair->load, kept++) = row;
    }
    g_array_set_size(rows, kept);
    g_hash_table_remove_all(repair->moved);
    g_hash_table_remove_all(repair->kept);
    g_hash_table_remove_all(repair->settled);
}

static bool needs_repair(const struct note *note)
{
    return (note->severity == STORE_REFUSED && note->problem != PROBLEM_FILE) ||
           note->problem == PROBLEM_VERSION || note->problem == PROBLEM_NAME ||
           note->problem == PROBLEM_GUEST_DIRECTORY;
}

/* What was done about a note, for the report. Takes `what` over. */
static void tell(const struct repair *repair, GArray *done, const struct note *note, char *what)
{
    uint64_t moved = look_up(repair->moved, note->inode);
    struct note told = {.severity = what ? STORE_REPAIRED : note->severity,
                        .problem = note->problem,
                        .inode = moved ? moved : note->inode,
                        .other = note->other,
                        .text = g_strconcat(note->text, what ? ": " : NULL, what, NULL)};

    g_free(what);
    g_array_append_val(done, told);
}

/* One round: works off the notes of a check. True: there was nothing to do. */
static bool work_off(struct repair *repair, GArray *done)
{
    GArray *notes = repair->load.notes;
    bool clean = true;

    for (guint i = 0; i < notes->len; i++) {
        const struct note *note = &g_array_index(notes, struct note, i);
        if (note->severity == STORE_LOST)
            tell(repair, done, note, NULL);
        if (!needs_repair(note))
            continue;
        clean = false;
        char *what = put_right(repair, note);
        if (what)
            tell(repair, done, note, what);
    }
    g_array_set_size(notes, 0);
    sweep(repair);
    return clean;
}

/* Without row 0: the highest version that is known to have been. */
static void find_version(struct load *load)
{
    for (guint i = 0; i < load->rows->len && !load->has_root; i++)
        load->root.version = MAX(load->root.version, load_row(load, i)->entry->version);
}

/* 0: the rows are a tree. */
static int put_all_right(struct repair *repair, GArray *done)
{
    struct load *load = &repair->load;

    find_version(load);
    for (guint i = 0; i < load->rows->len; i++)
        g_hash_table_add(repair->parents, key_of(load_row(load, i)->parent_inode));
    for (int round = 0; round < ROUNDS_MAX && !repair->full; round++) {
        structure_check(load);
        if (work_off(repair, done))
            return 0;
    }
    return -EBADMSG;
}

/* ---- The files ---- */

static void repair_init(struct repair *repair, sqlite3 *db, struct store_checker *checker)
{
    *repair = (struct repair){
        .parents = g_hash_table_new(NULL, NULL),
        .moved = g_hash_table_new(NULL, NULL),
        .missing = g_hash_table_new(NULL, NULL),
        .kept = g_hash_table_new(NULL, NULL),
        .settled = g_hash_table_new(NULL, NULL),
    };
    load_init(&repair->load, db, checker);
}

static void repair_clear(struct repair *repair)
{
    g_hash_table_unref(repair->parents);
    g_hash_table_unref(repair->moved);
    g_hash_table_unref(repair->missing);
    g_hash_table_unref(repair->kept);
    g_hash_table_unref(repair->settled);
    load_clear(&repair->load);
}

/* The first reason why it cannot be repaired. */
static char *explain(const struct load *load)
{
    const char *text = "";

    for (guint i = load->notes->len; i-- > 0;) {
        const struct note *note = &g_array_index(load->notes, struct note, i);
        if (note->severity == STORE_REFUSED)
            text = note->text;
    }
    return g_strdup_printf("nothing of it can be saved: %s", text);
}

static int repair_rows(struct repair *repair, char **message)
{
    struct load *load = &repair->load;

    if (!salvage_rows(load)) {
        *message = explain(load);
        return load->error ? load->error : -EBADMSG;
    }
    GArray *done = load_notes_new();
    repair->version = load->root.version;
    int error = put_all_right(repair, done);
    if (error)
        *message = g_strdup_printf("it cannot be put right: %s",
                                   repair->full ? "there are no more inode numbers"
                                                : "too much of it contradicts itself");
    g_array_unref(load->notes);
    load->notes = done;
    return error;
}

int tools_repair_connection(sqlite3 *db, struct store_checker *checker, struct tree **tree,
                            bool *moved_on, char **message)
{
    struct repair repair;

    *message = NULL;
    *tree = NULL;
    repair_init(&repair, db, checker);
    int error = repair_rows(&repair, message);
    if (!error) {
        load_report(&repair.load);
        *tree = load_tree(&repair.load);
    }
    *moved_on = repair.load.root.version != repair.version;
    repair_clear(&repair);
    return error;
}

/* Brings the journal beside the database in, if it goes with the tree as it is now. */
static int bring_in(const char *path, struct store_checker *checker, bool moved_on,
                    struct tree **tree, char **message)
{
    g_autofree char *name = g_strconcat(path, ".journal", NULL);
    g_autofree char *text = NULL;
    struct store_finding finding = {.severity = STORE_LOST, .problem = PROBLEM_JOURNAL};
    struct replay replay = {0};
    GByteArray *journal;
    int error = journal_read(name, &journal, message);

    if (error)
        return error;
    if (!moved_on)
        snapshot_replay(journal, NULL, &replay, tree);
    if (moved_on && !snapshot_is_empty(journal)) {
        text = g_strdup_printf("changes in %s are not in the new database: they were made to the "
                               "old one as it was",
                               name);
    } else if (replay.keep) {
        text = g_strdup_printf("changes in %s cannot be brought in: %s", name, replay.reason);
    } else if (replay.outcome == REPLAY_CHANGES) {
        finding.severity = STORE_REPAIRED;
        text = g_strdup_printf("%u %s in the new database", replay.changes,
                               replay.changes == 1 ? "change was in the journal: it is"
                                                   : "changes were in the journal: they are");
    }
    finding.text = text;
    if (text)
        checker->found(checker, &finding);
    replay_clear(&replay);
    g_byte_array_unref(journal);
    return 0;
}

int tools_repair(const char *given, const char *copy, struct store_checker *checker, char **message)
{
    g_autofree char *path = file_resolve(given, NULL);
    struct tree *tree;
    bool moved_on;
    sqlite3 *db;

    *message = NULL;
    int error = file_require_absent(copy, message);
    if (error)
        return error;
    error = file_require_present(path, NULL, message);
    if (!error)
        error = file_open_damaged(path, &db, message);
    if (error)
        return error;
    error = tools_repair_connection(db, checker, &tree, &moved_on, message);
    sqlite3_close(db);
    if (error)
        return error;
    error = bring_in(path, checker, moved_on, &tree, message);
    if (!error)
        error = tools_save(tree, copy, message);
    tree_free(tree);
    return error;
}
