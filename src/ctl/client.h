/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The daemon as pmxcfsctl sees it: requests on the local socket. */
#ifndef PMXCFS_CTL_CLIENT_H
#define PMXCFS_CTL_CLIENT_H

#include <stddef.h>
#include <stdint.h>

struct client;

/* Connects to the daemon whose socket is called `name`. `milliseconds`: how long to wait for it,
 * and for each reply to client_ask(). NULL with errno set; ETIMEDOUT or EAGAIN: it runs, and does
 * not answer. */
struct client *client_open(const char *name, int milliseconds);
void client_close(struct client *client);

/* Sends a request and waits for its reply. 0 and *data (g_free() it, with a NUL behind its *size
 * bytes), or the negative errno that the daemon or the connection gave; -ETIMEDOUT: none came. */
int client_ask(struct client *client, int32_t id, const void *request, size_t request_size,
               char **data, size_t *size);

/* Waits for the next event, for a second at most. As above; -EAGAIN: none came. */
int client_next_event(struct client *client, char **data, size_t *size);

#endif
