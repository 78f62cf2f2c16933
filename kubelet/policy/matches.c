/* matches.c - what the peers and ports of a rule demand. See rules.h. */
#include "kubelet/policy/rules_internal.h"
#include "kubelet/policy/spans.h"

#include "lib/api/pod.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/map.h"

#include "api/core_v1.h"
#include "api/intstr.h"
#include "api/networking_v1.h"

#include <arpa/inet.h>

void matches_add(struct arena *a, struct matches *l, struct str text, enum family f)
{
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct match){text, f};
}

enum family matches_family_of(struct str s, unsigned char ret[16])
{
    char text[INET6_ADDRSTRLEN];
    if (s.len == 0 || s.len >= sizeof(text))
        return ANY;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    if (inet_pton(AF_INET, text, ret) == 1)
        return V4;
    return inet_pton(AF_INET6, text, ret) == 1 ? V6 : ANY;
}

uint64_t matches_name_hash(const struct builder *b, struct str s)
{
    return base_siphash(b->in->seed, s.data, s.len);
}

/* --- sets of pods --------------------------------------------------------------------- */

static const struct core_v1_namespace *find_namespace(const struct builder *b, struct str name)
{
    for (size_t i = 0; i < b->in->namespace_count; i++)
        if (str_eq(b->in->namespaces[i]->metadata.name, name))
            return b->in->namespaces[i];
    return NULL;
}

/* Adds each address of the pod to its family's set, with what follows it. */
static void add_addresses(struct builder *b, const struct core_v1_pod *p,
                          struct policy_set *const sets[2], const char *suffix)
{
    unsigned char bytes[16];
    char text[INET6_ADDRSTRLEN];
    size_t n = p->status.pod_ips_count;
    for (size_t i = 0; i < MAX_OF(n, (size_t)1); i++) {
        struct str ip = n > 0 ? p->status.pod_ips[i].ip : p->status.pod_ip;
        enum family f = matches_family_of(ip, bytes);
        if (f == ANY)
            continue;
        inet_ntop(f == V4 ? AF_INET : AF_INET6, bytes, text, sizeof(text));
        policy_set_add(b->state, sets[f == V6], arena_printf(b->a, "%s%s", text, suffix));
    }
}

/* Both families' sets, empty; false when they are there already. ret_sets: borrowed until the next
 * are made. */
static bool make_sets(struct builder *b, const char *letter, struct str key, const char *suffix,
                      struct str ret_names[2], struct policy_set *ret_sets[2])
{
    bool is_new = false;
    uint64_t hash = matches_name_hash(b, key);
    size_t first = b->state->set_count;
    for (size_t i = 0; i < 2; i++) {
        ret_names[i] =
            arena_printf(b->a, "%s%d-%016llx", letter, i == 0 ? 4 : 6, (unsigned long long)hash);
        policy_state_set(b->state, ret_names[i],
                         str_c(arena_printf(b->state->arena, "%s%s",
                                            i == 0 ? "ipv4_addr" : "ipv6_addr", suffix)),
                         &is_new);
    }
    b->needs.pods = true;
    for (size_t i = 0; i < 2; i++)
        ret_sets[i] = is_new ? &b->state->sets[first + i] : NULL;
    return is_new;
}

static struct str selector_key(struct builder *b, const struct meta_v1_label_selector *m)
{
    struct api_label_selector s;
    struct error err;
    if (m == NULL || api_label_selector_from(b->a, m, &s, &err) != 0)
        return STR("-");
    return arena_printf(b->a, "{" STR_FMT "}", STR_ARG(api_label_selector_text(b->a, &s)));
}

struct group_item {
    struct str key;
    const struct core_v1_pod *pod;
};

static int by_key(const void *x, const void *y)
{
    return str_cmp(((const struct group_item *)x)->key, ((const struct group_item *)y)->key);
}

/* What tells a pod from others to selectors. Labels come in one order from one API server; in
 * another one they make a group more. */
static struct str group_key(struct arena *a, const struct core_v1_pod *p)
{
    AUTO_BUF key = BUF_INIT;
    buf_append_str(&key, p->metadata.namespace);
    for (size_t i = 0; i < p->metadata.labels_count; i++)
        buf_printf(&key, "\n" STR_FMT "=" STR_FMT, STR_ARG(p->metadata.labels[i].key),
                   STR_ARG(p->metadata.labels[i].value));
    return arena_str(a, buf_str(&key));
}

/* Many pods are of few templates: selectors look at each of those once, whatever their pods. */
static void make_groups(struct builder *b)
{
    size_t count = 0;
    struct group_item *items = ARENA_ARRAY(b->a, struct group_item, b->in->pod_count + 1);
    if (b->groups != NULL)
        return;
    for (size_t i = 0; i < b->in->pod_count; i++)
        if (policy_pod_counts(b->in->pods[i]))
            items[count++] = (struct group_item){group_key(b->a, b->in->pods[i]), b->in->pods[i]};
    qsort(items, count, sizeof(*items), by_key);
    const struct core_v1_pod **pods = ARENA_ARRAY(b->a, const struct core_v1_pod *, count + 1);
    b->groups = ARENA_ARRAY(b->a, struct pod_group, count + 1);
    for (size_t i = 0; i < count; i++) {
        pods[i] = items[i].pod;
        if (i == 0 || !str_eq(items[i].key, items[i - 1].key))
            b->groups[b->group_count++] = (struct pod_group){.pods = &pods[i]};
        b->groups[b->group_count - 1].count++;
    }
}

/* The pods of namespace own, or of those that match, whose labels match. */
static void fill_peer(struct builder *b, struct str own,
                      const struct networking_v1_network_policy_peer *peer,
                      struct policy_set *const sets[2])
{
    struct api_label_selector pods = {0}, spaces = {0};
    struct error err;
    if ((peer->pod_selector != NULL &&
         api_label_selector_from(b->a, peer->pod_selector, &pods, &err) != 0) ||
        (peer->namespace_selector != NULL &&
         api_label_selector_from(b->a, peer->namespace_selector, &spaces, &err) != 0))
        return; /* What cannot be understood allows nothing. */
    make_groups(b);
    struct str last = STR_NULL; /* Groups of one namespace stand together. */
    bool there = false;
    for (size_t i = 0; i < b->group_count; i++) {
        const struct pod_group *g = &b->groups[i];
        const struct meta_v1_object_meta *m = &g->pods[0]->metadata;
        if (i == 0 || !str_eq(m->namespace, last)) {
            last = m->namespace;
            const struct core_v1_namespace *ns =
                peer->namespace_selector != NULL ? find_namespace(b, last) : NULL;
            there = peer->namespace_selector == NULL
                        ? str_eq(last, own)
                        : ns != NULL && api_label_selector_matches(&spaces, ns->metadata.labels,
                                                                   ns->metadata.labels_count);
        }
        if (!there || !api_label_selector_matches(&pods, m->labels, m->labels_count))
            continue;
        for (size_t k = 0; k < g->count; k++)
            add_addresses(b, g->pods[k], sets, "");
    }
}

/* What this peer's pods are known by; empty when it names none. */
static struct str peer_key(struct builder *b, struct str own,
                           const struct networking_v1_network_policy_peer *peer)
{
    if (peer->ip_block != NULL || (peer->pod_selector == NULL && peer->namespace_selector == NULL))
        return STR_NULL;
    b->needs.namespaces = b->needs.namespaces || peer->namespace_selector != NULL;
    return arena_printf(b->a, STR_FMT "/" STR_FMT "/" STR_FMT,
                        STR_ARG(peer->namespace_selector != NULL ? STR("*") : own),
                        STR_ARG(selector_key(b, peer->namespace_selector)),
                        STR_ARG(selector_key(b, peer->pod_selector)));
}

/* One set for all pods that the peers name. */
void match_pods(struct side *s, struct str own,
                const struct networking_v1_network_policy_peer *peers, size_t count,
                struct matches *ret)
{
    struct builder *b = s->b;
    struct str names[2];
    struct policy_set *sets[2];
    AUTO_BUF key = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        struct str one = peer_key(b, own, &peers[i]);
        if (one.len > 0)
            buf_printf(&key, "%s" STR_FMT, key.len > 0 ? "\n" : "", STR_ARG(one));
    }
    if (key.len == 0)
        return;
    if (make_sets(b, "p", buf_str(&key), "", names, sets))
        for (size_t i = 0; i < count; i++)
            if (peer_key(b, own, &peers[i]).len > 0)
                fill_peer(b, own, &peers[i], sets);
    for (size_t i = 0; i < 2; i++)
        matches_add(b->a, ret,
                    arena_printf(b->a, "%s %s @" STR_FMT " ", i == 0 ? "ip" : "ip6",
                                 s->egress ? "daddr" : "saddr", STR_ARG(names[i])),
                    i == 0 ? V4 : V6);
}

/* --- ranges of addresses ----------------------------------------------------------------- */

/* "10.0.0.0/8 " of one range, "@b4-x " of more: a set named by what it holds. The list is not
 * empty, of one family, and reduced here. */
static struct str write_ranges(struct builder *b, struct cidr_list *l)
{
    AUTO_BUF all = BUF_INIT;
    bool is_new;
    cidr_list_reduce(l);
    if (l->count == 1)
        return arena_printf(b->a, STR_FMT " ", STR_ARG(cidr_text(b->a, &l->items[0])));
    for (size_t i = 0; i < l->count; i++)
        buf_printf(&all, STR_FMT " ", STR_ARG(cidr_text(b->a, &l->items[i])));
    bool v6 = l->items[0].v6;
    struct str name = arena_printf(b->a, "b%d-%016llx", v6 ? 6 : 4,
                                   (unsigned long long)matches_name_hash(b, buf_str(&all)));
    struct policy_set *set = policy_state_set(
        b->state, name, v6 ? "ipv6_addr; flags interval" : "ipv4_addr; flags interval", &is_new);
    for (size_t i = 0; is_new && i < l->count; i++)
        policy_set_add(b->state, set, cidr_text(b->a, &l->items[i]));
    return arena_printf(b->a, "@" STR_FMT " ", STR_ARG(name));
}

/* "ip saddr 10.0.0.0/8 " */
static struct str match_ranges(struct side *s, struct cidr_list *l)
{
    bool v6 = l->items[0].v6;
    cidr_list_reduce(l);
    if (l->items[0].bits == 0)
        return v6 ? STR("meta nfproto ipv6 ") : STR("meta nfproto ipv4 ");
    return arena_printf(s->b->a, "%s %s " STR_FMT, v6 ? "ip6" : "ip", s->egress ? "daddr" : "saddr",
                        STR_ARG(write_ranges(s->b, l)));
}

/* A range less its exceptions. What makes no sense allows nothing. */
static void match_excepting(struct side *s, const struct networking_v1_ip_block *block,
                            const struct cidr *range, struct matches *ret)
{
    struct arena *a = s->b->a;
    struct cidr_list all = {0}, except = {0};
    for (size_t i = 0; i < block->except_count; i++) {
        struct cidr x;
        if (!cidr_parse(block->except[i], &x) || x.v6 != range->v6 || x.bits == 0)
            return;
        cidr_list_add(a, &except, &x);
    }
    cidr_list_add(a, &all, range);
    struct str from = match_ranges(s, &all);
    matches_add(a, ret,
                arena_printf(a, STR_FMT "%s %s != " STR_FMT, STR_ARG(from),
                             range->v6 ? "ip6" : "ip", s->egress ? "daddr" : "saddr",
                             STR_ARG(write_ranges(s->b, &except))),
                range->v6 ? V6 : V4);
}

void match_blocks(struct side *s, const struct networking_v1_network_policy_peer *peers,
                  size_t count, struct matches *ret)
{
    struct cidr_list whole[2] = {{0}};
    for (size_t i = 0; i < count; i++) {
        struct cidr range;
        if (peers[i].ip_block == NULL || !cidr_parse(peers[i].ip_block->cidr, &range))
            continue;
        if (peers[i].ip_block->except_count > 0)
            match_excepting(s, peers[i].ip_block, &range, ret);
        else
            cidr_list_add(s->b->a, &whole[range.v6], &range);
    }
    for (size_t i = 0; i < 2; i++)
        if (whole[i].count > 0)
            matches_add(s->b->a, ret, match_ranges(s, &whole[i]), i == 0 ? V4 : V6);
}

/* --- ports ----------------------------------------------------------------------------- */

static const char *const protocols[] = {"tcp", "udp", "sctp"};

static size_t protocol_index(struct str s)
{
    return str_eqc(s, "UDP") ? 1 : str_eqc(s, "SCTP") ? 2 : 0;
}

/* Calls add for each port of this name and protocol that a running container may have. */
static void named_ports(const struct core_v1_pod *p, struct str name, const char *protocol,
                        void (*add)(const struct core_v1_pod *p, int port, void *arg), void *arg)
{
    const struct core_v1_container *lists[] = {p->spec.init_containers, p->spec.containers};
    size_t counts[] = {p->spec.init_containers_count, p->spec.containers_count};
    for (size_t l = 0; l < ARRAY_SIZE(lists); l++)
        for (size_t i = 0; i < counts[l]; i++)
            for (size_t k = 0; k < lists[l][i].ports_count; k++) {
                const struct core_v1_container_port *c = &lists[l][i].ports[k];
                if (str_eq(c->name, name) &&
                    strcmp(protocols[protocol_index(c->protocol)], protocol) == 0)
                    add(p, c->container_port, arg);
            }
}

/* All ports of one rule. */
struct port_context {
    struct builder *b;
    size_t protocol; /* Of what is being looked up. */
    struct port_spans spans[ARRAY_SIZE(protocols)];
    bool whole[ARRAY_SIZE(protocols)];
    struct policy_set *sets[2]; /* Egress: of ports with a name. */
};

static void add_own_port(const struct core_v1_pod *p, int port, void *arg)
{
    struct port_context *c = arg;
    UNUSED(p);
    port_spans_add(c->b->a, &c->spans[c->protocol], port, port);
}

static void add_pod_port(const struct core_v1_pod *p, int port, void *arg)
{
    struct port_context *c = arg;
    struct builder *b = c->b;
    add_addresses(b, p, c->sets,
                  str_c(arena_printf(b->a, " . %s . %d", protocols[c->protocol], port)));
}

static bool has_name(const struct networking_v1_network_policy_port *p)
{
    return p->port != NULL && p->port->type == 1;
}

static void fill_named(struct port_context *c, const struct networking_v1_network_policy_port *p)
{
    const struct policy_inputs *in = c->b->in;
    c->protocol = protocol_index(p->protocol);
    for (size_t i = 0; i < in->pod_count; i++)
        if (policy_pod_counts(in->pods[i]))
            named_ports(in->pods[i], p->port->str_val, protocols[c->protocol], add_pod_port, c);
}

/* For what goes out a name is one of the other pod: one set for all names. */
static void match_named(struct port_context *c,
                        const struct networking_v1_network_policy_port *ports, size_t count,
                        struct matches *ret)
{
    struct builder *b = c->b;
    struct str names[2];
    AUTO_BUF key = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        if (has_name(&ports[i]))
            buf_printf(&key, "%s" STR_FMT "/%s", key.len > 0 ? "," : "",
                       STR_ARG(ports[i].port->str_val),
                       protocols[protocol_index(ports[i].protocol)]);
    if (key.len == 0)
        return;
    if (make_sets(b, "n", buf_str(&key), " . inet_proto . inet_service", names, c->sets))
        for (size_t i = 0; i < count; i++)
            if (has_name(&ports[i]))
                fill_named(c, &ports[i]);
    for (size_t i = 0; i < 2; i++)
        matches_add(b->a, ret,
                    arena_printf(b->a, "%s daddr . meta l4proto . th dport @" STR_FMT " ",
                                 i == 0 ? "ip" : "ip6", STR_ARG(names[i])),
                    i == 0 ? V4 : V6);
}

static void note_port(struct side *s, struct port_context *c,
                      const struct networking_v1_network_policy_port *p)
{
    c->protocol = protocol_index(p->protocol);
    if (p->port == NULL)
        c->whole[c->protocol] = true;
    else if (!has_name(p))
        port_spans_add(c->b->a, &c->spans[c->protocol], p->port->int_val,
                       p->has_end_port ? p->end_port : p->port->int_val);
    else if (!s->egress)
        named_ports(s->local->pod, p->port->str_val, protocols[c->protocol], add_own_port, c);
}

void match_ports(struct side *s, const struct networking_v1_network_policy_port *ports,
                 size_t count, struct matches *ret)
{
    struct arena *a = s->b->a;
    struct port_context c = {.b = s->b};
    for (size_t i = 0; i < count; i++)
        note_port(s, &c, &ports[i]);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++) {
        if (c.whole[i])
            matches_add(a, ret, arena_printf(a, "meta l4proto %s ", protocols[i]), ANY);
        else if (c.spans[i].count > 0)
            matches_add(a, ret,
                        arena_printf(a, "%s dport " STR_FMT " ", protocols[i],
                                     STR_ARG(port_spans_text(a, &c.spans[i]))),
                        ANY);
    }
    if (s->egress)
        match_named(&c, ports, count, ret);
}
