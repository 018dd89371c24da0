/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Runs what may hang in a process of its own, and waits for it so long and no longer. */
#include "ctl/doctor_process.h"

#include <errno.h>
#include <glib.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/write.h"

#define TEXT_MAX (4u * 1024 * 1024)

/* What the child sends: the error as an int, then the text. */
G_GNUC_NORETURN static void run_child(doctor_work work, void *argument, int pipe_end)
{
    int error = 0;
    char *text = work(argument, &error);

    if (write_all(pipe_end, (const uint8_t *)&error, sizeof(error)) == 0 && text)
        (void)write_all(pipe_end, (const uint8_t *)text, strlen(text));
    _exit(0);
}

/* Reads until the other end is closed. 0 or a negative errno. */
static int read_all(int fd, GByteArray *data, int milliseconds)
{
    gint64 end = g_get_monotonic_time() + (gint64)milliseconds * 1000;
    guint8 piece[65536];

    for (;;) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        gint64 left = (end - g_get_monotonic_time()) / 1000;
        int ready = left > 0 ? poll(&wait, 1, (int)left) : 0;
        if (ready < 0 && errno == EINTR)
            continue;
        if (ready <= 0)
            return ready < 0 ? -errno : -ETIMEDOUT;
        ssize_t got = read(fd, piece, sizeof(piece));
        if (got < 0 && errno == EINTR)
            continue;
        if (got <= 0)
            return got < 0 ? -errno : 0;
        if (data->len + (gsize)got > TEXT_MAX)
            return -EMSGSIZE;
        g_byte_array_append(data, piece, (guint)got);
    }
}

/* A child in the kernel's hands may not die; it is nobody's business any more then. */
static void end_child(pid_t child, bool late)
{
    if (late)
        kill(child, SIGKILL);
    for (int i = 0; i < 100 && waitpid(child, NULL, WNOHANG) == 0; i++)
        g_usleep(10000);
}

char *doctor_process_run(doctor_work work, void *argument, int milliseconds, int *error)
{
    g_autoptr(GByteArray) data = g_byte_array_new();
    int ends[2];

    if (pipe(ends) < 0) {
        *error = -errno;
        return NULL;
    }
    pid_t child = fork();
    if (child == 0) {
        close(ends[0]);
        run_child(work, argument, ends[1]);
    }
    close(ends[1]);
    *error = child < 0 ? -errno : read_all(ends[0], data, milliseconds);
    close(ends[0]);
    if (child > 0)
        end_child(child, *error != 0);
    if (*error)
        return NULL;
    if (data->len < sizeof(*error)) {
        *error = -EPIPE;
        return NULL;
    }
    memcpy(error, data->data, sizeof(*error));
    if (*error)
        return NULL;
    return g_strndup((const char *)data->data + sizeof(*error), data->len - sizeof(*error));
}
