/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Which mount is there: the daemon's own, or one that somebody has put in its place or over it. */
#include "base/mounted.h"

#include <fcntl.h>
#include <stdatomic.h>
#include <sys/stat.h>

#include "base/log.h"

/* Newer kernels (6.8) have numbers that no other mount ever gets. */
#ifndef STATX_MNT_ID_UNIQUE
#define STATX_MNT_ID_UNIQUE 0x4000u
#endif

/* False: not known. */
static bool look(int directory, const char *path, struct statx *status)
{
    const int flags = AT_EMPTY_PATH | AT_NO_AUTOMOUNT | AT_STATX_DONT_SYNC;
    const unsigned int either = STATX_MNT_ID | STATX_MNT_ID_UNIQUE;

    return statx(directory, path, flags, either, status) == 0 && status->stx_mask & either;
}

uint64_t mounted_number(int directory, const char *path)
{
    struct statx status;

    return look(directory, path, &status) ? status.stx_mnt_id : 0;
}

unsigned int mounted_device(const char *mountpoint)
{
    struct statx status;

    return look(AT_FDCWD, mountpoint, &status) ? status.stx_dev_minor : 0;
}

bool mounted_is_other(const char *mountpoint, uint64_t own)
{
    struct statx status;

    return own != 0 && look(AT_FDCWD, mountpoint, &status) &&
           status.stx_attributes & STATX_ATTR_MOUNT_ROOT && status.stx_mnt_id != own;
}

void mounted_warn_of_other(const char *mountpoint)
{
    static atomic_flag told = ATOMIC_FLAG_INIT;

    if (atomic_flag_test_and_set(&told))
        return;
    log_warning("what is mounted at %s is not this daemon's mount and is left as it is: see "
                "'findmnt %s', and unmount it ('umount %s'). A dead mount below it is taken away "
                "at the next start, or by one more 'umount %s'",
                mountpoint, mountpoint, mountpoint, mountpoint);
}
