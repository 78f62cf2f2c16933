/* test_etcd_gateway.c - protobuf messages as JSON, both ways. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/etcd/gateway_json.h"
#include "raftstore/etcd/json.h"
#include "test/unit/unit.h"

#include "etcd/rpc.pb-c.h"

static int read_as(struct arena *a, const ProtobufCMessageDescriptor *d, const char *json,
                   ProtobufCMessage **ret, struct error *err)
{
    struct json_value v;
    int rc = json_read(a, str_of(json), &v, err);
    return rc < 0 ? rc : gateway_read(a, d, &v, ret, err);
}

static void same(const ProtobufCMessageDescriptor *d, const char *json, const char *want)
{
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF out = BUF_INIT;
    ProtobufCMessage *m;
    struct error err = {0};
    ck_assert_msg(read_as(a, d, json, &m, &err) == 0, "%s: %s", json, err.message);
    gateway_write(m, &out);
    buf_putc(&out, '\0');
    ck_assert_str_eq((const char *)out.data, want);
}

#define RANGE &etcdserverpb__range_request__descriptor
#define TXN &etcdserverpb__txn_request__descriptor
#define WATCH &etcdserverpb__watch_request__descriptor

/* What is written: names of the .proto, strings for 64 bits, base64, no defaults. */
START_TEST(forms)
{
    same(RANGE, "{}", "{}");
    same(RANGE, "{\"key\":\"Zm9v\",\"limit\":\"5\",\"sort_order\":\"ASCEND\",\"keys_only\":true}",
         "{\"key\":\"Zm9v\",\"limit\":\"5\",\"sort_order\":\"ASCEND\",\"keys_only\":true}");
    same(RANGE, "{\"rangeEnd\":\"Zg\",\"limit\":7,\"sortOrder\":2,\"maxModRevision\":1e3}",
         "{\"range_end\":\"Zg==\",\"limit\":\"7\",\"sort_order\":\"DESCEND\",\"max_mod_revision\":"
         "\"1000\"}");
    same(RANGE, "{\"key\":\"-_8\",\"limit\":0,\"serializable\":false,\"sort_target\":null}",
         "{\"key\":\"+/8=\"}");
    same(RANGE, "{\"nonsense\":[1,{\"x\":2}],\"sort_order\":9}", "{\"sort_order\":9}");
    same(&etcdserverpb__move_leader_request__descriptor, "{\"targetID\":\"18446744073709551615\"}",
         "{\"targetID\":\"18446744073709551615\"}");
}
END_TEST

/* Nested messages, lists, and members of which one is set. */
START_TEST(nested)
{
    same(TXN,
         "{\"compare\":[{\"target\":\"CREATE\",\"key\":\"YQ==\",\"createRevision\":\"0\"}],"
         "\"success\":[{\"requestPut\":{\"key\":\"YQ==\"}},{\"request_range\":{}}]}",
         "{\"compare\":[{\"target\":\"CREATE\",\"key\":\"YQ==\",\"create_revision\":\"0\"}],"
         "\"success\":[{\"request_put\":{\"key\":\"YQ==\"}},{\"request_range\":{}}]}");
    same(WATCH, "{\"create_request\":{\"filters\":[\"NOPUT\",1]}}",
         "{\"create_request\":{\"filters\":[\"NOPUT\",\"NODELETE\"]}}");
    same(&etcdserverpb__member_add_request__descriptor, "{\"peerURLs\":[\"a\\u00e9\",\"\"]}",
         "{\"peerURLs\":[\"a\xc3\xa9\",\"\"]}");
}
END_TEST

/* What fits no field is refused, with the field's name. */
START_TEST(refused)
{
    static const char *const bad[] = {
        "[]",
        "{\"key\":5}",
        "{\"key\":\"!\"}",
        "{\"limit\":\"x\"}",
        "{\"limit\":1.5}",
        "{\"limit\":\"9223372036854775808\"}",
        "{\"sort_order\":\"BOGUS\"}",
        "{\"sort_order\":true}",
        "{\"keys_only\":\"true\"}",
    };
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        AUTO_ARENA *a = arena_new(0);
        ProtobufCMessage *m;
        struct error err = {0};
        ck_assert_msg(read_as(a, RANGE, bad[i], &m, &err) == E_INVALID, "%s", bad[i]);
    }
    AUTO_ARENA *a = arena_new(0);
    ProtobufCMessage *m;
    struct error err = {0};
    ck_assert_int_eq(read_as(a, RANGE, "{\"sort_order\":\"BOGUS\"}", &m, &err), E_INVALID);
    ck_assert_str_eq(err.message,
                     "unknown value \"BOGUS\" for enum etcdserverpb.RangeRequest_SortOrder");
    ck_assert_int_eq(read_as(a, &etcdserverpb__auth_user_add_request__descriptor,
                             "{\"name\":\"a\\u0000b\"}", &m, &err),
                     E_INVALID);
    ck_assert_int_eq(read_as(a, TXN, "{\"compare\":{}}", &m, &err), E_INVALID);
}
END_TEST

UNIT_MAIN("etcd gateway", {
    UNIT_TEST(forms);
    UNIT_TEST(nested);
    UNIT_TEST(refused);
})
