/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: the state directory, its disk, and the rights on what is in it. */
#include <errno.h>
#include <grp.h>
#include <inttypes.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#include "core/limits.h"
#include "ctl/db.h"
#include "ctl/doctor.h"

/* Less is full: a commit, and SQLite's log, need room. */
#define FULL_BYTES (1024u * 1024)
/* Less is nearly full, whatever the size of the disk: the log and a safety copy of all. */
#define LOW_BYTES (64ull * 1024 * 1024)
#define LOW_INODES 100u
#define NEARLY 0.9 /* of a limit */

/* ---- The directory ---- */

void doctor_check_state_directory(struct doctor *doctor)
{
    const char *path = doctor->options->state_dir;
    struct stat info;

    if (stat(path, &info) == 0 && S_ISDIR(info.st_mode))
        return;
    int error = errno;
    bool missing = stat(path, &info) < 0 && errno == ENOENT;
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = missing ? g_strdup_printf("the state directory %s is not there", path)
                    : S_ISDIR(info.st_mode)
                        ? g_strdup_printf("the state directory %s cannot be looked at: %s", path,
                                          g_strerror(error))
                        : g_strdup_printf("%s, which should be the state directory, is none", path),
            .why =
                g_strdup("The database is in it. A start makes a new one, with an empty database: "
                         "right for a new host, a loss for any other, whose disk is perhaps only "
                         "not mounted."),
            .command = missing ? g_strdup_printf("findmnt --fstab; ls -la %s*", path)
                               : g_strdup_printf("ls -lad %s", path),
            .risk = g_strdup("none, it only shows"),
        });
}

/* ---- Room ---- */

static char *how_to_make_room(const char *path)
{
    return g_strdup_printf("du -xah %s | sort -h | tail -n 20\njournalctl --vacuum-size=100M",
                           path);
}

static void tell_read_only(struct doctor *doctor, const char *path)
{
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = g_strdup_printf("the disk of %s is read-only: nothing can be changed", path),
            .why =
                g_strdup("The kernel makes a file system read-only when its disk fails: look for "
                         "errors first."),
            .command = g_strdup_printf("dmesg --level=err,warn | tail -n 30\n"
                                       "mount -o remount,rw \"$(findmnt -no TARGET -T %s)\"",
                                       path),
            .risk =
                g_strdup("Writing to a disk that fails can destroy more of it: if the kernel names "
                         "errors, make a backup first (pmxcfsctl backup FILE, onto another disk)."),
        });
}

static void tell_full(struct doctor *doctor, const char *path, uint64_t bytes, bool inodes)
{
    g_autofree char *room = db_size_shown(bytes);

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what = inodes ? g_strdup_printf(
                                 "the disk of %s has no inodes left: no file can be made", path)
                           : g_strdup_printf("the disk of %s is full: %s are free", path, room),
            .why = g_strdup("Changes are refused as long as they cannot be stored."),
            .command = how_to_make_room(path),
            .risk = g_strdup("The first one only shows what is large. The second one deletes old "
                             "messages of the journal. Delete nothing called config.db*."),
        });
}

void doctor_check_space(struct doctor *doctor)
{
    const char *path = doctor->options->state_dir;
    struct statvfs disk;

    if (statvfs(path, &disk) < 0)
        return; /* told by the check before */
    uint64_t bytes = (uint64_t)disk.f_bavail * disk.f_frsize;
    bool counts_inodes = disk.f_files > 0;
    if (disk.f_flag & ST_RDONLY) {
        tell_read_only(doctor, path);
    } else if (bytes < FULL_BYTES || (counts_inodes && disk.f_favail == 0)) {
        tell_full(doctor, path, bytes, bytes >= FULL_BYTES);
    } else if (bytes < LOW_BYTES || (counts_inodes && disk.f_favail < LOW_INODES)) {
        g_autofree char *room = db_size_shown(bytes);
        doctor_add(doctor,
                   (struct doctor_finding){
                       .severity = DOCTOR_WARNING,
                       .what = g_strdup_printf(
                           "the disk of %s is nearly full: %s and %llu inodes are free", path, room,
                           (unsigned long long)disk.f_favail),
                       .why = g_strdup("When it is full, changes are refused on this node."),
                       .command = how_to_make_room(path),
                       .risk = g_strdup(
                           "The second one deletes old messages of the journal. Delete nothing "
                           "called config.db*."),
                   });
    }
}

/* ---- Rights ---- */

/* A file or directory that others than root could read or write. */
static void check_mode(struct doctor *doctor, const char *path, mode_t too_much, const char *usual)
{
    struct stat info;

    if (lstat(path, &info) < 0 || S_ISLNK(info.st_mode) ||
        (info.st_uid == 0 && (info.st_mode & too_much) == 0))
        return;
    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_WARNING,
                   .what = g_strdup_printf("%s has the mode %04o and the owner %u", path,
                                           (unsigned int)(info.st_mode & 07777),
                                           (unsigned int)info.st_uid),
                   .why = g_strdup(
                       "There are private keys and passwords in the database: it is root's alone."),
                   .command = g_strdup_printf("chown root:root %s\nchmod %s %s", path, usual, path),
                   .risk = g_strdup(
                       "None for pmxcfs. What was readable may have been read: if other users "
                       "are on this host, replace keys and passwords."),
               });
}

void doctor_check_permissions(struct doctor *doctor)
{
    g_autofree char *journal = g_strconcat(doctor->database, ".journal", NULL);
    g_autofree char *log = g_strconcat(doctor->database, "-wal", NULL);

    check_mode(doctor, doctor->options->state_dir, 0022, "0750");
    check_mode(doctor, doctor->database, 0077, "0600");
    check_mode(doctor, journal, 0077, "0600");
    check_mode(doctor, log, 0077, "0600");
}

static bool has_name(const char *name)
{
    struct group *found;

    errno = 0;
    do
        found = getgrnam(name);
    while (!found && errno == EINTR);
    return found != NULL;
}

void doctor_check_group(struct doctor *doctor)
{
    const char *group = doctor->options->group;

    if (has_name(group))
        return;
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_CRITICAL,
            .what =
                g_strdup_printf("there is no group %s: pmxcfs does not start without it", group),
            .why = g_strdup("Its members may read the files that are not private."),
            .command = g_strdup_printf("groupadd --system %s", group),
            .risk = g_strdup("On Debian www-data has the number 33: groupadd --gid 33 www-data."),
        });
}

/* ---- Limits ---- */

static void check_limit(struct doctor *doctor, const char *what, uint64_t used, uint64_t limit,
                        bool is_size)
{
    if ((double)used < NEARLY * (double)limit)
        return;
    g_autofree char *now = is_size ? db_size_shown(used) : g_strdup_printf("%" PRIu64, used);
    g_autofree char *most = is_size ? db_size_shown(limit) : g_strdup_printf("%" PRIu64, limit);
    bool full = used >= limit;
    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = full ? DOCTOR_CRITICAL : DOCTOR_WARNING,
                   .what = g_strdup_printf("the file system is %s: %s of %s %s",
                                           full ? "full" : "nearly full", now, most, what),
                   .why = g_strdup("The limit holds on all nodes; a larger disk does not help."),
                   .command = g_strdup("pmxcfsctl db stat"),
                   .risk = g_strdup(
                       "None: it shows the largest files. What you delete is gone on all nodes."),
               });
}

void doctor_check_limits(struct doctor *doctor)
{
    if (!doctor->tree)
        return;
    check_limit(doctor, "of contents", doctor->tree->bytes, CONTENT_MAX, true);
    check_limit(doctor, "entries", tree_entry_count(doctor->tree), INODES_MAX, false);
}
