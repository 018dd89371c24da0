/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Standard input, output and error of a process that was started without them. */
#include "base/standard.h"

#include <errno.h>
#include <fcntl.h>
#include <unistd.h>

void standard_open(void)
{
    for (int fd = STDIN_FILENO; fd <= STDERR_FILENO; fd++) {
        if (fcntl(fd, F_GETFD) >= 0 || errno != EBADF)
            continue;
        /* The lowest number that is free is this one. */
        if (open("/dev/null", fd == STDIN_FILENO ? O_WRONLY : O_RDONLY) < 0)
            return;
    }
}
