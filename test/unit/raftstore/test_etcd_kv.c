/* test_etcd_kv.c - KV of the etcd front, through a server and a client. */
#include "test/unit/raftstore/etcd_rig.h"

static struct etcd_rig er;

static void begin(void)
{
    memset(&er, 0, sizeof(er));
    er_begin(&er);
}

static const PB(RangeResponse) * range(PB(RangeRequest) * q)
{
    return ER_MUST(&er, "KV/Range", q, range_response, RangeResponse);
}

static const PB(RangeResponse) * get(const char *key)
{
    PB(RangeRequest) q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = BYTES(key);
    return range(&q);
}

static void expect(struct er_answer a, enum grpc_status status, const char *text)
{
    ck_assert_msg(a.status == status, "%s: %s", grpc_status_text(a.status), a.text);
    ck_assert_str_eq(a.text, text);
}

/* What is put is read back, with its numbers; header revisions rise. */
START_TEST(test_put_and_get)
{
    begin();
    int64_t first = er_put(&er, "a", "1");
    ck_assert_int_eq(er_put(&er, "a", "2"), first + 1);
    const PB(RangeResponse) *r = get("a");
    ck_assert_uint_eq(r->n_kvs, 1);
    ck_assert_int_eq(r->count, 1);
    ck_assert_int_eq(r->header->revision, first + 1);
    ck_assert(r->header->cluster_id != 0 && r->header->member_id != 0 && r->header->raft_term != 0);
    ck_assert_int_eq(r->kvs[0]->create_revision, first);
    ck_assert_int_eq(r->kvs[0]->mod_revision, first + 1);
    ck_assert_int_eq(r->kvs[0]->version, 2);
    ck_assert_mem_eq(r->kvs[0]->value.data, "2", 1);
    ck_assert_uint_eq(get("b")->n_kvs, 0);
    er_end(&er);
}
END_TEST

/* prev_kv shows what was there; ignore_value and ignore_lease keep it. */
START_TEST(test_put_options)
{
    begin();
    PB(LeaseGrantRequest) lease = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    lease.ttl = 100;
    int64_t id =
        ER_MUST(&er, "Lease/LeaseGrant", &lease, lease_grant_response, LeaseGrantResponse)->id;
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES("k");
    q.value = BYTES("v1");
    q.lease = id;
    ER_MUST(&er, "KV/Put", &q, put_response, PutResponse);
    q.value = BYTES("v2");
    q.lease = 0;
    q.ignore_lease = q.prev_kv = true;
    const PB(PutResponse) *r = ER_MUST(&er, "KV/Put", &q, put_response, PutResponse);
    ck_assert_mem_eq(r->prev_kv->value.data, "v1", 2);
    ck_assert_int_eq(r->prev_kv->lease, id);
    ck_assert_int_eq(get("k")->kvs[0]->lease, id);
    q = (PB(PutRequest))ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES("k");
    q.ignore_value = true;
    ER_MUST(&er, "KV/Put", &q, put_response, PutResponse);
    ck_assert_mem_eq(get("k")->kvs[0]->value.data, "v2", 2);
    ck_assert_int_eq(get("k")->kvs[0]->lease, 0);
    er_end(&er);
}
END_TEST

/* Each refusal has etcd's code and text. */
START_TEST(test_refusals)
{
    begin();
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    expect(ER_CALL(&er, "KV/Put", &q, put_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: key is not provided");
    q.key = BYTES("k");
    q.ignore_value = true;
    expect(ER_CALL(&er, "KV/Put", &q, put_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: key not found");
    q.value = BYTES("v");
    expect(ER_CALL(&er, "KV/Put", &q, put_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: value is provided");
    q.ignore_value = false;
    q.lease = 77;
    expect(ER_CALL(&er, "KV/Put", &q, put_response), GRPC_NOT_FOUND,
           "etcdserver: requested lease not found");
    q.ignore_lease = true;
    expect(ER_CALL(&er, "KV/Put", &q, put_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: lease is provided");
    PB(RangeRequest) g = ETCDSERVERPB__RANGE_REQUEST__INIT;
    expect(ER_CALL(&er, "KV/Range", &g, range_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: key is not provided");
    g.key = BYTES("k");
    g.revision = 1000;
    expect(ER_CALL(&er, "KV/Range", &g, range_response), GRPC_OUT_OF_RANGE,
           "etcdserver: mvcc: required revision is a future revision");
    g.revision = 0;
    g.sort_order = (PB(RangeRequest__SortOrder))7;
    expect(ER_CALL(&er, "KV/Range", &g, range_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: invalid sort option");
    expect(er_call_bytes(&er, "/etcdserverpb.KV/Range", STR("\x0a\x7f")), GRPC_INTERNAL,
           "grpc: error unmarshalling request: unexpected EOF");
    er_end(&er);
}
END_TEST

/* A request beyond the limit is refused with etcd's text, one far beyond with grpc-go's. */
START_TEST(test_too_large)
{
    begin();
    size_t len = (3u << 19) + 1;
    char *big = xmalloc((4u << 20) + 1);
    memset(big, 'x', (4u << 20) + 1);
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES("k");
    q.value = (ProtobufCBinaryData){len, (uint8_t *)big};
    expect(ER_CALL(&er, "KV/Put", &q, put_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: request is too large");
    q.value.len = (3u << 19) - 100;
    ck_assert_int_eq(ER_CALL(&er, "KV/Put", &q, put_response).status, GRPC_OK);
    q.value.len = 4u << 20;
    struct er_answer a = ER_CALL(&er, "KV/Put", &q, put_response);
    ck_assert_int_eq(a.status, GRPC_RESOURCE_EXHAUSTED);
    ck_assert_ptr_eq(strstr(a.text, "grpc: received message larger than max ("), a.text);
    free(big);
    er_end(&er);
}
END_TEST

/* --- ranges --- */

#define MANY 3000

static char values[MANY][12];

/* Keys key/0000 ... in an order that is not theirs; the value tells of the order. */
static void fill(void)
{
    PB(TxnRequest) t = ETCDSERVERPB__TXN_REQUEST__INIT;
    static PB(RequestOp) ops[100];
    static PB(PutRequest) puts[100];
    static char keys[100][16];
    PB(RequestOp) * list[100];
    for (int i = 0; i < MANY; i += 100) {
        for (int j = 0; j < 100; j++) {
            int n = (i + j) * 7 % MANY;
            snprintf(keys[j], sizeof(keys[j]), "key/%04d", n);
            snprintf(values[n], sizeof(values[n]), "v%05d", (n * 11) % MANY);
            puts[j] = (PB(PutRequest))ETCDSERVERPB__PUT_REQUEST__INIT;
            puts[j].key = BYTES(keys[j]);
            puts[j].value = BYTES(values[n]);
            ops[j] = (PB(RequestOp))ETCDSERVERPB__REQUEST_OP__INIT;
            ops[j].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
            ops[j].request_put = &puts[j];
            list[j] = &ops[j];
        }
        t.success = list;
        t.n_success = 100;
        ER_MUST(&er, "KV/Txn", &t, txn_response, TxnResponse);
    }
}

static PB(RangeRequest) all(void)
{
    PB(RangeRequest) q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = BYTES("key/");
    q.range_end = BYTES("key0");
    return q;
}

static int number_of(const Mvccpb__KeyValue *kv)
{
    char text[5] = {0};
    ck_assert_uint_eq(kv->key.len, 8);
    memcpy(text, kv->key.data + 4, 4);
    return atoi(text);
}

/* A list larger than a block comes whole and in order, streamed. */
START_TEST(test_long_list)
{
    begin();
    fill();
    PB(RangeRequest) q = all();
    const PB(RangeResponse) *r = range(&q);
    ck_assert_uint_eq(r->n_kvs, MANY);
    ck_assert_int_eq(r->count, MANY);
    ck_assert(!r->more);
    for (int i = 0; i < MANY; i++) {
        ck_assert_int_eq(number_of(r->kvs[i]), i);
        ck_assert_mem_eq(r->kvs[i]->value.data, values[i], 6);
    }
    q.serializable = q.keys_only = true;
    r = range(&q);
    ck_assert_uint_eq(r->n_kvs, MANY);
    ck_assert_uint_eq(r->kvs[5]->value.len, 0);
    q.count_only = true;
    r = range(&q);
    ck_assert_uint_eq(r->n_kvs, 0);
    ck_assert_int_eq(r->count, MANY);
    er_end(&er);
}
END_TEST

/* The limit cuts and says so; the count stays that of all. */
START_TEST(test_limits)
{
    static const int LIMITS[] = {1, 255, 256, 257, 2047, MANY - 1, MANY, MANY + 1};
    begin();
    fill();
    for (size_t i = 0; i < ARRAY_SIZE(LIMITS); i++) {
        PB(RangeRequest) q = all();
        q.limit = LIMITS[i];
        const PB(RangeResponse) *r = range(&q);
        ck_assert_uint_eq(r->n_kvs, (size_t)MIN_OF(LIMITS[i], MANY));
        ck_assert_int_eq(r->more, LIMITS[i] < MANY);
        ck_assert_int_eq(r->count, MANY);
    }
    er_end(&er);
}
END_TEST

static int order_key(const Mvccpb__KeyValue *kv, PB(RangeRequest__SortTarget) target)
{
    char digits[6] = {0}; /* The value's five: it does not end with NUL. */
    switch (target) {
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE:
        memcpy(digits, kv->value.data + 1, 5);
        return atoi(digits);
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__MOD:
        return (int)kv->mod_revision;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__CREATE:
        return (int)kv->create_revision;
    case ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VERSION:
        return (int)kv->version;
    default:
        return number_of(kv);
    }
}

/* Every target in both directions, short and long, with and without a limit. */
START_TEST(test_orders)
{
    begin();
    fill();
    for (int target = 0; target <= 4; target++) {
        for (int order = 1; order <= 2; order++) {
            for (int limit = 0; limit <= 2000; limit += 1000) {
                PB(RangeRequest) q = all();
                q.sort_target = (PB(RangeRequest__SortTarget))target;
                q.sort_order = (PB(RangeRequest__SortOrder))order;
                q.limit = limit;
                const PB(RangeResponse) *r = range(&q);
                ck_assert_uint_eq(r->n_kvs, (size_t)(limit == 0 ? MANY : limit));
                ck_assert_int_eq(r->more, limit != 0);
                for (size_t i = 1; i < r->n_kvs; i++) {
                    int a = order_key(r->kvs[i - 1], q.sort_target);
                    int b = order_key(r->kvs[i], q.sort_target);
                    ck_assert(order == 1 ? a <= b : a >= b);
                }
            }
        }
    }
    er_end(&er);
}
END_TEST

/* Bounds on revisions filter what is shown, not what is counted. */
START_TEST(test_filters)
{
    begin();
    fill();
    PB(RangeRequest) q = all();
    const PB(RangeResponse) *r = range(&q);
    int64_t newest = r->header->revision;
    q.min_mod_revision = newest - 9;
    r = range(&q);
    ck_assert_uint_eq(r->n_kvs, 1000);
    ck_assert_int_eq(r->count, MANY);
    ck_assert(!r->more);
    q.max_mod_revision = newest - 5;
    q.limit = 300;
    r = range(&q);
    ck_assert_uint_eq(r->n_kvs, 300);
    ck_assert(r->more);
    q.limit = 0;
    q.min_mod_revision = q.max_mod_revision = 0;
    q.max_create_revision = newest - 29;
    ck_assert_uint_eq(range(&q)->n_kvs, 100);
    er_end(&er);
}
END_TEST

/* An older revision is read as it was, until it is compacted. */
START_TEST(test_old_revisions)
{
    begin();
    fill();
    int64_t rev = er_put(&er, "key/0000", "new");
    PB(DeleteRangeRequest) d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    d.key = BYTES("key/1");
    d.range_end = BYTES("key/2");
    d.prev_kv = true;
    const PB(DeleteRangeResponse) *dr =
        ER_MUST(&er, "KV/DeleteRange", &d, delete_range_response, DeleteRangeResponse);
    ck_assert_int_eq(dr->deleted, 1000);
    ck_assert_uint_eq(dr->n_prev_kvs, 1000);
    PB(RangeRequest) q = all();
    ck_assert_int_eq(range(&q)->count, MANY - 1000);
    q.revision = rev;
    q.limit = 500;
    const PB(RangeResponse) *r = range(&q);
    ck_assert_int_eq(r->count, MANY);
    ck_assert_uint_eq(r->n_kvs, 500);
    ck_assert(r->more);
    q.count_only = true;
    ck_assert_int_eq(range(&q)->count, MANY);
    PB(CompactionRequest) c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    c.revision = rev + 1;
    c.physical = true;
    ER_MUST(&er, "KV/Compact", &c, compaction_response, CompactionResponse);
    expect(ER_CALL(&er, "KV/Range", &q, range_response), GRPC_OUT_OF_RANGE,
           "etcdserver: mvcc: required revision has been compacted");
    expect(ER_CALL(&er, "KV/Compact", &c, compaction_response), GRPC_OUT_OF_RANGE,
           "etcdserver: mvcc: required revision has been compacted");
    c.revision = 1000000;
    expect(ER_CALL(&er, "KV/Compact", &c, compaction_response), GRPC_OUT_OF_RANGE,
           "etcdserver: mvcc: required revision is a future revision");
    er_end(&er);
}
END_TEST

/* A client that goes away in the midst of a long list leaves nothing behind: er_end()
 * waits for every call, and the store for every view. */
START_TEST(test_list_cancelled)
{
    begin();
    fill();
    PB(RangeRequest) q = all();
    q.sort_target = ETCDSERVERPB__RANGE_REQUEST__SORT_TARGET__VALUE;
    for (int i = 0; i < 8; i++) {
        struct net_bytes *b = proto_pack(&q.base);
        struct er_answer *a = er_start(&er, "/etcdserverpb.KV/Range", net_bytes_str(b), false);
        net_bytes_unref(b);
        rig_sleep(&er.rig, (uint64_t)i);
        er_close(&er, a);
    }
    er_end(&er);
}
END_TEST

/* While writes go on, large lists rest between pieces: they come whole all the same, each
 * as of its own revision, and one whose client goes away in a rest leaves nothing behind. */
START_TEST(test_lists_beside_writes)
{
    char key[16];
    begin();
    AUTO_FREE char *value = xzalloc(32001);
    memset(value, 'v', 32000);
    for (int i = 0; i < 100; i++) {
        snprintf(key, sizeof(key), "key/%04d", i);
        er_put(&er, key, value);
    }
    PB(RangeRequest) q = all();
    struct net_bytes *b = proto_pack(&q.base);
    struct er_answer *lists[6];
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        lists[i] = er_start(&er, "/etcdserverpb.KV/Range", net_bytes_str(b), false);
    net_bytes_unref(b);
    for (int i = 0; i < 40; i++)
        er_put(&er, "other", "1");
    er_close(&er, lists[0]);
    for (size_t i = 1; i < ARRAY_SIZE(lists); i++) {
        while (!lists[i]->done)
            er_put(&er, "other", "2");
        ck_assert_int_eq(lists[i]->status, GRPC_OK);
        ck_assert(er_take(lists[i]));
        ProtobufCMessage *m = NULL;
        struct error err = {0};
        ck_assert_int_eq(proto_unpack(er.arena, &etcdserverpb__range_response__descriptor,
                                      buf_str(&lists[i]->bytes), &m, &err),
                         0);
        const PB(RangeResponse) *r = (const PB(RangeResponse) *)m;
        ck_assert_uint_eq(r->n_kvs, 100);
        for (size_t k = 0; k < r->n_kvs; k++)
            ck_assert_uint_eq(r->kvs[k]->value.len, 32000);
        er_free(lists[i]);
    }
    er_end(&er);
}
END_TEST

/* --- transactions --- */

static PB(Compare) version_is(const char *key, int64_t version)
{
    PB(Compare) c = ETCDSERVERPB__COMPARE__INIT;
    c.key = BYTES(key);
    c.target = ETCDSERVERPB__COMPARE__COMPARE_TARGET__VERSION;
    c.target_union_case = ETCDSERVERPB__COMPARE__TARGET_UNION_VERSION;
    c.version = version;
    return c;
}

/* Compares choose the branch; each operation sees the ones before; nested ones run. */
START_TEST(test_txn)
{
    begin();
    int64_t rev = er_put(&er, "a", "1");
    PB(Compare) cmp = version_is("a", 1);
    PB(Compare) * cmps[] = {&cmp};
    PB(PutRequest) put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = BYTES("b");
    put.value = BYTES("2");
    PB(RangeRequest) get_b = ETCDSERVERPB__RANGE_REQUEST__INIT;
    get_b.key = BYTES("b");
    PB(RequestOp)
    op[3] = {ETCDSERVERPB__REQUEST_OP__INIT, ETCDSERVERPB__REQUEST_OP__INIT,
             ETCDSERVERPB__REQUEST_OP__INIT};
    PB(TxnRequest) nested = ETCDSERVERPB__TXN_REQUEST__INIT;
    PB(RequestOp) inner = ETCDSERVERPB__REQUEST_OP__INIT;
    PB(RequestOp) * inners[] = {&inner};
    inner.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    inner.request_range = &get_b;
    nested.success = inners;
    nested.n_success = 1;
    op[0].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_RANGE;
    op[0].request_range = &get_b;
    op[1].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op[1].request_put = &put;
    op[2].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_TXN;
    op[2].request_txn = &nested;
    PB(RequestOp) * ops[] = {&op[0], &op[1], &op[2]};
    PB(TxnRequest) t = ETCDSERVERPB__TXN_REQUEST__INIT;
    t.compare = cmps;
    t.n_compare = 1;
    t.success = ops;
    t.n_success = 3;
    const PB(TxnResponse) *r = ER_MUST(&er, "KV/Txn", &t, txn_response, TxnResponse);
    ck_assert(r->succeeded);
    ck_assert_uint_eq(r->n_responses, 3);
    ck_assert_int_eq(r->header->revision, rev + 1);
    ck_assert_int_eq(r->responses[0]->response_range->count, 0);
    ck_assert_int_eq(r->responses[0]->response_range->header->revision, rev);
    ck_assert_int_eq(r->responses[1]->response_put->header->revision, rev + 1);
    const PB(TxnResponse) *n = r->responses[2]->response_txn;
    ck_assert(n->succeeded);
    ck_assert_int_eq(n->responses[0]->response_range->count, 1);
    /* Without writes it runs on a view; the other branch has nothing to do. */
    cmp.version = 9;
    t.success = t.failure = inners;
    t.n_success = t.n_failure = 1;
    r = ER_MUST(&er, "KV/Txn", &t, txn_response, TxnResponse);
    ck_assert(!r->succeeded);
    ck_assert_int_eq(r->responses[0]->response_range->count, 1);
    ck_assert_int_eq(r->header->revision, rev + 1);
    er_end(&er);
}
END_TEST

/* Too many operations, duplicate keys and empty operations are refused. */
START_TEST(test_txn_refusals)
{
    begin();
    PB(PutRequest) put = ETCDSERVERPB__PUT_REQUEST__INIT;
    put.key = BYTES("k");
    put.value = BYTES("v");
    PB(RequestOp) op = ETCDSERVERPB__REQUEST_OP__INIT;
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
    op.request_put = &put;
    PB(RequestOp) * ops[2000];
    for (size_t i = 0; i < ARRAY_SIZE(ops); i++)
        ops[i] = &op;
    PB(TxnRequest) t = ETCDSERVERPB__TXN_REQUEST__INIT;
    t.success = ops;
    t.n_success = 2;
    expect(ER_CALL(&er, "KV/Txn", &t, txn_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: duplicate key given in txn request");
    t.n_success = 129;
    expect(ER_CALL(&er, "KV/Txn", &t, txn_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: too many operations in txn request");
    t.n_success = 2000;
    expect(ER_CALL(&er, "KV/Txn", &t, txn_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: too many operations in txn request");
    op.request_case = ETCDSERVERPB__REQUEST_OP__REQUEST__NOT_SET;
    t.n_success = 1;
    expect(ER_CALL(&er, "KV/Txn", &t, txn_response), GRPC_INVALID_ARGUMENT,
           "etcdserver: key not found");
    er_end(&er);
}
END_TEST

/* --- the server --- */

/* Calls at a server that stops are answered or fail; none is left. */
START_TEST(test_stop_under_load)
{
    begin();
    struct er_answer *list[64];
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES("k");
    q.value = BYTES("v");
    struct net_bytes *b = proto_pack(&q.base);
    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        list[i] = er_start(&er, "/etcdserverpb.KV/Put", net_bytes_str(b), false);
    net_bytes_unref(b);
    rig_sleep(&er.rig, 1);
    etcd_server_stop(er.server);
    er.server = NULL;
    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        er_close(&er, list[i]);
    er_end(&er);
}
END_TEST

/* Health, version and metrics over plain HTTP, on the same port. */
START_TEST(test_plain_http)
{
    begin();
    struct http_sync *s;
    struct error err = {0};
    char *endpoint = xasprintf("127.0.0.1:%d", etcd_server_port(er.server));
    const struct http_client_config config = {.endpoints = (const char *const *)&endpoint,
                                              .endpoint_count = 1,
                                              .protocol = HTTP_CLIENT_H1};
    ck_assert_int_eq(http_sync_new(&config, &s, &err), 0);
    static const struct {
        const char *path;
        int status;
        const char *has;
    } CASES[] = {
        {"/health", 200, "{\"health\":\"true\",\"reason\":\"\"}"},
        {"/version", 200, "\"etcdserver\":\"" ETCD_VERSION "\""},
        {"/metrics", 200, "etcd_server_has_leader 1"},
        {"/nothing", 404, "404 page not found"},
    };
    for (size_t i = 0; i < ARRAY_SIZE(CASES); i++) {
        struct http_sync_response r;
        const struct http_call_config call = {.target = CASES[i].path};
        ck_assert_int_eq(http_sync_do(s, &call, 1 << 20, &r, &err), 0);
        ck_assert_int_eq(r.status, CASES[i].status);
        ck_assert_msg(str_find_str(r.body, str_of(CASES[i].has)) >= 0, "%s: " STR_FMT,
                      CASES[i].path, STR_ARG(r.body));
        http_sync_response_done(&r);
    }
    http_sync_free(s);
    free(endpoint);
    er_end(&er);
}
END_TEST

UNIT_MAIN("etcd_kv", {
    UNIT_TEST(test_put_and_get);
    UNIT_TEST(test_put_options);
    UNIT_TEST(test_refusals);
    UNIT_TEST(test_too_large);
    UNIT_TEST(test_long_list);
    UNIT_TEST(test_limits);
    UNIT_TEST(test_orders);
    UNIT_TEST(test_filters);
    UNIT_TEST(test_old_revisions);
    UNIT_TEST(test_list_cancelled);
    UNIT_TEST(test_lists_beside_writes);
    UNIT_TEST(test_txn);
    UNIT_TEST(test_txn_refusals);
    UNIT_TEST(test_stop_under_load);
    UNIT_TEST(test_plain_http);
})
