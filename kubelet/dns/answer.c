/* answer.c - see answer.h. */
#include "kubelet/dns/answer.h"

#include "kubelet/dns/zone.h"

#include <stdio.h>

#define SCHEMA_VERSION "1.1.0"
#define CHAIN_MAX 8 /* ExternalNames that lead to one another. */
#define REFRESH_S 7200
#define RETRY_S 1800
#define EXPIRE_S 86400
#define LIFETIME_MAX_S 3600
#define LIFETIME_NEGATIVE_MAX_S 1800

struct answering {
    const struct zone *z;
    const struct dns_query *q;
    struct dns_writer *w;
    struct dns_answer *ret;
    struct dns_name name; /* The one at hand, in lower case: of the query, or what a CNAME gave. */
    uint32_t spin;
    bool next; /* name was replaced. */
};

static bool wants(const struct answering *s, uint16_t type)
{
    return s->q->type == type || s->q->type == DNS_ANY;
}

/* --- records ------------------------------------------------------------------------- */

static void put_address(struct answering *s, enum dns_section section, const struct dns_name *owner,
                        const struct zone_ip *ip)
{
    uint16_t type = ip->len == 4 ? DNS_A : DNS_AAAA;
    if (section == DNS_ANSWER && !wants(s, type))
        return;
    dns_record_begin(s->w, section, owner, type, DNS_TTL_S);
    dns_put(s->w, ip->bytes, ip->len);
    dns_record_end(s->w);
}

static void put_soa(struct answering *s, enum dns_section section)
{
    const struct zone *z = s->z;
    dns_record_begin(s->w, section, &z->domain, DNS_SOA, DNS_TTL_S);
    dns_put_name(s->w, &z->server, true);
    dns_put_name(s->w, &z->contact, true);
    dns_put_u32(s->w, z->serial);
    dns_put_u32(s->w, REFRESH_S);
    dns_put_u32(s->w, RETRY_S);
    dns_put_u32(s->w, EXPIRE_S);
    dns_put_u32(s->w, DNS_TTL_S);
    dns_record_end(s->w);
}

static void put_srv(struct answering *s, const struct dns_name *target, uint16_t port,
                    uint16_t weight)
{
    dns_record_begin(s->w, DNS_ANSWER, &s->name, DNS_SRV, DNS_TTL_S);
    dns_put_u16(s->w, 0);
    dns_put_u16(s->w, weight);
    dns_put_u16(s->w, port);
    dns_put_name(s->w, target, false);
    dns_record_end(s->w);
}

static bool endpoint_name(const struct zone_service *v, const struct zone_endpoint *e,
                          struct dns_name *ret)
{
    return dns_name_under(e->hostname, &v->domain, ret);
}

/* --- a Service ----------------------------------------------------------------------- */

/* Empty: any. */
struct port_filter {
    struct str name, protocol;
};

static bool port_fits(const struct port_filter *f, const struct zone_port *p)
{
    return str_empty(f->protocol) ||
           (str_eq(f->name, p->name) && str_eqc(f->protocol, p->protocol));
}

static uint16_t weight_of(size_t count)
{
    return (uint16_t)(count == 0 || count >= 100 ? 1 : 100 / count);
}

/* Once for each port; the addresses follow in the additional section. */
static size_t endpoint_srvs(struct answering *s, const struct zone_service *v,
                            const struct port_filter *f, struct str hostname, bool write)
{
    size_t count = 0, weight = write ? endpoint_srvs(s, v, f, hostname, false) : 1;
    for (size_t i = 0; i < v->endpoint_count; i++) {
        const struct zone_endpoint *e = &v->endpoints[(i + s->spin) % v->endpoint_count];
        struct dns_name target;
        if ((!str_empty(hostname) && !str_eq(hostname, e->hostname)) ||
            !endpoint_name(v, e, &target))
            continue;
        for (size_t k = 0; k < e->port_count; k++) {
            if (!port_fits(f, &e->ports[k]))
                continue;
            count++;
            if (write)
                put_srv(s, &target, e->ports[k].port, weight_of(weight));
        }
    }
    return count;
}

static void endpoint_extras(struct answering *s, const struct zone_service *v,
                            const struct port_filter *f, struct str hostname)
{
    for (size_t i = 0; i < v->endpoint_count && !s->w->truncated; i++) {
        const struct zone_endpoint *e = &v->endpoints[(i + s->spin) % v->endpoint_count];
        struct dns_name target;
        bool fits = false;
        for (size_t k = 0; k < e->port_count; k++)
            fits = fits || port_fits(f, &e->ports[k]);
        if (fits && !e->again && (str_empty(hostname) || str_eq(hostname, e->hostname)) &&
            endpoint_name(v, e, &target))
            put_address(s, DNS_ADDITIONAL, &target, &e->ip);
    }
}

static size_t cluster_srvs(struct answering *s, const struct zone_service *v,
                           const struct port_filter *f)
{
    size_t count = 0;
    for (size_t i = 0; i < v->port_count; i++)
        count += port_fits(f, &v->ports[i]) ? 1 : 0;
    for (size_t i = 0; wants(s, DNS_SRV) && i < v->port_count; i++)
        if (port_fits(f, &v->ports[i]))
            put_srv(s, &v->domain, v->ports[i].port, weight_of(count));
    for (size_t i = 0; s->q->type == DNS_SRV && count > 0 && i < v->ip_count; i++)
        put_address(s, DNS_ADDITIONAL, &v->domain, &v->ips[i]);
    return count;
}

/* SRV at the Service's name or at _port._protocol. Counts those that there are. */
static size_t service_srvs(struct answering *s, const struct zone_service *v,
                           const struct port_filter *f)
{
    if (v->kind == ZONE_CLUSTER_IP)
        return cluster_srvs(s, v, f);
    size_t count = endpoint_srvs(s, v, f, STR_NULL, wants(s, DNS_SRV));
    if (s->q->type == DNS_SRV)
        endpoint_extras(s, v, f, STR_NULL);
    return count;
}

static int service_records(struct answering *s, const struct zone_service *v)
{
    static const struct port_filter any;
    for (size_t i = 0; i < v->ip_count; i++)
        put_address(s, DNS_ANSWER, &s->name, &v->ips[i]);
    const struct zone_endpoint *last = NULL;
    for (size_t i = 0; v->kind == ZONE_HEADLESS && i < v->endpoint_count; i++) {
        const struct zone_endpoint *e = &v->endpoints[(i + s->spin) % v->endpoint_count];
        /* One address may stand there under several hostnames; they are neighbours. */
        if (last == NULL || last->ip.len != e->ip.len ||
            memcmp(last->ip.bytes, e->ip.bytes, e->ip.len) != 0)
            put_address(s, DNS_ANSWER, &s->name, &e->ip);
        last = e;
    }
    if (wants(s, DNS_SRV))
        service_srvs(s, v, &any);
    return v->kind == ZONE_HEADLESS && v->endpoint_count == 0 ? DNS_NXDOMAIN : DNS_NOERROR;
}

static int endpoint_records(struct answering *s, const struct zone_service *v, struct str hostname)
{
    static const struct port_filter any;
    bool found = false;
    for (size_t i = 0; i < v->endpoint_count; i++) {
        const struct zone_endpoint *e = &v->endpoints[(i + s->spin) % v->endpoint_count];
        if (!str_eq(e->hostname, hostname))
            continue;
        found = true;
        if (!e->again)
            put_address(s, DNS_ANSWER, &s->name, &e->ip);
    }
    if (found && s->q->type == DNS_SRV) {
        endpoint_srvs(s, v, &any, hostname, true);
        endpoint_extras(s, v, &any, hostname);
    }
    return found ? DNS_NOERROR : DNS_NXDOMAIN;
}

/* "_tcp" alone has nothing, but is there when a port stands below it. */
static bool has_protocol(const struct zone_service *v, struct str label)
{
    struct str protocol = str_sub(label, 1, label.len);
    for (size_t i = 0; i < v->port_count; i++)
        if (!str_empty(v->ports[i].name) && str_eqc(protocol, v->ports[i].protocol))
            return true;
    for (size_t i = 0; v->kind == ZONE_HEADLESS && i < v->endpoint_count; i++)
        for (size_t k = 0; k < v->endpoints[i].port_count; k++)
            if (!str_empty(v->endpoints[i].ports[k].name) &&
                str_eqc(protocol, v->endpoints[i].ports[k].protocol))
                return true;
    return false;
}

static int port_records(struct answering *s, const struct zone_service *v, struct str port,
                        struct str protocol)
{
    if (port.len < 2 || protocol.len < 2 || port.data[0] != '_' || protocol.data[0] != '_')
        return DNS_NXDOMAIN;
    struct port_filter f = {str_sub(port, 1, port.len), str_sub(protocol, 1, protocol.len)};
    return service_srvs(s, v, &f) > 0 ? DNS_NOERROR : DNS_NXDOMAIN;
}

static int external_records(struct answering *s, const struct zone_service *v)
{
    dns_record_begin(s->w, DNS_ANSWER, &s->name, DNS_CNAME, DNS_TTL_S);
    dns_put_name(s->w, v->external, true);
    dns_record_end(s->w);
    if (s->q->type == DNS_CNAME || s->q->type == DNS_ANY)
        return DNS_NOERROR;
    dns_name_fold(v->external, &s->name);
    s->next = true;
    return DNS_NOERROR;
}

/* --- the zone's tree ------------------------------------------------------------------- */

/* l: the labels before ".svc.<zone>". */
static int under_svc(struct answering *s, const struct str *l, size_t n)
{
    if (n == 0)
        return DNS_NOERROR;
    if (n == 1)
        return zone_has_namespace(s->z, l[0]) ? DNS_NOERROR : DNS_NXDOMAIN;
    const struct zone_service *v = zone_find(s->z, l[n - 1], l[n - 2]);
    if (v == NULL || n > 4 || (n > 2 && v->kind == ZONE_EXTERNAL))
        return DNS_NXDOMAIN;
    if (n == 2)
        return v->kind == ZONE_EXTERNAL ? external_records(s, v) : service_records(s, v);
    if (n == 4)
        return port_records(s, v, l[0], l[1]);
    if (l[0].data[0] == '_')
        return has_protocol(v, l[0]) ? DNS_NOERROR : DNS_NXDOMAIN;
    return endpoint_records(s, v, l[0]);
}

/* "10-0-0-1" is IPv4; of IPv6 addresses each colon became a dash. */
static bool undash(struct str label, struct zone_ip *ret)
{
    char text[64];
    size_t dashes = 0;
    if (label.len >= sizeof(text))
        return false;
    for (size_t i = 0; i < label.len; i++)
        dashes += label.data[i] == '-' ? 1 : 0;
    for (int v6 = dashes == 3 ? 0 : 1; v6 < 2; v6++) {
        for (size_t i = 0; i < label.len; i++)
            text[i] = label.data[i] == '-' ? (v6 != 0 ? ':' : '.') : label.data[i];
        if (zone_ip_parse(str_n(text, label.len), ret))
            return true;
    }
    return false;
}

static int under_pod(struct answering *s, const struct str *l, size_t n)
{
    struct zone_ip ip;
    /* Which namespaces there are is not known; addresses are answered as they are asked. */
    if (n <= 1)
        return DNS_NOERROR;
    if (n > 2 || !undash(l[0], &ip))
        return DNS_NXDOMAIN;
    put_address(s, DNS_ANSWER, &s->name, &ip);
    return DNS_NOERROR;
}

static int apex(struct answering *s)
{
    if (wants(s, DNS_SOA))
        put_soa(s, DNS_ANSWER);
    if (!wants(s, DNS_NS))
        return DNS_NOERROR;
    dns_record_begin(s->w, DNS_ANSWER, &s->name, DNS_NS, DNS_TTL_S);
    dns_put_name(s->w, &s->z->server, true);
    dns_record_end(s->w);
    for (size_t i = 0; s->q->type == DNS_NS && i < s->z->address_count; i++)
        put_address(s, DNS_ADDITIONAL, &s->z->server, &s->z->addresses[i]);
    return DNS_NOERROR;
}

static int under_dns(struct answering *s, const struct str *l, size_t n)
{
    if (n == 0)
        return DNS_NOERROR;
    if (n > 1 || !str_eqc(l[0], "ns"))
        return DNS_NXDOMAIN;
    for (size_t i = 0; i < s->z->address_count; i++)
        put_address(s, DNS_ANSWER, &s->name, &s->z->addresses[i]);
    return DNS_NOERROR;
}

static int version(struct answering *s, size_t n)
{
    static const char text[] = SCHEMA_VERSION;
    if (n > 0)
        return DNS_NXDOMAIN;
    if (!wants(s, DNS_TXT))
        return DNS_NOERROR;
    dns_record_begin(s->w, DNS_ANSWER, &s->name, DNS_TXT, DNS_TTL_S);
    dns_put(s->w, &(uint8_t){sizeof(text) - 1}, 1);
    dns_put(s->w, text, sizeof(text) - 1);
    dns_record_end(s->w);
    return DNS_NOERROR;
}

/* l: the labels before the zone's. */
static int in_zone(struct answering *s, const struct str *l, size_t n)
{
    if (n == 0)
        return apex(s);
    struct str top = l[n - 1];
    if (str_eqc(top, "dns-version"))
        return version(s, n - 1);
    if (str_eqc(top, "dns"))
        return under_dns(s, l, n - 1);
    if (!s->z->ready)
        return DNS_SERVFAIL;
    if (str_eqc(top, "svc"))
        return under_svc(s, l, n - 1);
    return str_eqc(top, "pod") ? under_pod(s, l, n - 1) : DNS_NXDOMAIN;
}

/* --- addresses -------------------------------------------------------------------------- */

static int hex(char c)
{
    return c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

static bool reverse_address(const struct str *l, size_t n, struct zone_ip *ret)
{
    *ret = (struct zone_ip){0};
    if (n == 6 && str_eqc(l[5], "arpa") && str_eqc(l[4], "in-addr")) {
        for (size_t i = 0; i < 4; i++) {
            uint64_t v;
            if (l[i].len > 3 || !str_to_u64(l[i], &v) || v > 255)
                return false;
            ret->bytes[3 - i] = (uint8_t)v;
        }
        ret->len = 4;
        return true;
    }
    if (n != 34 || !str_eqc(l[33], "arpa") || !str_eqc(l[32], "ip6"))
        return false;
    for (size_t i = 0; i < 32; i++) {
        int v = l[i].len == 1 ? hex(l[i].data[0]) : -1;
        if (v < 0)
            return false;
        ret->bytes[15 - i / 2] |= (uint8_t)(i % 2 == 0 ? v : v << 4);
    }
    ret->len = 16;
    return true;
}

static void put_ptr(struct answering *s, const struct dns_name *target)
{
    dns_record_begin(s->w, DNS_ANSWER, &s->name, DNS_PTR, DNS_TTL_S);
    dns_put_name(s->w, target, true);
    dns_record_end(s->w);
}

/* The Service whose own address it is; else each endpoint of headless ones. */
static void put_ptrs(struct answering *s, const struct zone_owners *o, const struct zone_ip *ip)
{
    for (size_t i = 0; i < o->count; i++) {
        if (o->items[i]->kind == ZONE_CLUSTER_IP) {
            put_ptr(s, &o->items[i]->domain);
            return;
        }
    }
    for (size_t i = 0; i < o->count; i++) {
        const struct zone_service *v = o->items[i];
        for (size_t k = 0; k < v->endpoint_count; k++) {
            const struct zone_endpoint *e = &v->endpoints[k];
            struct dns_name target;
            if (e->ip.len == ip->len && memcmp(e->ip.bytes, ip->bytes, ip->len) == 0 && !e->again &&
                endpoint_name(v, e, &target))
                put_ptr(s, &target);
        }
    }
}

static bool answer_reverse(struct answering *s, const struct str *l, size_t n)
{
    struct zone_ip ip;
    if (!reverse_address(l, n, &ip))
        return false;
    const struct zone_owners *o = zone_find_address(s->z, &ip);
    if (o == NULL)
        return false;
    if (wants(s, DNS_PTR))
        put_ptrs(s, o, &ip);
    return true;
}

/* --- all together ----------------------------------------------------------------------- */

static bool is_in_zone(const struct zone *z, const struct dns_name *n, size_t labels)
{
    return labels >= z->label_count && n->len >= z->domain.len &&
           memcmp(n->wire + n->len - z->domain.len, z->domain.wire, z->domain.len) == 0;
}

/* One name of the chain. False: it is not ours. */
static bool answer_name(struct answering *s)
{
    struct str labels[DNS_LABELS_MAX];
    size_t n = dns_name_labels(&s->name, labels);
    uint16_t before = s->w->counts[DNS_ANSWER];
    s->next = false;
    if (is_in_zone(s->z, &s->name, n)) {
        s->ret->rcode = in_zone(s, labels, n - s->z->label_count);
        s->ret->ours = true;
    } else if (!answer_reverse(s, labels, n)) {
        return false;
    }
    s->w->flags |= DNS_AA;
    if (!s->next && s->w->counts[DNS_ANSWER] == before && !s->w->truncated &&
        s->ret->rcode != DNS_SERVFAIL)
        put_soa(s, DNS_AUTHORITY);
    return true;
}

void dns_answer(const struct zone *z, const struct dns_query *q, uint32_t spin,
                struct dns_writer *w, struct dns_answer *ret)
{
    struct answering s = {.z = z, .q = q, .w = w, .ret = ret, .spin = spin};
    ret->outcome = DNS_ANSWERED;
    ret->rcode = DNS_NOERROR;
    ret->ours = false;
    if (q->class != DNS_CLASS_IN || q->type == DNS_AXFR || q->type == DNS_IXFR ||
        q->type == DNS_OPT) {
        ret->rcode = DNS_REFUSED;
        return;
    }
    s.name = q->folded;
    for (int i = 0; i < CHAIN_MAX; i++) {
        if (!answer_name(&s)) {
            ret->outcome = i == 0 ? DNS_FORWARD : DNS_FOLLOW;
            ret->target = s.name;
            return;
        }
        if (!s.next)
            return;
    }
    ret->rcode = DNS_SERVFAIL; /* They lead in circles. */
}

bool dns_answer_reply(struct dns_writer *w, const uint8_t *msg, size_t len, uint32_t age_s,
                      bool answers_only, int *ret_rcode)
{
    struct dns_reader r;
    struct dns_record rec;
    int more;
    if (!dns_reader_init(&r, msg, len))
        return false;
    if (!answers_only)
        w->flags |= r.flags & DNS_AD;
    while ((more = dns_reader_next(&r, &rec)) > 0) {
        bool wanted = rec.type != DNS_OPT && rec.class == DNS_CLASS_IN &&
                      (!answers_only || rec.section == DNS_ANSWER);
        uint32_t ttl = rec.ttl > age_s ? rec.ttl - age_s : 0;
        if (wanted && !w->truncated && !dns_record_copy(w, &r, &rec, ttl))
            return false;
    }
    *ret_rcode = r.flags & 15;
    return more == 0;
}

/* RFC 2308: the smaller of the SOA's own lifetime and its last field. */
static uint32_t negative_ttl(const struct dns_reader *r, const struct dns_record *rec)
{
    uint32_t least = 0;
    if (rec->data_len < 22)
        return 0;
    for (size_t i = 0; i < 4; i++)
        least = least << 8 | r->msg[rec->data + rec->data_len - 4 + i];
    return MIN_OF(least, rec->ttl);
}

int64_t dns_reply_lifetime(const uint8_t *msg, size_t len, const struct dns_query *q)
{
    struct dns_reader r;
    struct dns_record rec;
    int more;
    int64_t positive = LIFETIME_MAX_S, negative = 0;
    size_t answers = 0;
    if (!dns_reader_init(&r, msg, len) || r.type != q->type || r.class != q->class ||
        !dns_name_eq(&r.name, &q->name))
        return -1;
    int rcode = r.flags & 15;
    while ((more = dns_reader_next(&r, &rec)) > 0) {
        if (rec.type == DNS_OPT)
            continue;
        positive = MIN_OF(positive, (int64_t)rec.ttl);
        answers += rec.section == DNS_ANSWER ? 1 : 0;
        if (rec.section == DNS_AUTHORITY && rec.type == DNS_SOA)
            negative = MIN_OF((int64_t)negative_ttl(&r, &rec), LIFETIME_NEGATIVE_MAX_S);
    }
    if (more < 0)
        return -1;
    if (rcode == DNS_NXDOMAIN || (rcode == DNS_NOERROR && answers == 0))
        return MIN_OF(negative, positive);
    return rcode == DNS_NOERROR ? positive : 0;
}
