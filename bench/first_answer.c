/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Starts a daemon and tells the time until a file can be read through its mount. */
#include <fcntl.h>
#include <signal.h>
#include <stdbool.h>
#include <sys/wait.h>
#include <unistd.h>

#include "timing.h"

/* With three nodes on one processor, 120 MB take a minute or two. */
#define PATIENCE 400.0

static bool is_readable(const char *path)
{
    char byte;
    int file = open(path, O_RDONLY);
    if (file < 0)
        return false;
    bool good = read(file, &byte, 1) == 1;
    close(file);
    return good;
}

static void end_daemon(pid_t daemon)
{
    int status = 0;
    kill(daemon, SIGTERM);
    if (waitpid(daemon, &status, 0) != daemon || status != 0)
        fail("the daemon ended with status %x", (unsigned)status);
}

int main(int argc, char **argv)
{
    if (argc < 3)
        fail("usage: first_answer FILE COMMAND...\n"
             "(a daemon in the foreground, ended when standard input ends)");
    double start = seconds_now();
    pid_t daemon = fork();
    if (daemon < 0)
        fail("fork");
    if (daemon == 0) {
        execv(argv[2], argv + 2);
        fail("%s", argv[2]);
    }
    while (!is_readable(argv[1])) {
        if (seconds_now() - start > PATIENCE || waitpid(daemon, NULL, WNOHANG) != 0) {
            kill(daemon, SIGKILL);
            errno = 0;
            fail("%s never answered", argv[2]);
        }
        pause_seconds(0.0005);
    }
    printf("{\"work\": \"start\", \"target\": \"ours\", \"seconds\": %.9f}\n",
           seconds_now() - start);
    fflush(stdout);
    while (getchar() != EOF)
        continue;
    end_daemon(daemon);
    return 0;
}
