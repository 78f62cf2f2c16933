/* devices.c - see devices.h. */
#include "scheduler/devices/devices.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/cel/cel_device.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/map.h"
#include "lib/client/labels.h"
#include "scheduler/devices/pools.h"

#include <stdio.h>

#define KEY_MAX 1024
#define PROGRAMS_MAX 256u

struct pending {
    struct arena *arena;
    const struct resource_v1_allocation_result *allocation;
};

struct devices {
    struct map claims;          /* "namespace/name" -> struct api_object */
    struct map extended;        /* uid of the pod -> struct api_object, of claims */
    struct map pending;         /* uid -> struct pending */
    struct map slices;          /* name -> struct api_object */
    struct map classes;         /* name -> struct api_object */
    struct map resources;       /* extended resource -> struct api_object, of classes */
    struct map uses;            /* key -> struct device_use */
    struct device_pools *pools; /* NULL: slices changed. */
    struct map programs;        /* text -> struct cel_program, in the arena */
    struct arena *program_arena;
};

struct devices *devices_new(void)
{
    struct devices *d = xzalloc(sizeof(*d));
    map_init(&d->claims);
    map_init(&d->extended);
    map_init(&d->pending);
    map_init(&d->slices);
    map_init(&d->classes);
    map_init(&d->resources);
    map_init(&d->uses);
    map_init(&d->programs);
    d->program_arena = arena_new(0);
    return d;
}

static void pending_free(struct pending *p)
{
    arena_free(p->arena);
    free(p);
}

static void use_free(struct device_use *u)
{
    for (size_t i = 0; i < u->share_count; i++)
        free((char *)u->shares[i].name.data);
    free(u->shares);
    free(u);
}

static void done_objects(struct map *m)
{
    size_t pos = 0;
    void *o;
    while (map_next(m, &pos, NULL, &o))
        api_object_unref(o);
    map_done(m);
}

void devices_free(struct devices *d)
{
    size_t pos = 0;
    void *v;
    if (d == NULL)
        return;
    device_pools_free(d->pools);
    done_objects(&d->claims);
    done_objects(&d->slices);
    done_objects(&d->classes);
    map_done(&d->extended);
    map_done(&d->resources);
    while (map_next(&d->pending, &pos, NULL, &v))
        pending_free(v);
    map_done(&d->pending);
    pos = 0;
    while (map_next(&d->uses, &pos, NULL, &v))
        use_free(v);
    map_done(&d->uses);
    map_done(&d->programs);
    arena_free(d->program_arena);
    free(d);
}

/* --- who has which device --------------------------------------------------------------------- */

static struct str key_into(char *buffer, struct str driver, struct str pool, struct str name)
{
    int n = snprintf(buffer, KEY_MAX, STR_FMT "/" STR_FMT "/" STR_FMT, STR_ARG(driver),
                     STR_ARG(pool), STR_ARG(name));
    return str_n(buffer, (size_t)MIN_OF(n, KEY_MAX - 1));
}

struct str device_key(struct arena *a, struct str driver, struct str pool, struct str name)
{
    char buffer[KEY_MAX];
    return arena_str(a, key_into(buffer, driver, pool, name));
}

const struct device_use *devices_use(const struct devices *d, struct str key)
{
    return map_get(&d->uses, key);
}

static struct device_use *use_of(struct devices *d, struct str key)
{
    struct device_use *u = map_get(&d->uses, key);
    if (u == NULL) {
        u = xzalloc(sizeof(*u));
        map_set(&d->uses, key, u);
    }
    return u;
}

static void change_share(struct device_use *u, struct str name, struct quantity amount, bool add)
{
    struct device_share *s = NULL;
    for (size_t i = 0; i < u->share_count && s == NULL; i++)
        if (str_eq(u->shares[i].name, name))
            s = &u->shares[i];
    if (s == NULL) {
        if (u->share_count == u->share_cap) {
            u->share_cap = MAX_OF(u->share_cap * 2, (size_t)2);
            u->shares = xrealloc(u->shares, u->share_cap * sizeof(*u->shares));
        }
        s = &u->shares[u->share_count++];
        *s = (struct device_share){.name = str_n(xstrndup(name.data, name.len), name.len)};
    }
    if (add)
        quantity_add(&s->amount, &amount);
    else
        quantity_sub(&s->amount, &amount);
}

static void count_results(struct devices *d, const struct resource_v1_allocation_result *a,
                          bool add)
{
    for (size_t i = 0; a != NULL && i < a->devices.results_count; i++) {
        const struct resource_v1_device_request_allocation_result *r = &a->devices.results[i];
        char buffer[KEY_MAX];
        if (r->has_admin_access && r->admin_access)
            continue;
        struct str key = key_into(buffer, r->driver, r->pool, r->device);
        struct device_use *u = use_of(d, key);
        if (r->has_share_id)
            u->shared += add ? 1 : (size_t)-1;
        else
            u->whole += add ? 1 : (size_t)-1;
        for (size_t k = 0; r->has_share_id && k < r->consumed_capacity_count; k++)
            change_share(u, r->consumed_capacity[k].key,
                         quantity_of(&r->consumed_capacity[k].value), add);
        if (u->whole == 0 && u->shared == 0) {
            map_remove(&d->uses, key);
            use_free(u);
        }
    }
}

/* --- claims ----------------------------------------------------------------------------------- */

static const struct resource_v1_resource_claim *claim_of(const struct api_object *o)
{
    return o->msg;
}

static struct str object_key(char *buffer, const struct meta_v1_object_meta *m)
{
    int n = snprintf(buffer, KEY_MAX, STR_FMT "/" STR_FMT, STR_ARG(m->namespace), STR_ARG(m->name));
    return str_n(buffer, (size_t)MIN_OF(n, KEY_MAX - 1));
}

/* The pod whose extended resources it stands for; NULL: it is an ordinary claim. */
static const struct meta_v1_owner_reference *
extended_owner(const struct resource_v1_resource_claim *c)
{
    const struct str *mark = annotation_get(&c->metadata, EXTENDED_CLAIM_ANNOTATION);
    if (mark == NULL || !str_eqc(*mark, "true"))
        return NULL;
    for (size_t i = 0; i < c->metadata.owner_references_count; i++)
        if (c->metadata.owner_references[i].controller)
            return str_eqc(c->metadata.owner_references[i].kind, "Pod")
                       ? &c->metadata.owner_references[i]
                       : NULL;
    return NULL;
}

/* Claims of other namespaces are not the pod's, whatever owner they name. */
static struct str extended_key(char buffer[KEY_MAX], struct str ns, struct str pod_uid)
{
    return object_key(buffer, &(struct meta_v1_object_meta){.namespace = ns, .name = pod_uid});
}

/* The table borrows its objects: an entry goes before its object does. */
static void forget_extended(struct devices *d, const struct api_object *o)
{
    char buffer[KEY_MAX];
    const struct meta_v1_owner_reference *owner = extended_owner(claim_of(o));
    if (owner == NULL)
        return;
    struct str key = extended_key(buffer, api_object_meta(o)->namespace, owner->uid);
    if (map_get(&d->extended, key) == o)
        map_remove(&d->extended, key);
}

/* Versions of one server are numbers that rise; of others, the later one counts. */
static bool is_older(const struct meta_v1_object_meta *x, const struct meta_v1_object_meta *than)
{
    uint64_t a, b;
    return str_eq(x->uid, than->uid) && str_to_u64(x->resource_version, &a) &&
           str_to_u64(than->resource_version, &b) && a < b;
}

static bool made_for_pod(const struct resource_v1_resource_claim *c)
{
    for (size_t i = 0; i < c->metadata.owner_references_count; i++)
        if (c->metadata.owner_references[i].controller)
            return true;
    return false;
}

static enum claim_news news_of(const struct resource_v1_resource_claim *old,
                               const struct resource_v1_resource_claim *c)
{
    if (old == NULL)
        return CLAIM_NEWS_OWN;
    if (old->status.allocation != NULL && c->status.allocation == NULL)
        return CLAIM_NEWS_FREED;
    /* A claim of one pod changes by what is done for that pod alone. */
    bool changed = !api_msg_equal(&resource_v1_resource_claim_status_msg, &old->status, &c->status);
    return changed && (!made_for_pod(c) || c->status.devices_count != 0) ? CLAIM_NEWS_OWN
                                                                         : CLAIM_NEWS_NONE;
}

enum claim_news devices_set_claim(struct devices *d, struct api_object *o)
{
    char buffer[KEY_MAX];
    struct str key = object_key(buffer, api_object_meta(o));
    struct api_object *old = map_get(&d->claims, key);
    if (old == o || (old != NULL && is_older(api_object_meta(o), api_object_meta(old))))
        return CLAIM_NEWS_NONE;
    enum claim_news news = news_of(old != NULL ? claim_of(old) : NULL, claim_of(o));
    if (old != NULL) {
        count_results(d, claim_of(old)->status.allocation, false);
        forget_extended(d, old);
    }
    count_results(d, claim_of(o)->status.allocation, true);
    map_set(&d->claims, key, api_object_ref(o));
    const struct meta_v1_owner_reference *owner = extended_owner(claim_of(o));
    if (owner != NULL)
        map_set(&d->extended, extended_key(buffer, api_object_meta(o)->namespace, owner->uid), o);
    api_object_unref(old);
    return news;
}

enum claim_news devices_remove_claim(struct devices *d, const struct api_object *o)
{
    char buffer[KEY_MAX];
    struct str key = object_key(buffer, api_object_meta(o));
    struct api_object *old = map_get(&d->claims, key);
    if (old == NULL || !str_eq(api_object_meta(old)->uid, api_object_meta(o)->uid))
        return CLAIM_NEWS_NONE;
    const struct meta_v1_owner_reference *owner = extended_owner(claim_of(old));
    forget_extended(d, old);
    /* Its pod waits for one of its own that is left from an earlier attempt to go. */
    bool had = claim_of(old)->status.allocation != NULL || owner != NULL;
    count_results(d, claim_of(old)->status.allocation, false);
    map_remove(&d->claims, key);
    api_object_unref(old);
    return had ? CLAIM_NEWS_FREED : CLAIM_NEWS_OWN;
}

struct api_object *devices_claim(const struct devices *d, struct str ns, struct str name)
{
    char buffer[KEY_MAX];
    struct meta_v1_object_meta m = {.namespace = ns, .name = name};
    return map_get(&d->claims, object_key(buffer, &m));
}

struct api_object *devices_extended_claim(const struct devices *d, const struct core_v1_pod *pod)
{
    char buffer[KEY_MAX];
    return map_get(&d->extended, extended_key(buffer, pod->metadata.namespace, pod->metadata.uid));
}

void devices_pend(struct devices *d, struct str uid, const struct resource_v1_allocation_result *a)
{
    devices_unpend(d, uid);
    struct pending *p = xzalloc(sizeof(*p));
    p->arena = arena_new(0);
    p->allocation = api_msg_clone(p->arena, &resource_v1_allocation_result_msg, a);
    map_set(&d->pending, uid, p);
    count_results(d, p->allocation, true);
}

bool devices_is_pending(const struct devices *d, struct str uid)
{
    return map_has(&d->pending, uid);
}

void devices_unpend(struct devices *d, struct str uid)
{
    struct pending *p = map_remove(&d->pending, uid);
    if (p == NULL)
        return;
    count_results(d, p->allocation, false);
    pending_free(p);
}

/* --- slices and classes ----------------------------------------------------------------------- */

static void slices_changed(struct devices *d)
{
    device_pools_free(d->pools);
    d->pools = NULL;
}

void devices_set_slice(struct devices *d, struct api_object *o)
{
    slices_changed(d);
    api_object_unref(map_set(&d->slices, api_object_meta(o)->name, api_object_ref(o)));
}

void devices_remove_slice(struct devices *d, const struct api_object *o)
{
    slices_changed(d);
    api_object_unref(map_remove(&d->slices, api_object_meta(o)->name));
}

struct api_object *devices_next_slice(const struct devices *d, size_t *pos)
{
    void *o;
    return map_next(&d->slices, pos, NULL, &o) ? o : NULL;
}

const struct device_pools *devices_pools(struct devices *d)
{
    if (d->pools == NULL)
        d->pools = device_pools_new(d);
    return d->pools;
}

/* Of two classes that name the same resource the newer counts, then the lower name. */
static bool goes_before(const struct resource_v1_device_class *x,
                        const struct resource_v1_device_class *y)
{
    int64_t a = time_to_ns(&x->metadata.creation_timestamp);
    int64_t b = time_to_ns(&y->metadata.creation_timestamp);
    return a != b ? a > b : str_cmp(x->metadata.name, y->metadata.name) < 0;
}

static void index_resources(struct devices *d)
{
    size_t pos = 0;
    void *v;
    map_clear(&d->resources);
    while (map_next(&d->classes, &pos, NULL, &v)) {
        const struct resource_v1_device_class *c = ((struct api_object *)v)->msg;
        if (!c->spec.has_extended_resource_name)
            continue;
        const struct api_object *old = map_get(&d->resources, c->spec.extended_resource_name);
        if (old == NULL || goes_before(c, old->msg))
            map_set(&d->resources, c->spec.extended_resource_name, v);
    }
}

void devices_set_class(struct devices *d, struct api_object *o)
{
    struct api_object *old = map_set(&d->classes, api_object_meta(o)->name, api_object_ref(o));
    index_resources(d);
    api_object_unref(old);
}

void devices_remove_class(struct devices *d, const struct api_object *o)
{
    struct api_object *old = map_remove(&d->classes, api_object_meta(o)->name);
    index_resources(d);
    api_object_unref(old);
}

struct api_object *devices_class(const struct devices *d, struct str name)
{
    return map_get(&d->classes, name);
}

struct api_object *devices_class_of_resource(const struct devices *d, struct str resource)
{
    struct str prefix = STR(DEVICE_CLASS_RESOURCE_PREFIX);
    if (str_has_prefix(resource, prefix))
        return devices_class(d, str_sub(resource, prefix.len, resource.len - prefix.len));
    return map_get(&d->resources, resource);
}

/* --- expressions -------------------------------------------------------------------------------
 */

const struct cel_program *devices_program(struct devices *d, struct arena *a, struct str text,
                                          struct str *ret_error)
{
    struct cel_program *p = map_get(&d->programs, text);
    if (p != NULL)
        return p;
    if (d->programs.count >= PROGRAMS_MAX) {
        map_clear(&d->programs);
        arena_clear(d->program_arena);
    }
    /* Its nodes may point into the text. */
    struct str kept = arena_str(d->program_arena, text), why = STR_NULL;
    if (cel_device_compile(d->program_arena, kept, &p, &why) != 0) {
        *ret_error = arena_str(a, why);
        return NULL;
    }
    map_set(&d->programs, kept, p);
    return p;
}
