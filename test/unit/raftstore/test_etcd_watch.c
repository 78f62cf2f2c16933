/* test_etcd_watch.c - Watch and Lease of the etcd front, through a server and a client. */
#include "test/unit/raftstore/etcd_rig.h"

static struct etcd_rig er;
static struct er_answer *stream;

static void begin(void)
{
    memset(&er, 0, sizeof(er));
    er.config.watch_progress_ms = 200;
    er.config.leader_check_ms = 50;
    er_begin(&er);
    stream = er_open(&er, "/etcdserverpb.Watch/Watch");
}

static void end(void)
{
    er_close(&er, stream);
    er_end(&er);
}

static PB(WatchCreateRequest) watch_of(const char *key, const char *range_end, int64_t rev)
{
    PB(WatchCreateRequest) c = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    c.key = BYTES(key);
    c.range_end = BYTES(range_end);
    c.start_revision = rev;
    return c;
}

static void create_on(struct er_answer *s, PB(WatchCreateRequest) * c)
{
    PB(WatchRequest) q = ETCDSERVERPB__WATCH_REQUEST__INIT;
    q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST;
    q.create_request = c;
    er_send(s, &q.base);
}

static const PB(WatchResponse) * next_on(struct er_answer *s)
{
    const PB(WatchResponse) *r = (const PB(WatchResponse) *)er_next_within(
        &er, s, &etcdserverpb__watch_response__descriptor, 10000);
    ck_assert_msg(r != NULL, "nothing came: %s", s->text);
    return r;
}

static const PB(WatchResponse) * next(void)
{
    return next_on(stream);
}

static bool nothing_comes(void)
{
    return er_next_within(&er, stream, &etcdserverpb__watch_response__descriptor, 60) == NULL;
}

/* Creates and takes the answer. */
static int64_t created(PB(WatchCreateRequest) * c)
{
    create_on(stream, c);
    const PB(WatchResponse) *r = next();
    ck_assert(r->created && !r->canceled);
    ck_assert_uint_eq(r->n_events, 0);
    return r->watch_id;
}

static void progress(void)
{
    PB(WatchRequest) q = ETCDSERVERPB__WATCH_REQUEST__INIT;
    PB(WatchProgressRequest) p = ETCDSERVERPB__WATCH_PROGRESS_REQUEST__INIT;
    q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_PROGRESS_REQUEST;
    q.progress_request = &p;
    er_send(stream, &q.base);
}

static void cancel(int64_t id)
{
    PB(WatchRequest) q = ETCDSERVERPB__WATCH_REQUEST__INIT;
    PB(WatchCancelRequest) c = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
    c.watch_id = id;
    q.request_union_case = ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    q.cancel_request = &c;
    er_send(stream, &q.base);
}

static void del(const char *key)
{
    PB(DeleteRangeRequest) d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    d.key = BYTES(key);
    ER_MUST(&er, "KV/DeleteRange", &d, delete_range_response, DeleteRangeResponse);
}

static bool event_is(const Mvccpb__Event *e, int type, const char *key, const char *value)
{
    return (int)e->type == type && e->kv->key.len == strlen(key) &&
           memcmp(e->kv->key.data, key, strlen(key)) == 0 && e->kv->value.len == strlen(value) &&
           (value[0] == '\0' || memcmp(e->kv->value.data, value, strlen(value)) == 0);
}

/* Events of a key and of a range, each at its watchers only; deletes show the key. */
START_TEST(test_key_and_range)
{
    begin();
    PB(WatchCreateRequest) one = watch_of("b", "", 0), some = watch_of("a", "c", 0);
    some.prev_kv = true;
    int64_t id_one = created(&one), id_some = created(&some);
    ck_assert_int_eq(id_one, 0);
    ck_assert_int_eq(id_some, 1);
    int64_t rev = er_put(&er, "a", "1");
    er_put(&er, "c", "no");
    const PB(WatchResponse) *r = next();
    ck_assert_int_eq(r->watch_id, id_some);
    ck_assert_uint_eq(r->n_events, 1);
    ck_assert(event_is(r->events[0], 0, "a", "1"));
    ck_assert_int_eq(r->events[0]->kv->mod_revision, rev);
    ck_assert_ptr_null(r->events[0]->prev_kv);
    ck_assert_int_ge(r->header->revision, rev);
    del("a");
    r = next();
    ck_assert(event_is(r->events[0], 1, "a", ""));
    ck_assert_int_eq(r->events[0]->kv->mod_revision, rev + 2);
    ck_assert_int_eq(r->events[0]->kv->create_revision, 0);
    ck_assert_mem_eq(r->events[0]->prev_kv->value.data, "1", 1);
    er_put(&er, "b", "2");
    bool seen[2] = {false};
    for (int i = 0; i < 2; i++) {
        r = next();
        ck_assert(event_is(r->events[0], 0, "b", "2"));
        seen[r->watch_id] = true;
    }
    ck_assert(seen[0] && seen[1]);
    end();
}
END_TEST

/* From a revision in the past, everything since; from one to come, nothing before. */
START_TEST(test_past_and_future)
{
    begin();
    int64_t rev = er_put(&er, "k", "0");
    for (int i = 1; i <= 5; i++)
        er_put(&er, "k", "x");
    PB(WatchCreateRequest) past = watch_of("k", "", rev + 2), future = watch_of("k", "", rev + 8);
    int64_t id = created(&past);
    int64_t want = rev + 2;
    while (want <= rev + 5) {
        const PB(WatchResponse) *r = next();
        ck_assert_int_eq(r->watch_id, id);
        for (size_t i = 0; i < r->n_events; i++)
            ck_assert_int_eq(r->events[i]->kv->mod_revision, want++);
    }
    cancel(id);
    ck_assert(next()->canceled);
    id = created(&future);
    er_put(&er, "k", "early");
    er_put(&er, "k", "early");
    ck_assert(nothing_comes());
    er_put(&er, "k", "now");
    const PB(WatchResponse) *r = next();
    ck_assert_uint_eq(r->n_events, 1);
    ck_assert(event_is(r->events[0], 0, "k", "now"));
    end();
}
END_TEST

/* Filters leave out puts or deletes. */
START_TEST(test_filters)
{
    begin();
    PB(WatchCreateRequest__FilterType)
    no_put[] = {ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT};
    PB(WatchCreateRequest__FilterType)
    no_delete[] = {ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE};
    PB(WatchCreateRequest) a = watch_of("k", "", 0), b = a;
    a.n_filters = b.n_filters = 1;
    a.filters = no_put;
    b.filters = no_delete;
    int64_t id_a = created(&a), id_b = created(&b);
    er_put(&er, "k", "1");
    const PB(WatchResponse) *r = next();
    ck_assert_int_eq(r->watch_id, id_b);
    del("k");
    r = next();
    ck_assert_int_eq(r->watch_id, id_a);
    ck_assert_int_eq((int)r->events[0]->type, 1);
    ck_assert(nothing_comes());
    end();
}
END_TEST

/* Identifiers: chosen ones are kept, duplicates and empty ranges refused. */
START_TEST(test_identifiers)
{
    begin();
    PB(WatchCreateRequest) c = watch_of("k", "", 0);
    c.watch_id = 7;
    ck_assert_int_eq(created(&c), 7);
    create_on(stream, &c);
    const PB(WatchResponse) *r = next();
    ck_assert(r->created && r->canceled);
    ck_assert_int_eq(r->watch_id, -1);
    ck_assert_str_eq(r->cancel_reason, "mvcc: duplicate watch ID provided on the WatchStream");
    c = watch_of("k", "a", 0);
    create_on(stream, &c);
    r = next();
    ck_assert(r->created && r->canceled);
    ck_assert_str_eq(r->cancel_reason, "mvcc: watcher range is empty");
    cancel(7);
    r = next();
    ck_assert(r->canceled && !r->created);
    ck_assert_int_eq(r->watch_id, 7);
    cancel(7);
    ck_assert(nothing_comes());
    er_put(&er, "k", "1");
    ck_assert(nothing_comes());
    end();
}
END_TEST

/* A start that is compacted ends the watcher, which learns the revision. */
START_TEST(test_compacted)
{
    begin();
    int64_t rev = er_put(&er, "k", "1");
    for (int i = 0; i < 3; i++)
        er_put(&er, "k", "2");
    PB(CompactionRequest) c = ETCDSERVERPB__COMPACTION_REQUEST__INIT;
    c.revision = rev + 2;
    ER_MUST(&er, "KV/Compact", &c, compaction_response, CompactionResponse);
    PB(WatchCreateRequest) w = watch_of("k", "", rev);
    int64_t id = created(&w);
    const PB(WatchResponse) *r = next();
    ck_assert(r->canceled);
    ck_assert_int_eq(r->watch_id, id);
    ck_assert_int_eq(r->compact_revision, rev + 2);
    w.start_revision = rev + 2;
    created(&w);
    r = next();
    ck_assert(!r->canceled);
    ck_assert_int_eq(r->events[0]->kv->mod_revision, rev + 2);
    end();
}
END_TEST

/* A progress request tells everybody the revision; idle watchers are told by themselves. */
START_TEST(test_progress)
{
    begin();
    PB(WatchCreateRequest) w = watch_of("k", "", 0);
    created(&w);
    int64_t rev = er_put(&er, "other", "1");
    progress();
    const PB(WatchResponse) *r = next();
    ck_assert_int_eq(r->watch_id, -1);
    ck_assert_int_eq(r->header->revision, rev);
    ck_assert_uint_eq(r->n_events, 0);
    w.progress_notify = true;
    int64_t id = created(&w);
    r = next();
    ck_assert_int_eq(r->watch_id, id);
    ck_assert_uint_eq(r->n_events, 0);
    ck_assert_int_eq(r->header->revision, rev);
    end();
}
END_TEST

/* Changes of one transaction come in one message, in their order. */
START_TEST(test_atomic)
{
    begin();
    PB(WatchCreateRequest) w = watch_of("t/", "t0", 0);
    created(&w);
    PB(TxnRequest) t = ETCDSERVERPB__TXN_REQUEST__INIT;
    PB(RequestOp) ops[50];
    PB(RequestOp) * list[50];
    PB(PutRequest) puts[50];
    char keys[50][8];
    for (int i = 0; i < 50; i++) {
        snprintf(keys[i], sizeof(keys[i]), "t/%02d", 49 - i);
        puts[i] = (PB(PutRequest))ETCDSERVERPB__PUT_REQUEST__INIT;
        puts[i].key = BYTES(keys[i]);
        ops[i] = (PB(RequestOp))ETCDSERVERPB__REQUEST_OP__INIT;
        ops[i].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
        ops[i].request_put = &puts[i];
        list[i] = &ops[i];
    }
    t.success = list;
    t.n_success = 50;
    ER_MUST(&er, "KV/Txn", &t, txn_response, TxnResponse);
    const PB(WatchResponse) *r = next();
    ck_assert_uint_eq(r->n_events, 50);
    for (int i = 0; i < 50; i++)
        ck_assert(event_is(r->events[i], 0, keys[i], ""));
    end();
}
END_TEST

/* What is larger than a request may be is split for those who asked for it. */
START_TEST(test_fragments)
{
    begin();
    size_t len = 800000;
    char *big = xmalloc(len);
    memset(big, 'x', len);
    static const char *const KEYS[] = {"f/1", "f/2", "f/3", "f/4"};
    for (size_t i = 0; i < 4; i++) {
        PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
        q.key = BYTES(KEYS[i]);
        q.value = (ProtobufCBinaryData){len, (uint8_t *)big};
        ER_MUST(&er, "KV/Put", &q, put_response, PutResponse);
    }
    PB(WatchCreateRequest) w = watch_of("f/", "f0", 0);
    w.prev_kv = w.fragment = true;
    created(&w);
    PB(DeleteRangeRequest) d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
    d.key = BYTES("f/");
    d.range_end = BYTES("f0");
    ER_MUST(&er, "KV/DeleteRange", &d, delete_range_response, DeleteRangeResponse);
    const PB(WatchResponse) *r = next();
    ck_assert(r->fragment);
    ck_assert_uint_eq(r->n_events, 2);
    r = next();
    ck_assert(!r->fragment);
    ck_assert_uint_eq(r->n_events, 2);
    ck_assert(event_is(r->events[1], 1, "f/4", ""));
    free(big);
    end();
}
END_TEST

/* A stream that is not read is not waited for: others go on, and it misses nothing. */
START_TEST(test_slow_reader)
{
    begin();
    struct er_answer *slow = er_open(&er, "/etcdserverpb.Watch/Watch");
    PB(WatchCreateRequest) w = watch_of("s", "t", 0);
    create_on(slow, &w);
    ck_assert(next_on(slow)->created);
    created(&w);
    size_t len = 100000, taken = 0;
    char *big = xmalloc(len);
    memset(big, 'x', len);
    grpc_call_pause(slow->call);
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES("s");
    q.value = (ProtobufCBinaryData){len, (uint8_t *)big};
    int64_t first = 0, last = 0;
    for (int i = 0; i < 60; i++) {
        last = ER_MUST(&er, "KV/Put", &q, put_response, PutResponse)->header->revision;
        first = first == 0 ? last : first;
    }
    while (taken < 60)
        taken += next()->n_events;
    grpc_call_resume(slow->call);
    for (int64_t want = first; want <= last;) {
        const PB(WatchResponse) *r = next_on(slow);
        for (size_t i = 0; i < r->n_events; i++)
            ck_assert_int_eq(r->events[i]->kv->mod_revision, want++);
    }
    er_put(&er, "s", "after");
    ck_assert(event_is(next_on(slow)->events[0], 0, "s", "after"));
    free(big);
    er_close(&er, slow);
    end();
}
END_TEST

/* Watches of one stream that come from the past together, so large that the stream is
 * full before all were told: who was left out is told later, although the feed reached
 * the head in the same round. */
START_TEST(test_full_on_the_way_to_the_head)
{
    begin();
    enum { WATCHES = 8, BYTES_EACH = 127 << 10 };
    char *big = xmalloc(BYTES_EACH), end_key[2] = "q";
    memset(big, 'x', BYTES_EACH);
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES("p");
    q.value = (ProtobufCBinaryData){BYTES_EACH, (uint8_t *)big};
    int64_t first = ER_MUST(&er, "KV/Put", &q, put_response, PutResponse)->header->revision;
    ER_MUST(&er, "KV/Put", &q, put_response, PutResponse);
    for (int i = 0; i < WATCHES; i++) {
        end_key[0] = (char)('q' + i); /* Each a group of its own. */
        PB(WatchCreateRequest) w = watch_of("p", end_key, first);
        w.watch_id = i + 1;
        create_on(stream, &w);
    }
    int64_t want[WATCHES + 1];
    for (int i = 1; i <= WATCHES; i++)
        want[i] = first;
    for (int left = WATCHES * 2; left > 0;) {
        const PB(WatchResponse) *r = next();
        for (size_t i = 0; i < r->n_events; i++, left--)
            ck_assert_int_eq(r->events[i]->kv->mod_revision, want[r->watch_id]++);
    }
    free(big);
    end();
}
END_TEST

/* From a past that the event log does not hold: windows of history, read slowly by one
 * stream while another joins on the way and writes go on. Each revision comes once. */
START_TEST(test_old_history)
{
    memset(&er, 0, sizeof(er));
    rig_init(&er.rig, 0);
    er.rig.config.history_bytes = 1; /* As little as it takes. */
    rig_start(&er.rig, 0);
    ck_assert_int_eq(rig_leader(&er.rig), 0);
    er.arena = arena_new(0);
    er_serve(&er);
    stream = er_open(&er, "/etcdserverpb.Watch/Watch");
    struct er_answer *slow = er_open(&er, "/etcdserverpb.Watch/Watch");
    enum { TXNS = 600, OPS = 100 };
    static PB(RequestOp) ops[OPS];
    static PB(PutRequest) puts[OPS];
    static char keys[OPS][16];
    PB(RequestOp) * list[OPS];
    PB(TxnRequest) t = ETCDSERVERPB__TXN_REQUEST__INIT;
    int64_t first = 0, last = 0;
    for (int i = 0; i < TXNS; i++) {
        for (int j = 0; j < OPS; j++) {
            snprintf(keys[j], sizeof(keys[j]), "h/%05d", (i * 31 + j) % 5000);
            puts[j] = (PB(PutRequest))ETCDSERVERPB__PUT_REQUEST__INIT;
            puts[j].key = BYTES(keys[j]);
            puts[j].value = BYTES("some value");
            ops[j] = (PB(RequestOp))ETCDSERVERPB__REQUEST_OP__INIT;
            ops[j].request_case = ETCDSERVERPB__REQUEST_OP__REQUEST_REQUEST_PUT;
            ops[j].request_put = &puts[j];
            list[j] = &ops[j];
        }
        t.success = list;
        t.n_success = OPS;
        last = ER_MUST(&er, "KV/Txn", &t, txn_response, TxnResponse)->header->revision;
        first = first == 0 ? last : first;
    }
    PB(WatchCreateRequest) w = watch_of("h/", "h0", first);
    w.prev_kv = true;
    create_on(slow, &w);
    ck_assert(next_on(slow)->created);
    grpc_call_pause(slow->call);
    w.start_revision = first + 50;
    created(&w);
    int64_t want[2] = {first + 50, first};
    struct er_answer *streams[2] = {stream, slow};
    for (int i = 0; i < 10; i++)
        last = er_put(&er, "h/00001", "late");
    for (int k = 0; k < 2; k++) {
        size_t of_rev = 0;
        if (k == 1)
            grpc_call_resume(slow->call);
        while (want[k] <= last) {
            const PB(WatchResponse) *r = next_on(streams[k]);
            ck_assert(!r->canceled);
            for (size_t i = 0; i < r->n_events; i++) {
                ck_assert_int_eq(r->events[i]->kv->mod_revision, want[k]);
                bool whole = ++of_rev == (want[k] <= last - 10 ? OPS : 1);
                want[k] += whole;
                of_rev = whole ? 0 : of_rev;
            }
        }
    }
    er_close(&er, slow);
    end();
}
END_TEST

/* Watchers that join at every revision while puts go on see each exactly once. */
START_TEST(test_joins)
{
    begin();
    enum { WATCHERS = 40 };
    int64_t from[WATCHERS], first = er_put(&er, "j/x", "0"), last = first;
    for (int i = 0; i < 30; i++)
        last = er_put(&er, "j/x", "y");
    for (int i = 0; i < WATCHERS; i++) {
        PB(WatchCreateRequest) w = watch_of("j/", "j0", first + i % 35);
        w.watch_id = i + 1;
        from[i] = first + i % 35;
        create_on(stream, &w);
        if (i % 3 == 0)
            last = er_put(&er, i % 2 == 0 ? "j/x" : "j/y", "z");
    }
    last = er_put(&er, "j/x", "end");
    for (int left = WATCHERS; left > 0;) {
        const PB(WatchResponse) *r = next();
        for (size_t i = 0; i < r->n_events; i++) {
            int64_t *want = &from[r->watch_id - 1];
            ck_assert_int_eq(r->events[i]->kv->mod_revision, *want);
            left -= (*want)++ == last;
        }
    }
    end();
}
END_TEST

/* With hasleader a stream ends when there is no leader. */
START_TEST(test_no_leader)
{
    memset(&er, 0, sizeof(er));
    er.config.leader_check_ms = 30;
    rig_init(&er.rig, 3);
    for (uint32_t i = 0; i < 3; i++)
        rig_start(&er.rig, i);
    ck_assert_int_ge(rig_leader(&er.rig), 0);
    ck_assert(rig_caught_up(&er.rig, 5000));
    er.arena = arena_new(0);
    er_serve(&er);
    er.has_leader = "true";
    stream = er_open(&er, "/etcdserverpb.Watch/Watch");
    PB(WatchCreateRequest) w = watch_of("k", "", 0);
    created(&w);
    rig_stop(&er.rig, 1);
    rig_stop(&er.rig, 2);
    ck_assert(rig_wait(&er.rig, &stream->done, 10000));
    ck_assert_int_eq(stream->status, GRPC_UNAVAILABLE);
    ck_assert_str_eq(stream->text, "etcdserver: no leader");
    PB(RangeRequest) g = ETCDSERVERPB__RANGE_REQUEST__INIT;
    g.key = BYTES("k");
    struct er_answer a = ER_CALL(&er, "KV/Range", &g, range_response);
    ck_assert_int_eq(a.status, GRPC_UNAVAILABLE);
    ck_assert_str_eq(a.text, "etcdserver: no leader");
    er.has_leader = NULL;
    g.serializable = true;
    ck_assert_int_eq(ER_CALL(&er, "KV/Range", &g, range_response).status, GRPC_OK);
    end();
}
END_TEST

/* --- leases --- */

/* Granted, shown with its keys, kept alive, listed, revoked with its keys. */
START_TEST(test_lease)
{
    begin();
    PB(LeaseGrantRequest) g = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    g.ttl = 1;
    g.id = 42;
    const PB(LeaseGrantResponse) *gr =
        ER_MUST(&er, "Lease/LeaseGrant", &g, lease_grant_response, LeaseGrantResponse);
    ck_assert_int_eq(gr->id, 42);
    ck_assert_int_eq(gr->ttl, 2);
    struct er_answer a = ER_CALL(&er, "Lease/LeaseGrant", &g, lease_grant_response);
    ck_assert_int_eq(a.status, GRPC_FAILED_PRECONDITION);
    ck_assert_str_eq(a.text, "etcdserver: lease already exists");
    g.ttl = 9000000001;
    a = ER_CALL(&er, "Lease/LeaseGrant", &g, lease_grant_response);
    ck_assert_int_eq(a.status, GRPC_OUT_OF_RANGE);
    ck_assert_str_eq(a.text, "etcdserver: too large lease TTL");
    PB(PutRequest) p = ETCDSERVERPB__PUT_REQUEST__INIT;
    p.key = BYTES("leased");
    p.lease = 42;
    ER_MUST(&er, "KV/Put", &p, put_response, PutResponse);
    PB(LeaseTimeToLiveRequest) t = ETCDSERVERPB__LEASE_TIME_TO_LIVE_REQUEST__INIT;
    t.id = 42;
    t.keys = true;
    const PB(LeaseTimeToLiveResponse) *tr = ER_MUST(
        &er, "Lease/LeaseTimeToLive", &t, lease_time_to_live_response, LeaseTimeToLiveResponse);
    ck_assert_int_eq(tr->grantedttl, 2);
    ck_assert_uint_eq(tr->n_keys, 1);
    t.id = 43;
    tr = ER_MUST(&er, "Lease/LeaseTimeToLive", &t, lease_time_to_live_response,
                 LeaseTimeToLiveResponse);
    ck_assert_int_eq(tr->ttl, -1);
    struct er_answer *keep = er_open(&er, "/etcdserverpb.Lease/LeaseKeepAlive");
    PB(LeaseKeepAliveRequest) k = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    for (k.id = 42; k.id <= 43; k.id++) {
        er_send(keep, &k.base);
        const PB(LeaseKeepAliveResponse) *kr = (const PB(LeaseKeepAliveResponse) *)er_next_within(
            &er, keep, &etcdserverpb__lease_keep_alive_response__descriptor, 5000);
        ck_assert_int_eq(kr->id, k.id);
        ck_assert_int_eq(kr->ttl, k.id == 42 ? 2 : 0);
    }
    grpc_call_send_end(keep->call);
    ck_assert(rig_wait(&er.rig, &keep->done, 5000));
    ck_assert_int_eq(keep->status, GRPC_OK);
    er_close(&er, keep);
    PB(LeaseLeasesRequest) l = ETCDSERVERPB__LEASE_LEASES_REQUEST__INIT;
    ck_assert_uint_eq(
        ER_MUST(&er, "Lease/LeaseLeases", &l, lease_leases_response, LeaseLeasesResponse)->n_leases,
        1);
    PB(LeaseRevokeRequest) v = ETCDSERVERPB__LEASE_REVOKE_REQUEST__INIT;
    v.id = 42;
    ER_MUST(&er, "Lease/LeaseRevoke", &v, lease_revoke_response, LeaseRevokeResponse);
    a = ER_CALL(&er, "Lease/LeaseRevoke", &v, lease_revoke_response);
    ck_assert_int_eq(a.status, GRPC_NOT_FOUND);
    ck_assert_str_eq(a.text, "etcdserver: requested lease not found");
    PB(RangeRequest) q = ETCDSERVERPB__RANGE_REQUEST__INIT;
    q.key = BYTES("leased");
    ck_assert_int_eq(ER_MUST(&er, "KV/Range", &q, range_response, RangeResponse)->count, 0);
    end();
}
END_TEST

/* Many keep-alives at once, and a client that leaves in between. */
START_TEST(test_keepalive_burst)
{
    begin();
    PB(LeaseGrantRequest) g = ETCDSERVERPB__LEASE_GRANT_REQUEST__INIT;
    g.ttl = 60;
    g.id = 5;
    ER_MUST(&er, "Lease/LeaseGrant", &g, lease_grant_response, LeaseGrantResponse);
    struct er_answer *keep = er_open(&er, "/etcdserverpb.Lease/LeaseKeepAlive");
    PB(LeaseKeepAliveRequest) k = ETCDSERVERPB__LEASE_KEEP_ALIVE_REQUEST__INIT;
    k.id = 5;
    for (int i = 0; i < 1000; i++)
        er_send(keep, &k.base);
    grpc_call_send_end(keep->call);
    ck_assert(rig_wait(&er.rig, &keep->done, 20000));
    ck_assert_int_eq(keep->status, GRPC_OK);
    ck_assert_uint_eq(keep->messages, 1000);
    er_close(&er, keep);
    keep = er_open(&er, "/etcdserverpb.Lease/LeaseKeepAlive");
    for (int i = 0; i < 100; i++)
        er_send(keep, &k.base);
    rig_sleep(&er.rig, 2);
    er_close(&er, keep);
    end();
}
END_TEST

UNIT_MAIN("etcd_watch", {
    UNIT_TEST(test_key_and_range);
    UNIT_TEST(test_past_and_future);
    UNIT_TEST(test_filters);
    UNIT_TEST(test_identifiers);
    UNIT_TEST(test_compacted);
    UNIT_TEST(test_progress);
    UNIT_TEST(test_atomic);
    UNIT_TEST(test_fragments);
    UNIT_TEST(test_slow_reader);
    UNIT_TEST(test_full_on_the_way_to_the_head);
    UNIT_TEST(test_old_history);
    UNIT_TEST(test_joins);
    UNIT_TEST(test_no_leader);
    UNIT_TEST(test_lease);
    UNIT_TEST(test_keepalive_burst);
})
