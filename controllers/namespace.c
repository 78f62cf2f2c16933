/* namespace.c - empties a namespace that is being deleted, then lets it go.
 *
 * Every namespaced resource that the server knows is listed; what has objects
 * gets a DELETE of the whole collection: pods first and alone, since others
 * may be what their shutdown needs. Rounds follow until nothing is left; then
 * the "kubernetes" finalizer is taken off. Which resources exist is asked anew
 * for every namespace: one that is missed would leave objects behind for ever. */
#include "controllers/controller.h"
#include "controllers/discovery.h"
#include "controllers/owned.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"

#define ROUND_MIN_MS 100u
#define ROUND_MAX_MS 5000u
#define DISCOVERY_RETRY_MS 2000u
#define FINALIZER "kubernetes"

/* One namespace on its way out. */
struct leaving {
    uint64_t since_ms;
    unsigned rounds;
};

struct deleter {
    struct map leaving; /* name -> struct leaving */
    struct discoverer *discoverer;
    struct discovery *known; /* NULL: none yet. */
    char *discovery_error; /* NULL: the last one worked. With known, what some APIs have is not. */
};

static const struct api_kind *namespace_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Namespace"));
}

static const struct api_kind *metadata_kind(void)
{
    return api_kind_by_gvk(STR("meta.k8s.io"), STR("v1"), STR("PartialObjectMetadata"));
}

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    struct deleter *d = r->state;
    if (o == NULL)
        free(map_remove(&d->leaving, api_object_meta(old)->name));
    else if (api_object_meta(o)->deletion_timestamp != NULL)
        controller_enqueue_object(r, o);
}

static void on_discovered(struct discovery *found, const char *err, void *arg)
{
    struct controller_run *r = arg;
    struct deleter *d = r->state;
    free(d->discovery_error);
    d->discovery_error = err != NULL ? xstrdup(err) : NULL;
    if (err != NULL)
        log_warning("namespace-controller: discovery: %s", err);
    if (found != NULL) {
        discovery_free(d->known);
        d->known = found;
    }
    size_t pos = 0;
    struct str name;
    while (map_next(&d->leaving, &pos, &name, NULL))
        controller_enqueue_after(r, name, found == NULL ? DISCOVERY_RETRY_MS : 0);
}

/* --- one round ---------------------------------------------------------------------------- */

struct content {
    const struct served_resource *resource;
    struct client_resource path;
    size_t count;
    bool failed;
    bool is_pods;
};

struct finalizer_count {
    struct str name;
    size_t count;
};

struct round {
    const struct core_v1_namespace *ns;
    struct api_object *object;
    struct content *contents;
    size_t count;
    struct finalizer_count *finalizers;
    size_t finalizer_count, finalizer_cap;
    struct str *failures; /* Of lists and deletes. */
    size_t failure_count, failure_cap;
};

static void count_finalizers(struct reconcile *c, struct round *r,
                             const struct meta_v1_object_meta *m)
{
    for (size_t i = 0; i < m->finalizers_count; i++) {
        size_t k = 0;
        while (k < r->finalizer_count && !str_eq(r->finalizers[k].name, m->finalizers[i]))
            k++;
        if (k == r->finalizer_count) {
            r->finalizers = arena_grow(c->arena, r->finalizers, r->finalizer_count,
                                       &r->finalizer_cap, sizeof(*r->finalizers));
            r->finalizers[r->finalizer_count++] =
                (struct finalizer_count){arena_str(c->arena, m->finalizers[i]), 0};
        }
        r->finalizers[k].count++;
    }
}

struct item_counter {
    struct reconcile *c;
    struct content *content;
};

static void on_item(struct api_object *o, void *arg)
{
    struct item_counter *x = arg;
    x->content->count++;
    count_finalizers(x->c, x->c->state, api_object_meta(o));
    api_object_unref(o);
}

static void note_failure(struct reconcile *c, struct content *content, const char *message)
{
    struct round *r = c->state;
    content->failed = true;
    r->failures =
        arena_grow(c->arena, r->failures, r->failure_count, &r->failure_cap, sizeof(*r->failures));
    r->failures[r->failure_count++] = arena_strc(c->arena, message);
}

static void on_listed(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct content *content = arg;
    struct str rv, next;
    struct error err = {0};
    struct item_counter x = {c, content};
    if (result->code == E_NOT_FOUND || result->code == E_METHOD)
        return; /* The resource itself has gone: nothing of it is left. */
    if (result->code != 0)
        note_failure(c, content, result->message);
    else if (client_list_walk(c->arena, metadata_kind(), result->body, on_item, &x, &rv, &next,
                              &err) != 0)
        note_failure(c, content, error_message(&err));
}

static void on_deleted(struct reconcile *c, const struct client_result *result, void *arg)
{
    if (result->code != 0 && result->code != E_NOT_FOUND)
        note_failure(c, arg, result->message);
}

static void list_all(struct reconcile *c, struct round *r)
{
    for (size_t i = 0; i < r->count; i++) {
        struct client_call call = {
            .verb = CLIENT_LIST,
            .kind = metadata_kind(),
            .resource = &r->contents[i].path,
            .namespace_name = c->name,
            .undecoded = true,
        };
        reconcile_call(c, &call, on_listed, &r->contents[i]);
    }
}

static void delete_some(struct reconcile *c, struct round *r, bool pods)
{
    for (size_t i = 0; i < r->count; i++) {
        if (r->contents[i].count == 0 || r->contents[i].is_pods != pods)
            continue;
        struct client_call call = {
            .verb = CLIENT_DELETE_COLLECTION,
            .kind = metadata_kind(),
            .resource = &r->contents[i].path,
            .namespace_name = c->name,
            .propagation = CLIENT_PROPAGATE_BACKGROUND,
            .undecoded = true,
        };
        reconcile_call(c, &call, on_deleted, &r->contents[i]);
    }
}

/* --- conditions ----------------------------------------------------------------------------- */

static void set_condition(struct reconcile *c, struct core_v1_namespace_status *st,
                          const char *type, bool on, const char *reason, struct str message)
{
    struct core_v1_namespace_condition *x = NULL;
    for (size_t i = 0; i < st->conditions_count; i++)
        if (str_eqc(st->conditions[i].type, type))
            x = &st->conditions[i];
    if (x == NULL) {
        size_t cap = st->conditions_count;
        st->conditions = arena_grow(c->arena, st->conditions, st->conditions_count, &cap,
                                    sizeof(*st->conditions));
        x = &st->conditions[st->conditions_count++];
        x->type = str_of(type);
    }
    struct str status = on ? STR("True") : STR("False");
    if (!str_eq(x->status, status))
        x->last_transition_time = time_from_ns(env_wall_ns(c->run->env));
    x->status = status;
    x->reason = str_of(reason);
    x->message = message;
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* In order, so that the same is said alike. */
static struct str joined(struct reconcile *c, const char *prefix, struct str *list, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    if (count > 1)
        qsort(list, count, sizeof(*list), by_text);
    buf_puts(&b, prefix);
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s" STR_FMT, i == 0 ? "" : ", ", STR_ARG(list[i]));
    return arena_str(c->arena, buf_str(&b));
}

static struct str remaining_text(struct reconcile *c, const struct round *r)
{
    struct str *list = ARENA_ARRAY(c->arena, struct str, r->count);
    size_t n = 0;
    for (size_t i = 0; i < r->count; i++) {
        const struct content *x = &r->contents[i];
        if (x->count != 0)
            list[n++] = arena_printf(c->arena, "%s.%s has %zu resource instances",
                                     x->resource->resource, x->resource->group, x->count);
    }
    return joined(c, "Some resources are remaining: ", list, n);
}

static struct str finalizers_text(struct reconcile *c, const struct round *r)
{
    struct str *list = ARENA_ARRAY(c->arena, struct str, r->finalizer_count);
    for (size_t i = 0; i < r->finalizer_count; i++)
        list[i] = arena_printf(c->arena, STR_FMT " in %zu resource instances",
                               STR_ARG(r->finalizers[i].name), r->finalizers[i].count);
    return joined(c, "Some content in the namespace has finalizers remaining: ", list,
                  r->finalizer_count);
}

static struct str failure_text(struct reconcile *c, const struct round *r)
{
    return joined(c,
                  arena_printf(c->arena, "Failed to delete all resource types, %zu remaining: ",
                               r->failure_count)
                      .data,
                  r->failures, r->failure_count);
}

static struct str discovery_text(struct reconcile *c, const struct deleter *d)
{
    size_t stale = d->known != NULL ? d->known->stale_count : 0;
    return stale == 0 ? arena_strc(c->arena, d->discovery_error)
                      : arena_printf(c->arena, "Discovery failed for some groups, %zu failing: %s",
                                     stale, d->discovery_error);
}

static void report(struct reconcile *c, const struct round *r, bool remaining)
{
    const struct deleter *d = c->run->state;
    struct core_v1_namespace *copy = reconcile_copy(c, r->object);
    struct core_v1_namespace_status *st = &copy->status;
    bool failed = r->failure_count != 0, holds = r->finalizer_count != 0;
    st->phase = STR("Terminating");
    if (d->discovery_error != NULL)
        set_condition(c, st, "NamespaceDeletionDiscoveryFailure", true, "DiscoveryFailed",
                      discovery_text(c, d));
    else
        set_condition(c, st, "NamespaceDeletionDiscoveryFailure", false, "ResourcesDiscovered",
                      STR("All resources successfully discovered"));
    set_condition(c, st, "NamespaceDeletionGroupVersionParsingFailure", false,
                  "ParsedGroupVersions", STR("All legacy kube types successfully parsed"));
    set_condition(c, st, "NamespaceDeletionContentFailure", failed,
                  failed ? "ContentDeletionFailed" : "ContentDeleted",
                  failed ? failure_text(c, r)
                         : STR("All content successfully deleted, may be waiting on finalization"));
    set_condition(c, st, "NamespaceContentRemaining", remaining,
                  remaining ? "SomeResourcesRemain" : "ContentRemoved",
                  remaining ? remaining_text(c, r) : STR("All content successfully removed"));
    set_condition(c, st, "NamespaceFinalizersRemaining", holds,
                  holds ? "SomeFinalizersRemain" : "ContentHasNoFinalizers",
                  holds ? finalizers_text(c, r)
                        : STR("All content-preserving finalizers finished"));
    if (!api_msg_equal(&core_v1_namespace_status_msg, st, &r->ns->status))
        reconcile_update(c, namespace_kind(), copy, "status");
}

static void on_finalized(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code != 0 && result->code != E_NOT_FOUND)
        reconcile_fail(c);
}

static void finalize(struct reconcile *c, const struct round *r)
{
    struct core_v1_namespace *copy = reconcile_copy(c, r->object);
    size_t kept = 0;
    for (size_t i = 0; i < copy->spec.finalizers_count; i++)
        if (!str_eqc(copy->spec.finalizers[i], FINALIZER))
            copy->spec.finalizers[kept++] = copy->spec.finalizers[i];
    if (kept == copy->spec.finalizers_count)
        return; /* Others hold it. */
    copy->spec.finalizers_count = kept;
    struct client_call call = {
        .verb = CLIENT_UPDATE,
        .kind = namespace_kind(),
        .name = c->name,
        .subresource = "finalize",
        .body = copy,
    };
    reconcile_call(c, &call, on_finalized, NULL);
}

/* What some APIs have is not known: before the next round they are asked again. */
static bool needs_discovery(struct reconcile *c)
{
    struct deleter *d = c->run->state;
    struct leaving *l = map_get(&d->leaving, c->name);
    if (d->discovery_error == NULL || l == NULL)
        return false;
    l->since_ms = env_now_ms(c->run->env);
    reconcile_again_after(c, DISCOVERY_RETRY_MS);
    return true;
}

static void after_delete(struct reconcile *c)
{
    struct leaving *l = map_get(&((struct deleter *)c->run->state)->leaving, c->name);
    report(c, c->state, true);
    unsigned rounds = l != NULL ? l->rounds++ : 0;
    if (!needs_discovery(c))
        reconcile_again_after(c, MIN_OF(ROUND_MIN_MS << MIN_OF(rounds, 6u), ROUND_MAX_MS));
}

static void after_lists(struct reconcile *c)
{
    struct round *r = c->state;
    bool pods = false, others = false, failed = false;
    for (size_t i = 0; i < r->count; i++) {
        pods |= r->contents[i].is_pods && r->contents[i].count != 0;
        others |= !r->contents[i].is_pods && r->contents[i].count != 0;
        failed |= r->contents[i].failed;
    }
    if (!pods && !others && !failed) {
        if (needs_discovery(c))
            report(c, r, false);
        else
            finalize(c, r);
        return;
    }
    delete_some(c, r, pods);
    reconcile_then(c, after_delete);
}

static void gather_contents(struct reconcile *c, struct round *r, const struct discovery *known)
{
    r->contents = ARENA_ARRAY(c->arena, struct content, known->count + 1);
    for (size_t i = 0; i < known->count; i++) {
        const struct served_resource *s = &known->items[i];
        if (!s->namespaced || !s->preferred || !s->can_delete_collection || !s->can_list)
            continue;
        struct served_resource *copy = arena_memdup(c->arena, s, sizeof(*s));
        copy->group = arena_strdup(c->arena, s->group);
        copy->version = arena_strdup(c->arena, s->version);
        copy->resource = arena_strdup(c->arena, s->resource);
        r->contents[r->count++] = (struct content){
            .resource = copy,
            .path = {copy->group, copy->version, copy->resource, true},
            .is_pods = copy->group[0] == '\0' && strcmp(copy->resource, "pods") == 0,
        };
    }
}

static void reconcile(struct reconcile *c)
{
    struct deleter *d = c->run->state;
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Namespace"), c->key);
    if (o == NULL || api_object_meta(o)->deletion_timestamp == NULL)
        return;
    struct leaving *l = map_get(&d->leaving, c->name);
    if (l == NULL) {
        l = xzalloc(sizeof(*l));
        l->since_ms = env_now_ms(c->run->env);
        map_set(&d->leaving, c->name, l);
    }
    struct round *r = ARENA_NEW(c->arena, struct round);
    r->object = reconcile_hold(c, o);
    r->ns = o->msg;
    c->state = r;
    if (d->known == NULL || d->known->started_ms < l->since_ms) {
        if (d->discovery_error != NULL && d->known == NULL)
            report(c, r, false);
        discoverer_start(d->discoverer); /* Queues the namespace when done. */
        return;
    }
    gather_contents(c, r, d->known);
    list_all(c, r);
    reconcile_then(c, after_lists);
}

/* --- life ------------------------------------------------------------------------------------ */

static void init(struct controller_run *r)
{
    struct deleter *d = xzalloc(sizeof(*d));
    map_init(&d->leaving);
    d->discoverer = discoverer_new(r->client, on_discovered, r);
    r->state = d;
}

static void done(struct controller_run *r)
{
    struct deleter *d = r->state;
    size_t pos = 0;
    void *v;
    while (map_next(&d->leaving, &pos, NULL, &v))
        free(v);
    map_done(&d->leaving);
    discoverer_free(d->discoverer);
    discovery_free(d->known);
    free(d->discovery_error);
    free(d);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Namespace", touch},
    {0},
};

const struct controller controller_namespace = {
    .name = "namespace-controller",
    .workers = 10,
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
