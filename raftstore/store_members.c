/* store_members.c - what the cluster knows about its members beside their ids.
 *
 * A replicated record holds each member's name and the instance number of its
 * data, beside the client URLs that it publishes and the format of commands it
 * understands. A member whose data was lost or replaced shows another number: it must
 * not vote, since it forgot what it promised, so nobody takes its connection
 * until it is removed and added anew. The leader keeps the record up to date
 * with whom it meets. */
#include "raftstore/store_internal.h"

#include "raftstore/wire.h"

#include <inttypes.h>
#include <string.h>

#define RECORD_VERSION 2 /* 1: without format and client URLs. */
#define RECORD_RETRY_MS 1000

/* The strings are bounded by their fields' sizes. */
static void keep_text(char *to, struct str text, size_t max)
{
    size_t n = MIN_OF(text.len, max);
    memcpy(to, n > 0 ? text.data : "", n);
    to[n] = '\0';
}

static bool record_decode(struct str bytes, struct member_record *ret, uint32_t max,
                          uint32_t *ret_count)
{
    struct wire w = wire_of(bytes);
    *ret_count = 0;
    if (bytes.len == 0)
        return true;
    uint8_t version = wire_u8(&w);
    uint32_t count = wire_u32(&w);
    if (w.bad || version < 1 || version > RECORD_VERSION || count > max)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct member_record *m = &ret[i];
        *m = (struct member_record){.id = wire_u64(&w), .format = 1};
        m->instance = wire_u64(&w);
        keep_text(m->name, wire_str(&w, TRANSPORT_NAME_MAX), TRANSPORT_NAME_MAX);
        if (version >= 2) {
            m->format = (uint16_t)wire_le(&w, 2);
            keep_text(m->client_urls, wire_str(&w, TRANSPORT_URLS_MAX), TRANSPORT_URLS_MAX);
        }
        if (w.bad)
            return false;
    }
    *ret_count = count;
    return wire_end(&w);
}

/* As long as a member is known to be of the first version, the record stays in
 * its form: that member could not read another, nor lead by it. */
static uint8_t record_version(const struct member_record *list, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i].format == 1)
            return 1;
    return RECORD_VERSION;
}

static void record_encode(const struct member_record *list, uint32_t count, struct buf *out)
{
    uint8_t version = record_version(list, count);
    buf_putc(out, (char)version);
    buf_put_le32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        buf_put_le64(out, list[i].id);
        buf_put_le64(out, list[i].instance);
        wire_put_str(out, str_of(list[i].name));
        if (version >= 2) {
            buf_put_le16(out, list[i].format);
            wire_put_str(out, str_of(list[i].client_urls));
        }
    }
}

uint32_t store_member_records(const struct store *s, struct member_record *ret, uint32_t max)
{
    uint32_t count = 0;
    return record_decode(mvcc_config_record(s->mvcc), ret, max, &count) ? count : 0;
}

static const struct member_record *find(const struct member_record *list, uint32_t count,
                                        uint64_t id)
{
    for (uint32_t i = 0; i < count; i++)
        if (list[i].id == id)
            return &list[i];
    return NULL;
}

static void note_seen(struct store *s, const struct member_greeting *g)
{
    struct member_record m = {.id = g->id, .instance = g->instance, .format = g->format};
    keep_text(m.name, g->name, TRANSPORT_NAME_MAX);
    keep_text(m.client_urls, g->client_urls, TRANSPORT_URLS_MAX);
    uint32_t at = 0;
    while (at < s->seen_count && s->seen[at].id != g->id)
        at++;
    if (at == MEMBERS_MAX) { /* Strangers come and go: forget the oldest. */
        memmove(s->seen, s->seen + 1, (MEMBERS_MAX - 1) * sizeof(s->seen[0]));
        at = MEMBERS_MAX - 1;
    }
    s->seen[at] = m;
    s->seen_count = MAX_OF(s->seen_count, at + 1);
    s->record_dirty = true;
}

enum transport_status store_member_met(struct store *s, const struct member_greeting *g)
{
    struct member_record list[MEMBERS_MAX];
    uint32_t count = store_member_records(s, list, MEMBERS_MAX);
    const struct member_record *known = find(list, count, g->id);
    if (known != NULL && known->instance != 0 && known->instance != g->instance)
        return TRANSPORT_LOST_DATA;
    note_seen(s, g);
    store_kick(s);
    return TRANSPORT_OK;
}

static void on_recorded(struct store *s, const struct request *r)
{
    s->recording = false;
    if (r->code < 0) {
        s->record_retry_ms = store_now(s) + RECORD_RETRY_MS;
        s->record_dirty = true;
    }
    store_kick(s);
}

/* The leader: does the record say what we know? Else propose what it should say. */
void store_members_chore(struct store *s, uint64_t now_ms)
{
    if (!str_eq(buf_str(&s->published), mvcc_config_record(s->mvcc))) {
        buf_clear(&s->published);
        buf_append_str(&s->published, mvcc_config_record(s->mvcc));
        store_publish_members(s);
        s->record_dirty = true;
    }
    if (!s->record_dirty || !s->was_leader || s->recording || now_ms < s->record_retry_ms ||
        s->members.count == 0)
        return;
    note_seen(s, &(struct member_greeting){atomic_load(&s->id), s->instance, s->own_format,
                                           str_of(s->name), str_of(s->client_urls)});
    s->record_dirty = false;
    struct member_record old[MEMBERS_MAX], next[MEMBERS_MAX];
    uint32_t old_count = store_member_records(s, old, MEMBERS_MAX), next_count = 0;
    for (uint32_t i = 0; i < s->members.count && next_count < MEMBERS_MAX; i++) {
        uint64_t id = s->members.items[i].id;
        const struct member_record *was = find(old, old_count, id),
                                   *seen = find(s->seen, s->seen_count, id);
        if (seen != NULL)
            next[next_count++] = *seen;
        else if (was != NULL)
            next[next_count++] = *was;
    }
    AUTO_BUF bytes = BUF_INIT;
    record_encode(next, next_count, &bytes);
    if (str_eq(buf_str(&bytes), mvcc_config_record(s->mvcc)))
        return;
    s->recording = true;
    store_propose_internal(s, &(struct command){.type = COMMAND_CONFIG, .config = buf_str(&bytes)},
                           on_recorded);
}

/* What everybody understands, as far as members were met. */
static uint16_t common_format(const struct member_record *list, uint32_t count)
{
    uint16_t format = COMMAND_FORMAT;
    for (uint32_t i = 0; i < count; i++)
        if (list[i].format != 0)
            format = MIN_OF(format, list[i].format);
    return format;
}

/* The list that other threads read. */
void store_publish_members(struct store *s)
{
    struct member_record list[MEMBERS_MAX];
    uint32_t known = store_member_records(s, list, MEMBERS_MAX);
    s->format = common_format(list, known);
    struct members copy = {0};
    members_copy(&copy, &s->members);
    struct member_record *records = xzalloc(((size_t)copy.count + 1) * sizeof(*records));
    for (uint32_t i = 0; i < copy.count; i++) {
        const struct member_record *m = find(list, known, copy.items[i].id);
        if (m != NULL)
            records[i] = *m;
    }
    pthread_mutex_lock(&s->lock);
    struct member *old = s->listed;
    uint32_t old_count = s->listed_count;
    struct member_record *old_records = s->records;
    s->listed = copy.items;
    s->listed_count = copy.count;
    s->records = records;
    pthread_mutex_unlock(&s->lock);
    struct members gone = {old, old_count};
    members_done(&gone);
    free(old_records);
}
