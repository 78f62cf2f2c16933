/* fuzz_pb.c - wire bytes of any kind: whatever decodes must encode to a fixed
 * point, and both ways to JSON must agree. The first byte picks the kind. */
#include "test/fuzz/api/seeds.h"

#include "lib/api/codec.h"
#include "lib/api/frame.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static const struct fuzz_text seeds[] = {
    FUZZ_TEXT("\x0a\x06\x0a\x04name\x12\x06\x0a\x01k\x12\x01v\x0a\x05\x32\x03"
              "123"),
    FUZZ_TEXT("\x12\x10\x12\x0e\x0a\x01"
              "c\x2a\x09\x0a\x07\x0a\x03"
              "cpu\x12\x00"),
    FUZZ_TEXT("\x0a\x0c\x42\x0a\x08\xaa\xaa\xaa\xaa\x06\x10\x05\x5a\x00"),
    FUZZ_TEXT("k8s\x00\x0a\x0f\x0a\x02v1\x12\x09"
              "ConfigMap\x12\x02\x0a\x00\x1a\x00\x22\x00"),
};

/* Every kind gets its turn with every seed. */
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    size_t kinds, n = sizeof(seeds) / sizeof(seeds[0]);
    api_kinds(&kinds);
    if (i >= n * 100 || cap < 200)
        return 0;
    const struct fuzz_text *t = &seeds[i % n];
    p[0] = (uint8_t)(i / n * 3);
    memcpy(p + 1, t->text, t->len);
    return t->len + 1;
}

static void check_json(struct arena *a, const struct api_msg *m, struct str wire, const void *msg)
{
    AUTO_BUF encoded = BUF_INIT, direct = BUF_INIT;
    api_json_encode(m, msg, STR("v"), STR("K"), &encoded);
    ASSERT(api_json_from_pb(m, wire, STR("v"), STR("K"), &direct, NULL) == 0);
    ASSERT(str_eq(buf_str(&encoded), buf_str(&direct)));
    ASSERT(api_json_tree(a, m, msg, STR("v"), STR("K")) != NULL);
}

static void check(const struct api_msg *m, struct str wire)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF first = BUF_INIT, second = BUF_INIT;
    void *msg = api_msg_new(a, m), *again = api_msg_new(a, m);
    if (api_pb_decode(a, m, wire, msg, NULL) != 0) {
        ASSERT(api_json_from_pb(m, wire, STR_NULL, STR_NULL, &first, NULL) != 0 ||
               wire.len < 100000); /* Only structs have a budget. */
        return;
    }
    check_json(a, m, wire, msg);
    api_pb_encode(m, msg, &first);
    ASSERT(api_pb_decode(a, m, buf_str(&first), again, NULL) == 0);
    ASSERT(api_msg_equal(m, msg, again));
    api_pb_encode(m, again, &second);
    ASSERT(str_eq(buf_str(&first), buf_str(&second)));
    void *copy = api_msg_clone(a, m, msg);
    ASSERT(api_msg_equal(m, msg, copy));
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    size_t kinds;
    const struct api_kind *const *all = api_kinds(&kinds);
    if (size == 0)
        return 0;
    struct str bytes = str_n((const char *)data, size), wire = str_sub(bytes, 1, size), version,
               kind, raw;
    check(all[data[0] % kinds]->msg, wire);
    if (api_envelope_open(wire, &version, &kind, &raw, NULL) == 0) {
        const struct api_kind *k = api_kind_by_api_version(version, kind);
        if (k != NULL)
            check(k->msg, raw);
    }
    struct str frame, type, envelope;
    size_t consumed;
    if (api_frame_next(bytes, 1 << 20, &consumed, &frame, NULL) == 0)
        api_watch_event_open(frame, &type, &envelope, NULL);
    return 0;
}
