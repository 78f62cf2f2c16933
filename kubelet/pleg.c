/* pleg.c - see pleg.h. */
#include "kubelet/pleg.h"

#include "kubelet/cri.h"
#include "kubelet/pod_worker.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"

#define POLL_MS 1000u
#define SAFETY_MS 15000u
#define HEALTHY_MS 180000u /* As upstream's relist threshold. */

struct pleg {
    struct kubelet *k;
    uv_timer_t timer;
    bool busy, again, stopped;
    uint64_t looked_ms, healthy_ms;
    struct map seen; /* uid -> struct seen_pod */
    struct cri_call *events;
    bool has_events;
};

struct seen_pod {
    uint64_t print, next; /* A sum over ids and states: of the last look, and of this one. */
    char *name, *namespace_name;
};

static const uint64_t print_seed[2] = {0x7072696e74u, 0x706f6473u};

static void look(struct pleg *p);

static bool polling_needed(const struct pleg *p)
{
    size_t pos = 0;
    void *w;
    if (p->has_events)
        return false;
    while (map_next(&p->k->workers, &pos, NULL, &w)) {
        if (pod_worker_needs_polling(w))
            return true;
    }
    return false;
}

static void on_timer(uv_timer_t *t)
{
    struct pleg *p = t->data;
    uint64_t now_ms = kubelet_now_ms(p->k);
    if (now_ms - p->looked_ms >= SAFETY_MS || polling_needed(p))
        look(p);
}

static struct seen_pod *seen_pod(struct pleg *p, const char *uid, const char *name,
                                 const char *namespace_name)
{
    struct seen_pod *s = map_get(&p->seen, str_of(uid));
    if (s == NULL) {
        s = xzalloc(sizeof(*s));
        s->name = xstrdup(name);
        s->namespace_name = xstrdup(namespace_name);
        map_set(&p->seen, str_of(uid), s);
    }
    return s;
}

static void add_print(struct seen_pod *s, const char *id, int state)
{
    /* A sum, so that the order of the list does not matter. */
    s->next += base_siphash(print_seed, id, strlen(id)) * (uint64_t)(2 * state + 1) + 1;
}

/* Tells the workers of changed pods, and makes workers for pods nobody wants. */
static void compare(struct pleg *p)
{
    size_t pos = 0;
    struct str uid;
    void *value;
    while (map_next(&p->seen, &pos, &uid, &value)) {
        struct seen_pod *s = value;
        struct pod_worker *w = map_get(&p->k->workers, uid);
        bool changed = s->next != s->print;
        s->print = s->next;
        s->next = 0;
        if (w != NULL && changed)
            pod_worker_observe(w);
        if (w == NULL && s->print != 0 && p->k->sources_ready && uid.len > 0)
            pod_worker_new_orphan(p->k, uid.data, s->name, s->namespace_name);
        if (s->print == 0) {
            map_remove(&p->seen, uid);
            free(s->name);
            free(s->namespace_name);
            free(s);
        }
    }
}

static void look_end(struct pleg *p, bool ok)
{
    p->busy = false;
    if (p->stopped)
        return;
    if (ok)
        p->healthy_ms = kubelet_now_ms(p->k);
    if (p->again) {
        p->again = false;
        look(p);
    }
}

static void on_containers(const struct cri_reply *reply, void *arg)
{
    struct pleg *p = arg;
    if (reply->code != 0 || p->stopped) {
        look_end(p, false);
        return;
    }
    const CRI(ListContainersResponse) *r = reply->msg;
    for (size_t i = 0; i < r->n_containers; i++) {
        const CRI(Container) *c = r->containers[i];
        const char *uid = cri_map_get(c->labels, c->n_labels, "io.kubernetes.pod.uid");
        const char *name = cri_map_get(c->labels, c->n_labels, "io.kubernetes.pod.name");
        const char *ns = cri_map_get(c->labels, c->n_labels, "io.kubernetes.pod.namespace");
        if (uid != NULL && name != NULL && ns != NULL)
            add_print(seen_pod(p, uid, name, ns), c->id, (int)c->state);
    }
    compare(p);
    look_end(p, true);
}

static void on_sandboxes(const struct cri_reply *reply, void *arg)
{
    struct pleg *p = arg;
    if (reply->code != 0 || p->stopped) {
        look_end(p, false);
        return;
    }
    size_t pos = 0;
    void *value;
    while (map_next(&p->seen, &pos, NULL, &value))
        ((struct seen_pod *)value)->next = 0;
    const CRI(ListPodSandboxResponse) *r = reply->msg;
    for (size_t i = 0; i < r->n_items; i++) {
        const CRI(PodSandbox) *s = r->items[i];
        if (s->metadata != NULL && s->metadata->uid[0] != '\0')
            add_print(seen_pod(p, s->metadata->uid, s->metadata->name, s->metadata->namespace_),
                      s->id, (int)s->state);
    }
    CRI(ListContainersRequest) req;
    runtime__v1__list_containers_request__init(&req);
    cri_call(p->k->cri, CRI_LIST_CONTAINERS, &req, CRI_TIMEOUT_MS, on_containers, p);
}

static void look(struct pleg *p)
{
    if (p->busy) {
        p->again = true;
        return;
    }
    p->busy = true;
    p->looked_ms = kubelet_now_ms(p->k);
    CRI(ListPodSandboxRequest) req;
    runtime__v1__list_pod_sandbox_request__init(&req);
    cri_call(p->k->cri, CRI_LIST_POD_SANDBOX, &req, CRI_TIMEOUT_MS, on_sandboxes, p);
}

/* --- events, where the runtime has them ---------------------------------------------- */

static void on_event(const void *msg, void *arg)
{
    struct pleg *p = arg;
    const CRI(ContainerEventResponse) *e = msg;
    p->has_events = true;
    if (e->pod_sandbox_status == NULL || e->pod_sandbox_status->metadata == NULL)
        return;
    struct pod_worker *w = map_get(&p->k->workers, str_of(e->pod_sandbox_status->metadata->uid));
    if (w != NULL)
        pod_worker_observe(w);
}

static void on_events_end(const struct cri_reply *reply, void *arg)
{
    struct pleg *p = arg;
    p->events = NULL;
    p->has_events = false;
    if (reply->status == GRPC_UNIMPLEMENTED)
        log_debug("the runtime has no event stream; watching processes instead");
}

struct pleg *pleg_start(struct kubelet *k)
{
    struct pleg *p = xzalloc(sizeof(*p));
    p->k = k;
    p->healthy_ms = kubelet_now_ms(k);
    map_init(&p->seen);
    uv_timer_init(k->loop, &p->timer);
    p->timer.data = p;
    uv_timer_start(&p->timer, on_timer, 0, POLL_MS);
    CRI(GetEventsRequest) r;
    runtime__v1__get_events_request__init(&r);
    p->events = cri_stream(k->cri, CRI_GET_CONTAINER_EVENTS, &r, on_event, on_events_end, p);
    return p;
}

void pleg_poke(struct pleg *p)
{
    if (p != NULL)
        look(p);
}

_Bool pleg_is_healthy(const struct pleg *p)
{
    return kubelet_now_ms(p->k) - p->healthy_ms < HEALTHY_MS;
}

void pleg_stop(struct pleg *p)
{
    p->stopped = true;
    uv_timer_stop(&p->timer);
    if (p->events != NULL)
        cri_call_cancel(take(p->events));
}
