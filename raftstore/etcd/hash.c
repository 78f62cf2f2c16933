/* hash.c - Maintenance's Hash and HashKV: a hash of what this member holds at one
 * revision, in slices between which others have the loop. */
#include "lib/base/error.h"
#include "raftstore/etcd/admin.h"

#define SLICE_KEYS 1000

struct hash_job {
    struct etcd_call *call; /* Held. */
    struct store_view *view;
    struct store_hash hash;
    struct deferred step;
    int64_t rev;
    bool kv; /* HashKV's answer. */
};

static void job_free(struct hash_job *j)
{
    struct etcd_call *c = j->call;
    deferred_cancel(&j->step);
    store_view_unref(j->view);
    c->user = NULL;
    free(j);
    etcd_call_release(c);
}

void admin_hash_gone(struct etcd_call *c)
{
    if (c->user != NULL)
        job_free(c->user);
}

static void reply_hash(struct hash_job *j)
{
    Etcdserverpb__ResponseHeader header;
    etcd_header_proto(j->call->thread, store_view_rev(j->view), &header);
    if (!j->kv) {
        Etcdserverpb__HashResponse response = ETCDSERVERPB__HASH_RESPONSE__INIT;
        response.header = &header;
        response.hash = j->hash.value;
        etcd_call_reply_proto(j->call, &response.base);
        return;
    }
    int64_t compacted = store_view_compacted(j->view);
    Etcdserverpb__HashKVResponse response = ETCDSERVERPB__HASH_KVRESPONSE__INIT;
    response.header = &header;
    response.hash = j->hash.value;
    response.compact_revision = compacted > 0 ? compacted : -1; /* As etcd says "never". */
    response.hash_revision = j->rev;
    etcd_call_reply_proto(j->call, &response.base);
}

static void run_step(struct deferred *d)
{
    LOOP_CALLBACK("etcd hash");
    struct hash_job *j = CONTAINER_OF(d, struct hash_job, step);
    if (store_hash_step(&j->hash, SLICE_KEYS)) {
        deferred_post(&j->call->thread->defer, &j->step);
        return;
    }
    reply_hash(j);
    job_free(j);
}

static void begin(struct etcd_call *c, int64_t rev, bool kv)
{
    struct hash_job *j = xzalloc(sizeof(*j));
    j->view = store_view(etcd_thread_store(c->thread));
    j->kv = kv;
    j->rev = rev > 0 ? rev : store_view_rev(j->view);
    int rc = store_hash_init(&j->hash, j->view, rev > 0 ? rev : 0);
    if (rc < 0) {
        store_view_unref(j->view);
        free(j);
        etcd_call_fail_code(c, rc);
        return;
    }
    j->call = etcd_call_hold(c);
    c->user = j;
    deferred_init(&j->step, run_step);
    deferred_post(&c->thread->defer, &j->step);
}

void admin_on_hash(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    if (admin_allow_root(c))
        begin(c, 0, false);
}

void admin_on_hash_kv(struct etcd_call *c, struct str message)
{
    const Etcdserverpb__HashKVRequest *m =
        (const void *)etcd_call_unpack(c, &etcdserverpb__hash_kvrequest__descriptor, message);
    if (m != NULL && admin_allow_root(c))
        begin(c, m->revision, true);
}
