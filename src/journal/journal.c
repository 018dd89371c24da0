/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The running journal: what was acknowledged and is not in config.db yet, in a file beside it and
 * in memory (doc/journal.md). */
#include "journal/journal.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/directory.h"
#include "base/lock.h"
#include "base/log.h"
#include "core/state.h"
#include "journal/quarantine.h"

/* So much of an area, or of the files that are in it, makes a fold worth its while. The area's
 * other half is for what comes meanwhile. */
#define AREA_LARGE (JOURNAL_AREA_SIZE / 2)
#define CONTENT_LARGE (16u * 1024 * 1024)
/* Contents that may wait; more is stored directly. */
#define CONTENT_WAITING_MAX (64u * 1024 * 1024)
/* A fold that is under way has so many delays: who commits would have to wait for it, and with a
 * writer the group, however long a busy machine needs. */
#define FOLD_PATIENCE 2u
/* The buffer for records is not kept if it has become larger. */
#define BUFFER_KEPT (256u * 1024)

struct area {
    struct journal_waiting *waiting; /* NULL: free */
    uint64_t since;                  /* milliseconds when its first record was appended */
    uint64_t generation;
    uint32_t sequence; /* of the next record */
    uint32_t at;       /* where the next record goes, in the area */
    uint64_t content;  /* sum of the sizes of the entries */
    bool large;        /* was said */
};

struct journal {
    struct journal_options options;
    struct clock_source *clock; /* borrowed, or `system` */
    struct clock_source system;
    char *path;
    int file;
    GByteArray *buffer;  /* the writer's */
    uint64_t generation; /* of the last area that something may be of in the file */
    const char *aside;   /* the file is not emptied but put into quarantine; NULL: it is emptied */
    bool emptied; /* by the last journal_restart(): a file of size 0 is so after power loss too */
    struct journal_metrics metrics;

    struct lock lock; /* guards what follows; a fold holds it only to take and to give back */
    struct area areas[JOURNAL_AREAS];
    unsigned int active; /* the area that is appended to; the other one is being folded, or free */
    bool folding;        /* what was taken is on its way to config.db */
    bool usable;         /* false: nothing is appended before journal_restart() */
    off_t unspoiled;     /* where a record that failed may be whole in the file; -1: nowhere */
};

static uint64_t now_milliseconds(const struct journal *journal)
{
    return journal->clock->milliseconds(journal->clock);
}

/* ---- What waits ---- */

GHashTable *journal_entries_new(void)
{
    /* Without an equality function it compares without a call. */
    return g_hash_table_new_full(g_direct_hash, NULL, NULL, entry_destroy);
}

static void waiting_free(struct journal_waiting *waiting)
{
    if (!waiting)
        return;
    g_hash_table_unref(waiting->entries);
    g_free(waiting);
}

static struct area *active_area(struct journal *journal)
{
    return &journal->areas[journal->active];
}

static struct area *other_area(struct journal *journal)
{
    return &journal->areas[1 - journal->active];
}

/* Where the next record goes, and its number, agree; what is free has none. */
static void assert_sound(const struct area *area)
{
    assert(area->at % JOURNAL_ALIGNMENT == 0 && area->at <= JOURNAL_AREA_SIZE);
    assert((area->sequence == 0) == (area->at == 0));
    assert(!area->waiting || area->waiting->entries);
}

/* The area's file space is written anew from its beginning. */
static void begin_area(struct journal *journal, struct area *area, const struct root *root)
{
    assert(!area->waiting);
    *area = (struct area){
        .waiting = g_new0(struct journal_waiting, 1),
        .since = now_milliseconds(journal),
        .generation = journal->generation + 1,
    };
    area->waiting->entries = journal_entries_new();
    area->waiting->root = *root;
}

static void note_draft(struct area *area, const struct draft *draft)
{
    GHashTableIter iter;
    gpointer inode;
    gpointer entry;

    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, &inode, &entry))
        g_hash_table_insert(area->waiting->entries, inode, entry_ref(entry));
    area->waiting->root = draft->root;
}

/* ---- Appending ---- */

static uint64_t size_of(const struct entry *entry)
{
    return entry ? entry->size : 0;
}

/* A bound for the record that saves building one that is too large: it has all contents. */
static bool is_too_large(const struct draft *draft)
{
    return g_hash_table_size(draft->entries) > JOURNAL_RECORD_MAX / 1024;
}

/* A record has 16 bits for the length of a name. None that a mount can send is as long, but
 * members apply what other members send. */
static bool has_endless_name(const struct draft *draft)
{
    GHashTableIter iter;
    gpointer entry;

    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, NULL, &entry)) {
        if (entry && ((const struct entry *)entry)->name_length > UINT16_MAX)
            return true;
    }
    return false;
}

/* Row 0 must rise, since it tells the states apart. A synchronisation has other states. */
static bool is_for_journal(const struct draft *draft)
{
    return !draft->rebuild && g_hash_table_size(draft->entries) > 0 &&
           draft->root.version > draft->base->tree->root.version && !is_too_large(draft) &&
           !has_endless_name(draft);
}

/* Gives what the area's entries have for contents with it. */
static uint64_t build_record(struct journal *journal, const struct area *area,
                             const struct draft *draft)
{
    const struct tree *tree = draft->base->tree;
    uint64_t content = area->content;
    GHashTableIter iter;
    gpointer inode;
    gpointer entry;

    journal_record_begin(journal->buffer, area->generation, area->sequence, &area->waiting->root,
                         &draft->root);
    g_hash_table_iter_init(&iter, draft->entries);
    while (g_hash_table_iter_next(&iter, &inode, &entry)) {
        struct entry *before = tree_entry(tree, (uint64_t)(uintptr_t)inode);
        gpointer waits = NULL;
        bool chained = g_hash_table_lookup_extended(area->waiting->entries, inode, NULL, &waits);
        journal_record_add(journal->buffer, (uint64_t)(uintptr_t)inode, chained, before, entry);
        if (journal->buffer->len > JOURNAL_RECORD_MAX)
            return content;
        content += size_of(entry) - size_of(waits);
    }
    journal_record_finish(journal->buffer);
    return content;
}

static int write_record(const struct journal *journal, off_t offset)
{
    const GByteArray *record = journal->buffer;
    size_t done = 0;

    while (done < record->len) {
        ssize_t count =
            pwrite(journal->file, record->data + done, record->len - done, offset + (off_t)done);
        if (count < 0 && errno != EINTR)
            return -errno;
        done += count > 0 ? (size_t)count : 0;
    }
    return journal->options.full && fdatasync(journal->file) < 0 ? -errno : 0;
}

/* What was written of a record that failed must not come back as one. */
static void spoil(struct journal *journal)
{
    static const uint8_t zeros[JOURNAL_ALIGNMENT];

    if (journal->unspoiled < 0 ||
        pwrite(journal->file, zeros, sizeof(zeros), journal->unspoiled) < 0 ||
        (journal->options.full && fdatasync(journal->file) < 0))
        return; /* the next fold tries it again; on a disk that is past help, that fails too */
    journal->unspoiled = -1;
}

/* Holds the lock. */
static int append(struct journal *journal, struct area *area, const struct draft *draft)
{
    off_t offset = (off_t)journal->active * JOURNAL_AREA_SIZE + area->at;

    assert_sound(area);
    uint64_t content = build_record(journal, area, draft);
    if (journal->buffer->len > JOURNAL_RECORD_MAX ||
        area->at + journal->buffer->len > JOURNAL_AREA_SIZE)
        return -EAGAIN;
    journal->generation = area->generation;
    int error = write_record(journal, offset);
    if (error) {
        journal->unspoiled = offset;
        spoil(journal);
        journal->usable = false;
        return error;
    }
    counter_add(&journal->metrics.records, 1);
    counter_add(&journal->metrics.bytes, journal->buffer->len);
    area->at += journal->buffer->len;
    area->content = content;
    area->sequence++;
    note_draft(area, draft);
    assert_sound(area);
    return 0;
}

/* Holds the lock. */
static uint64_t age(struct journal *journal)
{
    const struct area *oldest =
        other_area(journal)->waiting ? other_area(journal) : active_area(journal);

    return oldest->waiting ? now_milliseconds(journal) - oldest->since : 0;
}

/* Holds the lock. What is recorded is the difference from what was stored last. */
static bool takes(struct journal *journal, const struct draft *draft)
{
    const uint64_t delay = journal->options.delay * (journal->folding ? FOLD_PATIENCE : 1);
    const struct area *last =
        active_area(journal)->waiting ? active_area(journal) : other_area(journal);

    return journal->usable && age(journal) < delay &&
           active_area(journal)->content < CONTENT_WAITING_MAX &&
           (!last->waiting || last->waiting->root.version == draft->base->tree->root.version);
}

static enum journal_urgency urgency_of(struct area *area)
{
    if (!area->large && (area->at >= AREA_LARGE || area->content >= CONTENT_LARGE)) {
        area->large = true;
        return JOURNAL_LARGE;
    }
    return area->sequence == 1 ? JOURNAL_FIRST : JOURNAL_WAITS;
}

int journal_append(struct journal *journal, const struct draft *draft,
                   enum journal_urgency *urgency)
{
    int error = -EAGAIN;

    if (!is_for_journal(draft))
        return error;
    lock_take(&journal->lock);
    struct area *area = active_area(journal);
    if (takes(journal, draft)) {
        if (!area->waiting)
            begin_area(journal, area, &draft->base->tree->root);
        error = append(journal, area, draft);
        *urgency = urgency_of(area);
        /* An area is not begun by what failed. */
        if (error && area->sequence == 0)
            g_clear_pointer(&area->waiting, waiting_free);
    }
    lock_give(&journal->lock);
    if (journal->buffer->len > BUFFER_KEPT) {
        g_byte_array_unref(journal->buffer);
        journal->buffer = g_byte_array_new();
    }
    return error;
}

/* ---- Folding ---- */

const struct journal_waiting *journal_take(struct journal *journal)
{
    LOCKED(&journal->lock);
    /* With that record the area would end where config.db never is. */
    spoil(journal);
    if (!other_area(journal)->waiting && active_area(journal)->waiting)
        journal->active = 1 - journal->active;
    journal->folding = other_area(journal)->waiting != NULL;
    return other_area(journal)->waiting;
}

void journal_folded(struct journal *journal)
{
    lock_take(&journal->lock);
    struct journal_waiting *waiting = g_steal_pointer(&other_area(journal)->waiting);
    assert(waiting); /* it was taken */
    journal->folding = false;
    lock_give(&journal->lock);
    waiting_free(waiting);
}

void journal_not_folded(struct journal *journal)
{
    LOCKED(&journal->lock);
    journal->folding = false;
}

const struct journal_metrics *journal_metrics(const struct journal *journal)
{
    return &journal->metrics;
}

/* ---- Opening and closing ---- */

static struct journal *journal_new(const char *path, const struct journal_options *options,
                                   struct journal_waiting *left)
{
    struct journal *journal = g_new0(struct journal, 1);

    journal->options = *options;
    journal->path = g_strdup(path);
    journal->file = -1;
    journal->unspoiled = -1;
    journal->buffer = g_byte_array_new();
    clock_source_system(&journal->system);
    journal->clock = options->clock ? options->clock : &journal->system;
    lock_init(&journal->lock, LOCK_RANK_JOURNAL);
    if (left) {
        journal->areas[1].waiting = left;
        journal->areas[1].since = now_milliseconds(journal);
        journal->aside = left->aside;
    }
    return journal;
}

static int open_file(struct journal *journal)
{
    journal->file = open(journal->path, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (journal->file < 0 || fchmod(journal->file, 0600) < 0)
        return -errno;
    return journal->options.full ? directory_sync(journal->path) : 0;
}

/* The file keeps its content under another name: what config.db did not get of it. */
static int set_aside(struct journal *journal)
{
    g_autofree char *name = NULL;
    int error = quarantine_move(journal->path, journal->aside, &name);

    if (error)
        return error;
    log_info("%s is kept as %s", journal->path, name);
    journal->aside = NULL;
    close(journal->file);
    journal->file = -1;
    return 0;
}

int journal_restart(struct journal *journal)
{
    struct stat info;
    int error = journal->aside ? set_aside(journal) : 0;

    if (!error && journal->file < 0)
        error = open_file(journal);
    if (!error && fstat(journal->file, &info) < 0)
        error = -errno;
    if (!error && (info.st_size > 0 || !journal->emptied)) {
        error = ftruncate(journal->file, 0) < 0 ? -errno : 0;
        if (!error && journal->options.full && fdatasync(journal->file) < 0)
            error = -errno;
    }
    journal->emptied = !error;
    LOCKED(&journal->lock);
    assert(!journal->areas[0].waiting && !journal->areas[1].waiting);
    journal->usable = !error && journal->options.delay > 0;
    journal->unspoiled = error ? journal->unspoiled : -1;
    return error;
}

int journal_open(const char *path, const struct journal_options *options,
                 struct journal_waiting *left, struct journal **result, char **message)
{
    struct journal *journal = journal_new(path, options, left);

    *result = NULL;
    int error = open_file(journal);
    if (!error && !left)
        error = journal_restart(journal);
    if (error) {
        *message = g_strdup_printf("cannot write to %s: %s", path, g_strerror(-error));
        journal_close(journal, false);
        return error;
    }
    *result = journal;
    return 0;
}

void journal_close(struct journal *journal, bool remove)
{
    if (!journal)
        return;
    if (remove && journal->aside)
        set_aside(journal); /* if it cannot be, the next start sees that its changes are stored */
    else if (remove)
        unlink(journal->path);
    if (journal->file >= 0)
        close(journal->file);
    for (size_t i = 0; i < JOURNAL_AREAS; i++)
        waiting_free(journal->areas[i].waiting);
    lock_destroy(&journal->lock);
    g_byte_array_unref(journal->buffer);
    g_free(journal->path);
    g_free(journal);
}
