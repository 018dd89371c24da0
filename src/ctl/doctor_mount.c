/* SPDX-License-Identifier: GPL-3.0-or-later */
/* pmxcfsctl doctor: what is mounted at the mount point, and what lies hidden below. */
#include <errno.h>
#include <sched.h>
#include <string.h>
#include <sys/mount.h>
#include <sys/statvfs.h>

#include "ctl/doctor.h"
#include "ctl/doctor_process.h"

#define PATIENCE_MILLISECONDS 3000
#define MOUNTS_MAX 16 /* on top of each other */

/* ---- What is mounted ---- */

/* The type of what is mounted there last, on top of all others; NULL: nothing. g_free() it. */
static char *mounted_type(const char *mountpoint)
{
    g_autofree char *text = NULL;
    char *type = NULL;

    if (!g_file_get_contents("/proc/self/mountinfo", &text, NULL, NULL))
        return NULL;
    g_auto(GStrv) lines = g_strsplit(text, "\n", -1);
    for (int i = 0; lines[i]; i++) {
        const char *rest = strstr(lines[i], " - ");
        g_auto(GStrv) words = g_strsplit(lines[i], " ", 6);
        if (!rest || g_strv_length(words) < 6)
            continue;
        g_autofree char *path = g_strcompress(words[4]); /* a blank is \040 */
        if (strcmp(path, mountpoint) != 0)
            continue;
        g_free(type);
        type = g_strndup(rest + 3, strcspn(rest + 3, " "));
    }
    return type;
}

/* It may hang. */
static char *look(void *mountpoint, int *error)
{
    struct statvfs info;

    *error = statvfs(mountpoint, &info) < 0 ? -errno : 0;
    return *error ? NULL : g_strdup("");
}

static void tell_not_answering(struct doctor *doctor, int error)
{
    const char *path = doctor->options->mountpoint;
    g_autofree char *restart = doctor_service("restart");

    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_CRITICAL,
                   .what = g_strdup_printf("the mount at %s does not answer: %s", path,
                                           g_strerror(-error)),
                   .why = g_strdup(
                       "The daemon answers on its socket, and not here: whoever uses a file of it "
                       "waits, or gets errors."),
                   .command = g_steal_pointer(&restart),
                   .risk = g_strdup(
                       "The file system is away for a second; guests go on. Those who wait get "
                       "an error."),
               });
}

static void tell_covered(struct doctor *doctor, const char *type)
{
    const char *path = doctor->options->mountpoint;

    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_CRITICAL,
                   .what = g_strdup_printf("something else is mounted at %s (%s)", path, type),
                   .why = g_strdup(doctor->daemon_error == 0
                                       ? "It covers the file system of pmxcfs: nobody sees that."
                                       : "pmxcfs does not mount over it."),
                   .command = g_strdup_printf("findmnt %s\numount %s", path, path),
                   .risk = g_strdup(
                       "The second one takes away what the first one shows as the last line; see "
                       "that nobody needs it."),
               });
}

static void tell_not_mounted(struct doctor *doctor)
{
    g_autofree char *restart = doctor_service("restart");

    doctor_add(doctor,
               (struct doctor_finding){
                   .severity = DOCTOR_CRITICAL,
                   .what = g_strdup_printf("pmxcfs runs, and nothing is mounted at %s",
                                           doctor->options->mountpoint),
                   .why = g_strdup(
                       "Somebody has unmounted it, or it was mounted where this process cannot "
                       "see it (a mount namespace)."),
                   .command = g_steal_pointer(&restart),
                   .risk = g_strdup("None: what runs knows no files of it any more."),
               });
}

static void tell_stale(struct doctor *doctor)
{
    const char *path = doctor->options->mountpoint;

    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("the mount of a daemon that is gone is still at %s", path),
            .why = g_strdup("Whoever uses it gets errors. The next start takes it away."),
            .command = g_strdup_printf("umount -l %s", path),
            .risk = g_strdup("none"),
        });
}

void doctor_check_mount(struct doctor *doctor)
{
    const char *path = doctor->options->mountpoint;
    g_autofree char *type = mounted_type(path);
    bool is_ours = type && g_str_has_prefix(type, "fuse");
    bool answers = doctor->daemon_error == 0;
    int error = 0;

    if (type && !is_ours) {
        tell_covered(doctor, type);
    } else if (answers && !type) {
        tell_not_mounted(doctor);
    } else if (answers) {
        g_free(doctor_process_run(look, (void *)path, PATIENCE_MILLISECONDS, &error));
        if (error)
            tell_not_answering(doctor, error);
    } else if (type && (doctor->daemon_error == ECONNREFUSED || doctor->daemon_error == ENOENT)) {
        tell_stale(doctor);
    }
}

/* ---- What lies below ---- */

/* In a process with a view of its own of all mounts, from which those are taken away. The names,
 * one a line. */
static char *list_below(void *mountpoint, int *error)
{
    GString *names = g_string_new(NULL);
    const char *name;

    *error = 0;
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0) {
        *error = -errno;
        return NULL;
    }
    for (int i = 0; i < MOUNTS_MAX; i++) {
        g_autofree char *type = mounted_type(mountpoint);
        if (!type || umount2(mountpoint, MNT_DETACH) < 0)
            break;
    }
    GDir *directory = g_dir_open(mountpoint, 0, NULL);
    while (directory && (name = g_dir_read_name(directory)))
        g_string_append_printf(names, "%s\n", name);
    if (directory)
        g_dir_close(directory);
    return g_string_free(names, FALSE);
}

static GPtrArray *hidden_names(const char *mountpoint)
{
    GPtrArray *names = g_ptr_array_new_with_free_func(g_free);
    int error;
    g_autofree char *text =
        doctor_process_run(list_below, (void *)mountpoint, PATIENCE_MILLISECONDS, &error);
    g_auto(GStrv) lines = g_strsplit(text ? text : "", "\n", -1);

    for (int i = 0; lines[i]; i++) {
        if (*lines[i])
            g_ptr_array_add(names, g_strescape(lines[i], NULL));
    }
    return names;
}

void doctor_check_hidden(struct doctor *doctor)
{
    const char *path = doctor->options->mountpoint;
    g_autoptr(GPtrArray) names = hidden_names(path);

    if (names->len == 0)
        return;
    g_autofree char *list = doctor_list(names);
    g_autofree char *parent = g_path_get_dirname(path);
    g_autofree char *base = g_path_get_basename(path);
    doctor_add(
        doctor,
        (struct doctor_finding){
            .severity = DOCTOR_WARNING,
            .what = g_strdup_printf("there are files below the mount point %s, which it hides: %s",
                                    path, list),
            .why = g_strdup("Somebody wrote there while pmxcfs was not mounted: they are on this "
                            "host's disk alone, and in no cluster."),
            .command =
                g_strdup_printf("mount --bind %s /mnt\nls -la /mnt/%s\numount /mnt", parent, base),
            .risk =
                g_strdup_printf("None: it shows them, below the mount. Move them from /mnt/%s to "
                                "/root before the last command; copy back into %s what is needed.",
                                base, path),
        });
}
