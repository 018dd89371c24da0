/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Where pmxcfsctl doctor looks: what was given, what the running daemon was started with, or what
 * is usual. */
#ifndef PMXCFS_CTL_DOCTOR_OPTIONS_H
#define PMXCFS_CTL_DOCTOR_OPTIONS_H

#include <jansson.h>

/* All owned. */
struct doctor_options {
    char *state_dir;
    char *corosync_conf; /* of the host */
    char *mountpoint;
    char *node_name; /* that somebody chose; NULL: the host's */
    char *group;
};

/* Fills in what is NULL: from the command line of the daemon whose overview that is (NULL: none
 * answers), or with the defaults of pmxcfs(8). */
void doctor_options_complete(struct doctor_options *options, json_t *overview);
void doctor_options_clear(struct doctor_options *options);

#endif
