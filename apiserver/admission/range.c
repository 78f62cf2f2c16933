/* range.c - see range.h. */
#include "apiserver/admission/range.h"

#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

void namespace_range_init(struct namespace_range *n, const struct kind_ctx *ctx, struct str group,
                          struct str resource)
{
    namespace_range_of(n, ctx, registry_storage(group, resource));
}

void namespace_range_of(struct namespace_range *n, const struct kind_ctx *ctx,
                        const struct resource *res)
{
    *n = (struct namespace_range){.ctx = ctx, .res = res};
    if (ctx->namespace_.len == 0)
        return;
    struct str from = arena_printf(ctx->arena, STR_FMT STR_FMT "/", STR_ARG(n->res->prefix),
                                   STR_ARG(ctx->namespace_));
    struct str end = arena_printf(ctx->arena, STR_FMT STR_FMT "%c", STR_ARG(n->res->prefix),
                                  STR_ARG(ctx->namespace_), '/' + 1);
    n->open = store_iter_init(&n->it, ctx->view, from, end, 0) == 0;
}

bool namespace_has_any(const struct kind_ctx *ctx, const struct resource *res)
{
    struct namespace_range n;
    namespace_range_of(&n, ctx, res);
    return n.open && store_iter_next(&n.it) != NULL;
}

static bool has_text(const struct namespace_range *n, struct str value)
{
    bool has = n->texts == NULL;
    for (size_t i = 0; i < n->text_count && !has; i++)
        has = str_find_str(value, n->texts[i]) >= 0;
    return has;
}

void *namespace_range_next(struct namespace_range *n, const struct kv **ret_kv)
{
    const struct kv *kv;
    while (n->open && (kv = store_iter_next(&n->it)) != NULL) {
        void *msg;
        if (!has_text(n, stored_value(kv)) ||
            stored_decode(n->ctx->arena, n->res, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
            continue;
        if (ret_kv != NULL)
            *ret_kv = kv;
        return msg;
    }
    return NULL;
}
