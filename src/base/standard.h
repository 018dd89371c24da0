/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Standard input, output and error of a process that was started without them. */
#ifndef PMXCFS_BASE_STANDARD_H
#define PMXCFS_BASE_STANDARD_H

/* Before anything else is opened: takes the numbers of those that are closed, or messages would go
 * into a file that got one of them. Reading and writing fail as before. */
void standard_open(void);

#endif
