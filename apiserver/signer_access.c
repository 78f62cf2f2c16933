/* signer_access.c - see signer_access.h. */
#include "apiserver/signer_access.h"

#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/kind.h"
#include "lib/base/arena.h"

static bool may_as(const struct kind_ctx *ctx, const char *verb, struct str signer)
{
    struct str reason;
    struct authz_attributes at = {.user = ctx->user,
                                  .asks = ctx->asks,
                                  .verb = verb,
                                  .resource_request = true,
                                  .group = STR("certificates.k8s.io"),
                                  .version = STR("*"),
                                  .resource = STR("signers"),
                                  .name = signer};
    return authz_decide(ctx->server->authz, ctx->arena, &at, false, &reason) == AUTHZ_ALLOW;
}

bool user_may_for_signer(const struct kind_ctx *ctx, const char *verb, struct str signer)
{
    struct str domain, path;
    if (ctx->server == NULL || may_as(ctx, verb, signer))
        return true;
    str_cut(signer, '/', &domain, &path);
    return may_as(ctx, verb, arena_printf(ctx->arena, STR_FMT "/*", STR_ARG(domain)));
}
