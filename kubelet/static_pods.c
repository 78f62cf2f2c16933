/* static_pods.c - see static_pods.h. */
#include "kubelet/static_pods.h"

#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/pod_worker.h"
#include "kubelet/pull_secrets.h"

#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/env.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/net/pki.h"

#include "api/core_v1.h"

#include <dirent.h>
#include <errno.h>
#include <sys/stat.h>

#define MANIFEST_BYTES_MAX (10u << 20)
#define MANIFESTS_MAX 1024
#define RESCAN_DELAY_MS 100

/* --- defaults ------------------------------------------------------------------------ */

#define DEFAULT_STR(field, value)                                                                  \
    do {                                                                                           \
        if (str_empty(field))                                                                      \
            (field) = STR(value);                                                                  \
    } while (0)
#define DEFAULT_INT(field, value)                                                                  \
    do {                                                                                           \
        if ((field) == 0)                                                                          \
            (field) = (value);                                                                     \
    } while (0)

static void default_probe(struct core_v1_probe *p)
{
    if (p == NULL)
        return;
    DEFAULT_INT(p->timeout_seconds, 1);
    DEFAULT_INT(p->period_seconds, 10);
    DEFAULT_INT(p->success_threshold, 1);
    DEFAULT_INT(p->failure_threshold, 3);
    if (p->handler.http_get != NULL) {
        DEFAULT_STR(p->handler.http_get->path, "/");
        DEFAULT_STR(p->handler.http_get->scheme, "HTTP");
    }
}

static void default_hook(struct core_v1_lifecycle_handler *h)
{
    if (h != NULL && h->http_get != NULL) {
        DEFAULT_STR(h->http_get->path, "/");
        DEFAULT_STR(h->http_get->scheme, "HTTP");
    }
}

/* A limit without a request asks for as much. */
static void default_requests(struct arena *a, struct core_v1_resource_requirements *r)
{
    for (size_t i = 0; i < r->limits_count; i++) {
        bool found = false;
        for (size_t k = 0; k < r->requests_count && !found; k++)
            found = str_eq(r->requests[k].key, r->limits[i].key);
        if (found)
            continue;
        struct api_quantity_entry *grown =
            ARENA_ARRAY(a, struct api_quantity_entry, r->requests_count + 1);
        size_t at = 0;
        while (at < r->requests_count && str_cmp(r->requests[at].key, r->limits[i].key) < 0)
            at++;
        for (size_t k = 0; k < r->requests_count; k++)
            grown[k < at ? k : k + 1] = r->requests[k];
        grown[at] = r->limits[i];
        r->requests = grown;
        r->requests_count++;
    }
}

static void default_container(struct arena *a, struct core_v1_container *c, bool host_network)
{
    DEFAULT_STR(c->termination_message_path, "/dev/termination-log");
    DEFAULT_STR(c->termination_message_policy, "File");
    if (str_empty(c->image_pull_policy))
        c->image_pull_policy = image_is_latest(c->image) ? STR("Always") : STR("IfNotPresent");
    for (size_t i = 0; i < c->ports_count; i++) {
        DEFAULT_STR(c->ports[i].protocol, "TCP");
        if (host_network)
            DEFAULT_INT(c->ports[i].host_port, c->ports[i].container_port);
    }
    for (size_t i = 0; i < c->env_count; i++) {
        if (c->env[i].value_from != NULL && c->env[i].value_from->field_ref != NULL)
            DEFAULT_STR(c->env[i].value_from->field_ref->api_version, "v1");
    }
    default_probe(c->startup_probe);
    default_probe(c->liveness_probe);
    default_probe(c->readiness_probe);
    if (c->lifecycle != NULL) {
        default_hook(c->lifecycle->post_start);
        default_hook(c->lifecycle->pre_stop);
    }
    default_requests(a, &c->resources);
}

void pod_set_defaults(struct arena *a, struct core_v1_pod *pod)
{
    struct core_v1_pod_spec *s = &pod->spec;
    DEFAULT_STR(s->restart_policy, "Always");
    DEFAULT_STR(s->dns_policy, "ClusterFirst");
    DEFAULT_STR(s->scheduler_name, "default-scheduler");
    if (!s->has_termination_grace_period_seconds) {
        s->has_termination_grace_period_seconds = true;
        s->termination_grace_period_seconds = 30;
    }
    if (!s->has_enable_service_links)
        s->has_enable_service_links = s->enable_service_links = true;
    if (s->security_context == NULL)
        s->security_context = ARENA_NEW(a, struct core_v1_pod_security_context);
    for (size_t i = 0; i < s->init_containers_count; i++)
        default_container(a, &s->init_containers[i], s->host_network);
    for (size_t i = 0; i < s->containers_count; i++)
        default_container(a, &s->containers[i], s->host_network);
    for (size_t i = 0; i < s->volumes_count; i++) {
        struct core_v1_volume_source *v = &s->volumes[i].volume_source;
        if (v->host_path != NULL && !v->host_path->has_type)
            v->host_path->has_type = true;
    }
}

/* --- parsing ---------------------------------------------------------------------------- */

static void set_annotation(struct arena *a, struct meta_v1_object_meta *m, const char *key,
                           struct str value)
{
    struct api_str_entry *grown = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    size_t at = 0;
    while (at < m->annotations_count && str_cmp(m->annotations[at].key, str_of(key)) < 0)
        at++;
    for (size_t i = 0; i < m->annotations_count; i++)
        grown[i < at ? i : i + 1] = m->annotations[i];
    grown[at] = (struct api_str_entry){arena_strc(a, key), value};
    m->annotations = grown;
    m->annotations_count++;
}

/* A uid from the content: the same file gives the same pod after a restart. */
static struct str content_uid(struct arena *a, struct str text, const char *node_name,
                              const char *path)
{
    uint8_t sum[32];
    char hex[33] = "";
    struct str all = arena_printf(a, "host:%s\nfile:%s\n" STR_FMT, node_name, path, STR_ARG(text));
    net_sha256(all.data, all.len, sum);
    hex_encode_to(sum, 16, hex);
    return arena_str(a, str_n(hex, 32));
}

int static_pod_parse(struct str text, const char *node_name, const char *path,
                     struct api_object **ret, struct error *err)
{
    const struct api_kind *kind = api_kind_by_api_version(STR("v1"), STR("Pod"));
    struct api_object *o = api_object_new(kind);
    struct core_v1_pod *pod = o->msg;
    struct json *tree = NULL;
    size_t used;
    int rc = api_yaml_parse(o->arena, text, &used, &tree, err);
    if (rc == 0 && (!str_eqc(json_get_str(tree, "kind"), "Pod") ||
                    !str_eqc(json_get_str(tree, "apiVersion"), "v1")))
        rc = error_set(err, E_INVALID, "not a v1 Pod");
    if (rc == 0)
        rc = api_json_decode_tree(o->arena, kind->msg, tree, API_STRICT, NULL, pod, err);
    if (rc == 0 && (str_empty(pod->metadata.name) || pod->spec.containers_count == 0))
        rc = error_set(err, E_INVALID, "a pod needs metadata.name and spec.containers");
    if (rc != 0) {
        api_object_unref(o);
        return error_prefix(err, "%s", path);
    }
    pod->metadata.uid = content_uid(o->arena, text, node_name, path);
    pod->metadata.name =
        arena_printf(o->arena, STR_FMT "-%s", STR_ARG(pod->metadata.name), node_name);
    pod->metadata.generation = 1;
    DEFAULT_STR(pod->metadata.namespace, "default");
    pod->spec.node_name = arena_strc(o->arena, node_name);
    pod->status = (struct core_v1_pod_status){.phase = STR("Pending")};
    set_annotation(o->arena, &pod->metadata, "kubernetes.io/config.hash", pod->metadata.uid);
    set_annotation(o->arena, &pod->metadata, "kubernetes.io/config.source", STR("file"));
    pod_set_defaults(o->arena, pod);
    *ret = o;
    return 0;
}

/* --- the folder --------------------------------------------------------------------------- */

struct static_pods {
    struct kubelet *k;
    char *path;
    void (*on_ready)(struct kubelet *k);
    uv_fs_event_t watch;
    bool watching;
    uv_timer_t timer;
    bool busy, again, stopped;
    struct map known; /* uid -> this, of the pods that files describe. */
    /* Of the scan under way. */
    struct api_object **found;
    size_t found_count;
    bool unreadable;
};

static void scan(struct static_pods *s);

static void scan_file(struct static_pods *s, const char *path)
{
    AUTO_BUF b = BUF_INIT;
    struct error err;
    struct api_object *o;
    int rc = file_read(path, MANIFEST_BYTES_MAX, &b, &err);
    if (rc == 0)
        rc = static_pod_parse(buf_str(&b), s->k->node_name, path, &o, &err);
    if (rc != 0)
        log_error("static pod: %s", error_message(&err));
    else
        s->found[s->found_count++] = o;
}

static void run_scan(void *arg)
{
    struct static_pods *s = arg;
    struct stat st;
    s->found = xzalloc(MANIFESTS_MAX * sizeof(*s->found));
    s->found_count = 0;
    s->unreadable = stat(s->path, &st) != 0;
    if (s->unreadable)
        return;
    if (!S_ISDIR(st.st_mode)) {
        scan_file(s, s->path);
        return;
    }
    DIR *d = opendir(s->path);
    s->unreadable = d == NULL;
    for (struct dirent *e = d != NULL ? readdir(d) : NULL;
         e != NULL && s->found_count < MANIFESTS_MAX; e = readdir(d)) {
        if (e->d_name[0] == '.')
            continue;
        AUTO_FREE char *path = xasprintf("%s/%s", s->path, e->d_name);
        if (stat(path, &st) == 0 && S_ISREG(st.st_mode))
            scan_file(s, path);
    }
    if (d != NULL)
        closedir(d);
}

static void forget_missing(struct static_pods *s)
{
    size_t pos = 0;
    struct str uid;
    while (map_next(&s->known, &pos, &uid, NULL)) {
        bool found = false;
        for (size_t i = 0; i < s->found_count && !found; i++)
            found = str_eq(((const struct core_v1_pod *)s->found[i]->msg)->metadata.uid, uid);
        if (found)
            continue;
        kubelet_pod_gone(s->k, uid);
        map_remove(&s->known, uid);
    }
}

static void finish_scan(void *arg)
{
    struct static_pods *s = arg;
    s->busy = false;
    if (!s->stopped && !s->unreadable) {
        forget_missing(s);
        for (size_t i = 0; i < s->found_count; i++) {
            struct str uid = ((const struct core_v1_pod *)s->found[i]->msg)->metadata.uid;
            if (map_has(&s->known, uid))
                continue;
            map_set(&s->known, uid, s);
            kubelet_pod_set(s->k, s->found[i], POD_FROM_FILE);
        }
    }
    for (size_t i = 0; i < s->found_count; i++)
        api_object_unref(s->found[i]);
    free(take(s->found));
    if (s->on_ready != NULL) {
        void (*on_ready)(struct kubelet *) = s->on_ready;
        s->on_ready = NULL;
        on_ready(s->k);
    }
    if (s->again && !s->stopped) {
        s->again = false;
        scan(s);
    }
}

static void scan(struct static_pods *s)
{
    if (s->busy) {
        s->again = true;
        return;
    }
    s->busy = true;
    job_start(s->k->loop, run_scan, finish_scan, s);
}

static void on_timer(uv_timer_t *t)
{
    scan(t->data);
}

static void on_change(uv_fs_event_t *e, const char *name, int events, int status)
{
    struct static_pods *s = e->data;
    UNUSED(name);
    UNUSED(events);
    UNUSED(status);
    /* Writers touch a file several times: look once they are through. */
    uv_timer_start(&s->timer, on_timer, RESCAN_DELAY_MS,
                   (uint64_t)s->k->config.file_check_ns / 1000000);
}

struct static_pods *static_pods_start(struct kubelet *k, const char *path,
                                      void (*on_ready)(struct kubelet *k))
{
    struct static_pods *s = xzalloc(sizeof(*s));
    s->k = k;
    s->path = xstrdup(path);
    s->on_ready = on_ready;
    map_init(&s->known);
    uv_timer_init(k->loop, &s->timer);
    s->timer.data = s;
    uv_fs_event_init(k->loop, &s->watch);
    s->watch.data = s;
    s->watching = uv_fs_event_start(&s->watch, on_change, path, 0) == 0;
    uv_timer_start(&s->timer, on_timer, 0, (uint64_t)k->config.file_check_ns / 1000000);
    return s;
}

void static_pods_stop(struct static_pods *s)
{
    if (s == NULL)
        return;
    s->stopped = true;
    uv_timer_stop(&s->timer);
    uv_fs_event_stop(&s->watch);
}
