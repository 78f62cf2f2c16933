/* rules.c - see rules.h. */
#include "kubelet/proxy/rules.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/map.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <arpa/inet.h>
#include <stdarg.h>
#include <stdio.h>

#define AFFINITY_DEFAULT_S 10800

struct backend {
    const char *address;
    int port;
    bool local; /* On this node. */
};

struct backends {
    struct backend *items;
    size_t count, cap;
};

/* Both address families are written by the same code. */
struct family {
    const char *name; /* "ip", as nft calls the table's family and the header. */
    const char *type; /* "ipv4_addr" */
    bool v6;
};

/* One port of one Service in one family. */
struct port_rules {
    struct arena *a;
    const struct family *f;
    const struct proxy_inputs *in;
    const struct core_v1_service *service;
    const struct core_v1_service_port *port;
    const char *id;                    /* Of its chains. */
    const char *protocol;              /* "tcp" */
    struct backends cluster, external; /* For addresses inside, and from outside. */
    bool any_ready;
};

/* What is gathered while walking over all ports. */
struct texts {
    struct buf chains, service_ips, node_ports, no_ips, no_ports;
};

/* Elements of a set are divided by commas. */
static void element(struct buf *b, const char *fmt, ...) PRINTF_LIKE(2, 3);
static void element(struct buf *b, const char *fmt, ...)
{
    char text[512];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof(text), fmt, args);
    va_end(args);
    buf_printf(b, "%s\n      %s", b->len > 0 ? "," : "", text);
}

/* Never trusts what stands in an object: nft reads our text. */
static bool is_address(struct str s, bool v6)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (s.len == 0 || s.len >= sizeof(text))
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return inet_pton(v6 ? AF_INET6 : AF_INET, text, bytes) == 1;
}

static const char *protocol_name(struct str s)
{
    if (str_eqc(s, "UDP"))
        return "udp";
    return str_eqc(s, "SCTP") ? "sctp" : "tcp";
}

/* --- endpoints ---------------------------------------------------------------------- */

static void add_backend(struct arena *a, struct backends *l, struct str address, int port,
                        bool local)
{
    for (size_t i = 0; i < l->count; i++) {
        if (str_eqc(address, l->items[i].address) && l->items[i].port == port)
            return;
    }
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct backend){str_c(arena_str(a, address)), port, local};
}

/* The number of a Service's port in a slice, 0 when it has none. */
static int slice_port(const struct discovery_v1_endpoint_slice *s,
                      const struct core_v1_service_port *p)
{
    for (size_t i = 0; i < s->ports_count; i++) {
        if (str_eq(s->ports[i].name, p->name) && s->ports[i].has_port &&
            (!s->ports[i].has_protocol ||
             strcmp(protocol_name(s->ports[i].protocol), protocol_name(p->protocol)) == 0))
            return s->ports[i].port;
    }
    return 0;
}

/* Ready endpoints; or, when there are none, those that still serve while they
 * are terminating (their replacements are not there yet). */
static void collect(struct port_rules *r, const struct proxy_service *svc, bool terminating,
                    bool local_only, struct backends *ret)
{
    for (size_t i = 0; i < svc->slice_count; i++) {
        const struct discovery_v1_endpoint_slice *s = svc->slices[i];
        int port = slice_port(s, r->port);
        if (port <= 0 || str_eqc(s->address_type, "IPv6") != r->f->v6)
            continue;
        for (size_t k = 0; k < s->endpoints_count; k++) {
            const struct discovery_v1_endpoint *e = &s->endpoints[k];
            bool ready = !e->conditions.has_ready || e->conditions.ready;
            bool serving = e->conditions.has_serving ? e->conditions.serving : ready;
            bool local = e->has_node_name && str_eqc(e->node_name, r->in->node_name);
            if (terminating ? !(serving && e->conditions.terminating) : !ready)
                continue;
            if (e->addresses_count == 0 || !is_address(e->addresses[0], r->f->v6) ||
                (local_only && !local))
                continue;
            add_backend(r->a, ret, e->addresses[0], port, local);
        }
    }
}

static void collect_usable(struct port_rules *r, const struct proxy_service *svc, bool local_only,
                           struct backends *ret)
{
    collect(r, svc, false, local_only, ret);
    if (ret->count == 0)
        collect(r, svc, true, local_only, ret);
}

/* --- chains ------------------------------------------------------------------------- */

static int64_t affinity_s(const struct core_v1_service *s)
{
    if (!str_eqc(s->spec.session_affinity, "ClientIP"))
        return 0;
    const struct core_v1_session_affinity_config *c = s->spec.session_affinity_config;
    return c != NULL && c->client_ip != NULL && c->client_ip->has_timeout_seconds
               ? c->client_ip->timeout_seconds
               : AFFINITY_DEFAULT_S;
}

static void write_endpoint(struct port_rules *r, struct buf *b, const char *kind, size_t i,
                           const struct backend *e)
{
    int64_t affinity = affinity_s(r->service);
    if (affinity > 0)
        buf_printf(b,
                   "  set aff-%s-%s-%zu {\n    type %s\n    flags dynamic,timeout\n    timeout "
                   "%llds\n    size 65536\n  }\n",
                   kind, r->id, i, r->f->type, (long long)affinity);
    buf_printf(b, "  chain ep-%s-%s-%zu {\n", kind, r->id, i);
    /* A pod that reaches itself, or another behind the same bridge. */
    buf_printf(b, "    %s saddr %s meta mark set meta mark or 0x%x\n", r->f->name, e->address,
               PROXY_MARK);
    if (r->in->masquerade_bridge && e->local)
        buf_printf(b, "    iifname \"cni*\" meta mark set meta mark or 0x%x\n", PROXY_MARK);
    if (affinity > 0)
        buf_printf(b, "    update @aff-%s-%s-%zu { %s saddr }\n", kind, r->id, i, r->f->name);
    buf_printf(b,
               r->f->v6 ? "    meta l4proto %s dnat to [%s]:%d\n  }\n"
                        : "    meta l4proto %s dnat to %s:%d\n  }\n",
               r->protocol, e->address, e->port);
}

/* svc-kind-id: chooses one of the endpoints. */
static void write_balancer(struct port_rules *r, struct buf *b, const char *kind,
                           const struct backends *l)
{
    for (size_t i = 0; i < l->count; i++)
        write_endpoint(r, b, kind, i, &l->items[i]);
    buf_printf(b, "  chain svc-%s-%s {\n", kind, r->id);
    for (size_t i = 0; affinity_s(r->service) > 0 && i < l->count; i++)
        buf_printf(b, "    %s saddr @aff-%s-%s-%zu goto ep-%s-%s-%zu\n", r->f->name, kind, r->id, i,
                   kind, r->id, i);
    if (l->count == 1) {
        buf_printf(b, "    goto ep-%s-%s-0\n", kind, r->id);
    } else {
        buf_printf(b, "    numgen random mod %zu vmap { ", l->count);
        for (size_t i = 0; i < l->count; i++)
            buf_printf(b, "%s%zu : goto ep-%s-%s-%zu", i > 0 ? ", " : "", i, kind, r->id, i);
        buf_puts(b, " }\n");
    }
    buf_puts(b, "  }\n");
}

/* --- one port ------------------------------------------------------------------------ */

static void inside_address(struct port_rules *r, struct texts *t, struct str address)
{
    if (!is_address(address, r->f->v6))
        return;
    if (r->cluster.count > 0)
        element(&t->service_ips, STR_FMT " . %s . %d : goto svc-in-%s", STR_ARG(address),
                r->protocol, r->port->port, r->id);
    else if (!r->any_ready)
        element(&t->no_ips, STR_FMT " . %s . %d : goto refuse", STR_ARG(address), r->protocol,
                r->port->port);
    else /* Some elsewhere, but internalTrafficPolicy is Local: dropped. */
        element(&t->no_ips, STR_FMT " . %s . %d : drop", STR_ARG(address), r->protocol,
                r->port->port);
}

static void outside_address(struct port_rules *r, struct texts *t, struct str address)
{
    if (!is_address(address, r->f->v6))
        return;
    if (r->external.count > 0)
        element(&t->service_ips, STR_FMT " . %s . %d : goto ext-%s", STR_ARG(address), r->protocol,
                r->port->port, r->id);
    else
        element(&t->no_ips, STR_FMT " . %s . %d : %s", STR_ARG(address), r->protocol, r->port->port,
                r->any_ready ? "drop" : "goto refuse");
}

static void write_port(struct port_rules *r, const struct proxy_service *svc, struct texts *t)
{
    const struct core_v1_service_spec *spec = &r->service->spec;
    bool outside_local = str_eqc(spec->external_traffic_policy, "Local");
    collect_usable(r, svc, str_eqc(spec->internal_traffic_policy, "Local"), &r->cluster);
    collect_usable(r, svc, outside_local, &r->external);
    struct backends all = {0};
    collect_usable(r, svc, false, &all);
    r->any_ready = all.count > 0;
    bool has_outside = r->port->node_port > 0 || spec->external_ips_count > 0 ||
                       r->service->status.load_balancer.ingress_count > 0;
    if (r->cluster.count > 0)
        write_balancer(r, &t->chains, "in", &r->cluster);
    if (has_outside && r->external.count > 0) {
        write_balancer(r, &t->chains, "out", &r->external);
        buf_printf(&t->chains, "  chain ext-%s {\n", r->id);
        /* Another node may answer: it must answer through us. */
        if (!outside_local)
            buf_printf(&t->chains, "    meta mark set meta mark or 0x%x\n", PROXY_MARK);
        buf_printf(&t->chains, "    goto svc-out-%s\n  }\n", r->id);
    }
    if (spec->cluster_ips_count == 0)
        inside_address(r, t, spec->cluster_ip);
    for (size_t i = 0; i < spec->cluster_ips_count; i++)
        inside_address(r, t, spec->cluster_ips[i]);
    for (size_t i = 0; i < spec->external_ips_count; i++)
        outside_address(r, t, spec->external_ips[i]);
    for (size_t i = 0; i < r->service->status.load_balancer.ingress_count; i++) {
        const struct core_v1_load_balancer_ingress *g =
            &r->service->status.load_balancer.ingress[i];
        if (!g->has_ip_mode || !str_eqc(g->ip_mode, "Proxy"))
            outside_address(r, t, g->ip);
    }
    if (r->port->node_port > 0 && r->external.count > 0)
        element(&t->node_ports, "%s . %d : goto ext-%s", r->protocol, r->port->node_port, r->id);
    else if (r->port->node_port > 0)
        element(&t->no_ports, "%s . %d : %s", r->protocol, r->port->node_port,
                r->any_ready ? "drop" : "goto refuse");
}

static const char *port_id(struct arena *a, const struct core_v1_service *s,
                           const struct core_v1_service_port *p)
{
    static const uint64_t seed[2] = {0x736572766963u, 0x70726f7879u};
    struct str key = arena_printf(a, STR_FMT "/" STR_FMT ":" STR_FMT "/%s/%d",
                                  STR_ARG(s->metadata.namespace), STR_ARG(s->metadata.name),
                                  STR_ARG(p->name), protocol_name(p->protocol), p->port);
    return str_c(
        arena_printf(a, "%016llx", (unsigned long long)base_siphash(seed, key.data, key.len)));
}

static bool is_routed(const struct core_v1_service *s)
{
    return !str_eqc(s->spec.type, "ExternalName") && !str_empty(s->spec.cluster_ip) &&
           !str_eqc(s->spec.cluster_ip, "None");
}

/* --- the table ------------------------------------------------------------------------ */

static void write_map(struct buf *b, const char *name, const char *type, struct buf *elements)
{
    buf_printf(b, "  map %s {\n    type %s : verdict\n", name, type);
    if (elements->len > 0) {
        buf_puts(b, "    elements = {");
        buf_append_str(b, buf_str(elements));
        buf_puts(b, "\n    }\n");
    }
    buf_puts(b, "  }\n");
    buf_done(elements);
}

static void write_hooks(const struct family *f, struct buf *b)
{
    const char *loopback = f->v6 ? "::1" : "127.0.0.0/8";
    buf_printf(b,
               "  chain refuse {\n    reject\n  }\n"
               "  chain services {\n"
               "    %s daddr . meta l4proto . th dport vmap @service-ips\n"
               "    fib daddr type local %s daddr != %s meta l4proto . th dport vmap @node-ports\n"
               "  }\n",
               f->name, f->name, loopback);
    buf_puts(b, "  chain prerouting {\n    type nat hook prerouting priority dstnat; policy "
                "accept;\n    jump services\n  }\n"
                "  chain output {\n    type nat hook output priority -100; policy accept;\n    "
                "jump services\n  }\n");
    buf_printf(
        b,
        "  chain postrouting {\n    type nat hook postrouting priority srcnat; policy accept;\n"
        "    meta mark & 0x%x == 0x%x meta mark set meta mark xor 0x%x masquerade fully-random\n  "
        "}\n",
        PROXY_MARK, PROXY_MARK, PROXY_MARK);
    buf_printf(b,
               "  chain no-endpoints {\n"
               "    %s daddr . meta l4proto . th dport vmap @no-endpoint-ips\n"
               "    fib daddr type local %s daddr != %s meta l4proto . th dport vmap "
               "@no-endpoint-ports\n  }\n",
               f->name, f->name, loopback);
    static const char *const hooks[] = {"input", "forward", "output"};
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++)
        buf_printf(b,
                   "  chain filter-%s {\n    type filter hook %s priority -110; policy accept;\n"
                   "    ct state new jump no-endpoints\n  }\n",
                   hooks[i], hooks[i]);
}

static void write_family(const struct proxy_inputs *in, const struct family *f, struct buf *out)
{
    AUTO_ARENA *a = arena_new(0);
    struct texts t = {0};
    AUTO_BUF maps = BUF_INIT;
    for (size_t i = 0; i < in->service_count; i++) {
        const struct core_v1_service *s = in->services[i].service;
        for (size_t k = 0; is_routed(s) && k < s->spec.ports_count; k++) {
            struct port_rules r = {
                .a = a, .f = f, .in = in, .service = s, .port = &s->spec.ports[k]};
            r.id = port_id(a, s, r.port);
            r.protocol = protocol_name(r.port->protocol);
            write_port(&r, &in->services[i], &t);
        }
    }
    AUTO_FREE char *by_ip = xasprintf("%s . inet_proto . inet_service", f->type);
    buf_printf(out, "table %s %s {\n", f->name, PROXY_TABLE);
    /* Chains stand before what points at them. */
    buf_append_str(out, buf_str(&t.chains));
    buf_done(&t.chains);
    write_map(&maps, "service-ips", by_ip, &t.service_ips);
    write_map(&maps, "node-ports", "inet_proto . inet_service", &t.node_ports);
    write_map(&maps, "no-endpoint-ips", by_ip, &t.no_ips);
    write_map(&maps, "no-endpoint-ports", "inet_proto . inet_service", &t.no_ports);
    buf_append_str(out, buf_str(&maps));
    write_hooks(f, out);
    buf_puts(out, "}\n");
}

static const struct family families[] = {{"ip", "ipv4_addr", false}, {"ip6", "ipv6_addr", true}};

void proxy_rules_none(struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        /* Adding first makes deleting succeed whether it was there or not. */
        buf_printf(out, "add table %s %s\ndelete table %s %s\n", families[i].name, PROXY_TABLE,
                   families[i].name, PROXY_TABLE);
}

void proxy_rules(const struct proxy_inputs *in, struct buf *out)
{
    proxy_rules_none(out);
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        write_family(in, &families[i], out);
}
