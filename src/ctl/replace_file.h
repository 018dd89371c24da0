/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A file of the mount, written anew as one change. */
#ifndef PMXCFS_CTL_REPLACE_FILE_H
#define PMXCFS_CTL_REPLACE_FILE_H

#include <stddef.h>
#include <stdint.h>

/* Under another name first, which is then renamed, so that nobody reads half of it: 0 or an errno,
 * and then nothing of it is left. `data` may be NULL if there is none. */
int replace_file(const char *file, const uint8_t *data, size_t size);

#endif
