/* namespace_auto_provision.c - NamespaceAutoProvision: what is made in a namespace
 * that does not exist makes that first, in a transaction of its own: it stays
 * whatever becomes of the write. */
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/webhook.h"
#include "apiserver/bootstrap_objects.h"
#include "apiserver/encode.h"
#include "apiserver/write.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

static struct meta_v1_status *mutate(const struct admission *adm)
{
    const struct kind_ctx *ctx = adm->ctx;
    struct builtin ns;
    AUTO_BUF value = BUF_INIT;
    if (ctx->before == NULL || ctx->dry_run || ctx->namespace_.len == 0 ||
        !adm->res->kind->namespaced ||
        kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_) != NULL)
        return NULL;
    builtin_namespace(ctx, ctx->namespace_, &ns);
    struct str key = registry_key(ctx->arena, ns.res, STR_NULL, ns.name);
    stored_encode(ns.res, ns.obj, &value);
    txn_build_expect(ctx->before, key, 0);
    txn_build_put(ctx->before, key, arena_str(ctx->arena, buf_str(&value)));
    return &webhook_wait;
}

const struct admission_plugin admission_namespace_auto_provision = {
    .name = "NamespaceAutoProvision",
    .off = true,
    .ops = ADMIT_BIT(ADMIT_CREATE),
    .mutate = mutate,
};
