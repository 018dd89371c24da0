/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Is stuck in the listing of a directory until standard input ends, and so holds the directory's
 * lock in the kernel: hold_listing DIRECTORY prints "listing PID" once it does. The memory that is
 * listed into has no page, and the page fault is answered by this program itself, late. */
#include <fcntl.h>
#include <linux/userfaultfd.h>
#include <pthread.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ROOM 65536

static char *room;
static int directory;

static void give_up(const char *what)
{
    perror(what);
    exit(1);
}

static void *list(void *unused)
{
    (void)unused;
    if (syscall(SYS_getdents64, directory, room, ROOM) <= 0)
        give_up("getdents64");
    return NULL;
}

/* A descriptor that tells page faults in `room`. */
static int watch_faults(void)
{
    int faults = (int)syscall(SYS_userfaultfd, O_CLOEXEC);
    struct uffdio_api api = {.api = UFFD_API};
    if (faults < 0 || ioctl(faults, UFFDIO_API, &api))
        give_up("userfaultfd");
    room = mmap(NULL, ROOM, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    if (room == MAP_FAILED)
        give_up("mmap");
    struct uffdio_register range = {.range = {(uintptr_t)room, ROOM},
                                    .mode = UFFDIO_REGISTER_MODE_MISSING};
    if (ioctl(faults, UFFDIO_REGISTER, &range))
        give_up("UFFDIO_REGISTER");
    return faults;
}

int main(int count, char **arguments)
{
    int faults = watch_faults();
    directory = count == 2 ? open(arguments[1], O_RDONLY | O_DIRECTORY) : -1;
    if (directory < 0)
        give_up("open");
    pthread_t thread;
    if (pthread_create(&thread, NULL, list, NULL))
        give_up("pthread_create");
    struct uffd_msg message;
    if (read(faults, &message, sizeof(message)) != (ssize_t)sizeof(message))
        give_up("read");
    printf("listing %d\n", (int)getpid());
    fflush(stdout);
    char byte;
    while (read(STDIN_FILENO, &byte, 1) > 0)
        ;
    struct uffdio_zeropage pages = {.range = {(uintptr_t)room, ROOM}};
    if (ioctl(faults, UFFDIO_ZEROPAGE, &pages))
        give_up("UFFDIO_ZEROPAGE");
    pthread_join(thread, NULL);
    return 0;
}
