/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Shared memory files of connections that a killed daemon left behind. */
#ifndef PMXCFS_SOCKET_LEFTOVERS_H
#define PMXCFS_SOCKET_LEFTOVERS_H

/* libqb keeps the buffers of a connection in files below
 * DIRECTORY/qb-SERVERPID-CLIENTPID-DESCRIPTOR-RANDOM/, named qb-KIND-SERVICE-header and -data. A
 * client may have taken files away already, and not their directory. */

/* Removes from `directory` (/dev/shm) what servers of the service `name` left that run no more.
 * Called before the service is started: a process that has this one's number, or was started after
 * the files were made, is not their owner. Gives the number of directories removed. */
unsigned leftovers_remove(const char *directory, const char *name);

#endif
