/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Messages between members as bytes, and back. Every parser here is a door for foreign bytes. */
#include "cluster/wire.h"

#include <assert.h>
#include <errno.h>
#include <string.h>

#include "base/util.h"
#include "core/tree.h"

#define TIME_OFFSET 8u
#define CHANGE_HEADER_SIZE 20u /* size, offset, path_len, to_len, flags */
#define UPDATE_HEADER_SIZE 41u /* parent to type */
#define FLAG_TRUNCATE 1u
#define CONFIRM_REQUEST_SIZE 8u
#define CONFIRMATION_SIZE 16u /* one of those in a message: node, pid, count */

/* An UPDATE's fields, borrowed from the message. */
struct update {
    uint64_t parent;
    uint64_t inode;
    uint64_t version;
    uint32_t writer;
    uint32_t mtime;
    uint32_t size; /* of the entry; data may be absent all the same */
    uint8_t type;
    const char *name;
    size_t name_length; /* without the NUL */
    const uint8_t *data;
    uint32_t data_size;
};

static void read_epoch(struct reader *reader, struct epoch *epoch)
{
    epoch->counter = reader_u32(reader);
    epoch->time = reader_u32(reader);
    epoch->node = reader_u32(reader);
    epoch->pid = reader_u32(reader);
}

int wire_parse_header(const uint8_t *data, size_t size, struct header *header)
{
    struct reader reader = {data, size, false};

    *header = (struct header){0};
    if (size < HEADER_SIZE)
        return -EBADMSG;
    header->type = reader_u16(&reader);
    header->subtype = reader_u16(&reader);
    header->protocol = reader_u32(&reader);
    header->time = reader_u32(&reader);
    reader_u32(&reader); /* reserved */
    if (size < (header->type == MESSAGE_NORMAL ? NORMAL_HEADER_SIZE : SYNC_HEADER_SIZE))
        return -EBADMSG;
    if (header->type == MESSAGE_NORMAL)
        header->count = reader_u64(&reader);
    else
        read_epoch(&reader, &header->epoch);
    header->body = reader.data;
    header->body_size = reader.left;
    return 0;
}

/* A path of exactly `size` bytes that ends with a NUL. One more NUL before it is no reason to leave
 * the group: to the other members, too, the path just ends there. */
static const char *read_path(struct reader *reader, size_t size)
{
    const uint8_t *bytes = size > 0 ? reader_bytes(reader, size) : NULL;

    if (bytes && bytes[size - 1] != '\0')
        reader->bad = true;
    return (const char *)bytes;
}

static int parse_unlock(struct reader *reader, struct change *change)
{
    const uint8_t *digest = reader_bytes(reader, DIGEST_SIZE);

    if (!digest || reader->left == 0)
        return -EBADMSG;
    memcpy(change->digest, digest, DIGEST_SIZE);
    change->path = read_path(reader, reader->left);
    return reader->bad ? -EBADMSG : 0;
}

int wire_parse_change(uint16_t subtype, const uint8_t *body, size_t size, struct change *change)
{
    struct reader reader = {body, size, false};

    *change = (struct change){.operation = (enum change_operation)subtype};
    if (subtype == CHANGE_UNLOCK_REQUEST || subtype == CHANGE_UNLOCK)
        return parse_unlock(&reader, change);
    if (subtype < CHANGE_WRITE || subtype > CHANGE_MTIME)
        return -EBADMSG;
    change->size = reader_u32(&reader);
    change->offset = reader_u32(&reader);
    uint32_t path_size = reader_u32(&reader);
    uint32_t to_size = reader_u32(&reader);
    change->truncate = reader_u32(&reader) != 0;
    change->path = read_path(&reader, path_size);
    change->to = read_path(&reader, to_size);
    change->data = change->size > 0 ? reader_bytes(&reader, change->size) : NULL;
    return reader.bad || reader.left > 0 ? -EBADMSG : 0;
}

/* What the fields of an UPDATE must be like for an entry to be made of it. */
static bool update_is_sound(const struct update *update)
{
    if (update->inode == 0)
        return update->type == ENTRY_DIRECTORY && update->size == 0 && update->name_length == 0;
    if (update->name_length == 0)
        return false;
    return update->type == ENTRY_FILE || (update->type == ENTRY_DIRECTORY && update->size == 0);
}

static int read_update(const uint8_t *body, size_t size, struct update *update)
{
    struct reader reader = {body, size, false};

    *update = (struct update){0};
    update->parent = reader_u64(&reader);
    update->inode = reader_u64(&reader);
    update->version = reader_u64(&reader);
    update->writer = reader_u32(&reader);
    update->mtime = reader_u32(&reader);
    update->size = reader_u32(&reader);
    uint32_t name_size = reader_u32(&reader);
    update->type = reader_u8(&reader);
    update->name = reader_string(&reader, name_size);
    if (reader.bad || !update->name)
        return -EBADMSG;
    update->name_length = name_size - 1;
    if (reader.left != update->size && reader.left != 0)
        return -EBADMSG;
    update->data = reader.data;
    update->data_size = (uint32_t)reader.left;
    return update_is_sound(update) ? 0 : -EBADMSG;
}

int wire_check_update(const uint8_t *body, size_t size)
{
    struct update update;

    return read_update(body, size, &update);
}

int wire_parse_update(const uint8_t *body, size_t size, struct entry **entry)
{
    struct update update;
    int result = read_update(body, size, &update);

    if (result < 0)
        return result;
    struct buffer *content =
        update.data_size > 0 ? buffer_copy(update.data, update.data_size) : NULL;
    *entry = entry_new(update.inode, update.parent, update.type, update.name, update.name_length,
                       content, update.size);
    buffer_unref(content);
    (*entry)->version = update.version;
    (*entry)->writer = update.writer;
    (*entry)->mtime = update.mtime;
    return 0;
}

static void put_header(uint8_t *to, uint16_t type, uint16_t subtype, uint32_t protocol,
                       uint32_t time)
{
    put_le16(to, type);
    put_le16(to + 2, subtype);
    put_le32(to + 4, protocol);
    put_le32(to + TIME_OFFSET, time);
    put_le32(to + 12, 0);
}

/* A NORMAL message whose body is still to be filled in. */
static struct buffer *new_normal(uint16_t subtype, uint32_t protocol, uint32_t body_size)
{
    struct buffer *message = buffer_new(NORMAL_HEADER_SIZE + body_size);

    put_header(message->data, MESSAGE_NORMAL, subtype, protocol, 0);
    put_le64(message->data + HEADER_SIZE, 0);
    return message;
}

void wire_number(struct buffer *message, uint64_t count, uint32_t time)
{
    put_le32(message->data + TIME_OFFSET, time);
    put_le64(message->data + HEADER_SIZE, count);
}

struct buffer *wire_build_normal(uint16_t subtype, uint32_t protocol, uint64_t count, uint32_t time,
                                 const uint8_t *body, size_t body_size)
{
    assert(body_size <= MESSAGE_SIZE_MAX - NORMAL_HEADER_SIZE);
    struct buffer *message = new_normal(subtype, protocol, (uint32_t)body_size);

    wire_number(message, count, time);
    if (body_size > 0)
        memcpy(message->data + NORMAL_HEADER_SIZE, body, body_size);
    return message;
}

/* Copies what is there, and gives what follows it. */
static uint8_t *put_bytes(uint8_t *to, const void *bytes, size_t size)
{
    if (size > 0)
        memcpy(to, bytes, size);
    return to + size;
}

int wire_build_change(const struct change *change, struct buffer **message)
{
    bool unlock = change->operation == CHANGE_UNLOCK_REQUEST || change->operation == CHANGE_UNLOCK;
    size_t path_size = change->path ? strlen(change->path) + 1 : 0;
    size_t to_size = change->to && !unlock ? strlen(change->to) + 1 : 0;
    uint32_t data_size = change->operation == CHANGE_WRITE ? change->size : 0;
    size_t size = (unlock ? DIGEST_SIZE : CHANGE_HEADER_SIZE) + path_size + to_size + data_size;

    *message = NULL;
    if (path_size > MESSAGE_SIZE_MAX || to_size > MESSAGE_SIZE_MAX ||
        data_size > MESSAGE_SIZE_MAX || NORMAL_HEADER_SIZE + size > MESSAGE_SIZE_MAX)
        return -EMSGSIZE;
    *message = new_normal((uint16_t)change->operation, CONFIGURATION_PROTOCOL, (uint32_t)size);
    uint8_t *to = (*message)->data + NORMAL_HEADER_SIZE;
    if (unlock) {
        put_bytes(put_bytes(to, change->digest, DIGEST_SIZE), change->path, path_size);
        return 0;
    }
    put_le32(to, data_size);
    put_le32(to + 4, change->offset);
    put_le32(to + 8, (uint32_t)path_size);
    put_le32(to + 12, (uint32_t)to_size);
    put_le32(to + 16, change->truncate ? FLAG_TRUNCATE : 0);
    to = put_bytes(to + CHANGE_HEADER_SIZE, change->path, path_size);
    to = put_bytes(to, change->to, to_size);
    put_bytes(to, change->data, data_size);
    return 0;
}

/* A message of type 1 to 6 whose body is still to be filled in. */
static struct buffer *new_sync(enum message_type type, uint32_t protocol, const struct epoch *epoch,
                               uint32_t time, uint32_t body_size)
{
    struct buffer *message = buffer_new(SYNC_HEADER_SIZE + body_size);
    uint8_t *to = message->data;

    put_header(to, (uint16_t)type, 0, protocol, time);
    put_le32(to + 16, epoch->counter);
    put_le32(to + 20, epoch->time);
    put_le32(to + 24, epoch->node);
    put_le32(to + 28, epoch->pid);
    return message;
}

struct buffer *wire_build_update(const struct epoch *epoch, uint32_t time,
                                 const struct entry *entry, const struct root *root)
{
    uint32_t name_length = entry ? entry->name_length : 0;
    uint32_t data_size = entry && entry->content ? entry->size : 0;
    struct buffer *message = new_sync(MESSAGE_UPDATE, CONFIGURATION_PROTOCOL, epoch, time,
                                      UPDATE_HEADER_SIZE + name_length + 1 + data_size);
    uint8_t *to = message->data + SYNC_HEADER_SIZE;

    put_le64(to, entry ? entry->parent : 0);
    put_le64(to + 8, entry ? entry->inode : 0);
    put_le64(to + 16, entry ? entry->version : root->version);
    put_le32(to + 24, entry ? entry->writer : root->writer);
    put_le32(to + 28, entry ? entry->mtime : root->mtime);
    put_le32(to + 32, entry ? entry->size : 0);
    put_le32(to + 36, name_length + 1);
    to[40] = entry ? entry->type : ENTRY_DIRECTORY;
    to += UPDATE_HEADER_SIZE;
    if (name_length > 0)
        memcpy(to, entry->name, name_length);
    to[name_length] = '\0';
    if (data_size > 0)
        memcpy(to + name_length + 1, entry->content->data, data_size);
    return message;
}

struct buffer *wire_build_sync(enum message_type type, uint32_t protocol, const struct epoch *epoch,
                               uint32_t time, const uint8_t *body, size_t body_size)
{
    assert(body_size <= UINT32_MAX - SYNC_HEADER_SIZE);
    struct buffer *message = new_sync(type, protocol, epoch, time, (uint32_t)body_size);

    if (body_size > 0)
        memcpy(message->data + SYNC_HEADER_SIZE, body, body_size);
    return message;
}

/* --- Confirmations --- */

/* Nobody's: node ids begin with 1. The time tells it from an epoch that was not filled in. */
static const struct epoch no_epoch = {.counter = 0, .time = 0x6d666e63, .node = 0, .pid = 0};

static bool is_outside(const struct header *header)
{
    return header->protocol == CONFIGURATION_PROTOCOL && header->subtype == 0 &&
           same_epoch(&header->epoch, &no_epoch);
}

bool wire_is_confirm_request(const struct header *header)
{
    return header->type == MESSAGE_VERIFY_REQUEST && is_outside(header);
}

bool wire_is_confirmation(const struct header *header)
{
    return header->type == MESSAGE_VERIFY && is_outside(header);
}

struct buffer *wire_build_confirm_request(uint64_t count, uint32_t time)
{
    uint8_t body[CONFIRM_REQUEST_SIZE];

    put_le64(body, count);
    return wire_build_sync(MESSAGE_VERIFY_REQUEST, CONFIGURATION_PROTOCOL, &no_epoch, time, body,
                           sizeof(body));
}

struct buffer *wire_build_confirmation(const struct confirmation *confirmations, size_t number,
                                       uint32_t time)
{
    assert(number <= MESSAGE_SIZE_MAX / CONFIRMATION_SIZE);
    struct buffer *message = new_sync(MESSAGE_VERIFY, CONFIGURATION_PROTOCOL, &no_epoch, time,
                                      (uint32_t)number * CONFIRMATION_SIZE);
    uint8_t *to = message->data + SYNC_HEADER_SIZE;

    for (size_t i = 0; i < number; i++, to += CONFIRMATION_SIZE) {
        put_le32(to, confirmations[i].member.node);
        put_le32(to + 4, confirmations[i].member.pid);
        put_le64(to + 8, confirmations[i].count);
    }
    return message;
}

int wire_parse_confirm_request(const uint8_t *body, size_t size, uint64_t *count)
{
    if (size != CONFIRM_REQUEST_SIZE)
        return -EBADMSG;
    *count = get_le64(body);
    return 0;
}

int wire_parse_confirmation(const uint8_t *body, size_t size, struct member member, uint64_t *count)
{
    *count = 0;
    if (size % CONFIRMATION_SIZE != 0)
        return -EBADMSG;
    for (const uint8_t *at = body; at < body + size; at += CONFIRMATION_SIZE) {
        if (get_le32(at) == member.node && get_le32(at + 4) == member.pid)
            *count = MAX(*count, get_le64(at + 8));
    }
    return 0;
}
