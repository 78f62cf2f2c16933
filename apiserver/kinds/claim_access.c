/* claim_access.c - see claim_access.h. Pure, but for the authorizers it asks. */
#include "apiserver/kinds/claim_access.h"

#include <stdlib.h>

#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/kind.h"
#include "apiserver/user.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"

#define GROUP "resource.k8s.io"

#define claim_object struct resource_v1_resource_claim
#define device_status struct resource_v1_allocated_device_status

/* --- what is changed ---------------------------------------------------------------------------
 */
bool same_claim_device(const device_status *x, const device_status *y)
{
    return str_eq(x->driver, y->driver) && str_eq(x->pool, y->pool) &&
           str_eq(x->device, y->device) &&
           str_eq(x->has_share_id ? x->share_id : STR_NULL,
                  y->has_share_id ? y->share_id : STR_NULL);
}

static const device_status *find(const claim_object *c, const device_status *d)
{
    for (size_t i = 0; i < c->status.devices_count; i++)
        if (same_claim_device(&c->status.devices[i], d))
            return &c->status.devices[i];
    return NULL;
}

static int compare(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

size_t claim_changed_drivers(struct arena *a, const claim_object *c, const claim_object *old,
                             struct str **ret)
{
    size_t n = 0, kept = 0;
    struct str *list =
        ARENA_ARRAY(a, struct str, c->status.devices_count + old->status.devices_count + 1);
    for (size_t i = 0; i < c->status.devices_count; i++) {
        const device_status *d = &c->status.devices[i], *was = find(old, d);
        if (was == NULL || !api_msg_equal(&resource_v1_allocated_device_status_msg, d, was))
            list[n++] = d->driver;
    }
    for (size_t i = 0; i < old->status.devices_count; i++)
        if (find(c, &old->status.devices[i]) == NULL)
            list[n++] = old->status.devices[i].driver;
    qsort(list, n, sizeof(*list), compare);
    for (size_t i = 0; i < n; i++)
        if (kept == 0 || !str_eq(list[kept - 1], list[i]))
            list[kept++] = list[i];
    *ret = list;
    return kept;
}

struct str claim_only_node(const struct resource_v1_allocation_result *a)
{
    const struct core_v1_node_selector *s = a != NULL ? a->node_selector : NULL;
    if (s == NULL || s->node_selector_terms_count != 1)
        return STR_NULL;
    const struct core_v1_node_selector_term *t = s->node_selector_terms;
    const struct core_v1_node_selector_requirement *f = t->match_fields;
    if (t->match_expressions_count != 0 || t->match_fields_count != 1 ||
        !str_eqc(f->key, "metadata.name") || !str_eqc(f->operator, "In") || f->values_count != 1)
        return STR_NULL;
    return f->values[0];
}

static bool same_binding(const claim_object *c, const claim_object *old)
{
    const struct resource_v1_resource_claim_status *x = &c->status, *y = &old->status;
    if ((x->allocation == NULL) != (y->allocation == NULL) ||
        x->reserved_for_count != y->reserved_for_count)
        return false;
    if (x->allocation != NULL &&
        !api_msg_equal(&resource_v1_allocation_result_msg, x->allocation, y->allocation))
        return false;
    for (size_t i = 0; i < x->reserved_for_count; i++)
        if (!api_msg_equal(&resource_v1_resource_claim_consumer_reference_msg, &x->reserved_for[i],
                           &y->reserved_for[i]))
            return false;
    return true;
}

/* --- may it be ---------------------------------------------------------------------------------
 */
/* Empty: allowed; else the refusal as a request for it would read. */
static struct str refusal(const struct kind_ctx *ctx, const char *verb, const char *subresource,
                          struct str ns, struct str name)
{
    struct str reason = STR_NULL;
    struct authz_attributes at = {.user = ctx->user,
                                  .asks = ctx->asks,
                                  .verb = verb,
                                  .resource_request = true,
                                  .group = STR(GROUP),
                                  .version = str_of(ctx->request_kind->version),
                                  .resource = STR("resourceclaims"),
                                  .subresource = str_of(subresource),
                                  .ns = ns,
                                  .name = name};
    if (authz_decide(ctx->server->authz, ctx->arena, &at, false, &reason) == AUTHZ_ALLOW)
        return STR_NULL;
    return authz_forbidden(ctx->arena, &at, reason)->message;
}

static void check_binding(const struct kind_ctx *ctx, struct field_errors *errs)
{
    struct str why = refusal(ctx, ctx->verb, "binding", STR_NULL, STR_NULL);
    if (why.len != 0)
        field_forbidden(errs, PATH(PATH_ROOT, "status"),
                        "changing status.allocation or status.reservedFor requires "
                        "resource=\"resourceclaims/binding\", verb=\"%s\" permission: " STR_FMT,
                        ctx->verb, STR_ARG(why));
}

static void check_driver(const struct kind_ctx *ctx, struct field_errors *errs, struct str driver,
                         bool at_node)
{
    struct arena *a = ctx->arena;
    const char *arbitrary = str_c(arena_printf(a, "arbitrary-node:%s", ctx->verb));
    const char *associated = str_c(arena_printf(a, "associated-node:%s", ctx->verb));
    const char *first = at_node ? associated : arbitrary;
    struct str why = refusal(ctx, first, "driver", ctx->namespace_, driver);
    if (why.len == 0 ||
        (at_node && refusal(ctx, arbitrary, "driver", ctx->namespace_, driver).len == 0))
        return;
    field_forbidden(errs, PATH(PATH(PATH_ROOT, "status"), "devices"),
                    "changing status.devices requires resource=\"resourceclaims/driver\", "
                    "verb=\"[%s%s%s]\" permission: " STR_FMT,
                    first, at_node ? " " : "", at_node ? arbitrary : "", STR_ARG(why));
}

void check_claim_access(const struct kind_ctx *ctx, struct field_errors *errs,
                        const claim_object *c, const claim_object *old)
{
    struct str *drivers, own = STR_NULL;
    if (ctx->server == NULL)
        return;
    if (!same_binding(c, old))
        check_binding(ctx, errs);
    size_t n = claim_changed_drivers(ctx->arena, c, old, &drivers);
    if (n != 0)
        own = user_bound_node(ctx->user);
    bool at_node = own.len != 0 && str_eq(own, claim_only_node(c->status.allocation));
    for (size_t i = 0; i < n; i++)
        check_driver(ctx, errs, drivers[i], at_node);
}
