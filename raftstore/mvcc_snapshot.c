/* mvcc_snapshot.c - writing a state as a stream, chunk by chunk, on demand. */
#include "raftstore/mvcc_snapshot.h"

#include "raftstore/crc32c.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/mvcc_snapshot_internal.h"
#include "raftstore/wire.h"

#include <lz4frame.h>

enum stage { STAGE_HEADER, STAGE_AUTH, STAGE_LEASES, STAGE_KEYS, STAGE_END, STAGE_DONE };

struct snapshot_lease {
    int64_t id, ttl_s;
    uint64_t renewals;
};

struct mvcc_snapshot {
    struct mvcc_view *view;
    struct buf config;
    struct mvcc_alarm *alarms;
    size_t alarm_count;
    struct snapshot_lease *leases;
    size_t lease_count;

    enum stage stage;
    struct buf auth; /* What is left of the users and roles to write. */
    size_t lease_at;
    struct tree_iter it;
    struct kv_list versions; /* Of the current key. */
    size_t version_at;
    uint64_t keys, version_count;

    struct buf raw; /* The chunk in the making. */
    struct buf out; /* Finished, not yet given out. */
    uint32_t crc;
    uint64_t bytes;
};

/* In no order yet: the writer of the state is not to wait for the sorting. */
static void copy_leases(struct mvcc_snapshot *s, const struct leases *ls)
{
    size_t pos = 0;
    struct str id;
    void *at;
    s->leases = xmalloc((leases_count(ls) + 1) * sizeof(s->leases[0]));
    while (map_next(&ls->by_id, &pos, &id, &at)) {
        const struct lease *l = at;
        s->leases[s->lease_count++] = (struct snapshot_lease){l->id, l->ttl_s, l->renewals};
    }
}

static int by_id(const void *a, const void *b)
{
    int64_t x = ((const struct snapshot_lease *)a)->id, y = ((const struct snapshot_lease *)b)->id;
    return (x > y) - (x < y);
}

struct mvcc_snapshot *mvcc_snapshot_new(struct mvcc *m, uint64_t now_ms)
{
    mvcc_publish(m, now_ms);
    struct mvcc_snapshot *s = xzalloc(sizeof(*s));
    s->view = mvcc_view(m);
    buf_append_str(&s->config, buf_str(&m->s.config));
    s->alarm_count = m->s.alarm_count;
    if (s->alarm_count > 0)
        s->alarms = xmemdup(m->s.alarms, s->alarm_count * sizeof(s->alarms[0]));
    copy_leases(s, &m->s.leases);
    tree_iter_versions(&s->it, mvcc_view_root(s->view), 0);
    return s;
}

void mvcc_snapshot_free(struct mvcc_snapshot *s)
{
    if (s == NULL)
        return;
    mvcc_view_unref(s->view);
    buf_done(&s->config);
    free(s->alarms);
    free(s->leases);
    kv_list_done(&s->versions);
    buf_done(&s->auth);
    buf_done(&s->raw);
    buf_done(&s->out);
    free(s);
}

uint64_t mvcc_snapshot_index(const struct mvcc_snapshot *s)
{
    return mvcc_view_applied(s->view);
}

int64_t mvcc_snapshot_rev(const struct mvcc_snapshot *s)
{
    return mvcc_view_rev(s->view);
}

uint64_t mvcc_snapshot_bytes(const struct mvcc_snapshot *s)
{
    return s->bytes;
}

struct mvcc_view *mvcc_snapshot_view(const struct mvcc_snapshot *s)
{
    return s->view;
}

size_t mvcc_snapshot_lease_count(const struct mvcc_snapshot *s)
{
    return s->lease_count;
}

void mvcc_snapshot_sort_leases(struct mvcc_snapshot *s)
{
    qsort(s->leases, s->lease_count, sizeof(s->leases[0]), by_id);
}

void mvcc_snapshot_lease(const struct mvcc_snapshot *s, size_t index, int64_t *ret_id,
                         int64_t *ret_ttl_s)
{
    ASSERT(index < s->lease_count);
    *ret_id = s->leases[index].id;
    *ret_ttl_s = s->leases[index].ttl_s;
}

/* --- content --- */

/* The lowest that can say it: members of the version before can read it then. */
static unsigned format_of(const struct mvcc_snapshot *s)
{
    return auth_revision(mvcc_view_auth(s->view)) > 1 ? 2 : 1;
}

static void put_header(struct mvcc_snapshot *s)
{
    buf_put_varint(&s->raw, format_of(s));
    buf_put_varint(&s->raw, (uint64_t)mvcc_view_rev(s->view));
    buf_put_varint(&s->raw, (uint64_t)mvcc_view_compacted(s->view));
    buf_put_varint(&s->raw, mvcc_view_applied(s->view));
    wire_put_str(&s->raw, buf_str(&s->config));
    buf_put_varint(&s->raw, s->alarm_count);
    for (size_t i = 0; i < s->alarm_count; i++) {
        buf_put_varint(&s->raw, s->alarms[i].member);
        buf_put_varint(&s->raw, s->alarms[i].alarms);
    }
}

static void put_auth(struct mvcc_snapshot *s)
{
    size_t n = MIN_OF(s->auth.len, (size_t)SNAPSHOT_AUTH_PIECE);
    buf_putc(&s->raw, RECORD_AUTH);
    wire_put_str(&s->raw, str_n((const char *)s->auth.data, n));
    buf_consume(&s->auth, n);
}

static void put_lease(struct mvcc_snapshot *s, const struct snapshot_lease *l)
{
    buf_putc(&s->raw, RECORD_LEASE);
    wire_put_signed(&s->raw, l->id);
    wire_put_signed(&s->raw, l->ttl_s);
    buf_put_varint(&s->raw, l->renewals);
}

static void put_version(struct mvcc_snapshot *s, const struct kv *kv)
{
    struct kv_numbers n = kv_numbers(kv);
    buf_put_varint(&s->raw, (uint64_t)n.mod_rev);
    buf_put_varint(&s->raw, (uint64_t)n.version);
    if (kv_live(kv)) {
        buf_put_varint(&s->raw, (uint64_t)n.create_rev);
        wire_put_signed(&s->raw, n.lease);
        wire_put_str(&s->raw, kv_value(kv));
    }
    buf_put_varint(&s->raw, n.sub);
}

static void put_end(struct mvcc_snapshot *s)
{
    buf_put_varint(&s->raw, s->lease_count);
    buf_put_varint(&s->raw, s->keys);
    buf_put_varint(&s->raw, s->version_count);
}

/* One record, or the step to the next stage. */
static void put_record(struct mvcc_snapshot *s)
{
    if (s->stage == STAGE_AUTH) {
        if (s->auth.len > 0)
            put_auth(s);
        else
            s->stage = STAGE_LEASES;
        return;
    }
    if (s->stage == STAGE_LEASES) {
        if (s->lease_at < s->lease_count)
            put_lease(s, &s->leases[s->lease_at++]);
        else
            s->stage = STAGE_KEYS;
        return;
    }
    if (s->version_at == s->versions.count) {
        const struct kv *before;
        s->version_at = s->versions.count = 0;
        if (!tree_iter_next_versions(&s->it, &s->versions, &before)) {
            s->stage = STAGE_END;
            return;
        }
    }
    const struct kv *kv = s->versions.items[s->version_at++];
    buf_putc(&s->raw, s->version_at == 1 ? RECORD_KEY : RECORD_VERSION);
    if (s->version_at == 1) {
        wire_put_str(&s->raw, kv_key(kv));
        s->keys++;
    }
    put_version(s, kv);
    s->version_count++;
}

/* --- chunks --- */

static void emit(struct mvcc_snapshot *s, enum snapshot_chunk type)
{
    LZ4F_preferences_t prefs = {.frameInfo = {.blockSizeID = LZ4F_max256KB,
                                              .blockMode = LZ4F_blockIndependent,
                                              .contentSize = s->raw.len}};
    size_t bound = LZ4F_compressFrameBound(s->raw.len, &prefs);
    uint8_t *p = buf_reserve(&s->out, SNAPSHOT_CHUNK_HEAD + bound);
    size_t n = LZ4F_compressFrame(p + SNAPSHOT_CHUNK_HEAD, bound, s->raw.data, s->raw.len, &prefs);
    ASSERT(!LZ4F_isError(n));
    buf_put_le32(&s->out, type);
    buf_put_le32(&s->out, (uint32_t)n);
    buf_put_le32(&s->out, (uint32_t)s->raw.len);
    const uint8_t *head = s->out.data + s->out.len - 12;
    s->crc = crc32c(crc32c(s->crc, head, 12), head + SNAPSHOT_CHUNK_HEAD, n);
    buf_put_le32(&s->out, s->crc);
    buf_commit(&s->out, n);
    buf_clear(&s->raw);
}

static void make_chunk(struct mvcc_snapshot *s)
{
    if (s->stage == STAGE_HEADER) {
        put_header(s);
        emit(s, SNAPSHOT_HEADER);
        if (format_of(s) > 1)
            auth_state_encode(mvcc_view_auth(s->view), &s->auth);
        mvcc_snapshot_sort_leases(s);
        s->stage = STAGE_AUTH;
        return;
    }
    while (s->stage != STAGE_END && s->raw.len < SNAPSHOT_CHUNK_BYTES)
        put_record(s);
    if (s->raw.len > 0) {
        emit(s, SNAPSHOT_DATA);
        return;
    }
    put_end(s);
    emit(s, SNAPSHOT_END);
    s->stage = STAGE_DONE;
}

size_t mvcc_snapshot_read(struct mvcc_snapshot *s, void *p, size_t cap)
{
    size_t done = 0;
    while (done < cap) {
        if (s->out.len == 0) {
            if (s->stage == STAGE_DONE)
                break;
            buf_clear(&s->out);
            make_chunk(s);
        }
        size_t n = MIN_OF(cap - done, s->out.len);
        memcpy((uint8_t *)p + done, s->out.data, n);
        buf_consume(&s->out, n);
        done += n;
    }
    s->bytes += done;
    return done;
}
