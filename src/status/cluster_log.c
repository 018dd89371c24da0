/* SPDX-License-Identifier: GPL-3.0-or-later */
/* The cluster log: packing, parsing, the ring, and the merge of several rings. */
#include "status/cluster_log.h"

#include <errno.h>
#include <time.h>

#include "base/log.h"
#include "base/util.h"

#define BUFFER_HEADER 8u /* u32 size, u32 cpos */
#define STRINGS_AT 44u   /* where an entry's strings start */
#define LINKS_SIZE 8u    /* prev and next */
#define ENTRY_FIXED 48u  /* an entry's size without its strings: 4 bytes more than STRINGS_AT */
#define NAME_BYTES_MAX 255u

/* A merge stops here, so that the buffer takes an entry more without overwriting. */
#define MERGE_FILL (CLUSTER_LOG_SIZE - CLUSTER_LOG_ENTRY_MAX - BUFFER_HEADER)

/* The dedup table is built anew from the buffer beyond this: nobody has so many nodes. */
#define NODES_REMEMBERED_MAX 4096u

/* Seconds by which a clock may have been set back without a word. */
#define AHEAD_TOLERATED 60u

static uint32_t round_up(uint32_t size)
{
    return (size + 7u) & ~7u;
}

uint64_t cluster_log_digest(const char *string)
{
    uint64_t digest = 14695981039346656037ull;

    do
        digest = (digest ^ (uint8_t)*string) * 1099511628211ull;
    while (*string++);
    return digest;
}

/* Appends `piece` if the text with it and a NUL stays within `max` bytes. */
static bool append_piece(GString *text, const char *piece, size_t max)
{
    if (text->len + strlen(piece) + 1 > max)
        return false;
    g_string_append(text, piece);
    return true;
}

static bool append_byte(GString *text, unsigned char byte, size_t max)
{
    char piece[8];

    if (byte == '"')
        return append_piece(text, "\\\"", max);
    if (byte < 0x20)
        g_snprintf(piece, sizeof(piece), "#0%02u", byte);
    else
        g_snprintf(piece, sizeof(piece), "%c", byte < 0x7f ? byte : '?');
    return append_piece(text, piece, max);
}

static bool append_character(GString *text, gunichar character, size_t max)
{
    char piece[8];

    if (character == 0x7f)
        return append_piece(text, "#127", max);
    if (character < 0x80)
        return append_byte(text, (unsigned char)character, max);
    if (character > 0xffff)
        return true;
    g_snprintf(piece, sizeof(piece), "\\u%04x", character);
    return append_piece(text, piece, max);
}

/* The message as it is stored; at most `max` bytes with the NUL. */
static GString *message_to_ascii(const char *message, size_t max)
{
    GString *text = g_string_new(NULL);

    if (g_utf8_validate(message, -1, NULL)) {
        for (const char *at = message; *at; at = g_utf8_next_char(at))
            if (!append_character(text, g_utf8_get_char(at), max))
                break;
    } else {
        for (const char *at = message; *at; at++)
            if (!append_byte(text, (unsigned char)*at, max))
                break;
    }
    return text;
}

static uint8_t name_bytes(const char *name)
{
    size_t size = strlen(name) + 1;

    return (uint8_t)MIN(size, NAME_BYTES_MAX);
}

/* Copies a name of `size` bytes with its NUL; gives where the next goes. */
static uint8_t *put_name(uint8_t *to, const char *name, size_t size)
{
    memcpy(to, name, size - 1);
    to[size - 1] = 0;
    return to + size;
}

struct buffer *cluster_log_entry_pack(const struct cluster_log_record *record)
{
    uint8_t node_size = name_bytes(record->node);
    uint8_t ident_size = name_bytes(record->ident);
    uint8_t tag_size = name_bytes(record->tag);
    uint32_t before = ENTRY_FIXED + node_size + ident_size + tag_size;
    GString *message = message_to_ascii(record->message, CLUSTER_LOG_ENTRY_MAX - before);
    uint32_t message_size = (uint32_t)message->len + 1;
    struct buffer *buffer = buffer_new(before + message_size);
    uint8_t *data = buffer->data;

    memset(data, 0, before + message_size);
    put_le32(data + 8, record->uid);
    put_le32(data + 12, record->time);
    put_le32(data + 32, record->pid);
    data[36] = record->priority;
    data[37] = node_size;
    data[38] = ident_size;
    data[39] = tag_size;
    put_le32(data + 40, message_size);
    uint8_t *node = data + STRINGS_AT;
    uint8_t *ident = put_name(node, record->node, node_size);
    uint8_t *tag = put_name(ident, record->ident, ident_size);
    memcpy(put_name(tag, record->tag, tag_size), message->str, message_size);
    put_le64(data + 16, cluster_log_digest((const char *)node));
    put_le64(data + 24, cluster_log_digest((const char *)ident));
    g_string_free(message, TRUE);
    return buffer;
}

/* Reads the entry at `data`, which may be followed by other bytes up to `room`. */
static int parse_entry(const uint8_t *data, size_t room, struct cluster_log_entry *entry)
{
    struct reader reader = {.data = data, .left = room};

    reader_bytes(&reader, LINKS_SIZE); /* prev and next are the ring's */
    entry->uid = reader_u32(&reader);
    entry->time = reader_u32(&reader);
    entry->node_digest = reader_u64(&reader);
    reader_u64(&reader); /* the same of ident: nothing depends on it */
    entry->pid = reader_u32(&reader);
    entry->priority = reader_u8(&reader);
    uint8_t node_size = reader_u8(&reader);
    uint8_t ident_size = reader_u8(&reader);
    uint8_t tag_size = reader_u8(&reader);
    uint32_t message_size = reader_u32(&reader);
    if (reader.bad || !node_size || !ident_size || !tag_size || !message_size ||
        message_size > CLUSTER_LOG_ENTRY_MAX)
        return -EBADMSG;
    entry->node = reader_string(&reader, node_size);
    entry->ident = reader_string(&reader, ident_size);
    entry->tag = reader_string(&reader, tag_size);
    entry->message = reader_string(&reader, message_size);
    reader_bytes(&reader, ENTRY_FIXED - STRINGS_AT);
    entry->node_length = (uint8_t)(node_size - 1);
    entry->ident_length = (uint8_t)(ident_size - 1);
    entry->tag_length = (uint8_t)(tag_size - 1);
    entry->message_length = message_size - 1;
    entry->bytes = data;
    entry->size = ENTRY_FIXED + node_size + ident_size + tag_size + message_size;
    return reader.bad || entry->size > CLUSTER_LOG_ENTRY_MAX ? -EBADMSG : 0;
}

int cluster_log_entry_parse(const uint8_t *data, size_t size, struct cluster_log_entry *entry)
{
    int error = parse_entry(data, size, entry);

    if (error)
        return error;
    return entry->size == size ? 0 : -EBADMSG;
}

int cluster_log_walk_start(struct cluster_log_walk *walk, const uint8_t *buffer, size_t size)
{
    *walk = (struct cluster_log_walk){.buffer = buffer, .limit = CLUSTER_LOG_SIZE};
    if (size != CLUSTER_LOG_SIZE || get_le32(buffer) != CLUSTER_LOG_SIZE)
        return -EBADMSG;
    walk->newest = get_le32(buffer + 4);
    walk->offset = walk->newest;
    if (walk->newest % 8 || (walk->newest && walk->newest < BUFFER_HEADER) ||
        walk->newest >= CLUSTER_LOG_SIZE)
        return -EBADMSG;
    return 0;
}

/* Where the walk goes from the entry at `offset` whose prev is `prev`: offsets fall from the newest
 * entry, may jump to the end of the buffer once, and fall again until the newest entry's reach. So
 * every walk ends, whatever the offsets are. */
static uint32_t step_back(const struct cluster_log_walk *walk, uint32_t offset, uint32_t prev)
{
    if (prev % 8 || prev < BUFFER_HEADER || prev >= CLUSTER_LOG_SIZE)
        return 0;
    bool jumped = offset > walk->newest;
    if (prev <= walk->newest)
        return !jumped && prev < offset ? prev : 0;
    if (prev - walk->newest <= CLUSTER_LOG_ENTRY_MAX)
        return 0;
    return !jumped || prev < offset ? prev : 0;
}

bool cluster_log_walk_next(struct cluster_log_walk *walk, struct cluster_log_entry *entry)
{
    uint32_t offset = walk->offset;

    if (!offset)
        return false;
    walk->offset = 0;
    if (parse_entry(walk->buffer + offset, walk->limit - offset, entry) < 0)
        return false;
    uint32_t prev = get_le32(walk->buffer + offset);
    walk->offset = step_back(walk, offset, prev);
    walk->limit = walk->offset < offset ? offset : CLUSTER_LOG_SIZE;
    return true;
}

static void reset_buffer(struct cluster_log *log)
{
    memset(log->buffer, 0, CLUSTER_LOG_SIZE);
    put_le32(log->buffer, CLUSTER_LOG_SIZE);
}

struct cluster_log *cluster_log_new(void)
{
    struct cluster_log *log = g_new0(struct cluster_log, 1);

    log->buffer = g_malloc(CLUSTER_LOG_SIZE);
    log->newest = g_hash_table_new_full(g_int64_hash, g_int64_equal, g_free, g_free);
    reset_buffer(log);
    return log;
}

void cluster_log_free(struct cluster_log *log)
{
    if (!log)
        return;
    g_hash_table_destroy(log->newest);
    g_free(log->buffer);
    g_free(log);
}

static bool is_newer(const struct cluster_log_stamp *last, uint32_t time, uint32_t uid)
{
    return !last || time > last->time || (time == last->time && uid > last->uid);
}

/* Keeps the newest stamp of the entry's node. */
static void remember(struct cluster_log *log, const struct cluster_log_entry *entry)
{
    struct cluster_log_stamp *last = g_hash_table_lookup(log->newest, &entry->node_digest);

    if (!last) {
        last = g_new0(struct cluster_log_stamp, 1);
        g_hash_table_insert(log->newest, g_memdup2(&entry->node_digest, sizeof(uint64_t)), last);
    } else if (!is_newer(last, entry->time, entry->uid)) {
        return;
    }
    last->time = entry->time;
    last->uid = entry->uid;
}

/* Forgets the nodes that have no entry in the buffer. */
static void forget_nodes(struct cluster_log *log)
{
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;

    g_hash_table_remove_all(log->newest);
    if (cluster_log_walk_start(&walk, log->buffer, CLUSTER_LOG_SIZE) == 0)
        while (cluster_log_walk_next(&walk, &entry))
            remember(log, &entry);
}

/* Puts a copy of the entry into the ring, as its newest. */
static void append_entry(struct cluster_log *log, const struct cluster_log_entry *entry)
{
    uint8_t *buffer = log->buffer;
    uint32_t newest = get_le32(buffer + 4);
    uint32_t length = round_up(entry->size);
    uint32_t offset = newest ? get_le32(buffer + newest + 4) : BUFFER_HEADER;

    if (offset + length >= CLUSTER_LOG_SIZE)
        offset = BUFFER_HEADER;
    memcpy(buffer + offset, entry->bytes, entry->size);
    memset(buffer + offset + entry->size - 4, 0, 4 + length - entry->size);
    put_le32(buffer + offset, newest);
    put_le32(buffer + offset + 4, offset + length);
    put_le32(buffer + 4, offset);
    log->version++;
}

bool cluster_log_insert(struct cluster_log *log, const struct cluster_log_entry *entry)
{
    const struct cluster_log_stamp *last = g_hash_table_lookup(log->newest, &entry->node_digest);

    if (!is_newer(last, entry->time, entry->uid))
        return false;
    append_entry(log, entry);
    if (g_hash_table_size(log->newest) >= NODES_REMEMBERED_MAX)
        forget_nodes(log);
    remember(log, entry);
    return true;
}

/* Every implementation drops an entry that is older than the last one of its node, so there is no
 * way back in time, over restarts neither, as long as any member has that one. */
static void tell_ahead(struct cluster_log *log, uint32_t last, uint32_t now)
{
    time_t until = last;
    char text[64] = "";
    struct tm date;

    if (log->told_ahead || last - now <= AHEAD_TOLERATED)
        return;
    log->told_ahead = true;
    if (localtime_r(&until, &date))
        strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S", &date);
    log_warning("this node's clock was once ahead: the cluster log has an entry of it from %s. "
                "Until then all its entries get that time, or the other nodes would not take them. "
                "To begin a new cluster log, stop pmxcfs on all nodes at once, then start it",
                text);
}

void cluster_log_next_stamp(struct cluster_log *log, uint64_t node_digest,
                            struct cluster_log_stamp *stamp)
{
    const struct cluster_log_stamp *last = g_hash_table_lookup(log->newest, &node_digest);

    if (is_newer(last, stamp->time, stamp->uid))
        return;
    tell_ahead(log, last->time, stamp->time);
    *stamp = *last;
    if (++stamp->uid == 0)
        stamp->time++;
}

/* Without the place in its ring, and the bytes of any value at the end. */
static int compare_contents(const struct cluster_log_entry *a, const struct cluster_log_entry *b)
{
    if (a->size != b->size)
        return a->size > b->size ? -1 : 1;
    return memcmp(b->bytes + LINKS_SIZE, a->bytes + LINKS_SIZE,
                  STRINGS_AT - ENTRY_FIXED + a->size - LINKS_SIZE);
}

/* Newest first; what is equal is the same entry in several buffers. A node that knows no more than
 * the process before it did, in another part of the cluster, goes on from the same stamp: that
 * alone does not make two entries one. */
static int compare_entries(const void *left, const void *right)
{
    const struct cluster_log_entry *a = left, *b = right;

    if (a->time != b->time)
        return a->time > b->time ? -1 : 1;
    if (a->node_digest != b->node_digest)
        return a->node_digest > b->node_digest ? -1 : 1;
    if (a->uid != b->uid)
        return a->uid > b->uid ? -1 : 1;
    return compare_contents(a, b);
}

static bool collect(GArray *entries, const struct cluster_log_buffer *buffer)
{
    struct cluster_log_walk walk;
    struct cluster_log_entry entry;

    if (cluster_log_walk_start(&walk, buffer->data, buffer->size) < 0)
        return false;
    while (cluster_log_walk_next(&walk, &entry))
        g_array_append_val(entries, entry);
    return true;
}

/* Sorts, drops repeated entries, and keeps the newest that fit. */
static void keep_newest(GArray *entries)
{
    guint kept = 0;
    uint32_t bytes = 0;

    g_array_sort(entries, compare_entries);
    for (guint i = 0; i < entries->len && bytes < MERGE_FILL; i++) {
        const struct cluster_log_entry *entry =
            &g_array_index(entries, struct cluster_log_entry, i);
        if (kept && compare_entries(entry, entry - (i - kept + 1)) == 0)
            continue;
        bytes += round_up(entry->size);
        g_array_index(entries, struct cluster_log_entry, kept++) = *entry;
    }
    g_array_set_size(entries, kept);
}

size_t cluster_log_merge(struct cluster_log *log, const struct cluster_log_buffer *buffers,
                         size_t count)
{
    g_autoptr(GArray) entries = g_array_new(FALSE, FALSE, sizeof(struct cluster_log_entry));
    g_autofree uint8_t *old = g_memdup2(log->buffer, CLUSTER_LOG_SIZE);
    struct cluster_log_buffer own = {.data = old, .size = CLUSTER_LOG_SIZE};
    size_t malformed = 0;

    collect(entries, &own);
    for (size_t i = 0; i < count; i++)
        malformed += !collect(entries, &buffers[i]);
    keep_newest(entries);
    reset_buffer(log);
    for (guint i = entries->len; i-- > 0;) {
        const struct cluster_log_entry *entry =
            &g_array_index(entries, struct cluster_log_entry, i);
        append_entry(log, entry);
        remember(log, entry);
    }
    log->version++;
    return malformed;
}
