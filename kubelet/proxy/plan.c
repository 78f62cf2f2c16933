/* plan.c - see plan.h. */
#include "kubelet/proxy/plan.h"

#include "kubelet/proxy/table.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <arpa/inet.h>

#define AFFINITY_DEFAULT_S 10800
#define RANGES_ANNOTATION "service.beta.kubernetes.io/load-balancer-source-ranges"

/* One port of one Service in one family. */
struct port_plan {
    struct arena *a;
    const struct proxy_plan_config *c;
    const struct core_v1_service *service;
    const struct core_v1_service_port *port;
    enum proxy_family family;
    struct proxy_choice choice;
    bool sticky, outside_local;
    struct proxy_plan *out;
};

struct key {
    char bytes[PROXY_KEY_MAX];
    size_t len;
};

static size_t address_bytes(enum proxy_family f)
{
    return f == PROXY_V6 ? 16 : 4;
}

static void key_add(struct key *k, const void *p, size_t n)
{
    ASSERT(k->len + n <= sizeof(k->bytes));
    memcpy(k->bytes + k->len, p, n);
    k->len += n;
}

static void key_add_port(struct key *k, uint16_t port)
{
    uint16_t field[2] = {htons(port), 0};
    key_add(k, field, sizeof(field));
}

static struct key frontend_key(const struct port_plan *p, const uint8_t address[16], int port)
{
    struct key k = {.len = 0};
    uint8_t protocol[4] = {proxy_protocol(p->port->protocol)};
    key_add(&k, address, address_bytes(p->family));
    key_add(&k, protocol, sizeof(protocol));
    key_add_port(&k, (uint16_t)port);
    return k;
}

static void put(struct port_plan *p, enum proxy_set set, const struct key *k, struct str data)
{
    struct proxy_element e = {
        .family = p->family, .set = set, .key = str_n(k->bytes, k->len), .data = data};
    proxy_element_pack(p->out->elements, &e);
}

/* --- endpoints ----------------------------------------------------------------------------- */

static void put_endpoints(struct port_plan *p, const struct key *frontend,
                          const struct proxy_endpoints *l, uint32_t first)
{
    for (size_t i = 0; i < l->count && i < PROXY_ENDPOINTS_MAX; i++) {
        /* nft counts in the machine's byte order. */
        uint32_t number = first + (uint32_t)i;
        struct key k = *frontend, data = {.len = 0}, pair = {.len = 0};
        const uint8_t *address = l->items[i].address;
        key_add(&k, &number, sizeof(number));
        key_add(&data, address, address_bytes(p->family));
        key_add_port(&data, l->items[i].port);
        put(p, PROXY_ENDPOINTS, &k, str_n(data.bytes, data.len));
        if (!l->items[i].local)
            continue;
        key_add(&pair, address, address_bytes(p->family));
        key_add(&pair, address, address_bytes(p->family));
        put(p, PROXY_HAIRPIN, &pair, STR_NULL);
    }
}

static void put_goto(struct port_plan *p, enum proxy_set set, const struct key *frontend,
                     enum proxy_chain kind, size_t count)
{
    char name[PROXY_DATA_MAX + 1];
    count = MIN_OF(count, (size_t)PROXY_ENDPOINTS_MAX);
    p->out->count_max = MAX_OF(p->out->count_max, count);
    proxy_chain_name(kind, p->sticky, count, name);
    put(p, set, frontend, str_of(name));
}

static int64_t affinity_s(const struct core_v1_service *s)
{
    if (!str_eqc(s->spec.session_affinity, "ClientIP"))
        return 0;
    const struct core_v1_session_affinity_config *c = s->spec.session_affinity_config;
    bool set = c != NULL && c->client_ip != NULL && c->client_ip->has_timeout_seconds;
    return set && c->client_ip->timeout_seconds > 0 ? c->client_ip->timeout_seconds
                                                    : AFFINITY_DEFAULT_S;
}

static void put_sticky(struct port_plan *p, const struct key *frontend)
{
    char name[PROXY_DATA_MAX + 1];
    if (!p->sticky)
        return;
    p->out->learn_s = affinity_s(p->service);
    proxy_learn_name(p->out->learn_s, name);
    put(p, PROXY_STICKY, frontend, str_of(name));
}

/* --- frontends ------------------------------------------------------------------------------- */

static void inside_address(struct port_plan *p, struct str text)
{
    uint8_t address[16];
    if (!proxy_parse_address(text, p->family, address))
        return;
    struct key k = frontend_key(p, address, p->port->port), alone = {.len = 0};
    key_add(&alone, address, address_bytes(p->family));
    put(p, PROXY_CLUSTER_IPS, &alone, STR_NULL);
    if (p->choice.inside.count > 0) {
        put_goto(p, PROXY_SERVICES, &k, PROXY_PLAIN, p->choice.inside.count);
        put_endpoints(p, &k, &p->choice.inside, 0);
        put_sticky(p, &k);
    } else {
        put(p, p->choice.any ? PROXY_DROPPED : PROXY_REFUSED, &k, STR_NULL);
    }
}

static struct key outside_address(struct port_plan *p, const uint8_t address[16], int port)
{
    struct key k = frontend_key(p, address, port);
    const struct proxy_choice *c = &p->choice;
    if (c->outside.count > 0) {
        put_goto(p, PROXY_SERVICES, &k, p->outside_local ? PROXY_PLAIN : PROXY_MASQUERADED,
                 c->outside.count);
        put_endpoints(p, &k, &c->outside, 0);
    } else {
        put(p, c->any ? PROXY_DROPPED : PROXY_REFUSED, &k, STR_NULL);
    }
    if (p->outside_local && c->shortcut.count > 0) {
        put_goto(p, PROXY_SHORTCUTS, &k, PROXY_SHORTCUT, c->shortcut.count);
        put_endpoints(p, &k, &c->shortcut, PROXY_SHORTCUT_FIRST);
    }
    if (c->outside.count > 0 || (p->outside_local && c->shortcut.count > 0))
        put_sticky(p, &k);
    return k;
}

/* --- loadBalancerSourceRanges ---------------------------------------------------------------- */

struct range {
    uint8_t first[16], last[16];
};

static bool parse_range(struct str text, enum proxy_family family, struct range *ret)
{
    struct str address, bits;
    uint64_t n;
    *ret = (struct range){0};
    text = str_trim(text);
    if (!str_cut(text, '/', &address, &bits) || !str_to_u64(bits, &n) ||
        n > 8 * address_bytes(family) || !proxy_parse_address(address, family, ret->first))
        return false;
    for (size_t i = 0; i < sizeof(ret->first); i++) {
        uint64_t left = n > 8 * i ? n - 8 * i : 0;
        uint8_t mask = (uint8_t)(left >= 8 ? 0xffu : 0xff00u >> left);
        ret->first[i] &= mask;
        ret->last[i] = ret->first[i] | (uint8_t)~mask;
    }
    return true;
}

static bool holds(const struct range *outer, const struct range *inner)
{
    return memcmp(outer->first, inner->first, 16) <= 0 && memcmp(inner->last, outer->last, 16) <= 0;
}

/* Ranges of one set must not overlap; of two CIDRs that do one holds the other. */
static size_t add_range(struct range *list, size_t count, const struct range *r)
{
    size_t kept = 0;
    for (size_t i = 0; i < count; i++)
        if (holds(&list[i], r))
            return count;
    for (size_t i = 0; i < count; i++)
        if (!holds(r, &list[i]))
            list[kept++] = list[i];
    list[kept++] = *r;
    return kept;
}

/* The field, or the annotation that came before it. */
static size_t source_ranges(struct port_plan *p, struct range **ret)
{
    const struct core_v1_service *s = p->service;
    struct range r;
    size_t count = 0;
    const struct str *text = api_str_map_get(s->metadata.annotations, s->metadata.annotations_count,
                                             STR(RANGES_ANNOTATION));
    size_t max = s->spec.load_balancer_source_ranges_count + (text != NULL ? text->len : 0);
    *ret = ARENA_ARRAY(p->a, struct range, max + 1);
    for (size_t i = 0; i < s->spec.load_balancer_source_ranges_count; i++)
        if (parse_range(s->spec.load_balancer_source_ranges[i], p->family, &r))
            count = add_range(*ret, count, &r);
    if (s->spec.load_balancer_source_ranges_count > 0 || text == NULL)
        return count;
    struct str rest = *text, item;
    for (bool more = true; more;) {
        more = str_cut(rest, ',', &item, &rest);
        if (parse_range(item, p->family, &r))
            count = add_range(*ret, count, &r);
    }
    return count;
}

static void restrict_clients(struct port_plan *p, const struct key *frontend)
{
    struct range *ranges;
    size_t n = address_bytes(p->family), count = source_ranges(p, &ranges);
    if (count > 0)
        put(p, PROXY_RESTRICTED, frontend, STR_NULL);
    for (size_t i = 0; i < count; i++) {
        struct key k = *frontend;
        key_add(&k, ranges[i].first, n);
        key_add(&k, frontend->bytes, frontend->len);
        key_add(&k, ranges[i].last, n);
        put(p, PROXY_ALLOWED, &k, STR_NULL);
    }
}

/* --- a port ------------------------------------------------------------------------------------
 */

static void balancer_addresses(struct port_plan *p)
{
    const struct core_v1_load_balancer_status *status = &p->service->status.load_balancer;
    uint8_t address[16];
    for (size_t i = 0; i < status->ingress_count; i++) {
        const struct core_v1_load_balancer_ingress *g = &status->ingress[i];
        if ((g->has_ip_mode && str_eqc(g->ip_mode, "Proxy")) ||
            !proxy_parse_address(g->ip, p->family, address))
            continue;
        struct key k = outside_address(p, address, p->port->port);
        restrict_clients(p, &k);
    }
}

static void plan_port(struct port_plan *p)
{
    const struct core_v1_service_spec *spec = &p->service->spec;
    uint8_t address[16];
    if (spec->cluster_ips_count == 0)
        inside_address(p, spec->cluster_ip);
    for (size_t i = 0; i < spec->cluster_ips_count; i++)
        inside_address(p, spec->cluster_ips[i]);
    for (size_t i = 0; i < spec->external_ips_count; i++)
        if (proxy_parse_address(spec->external_ips[i], p->family, address))
            outside_address(p, address, p->port->port);
    balancer_addresses(p);
    for (size_t i = 0; p->port->node_port > 0 && i < p->c->node_address_counts[p->family]; i++)
        outside_address(p, p->c->node_addresses[p->family][i], p->port->node_port);
}

bool proxy_is_routed(const struct core_v1_service *s)
{
    return !str_eqc(s->spec.type, "ExternalName") && !str_empty(s->spec.cluster_ip) &&
           !str_eqc(s->spec.cluster_ip, "None");
}

/* Node ports and balancers' addresses only where the Service has the family at all. */
static bool has_family(const struct core_v1_service *s, enum proxy_family f)
{
    uint8_t address[16];
    for (size_t i = 0; i < s->spec.cluster_ips_count; i++)
        if (proxy_parse_address(s->spec.cluster_ips[i], f, address))
            return true;
    return proxy_parse_address(s->spec.cluster_ip, f, address);
}

void proxy_plan(const struct proxy_plan_config *c, const struct proxy_service *s,
                struct proxy_plan *ret)
{
    const struct core_v1_service *service = s->service;
    if (!proxy_is_routed(service))
        return;
    AUTO_ARENA *a = arena_new(0);
    for (enum proxy_family f = 0; f < PROXY_FAMILY_COUNT; f++) {
        if (!has_family(service, f))
            continue;
        for (size_t i = 0; i < service->spec.ports_count; i++) {
            struct port_plan p = {.a = a,
                                  .c = c,
                                  .service = service,
                                  .port = &service->spec.ports[i],
                                  .family = f,
                                  .sticky = affinity_s(service) > 0,
                                  .outside_local =
                                      str_eqc(service->spec.external_traffic_policy, "Local"),
                                  .out = ret};
            proxy_choose(a, &c->node, s, p.port, f, &p.choice);
            plan_port(&p);
        }
    }
}
