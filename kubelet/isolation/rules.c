/* rules.c - see rules.h. */
#include "kubelet/isolation/rules.h"

#include "lib/api/depends.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <arpa/inet.h>

/* Not reachable by everybody: RFC 6890 and the registries of special-purpose addresses behind it.
 */
static const char *const special4[] = {
    "0.0.0.0/8",       "10.0.0.0/8",     "100.64.0.0/10", "127.0.0.0/8",    "169.254.0.0/16",
    "172.16.0.0/12",   "192.0.0.0/24",   "192.0.2.0/24",  "192.168.0.0/16", "198.18.0.0/15",
    "198.51.100.0/24", "203.0.113.0/24", "224.0.0.0/3"};
static const char *const special6[] = {"2001::/23", "2001:db8::/32", "2002::/16", "3fff::/20"};
/* Global unicast, and IPv4's behind the well-known prefix of NAT64 (RFC 6052). */
static const char *const global6[] = {"2000::/3", "64:ff9b::/96"};

struct builder {
    const struct isolation_inputs *in;
    struct arena *a; /* Ends with the call. */
    struct policy_state *state;
    struct isolation_plan *plan;
};

static unsigned long long hash(const struct builder *b, struct str s)
{
    return (unsigned long long)base_siphash(b->in->seed, s.data, s.len);
}

/* 4, 6; 0: no address. */
static int family_of(struct str s)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    if (s.len == 0 || s.len >= sizeof(text))
        return 0;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    return inet_pton(AF_INET, text, bytes) == 1 ? 4 : inet_pton(AF_INET6, text, bytes) == 1 ? 6 : 0;
}

static const char *header(int family)
{
    return family == 4 ? "ip" : "ip6";
}

static const char *protocol_of(struct str s)
{
    return str_eqc(s, "UDP") ? "udp" : str_eqc(s, "SCTP") ? "sctp" : "tcp";
}

enum isolation_mode isolation_mode_of(const struct core_v1_namespace *n)
{
    const struct str *v = n != NULL ? api_str_map_get(n->metadata.labels, n->metadata.labels_count,
                                                      STR(DEPENDS_ISOLATION))
                                    : NULL;
    if (v == NULL)
        return ISOLATION_OPEN;
    return str_eqc(*v, "audit") ? ISOLATION_AUDIT : ISOLATION_DECLARED;
}

struct str isolation_workload_name(struct arena *a, const struct core_v1_pod *pod)
{
    const struct meta_v1_object_meta *m = &pod->metadata;
    for (size_t i = 0; i < m->owner_references_count; i++) {
        const struct meta_v1_owner_reference *o = &m->owner_references[i];
        if (!o->controller)
            continue;
        const struct str *template =
            api_str_map_get(m->labels, m->labels_count, STR("pod-template-hash"));
        struct str tail =
            template != NULL ? arena_printf(a, "-" STR_FMT, STR_ARG(*template)) : STR_NULL;
        if (str_eqc(o->kind, "ReplicaSet") && tail.len > 0 && str_has_suffix(o->name, tail))
            return arena_printf(a, "Deployment/" STR_FMT,
                                STR_ARG(str_sub(o->name, 0, o->name.len - tail.len)));
        return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(o->kind), STR_ARG(o->name));
    }
    return arena_printf(a, "Pod/" STR_FMT, STR_ARG(m->name));
}

/* --- Services ---------------------------------------------------------------------------- */

struct str isolation_service_key(struct arena *a, struct str own, const struct dependency *d)
{
    struct str ns = str_empty(d->namespace_) ? own : d->namespace_;
    return arena_printf(a, STR_FMT "/" STR_FMT, STR_ARG(ns), STR_ARG(d->name));
}

static bool is_asked_for(const struct core_v1_service_port *p, const struct dependency *d)
{
    if (d->port != 0)
        return p->port == d->port;
    return str_empty(d->port_name) || str_eq(p->name, d->port_name);
}

/* A slice's port that stands for this port of the Service. */
static const struct discovery_v1_endpoint_port *
slice_port(const struct discovery_v1_endpoint_slice *s, const struct core_v1_service_port *p)
{
    for (size_t i = 0; i < s->ports_count; i++)
        if (str_eq(s->ports[i].name, p->name) && s->ports[i].has_port)
            return &s->ports[i];
    return NULL;
}

static bool port_is_ready(const struct isolation_service *s, const struct core_v1_service_port *p)
{
    for (size_t i = 0; i < s->slice_count; i++) {
        const struct discovery_v1_endpoint_slice *slice = s->slices[i];
        for (size_t k = 0; slice_port(slice, p) != NULL && k < slice->endpoints_count; k++) {
            const struct discovery_v1_endpoint_conditions *c = &slice->endpoints[k].conditions;
            if (!c->has_ready || c->ready)
                return true;
        }
    }
    return false;
}

bool isolation_is_ready(const struct isolation_service *s, const struct dependency *d)
{
    size_t asked = 0;
    if (s == NULL || s->service == NULL)
        return false;
    if (str_eqc(s->service->spec.type, "ExternalName"))
        return true; /* Nobody knows. */
    for (size_t i = 0; i < s->service->spec.ports_count; i++) {
        const struct core_v1_service_port *p = &s->service->spec.ports[i];
        if (!is_asked_for(p, d))
            continue;
        asked++;
        if (!port_is_ready(s, p))
            return false;
    }
    return asked > 0;
}

/* --- one declaration ------------------------------------------------------------------------ */

struct chain {
    struct builder *b;
    struct isolation_workload *workload;
    struct str own; /* Namespace. */
    struct buf rules;
};

static struct str counter(struct builder *b, const char *letter, struct str key)
{
    bool is_new;
    struct str name = arena_printf(b->a, "%s-%016llx", letter, hash(b, key));
    struct policy_set *c = policy_state_set(b->state, name, NULL, &is_new);
    c->kind = POLICY_COUNTER;
    return c->name;
}

static struct str edge_counter(struct chain *c, const struct dependency *d)
{
    struct builder *b = c->b;
    struct isolation_workload *w = c->workload;
    struct arena *kept = b->state->arena;
    struct str to = d->text;
    if (d->type == DEPEND_SERVICE && str_empty(d->namespace_))
        to = arena_printf(b->a, STR_FMT "/" STR_FMT, STR_ARG(c->own), STR_ARG(d->text));
    for (size_t i = 0; i < w->edge_count; i++)
        if (str_eq(w->edges[i].to, to))
            return w->edges[i].counter;
    struct str key = arena_printf(b->a, STR_FMT "/" STR_FMT " " STR_FMT, STR_ARG(w->namespace_),
                                  STR_ARG(w->name), STR_ARG(to));
    w->edges = arena_grow(kept, w->edges, w->edge_count, &w->edge_cap, sizeof(*w->edges));
    w->edges[w->edge_count] = (struct isolation_edge){counter(b, "c", key), arena_str(kept, to)};
    return w->edges[w->edge_count++].counter;
}

static void write_dns(struct chain *c, const char *const *servers, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        int family = family_of(str_of(servers[i]));
        if (family != 0)
            buf_printf(&c->rules,
                       "ct original %s daddr %s meta l4proto { tcp, udp } ct original proto-dst 53 "
                       "accept\n",
                       header(family), servers[i]);
    }
}

static void write_address(struct chain *c, struct str ip, const struct core_v1_service_port *p,
                          struct str name)
{
    int family = family_of(ip);
    if (family != 0)
        buf_printf(&c->rules,
                   "ct original %s daddr " STR_FMT
                   " meta l4proto %s ct original proto-dst %d counter name " STR_FMT " accept\n",
                   header(family), STR_ARG(ip), protocol_of(p->protocol), p->port, STR_ARG(name));
}

/* The addresses of the Service itself, which say for certain who was asked for. */
static void write_service(struct chain *c, const struct dependency *d)
{
    struct str name = edge_counter(c, d);
    const struct isolation_service *s =
        map_get(c->b->in->services, isolation_service_key(c->b->a, c->own, d));
    if (s == NULL || s->service == NULL)
        return;
    const struct core_v1_service_spec *spec = &s->service->spec;
    for (size_t i = 0; i < spec->ports_count; i++) {
        if (!is_asked_for(&spec->ports[i], d))
            continue;
        if (spec->cluster_ips_count == 0)
            write_address(c, spec->cluster_ip, &spec->ports[i], name);
        for (size_t k = 0; k < spec->cluster_ips_count; k++)
            write_address(c, spec->cluster_ips[k], &spec->ports[i], name);
    }
}

static void add_endpoint(struct builder *b, const struct str names[2], struct str ip,
                         const struct discovery_v1_endpoint_port *port)
{
    bool is_new;
    int family = family_of(ip);
    if (family != 0)
        policy_set_add(b->state, policy_state_set(b->state, names[family == 6], NULL, &is_new),
                       arena_printf(b->a, STR_FMT " . %s . %d", STR_ARG(ip),
                                    protocol_of(port->protocol), port->port));
}

/* Endpoints count as soon as they stand in a slice, ready or not: they are there before anybody is
 * sent to them. */
static void fill_endpoints(struct builder *b, const struct isolation_service *s,
                           const struct dependency *d, const struct str names[2])
{
    const struct core_v1_service_spec *spec = &s->service->spec;
    for (size_t i = 0; i < s->slice_count; i++)
        for (size_t p = 0; p < spec->ports_count; p++) {
            const struct discovery_v1_endpoint_slice *slice = s->slices[i];
            const struct discovery_v1_endpoint_port *port = slice_port(slice, &spec->ports[p]);
            if (port == NULL || !is_asked_for(&spec->ports[p], d))
                continue;
            for (size_t e = 0; e < slice->endpoints_count; e++)
                for (size_t k = 0; k < slice->endpoints[e].addresses_count; k++)
                    add_endpoint(b, names, slice->endpoints[e].addresses[k], port);
        }
}

static void write_endpoints(struct chain *c, const struct dependency *d)
{
    struct builder *b = c->b;
    struct str name = edge_counter(c, d), names[2];
    struct str service = isolation_service_key(b->a, c->own, d);
    const struct isolation_service *s = map_get(b->in->services, service);
    struct str key = arena_printf(b->a, STR_FMT ":%u:" STR_FMT, STR_ARG(service), d->port,
                                  STR_ARG(d->port_name));
    bool is_new = false;
    for (int i = 0; i < 2; i++) {
        names[i] = arena_printf(b->a, "e%d-%016llx", i == 0 ? 4 : 6, hash(b, key));
        policy_state_set(b->state, names[i],
                         i == 0 ? "ipv4_addr . inet_proto . inet_service"
                                : "ipv6_addr . inet_proto . inet_service",
                         &is_new);
        buf_printf(&c->rules,
                   "%s daddr . meta l4proto . th dport @" STR_FMT " counter name " STR_FMT
                   " accept\n",
                   i == 0 ? "ip" : "ip6", STR_ARG(names[i]), STR_ARG(name));
    }
    if (is_new && s != NULL && s->service != NULL)
        fill_endpoints(b, s, d, names);
}

/* " tcp dport 443", or nothing. */
static struct str port_match(struct builder *b, const struct dependency *d)
{
    return d->port != 0 ? arena_printf(b->a, " %s dport %u", d->protocol, d->port) : STR_NULL;
}

static void write_range(struct chain *c, const struct dependency *d)
{
    struct str name = edge_counter(c, d), port = port_match(c->b, d);
    if (str_has_suffix(d->range, STR("/0")))
        buf_printf(&c->rules, "meta nfproto %s", d->v6 ? "ipv6" : "ipv4");
    else
        buf_printf(&c->rules, "%s daddr " STR_FMT, header(d->v6 ? 6 : 4), STR_ARG(d->range));
    buf_printf(&c->rules, STR_FMT " counter name " STR_FMT " accept\n", STR_ARG(port),
               STR_ARG(name));
}

/* Every node and its pods, of both families. */
static void add_cluster(struct builder *b)
{
    static const char *const names[] = {"cluster4", "cluster6"};
    bool is_new = false, ignored;
    policy_state_set(b->state, str_of(names[0]), "ipv4_addr; flags interval; auto-merge", &is_new);
    policy_state_set(b->state, str_of(names[1]), "ipv6_addr; flags interval; auto-merge", &is_new);
    for (size_t i = 0; is_new && i < b->in->cluster_range_count; i++) {
        struct str range = b->in->cluster_ranges[i], net, bits;
        str_cut(range, '/', &net, &bits);
        int family = family_of(net);
        if (family != 0 && !str_eqc(bits, "0"))
            policy_set_add(b->state,
                           policy_state_set(b->state, str_of(names[family == 6]), NULL, &ignored),
                           range);
    }
}

static void add_fixed(struct builder *b, const char *name, const char *type,
                      const char *const *ranges, size_t count)
{
    bool is_new;
    struct policy_set *set = policy_state_set(b->state, str_of(name), type, &is_new);
    for (size_t i = 0; is_new && i < count; i++)
        policy_set_add(b->state, set, str_of(ranges[i]));
}

/* Named sets, once: of those that stand in a rule itself the kernel makes one for each rule. */
static void add_special(struct builder *b)
{
    static const char type4[] = "ipv4_addr; flags interval", type6[] = "ipv6_addr; flags interval";
    add_fixed(b, "special4", type4, special4, ARRAY_SIZE(special4));
    add_fixed(b, "special6", type6, special6, ARRAY_SIZE(special6));
    add_fixed(b, "global6", type6, global6, ARRAY_SIZE(global6));
}

static void write_internet(struct chain *c, const struct dependency *d)
{
    struct str name = edge_counter(c, d), port = port_match(c->b, d);
    c->b->plan->needs_cluster = true;
    add_cluster(c->b);
    add_special(c->b);
    buf_printf(&c->rules,
               "ip daddr != @special4 ip daddr != @cluster4" STR_FMT " counter name " STR_FMT
               " accept\n"
               "ip6 daddr @global6 ip6 daddr != @special6 ip6 daddr != @cluster6" STR_FMT
               " counter name " STR_FMT " accept\n",
               STR_ARG(port), STR_ARG(name), STR_ARG(port), STR_ARG(name));
}

/* What has come here was not declared. */
static void write_end(struct chain *c)
{
    for (int i = 0; i < 2; i++) {
        const char *head = i == 0 ? "ip" : "ip6";
        buf_printf(&c->rules,
                   "meta nfproto %s meta l4proto { tcp, udp, sctp } update @refused%d { %s saddr . "
                   "ct original %s daddr . meta l4proto . th dport counter }\n",
                   i == 0 ? "ipv4" : "ipv6", i == 0 ? 4 : 6, head, head);
    }
    buf_printf(&c->rules, "counter name " STR_FMT " %s\n", STR_ARG(c->workload->refused),
               c->workload->enforced ? "reject with icmpx admin-prohibited" : "accept");
}

static void write_declaration(struct chain *c, const struct dependencies *d)
{
    static void (*const writers[])(struct chain *, const struct dependency *) = {
        write_service, write_endpoints, write_range, write_internet};
    static const enum dependency_type types[] = {DEPEND_SERVICE, DEPEND_SERVICE, DEPEND_RANGE,
                                                 DEPEND_INTERNET};
    for (size_t w = 0; w < ARRAY_SIZE(writers); w++)
        for (size_t i = 0; i < d->count; i++)
            if (d->items[i].type == types[w])
                writers[w](c, &d->items[i]);
}

/* --- pods --------------------------------------------------------------------------------- */

static struct isolation_workload *find_workload(struct builder *b, const struct core_v1_pod *pod,
                                                bool enforced)
{
    struct isolation_plan *p = b->plan;
    struct arena *kept = b->state->arena;
    struct str ns = pod->metadata.namespace, name = isolation_workload_name(b->a, pod);
    for (size_t i = 0; i < p->count; i++)
        if (p->workloads[i].enforced == enforced && str_eq(p->workloads[i].namespace_, ns) &&
            str_eq(p->workloads[i].name, name))
            return &p->workloads[i];
    p->workloads = arena_grow(kept, p->workloads, p->count, &p->cap, sizeof(*p->workloads));
    struct isolation_workload *w = &p->workloads[p->count++];
    struct str key =
        arena_printf(b->a, STR_FMT "/" STR_FMT " %d", STR_ARG(ns), STR_ARG(name), enforced);
    *w = (struct isolation_workload){.namespace_ = arena_str(kept, ns),
                                     .name = arena_str(kept, name),
                                     .enforced = enforced,
                                     .refused = counter(b, "r", key)};
    return w;
}

static void lead_to(struct builder *b, const struct policy_local *local,
                    struct isolation_workload *w, struct str chain)
{
    struct arena *kept = b->state->arena;
    bool is_new;
    for (size_t i = 0; i < local->ip_count; i++) {
        struct str ip = str_of(local->ips[i]);
        int family = family_of(ip);
        if (family == 0)
            continue;
        policy_set_add(
            b->state,
            policy_state_set(b->state, family == 4 ? STR("out4") : STR("out6"), NULL, &is_new),
            arena_printf(b->a, STR_FMT " : jump " STR_FMT, STR_ARG(ip), STR_ARG(chain)));
        policy_set_add(
            b->state,
            policy_state_set(b->state, family == 4 ? STR("self4") : STR("self6"), NULL, &is_new),
            arena_printf(b->a, STR_FMT " . " STR_FMT, STR_ARG(ip), STR_ARG(ip)));
        w->ips = arena_grow(kept, w->ips, w->ip_count, &w->ip_cap, sizeof(*w->ips));
        w->ips[w->ip_count++] = arena_str(kept, ip);
    }
}

static void write_local(struct builder *b, struct policy_local *local)
{
    const struct core_v1_pod *pod = local->pod;
    struct dependencies d;
    struct error err;
    local->selected = local->held = false;
    if (pod->spec.host_network)
        return;
    /* What cannot be read opens nothing. */
    (void)depends_of(b->a, &pod->metadata, &d, &err);
    enum isolation_mode mode =
        isolation_mode_of(map_get(b->in->namespaces, pod->metadata.namespace));
    if (!d.declared && mode == ISOLATION_OPEN)
        return;
    local->selected = true;
    bool enforced = d.declared || mode == ISOLATION_DECLARED;
    local->held = enforced;
    struct chain c = {
        .b = b, .workload = find_workload(b, pod, enforced), .own = pod->metadata.namespace};
    write_dns(&c, b->in->cluster_dns, b->in->cluster_dns_count);
    if (str_eqc(pod->spec.dns_policy, "Default"))
        write_dns(&c, b->in->node_dns, b->in->node_dns_count);
    write_declaration(&c, &d);
    write_end(&c);
    struct str name = arena_printf(b->a, "w-%016llx", hash(b, buf_str(&c.rules)));
    policy_state_add_chain(b->state, name, buf_str(&c.rules));
    c.workload->pod_count++;
    lead_to(b, local, c.workload, name);
    buf_done(&c.rules);
}

#define TEXT_OF(x) #x
#define TEXT(x) TEXT_OF(x)
#define REFUSED_TYPE(family)                                                                       \
    family " . " family " . inet_proto . inet_service; size " TEXT(                                \
        ISOLATION_REFUSED_MAX) "; flags dynamic,timeout; timeout " TEXT(ISOLATION_REFUSED_S) "s"

struct policy_state *isolation_rules(const struct isolation_inputs *in)
{
    static const struct {
        const char *name, *type;
        enum policy_set_kind kind;
    } fixed[] = {
        {"out4", "ipv4_addr", POLICY_VERDICTS},
        {"out6", "ipv6_addr", POLICY_VERDICTS},
        {"self4", "ipv4_addr . ipv4_addr", POLICY_SET},
        {"self6", "ipv6_addr . ipv6_addr", POLICY_SET},
        {"refused4", REFUSED_TYPE("ipv4_addr"), POLICY_SET},
        {"refused6", REFUSED_TYPE("ipv6_addr"), POLICY_SET},
    };
    AUTO_ARENA *a = arena_new(0);
    struct builder b = {.in = in, .a = a, .state = policy_state_new(&isolation_table)};
    bool is_new;
    b.plan = ARENA_NEW(b.state->arena, struct isolation_plan);
    b.state->owner_data = b.plan;
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        policy_state_set(b.state, str_of(fixed[i].name), fixed[i].type, &is_new)->kind =
            fixed[i].kind;
    for (size_t i = 0; i < in->local_count; i++)
        write_local(&b, &in->locals[i]);
    policy_state_sort(b.state);
    return b.state;
}

const struct isolation_plan *isolation_plan_of(const struct policy_state *s)
{
    return s != NULL ? s->owner_data : NULL;
}

/* --- the table ------------------------------------------------------------------------- */

/* IPv6's way to find who is on the link (RFC 4861): what is routed has lost one of its 255 hops. */
#define NEIGHBOURS                                                                                 \
    "ip6 hoplimit 255 meta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, "                  \
    "nd-neighbor-advert, "                                                                         \
    "nd-router-solicit, nd-router-advert }"

/* Behind the translation of Services' addresses. What comes to the node itself is looked at as
 * well: the API server, kubelets and pods on the host's network are there. */
static void write_hooks(struct buf *out)
{
    static const char *const hooks[] = {"forward", "input"};
    static const char *const rules[] = {
        "ct state established,related accept",
        NEIGHBOURS " accept",
        /* Through a Service back to itself. */
        "ip saddr . ip daddr @self4 accept",
        "ip6 saddr . ip6 daddr @self6 accept",
        "ip saddr vmap @out4",
        "ip6 saddr vmap @out6",
    };
    for (size_t h = 0; h < ARRAY_SIZE(hooks); h++) {
        buf_printf(out,
                   "add chain inet " ISOLATION_TABLE
                   " %s { type filter hook %s priority -4; policy accept; }\n",
                   hooks[h], hooks[h]);
        for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
            buf_printf(out, "add rule inet " ISOLATION_TABLE " %s %s\n", hooks[h], rules[i]);
    }
}

const struct policy_table isolation_table = {ISOLATION_TABLE, write_hooks};
