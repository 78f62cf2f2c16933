/* vertical_autoscaling.c - VerticalPodAutoscaling: a pod whose controller is the target of a
 * VerticalPodAutoscaler starts with what that recommends.
 *
 * Everything is found in the view of the write. Where nothing is recommended yet the pod stays as
 * it is: a pod is never held up and never refused. */
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/range.h"
#include "apiserver/registry.h"
#include "lib/api/custom.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/api/vpa.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/client/claims.h"

#define OWNERS_MAX 5u /* Of a pod, its owner's owner and so on. */

/* --- the pod's controllers ---------------------------------------------------------------------
 */
struct owners {
    size_t count;
    struct str kinds[OWNERS_MAX], names[OWNERS_MAX];
    struct str texts[OWNERS_MAX]; /* The names as JSON has them. */
};

/* Metadata of an owner of a kind that is built in; NULL: of another, or it is gone. */
static const struct meta_v1_object_meta *owner_meta(const struct kind_ctx *ctx,
                                                    const struct meta_v1_owner_reference *r)
{
    const struct api_kind *k = api_kind_by_api_version(r->api_version, r->kind);
    if (k == NULL || k->resource == NULL || !k->namespaced)
        return NULL;
    const struct resource *res = registry_storage(str_of(k->group), str_of(k->resource));
    const void *msg =
        res != NULL ? kind_lookup(ctx, k->group, k->resource, ctx->namespace_, r->name) : NULL;
    return msg != NULL ? api_meta_of(res->kind, msg) : NULL;
}

static void find_owners(const struct kind_ctx *ctx, const struct meta_v1_object_meta *m,
                        struct owners *ret)
{
    while (m != NULL && ret->count < OWNERS_MAX) {
        const struct meta_v1_owner_reference *r = owner_controller(m);
        if (r == NULL)
            break;
        ret->kinds[ret->count] = r->kind;
        ret->names[ret->count] = r->name;
        ret->texts[ret->count++] = arena_printf(ctx->arena, "\"" STR_FMT "\"", STR_ARG(r->name));
        m = owner_meta(ctx, r);
    }
}

/* --- the autoscaler ------------------------------------------------------------------------------
 */
static bool targets(const struct vpa_object *v, const struct owners *o)
{
    for (size_t i = 0; i < o->count; i++)
        if (str_eq(v->target_kind, o->kinds[i]) && str_eq(v->target_name, o->names[i]))
            return true;
    return false;
}

/* Of several with one target the oldest counts. */
static bool is_stronger(const struct meta_v1_object_meta *x, const struct meta_v1_object_meta *y)
{
    int64_t a = x->creation_timestamp.seconds, b = y->creation_timestamp.seconds;
    return a != b ? a < b : str_cmp(x->name, y->name) < 0;
}

/* Its metadata; NULL: none is concerned. */
static const struct meta_v1_object_meta *find_autoscaler(const struct kind_ctx *ctx,
                                                         const struct resource *res,
                                                         const struct owners *o,
                                                         struct vpa_object *ret)
{
    const struct meta_v1_object_meta *best = NULL;
    const struct api_custom *x;
    struct namespace_range at;
    if (o->count == 0)
        return NULL;
    namespace_range_of(&at, ctx, res);
    at.texts = o->texts;
    at.text_count = o->count;
    while ((x = namespace_range_next(&at, NULL)) != NULL) {
        struct vpa_object v;
        vpa_read(ctx->arena, x->content, &v);
        if (v.mode == VPA_OFF || !targets(&v, o) ||
            (best != NULL && !is_stronger(&x->metadata, best)))
            continue;
        best = &x->metadata;
        *ret = v;
    }
    return best;
}

/* --- applying ------------------------------------------------------------------------------------
 */
static void put(struct arena *a, struct api_quantity_entry **list, size_t *count,
                enum vpa_resource r, const struct vpa_amount *x)
{
    struct api_quantity_entry *to = ARENA_ARRAY(a, struct api_quantity_entry, *count + 1);
    struct api_quantity_entry mine = {.key = str_of(vpa_resource_names[r])};
    struct quantity q = vpa_quantity(r, x);
    size_t n = 0, i = 0;
    quantity_store(a, &q, &mine.value);
    for (; i < *count && str_cmp((*list)[i].key, mine.key) < 0; i++)
        to[n++] = (*list)[i];
    to[n++] = mine;
    for (i += i < *count && str_eq((*list)[i].key, mine.key); i < *count; i++)
        to[n++] = (*list)[i];
    *list = to;
    *count = n;
}

static void tell(struct buf *b, const char *what, struct str detail)
{
    buf_printf(b, "%s" STR_FMT "%s", b->len == 0 ? "" : ", ", STR_ARG(detail), what);
}

static void apply(struct arena *a, struct core_v1_container *c, const struct vpa_container *x,
                  struct buf *told)
{
    for (size_t i = 0; i < x->note_count; i++)
        tell(told, "", x->notes[i]);
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
        if (x->requests.of[r].given) {
            put(a, &c->resources.requests, &c->resources.requests_count, r, &x->requests.of[r]);
            tell(told, " request", str_of(vpa_resource_names[r]));
        }
    for (enum vpa_resource r = 0; r < VPA_RESOURCES; r++)
        if (x->limits.of[r].given) {
            put(a, &c->resources.limits, &c->resources.limits_count, r, &x->limits.of[r]);
            tell(told, " limit", str_of(vpa_resource_names[r]));
        }
}

static void read_ranges(const struct kind_ctx *ctx, struct vpa_ranges *ret)
{
    struct namespace_range at;
    const struct core_v1_limit_range *l;
    namespace_range_init(&at, ctx, STR(""), STR("limitranges"));
    while ((l = namespace_range_next(&at, NULL)) != NULL)
        vpa_ranges_add(ret, l);
}

static void apply_all(const struct kind_ctx *ctx, struct core_v1_pod *pod,
                      const struct vpa_object *v, struct str name)
{
    struct arena *a = ctx->arena;
    struct vpa_ranges ranges = {0};
    AUTO_BUF all = BUF_INIT;
    AUTO_BUF names = BUF_INIT;
    read_ranges(ctx, &ranges);
    const struct vpa_container *x = vpa_for_pod(a, v, pod, &ranges);
    for (size_t i = 0; i < pod->spec.containers_count; i++) {
        AUTO_BUF told = BUF_INIT;
        tell(&names, "", pod->spec.containers[i].name);
        apply(a, &pod->spec.containers[i], &x[i], &told);
        if (told.len != 0)
            buf_printf(&all, "%scontainer %zu: " STR_FMT, all.len == 0 ? "" : "; ", i,
                       STR_ARG(buf_str(&told)));
    }
    if (all.len != 0)
        annotation_put(a, &pod->metadata, VPA_UPDATES_ANNOTATION,
                       arena_printf(a, "Pod resources updated by " STR_FMT ": " STR_FMT,
                                    STR_ARG(name), STR_ARG(buf_str(&all))));
    annotation_put(a, &pod->metadata, VPA_OBSERVED_ANNOTATION, arena_str(a, buf_str(&names)));
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (!admission_is(adm, "", "pods"))
        return NULL;
    const struct resource *res =
        registry_find(STR(VPA_GROUP), STR("v1"), STR("verticalpodautoscalers"));
    struct core_v1_pod *pod = adm->obj;
    struct owners owners = {0};
    struct vpa_object v;
    if (res == NULL || !namespace_has_any(adm->ctx, res))
        return NULL; /* Most namespaces: no owner is looked at. */
    find_owners(adm->ctx, &pod->metadata, &owners);
    const struct meta_v1_object_meta *m = find_autoscaler(adm->ctx, res, &owners, &v);
    if (m != NULL)
        apply_all(adm->ctx, pod, &v, m->name);
    return NULL;
}

const struct admission_plugin admission_vertical_autoscaling = {
    .name = "VerticalPodAutoscaling",
    .ops = ADMIT_BIT(ADMIT_CREATE),
    .mutate = mutate,
};
