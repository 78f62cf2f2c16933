/* kind_support.c - what kind.h promises to hooks: warnings, look-ups, validation. */
#include "apiserver/audit.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "raftstore/store.h"

#include <stdarg.h>
#include <stdio.h>

#define WARNING_BYTES_MAX 4096u

void kind_warn(const struct kind_ctx *ctx, const char *fmt, ...)
{
    char text[WARNING_BYTES_MAX];
    va_list ap;
    va_start(ap, fmt);
    int n = vsnprintf(text, sizeof(text), fmt, ap);
    va_end(ap);
    if (n > 0 && ctx->warnings != NULL)
        str_list_add(ctx->warnings, str_n(text, MIN_OF((size_t)n, sizeof(text) - 1)));
}

void kind_warn_field(const struct kind_ctx *ctx, const struct field_path *path, const char *fmt,
                     ...)
{
    AUTO_BUF at = BUF_INIT;
    char why[1024];
    va_list ap;
    field_path_write(path, &at);
    va_start(ap, fmt);
    vsnprintf(why, sizeof(why), fmt, ap);
    va_end(ap);
    kind_warn(ctx, STR_FMT ": %s", STR_ARG(buf_str(&at)), why);
}

void kind_annotate(const struct kind_ctx *ctx, struct str key, struct str value)
{
    if (ctx->audit != NULL)
        audit_annotate(ctx->audit, ctx->arena, key, value);
}

const void *kind_lookup(const struct kind_ctx *ctx, const char *group, const char *resource,
                        struct str ns, struct str name)
{
    const struct resource *r = registry_storage(str_of(group), str_of(resource));
    ASSERT(r != NULL);
    if (name.len == 0 || str_find(name, '/', 0) >= 0 || str_find(ns, '/', 0) >= 0)
        return NULL;
    const struct kv *kv = store_view_get(ctx->view, registry_key(ctx->arena, r, ns, name), 0);
    void *msg;
    if (kv == NULL || stored_decode(ctx->arena, r, stored_value(kv), kv->mod_rev, &msg, NULL) != 0)
        return NULL;
    return msg;
}

void kind_validate_as_new(const struct kind_ctx *ctx, const void *obj, const void *old,
                          struct field_errors *errs)
{
    UNUSED(old);
    ctx->ops->validate_create(ctx, obj, errs);
}
