/* policy.c - see policy.h. */
#include "kubelet/policy/policy.h"

#include "kubelet/kubelet.h"
#include "kubelet/nft.h"
#include "kubelet/pod_worker.h"
#include "kubelet/policy/rules.h"

#include "lib/api/pod.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/networking_v1.h"

#define GATHER_MS 10u
#define RETRY_MS 5000u
/* Computing takes at most this part of the time, whatever changes. */
#define COMPUTE_SHARE 10u
#define POD_BYTES (sizeof(struct core_v1_pod) + sizeof(struct api_object) + 512u)

/* A pod of this node as its worker sees it. */
struct local {
    struct api_object *pod; /* As last wanted: kept while it is being removed. NULL: unknown. */
    char *ips[2];
    size_t ip_count;
    uint64_t changed; /* The number of its last change. */
    bool ready;       /* What concerns it stands in the kernel. */
};

struct policy {
    struct kubelet *k;
    struct informer *policies, *namespaces;
    struct informer *pods; /* NULL until a policy names any. */
    bool policies_synced, namespaces_synced, pods_synced;
    struct map locals; /* uid -> struct local */
    uint64_t changes;
    uv_timer_t timer;
    uint64_t not_before_ms;
    bool dirty, busy;
    bool tell;                   /* Pods have become ready. */
    bool known;                  /* What stands in the kernel is ours. */
    struct policy_state *loaded; /* NULL: no table. */
    struct policy_state *loading;
    uint64_t loading_changes;
    struct buf text;
    struct nft_load nft;
    uint64_t seed[2];
};

static void changed(struct policy *p);

static void local_free(struct local *l)
{
    for (size_t i = 0; i < l->ip_count; i++)
        free(l->ips[i]);
    api_object_unref(l->pod);
    free(l);
}

/* --- from the objects to the rules ------------------------------------------------------- */

/* Before all pods of the node are known, those that run would lose what an earlier run has set. */
static bool all_seen(const struct policy *p)
{
    struct str uid;
    void *w;
    for (size_t pos = 0; map_next(&p->k->workers, &pos, &uid, &w);)
        if (map_get(&p->locals, uid) == NULL)
            return false;
    return p->k->sources_ready;
}

/* All objects of an informer; an array in a. */
static const void **all_of(struct arena *a, const struct informer *i, size_t *ret_count)
{
    size_t pos = 0, n = 0, max = i != NULL ? informer_count(i) : 0;
    const void **list = ARENA_ARRAY(a, const void *, max + 1);
    for (struct api_object *o; n < max && (o = informer_next(i, &pos)) != NULL;)
        list[n++] = o->msg;
    *ret_count = n;
    return list;
}

static struct policy_state *compute(struct policy *p, bool *ret_needs_pods)
{
    AUTO_ARENA *a = arena_new(0);
    struct policy_inputs in = {.seed = {p->seed[0], p->seed[1]}};
    struct str uid;
    void *value;
    in.policies = (const struct networking_v1_network_policy *const *)all_of(a, p->policies,
                                                                             &in.policy_count);
    in.namespaces =
        (const struct core_v1_namespace *const *)all_of(a, p->namespaces, &in.namespace_count);
    in.pods = (const struct core_v1_pod *const *)all_of(a, p->pods, &in.pod_count);
    in.locals = ARENA_ARRAY(a, struct policy_local, p->locals.count + 1);
    struct local **owners = ARENA_ARRAY(a, struct local *, p->locals.count + 1);
    for (size_t pos = 0; map_next(&p->locals, &pos, &uid, &value);) {
        struct local *l = value;
        if (l->pod == NULL || l->ip_count == 0)
            continue;
        owners[in.local_count] = l;
        in.locals[in.local_count++] = (struct policy_local){
            .pod = l->pod->msg, .ips = (const char *const *)l->ips, .ip_count = l->ip_count};
    }
    struct policy_state *s = policy_rules(&in, ret_needs_pods);
    for (size_t i = 0; i < in.local_count; i++)
        if (!in.locals[i].selected && !owners[i]->ready)
            owners[i]->ready = p->tell = true;
    return s;
}

/* --- loading ------------------------------------------------------------------------------- */

/* Workers look anew whether their containers may start. */
static void tell(struct policy *p)
{
    struct str uid;
    void *value;
    if (!p->tell)
        return;
    p->tell = false;
    for (size_t pos = 0; map_next(&p->k->workers, &pos, &uid, &value);)
        pod_worker_kick(value);
}

/* All that had changed before number upto is in the kernel. */
static void settle(struct policy *p, uint64_t upto)
{
    struct str uid;
    void *value;
    for (size_t pos = 0; map_next(&p->locals, &pos, &uid, &value);) {
        struct local *l = value;
        if (!l->ready && l->changed <= upto)
            l->ready = p->tell = true;
    }
    tell(p);
}

static void sync_in(struct policy *p, uint64_t ms);

static void on_loaded(const char *error, void *arg)
{
    struct policy *p = arg;
    p->busy = false;
    if (error != NULL) {
        /* The old rules stand. Whatever led to this: everything is loaded anew. */
        log_error("network policies: nft: %s", error);
        policy_state_free(take(p->loading));
        p->known = false;
        p->dirty = true;
        sync_in(p, RETRY_MS);
        return;
    }
    policy_state_free(p->loaded);
    p->loaded = take(p->loading);
    p->known = true;
    settle(p, p->loading_changes);
    if (p->dirty)
        sync_in(p, GATHER_MS);
}

static void load(struct policy *p, struct policy_state *want)
{
    buf_clear(&p->text);
    if (want->chain_count == 0) {
        policy_state_free(want);
        want = NULL;
    }
    if (want == NULL && (!p->known || p->loaded != NULL))
        policy_state_none(&p->text);
    else if (want != NULL && (!p->known || p->loaded == NULL))
        policy_state_write(want, &p->text);
    else if (want != NULL)
        policy_state_diff(p->loaded, want, &p->text);
    if (p->text.len == 0) {
        policy_state_free(want);
        settle(p, p->changes);
        return;
    }
    log_debug("network policies: loading %zu bytes of rules", p->text.len);
    p->busy = true;
    p->loading = want;
    p->loading_changes = p->changes;
    nft_load_start(&p->nft, p->k->loop, buf_str(&p->text), on_loaded, p);
}

static void start_pods(struct policy *p);

static void on_timer(uv_timer_t *t)
{
    struct policy *p = t->data;
    if (p->busy || p->k->stopping || !p->policies_synced || !p->namespaces_synced ||
        (p->pods != NULL && !p->pods_synced) || (!p->known && !all_seen(p)))
        return;
    uint64_t begin_ns = uv_hrtime();
    bool needs_pods;
    p->dirty = false;
    struct policy_state *want = compute(p, &needs_pods);
    if (needs_pods && p->pods == NULL) {
        policy_state_free(want);
        start_pods(p);
    } else {
        load(p, want);
    }
    tell(p);
    p->not_before_ms = kubelet_now_ms(p->k) + COMPUTE_SHARE * ((uv_hrtime() - begin_ns) / 1000000u);
}

static void sync_in(struct policy *p, uint64_t ms)
{
    uint64_t now_ms = kubelet_now_ms(p->k);
    if (p->not_before_ms > now_ms + ms)
        ms = p->not_before_ms - now_ms;
    if (!uv_is_active((uv_handle_t *)&p->timer))
        uv_timer_start(&p->timer, on_timer, ms, 0);
}

static void changed(struct policy *p)
{
    p->dirty = true;
    if (!p->busy)
        sync_in(p, GATHER_MS);
}

/* --- what is watched ------------------------------------------------------------------------ */

static void on_add(struct api_object *o, void *arg)
{
    UNUSED(o);
    changed(arg);
}

static void on_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    UNUSED(o);
    changed(arg);
}

static void on_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(o);
    UNUSED(unknown);
    changed(arg);
}

static bool same_labels(const struct api_str_entry *a, size_t a_count,
                        const struct api_str_entry *b, size_t b_count)
{
    for (size_t i = 0; a_count == b_count && i < a_count; i++) {
        const struct str *v = api_str_map_get(b, b_count, a[i].key);
        if (v == NULL || !str_eq(*v, a[i].value))
            return false;
    }
    return a_count == b_count;
}

static void on_namespace_update(struct api_object *old, struct api_object *o, void *arg)
{
    const struct meta_v1_object_meta *a = api_object_meta(old), *b = api_object_meta(o);
    if (!same_labels(a->labels, a->labels_count, b->labels, b->labels_count))
        changed(arg);
}

/* Pods report all the time; what counts is whether they have an address, which, and labels. */
static void on_pod_update(struct api_object *old, struct api_object *o, void *arg)
{
    const struct core_v1_pod *a = old->msg, *b = o->msg;
    bool same = policy_pod_counts(a) == policy_pod_counts(b) &&
                str_eq(a->status.pod_ip, b->status.pod_ip) &&
                a->status.pod_ips_count == b->status.pod_ips_count &&
                same_labels(a->metadata.labels, a->metadata.labels_count, b->metadata.labels,
                            b->metadata.labels_count);
    for (size_t i = 0; same && i < a->status.pod_ips_count; i++)
        same = str_eq(a->status.pod_ips[i].ip, b->status.pod_ips[i].ip);
    if (!same)
        changed(arg);
}

static void on_policies_synced(void *arg)
{
    struct policy *p = arg;
    p->policies_synced = true;
    changed(p);
}

static void on_namespaces_synced(void *arg)
{
    struct policy *p = arg;
    p->namespaces_synced = true;
    changed(p);
}

static void on_pods_synced(void *arg)
{
    struct policy *p = arg;
    p->pods_synced = true;
    changed(p);
}

/* Containers are kept for their named ports alone. */
static size_t trim_containers(struct core_v1_container *list, size_t count)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++) {
        size_t named = 0;
        for (size_t k = 0; k < list[i].ports_count; k++)
            if (!str_empty(list[i].ports[k].name))
                list[i].ports[named++] = list[i].ports[k];
        if (named > 0)
            list[kept++] = (struct core_v1_container){.ports = list[i].ports, .ports_count = named};
    }
    return kept;
}

static void trim_meta(struct meta_v1_object_meta *m)
{
    *m = (struct meta_v1_object_meta){.name = m->name,
                                      .namespace = m->namespace,
                                      .uid = m->uid,
                                      .resource_version = m->resource_version,
                                      .labels = m->labels,
                                      .labels_count = m->labels_count};
}

static void trim_pod(struct api_object *o)
{
    struct core_v1_pod *p = o->msg;
    trim_meta(&p->metadata);
    p->spec = (struct core_v1_pod_spec){
        .host_network = p->spec.host_network,
        .containers = p->spec.containers,
        .containers_count = trim_containers(p->spec.containers, p->spec.containers_count),
        .init_containers = p->spec.init_containers,
        .init_containers_count =
            trim_containers(p->spec.init_containers, p->spec.init_containers_count)};
    p->status = (struct core_v1_pod_status){.phase = p->status.phase,
                                            .pod_ip = p->status.pod_ip,
                                            .pod_ips = p->status.pod_ips,
                                            .pod_ips_count = p->status.pod_ips_count};
}

static void trim_namespace(struct api_object *o)
{
    struct core_v1_namespace *n = o->msg;
    trim_meta(&n->metadata);
    n->spec.finalizers_count = n->status.conditions_count = 0;
}

static struct informer *watch(struct policy *p, const char *api_version, const char *kind,
                              void (*trim)(struct api_object *o), size_t compact_bytes,
                              const struct informer_handler *handler)
{
    struct error err;
    struct informer *i;
    struct informer_config config = {
        .kind = api_kind_by_api_version(str_of(api_version), str_of(kind)),
        .trim = trim,
        .compact_bytes = compact_bytes,
        /* Another's API server may not let nodes read them: then nothing is enforced. */
        .optional = true};
    if (informer_new(p->k->client, &config, &i, &err) != 0)
        PANIC("informer of %s: %s", kind, error_message(&err));
    informer_add_handler(i, handler);
    informer_start(i);
    return i;
}

static void start_pods(struct policy *p)
{
    log_info("network policies name pods: watching those of all nodes");
    p->pods = watch(p, "v1", "Pod", trim_pod, POD_BYTES,
                    &(struct informer_handler){.on_add = on_add,
                                               .on_update = on_pod_update,
                                               .on_delete = on_delete,
                                               .on_synced = on_pods_synced,
                                               .arg = p});
}

/* --- the pods of this node ------------------------------------------------------------------- */

static bool same_ips(const struct local *l, const struct rt_sandbox *s)
{
    size_t n = s != NULL ? MIN_OF(s->ip_count, ARRAY_SIZE(l->ips)) : 0;
    for (size_t i = 0; l->ip_count == n && i < n; i++)
        if (strcmp(l->ips[i], s->ips[i]) != 0)
            return false;
    return l->ip_count == n;
}

static void set_ips(struct local *l, const struct rt_sandbox *s)
{
    for (size_t i = 0; i < l->ip_count; i++)
        free(l->ips[i]);
    l->ip_count = 0;
    for (size_t i = 0; s != NULL && i < s->ip_count && i < ARRAY_SIZE(l->ips); i++)
        l->ips[l->ip_count++] = xstrdup(s->ips[i]);
}

/* The network gives an address anew as soon as it is free, which we may notice later. */
static void take_from_others(struct policy *p, const struct local *l)
{
    struct str uid;
    void *value;
    for (size_t pos = 0; l->ip_count > 0 && map_next(&p->locals, &pos, &uid, &value);) {
        struct local *o = value;
        if (o != l && o->ip_count > 0 && strcmp(o->ips[0], l->ips[0]) == 0)
            set_ips(o, NULL);
    }
}

bool policy_pod_seen(struct policy *p, const char *uid, struct api_object *pod,
                     const struct rt_sandbox *sandbox)
{
    if (p == NULL)
        return true;
    if (sandbox != NULL && (!sandbox->ready || sandbox->host_network))
        sandbox = NULL;
    struct local *l = map_get(&p->locals, str_of(uid));
    bool is_new = l == NULL;
    if (is_new) {
        l = xzalloc(sizeof(*l));
        map_set(&p->locals, str_of(uid), l);
    }
    bool moved = !same_ips(l, sandbox);
    const struct meta_v1_object_meta *was = l->pod != NULL ? api_object_meta(l->pod) : NULL;
    const struct meta_v1_object_meta *now = pod != NULL ? api_object_meta(pod) : was;
    bool relabelled = now != NULL && (was == NULL || !same_labels(was->labels, was->labels_count,
                                                                  now->labels, now->labels_count));
    if (pod != NULL && pod != l->pod) {
        api_object_unref(l->pod);
        l->pod = api_object_ref(pod);
    }
    if (moved) {
        set_ips(l, sandbox);
        take_from_others(p, l);
        l->ready = l->ip_count == 0;
    }
    if (is_new || moved || relabelled) {
        l->changed = ++p->changes;
        /* Without policies there is nothing to wait for. */
        if (p->policies_synced && informer_count(p->policies) == 0)
            l->ready = true;
        if (!l->ready || p->loaded != NULL || !p->known)
            changed(p);
    }
    return l->ready;
}

void policy_pod_gone(struct policy *p, const char *uid)
{
    struct local *l = p != NULL ? map_remove(&p->locals, str_of(uid)) : NULL;
    if (l == NULL)
        return;
    if (l->ip_count > 0 || !p->known)
        changed(p);
    local_free(l);
}

/* --- life ------------------------------------------------------------------------------------- */

struct policy *policy_start(struct kubelet *k)
{
    struct policy *p = xzalloc(sizeof(*p));
    struct str uid;
    void *w;
    p->k = k;
    map_init(&p->locals);
    p->seed[0] = p->locals.seed[1];
    p->seed[1] = p->locals.seed[0];
    if (!nft_see_bridges())
        log_error("network policies do not hold between pods of this node: the kernel has no "
                  "br_netfilter");
    uv_timer_init(k->loop, &p->timer);
    p->timer.data = p;
    struct informer_handler handler = {.on_add = on_add,
                                       .on_update = on_update,
                                       .on_delete = on_delete,
                                       .on_synced = on_policies_synced,
                                       .arg = p};
    p->policies = watch(p, "networking.k8s.io/v1", "NetworkPolicy", NULL, 0, &handler);
    handler.on_update = on_namespace_update;
    handler.on_synced = on_namespaces_synced;
    p->namespaces = watch(p, "v1", "Namespace", trim_namespace, 512, &handler);
    /* Static pods came before us. */
    for (size_t pos = 0; map_next(&k->workers, &pos, &uid, &w);)
        pod_worker_kick(w);
    return p;
}

static void on_withdrawn(const char *error, void *arg)
{
    if (error != NULL)
        log_warning("network policies: nft: %s", error);
    free(arg);
}

void policy_withdraw(struct kubelet *k)
{
    AUTO_BUF text = BUF_INIT;
    policy_state_none(&text);
    struct nft_load *n = xzalloc(sizeof(*n) + text.len);
    memcpy(n + 1, text.data, text.len);
    nft_load_start(n, k->loop, str_n((const char *)(n + 1), text.len), on_withdrawn, n);
}
