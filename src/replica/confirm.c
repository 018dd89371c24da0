/* SPDX-License-Identifier: GPL-3.0-or-later */
/* Confirmations: which members have stored all that was delivered up to a request, of this node's
 * requests and of others'. */
#include "replica/confirm.h"

#include "base/log.h"

/* A member of the group. */
struct confirming {
    struct member member;
    bool able;      /* it has confirmed something, or told that it does */
    uint64_t count; /* of the last request of this node's that it has confirmed */
};

static struct confirming *at(const struct confirm *confirm, guint position)
{
    return &g_array_index(confirm->members, struct confirming, position);
}

static struct confirming *find(const struct confirm *confirm, const struct member *member)
{
    for (guint i = 0; i < confirm->members->len; i++) {
        if (same_member(&at(confirm, i)->member, member))
            return at(confirm, i);
    }
    return NULL;
}

void confirm_init(struct confirm *confirm, struct member self)
{
    *confirm = (struct confirm){
        .self = self,
        .members = g_array_new(FALSE, FALSE, sizeof(struct confirming)),
        .asked = g_array_new(FALSE, FALSE, sizeof(struct confirmation)),
    };
}

void confirm_destroy(struct confirm *confirm)
{
    g_array_unref(confirm->members);
    g_array_unref(confirm->asked);
    g_free(confirm->told);
}

bool confirm_is_able(const struct confirm *confirm, const struct member *member)
{
    const struct confirming *known = find(confirm, member);

    return same_member(member, &confirm->self) || (known && known->able);
}

void confirm_configuration(struct confirm *confirm, struct member self,
                           const struct member *members, size_t count)
{
    GArray *now = g_array_new(FALSE, FALSE, sizeof(struct confirming));

    confirm->self = self;
    for (size_t i = 0; i < count; i++) {
        struct confirming member = {.member = members[i],
                                    .able = confirm_is_able(confirm, &members[i])};
        g_array_append_val(now, member);
    }
    g_array_unref(confirm->members);
    confirm->members = now;
    g_array_set_size(confirm->asked, 0);
    confirm->due = false;
}

/* --- Delivered messages: doc/cluster.md, "Confirmations" --- */

/* One answer to each member: to its last request, and so to those before. */
static void note_asked(struct confirm *confirm, struct member sender, uint64_t count)
{
    confirm->due = true;
    for (guint i = 0; i < confirm->asked->len; i++) {
        struct confirmation *asked = &g_array_index(confirm->asked, struct confirmation, i);
        if (same_member(&asked->member, &sender)) {
            asked->count = count;
            return;
        }
    }
    struct confirmation asked = {sender, count};
    g_array_append_val(confirm->asked, asked);
}

static void take_request(struct confirm *confirm, struct confirming *sender,
                         const struct header *header, bool synced)
{
    uint64_t count;

    if (wire_parse_confirm_request(header->body, header->body_size, &count))
        return;
    if (same_member(&sender->member, &confirm->self))
        sender->count = count; /* what is asked for is stored here */
    else if (synced)
        note_asked(confirm, sender->member, count);
}

static void take_confirmation(struct confirm *confirm, struct confirming *sender,
                              const struct header *header)
{
    const struct confirming *self = find(confirm, &confirm->self);
    uint64_t count;

    if (wire_parse_confirmation(header->body, header->body_size, confirm->self, &count))
        return;
    sender->able = true;
    /* It comes after the request in the group's order, or it is none of this node's. */
    if (self && count <= self->count)
        sender->count = MAX(sender->count, count);
}

void confirm_take(struct confirm *confirm, struct member sender, const struct header *header,
                  bool synced)
{
    struct confirming *known = find(confirm, &sender);

    if (known && wire_is_confirm_request(header))
        take_request(confirm, known, header, synced);
    else if (known && wire_is_confirmation(header) && !same_member(&sender, &confirm->self))
        take_confirmation(confirm, known, header);
}

struct buffer *confirm_answer(struct confirm *confirm, uint32_t time)
{
    if (!confirm->due)
        return NULL;
    confirm->due = false;
    return wire_build_confirmation((const struct confirmation *)confirm->asked->data,
                                   confirm->asked->len, time);
}

void confirm_again(struct confirm *confirm)
{
    confirm->due = confirm->asked->len > 0;
}

/* --- What this node's requests came to --- */

uint64_t confirm_reached(const struct confirm *confirm)
{
    uint64_t reached = UINT64_MAX;

    for (guint i = 0; i < confirm->members->len; i++) {
        const struct confirming *member = at(confirm, i);
        if (confirm_is_able(confirm, &member->member))
            reached = MIN(reached, member->count);
    }
    return confirm->members->len > 0 ? reached : 0;
}

void confirm_tell(struct confirm *confirm)
{
    g_autoptr(GString) unable = g_string_new(NULL);

    for (guint i = 0; i < confirm->members->len; i++) {
        const struct member *member = &at(confirm, i)->member;
        if (!confirm_is_able(confirm, member))
            g_string_append_printf(unable, "%s%u", unable->len ? ", " : "", member->node);
    }
    if (g_strcmp0(unable->str, confirm->told ? confirm->told : "") == 0)
        return;
    if (unable->len > 0)
        log_warning("--acknowledge=all: the daemon of node %s cannot confirm what it has (an older "
                    "release, or another implementation): changes are answered without it, as soon "
                    "as all others have confirmed them",
                    unable->str);
    else
        log_info("--acknowledge=all: all members confirm what they have");
    g_free(confirm->told);
    confirm->told = g_string_free(g_steal_pointer(&unable), FALSE);
}
