/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Reads the rows of a damaged table: from page to page that can be read. Inside tools only. */
#ifndef PMXCFS_CTL_TOOLS_SALVAGE_H
#define PMXCFS_CTL_TOOLS_SALVAGE_H

#include "store/load.h"

/* Reads all rows that can be read, over damaged pages too; notes what is lost. False: nothing can,
 * and the notes say why. */
bool salvage_rows(struct load *load);

#endif
