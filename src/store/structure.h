/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Third step of a load: what rows must be to each other to make a tree: parents, names, guests.
 * Inside store and ctl/tools only. */
#ifndef PMXCFS_STORE_STRUCTURE_H
#define PMXCFS_STORE_STRUCTURE_H

#include "store/load.h"

/* Notes what is wrong with the rows that were read, which it marks. A repair calls it again and
 * again. */
void structure_check(struct load *load);

#endif
