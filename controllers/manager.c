/* manager.c - queues, shared informers and reconciliations of all controllers.
 * See controller.h for the picture. */
#include "controllers/manager.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "controllers/clock.h"
#include "controllers/cache_indexes.h"
#include "lib/api/codec.h"
#include "lib/api/owner.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/list.h"
#include "lib/base/log.h"
#include "lib/client/work_queue.h"

#include <string.h>
#include <uv.h>

#define INFORMERS_MAX 64
#define RUNS_MAX 64
#define WORKERS_DEFAULT 5

struct run {
    struct controller_run pub;
    struct list reconciles; /* Of struct item. */
    uv_timer_t *timer;      /* Closed on its own; NULL without tick. */
};

struct shared {
    const struct api_kind *kind;
    struct informer *informer;
    bool packs;
};

struct manager {
    struct client *client;
    struct shared informers[INFORMERS_MAX];
    size_t informer_count;
    struct run runs[RUNS_MAX];
    size_t run_count;
    struct arena *arena; /* Subscriptions. */
    size_t unsynced;     /* Informers whose first list is still to come. */
    struct clock_watch *clock;
};

/* A reconciliation under way. */
struct item {
    struct list link; /* In run.reconciles. */
    struct list calls;
    struct reconcile pub;
};

struct call {
    struct list link; /* In item.calls. */
    struct item *item;
    struct client_request *request;
    bool tolerate_absence;
    void (*done)(struct reconcile *c, const struct client_result *result, void *arg);
    void *arg;
};

static struct manager_options the_options = {
    .cluster_cidr = "10.244.0.0/16",
    .service_cidr = "10.96.0.0/16",
    .node_monitor_grace_ns = (int64_t)50 * 1000000000,
    .node_startup_grace_ns = (int64_t)60 * 1000000000,
    .node_monitor_period_ns = (int64_t)5 * 1000000000,
    .terminated_pod_threshold = 12500,
    .node_eviction_rate = 0.1,
    .secondary_node_eviction_rate = 0.01,
    .large_cluster_size_threshold = 50,
    .unhealthy_zone_threshold = 0.55,
    .endpoints_per_slice_max = 100,
    .legacy_token_period_ns = (int64_t)365 * 24 * 3600 * 1000000000,
    .hpa_sync_ns = (int64_t)15 * 1000000000,
    .hpa_cpu_initialization_ns = (int64_t)300 * 1000000000,
    .hpa_initial_readiness_ns = (int64_t)30 * 1000000000,
    .hpa_downscale_window_ns = (int64_t)300 * 1000000000,
    .hpa_tolerance = 0.1,
    .vpa_sync_ns = (int64_t)60 * 1000000000,
    .vpa_min_replicas = 2,
    .vpa_eviction_tolerance = 0.5,
};

struct manager_options *manager_options(void)
{
    return &the_options;
}

const struct manager_options *controller_options(void)
{
    return &the_options;
}

/* --- reconciliations ------------------------------------------------------------------ */

static void item_free(struct item *item)
{
    list_remove(&item->link);
    arena_free(item->pub.arena); /* Holds the item itself. */
}

static void item_settle(struct item *item)
{
    struct reconcile *c = &item->pub;
    while (!c->running && c->pending == 0 && c->then != NULL) {
        void (*then)(struct reconcile *) = c->then;
        c->then = NULL;
        c->running = true;
        then(c);
        c->running = false;
    }
    if (c->running || c->pending != 0)
        return;
    struct work_queue *q = c->run->queue;
    if (c->failed) {
        work_queue_add_rate_limited(q, c->key);
    } else {
        work_queue_forget(q, c->key);
        if (c->again_ms != 0)
            work_queue_add_after(q, c->key, c->again_ms);
    }
    work_queue_done(q, c->key);
    item_free(item);
}

/* A reconciliation may look at thousands of objects, and many follow each other before the loop
 * runs on. */
static void rest(struct manager *m)
{
    for (size_t i = 0; i < m->informer_count; i++)
        if (m->informers[i].packs)
            informer_rest(m->informers[i].informer);
}

static void on_process(struct work_queue *q, struct str key, void *arg)
{
    UNUSED(q);
    struct run *run = arg;
    struct arena *a = arena_new(0);
    struct item *item = ARENA_NEW(a, struct item);
    list_init(&item->calls);
    list_push_back(&run->reconciles, &item->link);
    struct reconcile *c = &item->pub;
    c->run = &run->pub;
    c->arena = a;
    c->key = arena_str(a, key);
    informer_split_key(c->key, &c->namespace_name, &c->name);
    c->running = true;
    run->pub.controller->reconcile(c);
    c->running = false;
    item_settle(item);
    rest(run->pub.manager);
}

static struct item *item_of(struct reconcile *c)
{
    return CONTAINER_OF(c, struct item, pub);
}

static void on_answer(struct client_request *r, const struct client_result *result, void *arg)
{
    UNUSED(r);
    struct call *call = arg;
    struct item *item = call->item;
    struct reconcile *c = &item->pub;
    list_remove(&call->link);
    bool running = c->running;
    c->running = true;
    if (call->done != NULL) {
        call->done(c, result, call->arg);
    } else if (result->code != 0 && !(call->tolerate_absence && result->code == E_NOT_FOUND)) {
        if (result->code != E_CONFLICT)
            log_warning("%s " STR_FMT ": %s", c->run->controller->name, STR_ARG(c->key),
                        result->message);
        c->failed = true;
    }
    c->running = running;
    c->pending--;
    item_settle(item);
}

static struct call *new_call(struct reconcile *c,
                             void (*done)(struct reconcile *, const struct client_result *, void *),
                             void *arg)
{
    struct call *mine = ARENA_NEW(c->arena, struct call);
    mine->item = item_of(c);
    mine->done = done;
    mine->arg = arg;
    return mine;
}

static void call_started(struct reconcile *c, struct call *mine, int rc, const struct error *err)
{
    if (rc != 0) {
        log_error("%s " STR_FMT ": %s", c->run->controller->name, STR_ARG(c->key),
                  error_message(err));
        c->failed = true;
        return;
    }
    list_push_back(&mine->item->calls, &mine->link);
    c->pending++;
}

void reconcile_call(struct reconcile *c, const struct client_call *call,
                    void (*done)(struct reconcile *c, const struct client_result *result,
                                 void *arg),
                    void *arg)
{
    struct call *mine = new_call(c, done, arg);
    mine->tolerate_absence = call->verb == CLIENT_DELETE;
    struct client_call copy = *call;
    copy.done = on_answer;
    copy.arg = mine;
    struct error err = {0};
    int rc = client_start(c->run->client, &copy, &mine->request, &err);
    call_started(c, mine, rc, &err);
}

void reconcile_raw(struct reconcile *c, const char *method, struct str path,
                   void (*done)(struct reconcile *c, const struct client_result *result, void *arg),
                   void *arg)
{
    struct call *mine = new_call(c, done, arg);
    struct error err = {0};
    int rc = client_raw_start(
        c->run->client,
        &(struct client_raw){.method = method, .path = path, .done = on_answer, .arg = mine},
        &mine->request, &err);
    call_started(c, mine, rc, &err);
}

void reconcile_get(struct reconcile *c, struct str path,
                   void (*done)(struct reconcile *c, const struct client_result *result, void *arg),
                   void *arg)
{
    reconcile_raw(c, "GET", path, done, arg);
}

void reconcile_then(struct reconcile *c, void (*then)(struct reconcile *c))
{
    c->then = then;
}

void reconcile_fail(struct reconcile *c)
{
    c->failed = true;
}

void reconcile_again_after(struct reconcile *c, uint64_t delay_ms)
{
    if (delay_ms == 0)
        delay_ms = 1;
    if (c->again_ms == 0 || delay_ms < c->again_ms)
        c->again_ms = delay_ms;
}

void reconcile_update_seen(
    struct reconcile *c, const struct api_kind *kind, const void *msg, const char *subresource,
    void (*done)(struct reconcile *c, const struct client_result *result, void *arg), void *arg)
{
    const struct meta_v1_object_meta *m = api_meta_of(kind, msg);
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_UPDATE,
                                         .kind = kind,
                                         .namespace_name = m->namespace,
                                         .name = m->name,
                                         .subresource = subresource,
                                         .body = msg},
                   done, arg);
}

void reconcile_update(struct reconcile *c, const struct api_kind *kind, const void *msg,
                      const char *subresource)
{
    reconcile_update_seen(c, kind, msg, subresource, NULL, NULL);
}

void reconcile_delete(struct reconcile *c, const struct api_kind *kind,
                      const struct meta_v1_object_meta *meta)
{
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_DELETE,
                                         .kind = kind,
                                         .namespace_name = meta->namespace,
                                         .name = meta->name,
                                         .uid_precondition = meta->uid},
                   NULL, NULL);
}

/* --- queueing -------------------------------------------------------------------------- */

/* What the first lists bring is backlog: what changes meanwhile goes before it. */
static void enqueue(struct controller_run *r, struct str key)
{
    (r->manager->unsynced != 0 ? work_queue_add_low : work_queue_add)(r->queue, key);
}

void controller_enqueue(struct controller_run *r, struct str key)
{
    enqueue(r, key);
}

void controller_enqueue_object(struct controller_run *r, const struct api_object *o)
{
    AUTO_ARENA *a = arena_new(256);
    enqueue(r, informer_key(a, o));
}

void controller_enqueue_after(struct controller_run *r, struct str key, uint64_t delay_ms)
{
    work_queue_add_after(r->queue, key, delay_ms);
}

void controller_enqueue_owner(struct controller_run *r, const struct api_object *o,
                              const char *kind)
{
    const struct meta_v1_object_meta *m = api_object_meta(o);
    const struct meta_v1_owner_reference *ref = owner_controller(m);
    if (ref == NULL || !str_eqc(ref->kind, kind))
        return;
    AUTO_ARENA *a = arena_new(256);
    enqueue(r, informer_key_of(a, m->namespace, ref->name));
}

/* --- caches ----------------------------------------------------------------------------- */

static struct shared *find_shared(struct manager *m, const char *group, const char *kind)
{
    for (size_t i = 0; i < m->informer_count; i++)
        if (strcmp(m->informers[i].kind->group, group) == 0 &&
            strcmp(m->informers[i].kind->kind, kind) == 0)
            return &m->informers[i];
    return NULL;
}

struct informer *controller_find_informer(struct controller_run *r, const char *group,
                                          const char *kind)
{
    struct shared *s = find_shared(r->manager, group, kind);
    return s != NULL ? s->informer : NULL;
}

struct informer *controller_informer(struct controller_run *r, const char *group, const char *kind)
{
    struct shared *s = find_shared(r->manager, group, kind);
    ASSERT(s != NULL);
    return s->informer;
}

struct api_object *const *controller_owned(struct controller_run *r, const char *group,
                                           const char *kind, struct str uid, size_t *ret_count)
{
    return informer_by_index(controller_informer(r, group, kind), "controller", uid, ret_count);
}

struct api_object *const *controller_in_namespace(struct controller_run *r, const char *group,
                                                  const char *kind, struct str namespace_name,
                                                  size_t *ret_count)
{
    return informer_by_index(controller_informer(r, group, kind), "namespace", namespace_name,
                             ret_count);
}

struct informer_walk controller_walk_pods(struct controller_run *r, struct str namespace_name)
{
    return controller_walk_pods_by(r, "namespace", namespace_name);
}

struct informer_walk controller_walk_pods_by(struct controller_run *r, const char *index,
                                             struct str key)
{
    return informer_walk_index(controller_informer(r, "", "Pod"), index, key);
}

struct api_object *const *controller_orphan_pods(struct controller_run *r,
                                                 struct str namespace_name, size_t *ret_count)
{
    return informer_by_index(controller_informer(r, "", "Pod"), "orphan", namespace_name,
                             ret_count);
}

struct api_object *const *controller_labelled_pods(struct controller_run *r,
                                                   struct str namespace_name,
                                                   const struct api_str_entry *labels,
                                                   size_t label_count, size_t *ret_count)
{
    if (label_count == 0)
        return controller_in_namespace(r, "", "Pod", namespace_name, ret_count);
    AUTO_ARENA *a = arena_new(1024);
    const struct informer *pods = controller_informer(r, "", "Pod");
    struct str rarest = STR_NULL;
    size_t least = SIZE_MAX;
    for (size_t i = 0; i < label_count; i++) {
        struct str key = informer_label_key(a, namespace_name, labels[i].key, labels[i].value);
        size_t count = informer_index_count(pods, "label", key);
        if (count >= least)
            continue;
        least = count;
        rarest = key;
    }
    return informer_by_index(pods, "label", rarest, ret_count);
}

/* What a watch's handler needs; lives as long as the manager. */
struct subscription {
    struct run *run;
    const struct controller_watch *watch;
};

static void on_add(struct api_object *o, void *arg)
{
    struct subscription *s = arg;
    s->watch->touch(&s->run->pub, NULL, o);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    struct subscription *s = arg;
    s->watch->touch(&s->run->pub, old, o);
}

static void on_delete(struct api_object *o, bool final_state_unknown, void *arg)
{
    UNUSED(final_state_unknown);
    struct subscription *s = arg;
    s->watch->touch(&s->run->pub, o, NULL);
}

/* All first states are here: controllers may act. */
static void on_synced(void *arg)
{
    struct manager *m = arg;
    if (--m->unsynced != 0)
        return;
    for (size_t i = 0; i < m->run_count; i++)
        work_queue_resume(m->runs[i].pub.queue);
    log_info("caches are filled; %zu controllers run", m->run_count);
}

/* No controller reads which images a node has, some kilobytes of each. Nobody writes a node's whole
 * status, so that nothing is lost; an update of the rest leaves the status as it is. */
static void trim_node(struct api_object *o)
{
    struct core_v1_node *n = o->msg;
    n->metadata.managed_fields_count = 0;
    n->status.images_count = 0;
}

static struct shared *ensure_shared(struct manager *m, const struct controller_watch *w)
{
    struct shared *s = find_shared(m, w->group, w->kind);
    if (s != NULL)
        return s;
    ASSERT(m->informer_count < INFORMERS_MAX);
    s = &m->informers[m->informer_count++];
    s->kind = api_kind_by_gvk(str_of(w->group), str_of(w->version), str_of(w->kind));
    ASSERT(s->kind != NULL);
    s->packs = strcmp(w->kind, "Pod") == 0; /* Of which there are many; others are walked. */
    struct informer_config config = {
        .kind = s->kind,
        .indexes = {{"namespace", informer_index_namespace},
                    {"controller", informer_index_controller}},
        .compact_bytes = 2048,
        .pack = s->packs,
    };
    if (strcmp(w->kind, "Pod") == 0) {
        config.indexes[2] = (struct informer_index){"node", informer_index_node};
        config.indexes[3] = (struct informer_index){"orphan", informer_index_orphan};
        config.indexes[4] = (struct informer_index){"gang", informer_index_gang};
        config.indexes[5] = (struct informer_index){"label", informer_index_label};
        config.indexes[6] = (struct informer_index){"ended", informer_index_ended};
        config.indexes[7] =
            (struct informer_index){POD_INDEX_RESOURCE_CLAIM, pod_index_resource_claim};
        config.indexes[8] = (struct informer_index){POD_INDEX_VOLUME_CLAIM, pod_index_volume_claim};
        config.indexes[9] =
            (struct informer_index){POD_INDEX_CLAIMS_ON_NODE, pod_index_claims_on_node};
    }
    if (strcmp(w->kind, "VolumeAttachment") == 0)
        config.indexes[2] = (struct informer_index){ATTACHMENT_INDEX_NODE, attachment_index_node};
    if (strcmp(w->kind, "Node") == 0)
        config.trim = trim_node;
    struct error err = {0};
    if (informer_new(m->client, &config, &s->informer, &err) != 0)
        PANIC("informer for %s: %s", w->kind, error_message(&err));
    informer_add_handler(s->informer, &(struct informer_handler){.on_synced = on_synced, .arg = m});
    m->unsynced++;
    return s;
}

/* --- start and stop ----------------------------------------------------------------------- */

static void on_tick(uv_timer_t *t)
{
    struct run *run = t->data;
    if (run->pub.manager->unsynced == 0)
        run->pub.controller->tick(&run->pub);
}

static uint32_t tick_period(const struct controller *c)
{
    return c->tick_period_ms != NULL ? c->tick_period_ms() : c->tick_ms;
}

static void start_tick(struct run *run)
{
    run->timer = xzalloc(sizeof(*run->timer));
    uv_timer_init(client_loop(run->pub.client), run->timer);
    run->timer->data = run;
    uint64_t period_ms = tick_period(run->pub.controller);
    uv_timer_start(run->timer, on_tick, period_ms, period_ms);
}

static void on_timer_closed(uv_handle_t *h)
{
    free(h);
}

static bool is_enabled(const char *name, const char *const *enabled)
{
    bool all = enabled == NULL;
    for (; enabled != NULL && *enabled != NULL; enabled++) {
        if (strcmp(*enabled, name) == 0)
            return true;
        if ((*enabled)[0] == '-' && strcmp(*enabled + 1, name) == 0)
            return false;
        if (strcmp(*enabled, "*") == 0)
            all = true;
    }
    return all;
}

/* As upstream's are mostly called: "job" for job-controller. */
static char *queue_name(const char *controller)
{
    struct str name = str_of(controller), tail = STR("-controller");
    if (str_has_suffix(name, tail))
        name = str_sub(name, 0, name.len - tail.len);
    return xasprintf(STR_FMT, STR_ARG(name));
}

static void start_run(struct manager *m, const struct controller *controller)
{
    ASSERT(m->run_count < RUNS_MAX);
    struct run *run = &m->runs[m->run_count++];
    list_init(&run->reconciles);
    run->pub = (struct controller_run){
        .controller = controller,
        .manager = m,
        .client = m->client,
        .env = client_env(m->client),
        .recorder = event_recorder_new(
            m->client,
            controller->event_source != NULL ? controller->event_source : controller->name, NULL)};
    run->pub.expectations = expectations_new(run->pub.env);
    AUTO_FREE char *name = queue_name(controller->name);
    struct work_queue_config config = {.name = name,
                                       .workers = controller->workers != 0 ? controller->workers
                                                                           : WORKERS_DEFAULT,
                                       .process = on_process,
                                       .arg = run};
    run->pub.queue = work_queue_new(client_loop(m->client), &config);
    work_queue_pause(run->pub.queue);
    for (const struct controller_watch *w = controller->watches; w->kind != NULL; w++) {
        struct shared *s = ensure_shared(m, w);
        if (w->touch == NULL)
            continue;
        struct subscription *sub = ARENA_NEW(m->arena, struct subscription);
        *sub = (struct subscription){run, w};
        informer_add_handler(s->informer, &(struct informer_handler){.on_add = on_add,
                                                                     .on_update = on_update,
                                                                     .on_delete = on_delete,
                                                                     .arg = sub});
    }
    if (controller->init != NULL)
        controller->init(&run->pub);
    if (controller->tick != NULL)
        start_tick(run);
}

static void on_clock_jump(int64_t by_ns, void *arg)
{
    struct manager *m = arg;
    log_warning("the clock jumped by %.1f s; what waits for a time is looked at anew",
                (double)by_ns / 1e9);
    for (size_t i = 0; i < m->run_count; i++)
        work_queue_hasten(m->runs[i].pub.queue);
}

struct manager *manager_start(struct client *c, const struct controller *const *table,
                              const char *const *enabled)
{
    struct manager *m = xzalloc(sizeof(*m));
    m->client = c;
    m->arena = arena_new(0);
    for (; *table != NULL; table++)
        if (is_enabled((*table)->name, enabled) && ((*table)->wanted == NULL || (*table)->wanted()))
            start_run(m, *table);
    for (size_t i = 0; i < m->informer_count; i++)
        informer_start(m->informers[i].informer);
    m->clock = clock_watch_start(client_loop(c), client_env(c), on_clock_jump, m);
    return m;
}

static void stop_run(struct run *run)
{
    for (struct list *n; (n = list_pop_front(&run->reconciles)) != NULL;) {
        struct item *item = LIST_ENTRY(n, struct item, link);
        for (struct list *k; (k = list_pop_front(&item->calls)) != NULL;)
            client_cancel(LIST_ENTRY(k, struct call, link)->request);
        arena_free(item->pub.arena);
    }
    work_queue_close(run->pub.queue);
    if (run->timer != NULL) {
        uv_timer_stop(run->timer);
        uv_close((uv_handle_t *)run->timer, on_timer_closed);
    }
    if (run->pub.controller->done != NULL)
        run->pub.controller->done(&run->pub);
    expectations_free(run->pub.expectations);
    event_recorder_close(run->pub.recorder);
}

void manager_stop(struct manager *m)
{
    if (m == NULL)
        return;
    clock_watch_close(m->clock);
    for (size_t i = 0; i < m->informer_count; i++)
        informer_close(m->informers[i].informer);
    for (size_t i = 0; i < m->run_count; i++)
        stop_run(&m->runs[i]);
    arena_free(m->arena);
    free(m);
}

/* --- objects -------------------------------------------------------------------------------- */

void owner_reference_to(const struct api_kind *kind, const struct meta_v1_object_meta *owner,
                        struct meta_v1_owner_reference *ret)
{
    *ret = (struct meta_v1_owner_reference){.api_version = str_of(kind->api_version),
                                            .kind = str_of(kind->kind),
                                            .name = owner->name,
                                            .uid = owner->uid,
                                            .has_controller = true,
                                            .controller = true,
                                            .has_block_owner_deletion = true,
                                            .block_owner_deletion = true};
}

void *reconcile_copy(struct reconcile *c, const struct api_object *o)
{
    return api_msg_clone(c->arena, o->kind->msg, o->msg);
}

int64_t controller_now_s(const struct controller_run *r)
{
    return env_wall_ns(r->env) / 1000000000;
}
