/* zone.c - see zone.h. */
#include "kubelet/dns/zone.h"

#include "lib/base/arena.h"

#include "api/core_v1.h"
#include "api/discovery_v1.h"

#include <arpa/inet.h>
#include <stdio.h>

/* "namespace/name", both labels of at most 63 bytes. */
struct zone_key {
    char text[160];
    size_t len;
};

static bool make_key(struct zone_key *k, struct str namespace_name, struct str name)
{
    if (namespace_name.len > 63 || name.len > 63)
        return false;
    memcpy(k->text, namespace_name.data, namespace_name.len);
    k->text[namespace_name.len] = '/';
    memcpy(k->text + namespace_name.len + 1, name.data, name.len);
    k->len = namespace_name.len + 1 + name.len;
    return true;
}

static struct str key_str(const struct zone_key *k)
{
    return str_n(k->text, k->len);
}

static struct str ip_key(const struct zone_ip *ip)
{
    return str_n((const char *)ip->bytes, ip->len);
}

bool zone_ip_parse(struct str text, struct zone_ip *ret)
{
    char c[INET6_ADDRSTRLEN];
    struct zone_ip ip = {0};
    if (text.len == 0 || text.len >= sizeof(c))
        return false;
    memcpy(c, text.data, text.len);
    c[text.len] = '\0';
    if (inet_pton(AF_INET, c, ip.bytes) == 1)
        ip.len = 4;
    else if (inet_pton(AF_INET6, c, ip.bytes) == 1)
        ip.len = 16;
    else
        return false;
    *ret = ip;
    return true;
}

/* --- life ---------------------------------------------------------------------------- */

bool zone_init(struct zone *z, struct str domain, const char *const *addresses, size_t count)
{
    struct str labels[DNS_LABELS_MAX];
    struct dns_name n, dns;
    *z = (struct zone){0};
    /* Room is left for the longest name below it. */
    if (!dns_name_of(domain, &n) || n.len > 64)
        return false;
    dns_name_fold(&n, &z->domain);
    z->label_count = dns_name_labels(&z->domain, labels);
    if (!dns_name_under(STR("dns"), &z->domain, &dns) ||
        !dns_name_under(STR("ns"), &dns, &z->server) ||
        !dns_name_under(STR("hostmaster"), &z->domain, &z->contact))
        return false;
    for (size_t i = 0; i < count && z->address_count < ARRAY_SIZE(z->addresses); i++)
        if (zone_ip_parse(str_of(addresses[i]), &z->addresses[z->address_count]))
            z->address_count++;
    map_init(&z->services);
    map_init(&z->namespaces);
    map_init(&z->addresses_of);
    return true;
}

void zone_done(struct zone *z)
{
    size_t pos = 0;
    void *value;
    while (map_next(&z->services, &pos, NULL, &value))
        arena_free(((struct zone_service *)value)->arena);
    for (pos = 0; map_next(&z->addresses_of, &pos, NULL, &value);) {
        free(((struct zone_owners *)value)->items);
        free(value);
    }
    map_done(&z->services);
    map_done(&z->namespaces);
    map_done(&z->addresses_of);
}

/* --- making a Service's records -------------------------------------------------------- */

static const char *protocol_of(struct str s)
{
    if (str_eqc(s, "UDP"))
        return "udp";
    return str_eqc(s, "SCTP") ? "sctp" : "tcp";
}

static bool is_published(const struct core_v1_service *s, const struct discovery_v1_endpoint *e)
{
    return s->spec.publish_not_ready_addresses || !e->conditions.has_ready || e->conditions.ready;
}

static struct str dashed(struct arena *a, struct str address)
{
    char *p = arena_alloc(a, address.len + 1);
    for (size_t i = 0; i < address.len; i++)
        p[i] = address.data[i] == '.' || address.data[i] == ':' ? '-' : address.data[i];
    p[address.len] = '\0';
    return str_n(p, address.len);
}

static void add_slice(struct zone_service *z, const struct core_v1_service *s,
                      const struct discovery_v1_endpoint_slice *slice)
{
    struct zone_port *ports = ARENA_ARRAY(z->arena, struct zone_port, slice->ports_count + 1);
    size_t count = 0;
    for (size_t i = 0; i < slice->ports_count; i++) {
        const struct discovery_v1_endpoint_port *p = &slice->ports[i];
        if (p->has_port && p->port > 0 && p->port <= UINT16_MAX)
            ports[count++] = (struct zone_port){arena_str(z->arena, p->name),
                                                protocol_of(p->protocol), (uint16_t)p->port};
    }
    for (size_t i = 0; i < slice->endpoints_count; i++) {
        const struct discovery_v1_endpoint *e = &slice->endpoints[i];
        struct zone_endpoint *to = &z->endpoints[z->endpoint_count];
        if (!is_published(s, e) || e->addresses_count == 0 ||
            !zone_ip_parse(e->addresses[0], &to->ip))
            continue;
        to->hostname = e->has_hostname && !str_empty(e->hostname)
                           ? arena_str(z->arena, e->hostname)
                           : dashed(z->arena, e->addresses[0]);
        to->ports = ports;
        to->port_count = count;
        to->again = false;
        z->endpoint_count++;
    }
}

static int by_address(const void *x, const void *y)
{
    const struct zone_endpoint *a = x, *b = y;
    int c = str_cmp(ip_key(&a->ip), ip_key(&b->ip));
    return c != 0 ? c : str_cmp(a->hostname, b->hostname);
}

static void add_endpoints(struct zone_service *z, const struct core_v1_service *s,
                          const struct discovery_v1_endpoint_slice *const *slices, size_t count)
{
    size_t total = 0;
    for (size_t i = 0; i < count; i++)
        total += slices[i]->endpoints_count;
    z->endpoints = ARENA_ARRAY(z->arena, struct zone_endpoint, total + 1);
    for (size_t i = 0; i < count; i++)
        if (!str_eqc(slices[i]->address_type, "FQDN"))
            add_slice(z, s, slices[i]);
    qsort(z->endpoints, z->endpoint_count, sizeof(*z->endpoints), by_address);
    for (size_t i = 1; i < z->endpoint_count; i++)
        z->endpoints[i].again = by_address(&z->endpoints[i - 1], &z->endpoints[i]) == 0;
}

static void add_ports(struct zone_service *z, const struct core_v1_service *s)
{
    struct zone_port *ports = ARENA_ARRAY(z->arena, struct zone_port, s->spec.ports_count + 1);
    for (size_t i = 0; i < s->spec.ports_count; i++)
        ports[i] = (struct zone_port){arena_str(z->arena, s->spec.ports[i].name),
                                      protocol_of(s->spec.ports[i].protocol),
                                      (uint16_t)s->spec.ports[i].port};
    z->ports = ports;
    z->port_count = s->spec.ports_count;
}

static void add_ips(struct zone_service *z, const struct core_v1_service_spec *spec)
{
    if (spec->cluster_ips_count == 0)
        z->ip_count += zone_ip_parse(spec->cluster_ip, &z->ips[0]) ? 1 : 0;
    for (size_t i = 0; i < spec->cluster_ips_count && z->ip_count < ARRAY_SIZE(z->ips); i++)
        z->ip_count += zone_ip_parse(spec->cluster_ips[i], &z->ips[z->ip_count]) ? 1 : 0;
}

static bool make_domain(const struct zone *z, struct zone_service *to, struct str name)
{
    struct dns_name svc, ns;
    return dns_name_under(STR("svc"), &z->domain, &svc) &&
           dns_name_under(to->namespace_name, &svc, &ns) && dns_name_under(name, &ns, &to->domain);
}

/* In a, which is freed when it has no records (no address yet, or a name that is none): NULL. */
static struct zone_service *make_in(struct arena *a, const struct zone *z,
                                    const struct core_v1_service *s,
                                    const struct discovery_v1_endpoint_slice *const *slices,
                                    size_t slice_count)
{
    struct zone_service *to = ARENA_ARRAY(a, struct zone_service, 1);
    *to = (struct zone_service){.arena = a, .namespace_name = arena_str(a, s->metadata.namespace)};
    bool good = make_domain(z, to, s->metadata.name);
    if (str_eqc(s->spec.type, "ExternalName")) {
        to->kind = ZONE_EXTERNAL;
        struct dns_name *external = ARENA_ARRAY(a, struct dns_name, 1);
        good = good && dns_name_of(s->spec.external_name, external);
        to->external = external;
    } else if (str_eqc(s->spec.cluster_ip, "None")) {
        to->kind = ZONE_HEADLESS;
        add_endpoints(to, s, slices, slice_count);
    } else {
        add_ips(to, &s->spec);
        good = good && to->ip_count > 0;
        add_ports(to, s);
        add_endpoints(to, s, slices, slice_count);
    }
    if (good)
        return to;
    arena_free(a);
    return NULL;
}

/* There may be tens of thousands, which stay: made once to know their size, and once more in an
 * arena of just that. */
static struct zone_service *make_service(const struct zone *z, const struct core_v1_service *s,
                                         const struct discovery_v1_endpoint_slice *const *slices,
                                         size_t slice_count)
{
    const struct zone_service *trial = make_in(arena_new(0), z, s, slices, slice_count);
    if (trial == NULL)
        return NULL;
    size_t bytes = arena_used(trial->arena);
    arena_free(trial->arena);
    return make_in(arena_new(bytes), z, s, slices, slice_count);
}

/* --- by address ------------------------------------------------------------------------- */

static void own(struct zone *z, struct zone_service *s, const struct zone_ip *ip)
{
    struct zone_owners *o = map_get(&z->addresses_of, ip_key(ip));
    if (o == NULL) {
        o = xzalloc(sizeof(*o));
        map_set(&z->addresses_of, ip_key(ip), o);
    }
    if (o->count > 0 && o->items[o->count - 1] == s)
        return;
    if (o->count == o->cap) {
        o->cap = o->cap == 0 ? 1 : o->cap * 2;
        o->items = xrealloc(o->items, o->cap * sizeof(struct zone_service *));
    }
    o->items[o->count++] = s;
}

static void disown(struct zone *z, const struct zone_service *s, const struct zone_ip *ip)
{
    struct zone_owners *o = map_get(&z->addresses_of, ip_key(ip));
    size_t i = 0;
    if (o == NULL)
        return;
    while (i < o->count && o->items[i] != s)
        i++;
    if (i < o->count)
        o->items[i] = o->items[--o->count];
    if (o->count > 0)
        return;
    map_remove(&z->addresses_of, ip_key(ip));
    free(o->items);
    free(o);
}

static void each_address(struct zone *z, struct zone_service *s, bool add)
{
    for (size_t i = 0; i < s->ip_count; i++) {
        if (add)
            own(z, s, &s->ips[i]);
        else
            disown(z, s, &s->ips[i]);
    }
    for (size_t i = 0; s->kind == ZONE_HEADLESS && i < s->endpoint_count; i++) {
        if (add)
            own(z, s, &s->endpoints[i].ip);
        else
            disown(z, s, &s->endpoints[i].ip);
    }
}

/* --- changes ------------------------------------------------------------------------------ */

/* Namespaces are counted in the map's pointer itself. */
static void count_namespace(struct zone *z, struct str name, bool add)
{
    uintptr_t n = (uintptr_t)map_get(&z->namespaces, name);
    n = add ? n + 1 : n - 1;
    if (n == 0)
        map_remove(&z->namespaces, name);
    else
        map_set(&z->namespaces, name, (void *)n);
}

static void drop(struct zone *z, struct zone_service *s)
{
    if (s == NULL)
        return;
    each_address(z, s, false);
    count_namespace(z, s->namespace_name, false);
    arena_free(s->arena);
}

void zone_set(struct zone *z, const struct core_v1_service *s,
              const struct discovery_v1_endpoint_slice *const *slices, size_t slice_count)
{
    struct zone_key k;
    if (!make_key(&k, s->metadata.namespace, s->metadata.name))
        return;
    struct zone_service *to = make_service(z, s, slices, slice_count);
    z->serial++;
    if (to == NULL) {
        drop(z, map_remove(&z->services, key_str(&k)));
        return;
    }
    drop(z, map_set(&z->services, key_str(&k), to));
    count_namespace(z, to->namespace_name, true);
    each_address(z, to, true);
}

void zone_remove(struct zone *z, struct str namespace_name, struct str name)
{
    struct zone_key k;
    if (!make_key(&k, namespace_name, name))
        return;
    z->serial++;
    drop(z, map_remove(&z->services, key_str(&k)));
}

const struct zone_service *zone_find(const struct zone *z, struct str namespace_name,
                                     struct str name)
{
    struct zone_key k;
    return make_key(&k, namespace_name, name) ? map_get(&z->services, key_str(&k)) : NULL;
}

const struct zone_owners *zone_find_address(const struct zone *z, const struct zone_ip *ip)
{
    return map_get(&z->addresses_of, ip_key(ip));
}

bool zone_has_namespace(const struct zone *z, struct str name)
{
    return map_has(&z->namespaces, name);
}
