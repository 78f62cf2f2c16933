/* endpoints.c - see endpoints.h. */
#include "kubelet/proxy/endpoints.h"

#include "lib/base/arena.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <arpa/inet.h>
#include <netinet/in.h>

struct candidate {
    const struct discovery_v1_endpoint *e;
    struct proxy_endpoint endpoint;
    bool ready, terminating; /* Terminating: and serving still. */
};

struct candidates {
    struct candidate *items;
    size_t count, cap;
};

enum preference { ANYWHERE, SAME_ZONE, SAME_NODE };

bool proxy_parse_address(struct str s, enum proxy_family family, uint8_t ret[16])
{
    char text[INET6_ADDRSTRLEN];
    if (s.len == 0 || s.len >= sizeof(text))
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return inet_pton(family == PROXY_V6 ? AF_INET6 : AF_INET, text, ret) == 1;
}

uint8_t proxy_protocol(struct str s)
{
    if (str_eqc(s, "UDP"))
        return IPPROTO_UDP;
    return str_eqc(s, "SCTP") ? IPPROTO_SCTP : IPPROTO_TCP;
}

/* The number of a Service's port in a slice, 0 when it has none. */
static int slice_port(const struct discovery_v1_endpoint_slice *s,
                      const struct core_v1_service_port *p)
{
    for (size_t i = 0; i < s->ports_count; i++) {
        if (str_eq(s->ports[i].name, p->name) && s->ports[i].has_port &&
            (!s->ports[i].has_protocol ||
             proxy_protocol(s->ports[i].protocol) == proxy_protocol(p->protocol)))
            return s->ports[i].port;
    }
    return 0;
}

static bool is_local(const struct proxy_node *node, const struct discovery_v1_endpoint *e)
{
    return e->has_node_name && str_eqc(e->node_name, node->name);
}

static void judge(const struct discovery_v1_endpoint *e, struct candidate *c)
{
    c->e = e;
    c->ready = !e->conditions.has_ready || e->conditions.ready;
    bool serving = e->conditions.has_serving ? e->conditions.serving : c->ready;
    c->terminating = serving && e->conditions.has_terminating && e->conditions.terminating;
}

static void gather(struct arena *a, const struct proxy_node *node, const struct proxy_service *s,
                   const struct core_v1_service_port *p, enum proxy_family family,
                   struct candidates *ret)
{
    for (size_t i = 0; i < s->slice_count; i++) {
        const struct discovery_v1_endpoint_slice *slice = s->slices[i];
        int port = slice_port(slice, p);
        if (port <= 0 || port > UINT16_MAX ||
            !str_eqc(slice->address_type, family == PROXY_V6 ? "IPv6" : "IPv4"))
            continue;
        for (size_t k = 0; k < slice->endpoints_count; k++) {
            const struct discovery_v1_endpoint *e = &slice->endpoints[k];
            struct candidate c = {.endpoint = {.port = (uint16_t)port, .local = is_local(node, e)}};
            judge(e, &c);
            if ((!c.ready && !c.terminating) || e->addresses_count == 0 ||
                !proxy_parse_address(e->addresses[0], family, c.endpoint.address))
                continue;
            ret->items = arena_grow(a, ret->items, ret->count, &ret->cap, sizeof(*ret->items));
            ret->items[ret->count++] = c;
        }
    }
}

/* --- hints ------------------------------------------------------------------------------- */

static bool names_zone(const struct discovery_v1_endpoint *e, struct str zone)
{
    for (size_t i = 0; e->hints != NULL && i < e->hints->for_zones_count; i++)
        if (str_eq(e->hints->for_zones[i].name, zone))
            return true;
    return false;
}

static bool names_node(const struct discovery_v1_endpoint *e, const char *node)
{
    for (size_t i = 0; e->hints != NULL && i < e->hints->for_nodes_count; i++)
        if (str_eqc(e->hints->for_nodes[i].name, node))
            return true;
    return false;
}

static enum preference preference(const struct proxy_node *node, const struct candidates *l)
{
    bool all_zones = true, all_nodes = true, this_zone = false, this_node = false;
    for (size_t i = 0; i < l->count; i++) {
        const struct discovery_v1_endpoint *e = l->items[i].e;
        if (!l->items[i].ready)
            continue;
        all_zones = all_zones && e->hints != NULL && e->hints->for_zones_count > 0;
        all_nodes = all_nodes && e->hints != NULL && e->hints->for_nodes_count > 0;
        this_zone = this_zone || (!str_empty(node->zone) && names_zone(e, node->zone));
        this_node = this_node || names_node(e, node->name);
    }
    if (all_nodes && this_node)
        return SAME_NODE;
    return all_zones && this_zone ? SAME_ZONE : ANYWHERE;
}

static bool is_preferred(const struct proxy_node *node, const struct candidate *c,
                         enum preference how)
{
    return how == ANYWHERE || (how == SAME_ZONE && names_zone(c->e, node->zone)) ||
           (how == SAME_NODE && names_node(c->e, node->name));
}

/* --- choices ------------------------------------------------------------------------------ */

static int by_address(const void *x, const void *y)
{
    const struct proxy_endpoint *a = x, *b = y;
    int c = memcmp(a->address, b->address, sizeof(a->address));
    return c != 0 ? c : (int)a->port - (int)b->port;
}

/* Two slices may hold the same endpoint while it moves from one to the other. */
static void sort(struct proxy_endpoints *l)
{
    size_t kept = 0;
    if (l->count > 1)
        qsort(l->items, l->count, sizeof(*l->items), by_address);
    for (size_t i = 0; i < l->count; i++)
        if (kept == 0 || by_address(&l->items[kept - 1], &l->items[i]) != 0)
            l->items[kept++] = l->items[i];
    l->count = kept;
}

static void take_those(struct arena *a, const struct proxy_node *node, const struct candidates *l,
                       bool local_only, bool ready, enum preference how,
                       struct proxy_endpoints *ret)
{
    *ret = (struct proxy_endpoints){.items = ARENA_ARRAY(a, struct proxy_endpoint, l->count + 1)};
    for (size_t i = 0; i < l->count; i++) {
        const struct candidate *c = &l->items[i];
        if ((ready ? c->ready : c->terminating) && (!local_only || c->endpoint.local) &&
            is_preferred(node, c, how))
            ret->items[ret->count++] = c->endpoint;
    }
    sort(ret);
}

static void choose(struct arena *a, const struct proxy_node *node, const struct candidates *l,
                   bool local_only, struct proxy_endpoints *ret)
{
    take_those(a, node, l, local_only, true, local_only ? ANYWHERE : preference(node, l), ret);
    if (ret->count == 0)
        take_those(a, node, l, local_only, false, ANYWHERE, ret);
}

void proxy_choose(struct arena *a, const struct proxy_node *node, const struct proxy_service *s,
                  const struct core_v1_service_port *port, enum proxy_family family,
                  struct proxy_choice *ret)
{
    struct candidates l = {0};
    const struct core_v1_service_spec *spec = &s->service->spec;
    gather(a, node, s, port, family, &l);
    struct proxy_endpoints cluster, local;
    choose(a, node, &l, false, &cluster);
    choose(a, node, &l, true, &local);
    *ret = (struct proxy_choice){
        .inside = str_eqc(spec->internal_traffic_policy, "Local") ? local : cluster,
        .outside = str_eqc(spec->external_traffic_policy, "Local") ? local : cluster,
        .shortcut = cluster,
        .any = cluster.count > 0};
}

size_t proxy_count_local(struct arena *a, const struct proxy_node *node,
                         const struct proxy_service *s)
{
    struct proxy_endpoints all = {0};
    size_t max = 0;
    for (size_t i = 0; i < s->slice_count; i++)
        max += s->slices[i]->endpoints_count;
    all.items = ARENA_ARRAY(a, struct proxy_endpoint, max + 1);
    for (size_t i = 0; i < s->slice_count; i++)
        for (size_t k = 0; k < s->slices[i]->endpoints_count; k++) {
            const struct discovery_v1_endpoint *e = &s->slices[i]->endpoints[k];
            struct candidate c;
            struct proxy_endpoint *to = &all.items[all.count];
            judge(e, &c);
            if (c.ready && is_local(node, e) && e->addresses_count > 0 &&
                (proxy_parse_address(e->addresses[0], PROXY_V4, to->address) ||
                 proxy_parse_address(e->addresses[0], PROXY_V6, to->address)))
                all.count++;
        }
    sort(&all);
    return all.count;
}
