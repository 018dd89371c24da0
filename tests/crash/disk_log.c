/* SPDX-License-Identifier: GPL-3.0-or-later */
/* All that a process does to files of SQLite and to the journal, as a list; and the disk as it may
 * be found after a crash at any place of that list. */
#include "disk_log.h"

#include <assert.h>
#include <errno.h>
#include <fcntl.h>
#include <sqlite3.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define SECTOR 512u
#define NO_FILE UINT32_MAX
/* Room for more than there are: growing would look like a race between threads that take turns. */
#define EVENTS_MANY 65536u

/* The one recorder of the process: SQLite's file layers and the linker's wraps have no argument. */
static struct {
    sqlite3_vfs vfs;
    sqlite3_vfs *real;
    char *directory;         /* NULL: nothing is recorded */
    GPtrArray *events;       /* struct disk_event */
    GHashTable *names;       /* name → number of the file that has it */
    GHashTable *descriptors; /* descriptor of a file that the store writes by itself → its number */
    unsigned files;
    unsigned mark;
    void (*each)(void);

    unsigned calls;
    unsigned fail_at;
    enum disk_fault fault;
    bool lasting;
    bool failed;
    struct sqlite3_mem_methods memory; /* SQLite's own */
} recorder;

struct recorded_file {
    sqlite3_file base;
    unsigned number; /* NO_FILE: not recorded */
    sqlite3_file *real;
};

/* --- Errors --- */

void disk_fail_at(unsigned count, enum disk_fault fault, bool lasting)
{
    recorder.calls = 0;
    recorder.fail_at = count;
    recorder.fault = fault;
    recorder.lasting = lasting;
    recorder.failed = false;
}

unsigned disk_calls(void)
{
    return recorder.calls;
}

bool disk_has_failed(void)
{
    return recorder.failed;
}

/* Is this call to fail? */
static bool count_call(void)
{
    recorder.calls++;
    bool now = recorder.fail_at > 0 && (recorder.calls == recorder.fail_at ||
                                        (recorder.lasting && recorder.calls > recorder.fail_at));
    recorder.failed |= now;
    return now;
}

static bool fails(void)
{
    if (recorder.each)
        recorder.each();
    return recorder.fault != FAULT_MEMORY && count_call();
}

/* --- Memory --- */

static void *on_malloc(int size)
{
    return recorder.fault == FAULT_MEMORY && count_call() ? NULL : recorder.memory.xMalloc(size);
}

static void *on_realloc(void *old, int size)
{
    return recorder.fault == FAULT_MEMORY && count_call() ? NULL
                                                          : recorder.memory.xRealloc(old, size);
}

static void install_memory(void)
{
    sqlite3_config(SQLITE_CONFIG_GETMALLOC, &recorder.memory);
    struct sqlite3_mem_methods methods = recorder.memory;
    methods.xMalloc = on_malloc;
    methods.xRealloc = on_realloc;
    sqlite3_config(SQLITE_CONFIG_MALLOC, &methods);
}

static int failure(int code, bool needs_room)
{
    return needs_room && recorder.fault == FAULT_FULL ? SQLITE_FULL : code;
}

/* --- The list --- */

static void event_free(gpointer pointer)
{
    struct disk_event *event = pointer;

    g_free(event->name);
    g_free(event->to);
    if (event->bytes)
        g_byte_array_unref(event->bytes);
    g_free(event);
}

/* The name of a path in the directory that is watched, NULL: elsewhere. */
static const char *name_of(const char *path)
{
    if (!path || !recorder.directory || !g_str_has_prefix(path, recorder.directory))
        return NULL;
    const char *name = path + strlen(recorder.directory);
    return *name == '/' ? name + 1 : NULL;
}

/* The log's index is no file to be found again: it is made anew by whoever comes first. */
static bool is_index(const char *name)
{
    return g_str_has_suffix(name, "-shm");
}

static struct disk_event *add(enum disk_step step, unsigned file)
{
    struct disk_event *event = g_new0(struct disk_event, 1);

    event->step = step;
    event->file = file;
    event->mark = recorder.mark;
    g_ptr_array_add(recorder.events, event);
    return event;
}

/* The number of the file that has the name; a new one is an event. */
static unsigned number_of(const char *name)
{
    gpointer number;

    if (g_hash_table_lookup_extended(recorder.names, name, NULL, &number))
        return GPOINTER_TO_UINT(number);
    g_hash_table_insert(recorder.names, g_strdup(name), GUINT_TO_POINTER(recorder.files));
    add(DISK_CREATE, recorder.files)->name = g_strdup(name);
    return recorder.files++;
}

static void record_delete(const char *path)
{
    const char *name = name_of(path);

    if (name && g_hash_table_remove(recorder.names, name))
        add(DISK_DELETE, NO_FILE)->name = g_strdup(name);
}

static void record_rename(const char *from, const char *to)
{
    gpointer number;
    const char *name = name_of(from);

    if (!name || !g_hash_table_lookup_extended(recorder.names, name, NULL, &number))
        return;
    struct disk_event *event = add(DISK_RENAME, NO_FILE);
    event->name = g_strdup(name);
    event->to = g_strdup(name_of(to));
    g_hash_table_insert(recorder.names, g_strdup(event->to), number);
    g_hash_table_remove(recorder.names, event->name);
}

void disk_log_start(const char *directory)
{
    recorder.directory = g_strdup(directory);
    recorder.events = g_ptr_array_new_full(EVENTS_MANY, event_free);
    recorder.names = g_hash_table_new_full(g_str_hash, g_str_equal, g_free, NULL);
    recorder.descriptors = g_hash_table_new(g_direct_hash, g_direct_equal);
    recorder.files = 0;
    recorder.mark = 0;
}

void disk_log_mark(unsigned mark)
{
    recorder.mark = mark;
}

void disk_log_each(void (*function)(void))
{
    recorder.each = function;
}

GPtrArray *disk_log_stop(void)
{
    GPtrArray *events = g_steal_pointer(&recorder.events);

    g_hash_table_unref(recorder.names);
    g_hash_table_unref(recorder.descriptors);
    g_clear_pointer(&recorder.directory, g_free);
    return events;
}

/* --- SQLite's files --- */

static struct recorded_file *recorded(sqlite3_file *file)
{
    return (struct recorded_file *)file;
}

static int on_close(sqlite3_file *file)
{
    sqlite3_file *real = recorded(file)->real;

    return real->pMethods ? real->pMethods->xClose(real) : SQLITE_OK;
}

static int on_read(sqlite3_file *file, void *to, int size, sqlite3_int64 offset)
{
    sqlite3_file *real = recorded(file)->real;

    return fails() ? failure(SQLITE_IOERR_READ, false)
                   : real->pMethods->xRead(real, to, size, offset);
}

static int on_write(sqlite3_file *file, const void *from, int size, sqlite3_int64 offset)
{
    struct recorded_file *self = recorded(file);

    if (fails())
        return failure(SQLITE_IOERR_WRITE, true);
    if (recorder.events && self->number != NO_FILE) {
        struct disk_event *event = add(DISK_WRITE, self->number);
        event->offset = (uint64_t)offset;
        event->bytes = g_byte_array_sized_new((guint)size);
        g_byte_array_append(event->bytes, from, (guint)size);
    }
    return self->real->pMethods->xWrite(self->real, from, size, offset);
}

static int on_truncate(sqlite3_file *file, sqlite3_int64 size)
{
    struct recorded_file *self = recorded(file);

    if (fails())
        return failure(SQLITE_IOERR_TRUNCATE, false);
    if (recorder.events && self->number != NO_FILE)
        add(DISK_TRUNCATE, self->number)->offset = (uint64_t)size;
    return self->real->pMethods->xTruncate(self->real, size);
}

static int on_sync(sqlite3_file *file, int flags)
{
    struct recorded_file *self = recorded(file);

    if (fails())
        return failure(SQLITE_IOERR_FSYNC, false);
    if (recorder.events && self->number != NO_FILE)
        add(DISK_SYNC, self->number);
    return self->real->pMethods->xSync(self->real, flags);
}

static int on_file_size(sqlite3_file *file, sqlite3_int64 *size)
{
    sqlite3_file *real = recorded(file)->real;

    return fails() ? failure(SQLITE_IOERR_FSTAT, false) : real->pMethods->xFileSize(real, size);
}

static int on_lock(sqlite3_file *file, int lock)
{
    sqlite3_file *real = recorded(file)->real;

    return fails() ? failure(SQLITE_IOERR_LOCK, false) : real->pMethods->xLock(real, lock);
}

static int on_unlock(sqlite3_file *file, int lock)
{
    return recorded(file)->real->pMethods->xUnlock(recorded(file)->real, lock);
}

static int on_check_reserved(sqlite3_file *file, int *reserved)
{
    return recorded(file)->real->pMethods->xCheckReservedLock(recorded(file)->real, reserved);
}

static int on_control(sqlite3_file *file, int operation, void *argument)
{
    return recorded(file)->real->pMethods->xFileControl(recorded(file)->real, operation, argument);
}

static int on_sector_size(sqlite3_file *file)
{
    return recorded(file)->real->pMethods->xSectorSize(recorded(file)->real);
}

static int on_characteristics(sqlite3_file *file)
{
    return recorded(file)->real->pMethods->xDeviceCharacteristics(recorded(file)->real);
}

static int on_shm_map(sqlite3_file *file, int region, int size, int extend, void volatile **memory)
{
    sqlite3_file *real = recorded(file)->real;

    if (fails())
        return failure(SQLITE_IOERR_SHMMAP, true);
    return real->pMethods->xShmMap(real, region, size, extend, memory);
}

static int on_shm_lock(sqlite3_file *file, int offset, int count, int flags)
{
    return recorded(file)->real->pMethods->xShmLock(recorded(file)->real, offset, count, flags);
}

static void on_shm_barrier(sqlite3_file *file)
{
    recorded(file)->real->pMethods->xShmBarrier(recorded(file)->real);
}

static int on_shm_unmap(sqlite3_file *file, int remove)
{
    return recorded(file)->real->pMethods->xShmUnmap(recorded(file)->real, remove);
}

/* Version 2: without mapped files, whose writes nobody would see. */
static const sqlite3_io_methods methods = {
    .iVersion = 2,
    .xClose = on_close,
    .xRead = on_read,
    .xWrite = on_write,
    .xTruncate = on_truncate,
    .xSync = on_sync,
    .xFileSize = on_file_size,
    .xLock = on_lock,
    .xUnlock = on_unlock,
    .xCheckReservedLock = on_check_reserved,
    .xFileControl = on_control,
    .xSectorSize = on_sector_size,
    .xDeviceCharacteristics = on_characteristics,
    .xShmMap = on_shm_map,
    .xShmLock = on_shm_lock,
    .xShmBarrier = on_shm_barrier,
    .xShmUnmap = on_shm_unmap,
};

static int on_open(sqlite3_vfs *vfs, const char *path, sqlite3_file *file, int flags, int *given)
{
    struct recorded_file *self = recorded(file);
    const char *name = name_of(path);

    (void)vfs;
    self->base.pMethods = NULL;
    self->number = NO_FILE;
    self->real = (sqlite3_file *)(self + 1);
    if (fails())
        return SQLITE_CANTOPEN;
    int result = recorder.real->xOpen(recorder.real, path, self->real, flags, given);
    if (result != SQLITE_OK)
        return result;
    if (name && recorder.events && !is_index(name))
        self->number = number_of(name);
    self->base.pMethods = &methods;
    return SQLITE_OK;
}

static int on_delete(sqlite3_vfs *vfs, const char *path, int sync_directory)
{
    (void)vfs;
    if (fails())
        return SQLITE_IOERR_DELETE;
    if (recorder.events)
        record_delete(path);
    if (recorder.events && sync_directory)
        add(DISK_SYNC_DIRECTORY, NO_FILE);
    return recorder.real->xDelete(recorder.real, path, sync_directory);
}

static int on_access(sqlite3_vfs *vfs, const char *path, int flags, int *result)
{
    (void)vfs;
    return recorder.real->xAccess(recorder.real, path, flags, result);
}

void disk_log_install(void)
{
    install_memory();
    recorder.real = sqlite3_vfs_find("unix");
    recorder.vfs = *recorder.real;
    recorder.vfs.szOsFile += (int)sizeof(struct recorded_file);
    recorder.vfs.zName = "recorder";
    recorder.vfs.pNext = NULL;
    recorder.vfs.xOpen = on_open;
    recorder.vfs.xDelete = on_delete;
    recorder.vfs.xAccess = on_access;
    sqlite3_vfs_register(&recorder.vfs, 1);
}

/* --- What the store does without SQLite: names, and the journal --- */

int __real_open64(const char *path, int flags, ...);
int __real_rename(const char *from, const char *to);
int __real_unlink(const char *path);
int __real_fsync(int file);
ssize_t __real_pwrite64(int file, const void *bytes, size_t size, off_t offset);
int __real_ftruncate64(int file, off_t size);
int __real_fdatasync(int file);
int __wrap_open64(const char *path, int flags, ...);
int __wrap_rename(const char *from, const char *to);
int __wrap_unlink(const char *path);
int __wrap_fsync(int file);
ssize_t __wrap_pwrite64(int file, const void *bytes, size_t size, off_t offset);
int __wrap_ftruncate64(int file, off_t size);
int __wrap_fdatasync(int file);

int __wrap_open64(const char *path, int flags, ...)
{
    const char *name = name_of(path);
    mode_t mode = 0;
    va_list arguments;

    va_start(arguments, flags);
    if (flags & O_CREAT)
        mode = va_arg(arguments, mode_t);
    va_end(arguments);
    if (fails()) {
        errno = recorder.fault == FAULT_FULL ? ENOSPC : EIO;
        return -1;
    }
    int file = __real_open64(path, flags, mode);
    if (file >= 0 && flags & O_CREAT && name && recorder.events)
        g_hash_table_insert(recorder.descriptors, GINT_TO_POINTER(file),
                            GUINT_TO_POINTER(number_of(name)));
    return file;
}

int __wrap_rename(const char *from, const char *to)
{
    if (fails()) {
        errno = EIO;
        return -1;
    }
    int result = __real_rename(from, to);
    if (result == 0 && recorder.events)
        record_rename(from, to);
    return result;
}

int __wrap_unlink(const char *path)
{
    int result = __real_unlink(path);

    if (result == 0 && recorder.events)
        record_delete(path);
    return result;
}

/* Of directories. */
int __wrap_fsync(int file)
{
    if (fails()) {
        errno = EIO;
        return -1;
    }
    if (recorder.events)
        add(DISK_SYNC_DIRECTORY, NO_FILE);
    return __real_fsync(file);
}

/* The number of a file that was opened by the store itself. */
static unsigned number_of_descriptor(int file)
{
    gpointer number;

    if (recorder.events &&
        g_hash_table_lookup_extended(recorder.descriptors, GINT_TO_POINTER(file), NULL, &number))
        return GPOINTER_TO_UINT(number);
    return NO_FILE;
}

ssize_t __wrap_pwrite64(int file, const void *bytes, size_t size, off_t offset)
{
    unsigned number = number_of_descriptor(file);

    if (fails()) {
        errno = recorder.fault == FAULT_FULL ? ENOSPC : EIO;
        return -1;
    }
    if (number != NO_FILE) {
        struct disk_event *event = add(DISK_WRITE, number);
        event->offset = (uint64_t)offset;
        event->bytes = g_byte_array_sized_new((guint)size);
        g_byte_array_append(event->bytes, bytes, (guint)size);
    }
    return __real_pwrite64(file, bytes, size, offset);
}

int __wrap_ftruncate64(int file, off_t size)
{
    unsigned number = number_of_descriptor(file);

    if (fails()) {
        errno = EIO;
        return -1;
    }
    if (number != NO_FILE)
        add(DISK_TRUNCATE, number)->offset = (uint64_t)size;
    return __real_ftruncate64(file, size);
}

int __wrap_fdatasync(int file)
{
    unsigned number = number_of_descriptor(file);

    if (fails()) {
        errno = EIO;
        return -1;
    }
    if (number != NO_FILE)
        add(DISK_SYNC, number);
    return __real_fdatasync(file);
}

/* --- What is found after a crash --- */

struct found_disk {
    GPtrArray *files;  /* GByteArray by the file's number */
    GHashTable *names; /* name → number */
};

static void put(GByteArray *bytes, uint64_t offset, const uint8_t *data, guint size)
{
    guint old = bytes->len;

    if (offset + size > old) {
        g_byte_array_set_size(bytes, (guint)(offset + size));
        if (offset > old)
            memset(bytes->data + old, 0, (size_t)(offset - old));
    }
    memcpy(bytes->data + offset, data, size);
}

static void redo_data(struct found_disk *disk, const struct disk_event *event)
{
    GByteArray *bytes = disk->files->pdata[event->file];

    if (event->step == DISK_WRITE)
        put(bytes, event->offset, event->bytes->data, event->bytes->len);
    else if (event->step == DISK_TRUNCATE && bytes->len > event->offset)
        g_byte_array_set_size(bytes, (guint)event->offset);
}

/* Of a write some sectors arrive, of a truncation all or nothing. */
static void redo_partly(struct found_disk *disk, const struct disk_event *event, GRand *random)
{
    if (event->step == DISK_TRUNCATE && g_rand_boolean(random))
        redo_data(disk, event);
    for (guint at = 0; event->step == DISK_WRITE && at < event->bytes->len; at += SECTOR) {
        guint size = MIN(SECTOR, event->bytes->len - at);
        if (g_rand_boolean(random))
            put(disk->files->pdata[event->file], event->offset + at, event->bytes->data + at, size);
    }
}

static void redo_name(struct found_disk *disk, const struct disk_event *event)
{
    gpointer number;

    if (event->step == DISK_CREATE) {
        g_hash_table_insert(disk->names, event->name, GUINT_TO_POINTER(event->file));
    } else if (event->step == DISK_DELETE) {
        g_hash_table_remove(disk->names, event->name);
    } else if (event->step == DISK_RENAME) {
        if (!g_hash_table_lookup_extended(disk->names, event->name, NULL, &number))
            return;
        g_hash_table_insert(disk->names, event->to, number);
        g_hash_table_remove(disk->names, event->name);
    }
}

static bool is_data(const struct disk_event *event)
{
    return event->step == DISK_WRITE || event->step == DISK_TRUNCATE;
}

static const struct disk_event *event_at(const GPtrArray *events, guint index)
{
    return events->pdata[index];
}

/* For each event: was it made safe by a later one among the first `count`? A file system with a
 * journal keeps the order of names: what makes a name safe does it for all before. */
static bool *find_safe(const GPtrArray *events, guint count)
{
    bool *safe = g_new0(bool, count + 1);
    g_autoptr(GHashTable) synced = g_hash_table_new(NULL, NULL);
    bool names = false;

    for (guint i = count; i-- > 0;) {
        const struct disk_event *event = event_at(events, i);
        gpointer file = GUINT_TO_POINTER(event->file);
        if (event->step == DISK_SYNC_DIRECTORY)
            names = true;
        else if (event->step == DISK_SYNC)
            g_hash_table_add(synced, file);
        else if (is_data(event))
            safe[i] = g_hash_table_contains(synced, file);
        else
            safe[i] = names |= event->step == DISK_CREATE && g_hash_table_contains(synced, file);
    }
    return safe;
}

static void redo(struct found_disk *disk, const GPtrArray *events, guint count,
                 enum disk_crash crash, GRand *random)
{
    g_autofree bool *safe = find_safe(events, count);
    bool names = true; /* names are kept up to some event */

    for (guint i = 0; i < count; i++) {
        const struct disk_event *event = event_at(events, i);
        if (event->step == DISK_SYNC || event->step == DISK_SYNC_DIRECTORY)
            continue;
        bool whole = crash == CRASH_KILLED || (crash == CRASH_TORN && i + 1 < count) || safe[i];
        if (is_data(event)) {
            if (whole)
                redo_data(disk, event);
            else if (crash != CRASH_POWER)
                redo_partly(disk, event, random);
            continue;
        }
        if (!whole && crash != CRASH_TORN)
            names = names && crash == CRASH_MIXED && g_rand_boolean(random);
        if (names)
            redo_name(disk, event);
    }
}

/* Megabytes of zeros, as between the areas of the journal, take no room. */
static void write_sparse(int file, const GByteArray *bytes)
{
    static const uint8_t zeros[4096];

    for (guint at = 0; at < bytes->len; at += (guint)sizeof(zeros)) {
        guint size = MIN((guint)sizeof(zeros), bytes->len - at);
        if (memcmp(bytes->data + at, zeros, size) != 0)
            assert(__real_pwrite64(file, bytes->data + at, size, at) == (ssize_t)size);
    }
    assert(__real_ftruncate64(file, bytes->len) == 0);
}

static void write_files(const struct found_disk *disk, const char *directory)
{
    GHashTableIter iter;
    gpointer name;
    gpointer number;

    g_hash_table_iter_init(&iter, disk->names);
    while (g_hash_table_iter_next(&iter, &name, &number)) {
        g_autofree char *path = g_build_filename(directory, name, NULL);
        const GByteArray *bytes = disk->files->pdata[GPOINTER_TO_UINT(number)];
        int file = __real_open64(path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
        assert(file >= 0);
        write_sparse(file, bytes);
        close(file);
    }
}

static void free_bytes(gpointer bytes)
{
    g_byte_array_unref(bytes);
}

void disk_log_restore(const GPtrArray *events, guint count, enum disk_crash crash, uint32_t seed,
                      const char *directory)
{
    g_autoptr(GPtrArray) files = g_ptr_array_new_with_free_func(free_bytes);
    g_autoptr(GHashTable) names = g_hash_table_new(g_str_hash, g_str_equal);
    struct found_disk disk = {files, names};
    GRand *random = g_rand_new_with_seed(seed);

    for (guint i = 0; i < count; i++)
        if (event_at(events, i)->step == DISK_CREATE)
            g_ptr_array_add(files, g_byte_array_new());
    redo(&disk, events, count, crash, random);
    write_files(&disk, directory);
    g_rand_free(random);
}
