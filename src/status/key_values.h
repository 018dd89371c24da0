/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Key/value status: the values of this node, copies of those of other nodes, and RRD values. */
#ifndef PMXCFS_STATUS_KEY_VALUES_H
#define PMXCFS_STATUS_KEY_VALUES_H

#include <glib.h>
#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "core/buffer.h"

/* Rules: doc/status.md, "Key/value status". No clock and no lock: the owner (struct status)
 * serialises and passes the time. */

#define KEY_VALUE_MAX 32768u   /* bytes of a value, inclusive */
#define KEY_NAME_MAX 255u      /* bytes of a name */
#define ADDRESS_BYTES_MAX 255u /* bytes of a nodeip value with its NUL */
#define RELEASE_NAME "pmxcfs-release"
#define RELEASE_BYTES_MAX 64u /* bytes of that value with its NUL */
#define RRD_BYTES_MAX 4095u   /* bytes of an rrd/ value with its NUL */
#define RRD_SHOWN_MILLISECONDS 300000u

/* What all plain values of a node, or all RRD values, may take of memory together. No real node
 * comes near; it keeps a member gone mad from eating this node's memory. */
#define KEY_VALUES_BYTES_MAX (64u * 1024 * 1024)

enum key_kind {
    KEY_PLAIN,   /* anything else */
    KEY_ADDRESS, /* nodeip */
    KEY_RRD,     /* rrd/KEY */
    KEY_RELEASE, /* pmxcfs-release */
};

/* Which kind a name is of, and whether `size` bytes (0: delete) may be its value. 0, -EFBIG over
 * KEY_VALUE_MAX, -EINVAL for a bad name or a malformed nodeip or rrd/ value. */
int key_value_check(const char *name, const void *value, size_t size, enum key_kind *kind);

/* The key of an RRD value's name: what follows "rrd/". */
const char *key_rrd_key(const char *name);

struct key_value {
    struct buffer *value; /* as it was set */
    uint32_t version;     /* 0 when new, one more with each update */
};

/* The values of one node. */
struct node_values {
    GHashTable *by_name; /* name → struct key_value, owned: plain values */
    char *owner;         /* the node's name; of another node only */
    char *address;       /* nodeip, NULL: not known */
    char *release;       /* of the daemon, NULL: not told */
    size_t bytes;        /* of memory, of all plain names and values */
};

struct node_values *node_values_new(void);
void node_values_free(struct node_values *values);

/* Stores a plain value (size 0: deletes it) that passed key_value_check(). 0, or -ENOSPC. */
int node_values_set(struct node_values *values, const char *name, const void *value, size_t size);

/* Borrowed; NULL: there is none. */
const struct key_value *node_values_get(const struct node_values *values, const char *name);

/* The names of all plain values, copies (gchar *, owned by the array), in order of the alphabet. */
GPtrArray *node_values_names(const struct node_values *values);

/* A value as it is sent, also the address and the release; one reference, NULL: there is none. */
struct buffer *node_values_sent(const struct node_values *values, const char *name);

/* Name → version of all plain values. */
json_t *node_values_versions(const struct node_values *values);

/* Stores the address that a nodeip value holds; true if it is another than before. */
bool node_values_set_address(struct node_values *values, const char *address);

/* The RRD values of all nodes. */
struct rrd_values {
    GHashTable *by_key; /* key → struct rrd_value, owned */
    size_t bytes;       /* of memory, of all keys and values */
};

struct rrd_values *rrd_values_new(void);
void rrd_values_free(struct rrd_values *rrd);

/* Stores a value set at `now` (milliseconds of a clock that never goes back). 0, or -ENOSPC. */
int rrd_values_set(struct rrd_values *rrd, const char *key, const char *value, uint64_t now);

/* The lines KEY:VALUE of the values set in the last 5 minutes, references (struct buffer, owned by
 * the array); older values are forgotten. Short, for a holder of a lock. */
GPtrArray *rrd_values_lines(struct rrd_values *rrd, uint64_t now);

/* .rrd: those lines, sorted (the array is put in order). One reference. */
struct buffer *rrd_lines_text(GPtrArray *lines);

#endif
