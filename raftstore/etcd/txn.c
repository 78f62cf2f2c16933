/* txn.c - see txn.h.
 *
 *   who may? -> [whose leases?] -> propose -> applied -> answer
 *      ^------ users or roles changed meanwhile ---'
 *
 * Transactions without writes are run on a view, behind a read barrier. */
#include "raftstore/etcd/txn.h"

#include "lib/base/arena.h"
#include "raftstore/etcd/wire.h"

#include <string.h>

#define ATTEMPTS_MAX 8
#define LEASES_MAX 256
/* Raft's own fields around a request: what etcd counts against its limit. */
#define REQUEST_FIELDS_BYTES 18

/* --- faults --- */

const struct etcd_fault *etcd_fault_of_txn(int code, const struct txn_result *r)
{
    enum txn_refusal refusal = r != NULL ? r->refusal : TXN_REFUSED_NOT;
    if (code == E_NOT_FOUND)
        return refusal == TXN_REFUSED_KEY ? &etcd_err_key_not_found : &etcd_err_lease_not_found;
    if (code == E_CONFLICT)
        return &etcd_err_auth_old_revision;
    return etcd_fault_of_code(code);
}

static void write_fail(struct etcd_call *c, struct etcd_write *w, const struct etcd_fault *f)
{
    if (w->fail != NULL)
        w->fail(c, w, f);
    else
        etcd_call_fail(c, f);
}

/* txn_check()'s text is etcd's, with more behind it in the one case. */
static void fail_check(struct etcd_call *c, struct etcd_write *w, const struct error *err)
{
    struct str text = str_of(error_message(err));
    if (str_has_prefix(text, str_of(etcd_err_duplicate_key.text)))
        write_fail(c, w, &etcd_err_duplicate_key);
    else
        write_fail(c, w, &(struct etcd_fault){GRPC_INVALID_ARGUMENT, error_message(err)});
}

/* --- writes --- */

static void write_admit(struct etcd_call *c, struct etcd_write *w);

static void on_applied(int code, const struct txn_result *r, void *arg)
{
    struct etcd_call *c = arg;
    if (etcd_call_is_open(c)) {
        struct etcd_write *w = c->user;
        bool outdated = code == E_CONFLICT && r != NULL && r->refusal == TXN_REFUSED_AUTH;
        if (outdated && ++w->attempts < ATTEMPTS_MAX)
            write_admit(c, w);
        else if (code != 0)
            write_fail(c, w, etcd_fault_of_txn(code, r));
        else
            w->reply(c, w, r);
    }
    etcd_call_release(c);
}

static void write_propose(struct etcd_call *c, struct etcd_write *w)
{
    /* Also while auth is not enabled: what a member that lags behind took from anybody must
     * not be applied after it was. Where no user ever was, there is nothing to enable. */
    w->txn.auth_rev = auth_revision(c->caller.auth) > 1 ? etcd_caller_rev(&c->caller) : 0;
    store_txn(etcd_thread_store(c->thread), &w->txn, &c->thread->mailbox, on_applied,
              etcd_call_hold(c));
}

static void check_next_lease(struct etcd_call *c, struct etcd_write *w);

static void on_lease(int code, const struct store_lease *lease, void *arg)
{
    struct etcd_call *c = arg;
    if (etcd_call_is_open(c)) {
        struct etcd_write *w = c->user;
        const struct etcd_fault *fault = NULL;
        if (code == 0)
            fault = etcd_check_lease_keys(&c->caller, AUTH_WRITE, lease->keys, lease->key_count);
        else if (code != E_NOT_FOUND) /* Refused when it is applied. */
            fault = etcd_fault_of_code(code);
        if (fault != NULL)
            write_fail(c, w, fault);
        else
            check_next_lease(c, w);
    }
    etcd_call_release(c);
}

static void check_next_lease(struct etcd_call *c, struct etcd_write *w)
{
    if (w->lease_at == w->lease_count) {
        write_propose(c, w);
        return;
    }
    store_lease_get(etcd_thread_store(c->thread), w->leases[w->lease_at++], true,
                    &c->thread->mailbox, on_lease, etcd_call_hold(c));
}

/* May the caller do this, under the users and roles of now? */
static void write_admit(struct etcd_call *c, struct etcd_write *w)
{
    if (w->attempts > 0) {
        const struct etcd_fault *again = etcd_call_identify(c);
        if (again != NULL) {
            write_fail(c, w, again);
            return;
        }
    }
    if (!auth_enabled(c->caller.auth)) {
        write_propose(c, w);
        return;
    }
    const struct etcd_fault *fault = etcd_check_txn(&c->caller, &w->txn);
    w->leases = ARENA_ARRAY(etcd_call_arena(c), int64_t, LEASES_MAX);
    w->lease_at = w->lease_count = 0;
    if (fault == NULL)
        etcd_txn_leases(&c->caller, &w->txn, w->leases, LEASES_MAX, &w->lease_count);
    if (fault == NULL && w->lease_count > LEASES_MAX)
        fault = &etcd_err_too_many_ops;
    if (fault != NULL)
        write_fail(c, w, fault);
    else
        check_next_lease(c, w);
}

void etcd_write(struct etcd_call *c, struct etcd_write *w, size_t message_bytes)
{
    if (message_bytes + REQUEST_FIELDS_BYTES > etcd_thread_config(c->thread)->request_bytes_max) {
        write_fail(c, w, &etcd_err_request_too_large);
        return;
    }
    struct error err = {0};
    if (txn_check(&w->txn, &err) != 0) {
        fail_check(c, w, &err);
        return;
    }
    if (!etcd_call_reserve(c, message_bytes)) {
        write_fail(c, w, &etcd_err_too_many_requests);
        return;
    }
    c->user = w;
    write_admit(c, w);
}

/* --- Txn --- */

static void reply_txn(struct etcd_call *c, const struct etcd_write *w, const struct txn_result *r)
{
    struct etcd_header h = etcd_header(c->thread, r->rev);
    struct net_bytes *b = etcd_encode_txn(&h, &w->txn, r);
    if (b != NULL)
        etcd_call_reply(c, b);
    else
        etcd_call_fail_text(c, GRPC_RESOURCE_EXHAUSTED,
                            "grpc: trying to send message larger than max");
}

static bool list_writes(const struct txn_op *ops, uint32_t count);

static bool txn_writes(const struct txn *t)
{
    return list_writes(t->success, t->success_count) || list_writes(t->failure, t->failure_count);
}

static bool list_writes(const struct txn_op *ops, uint32_t count)
{
    for (uint32_t i = 0; i < count; i++) {
        if (ops[i].type == OP_PUT || ops[i].type == OP_DELETE ||
            (ops[i].type == OP_TXN && txn_writes(ops[i].txn)))
            return true;
    }
    return false;
}

static void read_run(struct etcd_call *c, struct etcd_write *w)
{
    struct store_view *v = store_view(etcd_thread_store(c->thread));
    const struct etcd_fault *fault = NULL;
    struct txn_result *r = NULL;
    if (auth_rev(store_view_auth(v)) != etcd_caller_rev(&c->caller))
        fault = etcd_call_identify(c);
    if (fault == NULL)
        fault = etcd_check_txn(&c->caller, &w->txn);
    int code = fault == NULL ? etcd_txn_read(v, &w->txn, &r) : 0;
    if (fault == NULL && code != 0)
        fault = etcd_fault_of_code(code);
    if (fault != NULL)
        etcd_call_fail(c, fault);
    else
        reply_txn(c, w, r);
    txn_result_free(r);
    store_view_unref(v);
}

static void on_barrier(struct etcd_call *c, int code)
{
    if (!etcd_call_is_open(c))
        return;
    if (code != 0)
        etcd_call_fail_code(c, code);
    else
        read_run(c, c->user);
}

void etcd_txn(struct etcd_call *c, struct str message)
{
    struct arena *a = etcd_call_arena(c);
    struct etcd_write *w = ARENA_NEW(a, struct etcd_write);
    bool serializable;
    const struct etcd_fault *fault = etcd_decode_txn(a, message, &w->txn, &serializable);
    if (fault == NULL)
        fault = etcd_check_txn_shape(&w->txn, etcd_thread_config(c->thread)->txn_ops_max);
    if (fault != NULL) {
        etcd_call_fail(c, fault);
        return;
    }
    w->reply = reply_txn;
    if (txn_writes(&w->txn)) {
        etcd_write(c, w, message.len);
        return;
    }
    c->user = w;
    if (serializable)
        read_run(c, w);
    else
        etcd_read_barrier(c, on_barrier);
}
