/* test_pb.c - the wire format at its edges, envelopes, watch frames, the registry of kinds. */
#include "test/unit/unit.h"

#include "api/apps_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/api/frame.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

/* Wire bytes by hand: tag and payload. */
static void put(struct buf *b, unsigned number, struct str s)
{
    buf_put_varint(b, number << 3 | 2);
    buf_put_varint(b, s.len);
    buf_append_str(b, s);
}

static struct core_v1_config_map decode(struct arena *a, struct str wire)
{
    struct core_v1_config_map m = {0};
    struct error err = {0};
    ck_assert_msg(api_pb_decode(a, &core_v1_config_map_msg, wire, &m, &err) == 0, "%s",
                  err.message);
    return m;
}

/* Both ways to JSON must agree. */
static struct str to_json(struct arena *a, struct str wire)
{
    struct core_v1_config_map m = decode(a, wire);
    AUTO_BUF x = BUF_INIT, y = BUF_INIT;
    api_json_encode(&core_v1_config_map_msg, &m, STR_NULL, STR_NULL, &x);
    ck_assert_int_eq(api_json_from_pb(&core_v1_config_map_msg, wire, STR_NULL, STR_NULL, &y, NULL),
                     0);
    ck_assert(str_eq(buf_str(&x), buf_str(&y)));
    return arena_str(a, buf_str(&x));
}

/* metadata{resourceVersion} behind stored bytes is how answers are spliced. */
START_TEST(test_metadata_merges)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF wire = BUF_INIT, meta = BUF_INIT, entry = BUF_INIT, late = BUF_INIT;
    put(&entry, 1, STR("k"));
    put(&entry, 2, STR("v"));
    put(&meta, 1, STR("name"));
    put(&meta, 11, buf_str(&entry));
    put(&wire, 1, buf_str(&meta));
    buf_clear(&entry);
    put(&entry, 1, STR("a"));
    put(&late, 6, STR("42"));
    put(&late, 11, buf_str(&entry));
    put(&wire, 1, buf_str(&late));
    ck_assert_str_eq(str_c(to_json(a, buf_str(&wire))),
                     "{\"metadata\":{\"name\":\"name\",\"resourceVersion\":\"42\",\"labels\":{"
                     "\"a\":\"\",\"k\":\"v\"}}}");
}
END_TEST

/* Maps arrive in any order and with repeats; they leave sorted. */
START_TEST(test_maps)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF wire = BUF_INIT;
    static const char *const keys[] = {"b", "a", "b", "", "c"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        AUTO_BUF entry = BUF_INIT;
        put(&entry, 1, str_of(keys[i]));
        put(&entry, 2, i == 2 ? STR("last") : STR("x"));
        put(&wire, 2, buf_str(&entry));
    }
    ck_assert_str_eq(
        str_c(to_json(a, buf_str(&wire))),
        "{\"metadata\":{},\"data\":{\"\":\"x\",\"a\":\"x\",\"b\":\"last\",\"c\":\"x\"}}");
    struct core_v1_config_map m = decode(a, buf_str(&wire));
    ck_assert_uint_eq(m.data_count, 4);
    ck_assert(api_str_map_get(m.data, m.data_count, STR("b")) != NULL);
    ck_assert(api_str_map_get(m.data, m.data_count, STR("bb")) == NULL);
}
END_TEST

/* Fields of later versions and groups are skipped. */
START_TEST(test_unknown_fields)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF wire = BUF_INIT;
    static const uint8_t others[] = {0xa0, 6, 5, 0xa5, 6, 1,    2, 3, 4, 0xa1, 6, 1,    2, 3, 4, 5,
                                     6,    7, 8, 0xa3, 6, 0xa3, 6, 8, 1, 0xa4, 6, 0xa4, 6};
    buf_append(&wire, others, sizeof(others));
    put(&wire, 900, STR("x"));
    put(&wire, 1, STR(""));
    ck_assert_str_eq(str_c(to_json(a, buf_str(&wire))), "{\"metadata\":{}}");
}
END_TEST

static int decode_error(struct str wire, const char *message)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF out = BUF_INIT;
    struct core_v1_config_map m = {0};
    struct error err = {0}, direct = {0};
    int r = api_pb_decode(a, &core_v1_config_map_msg, wire, &m, &err);
    ck_assert_int_eq(
        api_json_from_pb(&core_v1_config_map_msg, wire, STR_NULL, STR_NULL, &out, &direct), r);
    ck_assert_uint_eq(out.len, 0);
    ck_assert_str_eq(err.message, message);
    return r;
}

START_TEST(test_damage)
{
    ck_assert_int_eq(decode_error(STR("\x0a"), "unexpected EOF"), E_INVALID);
    ck_assert_int_eq(decode_error(STR("\x0a\x05\x00"), "unexpected EOF"), E_INVALID);
    ck_assert_int_eq(decode_error(STR("\x08\x01"), "proto: wrong wireType = 0 for field metadata"),
                     E_INVALID);
    ck_assert_int_eq(decode_error(STR("\x02\x00"), "proto: illegal tag 0 (wire type 2)"),
                     E_INVALID);
    ck_assert_int_eq(decode_error(STR("\x0c"), "proto: wiretype end group for non-group"),
                     E_INVALID);
    ck_assert_int_eq(decode_error(STR("\x0f"), "proto: illegal wireType 7"), E_INVALID);
    ck_assert_int_eq(
        decode_error(STR("\xff\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01"), "unexpected EOF"),
        E_INVALID);
}
END_TEST

/* Two bytes that make a large struct do not make a gigabyte of them. */
START_TEST(test_memory_budget)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF wire = BUF_INIT;
    struct core_v1_pod_spec spec = {0};
    struct error err = {0};
    for (int i = 0; i < 1000000; i++)
        buf_append(&wire, "\x12\x00", 2);
    ck_assert_int_eq(api_pb_decode(a, &core_v1_pod_spec_msg, buf_str(&wire), &spec, &err),
                     E_TOO_LARGE);
    ck_assert_uint_lt(arena_bytes(a), 200u * 1024 * 1024);
}
END_TEST

/* Numbers may be packed or not. */
START_TEST(test_packed)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF wire = BUF_INIT, out = BUF_INIT;
    struct core_v1_pod_security_context c = {0};
    buf_append(&wire, "\x20\x05", 2);
    put(&wire, 4, STR("\x06\x87\x01"));
    ck_assert_int_eq(api_pb_decode(a, &core_v1_pod_security_context_msg, buf_str(&wire), &c, NULL),
                     0);
    ck_assert_uint_eq(c.supplemental_groups_count, 3);
    ck_assert_int_eq(c.supplemental_groups[2], 135);
    ck_assert_int_eq(api_json_from_pb(&core_v1_pod_security_context_msg, buf_str(&wire), STR_NULL,
                                      STR_NULL, &out, NULL),
                     0);
    buf_putc(&out, '\0');
    ck_assert_str_eq((char *)out.data, "{\"supplementalGroups\":[5,6,135]}");
    /* A packed field with nothing in it is no list. */
    struct core_v1_pod_port_forward_options none = {0};
    ck_assert_int_eq(
        api_pb_decode(a, &core_v1_pod_port_forward_options_msg, STR("\x0a\x00"), &none, NULL), 0);
    ck_assert(none.ports == NULL);
    buf_clear(&out);
    ck_assert_int_eq(api_json_from_pb(&core_v1_pod_port_forward_options_msg, STR("\x0a\x00"),
                                      STR_NULL, STR_NULL, &out, NULL),
                     0);
    ck_assert(str_eqc(buf_str(&out), "{}"));
    /* Nor does one between others hide them. */
    buf_clear(&out);
    ck_assert_int_eq(api_json_from_pb(&core_v1_pod_port_forward_options_msg,
                                      STR("\x0a\x01\x05\x0a\x00\x08\x06\x0a\x00\x0a\x01\x07"),
                                      STR_NULL, STR_NULL, &out, NULL),
                     0);
    ck_assert(str_eqc(buf_str(&out), "{\"ports\":[5,6,7]}"));
}
END_TEST

/* A claim among a StatefulSet's templates says what it is; on the wire there is no place for it. */
START_TEST(test_typed_items)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF wire = BUF_INIT, out = BUF_INIT, direct = BUF_INIT;
    struct core_v1_persistent_volume_claim claim = {.metadata.name = STR("d")};
    struct apps_v1_stateful_set_spec spec = {.volume_claim_templates = &claim,
                                             .volume_claim_templates_count = 1};
    api_pb_encode(&apps_v1_stateful_set_spec_msg, &spec, &wire);
    api_json_encode(&apps_v1_stateful_set_spec_msg, &spec, STR_NULL, STR_NULL, &out);
    ck_assert_int_eq(api_json_from_pb(&apps_v1_stateful_set_spec_msg, buf_str(&wire), STR_NULL,
                                      STR_NULL, &direct, NULL),
                     0);
    ck_assert(str_eq(buf_str(&out), buf_str(&direct)));
    ck_assert(str_find_str(buf_str(&out),
                           STR("\"volumeClaimTemplates\":[{\"kind\":\"PersistentVolumeClaim\","
                               "\"apiVersion\":\"v1\",\"metadata\":{\"name\":\"d\"}")) >= 0);
    struct apps_v1_stateful_set_spec back = {0};
    ck_assert_int_eq(api_json_decode(a, &apps_v1_stateful_set_spec_msg, buf_str(&out), API_STRICT,
                                     NULL, &back, NULL),
                     0);
    ck_assert(api_msg_equal(&apps_v1_stateful_set_spec_msg, &spec, &back));
}
END_TEST

/* Semantic equality: absent and empty lists, spellings of quantities. */
START_TEST(test_equality)
{
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_pod_spec x = {0}, y = {0};
    struct core_v1_volume none;
    ck_assert(api_msg_is_zero(&core_v1_pod_spec_msg, &x));
    x.volumes = &none;
    ck_assert(api_msg_equal(&core_v1_pod_spec_msg, &x, &y));
    struct api_quantity_entry q = {STR("cpu"), {STR("1")}}, p = {STR("cpu"), {STR("1000m")}};
    x.overhead = &q;
    y.overhead = &p;
    x.overhead_count = y.overhead_count = 1;
    ck_assert(api_msg_equal(&core_v1_pod_spec_msg, &x, &y));
    p.value.string = STR("2");
    ck_assert(!api_msg_equal(&core_v1_pod_spec_msg, &x, &y));
    y = *(struct core_v1_pod_spec *)api_msg_clone(a, &core_v1_pod_spec_msg, &x);
    ck_assert(api_msg_equal(&core_v1_pod_spec_msg, &x, &y) && y.volumes != NULL &&
              y.volumes != x.volumes);
    y.has_priority = true;
    ck_assert(!api_msg_equal(&core_v1_pod_spec_msg, &x, &y));
}
END_TEST

/* Empty lists and maps become none, at any depth; the rest stays. */
START_TEST(test_drop_empty)
{
    struct core_v1_container c[2] = {{.name = STR("a")}, {.name = STR("b")}};
    struct core_v1_pod_spec x = {0};
    struct api_str_entry labels;
    struct core_v1_volume volume;
    struct str arg;
    c[1].args = &arg;
    x.containers = c;
    x.containers_count = 2;
    x.volumes = &volume;
    x.node_selector = &labels;
    api_msg_drop_empty(&core_v1_pod_spec_msg, &x);
    ck_assert(x.containers == c && x.containers_count == 2 && str_eqc(c[1].name, "b"));
    ck_assert(c[1].args == NULL && x.volumes == NULL && x.node_selector == NULL);
}
END_TEST

/* An envelope in a RawExtension becomes JSON; envelopes nested in each other without end do not. */
START_TEST(test_raw_envelopes)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF envelope = BUF_INIT, wire = BUF_INIT, item = BUF_INIT, out = BUF_INIT;
    struct core_v1_config_map m = {.metadata.name = STR("x")};
    api_envelope_encode(&core_v1_config_map_msg, &m, STR("v1"), STR("ConfigMap"), &envelope);
    put(&item, 1, buf_str(&envelope));
    put(&wire, 2, buf_str(&item));
    ck_assert_int_eq(
        api_json_from_pb(&core_v1_list_msg, buf_str(&wire), STR_NULL, STR_NULL, &out, NULL), 0);
    buf_putc(&out, '\0');
    ck_assert_str_eq((char *)out.data,
                     "{\"metadata\":{},\"items\":[{\"kind\":\"ConfigMap\",\"apiVersion\":\"v1\","
                     "\"metadata\":{\"name\":\"x\"}}]}");
    for (int i = 0; i < 2000; i++) {
        buf_clear(&envelope);
        api_envelope_write(STR("v1"), STR("List"), buf_str(&wire), &envelope);
        buf_clear(&item);
        put(&item, 1, buf_str(&envelope));
        buf_clear(&wire);
        put(&wire, 2, buf_str(&item));
    }
    buf_clear(&out);
    ck_assert_int_eq(
        api_json_from_pb(&core_v1_list_msg, buf_str(&wire), STR_NULL, STR_NULL, &out, NULL), 0);
    struct core_v1_list list = {0};
    ck_assert_int_eq(api_pb_decode(a, &core_v1_list_msg, buf_str(&wire), &list, NULL), 0);
    buf_clear(&out);
    api_json_encode(&core_v1_list_msg, &list, STR_NULL, STR_NULL, &out);
}
END_TEST

START_TEST(test_watch_frames)
{
    AUTO_BUF stream = BUF_INIT;
    api_watch_frame_pb(STR("ADDED"), STR("k8s\0abc"), &stream);
    api_watch_frame_pb(STR("BOOKMARK"), STR(""), &stream);
    struct str rest = buf_str(&stream), frame, type, envelope;
    size_t consumed;
    struct error err = {0};
    for (size_t n = 0; n < 4; n++)
        ck_assert_int_eq(api_frame_next(str_sub(rest, 0, n), 1000, &consumed, &frame, &err),
                         E_AGAIN);
    ck_assert_int_eq(api_frame_next(rest, 1000, &consumed, &frame, &err), 0);
    ck_assert_int_eq(api_watch_event_open(frame, &type, &envelope, &err), 0);
    ck_assert(str_eqc(type, "ADDED") && str_eq(envelope, STR("k8s\0abc")));
    /* It is a WatchEvent as the tables know it. */
    AUTO_ARENA *a = arena_new(0);
    struct meta_v1_watch_event e = {0};
    ck_assert_int_eq(api_pb_decode(a, &meta_v1_watch_event_msg, frame, &e, &err), 0);
    ck_assert(str_eqc(e.type, "ADDED") && str_eq(e.object.raw, STR("k8s\0abc")));
    AUTO_BUF again = BUF_INIT;
    api_pb_encode(&meta_v1_watch_event_msg, &e, &again);
    ck_assert(str_eq(buf_str(&again), frame));
    rest = str_sub(rest, consumed, rest.len);
    ck_assert_int_eq(api_frame_next(str_sub(rest, 0, rest.len - 1), 1000, &consumed, &frame, &err),
                     E_AGAIN);
    ck_assert_int_eq(api_frame_next(rest, 3, &consumed, &frame, &err), E_TOO_LARGE);
    ck_assert_int_eq(api_frame_next(rest, 1000, &consumed, &frame, &err), 0);
    ck_assert_uint_eq(consumed, rest.len);
}
END_TEST

/* Kinds are found by name and by resource; some in every group version. */
START_TEST(test_registry)
{
    size_t count;
    const struct api_kind *const *all = api_kinds(&count);
    ck_assert_uint_gt(count, 200);
    for (size_t i = 0; i < count; i++) {
        const struct api_kind *k = all[i];
        ck_assert(api_kind_by_gvk(str_of(k->group), str_of(k->version), str_of(k->kind)) == k);
        ck_assert(api_kind_by_api_version(str_of(k->api_version), str_of(k->kind)) == k);
        if (k->resource != NULL)
            ck_assert(api_kind_by_resource(str_of(k->group), str_of(k->version),
                                           str_of(k->resource)) == k);
    }
    const struct api_kind *pod = api_kind_by_api_version(STR("v1"), STR("Pod"));
    ck_assert_str_eq(pod->list_kind, "PodList");
    ck_assert(pod->namespaced && pod->list_msg == &core_v1_pod_list_msg &&
              api_list_has(pod->short_names, STR("po")));
    ck_assert(api_list_has(pod->verbs, STR("watch")) && !api_list_has(pod->verbs, STR("wat")));
    ck_assert_str_eq(api_kind_sub(pod, STR("eviction"))->group, "policy");
    ck_assert(api_kind_sub(pod, STR("none")) == NULL);
    ck_assert_ptr_eq(pod->msg, &core_v1_pod_msg);
    ck_assert(api_kind_by_api_version(STR("apps/v1"), STR("DeleteOptions")) ==
              api_kind_by_api_version(STR("v1"), STR("DeleteOptions")));
    ck_assert(api_kind_by_api_version(STR("apps/v1"), STR("DeleteOptions")) != NULL);
    ck_assert(api_kind_by_api_version(STR("apps/v1"), STR("Pod")) == NULL);
    ck_assert(api_kind_by_resource(STR(""), STR("v1"), STR("nothing")) == NULL);

    struct api_object *o = api_object_new(pod);
    api_object_meta(o)->name = arena_strc(o->arena, "p");
    struct api_object *copy = api_object_clone(o);
    api_object_ref(copy);
    api_object_unref(copy);
    api_object_unref(o);
    ck_assert_str_eq(str_c(api_object_meta(copy)->name), "p");
    api_object_unref(copy);
    api_object_unref(NULL);
}
END_TEST

/* JSON that stands in an object as it is: FieldsV1, compact or not, right or wrong. */
START_TEST(test_fields_as_they_are)
{
    static const struct {
        const char *raw, *want;
    } cases[] = {
        {"{}", "{}"},
        {"{\"f:a\":{},\"f:b\":{\".\":{},\"k:{\\\"n\\\":\\\"x\\\"}\":{}}}", NULL},
        {" { \"f:a\" : { } } ", "{\"f:a\":{}}"},
        {"{\"f:<\":{}}", "{\"f:\\u003c\":{}}"},
        {"{\"f:a\":1}", "{\"f:a\":1}"},
        {"{\"f:\\u0041\":{}}", "{\"f:\\u0041\":{}}"},
        {"{\"f:\u00e9\":{}}", "{\"f:\u00e9\":{}}"},
        {"{\"f:a\":{},}", "null"},
        {"{\"f:a\"}", "null"},
        {"{\"f:a\":}", "null"},
        {"{,\"f:a\":{}}", "null"},
        {"{\"f:a\":{}\"f:b\":{}}", "null"},
        {"{}}", "null"},
        {"{}{}", "null"},
        {"{\"f:a\":{}", "null"},
        {"{\"f:a", "null"},
        {"{\"f:a\\", "null"},
        {"{\"f:\\x\":{}}", "null"},
        {"{\"f:\t\":{}}", "null"},
        {"{", "null"},
        {"\"f:a\"", "\"f:a\""},
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        AUTO_ARENA *a = arena_new(0);
        AUTO_BUF fields = BUF_INIT, entry = BUF_INIT, meta = BUF_INIT, wire = BUF_INIT,
                 want = BUF_INIT;
        put(&fields, 1, str_of(cases[i].raw));
        put(&entry, 7, buf_str(&fields));
        put(&meta, 17, buf_str(&entry));
        put(&wire, 1, buf_str(&meta));
        buf_printf(&want, "{\"metadata\":{\"managedFields\":[{\"fieldsV1\":%s}]}}",
                   cases[i].want != NULL ? cases[i].want : cases[i].raw);
        ck_assert_str_eq(str_c(to_json(a, buf_str(&wire))), str_c(buf_str(&want)));
    }
    /* As deep as is allowed, and one deeper. */
    for (unsigned depth = API_DEPTH_MAX - 1; depth <= API_DEPTH_MAX + 2; depth++) {
        AUTO_BUF out = BUF_INIT, deep = BUF_INIT;
        struct meta_v1_fields_v1 f;
        for (unsigned i = 0; i < depth; i++)
            buf_puts(&deep, "{\"f:a\":");
        buf_puts(&deep, "{}");
        for (unsigned i = 0; i < depth; i++)
            buf_putc(&deep, '}');
        f = (struct meta_v1_fields_v1){.raw = buf_str(&deep)};
        api_json_encode(&meta_v1_fields_v1_msg, &f, STR_NULL, STR_NULL, &out);
        ck_assert_uint_eq(out.len, depth <= API_DEPTH_MAX ? deep.len : 4);
    }
}
END_TEST

UNIT_MAIN("pb", {
    UNIT_TEST(test_fields_as_they_are);
    UNIT_TEST(test_metadata_merges);
    UNIT_TEST(test_maps);
    UNIT_TEST(test_unknown_fields);
    UNIT_TEST(test_damage);
    UNIT_TEST(test_memory_budget);
    UNIT_TEST(test_packed);
    UNIT_TEST(test_typed_items);
    UNIT_TEST(test_equality);
    UNIT_TEST(test_drop_empty);
    UNIT_TEST(test_raw_envelopes);
    UNIT_TEST(test_watch_frames);
    UNIT_TEST(test_registry);
})
