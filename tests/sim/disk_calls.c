/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The system calls that the journal, its quarantine and the safety copies make: what is on a
 * simulated disk is done there. The linker sends all of them here first. */
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>
#include <unistd.h>

#include "disk_internal.h"
#include "journal/record.h"

#define DESCRIPTORS 64
#define FIRST_DESCRIPTOR (1 << 24) /* no real one is as large */
#define MUCH_ROOM (1u << 20)

/* A file with two areas far from each other is two files here, of which there are the bytes that
 * were written. */
#define SECOND_AREA "#1"

/* What open() gave. */
struct descriptor {
    struct disk *disk; /* NULL: free */
    char name[96];     /* "": the directory */
};

static struct descriptor descriptors[DESCRIPTORS];

static struct descriptor *descriptor_of(int file)
{
    int number = file - FIRST_DESCRIPTOR;

    return number >= 0 && number < DESCRIPTORS ? &descriptors[number] : NULL;
}

static int fail_call(int error)
{
    errno = error;
    return -1;
}

static struct file *area_of(const struct descriptor *descriptor, bool second, bool make)
{
    g_autofree char *name = g_strconcat(descriptor->name, second ? SECOND_AREA : "", NULL);

    return disk_file(descriptor->disk, name, make);
}

static bool is_file(struct disk *disk, const char *name)
{
    return disk_file(disk, name, false) || g_hash_table_contains(disk->copies, name);
}

/* ---- Open and close ---- */

int __real_open64(const char *path, int flags, ...);
int __wrap_open64(const char *path, int flags, ...);
int __real_close(int file);
int __wrap_close(int file);

static int open_simulated(struct disk *disk, const char *path, int flags)
{
    int number = 0;

    if (disk->crashed)
        return fail_call(EIO);
    while (descriptors[number].disk)
        number++;
    g_assert(number < DESCRIPTORS);
    if (!(flags & O_DIRECTORY) && !disk_file(disk, path, false)) {
        if (!(flags & O_CREAT))
            return fail_call(ENOENT);
        if (disk->failing)
            return fail_call(EIO);
        disk_file(disk, path, true);
        disk_count_step(disk);
    }
    descriptors[number].disk = disk;
    g_strlcpy(descriptors[number].name, flags & O_DIRECTORY ? "" : path,
              sizeof(descriptors[number].name));
    return FIRST_DESCRIPTOR + number;
}

int __wrap_open64(const char *path, int flags, ...)
{
    struct disk *disk = disk_of(path);
    mode_t mode = 0;
    va_list arguments;

    va_start(arguments, flags);
    if (flags & O_CREAT)
        mode = va_arg(arguments, mode_t);
    va_end(arguments);
    return disk ? open_simulated(disk, path, flags) : __real_open64(path, flags, mode);
}

int __wrap_close(int file)
{
    struct descriptor *descriptor = descriptor_of(file);

    if (!descriptor)
        return __real_close(file);
    descriptor->disk = NULL;
    return 0;
}

/* ---- Bytes ---- */

ssize_t __real_pwrite64(int file, const void *bytes, size_t size, off_t offset);
ssize_t __wrap_pwrite64(int file, const void *bytes, size_t size, off_t offset);
ssize_t __real_pread64(int file, void *bytes, size_t size, off_t offset);
ssize_t __wrap_pread64(int file, void *bytes, size_t size, off_t offset);
int __real_ftruncate64(int file, off_t size);
int __wrap_ftruncate64(int file, off_t size);
int __real_fdatasync(int file);
int __wrap_fdatasync(int file);
int __real_fsync(int file);
int __wrap_fsync(int file);

ssize_t __wrap_pwrite64(int file, const void *bytes, size_t size, off_t offset)
{
    const struct descriptor *descriptor = descriptor_of(file);
    bool second = offset >= (off_t)JOURNAL_AREA_SIZE;

    if (!descriptor)
        return __real_pwrite64(file, bytes, size, offset);
    int error = disk_write(descriptor->disk, area_of(descriptor, second, true), bytes, size,
                           (uint64_t)offset % JOURNAL_AREA_SIZE);
    return error ? fail_call(-error) : (ssize_t)size;
}

/* Of a file that is read from its beginning to its end. */
ssize_t __wrap_pread64(int file, void *bytes, size_t size, off_t offset)
{
    const struct descriptor *descriptor = descriptor_of(file);

    if (!descriptor)
        return __real_pread64(file, bytes, size, offset);
    if (descriptor->disk->crashed)
        return fail_call(EIO);
    g_assert(offset == 0);
    memset(bytes, 0, size);
    for (int second = 0; second < 2; second++) {
        const struct file *area = area_of(descriptor, second, false);
        size_t at = second ? JOURNAL_AREA_SIZE : 0;
        if (area && area->now->len > 0 && at < size)
            memcpy((char *)bytes + at, area->now->data, MIN(area->now->len, size - at));
    }
    return (ssize_t)size;
}

/* Of the whole file. No loss of power undoes it: the two areas would be undone apart from each
 * other, which no file system does. */
int __wrap_ftruncate64(int file, off_t size)
{
    const struct descriptor *descriptor = descriptor_of(file);

    if (!descriptor)
        return __real_ftruncate64(file, size);
    g_assert(size == 0);
    if (disk_is_useless(descriptor->disk))
        return fail_call(EIO);
    for (int second = 0; second < 2; second++) {
        struct file *area = area_of(descriptor, second, true);
        disk_truncate(area, 0);
        disk_sync(area);
    }
    disk_count_step(descriptor->disk);
    return 0;
}

static int sync_simulated(const struct descriptor *descriptor)
{
    if (disk_is_useless(descriptor->disk))
        return fail_call(EIO);
    for (int second = 0; second < 2 && *descriptor->name; second++) {
        struct file *area = area_of(descriptor, second, false);
        if (area)
            disk_sync(area);
    }
    disk_count_step(descriptor->disk);
    return 0;
}

int __wrap_fdatasync(int file)
{
    return descriptor_of(file) ? sync_simulated(descriptor_of(file)) : __real_fdatasync(file);
}

int __wrap_fsync(int file)
{
    return descriptor_of(file) ? sync_simulated(descriptor_of(file)) : __real_fsync(file);
}

/* ---- What is known of a file ---- */

int __real_fstat64(int file, struct stat *info);
int __wrap_fstat64(int file, struct stat *info);
int __real_statvfs64(const char *path, struct statvfs *info);
int __wrap_statvfs64(const char *path, struct statvfs *info);
int __real_access(const char *path, int mode);
int __wrap_access(const char *path, int mode);
int __real_fchmod(int file, mode_t mode);
int __wrap_fchmod(int file, mode_t mode);
int __real_chmod(const char *path, mode_t mode);
int __wrap_chmod(const char *path, mode_t mode);

int __wrap_fstat64(int file, struct stat *info)
{
    const struct descriptor *descriptor = descriptor_of(file);

    if (!descriptor)
        return __real_fstat64(file, info);
    if (descriptor->disk->crashed)
        return fail_call(EIO);
    const struct file *first = area_of(descriptor, false, false);
    const struct file *second = area_of(descriptor, true, false);
    *info = (struct stat){.st_mode = S_IFREG | 0600};
    info->st_size = second && second->now->len > 0
                        ? (off_t)JOURNAL_AREA_SIZE + (off_t)second->now->len
                    : first ? (off_t)first->now->len
                            : 0;
    return 0;
}

int __wrap_statvfs64(const char *path, struct statvfs *info)
{
    const struct disk *disk = disk_of(path);

    if (!disk)
        return __real_statvfs64(path, info);
    *info = (struct statvfs){.f_frsize = 4096, .f_bavail = disk->full ? 0 : MUCH_ROOM};
    return 0;
}

int __wrap_access(const char *path, int mode)
{
    struct disk *disk = disk_of(path);

    if (!disk)
        return __real_access(path, mode);
    return is_file(disk, path) ? 0 : fail_call(ENOENT);
}

int __wrap_fchmod(int file, mode_t mode)
{
    return descriptor_of(file) ? 0 : __real_fchmod(file, mode);
}

int __wrap_chmod(const char *path, mode_t mode)
{
    struct disk *disk = disk_of(path);

    if (!disk)
        return __real_chmod(path, mode);
    return is_file(disk, path) ? 0 : fail_call(ENOENT);
}

/* ---- Names: of these the disk loses none ---- */

int __real_unlink(const char *path);
int __wrap_unlink(const char *path);
int __real_rename(const char *from, const char *to);
int __wrap_rename(const char *from, const char *to);
GDir *__real_g_dir_open(const char *path, guint flags, GError **error);
GDir *__wrap_g_dir_open(const char *path, guint flags, GError **error);
const char *__real_g_dir_read_name(GDir *directory);
const char *__wrap_g_dir_read_name(GDir *directory);
void __real_g_dir_close(GDir *directory);
void __wrap_g_dir_close(GDir *directory);

static void remove_second_area(struct disk *disk, const char *path)
{
    g_autofree char *second = g_strconcat(path, SECOND_AREA, NULL);

    g_hash_table_remove(disk->files, second);
}

int __wrap_unlink(const char *path)
{
    struct disk *disk = disk_of(path);

    if (!disk)
        return __real_unlink(path);
    if (disk_is_useless(disk))
        return fail_call(EIO);
    if (disk_remove_copy(disk, path))
        return 0;
    if (!g_hash_table_remove(disk->files, path))
        return fail_call(ENOENT);
    remove_second_area(disk, path);
    disk_count_step(disk);
    return 0;
}

static void rename_file(struct disk *disk, const char *from, const char *to)
{
    gpointer name;
    gpointer file;

    if (g_hash_table_steal_extended(disk->files, from, &name, &file)) {
        g_free(name);
        g_hash_table_insert(disk->files, g_strdup(to), file);
    }
}

int __wrap_rename(const char *from, const char *to)
{
    struct disk *disk = disk_of(from);
    g_autofree char *second_from = g_strconcat(from, SECOND_AREA, NULL);
    g_autofree char *second_to = g_strconcat(to, SECOND_AREA, NULL);

    if (!disk)
        return __real_rename(from, to);
    if (disk_is_useless(disk))
        return fail_call(EIO);
    if (!disk_file(disk, from, false))
        return fail_call(ENOENT);
    rename_file(disk, from, to);
    rename_file(disk, second_from, second_to);
    disk_count_step(disk);
    return 0;
}

/* The one listing that may be open. */
static struct {
    GPtrArray *names; /* owned */
    guint at;
} listing;

static void list_names(GHashTable *table, const char *directory)
{
    GHashTableIter iter;
    gpointer name;

    g_hash_table_iter_init(&iter, table);
    while (g_hash_table_iter_next(&iter, &name, NULL))
        g_ptr_array_add(listing.names, g_strdup((const char *)name + strlen(directory) + 1));
}

GDir *__wrap_g_dir_open(const char *path, guint flags, GError **error)
{
    const struct disk *disk = disk_of(path);

    if (!disk)
        return __real_g_dir_open(path, flags, error);
    g_assert(!listing.names);
    listing.names = g_ptr_array_new_with_free_func(g_free);
    listing.at = 0;
    list_names(disk->files, path);
    list_names(disk->copies, path);
    return (GDir *)(void *)&listing;
}

const char *__wrap_g_dir_read_name(GDir *directory)
{
    if ((void *)directory != (void *)&listing)
        return __real_g_dir_read_name(directory);
    return listing.at < listing.names->len ? listing.names->pdata[listing.at++] : NULL;
}

void __wrap_g_dir_close(GDir *directory)
{
    if ((void *)directory != (void *)&listing) {
        __real_g_dir_close(directory);
        return;
    }
    g_ptr_array_unref(listing.names);
    listing.names = NULL;
}
