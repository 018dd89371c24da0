/* SPDX-License-Identifier: GPL-3.0-or-later */
/* First step of a load: is the table in config.db the one that all implementations know, and
 * nothing beside it? Inside store and ctl/tools only. */
#ifndef PMXCFS_STORE_SCHEMA_H
#define PMXCFS_STORE_SCHEMA_H

#include "store/load.h"

/* Reads the schema and notes what is wrong with it. True if there are rows that can be read. */
bool schema_check(struct load *load);

#endif
