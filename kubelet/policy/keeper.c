/* keeper.c - see keeper.h. */
#include "kubelet/policy/keeper.h"

#include "kubelet/gather.h"
#include "kubelet/kubelet.h"
#include "kubelet/nft.h"
#include "kubelet/pod_worker.h"
#include "kubelet/policy/guard.h"
#include "kubelet/policy/state.h"
#include "kubelet/policy/watchdog.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"

#include <linux/netfilter.h>

#define GATHER_MS 10u
#define RETRY_MS 5000u
/* Computing takes at most this part of the time, whatever changes. */
#define COMPUTE_SHARE 10u

/* A pod of this node as its worker sees it. */
struct local {
    struct api_object *pod; /* As last wanted: kept while it is being removed. NULL: unknown. */
    char *sandbox_id;       /* NULL: none that is usable. */
    char *ips[GUARD_IPS_MAX];
    size_t ip_count;
    bool fresh;       /* No container had been made in the sandbox when it was first seen. */
    uint64_t changed; /* The number of its last change. */
    bool ready;       /* What concerns it stands in the kernel. */
};

struct policy_keeper {
    struct kubelet *k;
    struct policy_keeper_config config;
    struct guard *guard;
    unsigned guard_owner;
    struct watchdog watchdog;
    struct map locals; /* uid -> struct local */
    uint64_t changes;
    struct gather gather;
    bool tell;                   /* Pods have become ready. */
    bool known;                  /* What stands in the kernel is ours. */
    struct policy_state *loaded; /* NULL: no table. */
    struct policy_state *loading;
    uint64_t loading_changes;
    struct buf text;
    struct nft_load nft;
    uint64_t seed[2];
};

static void local_free(struct local *l)
{
    for (size_t i = 0; i < l->ip_count; i++)
        free(l->ips[i]);
    free(l->sandbox_id);
    api_object_unref(l->pod);
    free(l);
}

/* --- from the objects to the rules ------------------------------------------------------- */

/* Before all pods of the node are known, those that run would lose what an earlier run has set. */
static bool all_seen(const struct policy_keeper *p)
{
    struct str uid;
    void *w;
    for (size_t pos = 0; map_next(&p->k->workers, &pos, &uid, &w);)
        if (map_get(&p->locals, uid) == NULL)
            return false;
    return p->k->sources_ready;
}

static struct guard_pod guarded(const char *uid, const struct local *l)
{
    return (struct guard_pod){.uid = uid,
                              .sandbox_id = l->sandbox_id,
                              .ips = (const char *const *)l->ips,
                              .ip_count = l->ip_count,
                              .fresh = l->fresh};
}

static struct policy_state *compute(struct policy_keeper *p)
{
    AUTO_ARENA *a = arena_new(0);
    struct str uid;
    void *value;
    size_t count = 0, held_count = 0;
    struct policy_local *locals = ARENA_ARRAY(a, struct policy_local, p->locals.count + 1);
    struct local **owners = ARENA_ARRAY(a, struct local *, p->locals.count + 1);
    struct guard_pod *held = ARENA_ARRAY(a, struct guard_pod, p->locals.count + 1);
    struct str *uids = ARENA_ARRAY(a, struct str, p->locals.count + 1);
    for (size_t pos = 0; map_next(&p->locals, &pos, &uid, &value);) {
        struct local *l = value;
        if (l->pod == NULL || l->ip_count == 0)
            continue;
        owners[count] = l;
        uids[count] = arena_str(a, uid);
        locals[count++] = (struct policy_local){
            .pod = l->pod->msg, .ips = (const char *const *)l->ips, .ip_count = l->ip_count};
    }
    struct policy_state *s = p->config.compute(p->config.owner, locals, count);
    for (size_t i = 0; s != NULL && i < count; i++) {
        if (!locals[i].selected && !owners[i]->ready)
            owners[i]->ready = p->tell = true;
        if (locals[i].held)
            held[held_count++] = guarded(str_c(uids[i]), owners[i]);
    }
    if (s != NULL)
        guard_hold(p->guard, p->guard_owner, held, held_count);
    return s;
}

/* --- loading ------------------------------------------------------------------------------- */

/* Workers look anew whether their containers may start. */
static void tell(struct policy_keeper *p)
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
static void settle(struct policy_keeper *p, uint64_t upto)
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

static void on_loaded(const char *error, void *arg)
{
    struct policy_keeper *p = arg;
    if (error != NULL) {
        /* The old rules stand. Whatever led to this: everything is loaded anew. */
        log_error("%s: nft: %s", p->config.what, error);
        policy_state_free(take(p->loading));
        p->known = false;
        gather_again(&p->gather, RETRY_MS);
        gather_done(&p->gather, 0);
        return;
    }
    policy_state_free(p->loaded);
    p->loaded = take(p->loading);
    p->known = true;
    watchdog_note(&p->watchdog);
    if (p->config.on_loaded != NULL)
        p->config.on_loaded(p->config.owner, p->loaded);
    settle(p, p->loading_changes);
    gather_done(&p->gather, 0);
}

static void load(struct policy_keeper *p, struct policy_state *want)
{
    buf_clear(&p->text);
    if (want->chain_count == 0) {
        policy_state_free(want);
        want = NULL;
    }
    if (want == NULL && (!p->known || p->loaded != NULL))
        policy_state_none(p->config.table, &p->text);
    else if (want != NULL && (!p->known || p->loaded == NULL))
        policy_state_write(want, &p->text);
    else if (want != NULL)
        policy_state_diff(p->loaded, want, &p->text);
    if (p->text.len == 0) {
        policy_state_free(want);
        settle(p, p->changes);
        return;
    }
    log_debug("%s: loading %zu bytes of rules", p->config.what, p->text.len);
    gather_busy(&p->gather);
    p->loading = want;
    p->loading_changes = p->changes;
    nft_load_start(&p->nft, p->k->loop, buf_str(&p->text), on_loaded, p);
}

static void sync_rules(void *arg)
{
    struct policy_keeper *p = arg;
    if (p->k->stopping || !p->config.is_synced(p->config.owner) || (!p->known && !all_seen(p)))
        return;
    struct policy_state *want = compute(p);
    if (want != NULL)
        load(p, want);
    tell(p);
}

void keeper_changed(struct policy_keeper *p)
{
    gather_changed(&p->gather);
}

static void on_damage(void *arg)
{
    struct policy_keeper *p = arg;
    if (p->gather.busy)
        return;
    p->known = false;
    keeper_changed(p);
}

/* --- what owners share ---------------------------------------------------------------------- */

bool keeper_same_labels(const struct api_str_entry *a, size_t a_count,
                        const struct api_str_entry *b, size_t b_count)
{
    for (size_t i = 0; a_count == b_count && i < a_count; i++) {
        const struct str *v = api_str_map_get(b, b_count, a[i].key);
        if (v == NULL || !str_eq(*v, a[i].value))
            return false;
    }
    return a_count == b_count;
}

void keeper_namespace_updated(struct policy_keeper *p, const struct api_object *old,
                              const struct api_object *o)
{
    const struct meta_v1_object_meta *a = api_object_meta(old), *b = api_object_meta(o);
    if (!keeper_same_labels(a->labels, a->labels_count, b->labels, b->labels_count))
        keeper_changed(p);
}

void keeper_trim_namespace(struct api_object *o)
{
    struct core_v1_namespace *n = o->msg;
    struct meta_v1_object_meta *m = &n->metadata;
    *m = (struct meta_v1_object_meta){.name = m->name,
                                      .uid = m->uid,
                                      .resource_version = m->resource_version,
                                      .labels = m->labels,
                                      .labels_count = m->labels_count};
    n->spec.finalizers_count = n->status.conditions_count = 0;
}

struct informer *keeper_watch(struct kubelet *k, const struct keeper_kind *kind,
                              const struct informer_handler *handler)
{
    struct error err;
    struct informer *i;
    struct informer_config config = {
        .kind = api_kind_by_api_version(str_of(kind->api_version), str_of(kind->kind)),
        .label_selector = kind->label_selector != NULL ? str_of(kind->label_selector) : STR_NULL,
        .field_selector = kind->field_selector != NULL ? str_of(kind->field_selector) : STR_NULL,
        .trim = kind->trim,
        .compact_bytes = kind->compact_bytes,
        /* Another's API server may not let nodes read them: then nothing is enforced. */
        .optional = true};
    if (informer_new(k->client, &config, &i, &err) != 0)
        PANIC("informer of %s: %s", kind->kind, error_message(&err));
    informer_add_handler(i, handler);
    informer_start(i);
    return i;
}

/* --- the pods of this node ------------------------------------------------------------------- */

/* The same sandbox with the same addresses. */
static bool same_network(const struct local *l, const struct rt_sandbox *s)
{
    size_t n = s != NULL ? MIN_OF(s->ip_count, ARRAY_SIZE(l->ips)) : 0;
    if (n > 0 && (l->sandbox_id == NULL || strcmp(l->sandbox_id, s->id) != 0))
        return false;
    for (size_t i = 0; l->ip_count == n && i < n; i++)
        if (strcmp(l->ips[i], s->ips[i]) != 0)
            return false;
    return l->ip_count == n;
}

static void set_network(struct local *l, const struct rt_sandbox *s)
{
    for (size_t i = 0; i < l->ip_count; i++)
        free(l->ips[i]);
    free(l->sandbox_id);
    l->ip_count = 0;
    l->sandbox_id = s != NULL ? xstrdup(s->id) : NULL;
    l->fresh = s != NULL && !s->used;
    for (size_t i = 0; s != NULL && i < s->ip_count && i < ARRAY_SIZE(l->ips); i++)
        l->ips[l->ip_count++] = xstrdup(s->ips[i]);
}

/* Of either family: those of a pod are given back, and given anew, one by one. */
static bool share_address(const struct local *a, const struct local *b)
{
    for (size_t i = 0; i < a->ip_count; i++)
        for (size_t k = 0; k < b->ip_count; k++)
            if (strcmp(a->ips[i], b->ips[k]) == 0)
                return true;
    return false;
}

/* The network gives an address anew as soon as it is free, which we may notice later. */
static void take_from_others(struct policy_keeper *p, const struct local *l)
{
    struct str uid;
    void *value;
    for (size_t pos = 0; l->ip_count > 0 && map_next(&p->locals, &pos, &uid, &value);) {
        struct local *o = value;
        if (o != l && share_address(o, l))
            set_network(o, NULL);
    }
}

bool keeper_pod_seen(struct policy_keeper *p, const char *uid, struct api_object *pod,
                     const struct rt_sandbox *sandbox)
{
    if (sandbox != NULL && (!sandbox->ready || sandbox->host_network))
        sandbox = NULL;
    struct local *l = map_get(&p->locals, str_of(uid));
    bool is_new = l == NULL;
    if (is_new) {
        l = xzalloc(sizeof(*l));
        map_set(&p->locals, str_of(uid), l);
    }
    bool moved = !same_network(l, sandbox);
    const struct meta_v1_object_meta *was = l->pod != NULL ? api_object_meta(l->pod) : NULL;
    const struct meta_v1_object_meta *now = pod != NULL ? api_object_meta(pod) : was;
    bool relabelled =
        now != NULL && (was == NULL || !keeper_same_labels(was->labels, was->labels_count,
                                                           now->labels, now->labels_count));
    if (pod != NULL && pod != l->pod) {
        api_object_unref(l->pod);
        l->pod = api_object_ref(pod);
    }
    if (moved) {
        set_network(l, sandbox);
        take_from_others(p, l);
        l->ready = l->ip_count == 0;
    }
    if (is_new || moved || relabelled) {
        l->changed = ++p->changes;
        if (p->config.is_synced(p->config.owner) && l->pod != NULL &&
            p->config.is_free(p->config.owner, l->pod->msg))
            l->ready = true;
        if (!l->ready || p->loaded != NULL || !p->known)
            keeper_changed(p);
    }
    return l->ready && guard_stands(p->guard, uid);
}

void keeper_pod_gone(struct policy_keeper *p, const char *uid)
{
    struct local *l = map_remove(&p->locals, str_of(uid));
    if (l == NULL)
        return;
    if (l->ip_count > 0 || !p->known)
        keeper_changed(p);
    local_free(l);
}

/* --- life ------------------------------------------------------------------------------------- */

struct policy_keeper *keeper_new(struct kubelet *k, const struct policy_keeper_config *config)
{
    struct policy_keeper *p = xzalloc(sizeof(*p));
    struct str uid;
    void *w;
    p->k = k;
    p->config = *config;
    p->guard = guard_of(k);
    p->guard_owner = guard_join(p->guard);
    watchdog_start(&p->watchdog, k->loop,
                   &(struct watchdog_config){.what = config->what,
                                             .family = NFPROTO_INET,
                                             .table = config->table->name,
                                             .on_damage = on_damage,
                                             .arg = p});
    map_init(&p->locals);
    p->seed[0] = p->locals.seed[1];
    p->seed[1] = p->locals.seed[0];
    if (!nft_see_bridges())
        log_error("%s do not hold between pods of this node: the kernel has no br_netfilter",
                  config->what);
    gather_init(&p->gather, k->loop,
                &(struct gather_config){
                    .delay_ms = GATHER_MS, .share = COMPUTE_SHARE, .run = sync_rules, .arg = p});
    /* Static pods came before us. */
    for (size_t pos = 0; map_next(&k->workers, &pos, &uid, &w);)
        pod_worker_kick(w);
    return p;
}

const uint64_t *keeper_seed(const struct policy_keeper *p)
{
    return p->seed;
}

const struct policy_state *keeper_state(const struct policy_keeper *p)
{
    return p->loaded;
}

static void on_withdrawn(const char *error, void *arg)
{
    struct nft_load *n = arg;
    if (error != NULL)
        log_warning("%s: nft: %s", (const char *)(n + 1), error);
    free(n);
}

void keeper_withdraw(struct kubelet *k, const char *what, const struct policy_table *table)
{
    AUTO_BUF text = BUF_INIT;
    size_t what_len = strlen(what) + 1;
    policy_state_none(table, &text);
    struct nft_load *n = xzalloc(sizeof(*n) + what_len + text.len);
    char *at = (char *)(n + 1);
    memcpy(at, what, what_len);
    memcpy(at + what_len, text.data, text.len);
    nft_load_start(n, k->loop, str_n(at + what_len, text.len), on_withdrawn, n);
}
