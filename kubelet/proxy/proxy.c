/* proxy.c - see proxy.h. */
#include "kubelet/proxy/proxy.h"

#include "kubelet/dns/dns.h"
#include "kubelet/job.h"
#include "kubelet/kubelet.h"
#include "kubelet/nft.h"
#include "kubelet/proxy/rules.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <fcntl.h>
#include <unistd.h>

#define GATHER_MS 20u
#define SYNC_INTERVAL_MIN_MS 200u
#define RETRY_MS 5000u

struct proxy {
    struct kubelet *k;
    struct informer *services, *slices;
    uv_timer_t timer;
    bool dirty, busy, stopped, bridge_nf;
    bool services_synced, slices_synced;
    uint64_t synced_ms;
    struct buf rules;
    char *loaded; /* The rules that nft has taken last. */
    struct nft_load nft;
};

static void sync_soon(struct proxy *p, uint64_t ms);

/* --- nft -------------------------------------------------------------------------------- */

static void on_loaded(const char *error, void *arg)
{
    struct proxy *p = arg;
    p->busy = false;
    p->synced_ms = kubelet_now_ms(p->k);
    if (error != NULL) {
        log_error("nft: %s", error);
        p->dirty = true;
        sync_soon(p, RETRY_MS);
    } else {
        free(p->loaded);
        p->loaded = buf_steal(&p->rules, NULL);
        if (p->dirty)
            sync_soon(p, GATHER_MS);
    }
}

/* --- gathering ----------------------------------------------------------------------------- */

static int by_name(const void *x, const void *y)
{
    const struct core_v1_service *a = ((const struct proxy_service *)x)->service;
    const struct core_v1_service *b = ((const struct proxy_service *)y)->service;
    int c = str_cmp(a->metadata.namespace, b->metadata.namespace);
    return c != 0 ? c : str_cmp(a->metadata.name, b->metadata.name);
}

static int by_slice(const void *x, const void *y)
{
    const struct discovery_v1_endpoint_slice *const *a = x, *const *b = y;
    return str_cmp((*a)->metadata.name, (*b)->metadata.name);
}

/* Somebody else's proxy may claim a Service by this label; the node's own DNS
 * answers for the Service of its address. */
static bool is_ours(const struct proxy *p, const struct core_v1_service *s)
{
    return !dns_serves(p->k, s) &&
           api_str_map_get(s->metadata.labels, s->metadata.labels_count,
                           STR("service.kubernetes.io/service-proxy-name")) == NULL;
}

static void gather(struct proxy *p, struct arena *a, struct proxy_inputs *in)
{
    size_t pos = 0;
    struct proxy_service *list =
        ARENA_ARRAY(a, struct proxy_service, informer_count(p->services) + 1);
    *in = (struct proxy_inputs){
        .node_name = p->k->node_name, .services = list, .masquerade_bridge = !p->bridge_nf};
    for (struct api_object *o; (o = informer_next(p->services, &pos)) != NULL;) {
        const struct core_v1_service *s = o->msg;
        if (!is_ours(p, s))
            continue;
        size_t n;
        struct str key = arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(s->metadata.namespace),
                                      STR_ARG(s->metadata.name));
        struct api_object *const *slices = informer_by_index(p->slices, "service", key, &n);
        const struct discovery_v1_endpoint_slice **msgs =
            ARENA_ARRAY(a, const struct discovery_v1_endpoint_slice *, n + 1);
        for (size_t i = 0; i < n; i++)
            msgs[i] = slices[i]->msg;
        /* A fixed order: equal states give equal rules, and nothing to load. */
        qsort(msgs, n, sizeof(*msgs), by_slice);
        list[in->service_count++] = (struct proxy_service){s, msgs, n};
    }
    qsort(list, in->service_count, sizeof(*list), by_name);
}

static void on_timer(uv_timer_t *t)
{
    struct proxy *p = t->data;
    if (p->busy || p->stopped || !p->services_synced || !p->slices_synced)
        return;
    AUTO_ARENA *a = arena_new(0);
    struct proxy_inputs in;
    p->dirty = false;
    gather(p, a, &in);
    buf_clear(&p->rules);
    proxy_rules(&in, &p->rules);
    if (p->loaded != NULL && str_eqc(buf_str(&p->rules), p->loaded))
        return;
    log_debug("services: loading %zu bytes of rules", p->rules.len);
    p->busy = true;
    nft_load_start(&p->nft, p->k->loop, buf_str(&p->rules), on_loaded, p);
}

static void sync_soon(struct proxy *p, uint64_t ms)
{
    uint64_t since = kubelet_now_ms(p->k) - p->synced_ms;
    if (since < SYNC_INTERVAL_MIN_MS && ms < SYNC_INTERVAL_MIN_MS - since)
        ms = SYNC_INTERVAL_MIN_MS - since;
    if (!p->stopped && !uv_is_active((uv_handle_t *)&p->timer))
        uv_timer_start(&p->timer, on_timer, ms, 0);
}

static void changed(struct proxy *p)
{
    p->dirty = true;
    if (!p->busy)
        sync_soon(p, GATHER_MS);
}

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

static void on_services_synced(void *arg)
{
    struct proxy *p = arg;
    p->services_synced = true;
    changed(p);
}

static void on_slices_synced(void *arg)
{
    struct proxy *p = arg;
    p->slices_synced = true;
    changed(p);
}

/* --- life --------------------------------------------------------------------------------------
 */

static bool set_sysctl(const char *path, const char *value)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    if (fd < 0)
        return false;
    ssize_t n = write(fd, value, strlen(value));
    close(fd);
    return n > 0;
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
    uv_timer_init(k->loop, &p->timer);
    p->timer.data = p;
    struct informer_handler handler = {.on_add = on_add,
                                       .on_update = on_update,
                                       .on_delete = on_delete,
                                       .on_synced = on_slices_synced,
                                       .arg = p};
    informer_add_handler(slices, &handler);
    handler.on_synced = on_services_synced;
    informer_add_handler(services, &handler);
    return p;
}

void proxy_stop(struct proxy *p)
{
    if (p == NULL)
        return;
    p->stopped = true;
    uv_timer_stop(&p->timer);
}
