/* SPDX-License-Identifier: GPL-3.0-or-later */
/* A client of rrdcached that never waits longer than it was told to. */
#ifndef PMXCFS_STATUS_RRDCACHED_H
#define PMXCFS_STATUS_RRDCACHED_H

/* librrd's own client waits without limit for a daemon that has stopped, and its descriptor cannot
 * be reached to bound that. rrdcached's protocol is lines of text over a socket (rrdcached(1)); the
 * one command that is needed here is spoken by this file. */

struct rrdcached {
    char *path;      /* of the socket; NULL: there is none to ask */
    int fd;          /* -1: not connected */
    int patience_ms; /* how long one answer may take */
};

/* `address` is as librrd takes it: "unix:PATH" or "/PATH"; any other means that there is no
 * rrdcached. */
void rrdcached_init(struct rrdcached *client, const char *address, int patience_ms);
void rrdcached_clear(struct rrdcached *client);

/* Hands one update ("TIME:VALUE...") for the file `path` (absolute) over. 0; 1: it answered, and
 * refused, for the reason in *refusal (g_free() it); or a negative errno if it cannot be asked:
 * -ETIMEDOUT, -ENOENT, -ECONNREFUSED, -E2BIG (the line is too long for
 * it), -EPROTO ... */
int rrdcached_update(struct rrdcached *client, const char *path, const char *update,
                     char **refusal);

#endif
