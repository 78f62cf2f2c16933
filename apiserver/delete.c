/* delete.c - deletion: at once, with grace, or held by finalizers.
 *
 *   stored --delete--> grace period or finalizers? --no--> removed
 *                            | yes                            ^
 *                            v                                |
 *            deletionTimestamp set, object stays --last holder gone,
 *                                                  or delete with grace 0 */
#include "api/meta_v1.h"
#include "apiserver/admission.h"
#include "apiserver/body.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/write.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "raftstore/store.h"

#include <inttypes.h>

#define FINALIZER_ORPHAN "orphan"
#define FINALIZER_FOREGROUND "foregroundDeletion"

static bool has_finalizer(const struct meta_v1_object_meta *m, const char *f)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_eqc(m->finalizers[i], f))
            return true;
    return false;
}

static bool wants_orphan(const struct write *w, const struct meta_v1_object_meta *m,
                         const struct meta_v1_delete_options *o)
{
    if (o->has_orphan_dependents)
        return o->orphan_dependents;
    if (o->has_propagation_policy)
        return str_eqc(o->propagation_policy, "Orphan");
    if (has_finalizer(m, FINALIZER_ORPHAN))
        return true;
    return (w->res->ops->flags & KIND_ORPHAN_DEPENDENTS) != 0;
}

static bool wants_foreground(const struct meta_v1_object_meta *m,
                             const struct meta_v1_delete_options *o)
{
    if (o->has_orphan_dependents)
        return false;
    if (o->has_propagation_policy)
        return str_eqc(o->propagation_policy, "Foreground");
    return has_finalizer(m, FINALIZER_FOREGROUND);
}

/* The garbage collector's finalizers follow from the options. */
static bool set_gc_finalizers(struct write *w, struct meta_v1_object_meta *m,
                              const struct meta_v1_delete_options *o)
{
    bool orphan = wants_orphan(w, m, o), foreground = wants_foreground(m, o);
    bool had_orphan = has_finalizer(m, FINALIZER_ORPHAN),
         had_foreground = has_finalizer(m, FINALIZER_FOREGROUND);
    if (orphan == had_orphan && foreground == had_foreground)
        return false;
    struct str *f = ARENA_ARRAY(w->req->arena, struct str, m->finalizers_count + 2);
    size_t n = 0;
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (!str_eqc(m->finalizers[i], FINALIZER_ORPHAN) &&
            !str_eqc(m->finalizers[i], FINALIZER_FOREGROUND))
            f[n++] = m->finalizers[i];
    if (orphan)
        f[n++] = STR(FINALIZER_ORPHAN);
    if (foreground)
        f[n++] = STR(FINALIZER_FOREGROUND);
    m->finalizers = f;
    m->finalizers_count = n;
    return true;
}

static struct meta_v1_status *check_preconditions(struct write *w,
                                                  const struct meta_v1_object_meta *m,
                                                  const struct meta_v1_delete_options *o)
{
    struct arena *a = w->req->arena;
    const struct meta_v1_preconditions *p = o->preconditions;
    struct group_resource kind = {str_of(w->res->storage->group), str_of(w->res->storage->kind)};
    if (p == NULL)
        return NULL;
    if (p->has_uid && !str_eq(p->uid, m->uid))
        return status_conflict(a, kind, m->name,
                               "the UID in the precondition (" STR_FMT
                               ") does not match the UID in record (" STR_FMT
                               "). The object might have been deleted and then recreated",
                               STR_ARG(p->uid), STR_ARG(m->uid));
    if (p->has_resource_version && !str_eq(p->resource_version, m->resource_version))
        return status_conflict(a, kind, m->name,
                               "the ResourceVersion in the precondition (" STR_FMT
                               ") does not match the ResourceVersion in record (" STR_FMT
                               "). The object might have been modified",
                               STR_ARG(p->resource_version), STR_ARG(m->resource_version));
    return NULL;
}

enum grace { GRACE_NONE, GRACE_SET, GRACE_PENDING };

static void set_deletion(struct write *w, struct meta_v1_object_meta *m, int64_t at_s,
                         int64_t grace_s)
{
    m->deletion_timestamp = ARENA_NEW(w->req->arena, struct meta_v1_time);
    m->deletion_timestamp->seconds = at_s;
    m->has_deletion_grace_period_seconds = true;
    m->deletion_grace_period_seconds = grace_s;
}

/* Decides on a grace period; sets it in obj. GRACE_PENDING: one is running
 * that this request does not shorten. */
static enum grace decide_grace(struct write *w, void *obj, const struct meta_v1_delete_options *o,
                               int64_t *ret_grace_s)
{
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    int64_t asked = o->has_grace_period_seconds ? o->grace_period_seconds : -1;
    int64_t now = w->ctx.now_ns / 1000000000;
    *ret_grace_s = 0;
    if ((w->res->ops->flags & KIND_GRACEFUL) == 0 || w->res->ops->graceful == NULL)
        return GRACE_NONE;
    if (m->deletion_timestamp != NULL) {
        if (!m->has_deletion_grace_period_seconds)
            return GRACE_NONE;
        if (asked < 0 || asked >= m->deletion_grace_period_seconds)
            return m->deletion_grace_period_seconds == 0 && asked == 0 ? GRACE_NONE : GRACE_PENDING;
        set_deletion(
            w, m, m->deletion_timestamp->seconds - m->deletion_grace_period_seconds + asked, asked);
        *ret_grace_s = asked;
        return GRACE_SET;
    }
    int64_t grace = w->res->ops->graceful(&w->ctx, obj, asked);
    set_deletion(w, m, now + grace, grace);
    if (m->generation > 0)
        m->generation++;
    *ret_grace_s = grace;
    return GRACE_SET;
}

/* Held by finalizers, without a grace period of its kind. */
static void mark_as_deleting(struct write *w, void *obj)
{
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    int64_t now = w->ctx.now_ns / 1000000000;
    if (m->deletion_timestamp == NULL && m->generation > 0)
        m->generation++;
    int64_t at = m->deletion_timestamp != NULL ? MIN_OF(m->deletion_timestamp->seconds, now) : now;
    bool graceful = m->has_deletion_grace_period_seconds || m->finalizers_count != 0;
    set_deletion(w, m, at, 0);
    m->has_deletion_grace_period_seconds = graceful;
}

static void plan_store(struct write *w, const struct kv *kv, void *obj)
{
    AUTO_BUF b = BUF_INIT;
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    struct str rv = m->resource_version;
    m->resource_version = STR_NULL;
    stored_encode(w->res, obj, &b);
    m->resource_version = rv;
    if (str_eq(buf_str(&b), stored_value(kv)))
        return;
    txn_build_expect(&w->txn, w->key, kv->mod_rev);
    txn_build_put(&w->txn, w->key, arena_str(w->req->arena, buf_str(&b)));
}

static struct meta_v1_status *plan_remove(struct write *w, const struct kv *kv, void *obj,
                                          const void *old)
{
    struct error err = {0};
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    if (w->res->ops->allocate != NULL) {
        struct field_errors errs = {.arena = w->req->arena};
        if (w->res->ops->allocate(&w->ctx, NULL, old, &w->txn, &errs, &err) != 0)
            return status_internal(w->req->arena, "%s", error_message(&err));
    }
    txn_build_expect(&w->txn, w->key, kv->mod_rev);
    txn_build_delete(&w->txn, w->key);
    if ((w->res->ops->flags & KIND_RETURN_DELETED) != 0)
        return NULL;
    struct meta_v1_status *s = status_new(w->req->arena, 0, "", STR_NULL);
    s->status = STR("Success");
    struct meta_v1_status_details *d = status_details(w->req->arena, s);
    d->name = m->name;
    d->group = w->res->gr.group;
    d->kind = w->res->gr.resource;
    d->uid = m->uid;
    w->success = s;
    return NULL;
}

/* The second step of a deletion whose grace period is zero. */
static struct meta_v1_status *remove_now(struct write *w)
{
    const struct kv *kv;
    void *old;
    struct meta_v1_status *s = write_load(w, &kv, &old);
    if (s != NULL)
        return s;
    if (kv == NULL || !str_eq(api_meta_of(w->res->storage, old)->uid,
                              api_meta_of(w->res->storage, w->keep_obj)->uid)) {
        w->obj = w->keep_obj; /* Someone else has removed it: done. */
        return NULL;
    }
    const struct meta_v1_object_meta *m = api_meta_of(w->res->storage, old);
    w->obj = old;
    if (m->finalizers_count != 0 || m->deletion_timestamp == NULL)
        return NULL;
    return plan_remove(w, kv, api_msg_clone(w->req->arena, w->res->storage->msg, old), old);
}

struct meta_v1_status *write_plan_delete(struct write *w, const struct meta_v1_delete_options *o)
{
    struct arena *a = w->req->arena;
    const struct kind_ops *ops = w->res->ops;
    const struct kv *kv;
    void *old;
    struct error err = {0};
    struct meta_v1_status *s = write_load(w, &kv, &old);
    if (s != NULL)
        return s;
    if (kv == NULL)
        return status_not_found(a, w->res->gr, w->name);
    struct admission adm = {
        .ctx = &w->ctx, .op = ADMIT_DELETE, .res = w->res, .subresource = "", .old = old};
    s = check_preconditions(w, api_meta_of(w->res->storage, old), o);
    if (s == NULL && ops->validate_delete != NULL && ops->validate_delete(&w->ctx, old, &err) != 0)
        s = status_forbidden(a, w->res->gr, w->name, "%s", error_message(&err));
    if (s == NULL && !w->admitted)
        s = admission_validate(&adm);
    if (s != NULL)
        return s;
    void *obj = api_msg_clone(a, w->res->storage->msg, old);
    struct meta_v1_object_meta *m = api_meta_of(w->res->storage, obj);
    bool first = m->deletion_timestamp == NULL;
    int64_t grace_s;
    enum grace grace = decide_grace(w, obj, o, &grace_s);
    w->obj = obj;
    if (grace == GRACE_PENDING)
        return NULL;
    set_gc_finalizers(w, m, o);
    if (first && ops->mark_deleting != NULL)
        ops->mark_deleting(&w->ctx, obj);
    bool held = m->finalizers_count != 0 || (ops->held != NULL && ops->held(obj));
    if (grace == GRACE_NONE && held)
        mark_as_deleting(w, obj);
    /* No grace left: that, too, is seen by watchers before the object goes. */
    bool last_word = grace == GRACE_SET && grace_s == 0 && !held;
    if (held || grace == GRACE_SET) {
        plan_store(w, kv, obj);
        if (last_word && w->txn.op_count != 0 && !w->dry_run)
            w->then = remove_now;
        if (o->has_orphan_dependents && !o->orphan_dependents)
            w->http_status = 202;
        return NULL;
    }
    return plan_remove(w, kv, obj, old);
}

static struct meta_v1_status *attempt_delete(struct write *w)
{
    struct meta_v1_delete_options o = {0};
    struct meta_v1_status *s = body_delete_options(w->req, &o);
    if (s != NULL)
        return s;
    w->dry_run = o.dry_run_count != 0;
    w->ctx.dry_run = w->dry_run;
    s = write_plan_delete(w, &o);
    if (s == NULL && (w->res->ops->flags & KIND_ORPHAN_DEPENDENTS) != 0 &&
        !o.has_propagation_policy && !o.has_orphan_dependents &&
        strcmp(w->res->kind->resource, "jobs") == 0)
        kind_warn(&w->ctx, "child pods are preserved by default when jobs are deleted; set "
                           "propagationPolicy=Background to remove them or set "
                           "propagationPolicy=Orphan to suppress "
                           "this warning");
    return s;
}

void write_delete(struct req *r)
{
    write_run(write_new(r, attempt_delete));
}
