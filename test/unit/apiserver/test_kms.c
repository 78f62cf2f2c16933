/* test_kms.c - the messages of KMS v2: what is written is read, what upstream
 * refuses is refused, and the order of annotations does not matter. */
#include "apiserver/kms_wire.h"
#include "apiserver/wire.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "test/unit/unit.h"

static struct str annotation(struct arena *a, struct str name, struct str value)
{
    AUTO_BUF b = BUF_INIT;
    wire_put_bytes(1, name, &b);
    wire_put_bytes(2, value, &b);
    return arena_str(a, buf_str(&b));
}

static struct kms_wrapped example(struct arena *a)
{
    struct str *list = ARENA_ARRAY(a, struct str, 2);
    list[0] = annotation(a, STR("b.example.com"), STR("2"));
    list[1] = annotation(a, STR("a.example.com"), STR("1"));
    return (struct kms_wrapped){.type = KMS_HKDF_SEED,
                                .key_id = STR("key"),
                                .source = STR("wrapped"),
                                .annotations = list,
                                .annotation_count = 2};
}

static const char *fault(struct arena *a, const struct kms_wrapped *w, struct str data)
{
    AUTO_BUF b = BUF_INIT;
    struct kms_wrapped got;
    struct str text;
    struct error err = {0};
    kms_object_write(w, data, &b);
    if (kms_object_read(a, buf_str(&b), &got, &text, &err) == 0)
        return "";
    return str_c(arena_strc(a, error_message(&err)));
}

/* Upstream's field numbers, and everything comes back. */
START_TEST(objects)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct kms_wrapped w = example(a), got;
    struct str text;
    struct error err = {0};
    kms_object_write(&w, STR("data"), &b);
    ck_assert(str_has_prefix(buf_str(&b), STR("\x0a\x04"
                                              "data\x12\x03key\x1a\x07wrapped\x22")));
    ck_assert_int_eq(b.data[b.len - 2], 5 << 3);
    ck_assert_int_eq(kms_object_read(a, buf_str(&b), &got, &text, &err), 0);
    ck_assert(str_eqc(text, "data") && str_eqc(got.key_id, "key"));
    ck_assert(str_eqc(got.source, "wrapped") && got.annotation_count == 2);
    ck_assert_int_eq(got.type, KMS_HKDF_SEED);
}
END_TEST

START_TEST(bounds)
{
    AUTO_ARENA *a = arena_new(0);
    struct kms_wrapped w = example(a);
    char *large = arena_zalloc(a, 40000);
    memset(large, 'x', 40000);
    ck_assert_str_eq(fault(a, &w, STR("d")), "");
    ck_assert_str_eq(fault(a, &w, STR("")), "encrypted data is empty");
    w.key_id = STR("");
    ck_assert_str_eq(fault(a, &w, STR("d")), "failed to validate key id: keyID is empty");
    w.key_id = str_n(large, 1025);
    ck_assert_str_eq(fault(a, &w, STR("d")),
                     "failed to validate key id: keyID is 1025 bytes, which exceeds the max size "
                     "of 1024");
    w = example(a);
    w.source = STR("");
    ck_assert_str_eq(fault(a, &w, STR("d")),
                     "failed to validate encrypted DEK source: encrypted DEK source is empty");
    w.source = str_n(large, 1025);
    ck_assert_str_eq(fault(a, &w, STR("d")),
                     "failed to validate encrypted DEK source: encrypted DEK source is 1025 bytes, "
                     "which exceeds the max size of 1024");
    w = example(a);
    w.annotations[0] = annotation(a, STR("nodots"), STR("1"));
    ck_assert(str_has_prefix(str_of(fault(a, &w, STR("d"))),
                             STR("failed to validate annotations: annotations: Invalid value: "
                                 "\"nodots\"")));
    w.annotations[0] = annotation(a, STR("a.b"), str_n(large, 40000));
    ck_assert(str_has_prefix(str_of(fault(a, &w, STR("d"))),
                             STR("failed to validate annotations: total size of annotations is")));
}
END_TEST

/* A map comes in any order. */
START_TEST(cache_keys)
{
    AUTO_ARENA *a = arena_new(0);
    struct kms_wrapped w = example(a), turned = example(a);
    struct str first = turned.annotations[0];
    turned.annotations[0] = turned.annotations[1];
    turned.annotations[1] = first;
    ck_assert(str_eq(kms_cache_key(a, &w), kms_cache_key(a, &turned)));
    turned.key_id = STR("other");
    ck_assert(!str_eq(kms_cache_key(a, &w), kms_cache_key(a, &turned)));
    turned = w;
    turned.type = KMS_AES_GCM_KEY;
    ck_assert(!str_eq(kms_cache_key(a, &w), kms_cache_key(a, &turned)));
}
END_TEST

/* What a plugin says, and what it is asked. */
START_TEST(calls)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF b = BUF_INIT;
    struct kms_wrapped w = example(a), got;
    struct kms_status status;
    struct str plain;
    struct error err = {0};
    ck_assert_int_eq(kms_status_read(STR("\x0a\x02v2\x12\x02ok\x1a\x03key"), &status, &err), 0);
    ck_assert(str_eqc(status.version, "v2") && str_eqc(status.healthz, "ok") &&
              str_eqc(status.key_id, "key"));
    ck_assert_int_lt(kms_status_read(STR("\x0a\x09v2"), &status, &err), 0);
    wire_put_bytes(1, w.source, &b);
    wire_put_bytes(2, w.key_id, &b);
    wire_put_bytes(3, w.annotations[0], &b);
    ck_assert_int_eq(kms_encrypt_read(a, buf_str(&b), &got, &err), 0);
    ck_assert(str_eqc(got.source, "wrapped") && str_eqc(got.key_id, "key"));
    ck_assert_uint_eq(got.annotation_count, 1);
    AUTO_BUF asked = BUF_INIT;
    kms_decrypt_write(&got, STR("uid"), &asked);
    ck_assert(str_has_prefix(buf_str(&asked), STR("\x0a\x07wrapped\x12\x03uid\x1a\x03key\x22")));
    ck_assert_int_eq(kms_decrypt_read(STR("\x0a\x04seed"), &plain, &err), 0);
    ck_assert(str_eqc(plain, "seed"));
}
END_TEST

UNIT_MAIN("kms", {
    UNIT_TEST(objects);
    UNIT_TEST(bounds);
    UNIT_TEST(cache_keys);
    UNIT_TEST(calls);
})
