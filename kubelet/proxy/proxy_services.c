/* proxy_services.c - see proxy_internal.h: a Service that has changed, to what it gives. */
#include "kubelet/proxy/proxy_internal.h"

#include "kubelet/dns/dns.h"
#include "kubelet/proxy/plan.h"

#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/log.h"
#include "lib/client/informer.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

/* What one turn of the loop does at most, so that it stays below some milliseconds. */
#define SERVICES_A_TURN 128u

/* Somebody else's proxy may claim a Service by this label; the node's own DNS
 * answers for the Service of its address. */
static bool is_ours(const struct proxy *p, const struct core_v1_service *s)
{
    return proxy_is_routed(s) && !dns_serves(p->k, s) &&
           api_str_map_get(s->metadata.labels, s->metadata.labels_count,
                           STR("service.kubernetes.io/service-proxy-name")) == NULL;
}

/* Whether all chains that the plan leads to are there; else they are wanted. */
static bool chains_are_there(struct proxy *p, struct str key, const struct proxy_plan *plan)
{
    enum chain_state worst = CHAIN_THERE;
    struct proxy_element e;
    bool missing = false;
    if (plan->learn_s > 0)
        worst = proxy_chains_want(&p->chains, CHAIN_LEARN, plan->learn_s);
    missing = worst != CHAIN_THERE;
    for (size_t pos = 0; proxy_element_next(buf_str(plan->elements), &pos, &e);) {
        uint64_t count;
        if (e.set != PROXY_SERVICES && e.set != PROXY_SHORTCUTS)
            continue;
        /* "ext-sticky-3": the number stands behind the last dash. */
        size_t dash = e.data.len;
        while (dash > 0 && e.data.data[dash - 1] != '-')
            dash--;
        if (!str_to_u64(str_sub(e.data, dash, e.data.len), &count) || count <= PROXY_COUNT_READY)
            continue;
        enum chain_state state = proxy_chains_want(&p->chains, CHAIN_COUNT, (int64_t)count);
        missing |= state != CHAIN_THERE;
        if (state == CHAIN_BROKEN)
            worst = state;
    }
    if (worst == CHAIN_BROKEN)
        log_warning("Service " STR_FMT ": its changes wait, since nftables does not take the "
                    "chains that it needs; they are tried again in a minute",
                    STR_ARG(key));
    return !missing;
}

static void note(struct proxy *p, const struct buf *packed)
{
    struct proxy_element e;
    for (size_t pos = 0; proxy_element_next(buf_str(packed), &pos, &e);)
        stale_note(&p->stale, &p->elements, &e);
}

/* From what a Service has given to what it gives now. */
static void replace(struct proxy *p, struct str key, struct buf *plan)
{
    struct service *s = map_get(&p->known, key);
    struct proxy_element e;
    if (s == NULL) {
        s = xzalloc(sizeof(*s));
        map_set(&p->known, key, s);
    }
    if (!s->crowded && str_eq(buf_str(&s->given), buf_str(plan)))
        return;
    note(p, &s->given);
    for (size_t pos = 0; proxy_element_next(buf_str(&s->given), &pos, &e);)
        proxy_elements_take(&p->elements, &e);
    p->crowded -= s->crowded;
    s->crowded = false;
    buf_done(&s->given);
    for (size_t pos = 0; proxy_element_next(buf_str(plan), &pos, &e);) {
        if (proxy_elements_give(&p->elements, &e))
            proxy_element_pack(&s->given, &e);
        else
            s->crowded = true;
    }
    if (s->crowded)
        log_warning("Service " STR_FMT ": some of its addresses and ports belong to another one",
                    STR_ARG(key));
    p->crowded += s->crowded;
    note(p, &s->given);
}

static void forget(struct proxy *p, struct str key)
{
    AUTO_BUF nothing = BUF_INIT;
    struct service *s = map_get(&p->known, key);
    if (s == NULL)
        return;
    replace(p, key, &nothing);
    proxy_health_set(p->health, key, 0, 0);
    map_remove(&p->known, key);
    buf_done(&s->given);
    free(s);
}

void proxy_note_trigger(struct proxy *p, const struct discovery_v1_endpoint_slice *s)
{
    const struct str *at = api_str_map_get(s->metadata.annotations, s->metadata.annotations_count,
                                           STR("endpoints.kubernetes.io/last-change-trigger-time"));
    struct meta_v1_micro_time t;
    struct error err;
    if (at == NULL || micro_time_parse(*at, &t, &err) != 0)
        return;
    double seconds = (double)t.seconds + (double)t.nanos / 1e9;
    if (p->triggered_s == 0 || seconds < p->triggered_s)
        p->triggered_s = seconds;
}

static void plan_service(struct proxy *p, struct str key)
{
    static char there;
    struct api_object *o = informer_get_key(p->services, key);
    if (o == NULL || !is_ours(p, o->msg)) {
        forget(p, key);
        return;
    }
    AUTO_ARENA *a = arena_new(0);
    AUTO_BUF elements = BUF_INIT;
    size_t n;
    struct api_object *const *slices = informer_by_index(p->slices, "service", key, &n);
    const struct discovery_v1_endpoint_slice **msgs =
        ARENA_ARRAY(a, const struct discovery_v1_endpoint_slice *, n + 1);
    for (size_t i = 0; i < n; i++)
        msgs[i] = slices[i]->msg;
    struct proxy_service service = {o->msg, msgs, n};
    struct proxy_plan_config c = {.node = {p->k->node_name, buf_str(&p->zone)}};
    for (enum proxy_family f = 0; f < PROXY_FAMILY_COUNT; f++) {
        c.node_addresses[f] = (const uint8_t(*)[16])p->addresses.items[f];
        c.node_address_counts[f] = p->addresses.counts[f];
    }
    struct proxy_plan plan = {.elements = &elements};
    proxy_plan(&c, &service, &plan);
    if (chains_are_there(p, key, &plan))
        replace(p, key, &elements);
    else
        map_set(&p->held, key, &there);
    const struct core_v1_service_spec *spec = &service.service->spec;
    bool checked = str_eqc(spec->external_traffic_policy, "Local") &&
                   str_eqc(spec->type, "LoadBalancer") && spec->health_check_node_port > 0;
    proxy_health_set(p->health, key, checked ? spec->health_check_node_port : 0,
                     checked ? proxy_count_local(a, &c.node, &service) : 0);
}

/* Those that had to stand back try again once something has gone. */
static void retry_crowded(struct proxy *p)
{
    static char there;
    struct str key;
    void *value;
    for (size_t pos = 0; p->crowded > 0 && map_next(&p->known, &pos, &key, &value);)
        if (((struct service *)value)->crowded)
            map_set(&p->dirty, key, &there);
}

bool proxy_plan_some(struct proxy *p)
{
    AUTO_ARENA *a = arena_new(0);
    struct str keys[SERVICES_A_TURN], key;
    size_t n = 0;
    if (p->dirty.count > 0)
        retry_crowded(p);
    for (size_t pos = 0; n < SERVICES_A_TURN && map_next(&p->dirty, &pos, &key, NULL);)
        keys[n++] = arena_str(a, key);
    for (size_t i = 0; i < n; i++) {
        map_remove(&p->dirty, keys[i]);
        plan_service(p, keys[i]);
    }
    informer_rest(p->services);
    informer_rest(p->slices);
    return p->dirty.count == 0;
}

void proxy_release_held(struct proxy *p)
{
    static char there;
    struct str key;
    for (size_t pos = 0; map_next(&p->held, &pos, &key, NULL);)
        map_set(&p->dirty, key, &there);
    map_done(&p->held);
    map_init(&p->held);
}
