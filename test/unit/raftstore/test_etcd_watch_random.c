/* test_etcd_watch_random.c - watchers of every kind on streams that are read now and then,
 * held against a record of all changes: each gets what it asked for, once and in
 * order, wherever it began and however often its stream filled up. */
#include "test/unit/raftstore/etcd_rig.h"
#include "test/unit/raftstore/random.h"

#include "raftstore/txn.h"

#define STREAMS 5
#define WATCHERS_MAX 60
#define STEPS 700
#define KEYS 26
#define RUNS 4 /* A lost event shows in every fourth or so. */

struct change {
    int64_t rev;
    bool is_delete;
    char key[2];
};

struct watch {
    struct er_answer *stream; /* NULL: free. */
    int64_t id, from_rev;
    char key[3], end[3];
    bool no_put, no_delete, prev, created, cancelled;
    size_t at; /* In the record: what it was told. */
};

static struct etcd_rig er;
static struct er_answer *streams[STREAMS];
static bool paused[STREAMS];
static struct watch watches[WATCHERS_MAX];
static struct change record[STEPS * 4];
static size_t record_count;
static bool live[KEYS];
static int64_t next_id = 1;
static char *big;

static struct watch *watch_by_id(int64_t id)
{
    for (size_t i = 0; i < WATCHERS_MAX; i++)
        if (watches[i].stream != NULL && watches[i].id == id)
            return &watches[i];
    return NULL;
}

static bool wants(const struct watch *w, const struct change *c)
{
    return c->rev >= w->from_rev && !(c->is_delete ? w->no_delete : w->no_put) &&
           range_has(str_of(w->key), str_of(w->end), str_n(c->key, 1));
}

static void take_event(struct watch *w, const Mvccpb__Event *e)
{
    while (w->at < record_count && !wants(w, &record[w->at]))
        w->at++;
    ck_assert_msg(w->at < record_count, "watcher %lld: an event too many at revision %lld",
                  (long long)w->id, (long long)e->kv->mod_revision);
    const struct change *c = &record[w->at++];
    ck_assert_msg(e->kv->mod_revision == c->rev, "watcher %lld: revision %lld instead of %lld",
                  (long long)w->id, (long long)e->kv->mod_revision, (long long)c->rev);
    ck_assert_int_eq((int)e->type, c->is_delete);
    ck_assert_mem_eq(e->kv->key.data, c->key, 1);
    if (!w->prev)
        ck_assert_ptr_null(e->prev_kv);
    else if (c->is_delete)
        ck_assert_ptr_nonnull(e->prev_kv);
}

/* Everything that has arrived. */
static void take_all(void)
{
    for (size_t s = 0; s < STREAMS; s++) {
        while (er_take(streams[s])) {
            ProtobufCMessage *m = NULL;
            AUTO_ARENA *a = arena_new(0);
            ck_assert_int_eq(proto_unpack(a, &etcdserverpb__watch_response__descriptor,
                                          buf_str(&streams[s]->bytes), &m, NULL),
                             0);
            const PB(WatchResponse) *r = (const PB(WatchResponse) *)m;
            struct watch *w = watch_by_id(r->watch_id);
            if (w == NULL) { /* Cancelled by us; its last events may come late. */
                ck_assert(r->watch_id > 0 && r->watch_id < next_id);
                continue;
            }
            ck_assert(!r->canceled);
            if (r->created) {
                ck_assert(!w->created);
                w->created = true;
                if (w->from_rev == 0)
                    w->from_rev = r->header->revision + 1;
            }
            for (size_t i = 0; i < r->n_events; i++)
                take_event(w, r->events[i]);
        }
    }
}

static void send_request(struct er_answer *s, PB(WatchCreateRequest) * c,
                         PB(WatchCancelRequest) * cancel)
{
    PB(WatchRequest) q = ETCDSERVERPB__WATCH_REQUEST__INIT;
    q.request_union_case = c != NULL ? ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CREATE_REQUEST
                                     : ETCDSERVERPB__WATCH_REQUEST__REQUEST_UNION_CANCEL_REQUEST;
    if (c != NULL)
        q.create_request = c;
    else
        q.cancel_request = cancel;
    er_send(s, &q.base);
}

static void add_watch(struct random *r, struct watch *w)
{
    int64_t newest = record_count > 0 ? record[record_count - 1].rev : 1;
    *w = (struct watch){.stream = streams[random_below(r, STREAMS)], .id = next_id++};
    w->key[0] = (char)('a' + random_below(r, KEYS));
    if (random_below(r, 3) > 0)
        w->end[0] = (char)(w->key[0] + 1 + (char)random_below(r, 12));
    w->no_put = random_below(r, 8) == 0;
    w->no_delete = random_below(r, 8) == 0;
    w->prev = random_below(r, 2) == 0;
    if (random_below(r, 3) > 0)
        w->from_rev = 2 + random_below(r, (uint32_t)newest + 3);
    PB(WatchCreateRequest__FilterType) filters[2];
    PB(WatchCreateRequest) c = ETCDSERVERPB__WATCH_CREATE_REQUEST__INIT;
    c.key = BYTES(w->key);
    c.range_end = BYTES(w->end);
    c.start_revision = w->from_rev;
    c.watch_id = w->id;
    c.prev_kv = w->prev;
    c.fragment = random_below(r, 2) == 0;
    c.filters = filters;
    if (w->no_put)
        filters[c.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NOPUT;
    if (w->no_delete)
        filters[c.n_filters++] = ETCDSERVERPB__WATCH_CREATE_REQUEST__FILTER_TYPE__NODELETE;
    send_request(w->stream, &c, NULL);
}

static void note(int64_t rev, bool is_delete, char key)
{
    record[record_count++] = (struct change){rev, is_delete, {key, '\0'}};
    live[key - 'a'] = !is_delete;
}

static void write_something(struct random *r)
{
    char key[2] = {(char)('a' + random_below(r, KEYS)), '\0'};
    if (random_below(r, 4) == 0 && live[key[0] - 'a']) {
        PB(DeleteRangeRequest) d = ETCDSERVERPB__DELETE_RANGE_REQUEST__INIT;
        d.key = BYTES(key);
        note(ER_MUST(&er, "KV/DeleteRange", &d, delete_range_response, DeleteRangeResponse)
                 ->header->revision,
             true, key[0]);
        return;
    }
    PB(PutRequest) q = ETCDSERVERPB__PUT_REQUEST__INIT;
    q.key = BYTES(key);
    q.value = (ProtobufCBinaryData){random_below(r, random_below(r, 4) == 0 ? 90000 : 200),
                                    (uint8_t *)big};
    note(ER_MUST(&er, "KV/Put", &q, put_response, PutResponse)->header->revision, false, key[0]);
}

static void toggle(size_t s)
{
    if (paused[s])
        grpc_call_resume(streams[s]->call);
    else
        grpc_call_pause(streams[s]->call);
    paused[s] = !paused[s];
}

static void step(struct random *r)
{
    struct watch *w = &watches[random_below(r, WATCHERS_MAX)];
    switch (random_below(r, 10)) {
    case 0:
    case 1:
        if (w->stream == NULL)
            add_watch(r, w);
        break;
    case 2:
        if (w->stream != NULL && random_below(r, 4) == 0) {
            PB(WatchCancelRequest) c = ETCDSERVERPB__WATCH_CANCEL_REQUEST__INIT;
            c.watch_id = w->id;
            send_request(w->stream, NULL, &c);
            w->stream = NULL;
        }
        break;
    case 3:
        toggle(random_below(r, STREAMS));
        break;
    default:
        write_something(r);
        break;
    }
    take_all();
}

static bool complete(struct watch *w)
{
    if (w->stream == NULL)
        return true;
    while (w->created && w->at < record_count && !wants(w, &record[w->at]))
        w->at++;
    return w->created && w->at == record_count;
}

static void run(uint64_t seed, uint64_t history_bytes)
{
    struct random r = random_seeded(seed);
    memset(&er, 0, sizeof(er));
    memset(watches, 0, sizeof(watches));
    memset(paused, 0, sizeof(paused));
    memset(live, 0, sizeof(live));
    record_count = 0;
    rig_init(&er.rig, 0);
    er.rig.config.history_bytes = history_bytes;
    rig_start(&er.rig, 0);
    ck_assert_int_eq(rig_leader(&er.rig), 0);
    er.arena = arena_new(0);
    er_serve(&er);
    big = xzalloc(90000);
    for (size_t s = 0; s < STREAMS; s++)
        streams[s] = er_open(&er, "/etcdserverpb.Watch/Watch");
    for (int i = 0; i < STEPS; i++)
        step(&r);
    for (size_t s = 0; s < STREAMS; s++)
        if (paused[s])
            toggle(s);
    for (size_t i = 0; i < WATCHERS_MAX; i++) {
        for (int tries = 0; !complete(&watches[i]); tries++) {
            const struct watch *w = &watches[i];
            ck_assert_msg(tries < 2000, "watcher %lld from %lld: told %zu of %zu, created %d",
                          (long long)w->id, (long long)w->from_rev, w->at, record_count,
                          w->created);
            rig_sleep(&er.rig, 5);
            take_all();
        }
    }
    for (size_t s = 0; s < STREAMS; s++)
        er_close(&er, streams[s]);
    free(big);
    er_end(&er);
}

START_TEST(test_recent)
{
    for (uint64_t i = 0; i < RUNS; i++)
        run(test_seed() * RUNS + i, 0);
}
END_TEST

/* Hardly any event log: nearly everything comes out of the tree. */
START_TEST(test_old)
{
    for (uint64_t i = 0; i < RUNS; i++)
        run(test_seed() * RUNS + 1000 + i, 1);
}
END_TEST

UNIT_MAIN("etcd_watch_random", {
    UNIT_TEST(test_recent);
    UNIT_TEST(test_old);
})
