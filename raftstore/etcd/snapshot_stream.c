/* snapshot_stream.c - Maintenance's Snapshot: a backup in etcd's own file format, sent
 * as it is made, as fast as the client takes it.
 *
 *   store_backup() -> prepare, in slices -> send until enough waits -> drained -> send ...
 *
 * It is of what this member has applied, without asking the others: also a member that
 * lost its majority gives one. */
#include "lib/base/error.h"
#include "raftstore/etcd/admin.h"
#include "raftstore/etcd/bolt_snapshot.h"
#include "raftstore/etcd/pace.h"

#define CHUNK_BYTES (64u << 10)
#define CHECKSUM_BYTES 32
#define PENDING_MAX (1u << 20) /* Bytes that wait for the client before making more rests. */
#define PENDING_LOW (256u << 10)
#define SLICE_VERSIONS 2000
#define SLICE_CHUNKS 2

struct stream_job {
    struct etcd_call *call; /* Held. */
    struct bolt_snapshot *snapshot;
    struct deferred step;
    struct etcd_pace *pace;
    bool prepared;
    bool waiting;  /* For the client. */
    uint64_t left; /* Bytes of the database not sent yet. */
    uint8_t chunk[CHUNK_BYTES];
};

static void job_free(struct stream_job *j)
{
    struct etcd_call *c = j->call;
    deferred_cancel(&j->step);
    etcd_pace_free(j->pace);
    bolt_snapshot_free(j->snapshot);
    c->user = NULL;
    free(j);
    etcd_call_release(c);
}

void admin_snapshot_gone(struct etcd_call *c)
{
    if (c->user != NULL)
        job_free(c->user);
}

/* The next piece; the checksum behind the database is a piece of its own. False: all
 * was sent. */
static bool send_chunk(struct stream_job *j)
{
    size_t want = j->left > 0 ? (size_t)MIN_OF(j->left, CHUNK_BYTES) : CHECKSUM_BYTES;
    size_t n = bolt_snapshot_read(j->snapshot, j->chunk, want);
    if (n == 0)
        return false;
    bool last = j->left == 0;
    j->left -= last ? 0 : n;
    Etcdserverpb__SnapshotResponse response = ETCDSERVERPB__SNAPSHOT_RESPONSE__INIT;
    response.remaining_bytes = j->left;
    response.blob = (ProtobufCBinaryData){n, j->chunk};
    response.version = (char *)(uintptr_t)ETCD_CLUSTER_VERSION;
    etcd_call_send_proto(j->call, &response.base);
    return !last;
}

static void drained(struct etcd_call *c)
{
    struct stream_job *j = c->user;
    if (j == NULL || !j->waiting)
        return;
    j->waiting = false;
    deferred_post(&c->thread->defer, &j->step);
}

static void go_on(struct stream_job *j)
{
    if (!etcd_pace_rests(j->pace, SLICE_CHUNKS * CHUNK_BYTES))
        deferred_post(&j->call->thread->defer, &j->step);
}

static void run_step(struct deferred *d)
{
    LOOP_CALLBACK("etcd snapshot");
    struct stream_job *j = CONTAINER_OF(d, struct stream_job, step);
    struct etcd_call *c = j->call;
    if (!j->prepared) {
        j->prepared = !bolt_snapshot_prepare(j->snapshot, SLICE_VERSIONS);
        j->left = j->prepared ? bolt_snapshot_size(j->snapshot) : 0;
        go_on(j);
        return;
    }
    for (unsigned i = 0; i < SLICE_CHUNKS; i++) {
        if (!send_chunk(j)) {
            etcd_call_finish(c);
            job_free(j);
            return;
        }
    }
    j->waiting = etcd_call_pending(c) > PENDING_MAX;
    if (!j->waiting)
        go_on(j);
}

static void backed_up(int code, struct store_backup *b, void *arg)
{
    struct etcd_call *c = arg;
    if (code < 0 || !etcd_call_is_open(c)) {
        store_backup_free(b);
        if (code < 0)
            etcd_call_fail_code(c, code);
        etcd_call_release(c);
        return;
    }
    struct stream_job *j = xzalloc(sizeof(*j));
    j->call = c; /* The hold goes over. */
    j->snapshot = bolt_snapshot_new(b);
    c->user = j;
    etcd_call_on_drain(c, PENDING_LOW, drained);
    deferred_init(&j->step, run_step);
    j->pace = etcd_pace_new(c->thread, &j->step);
    deferred_post(&c->thread->defer, &j->step);
}

void admin_on_snapshot(struct etcd_call *c, struct str message)
{
    UNUSED(message);
    if (!admin_allow_root(c))
        return;
    etcd_call_hold(c);
    store_backup(etcd_thread_store(c->thread), etcd_thread_mailbox(c->thread), backed_up, c);
}
