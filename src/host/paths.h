/* SPDX-License-Identifier: GPL-3.0-or-later */
/* What the daemon needs of the host's file system: directories, lock and pid file, restart flag,
 * mount point. */
#ifndef PMXCFS_HOST_PATHS_H
#define PMXCFS_HOST_PATHS_H

#include <stdint.h>
#include <sys/types.h>

#define STATE_LOCK_FILE ".pmxcfs.lockfile" /* in the state directory */

/* All of these log what went wrong, in words that an administrator can act on, and give 0 or a
 * negative errno. */

/* Makes a directory with that mode, and its parents with 0755; one that exists stays as it is. */
int paths_make_directory(const char *path, mode_t mode);

/* The run directory: made if missing, mode 0750, that group. */
int paths_make_run_directory(const char *path, gid_t group);

/* Takes the lock against a second daemon on the same state directory, which must exist, trying for
 * that many milliseconds. A descriptor that holds the lock until it is closed; -EWOULDBLOCK:
 * another daemon has it; -EINTR: a signal asks to stop (process_block_signals() came before). */
int paths_lock_state(const char *state_dir, uint64_t milliseconds);

/* The process id and a newline, mode 0644, in one step. */
int paths_write_pid_file(const char *path);

/* The flag by which clients know that the daemon will be back: made (0440, that group), removed. */
int paths_make_restart_flag(const char *run_dir, gid_t group);
void paths_remove_restart_flag(const char *run_dir);

/* Makes the mount point fit for a mount: takes away mounts that killed daemons left, makes a
 * missing directory. -ENOTDIR, -ENOTEMPTY; -ENODEV if there is no FUSE on this system. */
int paths_prepare_mountpoint(const char *path);

#endif
