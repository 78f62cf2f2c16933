/* fuzz_mvcc_snapshot.c - arbitrary bytes as a snapshot stream.
 *
 * Since checksums would keep nearly all mutations out, an input that begins with
 * 'W' is wrapped: it is a sequence of chunks {u8 type, le16 length, raw content},
 * which are compressed and summed here, and so reach the content's decoder. */
#include "raftstore/mvcc_snapshot.h"

#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/crc32c.h"
#include "raftstore/mvcc.h"
#include "raftstore/mvcc_internal.h"
#include "raftstore/mvcc_snapshot_internal.h"
#include "raftstore/wire.h"

#include <lz4frame.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

static void wrap(struct buf *out, struct str in)
{
    struct wire r = wire_of(in);
    uint32_t crc = 0;
    while (wire_left(&r) > 3) {
        uint32_t type = SNAPSHOT_HEADER + wire_u8(&r) % 4u;
        size_t n = wire_u8(&r);
        n |= (size_t)wire_u8(&r) << 8;
        n = MIN_OF(n, wire_left(&r));
        size_t bound = LZ4F_compressFrameBound(n, NULL);
        uint8_t *p = buf_reserve(out, SNAPSHOT_CHUNK_HEAD + bound);
        size_t len = LZ4F_compressFrame(p + SNAPSHOT_CHUNK_HEAD, bound, wire_take(&r, n), n, NULL);
        buf_put_le32(out, type);
        buf_put_le32(out, (uint32_t)len);
        buf_put_le32(out, (uint32_t)n);
        p = out->data + out->len - 12;
        crc = crc32c(crc32c(crc, p, 12), p + SNAPSHOT_CHUNK_HEAD, len);
        buf_put_le32(out, crc);
        buf_commit(out, len);
    }
}

/* What is restored must hold together, and work. */
static void use(struct mvcc_restore *r)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    mvcc_restore_commit(r, m, 0);
    struct error err = {0};
    int rc = tree_check(m->s.tree, &err);
    if (rc != 0)
        PANIC("%s", error_message(&err));
    while (mvcc_work(m, 100))
        continue;
    struct mvcc_view *v = mvcc_view(m);
    struct mvcc_hash h;
    rc = mvcc_hash_init(&h, v, 0);
    while (rc == 0 && mvcc_hash_step(&h, 100))
        continue;
    mvcc_view_unref(v);
    mvcc_free(m);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    AUTO_BUF wrapped = BUF_INIT;
    struct str in = str_n((const char *)data, size);
    if (size > 0 && data[0] == 'W') {
        wrap(&wrapped, str_sub(in, 1, size - 1));
        in = buf_str(&wrapped);
    }
    struct mvcc_restore *r = mvcc_restore_new();
    size_t half = in.len / 2;
    int rc = mvcc_restore_feed(r, str_sub(in, 0, half), NULL);
    if (rc == 0)
        rc = mvcc_restore_feed(r, str_sub(in, half, in.len - half), NULL);
    if (rc == 0)
        rc = mvcc_restore_finish(r, NULL);
    if (rc == 0)
        use(r);
    else
        mvcc_restore_free(r);
    return 0;
}

/* --- seeds --- */

static void put(struct mvcc *m, const char *key, int64_t lease, bool delete)
{
    struct txn_op op = {.type = delete ? OP_DELETE : OP_PUT,
                        .key = str_of(key),
                        .value = delete ? STR_NULL : STR("value"),
                        .lease = lease};
    AUTO_BUF b = BUF_INIT;
    command_encode_txn(&(struct txn){.success = &op, .success_count = 1}, &b);
    uint64_t index = mvcc_applied_index(m) + 1;
    int rc = mvcc_apply(m, index, buf_str(&b), 0, NULL, NULL);
    ASSERT_CMP(rc, ==, 0);
    mvcc_applied(m, index);
}

/* With users the format is the newer one. */
static void add_role(struct mvcc *m)
{
    AUTO_BUF change = BUF_INIT, b = BUF_INIT;
    auth_change_encode(&(struct auth_change){.type = AUTH_ROLE_ADD, .role = STR("r")}, &change);
    command_encode(&(struct command){.type = COMMAND_AUTH, .config = buf_str(&change)}, &b);
    uint64_t index = mvcc_applied_index(m) + 1;
    int rc = mvcc_apply(m, index, buf_str(&b), 0, NULL, NULL);
    ASSERT_CMP(rc, ==, 0);
    mvcc_applied(m, index);
}

static struct mvcc *sample(void)
{
    struct mvcc *m = mvcc_new(&(struct mvcc_config){0});
    AUTO_BUF b = BUF_INIT;
    command_encode(&(struct command){.type = COMMAND_LEASE_GRANT, .id = 3, .ttl_s = 9}, &b);
    int rc = mvcc_apply(m, 1, buf_str(&b), 0, NULL, NULL);
    ASSERT_CMP(rc, ==, 0);
    mvcc_applied(m, 1);
    for (int i = 0; i < 4; i++) {
        put(m, "a", 0, i == 1);
        put(m, "b", i == 3 ? 3 : 0, false);
    }
    put(m, "c", 0, false);
    put(m, "c", 0, true);
    return m;
}

/* The stream's chunks as the wrapped form says them. */
static void unwrap(struct buf *out, struct str in)
{
    buf_putc(out, 'W');
    LZ4F_dctx *lz4;
    LZ4F_createDecompressionContext(&lz4, LZ4F_VERSION);
    while (in.len > 0) {
        uint32_t head[4];
        memcpy(head, in.data, sizeof(head));
        uint8_t raw[4096];
        size_t raw_len = sizeof(raw), payload = head[1];
        LZ4F_decompress(lz4, raw, &raw_len, in.data + sizeof(head), &payload, NULL);
        ASSERT_CMP(raw_len, ==, head[2]);
        buf_putc(out, (char)(head[0] - SNAPSHOT_HEADER));
        buf_put_le16(out, (uint16_t)raw_len);
        buf_append(out, raw, raw_len);
        in = str_sub(in, sizeof(head) + head[1], in.len - sizeof(head) - head[1]);
    }
    LZ4F_freeDecompressionContext(lz4);
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i > 3)
        return 0;
    struct mvcc *m = sample();
    if (i > 1)
        add_role(m);
    struct mvcc_snapshot *s = mvcc_snapshot_new(m, 0);
    AUTO_BUF stream = BUF_INIT, wrapped = BUF_INIT;
    buf_commit(&stream, mvcc_snapshot_read(s, buf_reserve(&stream, cap), cap));
    mvcc_snapshot_free(s);
    mvcc_free(m);
    unwrap(&wrapped, buf_str(&stream));
    struct buf *out = i % 2 == 0 ? &stream : &wrapped;
    memcpy(p, out->data, MIN_OF(out->len, cap));
    return out->len;
}
