/* mirror_pods.c - see mirror_pods.h. */
#include "kubelet/mirror_pods.h"

#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"

#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/client/client.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"

#define SETTLE_MS 50u
#define RETRY_MS 3000u
#define CALL_TIMEOUT_MS 10000u

struct mirror_pods {
    struct kubelet *k;
    uv_timer_t timer;
    size_t open; /* Calls under way: their outcome comes before the next look. */
    bool again, failed, stopped;
};

static const struct str *annotation(const struct core_v1_pod *pod, const char *key)
{
    return api_str_map_get(pod->metadata.annotations, pod->metadata.annotations_count, str_of(key));
}

bool pod_is_mirror(const struct core_v1_pod *pod)
{
    return annotation(pod, ANNOTATION_MIRROR) != NULL;
}

struct api_object *mirror_pod_of(const struct kubelet *k, const struct core_v1_pod *pod)
{
    if (k->pods == NULL)
        return NULL;
    struct api_object *o = informer_get(k->pods, pod->metadata.namespace, pod->metadata.name);
    if (o == NULL || !pod_is_mirror(o->msg))
        return NULL;
    const struct str *hash = annotation(o->msg, ANNOTATION_MIRROR);
    return str_eq(*hash, pod->metadata.uid) ? o : NULL;
}

static void on_timer(uv_timer_t *t);

static void on_done(struct client_request *r, const struct client_result *result, void *arg)
{
    struct mirror_pods *m = arg;
    UNUSED(r);
    if (result->code != 0 && result->code != E_NOT_FOUND && result->code != E_EXISTS) {
        log_warning("mirror pod: %s", result->message);
        m->failed = true;
    }
    if (--m->open > 0 || m->stopped)
        return;
    if (m->failed || m->again)
        uv_timer_start(&m->timer, on_timer, m->failed ? RETRY_MS : SETTLE_MS, 0);
    m->failed = m->again = false;
}

static void call(struct mirror_pods *m, struct client_call *c)
{
    struct error err;
    c->kind = api_kind_by_api_version(STR("v1"), STR("Pod"));
    c->timeout_ms = CALL_TIMEOUT_MS;
    c->done = on_done;
    c->arg = m;
    if (client_start(m->k->client, c, NULL, &err) == 0)
        m->open++;
    else
        log_error("mirror pod: %s", error_message(&err));
}

static void delete (struct mirror_pods *m, const struct core_v1_pod *mirror)
{
    struct client_call c = {
        .verb = CLIENT_DELETE,
        .namespace_name = mirror->metadata.namespace,
        .name = mirror->metadata.name,
        .has_grace_period = true,
        .uid_precondition = mirror->metadata.uid,
    };
    call(m, &c);
}

static void create(struct mirror_pods *m, const struct core_v1_pod *pod)
{
    const struct core_v1_node *node = m->k->node != NULL ? m->k->node->msg : NULL;
    struct meta_v1_owner_reference owner = {.api_version = STR("v1"),
                                            .kind = STR("Node"),
                                            .name = str_of(m->k->node_name),
                                            .has_controller = true,
                                            .controller = true};
    if (node == NULL)
        return; /* Comes again once the Node is known. */
    AUTO_ARENA *a = arena_new(0);
    struct core_v1_pod *copy = api_msg_clone(a, &core_v1_pod_msg, pod);
    struct meta_v1_object_meta *meta = &copy->metadata;
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, meta->annotations_count + 1);
    size_t at = 0;
    while (at < meta->annotations_count &&
           str_cmp(meta->annotations[at].key, STR(ANNOTATION_MIRROR)) < 0)
        at++;
    for (size_t i = 0; i < meta->annotations_count; i++)
        list[i < at ? i : i + 1] = meta->annotations[i];
    list[at] = (struct api_str_entry){STR(ANNOTATION_MIRROR), pod->metadata.uid};
    meta->annotations = list;
    meta->annotations_count++;
    meta->uid = STR_NULL;
    meta->generation = 0;
    owner.uid = node->metadata.uid;
    meta->owner_references = &owner;
    meta->owner_references_count = 1;
    copy->status = (struct core_v1_pod_status){0};
    struct client_call c = {
        .verb = CLIENT_CREATE,
        .namespace_name = meta->namespace,
        .body = copy,
    };
    call(m, &c);
}

/* Mirrors without their static pod, or of an older version of it. */
static void drop_stale(struct mirror_pods *m)
{
    size_t pos = 0;
    for (struct api_object *o; (o = informer_next(m->k->pods, &pos)) != NULL;) {
        const struct core_v1_pod *mirror = o->msg;
        const struct str *hash = annotation(mirror, ANNOTATION_MIRROR);
        if (hash == NULL)
            continue;
        struct pod_worker *w = map_get(&m->k->workers, *hash);
        /* One being deleted has to be finished by us, whoever began. */
        if (w == NULL || pod_worker_origin(w) != POD_FROM_FILE ||
            mirror->metadata.deletion_timestamp != NULL)
            delete (m, mirror);
    }
}

static void add_missing(struct mirror_pods *m)
{
    size_t pos = 0;
    void *w;
    while (map_next(&m->k->workers, &pos, NULL, &w)) {
        const struct core_v1_pod *pod = pod_worker_pod(w);
        if (pod != NULL && pod_worker_origin(w) == POD_FROM_FILE && !pod_worker_is_gone(w) &&
            informer_get(m->k->pods, pod->metadata.namespace, pod->metadata.name) == NULL)
            create(m, pod);
    }
}

static void on_timer(uv_timer_t *t)
{
    struct mirror_pods *m = t->data;
    if (m->stopped || m->k->pods == NULL || !m->k->sources_ready)
        return;
    if (m->open > 0) {
        m->again = true;
        return;
    }
    drop_stale(m);
    add_missing(m);
}

void mirror_pods_kick(struct mirror_pods *m)
{
    if (m == NULL || m->stopped)
        return;
    if (m->open > 0)
        m->again = true;
    else if (!uv_is_active((uv_handle_t *)&m->timer))
        uv_timer_start(&m->timer, on_timer, SETTLE_MS, 0);
}

struct mirror_pods *mirror_pods_start(struct kubelet *k)
{
    struct mirror_pods *m = xzalloc(sizeof(*m));
    m->k = k;
    uv_timer_init(k->loop, &m->timer);
    m->timer.data = m;
    mirror_pods_kick(m);
    return m;
}

void mirror_pods_stop(struct mirror_pods *m)
{
    if (m == NULL)
        return;
    m->stopped = true;
    uv_timer_stop(&m->timer);
}
