/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Calls a command of the shell for an event of the change feed. */
#include "ctl/run_command.h"

#include <errno.h>
#include <glib.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/write.h"

/* Fields that an event may have; what it has not is not in the environment. */
static const char *const fields[] = {"version", "from",   "time", "node",  "operation",
                                     "path",    "target", "size", "count", "more"};

static void set_field(const char *field, json_t *value)
{
    g_autofree char *upper = g_ascii_strup(field, -1);
    g_autofree char *name = g_strconcat("PMXCFS_", upper, NULL);

    if (json_is_string(value))
        g_setenv(name, json_string_value(value), TRUE);
    else if (json_is_integer(value)) {
        g_autofree char *text = g_strdup_printf("%lld", (long long)json_integer_value(value));
        g_setenv(name, text, TRUE);
    } else {
        g_unsetenv(name);
    }
}

/* A file in memory, which holds a line of any length without anybody who writes; -1: none. */
static int file_of(const char *line, size_t size)
{
    int file = memfd_create("event", MFD_CLOEXEC);

    if (file < 0)
        return -1;
    if (write_all(file, (const uint8_t *)line, size) < 0 ||
        write_all(file, (const uint8_t *)"\n", 1) < 0 || lseek(file, 0, SEEK_SET) < 0) {
        close(file);
        return -1;
    }
    return file;
}

G_GNUC_NORETURN static void run_child(const char *command, int input)
{
    dup2(input, STDIN_FILENO);
    signal(SIGPIPE, SIG_DFL);
    execl("/bin/sh", "sh", "-c", command, (char *)NULL);
    fprintf(stderr, "error: cannot run /bin/sh: %s\n", g_strerror(errno));
    _exit(127);
}

static void tell_status(const char *command, int status)
{
    if (WIFSIGNALED(status))
        fprintf(stderr, "error: '%s' was ended by signal %d\n", command, WTERMSIG(status));
    else if (WEXITSTATUS(status) != 0)
        fprintf(stderr, "error: '%s' ended with exit code %d\n", command, WEXITSTATUS(status));
}

void run_command(const char *command, json_t *event, const char *line, size_t size)
{
    int status = 0;
    int input = file_of(line, size);

    for (size_t i = 0; i < G_N_ELEMENTS(fields); i++)
        set_field(fields[i], json_object_get(event, fields[i]));
    pid_t child = input < 0 ? -1 : fork();
    if (child == 0)
        run_child(command, input);
    if (child < 0)
        fprintf(stderr, "error: cannot run '%s': %s\n", command, g_strerror(errno));
    if (input >= 0)
        close(input);
    while (child > 0 && waitpid(child, &status, 0) < 0 && errno == EINTR)
        ;
    if (child > 0)
        tell_status(command, status);
}
