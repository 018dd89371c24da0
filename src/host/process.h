/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The life of the process: background, readiness, signals, and an end that nothing holds up. */
#ifndef PMXCFS_HOST_PROCESS_H
#define PMXCFS_HOST_PROCESS_H

#include <stdbool.h>
#include <stdint.h>

/* Goes on in a background process with a session of its own, in the root directory: paths have to
 * be absolute from here on. Call it before any thread starts, and before anything is opened: files
 * beyond stderr, which are those of whoever started it, are closed.
 * Returns in that process alone: a descriptor for process_ready(), or a negative errno if there
 * could be no such process. The process that called waits until the other is ready, or has ended,
 * and exits: with 0, or with the other's exit code. Until it is ready the background process keeps
 * stderr, so that its reasons for not starting are seen. */
int process_fork(void);

/* True if what goes to stderr ends up in the journal of systemd, where syslog's lines are too. */
bool process_stderr_is_journal(void);

/* Tells whoever waits that mount and socket answer: the parent (ready_fd from process_fork(),
 * closed here; -1 in the foreground) and the service manager. In the background stdout and stderr
 * become /dev/null, and the log leaves them. */
void process_ready(int ready_fd);

/* Whoever started the process may have ignored signals that it and its guard need: the one that
 * ends it, those that they send each other, and that of the end of a child, whose exit code would
 * be lost. SIGHUP and SIGINT stay as they are: nohup and shells mean it. */
void process_hear_signals(void);

/* Blocks the signals that end the daemon, and ignores SIGPIPE, for this thread and all that it
 * starts. */
void process_block_signals(void);

/* Waits for SIGTERM, SIGINT or SIGHUP, or process_request_stop(), and logs which. Main thread. */
void process_wait_for_stop(void);

/* As process_wait_for_stop(), but for that many milliseconds at most; true if it is time to stop.
 */
bool process_wait_for_stop_until(uint64_t milliseconds);

/* Asks the main thread to stop, as SIGTERM does. Any thread, any number of times. */
void process_request_stop(void);

/* What the end must not miss, whatever hangs. */
struct last_resort {
    const char *mountpoint; /* unmounted lazily; NULL: it is not ours */
    uint64_t mount_number;  /* of our mount there: another is left alone; 0: not known */
    const char *pid_file;   /* removed; NULL: it is not ours */
    int exit_code;
    uint64_t milliseconds; /* how long the ordinary stop may take */
};

/* From now the process ends when that time is over at the latest; the database needs no care then:
 * what was acknowledged is in its write-ahead log. The strings must live on. Tells the service
 * manager that the daemon stops. */
void process_begin_stop(const struct last_resort *resort);

/* Ends the process now, with what must not be missed and nothing else. */
_Noreturn void process_leave(const struct last_resort *resort);

#endif
