/* fuzz_etcd_gateway.c - arbitrary JSON as requests: what is read packs, unpacks and is written
 * the same again. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/proto.h"
#include "raftstore/etcd/gateway_json.h"
#include "raftstore/etcd/json.h"

#include "etcd/rpc.pb-c.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);

/* The first byte chooses the message's type. */
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static const ProtobufCMessageDescriptor *const types[] = {
        &etcdserverpb__txn_request__descriptor, &etcdserverpb__watch_request__descriptor,
        &etcdserverpb__range_request__descriptor,
        &etcdserverpb__auth_role_grant_permission_request__descriptor,
        &etcdserverpb__member_add_request__descriptor};
    if (size == 0)
        return 0;
    const ProtobufCMessageDescriptor *d = types[data[0] % ARRAY_SIZE(types)];
    AUTO_ARENA *a = arena_new(0);
    struct json_value v;
    ProtobufCMessage *m, *again;
    if (json_read(a, str_n((const char *)data + 1, size - 1), &v, NULL) != 0 ||
        gateway_read(a, d, &v, &m, NULL) != 0)
        return 0;
    AUTO_BUF one = BUF_INIT, two = BUF_INIT;
    gateway_write(m, &one);
    int rc = proto_unpack(a, d, proto_pack_arena(a, m), &again, NULL);
    if (rc != 0) /* Nested deeper than protobuf-c goes. */
        return 0;
    gateway_write(again, &two);
    ASSERT(str_eq(buf_str(&one), buf_str(&two)));
    return 0;
}

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    static const char *const seeds[] = {
        "0{\"compare\":[{\"target\":\"CREATE\",\"key\":\"YQ==\",\"createRevision\":\"0\"}],"
        "\"success\":[{\"requestPut\":{\"key\":\"YQ==\"}},{\"request_range\":{}},"
        "{\"requestTxn\":{\"failure\":[{\"requestDeleteRange\":{\"prev_kv\":true}}]}}]}",
        "1{\"create_request\":{\"filters\":[\"NOPUT\",1],\"start_revision\":-5}}",
        "2{\"rangeEnd\":\"Zg\",\"limit\":7,\"sortOrder\":2,\"maxModRevision\":1e3}",
        "3{\"name\":\"r\",\"perm\":{\"permType\":\"WRITE\",\"key\":\"AA==\"}}",
        "4{\"peerURLs\":[\"http://a:1\",\"\"],\"isLearner\":true}",
    };
    if (i >= ARRAY_SIZE(seeds))
        return 0;
    size_t n = strlen(seeds[i]);
    memcpy(p, seeds[i], MIN_OF(n, cap));
    return n;
}
