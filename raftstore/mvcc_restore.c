/* mvcc_restore.c - building a state from a stream, beside the running one.
 *
 * Bytes come from a disk or a peer: every length is bounded before memory is
 * taken, every chunk's checksum verified before it is looked into, and the
 * content checked once more, since a sound checksum does not make a sound
 * sender. Nothing is replaced before all of it was read. */
#include "lib/base/error.h"
#include "raftstore/crc32c.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/mvcc_snapshot.h"
#include "raftstore/mvcc_snapshot_internal.h"
#include "raftstore/wire.h"

#include <lz4frame.h>

enum stage { STAGE_HEADER, STAGE_AUTH, STAGE_LEASES, STAGE_KEYS, STAGE_ENDED };

struct mvcc_restore {
    bool verify_only;
    bool failed;
    enum stage stage;
    struct mvcc_state s;
    const struct kv *last; /* The version loaded last; borrowed from the tree. */
    uint64_t leases, keys, versions;
    uint64_t format;
    struct buf auth; /* The pieces so far. */

    struct buf in; /* Bytes of a chunk that is not complete. */
    struct buf raw;
    LZ4F_dctx *lz4;
    uint32_t crc;
    uint64_t offset; /* Of the chunk being read, for messages. */

    struct event_batch **history;
    size_t history_count;
};

static struct mvcc_restore *restore_new(bool verify_only)
{
    struct mvcc_restore *r = xzalloc(sizeof(*r));
    r->verify_only = verify_only;
    mvcc_state_init(&r->s);
    LZ4F_errorCode_t rc = LZ4F_createDecompressionContext(&r->lz4, LZ4F_VERSION);
    if (LZ4F_isError(rc))
        PANIC("LZ4F_createDecompressionContext: %s", LZ4F_getErrorName(rc));
    return r;
}

struct mvcc_restore *mvcc_restore_new(void)
{
    return restore_new(false);
}

struct mvcc_restore *mvcc_verify_new(void)
{
    return restore_new(true);
}

void mvcc_restore_free(struct mvcc_restore *r)
{
    if (r == NULL)
        return;
    history_free(r->history, r->history_count);
    mvcc_state_done(&r->s);
    tree_free(r->s.tree);
    buf_done(&r->auth);
    buf_done(&r->in);
    buf_done(&r->raw);
    LZ4F_freeDecompressionContext(r->lz4);
    free(r);
}

static int corrupt(const struct mvcc_restore *r, struct error *err, const char *what)
{
    return error_set(err, E_CORRUPT, "snapshot chunk at offset %llu: %s",
                     (unsigned long long)r->offset, what);
}

/* --- content --- */

static int64_t reader_rev(struct wire *r)
{
    uint64_t v = wire_varint(r);
    return v > INT64_MAX ? (int64_t)wire_fail(r) : (int64_t)v;
}

static int read_header(struct mvcc_restore *r, struct wire *in, struct error *err)
{
    uint64_t format = wire_varint(in);
    if (!in->bad && (format < 1 || format > SNAPSHOT_FORMAT))
        return error_set(err, E_NOT_IMPLEMENTED,
                         "snapshot of format %llu: formats 1 to %d are known",
                         (unsigned long long)format, SNAPSHOT_FORMAT);
    r->format = format;
    r->s.rev = reader_rev(in);
    r->s.compacted = reader_rev(in);
    r->s.applied = wire_varint(in);
    buf_append_str(&r->s.config, wire_str(in, COMMAND_CONFIG_MAX));
    uint32_t n = wire_count(in, ALARM_MEMBERS_MAX);
    for (uint32_t i = 0; i < n && !in->bad; i++) {
        uint64_t member = wire_varint(in);
        mvcc_state_set_alarms(&r->s, member, wire_count(in, UINT32_MAX));
    }
    if (!wire_end(in) || r->s.rev < 1 || r->s.compacted > r->s.rev)
        return corrupt(r, err, "header does not decode");
    r->stage = STAGE_AUTH;
    return 0;
}

static int read_auth(struct mvcc_restore *r, struct wire *in, struct error *err)
{
    struct str piece = wire_str(in, SNAPSHOT_AUTH_PIECE);
    if (in->bad || r->stage != STAGE_AUTH || r->format < 2 ||
        r->auth.len + piece.len > SNAPSHOT_AUTH_MAX)
        return corrupt(r, err, "users and roles out of place");
    buf_append_str(&r->auth, piece);
    return 0;
}

static int finish_auth(struct mvcc_restore *r, struct error *err)
{
    struct auth_state *auth;
    if (r->auth.len == 0)
        return 0;
    if (auth_state_decode(buf_str(&r->auth), &auth, NULL) != 0)
        return corrupt(r, err, "users and roles do not decode");
    auth_state_unref(r->s.auth);
    r->s.auth = auth;
    buf_done(&r->auth);
    return 0;
}

static int read_lease(struct mvcc_restore *r, struct wire *in, struct error *err)
{
    int64_t id = wire_signed(in), ttl_s = wire_signed(in);
    uint64_t renewals = wire_varint(in);
    if (in->bad || r->stage > STAGE_LEASES || id == 0 || ttl_s < 1 || ttl_s > LEASE_TTL_MAX_S ||
        leases_get(&r->s.leases, id) != NULL)
        return corrupt(r, err, "lease is not valid");
    r->stage = STAGE_LEASES;
    lease_add(&r->s.leases, id, ttl_s, 0)->renewals = renewals;
    r->leases++;
    return 0;
}

/* The last key is complete: its newest version holds on to its lease. */
static int attach_last(struct mvcc_restore *r, struct error *err)
{
    const struct kv *kv = r->last;
    if (kv == NULL || !kv_live(kv) || kv_lease(kv) == 0)
        return 0;
    struct lease *l = leases_get(&r->s.leases, kv_lease(kv));
    if (l == NULL)
        return corrupt(r, err, "key of an unknown lease");
    lease_attach(l, kv, tree_working(r->s.tree));
    return 0;
}

static bool read_version(struct wire *in, int64_t rev, struct kv_numbers *ret,
                         struct str *ret_value)
{
    struct kv_numbers v = {.mod_rev = reader_rev(in), .version = reader_rev(in)};
    *ret_value = STR("");
    if (v.version != 0) {
        v.create_rev = reader_rev(in);
        v.lease = wire_signed(in);
        *ret_value = wire_str(in, COMMAND_BYTES_MAX);
    }
    v.sub = wire_count(in, UINT32_MAX);
    *ret = v;
    return !in->bad && v.mod_rev >= 2 && v.mod_rev <= rev &&
           (v.version == 0 || (v.create_rev >= 2 && v.create_rev <= v.mod_rev));
}

static int read_key(struct mvcc_restore *r, struct wire *in, bool next_key, struct error *err)
{
    struct str key = next_key ? wire_str(in, KV_KEY_MAX) : STR_NULL;
    struct kv_numbers numbers;
    struct str value;
    if (!read_version(in, r->s.rev, &numbers, &value) || (next_key && str_empty(key)))
        return corrupt(r, err, "version is not valid");
    r->stage = STAGE_KEYS;
    r->versions++;
    r->keys += next_key;
    if (r->verify_only)
        return 0;
    if (next_key) {
        int rc = attach_last(r, err);
        if (rc != 0)
            return rc;
    } else if (r->last == NULL) {
        return corrupt(r, err, "version without a key");
    } else {
        key = kv_key(r->last);
    }
    struct kv *kv =
        kv_new(tree_heap(r->s.tree), key, value.data != NULL ? value : STR(""), &numbers);
    bool same = r->last != NULL && str_eq(kv_key(kv), kv_key(r->last));
    if ((next_key && same) || tree_load(r->s.tree, kv) != 0) {
        kv_unref(kv);
        return corrupt(r, err, "keys or versions out of order");
    }
    r->last = kv;
    return 0;
}

static int read_records(struct mvcc_restore *r, struct wire *in, struct error *err)
{
    int rc = 0;
    while (rc == 0 && wire_left(in) > 0) {
        switch (wire_u8(in)) {
        case RECORD_AUTH:
            rc = read_auth(r, in, err);
            break;
        case RECORD_LEASE:
            rc = read_lease(r, in, err);
            break;
        case RECORD_KEY:
            rc = read_key(r, in, true, err);
            break;
        case RECORD_VERSION:
            rc = read_key(r, in, false, err);
            break;
        default:
            rc = corrupt(r, err, "record of unknown type");
        }
    }
    return rc;
}

static int read_end(struct mvcc_restore *r, struct wire *in, struct error *err)
{
    uint64_t leases = wire_varint(in), keys = wire_varint(in), versions = wire_varint(in);
    if (!wire_end(in) || leases != r->leases || keys != r->keys || versions != r->versions)
        return corrupt(r, err, "totals do not match");
    r->stage = STAGE_ENDED;
    int rc = finish_auth(r, err);
    return rc != 0 ? rc : attach_last(r, err);
}

static int read_content(struct mvcc_restore *r, uint32_t type, struct error *err)
{
    struct wire in = wire_of(buf_str(&r->raw));
    if ((type == SNAPSHOT_HEADER) != (r->stage == STAGE_HEADER))
        return corrupt(r, err, "header expected at the start and only there");
    switch (type) {
    case SNAPSHOT_HEADER:
        return read_header(r, &in, err);
    case SNAPSHOT_DATA:
        return read_records(r, &in, err);
    default:
        return read_end(r, &in, err);
    }
}

/* --- chunks --- */

struct chunk_head {
    uint32_t type, payload, raw, crc;
};

static uint32_t le32(const uint8_t *p)
{
    return (uint32_t)p[0] | (uint32_t)p[1] << 8 | (uint32_t)p[2] << 16 | (uint32_t)p[3] << 24;
}

static int read_head(const struct mvcc_restore *r, struct chunk_head *ret, struct error *err)
{
    const uint8_t *p = r->in.data;
    *ret = (struct chunk_head){le32(p), le32(p + 4), le32(p + 8), le32(p + 12)};
    bool known =
        ret->type == SNAPSHOT_HEADER || ret->type == SNAPSHOT_DATA || ret->type == SNAPSHOT_END;
    if (!known)
        return corrupt(r, err, "not a snapshot");
    if (ret->payload > SNAPSHOT_PAYLOAD_MAX || ret->raw > SNAPSHOT_RAW_MAX)
        return corrupt(r, err, "lengths out of bounds");
    return 0;
}

/* The frame must give exactly the bytes announced. */
static int decompress(struct mvcc_restore *r, const struct chunk_head *h, struct error *err)
{
    const uint8_t *in = r->in.data + SNAPSHOT_CHUNK_HEAD;
    size_t in_left = h->payload, hint = 1;
    buf_clear(&r->raw);
    uint8_t *out = buf_reserve(&r->raw, h->raw + 1u);
    size_t out_len = 0;
    LZ4F_resetDecompressionContext(r->lz4);
    while (hint != 0 && in_left > 0) {
        size_t in_step = in_left, out_step = h->raw + 1u - out_len;
        hint = LZ4F_decompress(r->lz4, out + out_len, &out_step, in, &in_step, NULL);
        if (LZ4F_isError(hint) || (in_step == 0 && out_step == 0))
            return corrupt(r, err, "does not decompress");
        in += in_step;
        in_left -= in_step;
        out_len += out_step;
    }
    if (hint != 0 || in_left != 0 || out_len != h->raw)
        return corrupt(r, err, "decompresses to another length");
    buf_commit(&r->raw, out_len);
    return 0;
}

static int read_chunk(struct mvcc_restore *r, const struct chunk_head *h, struct error *err)
{
    if (r->stage == STAGE_ENDED)
        return corrupt(r, err, "data behind the end");
    const uint8_t *p = r->in.data;
    uint32_t crc = crc32c(crc32c(r->crc, p, 12), p + SNAPSHOT_CHUNK_HEAD, h->payload);
    if (crc != h->crc)
        return corrupt(r, err, "checksum does not match");
    r->crc = crc;
    int rc = decompress(r, h, err);
    return rc != 0 ? rc : read_content(r, h->type, err);
}

/* Takes from s what the chunk at hand still needs, up to `size` in all. */
static bool gather(struct mvcc_restore *r, size_t size, struct str *s)
{
    if (r->in.len < size) {
        size_t n = MIN_OF(size - r->in.len, s->len);
        buf_append(&r->in, s->data, n);
        *s = str_sub(*s, n, s->len - n);
    }
    return r->in.len >= size;
}

static int feed(struct mvcc_restore *r, struct str bytes, struct error *err)
{
    for (;;) {
        struct chunk_head h;
        if (!gather(r, SNAPSHOT_CHUNK_HEAD, &bytes))
            return 0;
        int rc = read_head(r, &h, err);
        if (rc != 0)
            return rc;
        if (!gather(r, SNAPSHOT_CHUNK_HEAD + h.payload, &bytes))
            return 0;
        rc = read_chunk(r, &h, err);
        if (rc != 0)
            return rc;
        r->offset += r->in.len;
        buf_clear(&r->in);
    }
}

int mvcc_restore_feed(struct mvcc_restore *r, struct str bytes, struct error *err)
{
    if (r->failed)
        return corrupt(r, err, "failed before");
    int rc = feed(r, bytes, err);
    r->failed = rc != 0;
    return rc;
}

/* --- the end --- */

/* So that watches can go on over a restart. A state without complete history
 * is a sound one: its watches begin at its revision. */
static void build_history(struct mvcc_restore *r)
{
    int64_t after = MAX_OF(r->s.compacted - 1, r->s.rev - RESTORE_HISTORY_MAX);
    int rc = history_build(tree_working(r->s.tree), r->s.compacted, after, MVCC_HISTORY_EVENTS_MAX,
                           &r->history, &r->history_count);
    if (rc != 0)
        r->history_count = 0;
}

int mvcc_restore_finish(struct mvcc_restore *r, struct error *err)
{
    if (r->failed || r->stage != STAGE_ENDED || r->in.len > 0) {
        r->failed = true;
        return corrupt(r, err, "stream is cut short");
    }
    if (!r->verify_only) {
        tree_set_rev(r->s.tree, r->s.rev);
        build_history(r);
    }
    return 0;
}

uint64_t mvcc_restore_index(const struct mvcc_restore *r)
{
    return r->s.applied;
}

int64_t mvcc_restore_rev(const struct mvcc_restore *r)
{
    return r->s.rev;
}

void mvcc_restore_commit(struct mvcc_restore *r, struct mvcc *m, uint64_t now_ms)
{
    ASSERT(!r->verify_only && !r->failed && r->stage == STAGE_ENDED);
    mvcc_replace_state(m, &r->s, r->history, r->history_count, now_ms);
    mvcc_state_init(&r->s);
    mvcc_restore_free(r);
}
