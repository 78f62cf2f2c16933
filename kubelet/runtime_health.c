/* runtime_health.c - see runtime_health.h. */
#include "kubelet/runtime_health.h"

#include "kubelet/cri.h"
#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/log.h"

#define UNREADY_POLL_MS 1000u
#define READY_POLL_MS 5000u
#define CALL_TIMEOUT_MS 10000u

struct runtime_health {
    struct kubelet *k;
    void (*on_up)(struct kubelet *k);
    void (*on_change)(struct kubelet *k);
    uv_timer_t timer;
    struct cri_call *call;
    bool stopped;
    char *problem;
};

static void on_timer(uv_timer_t *t);

static void again(struct runtime_health *h)
{
    h->call = NULL;
    if (!h->stopped)
        uv_timer_start(&h->timer, on_timer, h->problem == NULL ? READY_POLL_MS : UNREADY_POLL_MS,
                       0);
}

static void set_problem(struct runtime_health *h, const char *problem)
{
    bool same = problem == NULL ? h->problem == NULL
                                : h->problem != NULL && strcmp(h->problem, problem) == 0;
    if (same)
        return;
    free(h->problem);
    h->problem = problem != NULL ? xstrdup(problem) : NULL;
    if (problem != NULL)
        log_warning("%s", problem);
    else
        log_info("container runtime and network are ready");
    if (h->on_change != NULL)
        h->on_change(h->k);
}

static const CRI(RuntimeCondition) * find(const CRI(RuntimeStatus) * s, const char *type)
{
    for (size_t i = 0; s != NULL && i < s->n_conditions; i++) {
        if (strcmp(s->conditions[i]->type, type) == 0)
            return s->conditions[i];
    }
    return NULL;
}

static const char *condition_text(struct arena *a, const char *what,
                                  const CRI(RuntimeCondition) * c, const char *type)
{
    return str_c(arena_printf(a, "container runtime %snot ready: %s=false reason:%s message:%s",
                              what, type, c != NULL ? c->reason : "", c != NULL ? c->message : ""));
}

/* Runtimes older than these messages say nothing: then they cannot do it. True: the node has
 * something else to tell of itself than before. */
static bool note_features(struct node_support *s, struct arena *a, const CRI(StatusResponse) * r)
{
    bool strict = r->features != NULL && r->features->supplemental_groups_policy;
    bool changed = !s->features_known || s->strict_groups != strict;
    struct runtime_handler *list = ARENA_ARRAY(a, struct runtime_handler, r->n_runtime_handlers);
    for (size_t i = 0; i < r->n_runtime_handlers; i++) {
        const CRI(RuntimeHandler) *h = r->runtime_handlers[i];
        list[i].name = h->name;
        list[i].recursive_read_only =
            h->features != NULL && h->features->recursive_read_only_mounts;
        list[i].user_namespaces = h->features != NULL && h->features->user_namespaces;
    }
    s->features_known = true;
    s->strict_groups = strict;
    return node_support_set_handlers(s, list, r->n_runtime_handlers) || changed;
}

static void on_status(const struct cri_reply *reply, void *arg)
{
    struct runtime_health *h = arg;
    if (h->stopped)
        return;
    if (reply->code != 0) {
        AUTO_ARENA *a = arena_new(0);
        set_problem(h, str_c(arena_printf(a, "container runtime is down: %s", reply->message)));
        again(h);
        return;
    }
    const CRI(StatusResponse) *r = reply->msg;
    bool told = note_features(&h->k->support, reply->arena, r);
    const CRI(RuntimeCondition) *runtime = find(r->status, "RuntimeReady"),
                                *network = find(r->status, "NetworkReady");
    h->k->network_ready = network != NULL && network->status;
    if (runtime == NULL || !runtime->status)
        set_problem(h, condition_text(reply->arena, "", runtime, "RuntimeReady"));
    else if (!h->k->network_ready)
        set_problem(h, condition_text(reply->arena, "network ", network, "NetworkReady"));
    else
        set_problem(h, NULL);
    if (told && h->on_change != NULL)
        h->on_change(h->k);
    again(h);
}

static void on_version(const struct cri_reply *reply, void *arg)
{
    struct runtime_health *h = arg;
    if (h->stopped)
        return;
    if (reply->code != 0) {
        AUTO_ARENA *a = arena_new(0);
        set_problem(h, str_c(arena_printf(a, "container runtime is down: %s", reply->message)));
        again(h);
        return;
    }
    const CRI(VersionResponse) *r = reply->msg;
    struct kubelet *k = h->k;
    k->runtime_name = arena_strdup(k->arena, r->runtime_name);
    k->runtime_version = arena_strdup(k->arena, r->runtime_version);
    log_info("container runtime %s %s, CRI %s", r->runtime_name, r->runtime_version,
             r->runtime_api_version);
    h->call = NULL;
    void (*on_up)(struct kubelet *) = h->on_up;
    h->on_up = NULL;
    uv_timer_start(&h->timer, on_timer, 0, 0);
    if (on_up != NULL)
        on_up(k);
}

static void on_timer(uv_timer_t *t)
{
    struct runtime_health *h = t->data;
    if (h->k->runtime_name == NULL) {
        CRI(VersionRequest) r;
        runtime__v1__version_request__init(&r);
        r.version = (char *)(uintptr_t) "v1";
        h->call = cri_call(h->k->cri, CRI_VERSION, &r, CALL_TIMEOUT_MS, on_version, h);
    } else {
        CRI(StatusRequest) r;
        runtime__v1__status_request__init(&r);
        h->call = cri_call(h->k->cri, CRI_STATUS, &r, CALL_TIMEOUT_MS, on_status, h);
    }
}

struct runtime_health *runtime_health_start(struct kubelet *k, void (*on_up)(struct kubelet *k),
                                            void (*on_change)(struct kubelet *k))
{
    struct runtime_health *h = xzalloc(sizeof(*h));
    h->k = k;
    h->on_up = on_up;
    h->on_change = on_change;
    h->problem = xstrdup("container runtime has not answered yet");
    uv_timer_init(k->loop, &h->timer);
    h->timer.data = h;
    uv_timer_start(&h->timer, on_timer, 0, 0);
    return h;
}

void runtime_health_stop(struct runtime_health *h)
{
    if (h == NULL)
        return;
    h->stopped = true;
    uv_timer_stop(&h->timer);
}

const char *runtime_health_problem(const struct runtime_health *h)
{
    return h->problem;
}
