/* resourceclaim.c - makes the ResourceClaims of pods from their templates, notes them in the
 * pods' statuses, and takes reservations back when pods are done.
 *
 * A key is a pod's, or CLAIM_PREFIX and a claim's. The scheduler allocates and reserves; only for
 * pods that have a node without it is the claim reserved here. A claim that nobody uses any more
 * loses its allocation and its finalizer; one that was made for a pod that is done goes. */
#include "controllers/controller.h"
#include "controllers/cache_indexes.h"
#include "controllers/owned.h"
#include "controllers/resourceclaim_plan.h"

#include "api/core_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"

#define CLAIM_PREFIX "claim:"
#define GROUP "resource.k8s.io"
#define FIELD_MANAGER "ResourceClaimController"

typedef struct resource_v1_resource_claim claim_t;

static const struct api_kind *claim_kind(void)
{
    return api_kind_by_gvk(STR(GROUP), STR("v1"), STR("ResourceClaim"));
}

static struct informer *claims_of(struct controller_run *r)
{
    return controller_informer(r, GROUP, "ResourceClaim");
}

/* --- which keys a change touches ---------------------------------------------------------------
 */

static void queue_claim(struct controller_run *r, struct str namespace_name, struct str name)
{
    AUTO_ARENA *a = arena_new(256);
    controller_enqueue(r, arena_printf(a, CLAIM_PREFIX STR_FMT "/" STR_FMT, STR_ARG(namespace_name),
                                       STR_ARG(name)));
}

static void touch_pod(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const struct core_v1_pod *p = (o != NULL ? o : old)->msg;
    const struct core_v1_pod_extended_resource_claim_status *extended =
        p->status.extended_resource_claim_status;
    if (p->spec.resource_claims_count == 0 && extended == NULL)
        return;
    if (o != NULL && !claim_pod_is_done(p)) {
        if (p->spec.resource_claims_count != 0)
            controller_enqueue_object(r, o);
        return;
    }
    /* The scheduler made that one: what is left to do here is to see it go. */
    if (extended != NULL)
        queue_claim(r, p->metadata.namespace, extended->resource_claim_name);
    for (size_t i = 0; i < p->spec.resource_claims_count; i++) {
        struct str name;
        bool made;
        if (pod_resource_claim(p, &p->spec.resource_claims[i], &name, &made) == CLAIM_NAMED)
            queue_claim(r, p->metadata.namespace, name);
    }
}

static void touch_claim(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    const claim_t *before = old != NULL ? old->msg : NULL, *now = o != NULL ? o->msg : NULL;
    const struct meta_v1_object_meta *m = api_object_meta(o != NULL ? o : old);
    if (o != NULL)
        queue_claim(r, m->namespace, m->name);
    bool had = before != NULL && before->status.allocation != NULL,
         has = now != NULL && now->status.allocation != NULL;
    if (before != NULL && now != NULL && had == has)
        return;
    /* It came, went, or was allocated: who uses it is looked at. */
    AUTO_ARENA *a = arena_new(512);
    AUTO_WALK pods = controller_walk_pods_by(r, POD_INDEX_RESOURCE_CLAIM,
                                             informer_key_of(a, m->namespace, m->name));
    for (struct api_object *p; (p = informer_walk_next(&pods)) != NULL;)
        touch_pod(r, NULL, p);
}

/* --- claims of a pod ----------------------------------------------------------------------------
 */

struct made_claim {
    struct str in_pod, wanted;
    struct str name; /* Empty: it could not be made. */
};

struct pod_work {
    struct api_object *object;
    const struct core_v1_pod *pod;
    struct made_claim *made;
    size_t made_count;
};

static void fail_claim(struct reconcile *c, struct str in_pod, struct str why)
{
    const struct pod_work *w = c->state;
    struct event_object about = event_object_of(w->object);
    event_record(c->run->recorder, &about, EVENT_WARNING, "FailedResourceClaimCreation",
                 "PodResourceClaim " STR_FMT ": " STR_FMT, STR_ARG(in_pod), STR_ARG(why));
    reconcile_fail(c);
}

static bool is_made_for(const claim_t *claim, const struct core_v1_pod *pod, struct str in_pod)
{
    const struct meta_v1_object_meta *m = &claim->metadata;
    const struct str *name =
        api_str_map_get(m->annotations, m->annotations_count, STR(CLAIM_OF_POD));
    return name != NULL && str_eq(*name, in_pod) && claim_is_for_pod(claim, pod);
}

static void on_present(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct made_claim *x = arg;
    const struct pod_work *w = c->state;
    if (result->code == 0 && is_made_for(result->object->msg, w->pod, x->in_pod))
        x->name = arena_str(c->arena, api_object_meta(result->object)->name);
    else
        fail_claim(c, x->in_pod,
                   arena_printf(c->arena,
                                "create ResourceClaim : a claim \"" STR_FMT
                                "\" that is not this pod's is in its place",
                                STR_ARG(x->wanted)));
}

static void on_created(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct made_claim *x = arg;
    if (result->code == 0 && result->object != NULL) {
        x->name = arena_str(c->arena, api_object_meta(result->object)->name);
        return;
    }
    if (result->code == E_EXISTS) { /* Made before, by a manager that did not live to see it. */
        reconcile_call(c,
                       &(struct client_call){.verb = CLIENT_GET,
                                             .kind = claim_kind(),
                                             .namespace_name = c->namespace_name,
                                             .name = x->wanted},
                       on_present, x);
        return;
    }
    fail_claim(c, x->in_pod, arena_printf(c->arena, "create ResourceClaim : %s", result->message));
}

/* One that was made when the status could not be written. */
static const claim_t *find_made(struct reconcile *c, const struct core_v1_pod *pod,
                                struct str in_pod)
{
    size_t count;
    struct api_object *const *owned =
        controller_owned(c->run, GROUP, "ResourceClaim", pod->metadata.uid, &count);
    for (size_t i = 0; i < count; i++)
        if (is_made_for(owned[i]->msg, pod, in_pod))
            return owned[i]->msg;
    return NULL;
}

/* The template's annotations and whose claim of the pod it is. */
static struct api_str_entry *annotations_for(struct arena *a, const struct meta_v1_object_meta *m,
                                             struct str in_pod, size_t *ret_count)
{
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    struct api_str_entry ours = {STR(CLAIM_OF_POD), in_pod};
    size_t n = 0;
    bool placed = false;
    for (size_t i = 0; i < m->annotations_count; i++) {
        int by = str_cmp(m->annotations[i].key, ours.key);
        if (by >= 0 && !placed) { /* Maps are sorted. */
            list[n++] = ours;
            placed = true;
        }
        if (by != 0)
            list[n++] = m->annotations[i];
    }
    if (!placed)
        list[n++] = ours;
    *ret_count = n;
    return list;
}

static void create_claim(struct reconcile *c, struct made_claim *x,
                         const struct resource_v1_resource_claim_template *t)
{
    const struct pod_work *w = c->state;
    const struct meta_v1_object_meta *tm = &t->spec.metadata;
    struct meta_v1_owner_reference owner;
    owner_reference_to(w->object->kind, &w->pod->metadata, &owner);
    struct str base = claim_generate_name(c->arena, w->pod->metadata.name, x->in_pod);
    x->wanted = claim_made_name(c->arena, base, w->pod->metadata.uid, x->in_pod);
    claim_t claim = {
        .metadata = {.generate_name = base,
                     .name = x->wanted,
                     .namespace = c->namespace_name,
                     .labels = tm->labels,
                     .labels_count = tm->labels_count,
                     .owner_references = &owner,
                     .owner_references_count = 1},
        .spec = t->spec.spec,
    };
    claim.metadata.annotations =
        annotations_for(c->arena, tm, x->in_pod, &claim.metadata.annotations_count);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_CREATE,
                                         .kind = claim_kind(),
                                         .namespace_name = c->namespace_name,
                                         .body = &claim},
                   on_created, x);
}

/* A claim that is missing is found or made. */
static void ensure_claim(struct reconcile *c, const struct core_v1_pod_resource_claim *x)
{
    struct pod_work *w = c->state;
    struct str name;
    bool made;
    enum claim_name named = pod_resource_claim(w->pod, x, &name, &made);
    if (named == CLAIM_NONE || !x->has_resource_claim_template_name)
        return;
    struct api_object *there =
        named == CLAIM_NAMED ? informer_get(claims_of(c->run), c->namespace_name, name) : NULL;
    if (there != NULL && (!made || claim_is_for_pod(there->msg, w->pod)))
        return;
    struct made_claim *m = &w->made[w->made_count++];
    m->in_pod = x->name;
    const claim_t *found = find_made(c, w->pod, x->name);
    if (found != NULL) {
        m->name = arena_str(c->arena, found->metadata.name);
        return;
    }
    struct api_object *t = informer_get(controller_informer(c->run, GROUP, "ResourceClaimTemplate"),
                                        c->namespace_name, x->resource_claim_template_name);
    if (t == NULL)
        fail_claim(c, x->name,
                   arena_printf(c->arena,
                                "resource claim template \"" STR_FMT
                                "\": resourceclaimtemplate.resource.k8s.io \"" STR_FMT
                                "\" not found",
                                STR_ARG(x->resource_claim_template_name),
                                STR_ARG(x->resource_claim_template_name)));
    else
        create_claim(c, m, t->msg);
}

static void on_reserved(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code != 0 && result->code != E_CONFLICT)
        log_warning("resourceclaim-controller " STR_FMT ": reserve claim: %s", STR_ARG(c->key),
                    result->message);
    if (result->code != 0)
        reconcile_fail(c);
}

/* A pod that came to its node past the scheduler. */
static void reserve(struct reconcile *c, const struct core_v1_pod_resource_claim *x)
{
    const struct pod_work *w = c->state;
    struct str name;
    bool made;
    if (pod_resource_claim(w->pod, x, &name, &made) != CLAIM_NAMED)
        return;
    struct api_object *o = informer_get(claims_of(c->run), c->namespace_name, name);
    const claim_t *claim = o != NULL ? o->msg : NULL;
    if (claim == NULL || (made && !claim_is_for_pod(claim, w->pod)) ||
        claim->status.allocation == NULL || claim_is_reserved_for(claim, w->pod->metadata.uid) ||
        claim->status.reserved_for_count >= CLAIM_RESERVED_MAX)
        return;
    claim_t *copy = reconcile_copy(c, o);
    size_t n = copy->status.reserved_for_count;
    struct resource_v1_resource_claim_consumer_reference *list =
        ARENA_ARRAY(c->arena, struct resource_v1_resource_claim_consumer_reference, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = copy->status.reserved_for[i];
    list[n] = (struct resource_v1_resource_claim_consumer_reference){
        .resource = STR("pods"), .name = w->pod->metadata.name, .uid = w->pod->metadata.uid};
    copy->status.reserved_for = list;
    copy->status.reserved_for_count = n + 1;
    reconcile_update_seen(c, claim_kind(), copy, "status", on_reserved, NULL);
}

static void note_in_status(struct reconcile *c)
{
    const struct pod_work *w = c->state;
    AUTO_BUF b = BUF_INIT;
    size_t n = 0;
    buf_puts(&b, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":");
    json_write_string(w->pod->metadata.name, &b);
    buf_puts(&b, ",\"uid\":");
    json_write_string(w->pod->metadata.uid, &b);
    buf_puts(&b, "},\"status\":{\"resourceClaimStatuses\":[");
    /* What was noted before is ours to state again. */
    for (size_t i = 0; i < w->pod->spec.resource_claims_count; i++) {
        struct str in_pod = w->pod->spec.resource_claims[i].name, name = STR_NULL;
        bool made;
        if (pod_resource_claim(w->pod, &w->pod->spec.resource_claims[i], &name, &made) !=
                CLAIM_NAMED ||
            !made)
            name = STR_NULL;
        for (size_t k = 0; k < w->made_count; k++)
            if (str_eq(w->made[k].in_pod, in_pod))
                name = w->made[k].name;
        if (str_empty(name))
            continue;
        buf_puts(&b, n++ == 0 ? "{\"name\":" : ",{\"name\":");
        json_write_string(in_pod, &b);
        buf_puts(&b, ",\"resourceClaimName\":");
        json_write_string(name, &b);
        buf_putc(&b, '}');
    }
    buf_puts(&b, "]}}");
    if (n == 0)
        return;
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = w->object->kind,
                                         .namespace_name = c->namespace_name,
                                         .name = c->name,
                                         .subresource = "status",
                                         .patch_type = CLIENT_PATCH_APPLY,
                                         .field_manager = FIELD_MANAGER,
                                         .force = true,
                                         .raw_body = arena_str(c->arena, buf_str(&b))},
                   NULL, NULL);
}

static void after_claims(struct reconcile *c)
{
    const struct pod_work *w = c->state;
    if (w->made_count != 0)
        note_in_status(c); /* Which brings the pod back. */
    else if (!str_empty(w->pod->spec.node_name))
        for (size_t i = 0; i < w->pod->spec.resource_claims_count; i++)
            reserve(c, &w->pod->spec.resource_claims[i]);
}

static void reconcile_pod(struct reconcile *c)
{
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Pod"), c->key);
    const struct core_v1_pod *p = o != NULL ? o->msg : NULL;
    if (p == NULL || p->metadata.deletion_timestamp != NULL || claim_pod_is_done(p))
        return;
    struct pod_work *w = ARENA_NEW(c->arena, struct pod_work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->pod = p;
    w->made = ARENA_ARRAY(c->arena, struct made_claim, p->spec.resource_claims_count + 1);
    for (size_t i = 0; i < p->spec.resource_claims_count; i++)
        ensure_claim(c, &p->spec.resource_claims[i]);
    reconcile_then(c, after_claims);
}

/* --- reservations of a claim --------------------------------------------------------------------
 */

struct claim_work {
    struct api_object *object;
    const claim_t *claim;
    bool *stale; /* Of each reservation. */
    bool unsupported;
};

static void on_consumer(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct claim_work *w = c->state;
    const size_t *at = arg;
    if (result->code == 0 && result->object != NULL)
        w->stale[*at] =
            !str_eq(api_object_meta(result->object)->uid, w->claim->status.reserved_for[*at].uid);
    else if (result->code == E_NOT_FOUND)
        w->stale[*at] = true;
    else
        reconcile_fail(c);
}

/* A pod that the cache does not have may have just come: the server knows. */
static void check_consumer(struct reconcile *c, size_t at)
{
    struct claim_work *w = c->state;
    const struct resource_v1_resource_claim_consumer_reference *r =
        &w->claim->status.reserved_for[at];
    if (!str_empty(r->api_group) || !str_eqc(r->resource, "pods")) {
        w->unsupported = true;
        return;
    }
    struct api_object *o =
        informer_get(controller_informer(c->run, "", "Pod"), w->claim->metadata.namespace, r->name);
    if (o != NULL) {
        w->stale[at] = !str_eq(api_object_meta(o)->uid, r->uid) || claim_pod_is_done(o->msg);
        return;
    }
    size_t *arg = ARENA_NEW(c->arena, size_t);
    *arg = at;
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_GET,
                                         .kind = api_kind_by_gvk(STR(""), STR("v1"), STR("Pod")),
                                         .namespace_name = w->claim->metadata.namespace,
                                         .name = r->name},
                   on_consumer, arg);
}

static bool is_protected(const struct meta_v1_object_meta *m)
{
    bool any = false;
    for (size_t i = 0; i < m->finalizers_count; i++)
        any |= str_eqc(m->finalizers[i], CLAIM_FINALIZER);
    return any;
}

static void remove_finalizer(struct reconcile *c, const struct api_object *o)
{
    claim_t *copy = reconcile_copy(c, o);
    struct meta_v1_object_meta *m = &copy->metadata;
    size_t kept = 0;
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (!str_eqc(m->finalizers[i], CLAIM_FINALIZER))
            m->finalizers[kept++] = m->finalizers[i];
    m->finalizers_count = kept;
    reconcile_update(c, claim_kind(), copy, NULL);
}

static void on_freed(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == E_NOT_FOUND)
        return;
    if (result->code != 0 || result->object == NULL) {
        reconcile_fail(c);
        return;
    }
    const claim_t *now = result->object->msg;
    if (now->status.allocation == NULL && is_protected(&now->metadata))
        remove_finalizer(c, result->object);
}

/* The pod that it was made for is done, though it may be there for long. */
static void delete_if_unused(struct reconcile *c, const struct claim_work *w)
{
    const struct meta_v1_owner_reference *ref = owner_controller(&w->claim->metadata);
    if (ref == NULL || !str_eqc(ref->kind, "Pod") || !str_eqc(ref->api_version, "v1"))
        return;
    struct api_object *o = informer_get(controller_informer(c->run, "", "Pod"),
                                        w->claim->metadata.namespace, ref->name);
    if (o != NULL && w->claim->metadata.deletion_timestamp == NULL &&
        (!str_eq(api_object_meta(o)->uid, ref->uid) || claim_pod_is_done(o->msg)))
        reconcile_delete(c, claim_kind(), &w->claim->metadata);
}

static void decide(struct reconcile *c)
{
    struct claim_work *w = c->state;
    const claim_t *claim = w->claim;
    if (c->failed)
        return;
    claim_t *copy = reconcile_copy(c, w->object);
    size_t kept = 0;
    for (size_t i = 0; i < claim->status.reserved_for_count; i++)
        if (!w->stale[i])
            copy->status.reserved_for[kept++] = copy->status.reserved_for[i];
    copy->status.reserved_for_count = kept;
    bool going = claim->metadata.deletion_timestamp != NULL && is_protected(&claim->metadata);
    if (kept == 0 && is_protected(&claim->metadata))
        copy->status.allocation = NULL;
    if (kept < claim->status.reserved_for_count)
        reconcile_update_seen(c, claim_kind(), copy, "status", on_freed, NULL);
    else if (going && kept == 0 && claim->status.allocation != NULL)
        reconcile_update_seen(c, claim_kind(), copy, "status", on_freed, NULL);
    else if (going && kept == 0)
        remove_finalizer(c, w->object);
    if (kept == 0)
        delete_if_unused(c, w);
}

static void reconcile_claim(struct reconcile *c, struct str key)
{
    struct api_object *o = informer_get_key(claims_of(c->run), key);
    if (o == NULL)
        return;
    struct claim_work *w = ARENA_NEW(c->arena, struct claim_work);
    c->state = w;
    w->object = reconcile_hold(c, o);
    w->claim = o->msg;
    w->stale = ARENA_ARRAY(c->arena, bool, w->claim->status.reserved_for_count + 1);
    for (size_t i = 0; i < w->claim->status.reserved_for_count; i++)
        check_consumer(c, i);
    if (!w->unsupported) /* Consumers of other kinds are somebody else's. */
        reconcile_then(c, decide);
}

static void reconcile(struct reconcile *c)
{
    if (str_has_prefix(c->key, STR(CLAIM_PREFIX)))
        reconcile_claim(c, str_sub(c->key, strlen(CLAIM_PREFIX), c->key.len));
    else
        reconcile_pod(c);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Pod", touch_pod},
    {GROUP, "v1", "ResourceClaim", touch_claim},
    {GROUP, "v1", "ResourceClaimTemplate", NULL},
    {0},
};

const struct controller controller_resourceclaim = {
    .name = "resourceclaim-controller",
    .event_source = "resource_claim",
    .workers = 10,
    .watches = watches,
    .reconcile = reconcile,
};
