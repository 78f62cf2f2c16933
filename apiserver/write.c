/* write.c - the driver of writes; see write.h. */
#include "apiserver/write.h"

#include "api/meta_v1.h"
#include "apiserver/admission/webhook.h"
#include "apiserver/ask.h"
#include "apiserver/authz.h"
#include "apiserver/authz_feed.h"
#include "apiserver/body.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "raftstore/store.h"

#include <inttypes.h>

/* --- transactions ------------------------------------------------------------------ */
void txn_build_expect(struct txn_build *t, struct str key, int64_t mod_rev)
{
    t->cmps = arena_grow(t->arena, t->cmps, t->cmp_count, &t->cmp_cap, sizeof(*t->cmps));
    t->cmps[t->cmp_count++] =
        (struct txn_cmp){.key = key, .target = CMP_MOD, .result = CMP_EQUAL, .number = mod_rev};
}

static struct txn_op *add_op(struct txn_build *t, enum op_type type, struct str key)
{
    t->ops = arena_grow(t->arena, t->ops, t->op_count, &t->op_cap, sizeof(*t->ops));
    struct txn_op *op = &t->ops[t->op_count++];
    *op = (struct txn_op){.type = type, .key = key};
    return op;
}

void txn_build_put(struct txn_build *t, struct str key, struct str value)
{
    struct error err = {0};
    struct str sealed = STR_NULL;
    if (encryption_seal(t->arena, key, value, &sealed, &err) != 0) {
        /* Whoever does not look at this commits nothing all the same. */
        t->refused = arena_strc(t->arena, error_message(&err));
        txn_build_expect(t, key, INT64_MAX);
    }
    add_op(t, OP_PUT, key)->value = sealed;
}

void txn_build_delete(struct txn_build *t, struct str key)
{
    add_op(t, OP_DELETE, key);
}

void txn_build_run(const struct txn_build *t, struct txn *ret)
{
    *ret = (struct txn){.cmps = t->cmps,
                        .cmp_count = (uint32_t)t->cmp_count,
                        .success = t->ops,
                        .success_count = (uint32_t)t->op_count};
}

static void free_arena(void *arg)
{
    arena_free(arg);
}

static void drop_conversions(void *arg)
{
    conversions_drop(arg);
}

/* --- the driver ---------------------------------------------------------------------- */
struct write *write_new_for(struct req *r, const struct resource *res, struct str ns,
                            struct str name, write_attempt *attempt)
{
    struct write *w = ARENA_NEW(r->arena, struct write);
    w->req = r;
    w->res = registry_worked_on(res);
    w->conversions.thread = r->thread;
    arena_hold(r->arena, &w->conversions, drop_conversions);
    w->ns = ns;
    w->name = name;
    w->attempt = attempt;
    w->dry_run = str_eqc(req_query(r, "dryRun"), "All");
    w->webhooks = webhook_state_new(r->arena);
    w->asks = asks_new(r->arena);
    if (name.len != 0)
        w->key = registry_key(r->arena, w->res, ns, name);
    return w;
}

struct write *write_new(struct req *r, write_attempt *attempt)
{
    return write_new_for(r, r->res, r->info.ns, r->info.name, attempt);
}

static void finish(struct write *w, struct meta_v1_status *refused)
{
    struct req *r = w->req;
    if (w->done != NULL)
        w->done(w, refused);
    else if (refused != NULL)
        req_status(r, refused);
    else if (w->success != NULL)
        req_status(r, w->success);
    else if (w->answer_kind != NULL)
        req_object(r, w->http_status, w->answer_kind, w->answer != NULL ? w->answer : w->obj);
    else
        req_object(r, w->http_status, w->res->storage, w->obj);
}

static void confirm(struct write *w);

static void on_txn(int code, const struct txn_result *result, void *arg)
{
    struct write *w = arg;
    struct req *r = w->req;
    if (code == E_NOT_FOUND && (w->res->ops->flags & KIND_EXPIRES) != 0 &&
        ++w->tries < WRITE_TRIES_MAX) {
        r->thread->event_lease.id = 0; /* The shared lease is gone: a new one. */
        write_run(w);
        return;
    }
    if (code != 0) {
        finish(w, status_from_code(r->arena, code, error_text(code)));
        return;
    }
    if (!result->succeeded) {
        if (++w->tries >= (w->txn.contended ? WRITE_TRIES_CONTENDED_MAX : WRITE_TRIES_MAX))
            finish(w, status_conflict(r->arena, w->res->gr, w->name,
                                      "the object has been modified; please apply your changes to "
                                      "the latest version and try again"));
        else
            confirm(w);
        return;
    }
    struct meta_v1_object_meta *m = w->obj != NULL ? api_meta_of(w->res->storage, w->obj) : NULL;
    if (m != NULL)
        m->resource_version = arena_printf(r->arena, "%" PRId64, result->rev);
    if (w->then != NULL) {
        w->attempt = w->then;
        w->then = NULL;
        w->confirmed = false;
        w->keep_success = w->success;
        w->keep_obj = w->obj;
        write_run(w);
        return;
    }
    finish(w, NULL);
}

static void commit(struct write *w, int64_t lease)
{
    struct txn txn;
    if (w->req->timed_out) {
        finish(w, status_from_code(w->req->arena, E_TIMEOUT, "context deadline exceeded"));
        return;
    }
    if (w->txn.refused.len != 0) {
        finish(w, status_internal(w->req->arena, STR_FMT, STR_ARG(w->txn.refused)));
        return;
    }
    for (size_t i = 0; i < w->txn.op_count; i++)
        if (w->txn.ops[i].type == OP_PUT)
            w->txn.ops[i].lease = lease;
    txn_build_run(&w->txn, &txn);
    store_txn(w->req->server->store, &txn, &w->req->thread->mailbox, on_txn, w);
}

static void on_lease(int code, int64_t lease, void *arg)
{
    struct write *w = arg;
    if (code != 0)
        finish(w, status_from_code(w->req->arena, code, error_text(code)));
    else
        commit(w, lease);
}

/* The next attempt finds the answers. */
static void on_answers(void *arg)
{
    struct write *w = arg;
    if (atomic_load(&w->req->server->stopping))
        finish(w, status_unavailable(w->req->arena, "the server is shutting down"));
    else
        write_run(w);
}

void write_run(struct write *w)
{
    struct req *r = w->req;
    w->view = req_view(r);
    req_ctx(r, w->view, &w->ctx);
    w->ctx.ops = w->res->ops;
    w->ctx.kind = w->res->storage;
    w->ctx.namespace_ = w->ns;
    w->ctx.name = w->name;
    w->ctx.dry_run = w->dry_run;
    w->ctx.tentative = !w->confirmed;
    w->ctx.webhooks = w->webhooks;
    w->ctx.asks = w->asks;
    w->ctx.work = &w->work;
    w->work.wanted = false;
    w->txn = w->before = (struct txn_build){.arena = r->arena};
    w->ctx.before = &w->before;
    w->obj = NULL;
    w->then = NULL;
    w->success = w->keep_success;
    w->http_status = 200;
    conversions_enter(&w->conversions);
    struct meta_v1_status *refused = w->attempt(w);
    conversions_leave();
    if (conversions_ask(&w->conversions, on_answers, w))
        return;
    struct meta_v1_status *unconverted = conversions_failure(&w->conversions, r->arena);
    if (unconverted != NULL) {
        finish(w, unconverted);
        return;
    }
    if (w->work.wanted) {
        struct arena *judged = arena_new(0);
        arena_hold(r->arena, judged, free_arena);
        write_work_start(&w->work, r->thread, judged, on_answers, w);
        return;
    }
    if (w->before.op_count != 0) {
        w->txn = w->before;
        w->obj = NULL;
        w->then = w->attempt;
        commit(w, 0);
        return;
    }
    if (refused == &webhook_wait) {
        struct asks *asks = asks_waiting(w->asks) ? w->asks : r->asks;
        if (asks_waiting(asks))
            asks_run(asks, &r->thread->loop, &r->thread->webhooks, on_answers, w);
        else
            webhook_start(w->webhooks, r->thread, on_answers, w);
        return;
    }
    w->refused = refused != NULL;
    if (!w->confirmed && (refused != NULL || w->txn.op_count == 0)) {
        confirm(w);
        return;
    }
    if (refused != NULL || w->txn.op_count == 0 || w->dry_run) {
        finish(w, refused);
        return;
    }
    if ((w->res->ops->flags & KIND_EXPIRES) != 0)
        event_lease_get(r->thread, on_lease, w);
    else
        commit(w, 0);
}

static void on_current(void *arg)
{
    struct write *w = arg;
    w->confirmed = true;
    write_run(w);
}

/* A refusal may rest on who may do what: that is to be as new as the objects. */
static void on_confirmed(int code, int64_t rev, void *arg)
{
    struct write *w = arg;
    struct req *r = w->req;
    UNUSED(rev);
    if (code != 0)
        finish(w, status_from_code(r->arena, code, error_text(code)));
    else if (!w->refused ||
             !authz_feed_wait(r->server->authz_feed, r->arena, &r->thread->mailbox, on_current, w))
        on_current(w);
}

static void confirm(struct write *w)
{
    store_read_barrier(w->req->server->store, &w->req->thread->mailbox, on_confirmed, w);
}

/* --- building blocks ------------------------------------------------------------------- */
struct meta_v1_status *write_load(struct write *w, const struct kv **ret_kv, void **ret_old)
{
    struct error err = {0};
    *ret_kv = store_view_get(w->view, w->key, 0);
    *ret_old = NULL;
    if (*ret_kv == NULL)
        return NULL;
    if (stored_decode(w->req->arena, w->res, stored_value(*ret_kv), (*ret_kv)->mod_rev, ret_old,
                      &err) != 0) {
        log_error("stored object " STR_FMT ": %s", STR_ARG(w->key), error_message(&err));
        return status_internal(w->req->arena, "%s", error_message(&err));
    }
    return NULL;
}

struct meta_v1_status *write_parse_rv(struct arena *a, struct str text, int64_t *ret)
{
    uint64_t v = 0;
    if (text.len == 0) {
        *ret = 0;
        return NULL;
    }
    if (!str_to_u64(text, &v) || v > INT64_MAX)
        return status_plain(a, "strconv.ParseUint: parsing \"" STR_FMT "\": invalid syntax",
                            STR_ARG(text));
    *ret = (int64_t)v;
    return NULL;
}

struct meta_v1_status *write_invalid(struct write *w, struct str name,
                                     const struct field_errors *errs)
{
    return status_invalid(w->req->arena, w->res->storage->group, w->res->storage->kind, name, errs);
}

struct meta_v1_status *write_check_names(struct write *w, struct meta_v1_object_meta *m,
                                         bool create)
{
    struct arena *a = w->req->arena;
    if (w->res->kind->namespaced) {
        if (m->namespace.len == 0)
            m->namespace = w->ns;
        else if (!str_eq(m->namespace, w->ns))
            return status_bad_request(a, "the namespace of the provided object does not match the "
                                         "namespace sent on the request");
    } else if (m->namespace.len != 0 && !create) {
        m->namespace = STR_NULL;
    }
    if (create || str_eq(m->name, w->name))
        return NULL;
    if (m->name.len == 0)
        return status_bad_request(a,
                                  "the name of the object (" STR_FMT
                                  " based on URL) was undeterminable: name must be provided",
                                  STR_ARG(w->name));
    return status_bad_request(
        a, "the name of the object (" STR_FMT ") does not match the name on the URL (" STR_FMT ")",
        STR_ARG(m->name), STR_ARG(w->name));
}

/* --- create and update of whole objects ------------------------------------------------- */
static struct meta_v1_status *decode_request_object(struct write *w, void **ret)
{
    struct req *r = w->req;
    void *obj;
    struct meta_v1_status *s = body_decode(r, r->res->kind, &obj);
    if (s == NULL)
        *ret = registry_to_storage(r->arena, r->res, w->res->storage, obj);
    return s;
}

static struct meta_v1_status *attempt_create(struct write *w)
{
    void *obj;
    struct meta_v1_status *s = body_check_options(w->req, "CreateOptions");
    if (s == NULL)
        s = decode_request_object(w, &obj);
    if (s == NULL)
        s = write_check_names(w, api_meta_of(w->res->storage, obj), true);
    if (s != NULL)
        return s;
    /* The name is the object's own, and anew on each try when generated. */
    w->name = api_meta_of(w->res->storage, obj)->name;
    return write_plan_create(w, obj);
}

void write_create(struct req *r)
{
    write_run(write_new(r, attempt_create));
}

/* The uid of a whole object says which one is meant; in a patch it is a change,
 * which validation refuses. */
static struct meta_v1_status *check_uid(struct write *w, struct str uid, struct str current)
{
    if (uid.len == 0 || str_eq(uid, current))
        return NULL;
    return status_conflict(w->req->arena, w->res->gr, w->name,
                           "StorageError: invalid object, Code: 4, Key: " STR_FMT
                           ", ResourceVersion: 0, AdditionalErrorMsg: Precondition failed: UID "
                           "in precondition: " STR_FMT ", UID in object meta: " STR_FMT,
                           STR_ARG(w->key), STR_ARG(uid), STR_ARG(current));
}

struct meta_v1_status *write_plan_create_instead(struct write *w, void *obj)
{
    struct req *r = w->req;
    const char *verb = r->info.verb;
    struct meta_v1_status *s = write_plan_create(w, obj);
    if (s != NULL)
        return s;
    r->info.verb = "create";
    s = authz_check(r);
    r->info.verb = verb;
    return s;
}

static struct meta_v1_status *attempt_update(struct write *w)
{
    struct req *r = w->req;
    const struct kv *kv;
    void *old, *obj;
    struct meta_v1_status *s = body_check_options(r, "UpdateOptions");
    if (s == NULL)
        s = decode_request_object(w, &obj);
    if (s == NULL)
        s = write_check_names(w, api_meta_of(w->res->storage, obj), false);
    if (s == NULL)
        s = write_load(w, &kv, &old);
    if (s != NULL)
        return s;
    if (kv == NULL) {
        struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
        if ((w->res->ops->flags & KIND_CREATE_ON_UPDATE) == 0 || r->sub != NULL)
            return status_not_found(r->arena, w->res->gr, w->name);
        m->resource_version = STR_NULL;
        return write_plan_create_instead(w, obj);
    }
    s = check_uid(w, api_meta_of(w->res->storage, obj)->uid,
                  api_meta_of(w->res->storage, old)->uid);
    return s != NULL ? s : write_plan_update(w, kv, old, obj, r->sub != NULL ? r->sub->name : NULL);
}

void write_update(struct req *r)
{
    write_run(write_new(r, attempt_update));
}
