/* rbac_bootstrap.c - see rbac_bootstrap.h. */
#include "apiserver/rbac_bootstrap.h"

#include "api/meta_v1.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/field_manager.h"
#include "apiserver/rbac_policy.h"
#include "apiserver/write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "raftstore/store.h"

#define OBJECTS_PER_TXN 100u

/* live: what obj was; NULL: it is new. */
static void put(const struct kind_ctx *ctx, const struct policy_object *o, const void *live,
                void *obj, const struct kv *kv, struct str key, struct txn_build *t)
{
    AUTO_BUF value = BUF_INIT;
    field_manager_system(ctx, o->res, live, obj);
    stored_encode(o->res, obj, &value);
    txn_build_expect(t, key, kv != NULL ? kv->mod_rev : 0);
    txn_build_put(t, key, arena_str(t->arena, buf_str(&value)));
}

static void make_new(const struct kind_ctx *ctx, const struct policy_object *o, const struct kv *kv,
                     struct str key, struct txn_build *t)
{
    struct meta_v1_object_meta *m = o->obj; /* The first member of every kind. */
    char uid[37];
    env_uuid(ctx->env, uid);
    m->uid = arena_strc(ctx->arena, uid);
    m->creation_timestamp.seconds = ctx->now_ns / 1000000000;
    put(ctx, o, NULL, o->obj, kv, key, t);
}

bool rbac_bootstrap_plan(const struct kind_ctx *ctx, struct txn_build *t)
{
    struct policy_object o;
    for (size_t i = 0; t->op_count < OBJECTS_PER_TXN && policy_make(ctx->arena, i, &o); i++) {
        struct str key = registry_key(ctx->arena, o.res, o.ns, o.name);
        const struct kv *kv = store_view_get(ctx->view, key, 0);
        void *stored, *live;
        bool replace;
        if (kv == NULL ||
            stored_decode(ctx->arena, o.res, stored_value(kv), 0, &stored, NULL) != 0 ||
            stored_decode(ctx->arena, o.res, stored_value(kv), 0, &live, NULL) != 0) {
            make_new(ctx, &o, kv, key, t);
            continue;
        }
        if (!policy_reconcile(ctx->arena, &o, stored, &replace))
            continue;
        if (replace)
            make_new(ctx, &o, kv, key, t);
        else
            put(ctx, &o, live, stored, kv, key, t);
    }
    return t->op_count != 0;
}
