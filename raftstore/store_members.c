/* store_members.c - what the cluster knows about its members beside their ids.
 *
 * A replicated record holds each member's name and the instance number of its
 * data. A member whose data was lost or replaced shows another number: it must
 * not vote, since it forgot what it promised, so nobody takes its connection
 * until it is removed and added anew. The leader keeps the record up to date
 * with whom it meets. */
#include "raftstore/store_internal.h"

#include "raftstore/wire.h"

#include <inttypes.h>
#include <string.h>

#define RECORD_VERSION 1
#define RECORD_RETRY_MS 1000

static bool record_decode(struct str bytes, struct member_record *ret, uint32_t max,
                          uint32_t *ret_count)
{
    struct wire w = wire_of(bytes);
    *ret_count = 0;
    if (bytes.len == 0)
        return true;
    if (wire_u8(&w) != RECORD_VERSION)
        return false;
    uint32_t count = wire_u32(&w);
    if (w.bad || count > max)
        return false;
    for (uint32_t i = 0; i < count; i++) {
        struct member_record *m = &ret[i];
        *m = (struct member_record){.id = wire_u64(&w)};
        m->instance = wire_u64(&w);
        struct str name = wire_str(&w, TRANSPORT_NAME_MAX);
        if (w.bad)
            return false;
        memcpy(m->name, name.len > 0 ? name.data : "", name.len);
    }
    *ret_count = count;
    return wire_end(&w);
}

static void record_encode(const struct member_record *list, uint32_t count, struct buf *out)
{
    buf_putc(out, RECORD_VERSION);
    buf_put_le32(out, count);
    for (uint32_t i = 0; i < count; i++) {
        buf_put_le64(out, list[i].id);
        buf_put_le64(out, list[i].instance);
        wire_put_str(out, str_of(list[i].name));
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

static void note_seen(struct store *s, uint64_t id, uint64_t instance, struct str name)
{
    struct member_record m = {.id = id, .instance = instance};
    memcpy(m.name, name.len > 0 ? name.data : "", MIN_OF(name.len, (size_t)TRANSPORT_NAME_MAX));
    uint32_t at = 0;
    while (at < s->seen_count && s->seen[at].id != id)
        at++;
    if (at == MEMBERS_MAX) { /* Strangers come and go: forget the oldest. */
        memmove(s->seen, s->seen + 1, (MEMBERS_MAX - 1) * sizeof(s->seen[0]));
        at = MEMBERS_MAX - 1;
    }
    s->seen[at] = m;
    s->seen_count = MAX_OF(s->seen_count, at + 1);
}

enum transport_status store_member_met(struct store *s, uint64_t id, uint64_t instance,
                                       struct str name)
{
    struct member_record list[MEMBERS_MAX];
    uint32_t count = store_member_records(s, list, MEMBERS_MAX);
    const struct member_record *known = find(list, count, id);
    if (known != NULL && known->instance != 0 && known->instance != instance)
        return TRANSPORT_LOST_DATA;
    note_seen(s, id, instance, name);
    store_kick(s);
    return TRANSPORT_OK;
}

static void on_recorded(struct store *s, const struct request *r)
{
    s->recording = false;
    if (r->code < 0)
        s->record_retry_ms = store_now(s) + RECORD_RETRY_MS;
    store_kick(s);
}

/* The leader: does the record say what we know? Else propose what it should say. */
void store_members_chore(struct store *s, uint64_t now_ms)
{
    if (!str_eq(buf_str(&s->published), mvcc_config_record(s->mvcc))) {
        buf_clear(&s->published);
        buf_append_str(&s->published, mvcc_config_record(s->mvcc));
        store_publish_members(s);
    }
    if (!s->was_leader || s->recording || now_ms < s->record_retry_ms || s->members.count == 0)
        return;
    note_seen(s, atomic_load(&s->id), s->instance, str_of(s->name));
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

/* The list that other threads read. */
void store_publish_members(struct store *s)
{
    struct member_record list[MEMBERS_MAX];
    uint32_t known = store_member_records(s, list, MEMBERS_MAX);
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
