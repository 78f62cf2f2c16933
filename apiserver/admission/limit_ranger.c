/* limit_ranger.c - LimitRanges: containers get the usual amounts of their
 * namespace; what is outside its bounds is refused.
 *
 * Only what is created is looked at: a pod's containers do not change later. */
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/admission/range.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/registry.h"
#include "lib/api/resource_list.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define ANNOTATION "kubernetes.io/limit-ranger"

static bool concerns(const struct admission *adm)
{
    /* What pods ask for cannot be changed; claims grow. */
    return (adm->op == ADMIT_CREATE && admission_is(adm, "", "pods")) ||
           admission_is(adm, "", "persistentvolumeclaims");
}

/* --- the usual amounts ------------------------------------------------------------------- */

/* Adds the keys that a list lacks, in order; their names go to told. */
static void fill(struct arena *a, struct api_quantity_entry **list, size_t *count,
                 const struct api_quantity_entry *usual, size_t usual_count, struct buf *told)
{
    struct api_quantity_entry *to =
        ARENA_ARRAY(a, struct api_quantity_entry, *count + usual_count + 1);
    size_t n = 0, i = 0, j = 0;
    while (i < *count || j < usual_count) {
        int c = i == *count ? 1 : j == usual_count ? -1 : str_cmp((*list)[i].key, usual[j].key);
        if (c > 0)
            buf_printf(told, "%s" STR_FMT, told->len == 0 ? "" : ", ", STR_ARG(usual[j].key));
        to[n++] = c <= 0 ? (*list)[i] : usual[j];
        i += c <= 0;
        j += c >= 0;
    }
    if (n != *count) {
        *list = to;
        *count = n;
    }
}

static void tell(struct buf *all, const struct buf *names, const char *what, const char *which,
                 struct str container)
{
    if (names->len != 0)
        buf_printf(all, "%s" STR_FMT " %s for %s " STR_FMT, all->len == 0 ? "" : "; ",
                   STR_ARG(buf_str(names)), what, which, STR_ARG(container));
}

static void default_container(struct arena *a, struct core_v1_container *c,
                              const struct core_v1_limit_range_item *l, const char *which,
                              struct buf *told)
{
    AUTO_BUF requests = BUF_INIT;
    AUTO_BUF limits = BUF_INIT;
    struct core_v1_resource_requirements *r = &c->resources;
    fill(a, &r->limits, &r->limits_count, l->default_, l->default_count, &limits);
    fill(a, &r->requests, &r->requests_count, l->default_request, l->default_request_count,
         &requests);
    tell(told, &requests, "request", which, c->name);
    tell(told, &limits, "limit", which, c->name);
}

static void annotate(struct arena *a, struct meta_v1_object_meta *m, struct str text)
{
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    size_t n = 0;
    bool placed = false;
    for (size_t i = 0; i < m->annotations_count; i++) {
        int c = str_cmp(m->annotations[i].key, STR(ANNOTATION));
        if (c >= 0 && !placed) {
            list[n++] = (struct api_str_entry){STR(ANNOTATION), text};
            placed = true;
        }
        if (c != 0)
            list[n++] = m->annotations[i];
    }
    if (!placed)
        list[n++] = (struct api_str_entry){STR(ANNOTATION), text};
    m->annotations = list;
    m->annotations_count = n;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    if (!concerns(adm) || !admission_is(adm, "", "pods"))
        return NULL;
    struct arena *a = adm->ctx->arena;
    struct core_v1_pod *pod = adm->obj;
    struct namespace_range at;
    const struct core_v1_limit_range *range;
    namespace_range_init(&at, adm->ctx, STR(""), STR("limitranges"));
    while ((range = namespace_range_next(&at, NULL)) != NULL) {
        AUTO_BUF told = BUF_INIT;
        for (size_t i = 0; i < range->spec.limits_count; i++) {
            const struct core_v1_limit_range_item *l = &range->spec.limits[i];
            if (!str_eqc(l->type, "Container"))
                continue;
            for (size_t k = 0; k < pod->spec.containers_count; k++)
                default_container(a, &pod->spec.containers[k], l, "container", &told);
            for (size_t k = 0; k < pod->spec.init_containers_count; k++)
                default_container(a, &pod->spec.init_containers[k], l, "init container", &told);
        }
        if (told.len != 0)
            annotate(a, &pod->metadata,
                     arena_printf(a, "LimitRanger plugin set: " STR_FMT, STR_ARG(buf_str(&told))));
    }
    return NULL;
}

/* --- the bounds ---------------------------------------------------------------------------- */

struct refusals {
    struct arena *arena;
    struct buf text;
    unsigned count;
};

static struct buf *next_refusal(struct refusals *f)
{
    if (f->count++ != 0)
        buf_puts(&f->text, ", ");
    return &f->text;
}

struct asked { /* NULL: not given. */
    const struct quantity *request, *limit;
};

static struct asked asked_for(const struct resource_list *requests,
                              const struct resource_list *limits, struct str name)
{
    return (struct asked){resource_list_get(requests, name),
                          limits != NULL ? resource_list_get(limits, name) : NULL};
}

/* "minimum cpu usage per Container is 50m", as the start of a refusal. */
static struct str bound(struct refusals *f, const char *word, struct str type,
                        const struct api_quantity_entry *e)
{
    return arena_printf(f->arena, "%s " STR_FMT " usage per " STR_FMT " is " STR_FMT, word,
                        STR_ARG(e->key), STR_ARG(type), STR_ARG(quantity_shown(&e->value)));
}

static void refuse_amount(struct refusals *f, struct str bound_text, const char *what,
                          const struct quantity *q)
{
    buf_printf(next_refusal(f), STR_FMT ", but %s is " STR_FMT, STR_ARG(bound_text), what,
               STR_ARG(quantity_str(f->arena, q)));
}

/* One of the two amounts, with its name. */
struct amount {
    const char *what;
    const struct quantity *q;
};

/* least: a bound below, that the first may not do without and both must keep. */
static void check_bound(struct refusals *f, struct str type, const struct api_quantity_entry *e,
                        bool least, struct amount first, struct amount second)
{
    struct quantity edge = quantity_of(&e->value);
    struct str text = bound(f, least ? "minimum" : "maximum", type, e);
    int wrong = least ? -1 : 1;
    if (first.q == NULL)
        buf_printf(next_refusal(f), STR_FMT ".  No %s is specified", STR_ARG(text), first.what);
    else if (quantity_cmp(first.q, &edge) == wrong)
        refuse_amount(f, text, first.what, first.q);
    else if (second.q != NULL && quantity_cmp(second.q, &edge) == wrong)
        refuse_amount(f, text, second.what, second.q);
}

static void check_min(struct refusals *f, struct str type, const struct api_quantity_entry *e,
                      struct asked k)
{
    check_bound(f, type, e, true, (struct amount){"request", k.request},
                (struct amount){"limit", k.limit});
}

static void check_max(struct refusals *f, struct str type, const struct api_quantity_entry *e,
                      struct asked k)
{
    check_bound(f, type, e, false, (struct amount){"limit", k.limit},
                (struct amount){"request", k.request});
}

/* Claims have requests only. */
static void check_max_request(struct refusals *f, struct str type,
                              const struct api_quantity_entry *e, struct asked k)
{
    struct quantity most = quantity_of(&e->value);
    struct str text = bound(f, "maximum", type, e);
    if (k.request == NULL)
        buf_printf(next_refusal(f), STR_FMT ".  No request is specified", STR_ARG(text));
    else if (quantity_cmp(k.request, &most) > 0)
        refuse_amount(f, text, "request", k.request);
}

static void check_ratio(struct refusals *f, struct str type, const struct api_quantity_entry *e,
                        struct asked k)
{
    struct quantity most = quantity_of(&e->value);
    struct str text =
        arena_printf(f->arena, STR_FMT " max limit to request ratio per " STR_FMT " is " STR_FMT,
                     STR_ARG(e->key), STR_ARG(type), STR_ARG(quantity_shown(&e->value)));
    if (k.request == NULL || quantity_is_zero(k.request)) {
        buf_printf(next_refusal(f), STR_FMT ", but no request is specified or request is 0",
                   STR_ARG(text));
        return;
    }
    if (k.limit == NULL || quantity_is_zero(k.limit)) {
        buf_printf(next_refusal(f), STR_FMT ", but no limit is specified or limit is 0",
                   STR_ARG(text));
        return;
    }
    double ratio = quantity_to_double(k.limit) / quantity_to_double(k.request);
    if (ratio > quantity_to_double(&most))
        buf_printf(next_refusal(f), STR_FMT ", but provided ratio is %f", STR_ARG(text), ratio);
}

static void check_item(struct refusals *f, const struct core_v1_limit_range_item *l,
                       const struct resource_list *requests, const struct resource_list *limits)
{
    for (size_t i = 0; i < l->min_count; i++)
        check_min(f, l->type, &l->min[i], asked_for(requests, limits, l->min[i].key));
    for (size_t i = 0; i < l->max_count; i++) {
        struct asked k = asked_for(requests, limits, l->max[i].key);
        if (limits != NULL)
            check_max(f, l->type, &l->max[i], k);
        else
            check_max_request(f, l->type, &l->max[i], k);
    }
    for (size_t i = 0; limits != NULL && i < l->max_limit_request_ratio_count; i++)
        check_ratio(f, l->type, &l->max_limit_request_ratio[i],
                    asked_for(requests, limits, l->max_limit_request_ratio[i].key));
}

static void check_container(struct refusals *f, const struct core_v1_limit_range_item *l,
                            const struct core_v1_container *c)
{
    struct resource_list requests = {.arena = f->arena}, limits = {.arena = f->arena};
    resource_list_add_entries(&requests, c->resources.requests, c->resources.requests_count);
    resource_list_add_entries(&limits, c->resources.limits, c->resources.limits_count);
    check_item(f, l, &requests, &limits);
}

static void check_pod(struct refusals *f, const struct core_v1_limit_range_item *l,
                      const struct core_v1_pod_spec *s)
{
    if (str_eqc(l->type, "Container")) {
        for (size_t i = 0; i < s->containers_count; i++)
            check_container(f, l, &s->containers[i]);
        for (size_t i = 0; i < s->init_containers_count; i++)
            check_container(f, l, &s->init_containers[i]);
    } else if (str_eqc(l->type, "Pod")) {
        struct resource_list requests = {.arena = f->arena}, limits = {.arena = f->arena};
        pod_total(s, false, false, &requests);
        pod_total(s, true, false, &limits);
        check_item(f, l, &requests, &limits);
    }
}

static void check_claim(struct refusals *f, const struct core_v1_limit_range_item *l,
                        const struct core_v1_persistent_volume_claim *c)
{
    struct resource_list requests = {.arena = f->arena};
    if (!str_eqc(l->type, "PersistentVolumeClaim"))
        return;
    resource_list_add_entries(&requests, c->spec.resources.requests,
                              c->spec.resources.requests_count);
    check_item(f, l, &requests, NULL);
}

static struct meta_v1_status *validate(const struct admission *adm)
{
    if (!concerns(adm))
        return NULL;
    bool pod = admission_is(adm, "", "pods");
    struct refusals f = {.arena = adm->ctx->arena, .text = BUF_INIT};
    struct namespace_range at;
    const struct core_v1_limit_range *range;
    struct meta_v1_status *s = NULL;
    namespace_range_init(&at, adm->ctx, STR(""), STR("limitranges"));
    while (f.count == 0 && (range = namespace_range_next(&at, NULL)) != NULL)
        for (size_t i = 0; i < range->spec.limits_count; i++) {
            if (pod)
                check_pod(&f, &range->spec.limits[i],
                          &((const struct core_v1_pod *)adm->obj)->spec);
            else
                check_claim(&f, &range->spec.limits[i], adm->obj);
        }
    if (f.count != 0)
        s = status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                             f.count > 1 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(buf_str(&f.text)));
    buf_done(&f.text);
    return s;
}

const struct admission_plugin admission_limit_ranger = {
    .name = "LimitRanger",
    .ops = ADMIT_WRITES,
    .mutate = mutate,
    .validate = validate,
};
