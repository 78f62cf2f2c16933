/* proxy.c - see proxy.h. */
#include "kubelet/proxy/proxy_internal.h"

#include "kubelet/nft_batch.h"
#include "kubelet/proxy/affinity.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <fcntl.h>
#include <unistd.h>

#define RETRY_MS 1000u
#define NODE_MS 20u
/* How long somebody else's damage may last. */
#define LOOK_MS 5000u
/* Between two comparisons of all elements: rules of others, policies among them, change often. */
#define COMPARE_MS 60000u
/* Programming takes at most a third of the time. */
#define SHARE 2u
/* What one turn of the loop does at most, so that it stays below some milliseconds. */
#define ELEMENTS_A_TURN 2048u
#define ZONE_LABEL "topology.kubernetes.io/zone"

static bool set_sysctl(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, value, strlen(value));
    close(fd);
    return n > 0;
}

/* --- settings ------------------------------------------------------------------------------ */

static struct str node_zone(const struct kubelet *k)
{
    const struct core_v1_node *n = k->node != NULL ? k->node->msg : NULL;
    const struct str *zone =
        n != NULL ? api_str_map_get(n->metadata.labels, n->metadata.labels_count, STR(ZONE_LABEL))
                  : NULL;
    return zone != NULL ? *zone : STR_NULL;
}

static void all_dirty(struct proxy *p)
{
    static char there;
    struct str key;
    size_t pos = 0;
    while (informer_next_key(p->services, &pos, &key))
        map_set(&p->dirty, key, &there);
    for (pos = 0; map_next(&p->known, &pos, &key, NULL);)
        map_set(&p->dirty, key, &there);
}

/* Writes the table's text for how things stand now. True: it is another table than before. */
static bool write_table(struct proxy *p)
{
    struct str cidrs[8], own[8];
    const struct kubelet *k = p->k;
    const struct core_v1_node *n = k->node != NULL ? k->node->msg : NULL;
    char name[PROXY_TABLE_NAME_MAX];
    struct proxy_table_config c = {.cluster_cidrs = cidrs,
                                   .masquerade_all = k->config.masquerade_all,
                                   .pod_cidrs = own,
                                   .masquerade_bridge = !p->bridge_nf};
    for (size_t i = 0; i < k->config.cluster_cidr.count && i < ARRAY_SIZE(cidrs); i++)
        cidrs[c.cluster_cidr_count++] = str_of(k->config.cluster_cidr.items[i]);
    for (size_t i = 0; n != NULL && i < n->spec.pod_cidrs_count && i < ARRAY_SIZE(own); i++)
        own[c.pod_cidr_count++] = n->spec.pod_cidrs[i];
    buf_clear(&p->wanted_table);
    proxy_table_write(&c, &p->wanted_table, name);
    bool other = strcmp(name, p->table) != 0;
    snprintf(p->table, sizeof(p->table), "%s", name);
    return other;
}

/* What all plans depend on may have changed. */
static void read_settings(struct proxy *p)
{
    struct proxy_addresses addresses;
    proxy_addresses_read(&p->k->config.nodeport_addresses, p->k->host_ips, p->k->host_ip_count,
                         &addresses);
    struct str zone = node_zone(p->k);
    if (memcmp(&addresses, &p->addresses, sizeof(addresses)) != 0 ||
        !str_eq(zone, buf_str(&p->zone))) {
        p->addresses = addresses;
        buf_clear(&p->zone);
        buf_append_str(&p->zone, zone);
        all_dirty(p);
        gather_changed(&p->gather);
    }
    if (addresses.loopback)
        set_sysctl("/proc/sys/net/ipv4/conf/all/route_localnet", "1");
    if (write_table(p)) {
        p->stage = UNKNOWN;
        p->kernel.clean = true;
        gather_changed(&p->gather);
    }
}

/* --- the kernel ------------------------------------------------------------------------------ */

static void put_change(bool add, const struct proxy_element *e, void *arg)
{
    struct proxy *p = arg;
    buf_putc(&p->kernel.changes, add);
    proxy_element_pack(&p->kernel.changes, e);
}

static void commit(struct proxy *p)
{
    if (p->elements.touched.count > 0)
        proxy_elements_write(&p->elements, put_change, p);
    if (!p->kernel.clean_later)
        stale_pack(&p->stale, &p->elements, &p->kernel.stale);
    if (p->kernel.changes.len == 0 && !p->kernel.clean) {
        if (p->elements.sent != NULL)
            proxy_elements_settle(&p->elements);
        if (!p->kernel.clean_later)
            kernel_clean(&p->kernel);
        p->began_ns = 0;
        proxy_health_synced(p->health);
        return;
    }
    gather_busy(&p->gather);
    kernel_commit(&p->kernel);
}

static void build(struct proxy *p)
{
    struct buf *text = &p->kernel.text;
    buf_clear(text);
    for (enum proxy_family f = 0; p->rebuild && f < PROXY_FAMILY_COUNT; f++)
        buf_printf(text, "add table %s %s\ndelete table %s %s\n", proxy_family_name(f), p->table,
                   proxy_family_name(f), p->table);
    buf_append_str(text, buf_str(&p->wanted_table));
    buf_clear(&p->kernel.rules);
    struct nft_batch rules;
    nft_batch_begin(&rules, &p->kernel.rules);
    affinity_write_remembered(&rules, p->table);
    nft_batch_end(&rules);
    p->stage = BUILDING;
    gather_busy(&p->gather);
    kernel_load(&p->kernel);
}

/* What an earlier run of ours has left is taken over, not written anew. */
static bool walk_found(struct proxy *p)
{
    struct proxy_element e;
    for (size_t i = 0; i < ELEMENTS_A_TURN; i++) {
        if (!proxy_element_next(buf_str(&p->found), &p->found_pos, &e)) {
            buf_done(&p->found);
            p->found_pos = 0;
            return true;
        }
        proxy_elements_found(&p->elements, &e);
    }
    return false;
}

static void forget_chains(struct proxy *p)
{
    proxy_chains_forget(&p->chains);
    map_done(&p->held);
    map_init(&p->held);
    all_dirty(p);
}

/* False: none is wanted. */
static bool load_chains(struct proxy *p)
{
    buf_clear(&p->kernel.text);
    buf_clear(&p->kernel.rules);
    if (!proxy_chains_next(&p->chains, p->table, &p->kernel.text, &p->kernel.rules))
        return false;
    gather_busy(&p->gather);
    kernel_load(&p->kernel);
    return true;
}

static void on_chains(struct proxy *p, const struct kernel_result *r)
{
    bool broke = proxy_chains_loaded(&p->chains, r->code == 0, uv_now(p->k->loop));
    if (r->code != 0)
        log_warning("services: %s: %s",
                    broke ? "a chain cannot be made" : "chains cannot be made together",
                    error_message(&r->err));
    proxy_release_held(p);
    gather_again(&p->gather, 0);
}

static void sync_rules(void *arg)
{
    struct proxy *p = arg;
    if (p->stopped)
        return;
    if (p->k->node == NULL || (p->stage == UNKNOWN && kernel_is_cleaning(&p->kernel))) {
        /* The table's rules depend on it; another table would take the place of a good one. And its
         * name is a job's. */
        gather_again(&p->gather, NODE_MS);
        return;
    }
    if (p->began_ns == 0) {
        p->began_ns = uv_hrtime();
        proxy_health_pending(p->health);
    }
    if (p->stage == UNKNOWN) {
        read_settings(p);
        buf_done(&p->found);
        p->found_pos = 0;
        p->stage = ADOPTING;
        proxy_elements_forget(&p->elements);
        forget_chains(p);
        gather_busy(&p->gather);
        kernel_adopt(&p->kernel, p->table);
        return;
    }
    if (p->stage == ADOPTING && !walk_found(p)) {
        gather_again(&p->gather, 0);
        return;
    }
    p->stage = STANDING;
    bool all = proxy_plan_some(p);
    if (!all)
        gather_again(&p->gather, 0);
    if (load_chains(p))
        return;
    /* What an earlier run has left and this one has not come to yet is not to be removed. */
    p->adopted = p->adopted && !all;
    if (all || (!p->adopted && p->elements.touched.count >= ELEMENTS_A_TURN))
        commit(p);
}

static void measure(struct proxy *p)
{
    double now_s = (double)env_wall_ns(p->k->env) / 1e9;
    metric_observe(p->sync_seconds, (double)(uv_hrtime() - p->began_ns) / 1e9);
    if (p->triggered_s > 0 && now_s > p->triggered_s)
        metric_observe(p->network_seconds, now_s - p->triggered_s);
    metric_set(p->last_sync, now_s);
    p->triggered_s = 0;
    p->began_ns = 0;
    proxy_health_synced(p->health);
}

static void on_failed(struct proxy *p, const struct kernel_result *r)
{
    log_error("services: %s; all is compared anew", error_message(&r->err));
    /* Whatever it was: look at what is there. What cannot be repaired is made anew. */
    p->rebuild = p->stage == BUILDING;
    p->stage = UNKNOWN;
    proxy_elements_forget(&p->elements);
    gather_again(&p->gather, RETRY_MS);
}

static void on_kernel(struct kernel_result *r, void *arg)
{
    struct proxy *p = arg;
    if (p->chains.loading > 0) {
        on_chains(p, r);
    } else if (r->code != 0) {
        on_failed(p, r);
    } else if (p->stage == ADOPTING && (!r->there || p->rebuild)) {
        build(p);
        return;
    } else if (p->stage == ADOPTING) {
        p->found = r->found;
        p->adopted = true;
        buf_init(&r->found);
        gather_again(&p->gather, 0);
    } else if (p->stage == BUILDING) {
        p->rebuild = false;
        p->stage = STANDING;
        gather_again(&p->gather, 0);
    } else if (p->elements.sent != NULL) {
        proxy_elements_settle(&p->elements);
        measure(p);
    }
    gather_done(&p->gather, r->spent_ns);
}

/* What has become stale meanwhile is next. */
static void on_cleaned(void *arg)
{
    struct proxy *p = arg;
    if (p->stale.frontends.count > 0)
        gather_changed(&p->gather);
}

/* --- what is watched ---------------------------------------------------------------------------
 */

static void service_changed(struct api_object *o, void *arg)
{
    static char there;
    struct proxy *p = gather_owner(arg);
    AUTO_ARENA *a = arena_new(256);
    map_set(&p->dirty, informer_key(a, o), &there);
    gather_changed(&p->gather);
}

static void on_service_update(struct api_object *old, struct api_object *o, void *arg)
{
    UNUSED(old);
    service_changed(o, arg);
}

static void on_service_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    service_changed(o, arg);
}

static void slice_changed(struct api_object *o, void *arg)
{
    static char there;
    struct proxy *p = gather_owner(arg);
    const struct discovery_v1_endpoint_slice *s = o->msg;
    const struct str *name = api_str_map_get(s->metadata.labels, s->metadata.labels_count,
                                             STR("kubernetes.io/service-name"));
    if (name == NULL)
        return;
    AUTO_ARENA *a = arena_new(256);
    map_set(&p->dirty, informer_key_of(a, s->metadata.namespace, *name), &there);
    gather_changed(&p->gather);
}

static void on_slice_add(struct api_object *o, void *arg)
{
    struct proxy *p = gather_owner(arg);
    if (p->stage == STANDING) /* Those of the first list may be old. */
        proxy_note_trigger(p, o->msg);
    slice_changed(o, arg);
}

static void on_slice_update(struct api_object *old, struct api_object *o, void *arg)
{
    slice_changed(old, arg); /* It may have belonged to another Service. */
    on_slice_add(o, arg);
}

static void on_slice_delete(struct api_object *o, bool unknown, void *arg)
{
    UNUSED(unknown);
    slice_changed(o, arg);
}

/* Somebody may have changed single elements of ours, which only reading them shows. */
static void compare(struct proxy *p)
{
    uint64_t now_ms = uv_now(p->k->loop);
    if (!p->kernel.foreign || now_ms < p->compare_ms || p->dirty.count != 0)
        return;
    p->compare_ms = now_ms + COMPARE_MS;
    p->kernel.foreign = false;
    buf_done(&p->found);
    p->found_pos = 0;
    p->stage = ADOPTING;
    proxy_elements_forget(&p->elements);
    gather_busy(&p->gather);
    kernel_adopt(&p->kernel, p->table);
}

static void on_look(uv_timer_t *t)
{
    struct proxy *p = t->data;
    if (p->stopped)
        return;
    if (p->gather.busy) {
        uv_timer_start(&p->look, on_look, NODE_MS, LOOK_MS);
        return;
    }
    if (p->k->node != NULL)
        read_settings(p);
    if (p->stage != STANDING)
        return;
    if (kernel_stands(&p->kernel)) {
        if (proxy_chains_retry(&p->chains, uv_now(t->loop))) {
            proxy_release_held(p);
            gather_changed(&p->gather);
        }
        compare(p);
        return;
    }
    log_warning("services: somebody has changed our tables; they are made anew");
    p->stage = UNKNOWN;
    p->rebuild = true;
    gather_changed(&p->gather);
}

void proxy_node_changed(struct proxy *p)
{
    if (p != NULL && !p->stopped)
        uv_timer_start(&p->look, on_look, 0, LOOK_MS);
}

/* --- life ---------------------------------------------------------------------------------------
 */

static const double sync_bounds[] = {0.001, 0.002, 0.004, 0.008, 0.016, 0.032, 0.064, 0.128,
                                     0.256, 0.512, 1.024, 2.048, 4.096, 8.192, 16.384};
static const double network_bounds[] = {
    0.25, 0.5, 1,  2,  3,  4,  5,   6,   7,   8,   9,   10,  15,  20,  25,  30,  35,  40, 45,
    50,   55,  60, 70, 80, 90, 100, 110, 120, 135, 150, 165, 180, 195, 210, 240, 270, 300};

static void make_metrics(struct proxy *p)
{
    struct metrics *m = metrics_default();
    p->sync_seconds = metric_single(metric_histogram(
        m, "kubeproxy_sync_proxy_rules_duration_seconds", "SyncProxyRules latency in seconds", NULL,
        sync_bounds, ARRAY_SIZE(sync_bounds)));
    p->network_seconds =
        metric_single(metric_histogram(m, "kubeproxy_network_programming_duration_seconds",
                                       "In Cluster Network Programming Latency in seconds", NULL,
                                       network_bounds, ARRAY_SIZE(network_bounds)));
    p->last_sync =
        metric_single(metric_gauge(m, "kubeproxy_sync_proxy_rules_last_timestamp_seconds",
                                   "The last time proxy rules were successfully synced", NULL));
}

struct proxy *proxy_start(struct kubelet *k, struct informer *services, struct informer *slices)
{
    struct proxy *p = xzalloc(sizeof(*p));
    p->k = k;
    p->services = services;
    p->slices = slices;
    p->bridge_nf = nft_see_bridges();
    set_sysctl("/proc/sys/net/ipv4/ip_forward", "1");
    set_sysctl("/proc/sys/net/ipv6/conf/all/forwarding", "1");
    make_metrics(p);
    map_init(&p->known);
    map_init(&p->dirty);
    map_init(&p->held);
    proxy_chains_init(&p->chains);
    proxy_elements_init(&p->elements);
    stale_init(&p->stale);
    kernel_init(&p->kernel, k->loop, on_kernel, on_cleaned, p);
    p->health = proxy_health_start(k);
    gather_init(&p->gather, k->loop,
                &(struct gather_config){.share = SHARE, .run = sync_rules, .arg = p});
    uv_timer_init(k->loop, &p->look);
    p->look.data = p;
    uv_timer_start(&p->look, on_look, LOOK_MS, LOOK_MS);
    struct informer_handler handler = gather_handler(&p->gather);
    handler.on_add = on_slice_add;
    handler.on_update = on_slice_update;
    handler.on_delete = on_slice_delete;
    informer_add_handler(slices, &handler);
    handler = gather_handler(&p->gather);
    handler.on_add = service_changed;
    handler.on_update = on_service_update;
    handler.on_delete = on_service_delete;
    informer_add_handler(services, &handler);
    return p;
}

void proxy_stop(struct proxy *p)
{
    if (p == NULL)
        return;
    p->stopped = true;
    gather_stop(&p->gather);
    kernel_stop(&p->kernel);
    uv_timer_stop(&p->look);
    proxy_health_stop(p->health);
}
