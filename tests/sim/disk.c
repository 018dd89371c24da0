/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A node's disk in memory: it fills up, fails, and loses what was not synced when power goes. */
#include "disk_internal.h"

#include <assert.h>
#include <errno.h>
#include <sqlite3.h>
#include <stdio.h>
#include <string.h>

#include "base/util.h"
#include "journal/replay.h"

#define VFS_NAME "sim"
#define LOCK_SLOTS 8
#define SECTOR 512u

struct handle {
    sqlite3_file base;
    struct disk *disk;
    struct file *file;
    int lock;
    bool shm_mapped;
    unsigned int shm_shared; /* bit by slot */
    unsigned int shm_exclusive;
};

struct image {
    GHashTable *files; /* name → GByteArray */
    struct rows *rows;
};

/* Disks by the number in their path; one process runs one simulation at a time. */
static struct disk *disks[256];

/* ---- Files ---- */

static void free_unsynced(gpointer pointer)
{
    struct unsynced *unsynced = pointer;

    if (unsynced->bytes)
        g_byte_array_unref(unsynced->bytes);
}

static struct file *file_new(void)
{
    struct file *file = g_new0(struct file, 1);

    file->now = g_byte_array_new();
    file->safe = g_byte_array_new();
    file->unsynced = g_array_new(FALSE, FALSE, sizeof(struct unsynced));
    g_array_set_clear_func(file->unsynced, free_unsynced);
    file->handles = g_ptr_array_new();
    file->shm = g_ptr_array_new_with_free_func(g_free);
    return file;
}

static void file_free(gpointer pointer)
{
    struct file *file = pointer;

    assert(file->handles->len == 0);
    g_byte_array_unref(file->now);
    g_byte_array_unref(file->safe);
    g_array_unref(file->unsynced);
    g_ptr_array_unref(file->handles);
    g_ptr_array_unref(file->shm);
    g_free(file);
}

static void bytes_put(GByteArray *bytes, uint64_t offset, const void *data, size_t size)
{
    guint old = bytes->len;

    if (offset + size > old) {
        g_byte_array_set_size(bytes, (guint)(offset + size));
        if (offset > old)
            memset(bytes->data + old, 0, (size_t)(offset - old));
    }
    if (size > 0)
        memcpy(bytes->data + offset, data, size);
}

static void bytes_redo(GByteArray *bytes, const struct unsynced *unsynced)
{
    if (unsynced->bytes)
        bytes_put(bytes, unsynced->offset, unsynced->bytes->data, unsynced->bytes->len);
    else if (bytes->len > unsynced->offset)
        g_byte_array_set_size(bytes, (guint)unsynced->offset);
}

/* A write of which some sectors arrived and others did not. */
static void bytes_tear(struct disk *disk, GByteArray *bytes, const struct unsynced *unsynced)
{
    for (guint at = 0; at < unsynced->bytes->len; at += SECTOR) {
        guint size = MIN(SECTOR, unsynced->bytes->len - at);
        if (random_chance(disk->random, 500))
            bytes_put(bytes, unsynced->offset + at, unsynced->bytes->data + at, size);
    }
}

static GByteArray *bytes_copy(const GByteArray *bytes)
{
    GByteArray *copy = g_byte_array_sized_new(bytes->len);

    return g_byte_array_append(copy, bytes->data, bytes->len);
}

/* What is left of a file: all that was synced, and of the rest each write or not. */
static GByteArray *after_power_loss(struct disk *disk, const struct file *file)
{
    GByteArray *left = bytes_copy(file->safe);
    uint32_t kept = random_below(disk->random, 1001);

    for (guint i = 0; i < file->unsynced->len; i++) {
        const struct unsynced *unsynced = &g_array_index(file->unsynced, struct unsynced, i);
        if (random_chance(disk->random, kept))
            bytes_redo(left, unsynced);
        else if (unsynced->bytes && random_chance(disk->random, 100))
            bytes_tear(disk, left, unsynced);
    }
    return left;
}

static GHashTable *contents_new(void)
{
    return g_hash_table_new_full(g_str_hash, g_str_equal, g_free,
                                 (GDestroyNotify)g_byte_array_unref);
}

/* ---- Faults ---- */

void disk_crash(struct disk *disk, enum crash_kind kind)
{
    GHashTableIter iter;
    gpointer name, pointer;

    if (disk->crashed)
        return;
    disk->crashed = true;
    disk->lost_power |= kind == CRASH_POWER;
    disk->crash_at = 0;
    disk->left = contents_new();
    g_hash_table_iter_init(&iter, disk->files);
    while (g_hash_table_iter_next(&iter, &name, &pointer)) {
        const struct file *file = pointer;
        GByteArray *left =
            kind == CRASH_POWER ? after_power_loss(disk, file) : bytes_copy(file->now);
        g_hash_table_insert(disk->left, g_strdup(name), left);
    }
    if (disk->listener)
        disk->listener->crashing(disk->listener);
}

/* One more write or sync was carried out. */
void disk_count_step(struct disk *disk)
{
    if (disk->fail_at > 0 && --disk->fail_at == 0)
        disk->failing = true;
    if (disk->crash_at > 0 && --disk->crash_at == 0)
        disk_crash(disk, disk->crash_kind);
}

bool disk_is_useless(const struct disk *disk)
{
    return disk->crashed || disk->failing;
}

void disk_crash_at(struct disk *disk, uint32_t count, enum crash_kind kind)
{
    disk->crash_at = count;
    disk->crash_kind = kind;
}

bool disk_has_crashed(const struct disk *disk)
{
    return disk->crashed;
}

bool disk_lost_power(const struct disk *disk)
{
    return disk->lost_power;
}

void disk_set_full(struct disk *disk, bool full)
{
    disk->full = full;
}

void disk_set_failing(struct disk *disk, bool failing)
{
    disk->failing = failing;
    disk->fail_at = 0;
}

void disk_set_bad_block(struct disk *disk, bool bad)
{
    disk->bad_block = bad;
}

void disk_fail_at(struct disk *disk, uint32_t count)
{
    disk->fail_at = count;
}

void disk_mend(struct disk *disk)
{
    disk->fail_at = 0;
    disk->full = false;
    disk->failing = false;
    disk->bad_block = false;
}

bool disk_is_well(const struct disk *disk)
{
    return !disk->full && !disk->failing && !disk->bad_block;
}

static void take_contents(struct disk *disk, GHashTable *contents)
{
    GHashTableIter iter;
    gpointer name, bytes;

    g_hash_table_remove_all(disk->files);
    g_hash_table_iter_init(&iter, contents);
    while (g_hash_table_iter_next(&iter, &name, &bytes)) {
        struct file *file = file_new();
        g_byte_array_append(file->now, ((GByteArray *)bytes)->data, ((GByteArray *)bytes)->len);
        g_byte_array_append(file->safe, ((GByteArray *)bytes)->data, ((GByteArray *)bytes)->len);
        g_hash_table_insert(disk->files, g_strdup(name), file);
    }
}

void disk_reboot(struct disk *disk)
{
    take_contents(disk, disk->left);
    g_clear_pointer(&disk->left, g_hash_table_unref);
    disk->crashed = false;
}

/* ---- What is done to files ---- */

struct disk *disk_of(const char *name)
{
    unsigned int number = 0;

    if (sscanf(name, "/%u/", &number) != 1 || number >= G_N_ELEMENTS(disks))
        return NULL;
    return disks[number];
}

struct file *disk_file(struct disk *disk, const char *name, bool make)
{
    struct file *file = g_hash_table_lookup(disk->files, name);

    if (!file && make) {
        file = file_new();
        g_hash_table_insert(disk->files, g_strdup(name), file);
    }
    return file;
}

static void note_unsynced(struct file *file, uint64_t offset, const void *data, size_t size)
{
    struct unsynced unsynced = {.offset = offset};

    if (data) {
        unsynced.bytes = g_byte_array_sized_new((guint)size);
        g_byte_array_append(unsynced.bytes, data, (guint)size);
    }
    g_array_append_val(file->unsynced, unsynced);
}

int disk_write(struct disk *disk, struct file *file, const void *data, size_t size, uint64_t offset)
{
    if (disk_is_useless(disk))
        return -EIO;
    if (disk->full && offset + size > file->now->len)
        return -ENOSPC;
    bytes_put(file->now, offset, data, size);
    note_unsynced(file, offset, data, size);
    disk_count_step(disk);
    return 0;
}

void disk_truncate(struct file *file, uint64_t size)
{
    if (file->now->len > size)
        g_byte_array_set_size(file->now, (guint)size);
    note_unsynced(file, size, NULL, 0);
}

void disk_sync(struct file *file)
{
    for (guint i = 0; i < file->unsynced->len; i++)
        bytes_redo(file->safe, &g_array_index(file->unsynced, struct unsynced, i));
    g_array_set_size(file->unsynced, 0);
}

/* ---- Images ---- */

static bool is_of_journal(const char *name)
{
    return strstr(name, ".journal") != NULL;
}

struct image *disk_image(const struct disk *disk)
{
    struct image *image = g_new0(struct image, 1);
    GHashTableIter iter;
    gpointer name, file;

    image->files = contents_new();
    g_hash_table_iter_init(&iter, disk->files);
    while (g_hash_table_iter_next(&iter, &name, &file)) {
        if (!is_of_journal(name))
            g_hash_table_insert(image->files, g_strdup(name),
                                bytes_copy(((struct file *)file)->now));
    }
    image->rows = rows_copy(disk->rows);
    return image;
}

void disk_restore(struct disk *disk, const struct image *image)
{
    GHashTableIter iter;
    gpointer name, bytes, file;
    g_autoptr(GHashTable) contents = contents_new();

    g_hash_table_iter_init(&iter, disk->files);
    while (g_hash_table_iter_next(&iter, &name, &file)) {
        if (is_of_journal(name))
            g_hash_table_insert(contents, g_strdup(name), bytes_copy(((struct file *)file)->now));
    }
    /* Names begin with the number of the disk that they were taken from. */
    g_hash_table_iter_init(&iter, image->files);
    while (g_hash_table_iter_next(&iter, &name, &bytes))
        g_hash_table_insert(contents, g_strconcat(disk->path, strstr(name, ".db") + 3, NULL),
                            g_byte_array_ref(bytes));
    take_contents(disk, contents);
    rows_free(disk->rows);
    disk->rows = rows_copy(image->rows);
}

bool disk_has_journal(const struct disk *disk)
{
    GHashTableIter iter;
    gpointer name, file;
    struct replay_area area = {0};

    g_hash_table_iter_init(&iter, disk->files);
    while (area.count == 0 && g_hash_table_iter_next(&iter, &name, &file)) {
        const GByteArray *bytes = ((struct file *)file)->now;
        if (is_of_journal(name) && !strstr(name, ".journal."))
            replay_read_area(&area, bytes->data, bytes->len);
    }
    return area.count > 0;
}

void image_free(struct image *image)
{
    if (!image)
        return;
    g_hash_table_unref(image->files);
    rows_free(image->rows);
    g_free(image);
}

/* ---- SQLite's file layer ---- */

static struct handle *handle_of(sqlite3_file *base)
{
    return container_of(base, struct handle, base);
}

static int handle_close(sqlite3_file *base)
{
    struct handle *handle = handle_of(base);

    g_ptr_array_remove(handle->file->handles, handle);
    return SQLITE_OK;
}

static int handle_read(sqlite3_file *base, void *buffer, int size, sqlite3_int64 offset)
{
    struct handle *handle = handle_of(base);
    const GByteArray *now = handle->file->now;
    size_t there = (size_t)offset < now->len ? MIN((size_t)size, now->len - (size_t)offset) : 0;

    if (handle->disk->crashed)
        return SQLITE_IOERR_READ;
    if (there > 0)
        memcpy(buffer, now->data + offset, there);
    if (there == (size_t)size)
        return SQLITE_OK;
    memset((char *)buffer + there, 0, (size_t)size - there);
    return SQLITE_IOERR_SHORT_READ;
}

static int handle_write(sqlite3_file *base, const void *data, int size, sqlite3_int64 offset)
{
    const struct handle *handle = handle_of(base);
    struct disk *disk = handle->disk;

    /* The log of a large commit reaches the bad block. */
    if (disk->bad_block && disk->in_rebuild)
        return SQLITE_IOERR_WRITE;
    int error = disk_write(disk, handle->file, data, (size_t)size, (uint64_t)offset);
    return error == 0 ? SQLITE_OK : error == -ENOSPC ? SQLITE_FULL : SQLITE_IOERR_WRITE;
}

static int handle_truncate(sqlite3_file *base, sqlite3_int64 size)
{
    const struct handle *handle = handle_of(base);

    if (disk_is_useless(handle->disk))
        return SQLITE_IOERR_TRUNCATE;
    disk_truncate(handle->file, (uint64_t)size);
    disk_count_step(handle->disk);
    return SQLITE_OK;
}

static int handle_sync(sqlite3_file *base, int flags)
{
    const struct handle *handle = handle_of(base);

    (void)flags;
    if (disk_is_useless(handle->disk))
        return SQLITE_IOERR_FSYNC;
    disk_sync(handle->file);
    disk_count_step(handle->disk);
    return SQLITE_OK;
}

static int handle_size(sqlite3_file *base, sqlite3_int64 *size)
{
    *size = handle_of(base)->file->now->len;
    return SQLITE_OK;
}

static int handle_lock(sqlite3_file *base, int level)
{
    struct handle *handle = handle_of(base);
    int others = 0;

    if (handle->lock >= level)
        return SQLITE_OK;
    for (guint i = 0; i < handle->file->handles->len; i++) {
        const struct handle *other = handle->file->handles->pdata[i];
        if (other != handle)
            others = MAX(others, other->lock);
    }
    if (level == SQLITE_LOCK_SHARED ? others >= SQLITE_LOCK_PENDING
                                    : others >= SQLITE_LOCK_RESERVED)
        return SQLITE_BUSY;
    if (level == SQLITE_LOCK_EXCLUSIVE && others >= SQLITE_LOCK_SHARED) {
        handle->lock = SQLITE_LOCK_PENDING;
        return SQLITE_BUSY;
    }
    handle->lock = level;
    return SQLITE_OK;
}

static int handle_unlock(sqlite3_file *base, int level)
{
    handle_of(base)->lock = MIN(handle_of(base)->lock, level);
    return SQLITE_OK;
}

static int handle_check_reserved(sqlite3_file *base, int *reserved)
{
    const struct handle *handle = handle_of(base);

    *reserved = 0;
    for (guint i = 0; i < handle->file->handles->len; i++) {
        const struct handle *other = handle->file->handles->pdata[i];
        if (other->lock >= SQLITE_LOCK_RESERVED)
            *reserved = 1;
    }
    return SQLITE_OK;
}

static int handle_control(sqlite3_file *base, int operation, void *argument)
{
    (void)base;
    (void)operation;
    (void)argument;
    return SQLITE_NOTFOUND;
}

static int handle_sector_size(sqlite3_file *base)
{
    (void)base;
    return (int)SECTOR;
}

static int handle_characteristics(sqlite3_file *base)
{
    (void)base;
    return SQLITE_IOCAP_POWERSAFE_OVERWRITE;
}

static int handle_shm_map(sqlite3_file *base, int region, int size, int extend,
                          void volatile **memory)
{
    GPtrArray *shm = handle_of(base)->file->shm;

    handle_of(base)->shm_mapped = true;
    *memory = NULL;
    if ((guint)region >= shm->len && !extend)
        return SQLITE_OK;
    while (shm->len <= (guint)region)
        g_ptr_array_add(shm, g_malloc0((gsize)size));
    *memory = shm->pdata[region];
    return SQLITE_OK;
}

static int handle_shm_lock(sqlite3_file *base, int offset, int count, int flags)
{
    struct handle *handle = handle_of(base);
    unsigned int mask = ((1u << count) - 1u) << offset;
    unsigned int shared = 0, exclusive = 0;

    if (flags & SQLITE_SHM_UNLOCK) {
        handle->shm_shared &= ~mask;
        handle->shm_exclusive &= ~mask;
        return SQLITE_OK;
    }
    for (guint i = 0; i < handle->file->handles->len; i++) {
        const struct handle *other = handle->file->handles->pdata[i];
        shared |= other == handle ? 0 : other->shm_shared;
        exclusive |= other == handle ? 0 : other->shm_exclusive;
    }
    if ((exclusive & mask) || ((flags & SQLITE_SHM_EXCLUSIVE) && (shared & mask)))
        return SQLITE_BUSY;
    if (flags & SQLITE_SHM_EXCLUSIVE)
        handle->shm_exclusive |= mask;
    else
        handle->shm_shared |= mask;
    return SQLITE_OK;
}

static void handle_shm_barrier(sqlite3_file *base)
{
    (void)base;
}

/* Who maps it first finds it empty, and makes it of the log. */
static int handle_shm_unmap(sqlite3_file *base, int remove)
{
    struct handle *handle = handle_of(base);
    bool used = false;

    (void)remove;
    handle->shm_mapped = false;
    handle->shm_shared = 0;
    handle->shm_exclusive = 0;
    for (guint i = 0; i < handle->file->handles->len; i++)
        used = used || ((const struct handle *)handle->file->handles->pdata[i])->shm_mapped;
    if (!used)
        g_ptr_array_set_size(handle->file->shm, 0);
    return SQLITE_OK;
}

static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = handle_close,
    .xRead = handle_read,
    .xWrite = handle_write,
    .xTruncate = handle_truncate,
    .xSync = handle_sync,
    .xFileSize = handle_size,
    .xLock = handle_lock,
    .xUnlock = handle_unlock,
    .xCheckReservedLock = handle_check_reserved,
    .xFileControl = handle_control,
    .xSectorSize = handle_sector_size,
    .xDeviceCharacteristics = handle_characteristics,
    .xShmMap = handle_shm_map,
    .xShmLock = handle_shm_lock,
    .xShmBarrier = handle_shm_barrier,
    .xShmUnmap = handle_shm_unmap,
};

static int vfs_open(sqlite3_vfs *vfs, sqlite3_filename name, sqlite3_file *base, int flags,
                    int *given_flags)
{
    struct handle *handle = handle_of(base);
    struct disk *disk = name ? disk_of(name) : NULL;

    (void)vfs;
    memset(handle, 0, sizeof(*handle));
    if (!disk || disk->crashed)
        return SQLITE_CANTOPEN;
    bool make = (flags & SQLITE_OPEN_CREATE) && !disk_is_useless(disk);
    struct file *file = disk_file(disk, name, make);
    if (!file)
        return SQLITE_CANTOPEN;
    handle->disk = disk;
    handle->file = file;
    handle->base.pMethods = &methods;
    g_ptr_array_add(file->handles, handle);
    if (given_flags)
        *given_flags = flags;
    return SQLITE_OK;
}

static int vfs_delete(sqlite3_vfs *vfs, const char *name, int sync)
{
    struct disk *disk = disk_of(name);

    (void)vfs;
    (void)sync;
    if (!disk || disk_is_useless(disk))
        return SQLITE_IOERR_DELETE;
    if (!g_hash_table_remove(disk->files, name))
        return SQLITE_IOERR_DELETE_NOENT;
    disk_count_step(disk);
    return SQLITE_OK;
}

static int vfs_access(sqlite3_vfs *vfs, const char *name, int flags, int *result)
{
    const struct disk *disk = disk_of(name);

    (void)vfs;
    (void)flags;
    *result = disk && !disk->crashed && g_hash_table_contains(disk->files, name);
    return SQLITE_OK;
}

static int vfs_full_name(sqlite3_vfs *vfs, const char *name, int size, char *full)
{
    (void)vfs;
    sqlite3_snprintf(size, full, "%s", name);
    return SQLITE_OK;
}

static int vfs_randomness(sqlite3_vfs *vfs, int size, char *bytes)
{
    (void)vfs;
    memset(bytes, 42, (size_t)size);
    return size;
}

static int vfs_sleep(sqlite3_vfs *vfs, int microseconds)
{
    (void)vfs;
    return microseconds;
}

static int vfs_time(sqlite3_vfs *vfs, double *now)
{
    (void)vfs;
    *now = 2460000.5;
    return SQLITE_OK;
}

static int vfs_last_error(sqlite3_vfs *vfs, int size, char *text)
{
    (void)vfs;
    (void)size;
    (void)text;
    return 0;
}

static sqlite3_vfs vfs_sim = {
    .iVersion = 1,
    .szOsFile = sizeof(struct handle),
    .mxPathname = 64,
    .zName = VFS_NAME,
    .xOpen = vfs_open,
    .xDelete = vfs_delete,
    .xAccess = vfs_access,
    .xFullPathname = vfs_full_name,
    .xRandomness = vfs_randomness,
    .xSleep = vfs_sleep,
    .xCurrentTime = vfs_time,
    .xGetLastError = vfs_last_error,
};

/* ---- Making ---- */

struct disk *disk_at(const void *address, size_t offset)
{
    for (guint i = 0; i < G_N_ELEMENTS(disks); i++) {
        if (disks[i] && (const char *)disks[i] + offset == (const char *)address)
            return disks[i];
    }
    return NULL;
}

const char *disk_path(const struct disk *disk)
{
    return disk->path;
}

struct disk *disk_new(struct random *random, bool sqlite, struct disk_listener *listener)
{
    struct disk *disk = g_new0(struct disk, 1);
    guint number = 0;

    if (!sqlite3_vfs_find(VFS_NAME))
        sqlite3_vfs_register(&vfs_sim, 0);
    while (disks[number])
        number++;
    assert(number < G_N_ELEMENTS(disks));
    disks[number] = disk;
    disk->random = random;
    disk->sqlite = sqlite;
    disk->listener = listener;
    g_snprintf(disk->path, sizeof(disk->path), "/%u/config.db", number);
    g_snprintf(disk->directory, sizeof(disk->directory), "/%u", number);
    disk->files = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, file_free);
    disk->rows = rows_new();
    disk->copies = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, copy_free);
    return disk;
}

void disk_free(struct disk *disk)
{
    if (!disk)
        return;
    for (guint i = 0; i < G_N_ELEMENTS(disks); i++) {
        if (disks[i] == disk)
            disks[i] = NULL;
    }
    g_hash_table_unref(disk->files);
    if (disk->left)
        g_hash_table_unref(disk->left);
    rows_free(disk->rows);
    g_hash_table_unref(disk->copies);
    g_free(disk->kept);
    g_free(disk);
}
