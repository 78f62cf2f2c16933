/* test_wire.c - looking into stored bytes. */
#include "apiserver/encode.h"
#include "apiserver/wire.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "test/unit/unit.h"

static void make_pod(struct buf *out)
{
    struct api_str_entry labels[] = {{STR("a"), STR("1")}, {STR("b"), STR("")}};
    struct core_v1_pod pod = {
        .metadata = {.name = STR("p"), .namespace = STR("n"), .labels = labels, .labels_count = 2},
        .spec = {.node_name = STR("node-1")}};
    api_pb_encode(&core_v1_pod_msg, &pod, out);
}

/* Labels and the node are found without decoding. */
START_TEST(fields)
{
    AUTO_BUF b = BUF_INIT;
    struct api_str_entry labels[4];
    make_pod(&b);
    ck_assert_uint_eq(wire_labels(buf_str(&b), labels, 4), 2);
    ck_assert(str_eqc(labels[0].key, "a") && str_eqc(labels[0].value, "1"));
    ck_assert(str_eqc(labels[1].key, "b") && str_empty(labels[1].value));
    ck_assert(str_eqc(wire_bytes(wire_bytes(buf_str(&b), 2), 10), "node-1"));
    ck_assert_uint_eq(wire_labels(buf_str(&b), labels, 1), 1);
}
END_TEST

/* The version spliced in behind the bytes is the object's version. */
START_TEST(splice)
{
    static const int64_t revs[] = {1, 9, 10, 12345, INT64_MAX};
    for (size_t i = 0; i < ARRAY_SIZE(revs); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF b = BUF_INIT;
        char want[32];
        struct core_v1_pod pod = {0};
        make_pod(&b);
        size_t before = b.len;
        wire_append_rev(&b, revs[i]);
        ck_assert_uint_eq(b.len - before, wire_rev_bytes(revs[i]));
        ck_assert_int_eq(api_pb_decode(a, &core_v1_pod_msg, buf_str(&b), &pod, NULL), 0);
        snprintf(want, sizeof(want), "%lld", (long long)revs[i]);
        ck_assert(str_eqc(pod.metadata.resource_version, want));
        ck_assert(str_eqc(pod.metadata.name, "p"));
        ck_assert_uint_eq(pod.metadata.labels_count, 2);
    }
}
END_TEST

/* Cut bytes end a walk; they do not run over. */
START_TEST(damage)
{
    AUTO_BUF b = BUF_INIT;
    struct api_str_entry labels[4];
    make_pod(&b);
    for (size_t n = 0; n <= b.len; n++) {
        char *exact = xmemdup(b.data, n);
        wire_labels(str_n(exact, n), labels, 4);
        wire_bytes(str_n(exact, n), 2);
        free(exact);
    }
}
END_TEST

/* The quick way into stored bytes and the full parser agree about the object, in damaged
 * ones too. */
START_TEST(envelopes)
{
    AUTO_BUF pod = BUF_INIT, b = BUF_INIT;
    struct str raw, version, kind, want;
    make_pod(&pod);
    api_envelope_write(STR("v1"), STR("Pod"), buf_str(&pod), &b);
    ck_assert_int_eq(stored_raw(buf_str(&b), &raw, NULL), 0);
    ck_assert(str_eq(raw, buf_str(&pod)));
    for (size_t i = 0; i < b.len; i++) {
        char *cut = xmemdup(b.data, i);
        ck_assert_int_eq(stored_raw(str_n(cut, i), &raw, NULL),
                         api_envelope_open(str_n(cut, i), &version, &kind, &want, NULL));
        free(cut);
        for (unsigned bit = 0; bit < 8; bit++) {
            char *other = xmemdup(b.data, b.len);
            other[i] = (char)(other[i] ^ (1 << bit));
            int code = api_envelope_open(str_n(other, b.len), &version, &kind, &want, NULL);
            int quick = stored_raw(str_n(other, b.len), &raw, NULL);
            if (code == 0)
                ck_assert(quick == 0 && str_eq(raw, want));
            else /* Damage in the type alone goes unnoticed: it is not looked at. */
                ck_assert(quick != 0 || i < sizeof("k8s") + 2 + 9);
            free(other);
        }
    }
}
END_TEST

UNIT_MAIN("wire", {
    UNIT_TEST(envelopes);
    UNIT_TEST(fields);
    UNIT_TEST(splice);
    UNIT_TEST(damage);
})
