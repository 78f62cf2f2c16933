/* rules.c - see rules.h. */
#include "kubelet/policy/rules.h"

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
#include <stdio.h>

#define POLICY_TABLE "trireme-policy"

enum family { ANY, V4, V6 };

/* A piece of a rule: what a peer or a port demands. */
struct match {
    struct str text; /* Ends in a space unless empty. */
    enum family family;
};

struct matches {
    struct match *items;
    size_t count, cap;
};

struct builder {
    const struct policy_inputs *in;
    struct arena *a;
    struct policy_state *state;
    bool needs_pods;
};

/* One direction of one pod. */
struct side {
    struct builder *b;
    const struct policy_local *local;
    bool egress;
    struct buf rules;
};

static void add_match(struct arena *a, struct matches *l, struct str text, enum family f)
{
    l->items = arena_grow(a, l->items, l->count, &l->cap, sizeof(*l->items));
    l->items[l->count++] = (struct match){text, f};
}

static enum family family_of(struct str s, unsigned char ret[16])
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

static uint64_t name_hash(const struct builder *b, struct str s)
{
    return base_siphash(b->in->seed, s.data, s.len);
}

static bool selects(struct builder *b, const struct meta_v1_label_selector *m,
                    const struct api_str_entry *labels, size_t count)
{
    struct api_label_selector s;
    struct error err;
    return api_label_selector_from(b->a, m, &s, &err) == 0 &&
           api_label_selector_matches(&s, labels, count);
}

bool policy_pod_counts(const struct core_v1_pod *p)
{
    return !p->spec.host_network && !pod_is_terminal(p) &&
           (p->status.pod_ips_count > 0 || !str_empty(p->status.pod_ip));
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
        enum family f = family_of(ip, bytes);
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
    uint64_t hash = name_hash(b, key);
    size_t first = b->state->set_count;
    for (size_t i = 0; i < 2; i++) {
        ret_names[i] =
            arena_printf(b->a, "%s%d-%016llx", letter, i == 0 ? 4 : 6, (unsigned long long)hash);
        policy_state_set(b->state, ret_names[i],
                         str_c(arena_printf(b->state->arena, "%s%s",
                                            i == 0 ? "ipv4_addr" : "ipv6_addr", suffix)),
                         &is_new);
    }
    b->needs_pods = true;
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
        return;          /* What cannot be understood allows nothing. */
    struct map verdicts; /* Namespaces looked at: the first or the second of these. */
    static const char in = 1, out = 0;
    map_init(&verdicts);
    for (size_t i = 0; i < b->in->pod_count; i++) {
        const struct core_v1_pod *p = b->in->pods[i];
        bool there = str_eq(p->metadata.namespace, own);
        if (peer->namespace_selector != NULL) {
            const char *known = map_get(&verdicts, p->metadata.namespace);
            if (known == NULL) {
                const struct core_v1_namespace *ns = find_namespace(b, p->metadata.namespace);
                known = ns != NULL && api_label_selector_matches(&spaces, ns->metadata.labels,
                                                                 ns->metadata.labels_count)
                            ? &in
                            : &out;
                map_set(&verdicts, p->metadata.namespace, (void *)(uintptr_t)known);
            }
            there = known == &in;
        }
        if (there && policy_pod_counts(p) &&
            api_label_selector_matches(&pods, p->metadata.labels, p->metadata.labels_count))
            add_addresses(b, p, sets, "");
    }
    map_done(&verdicts);
}

static void match_pods(struct side *s, struct str own,
                       const struct networking_v1_network_policy_peer *peer, struct matches *ret)
{
    struct builder *b = s->b;
    struct str names[2];
    struct policy_set *sets[2];
    struct str key = arena_printf(b->a, STR_FMT "/" STR_FMT "/" STR_FMT,
                                  STR_ARG(peer->namespace_selector != NULL ? STR("*") : own),
                                  STR_ARG(selector_key(b, peer->namespace_selector)),
                                  STR_ARG(selector_key(b, peer->pod_selector)));
    if (make_sets(b, "p", key, "", names, sets))
        fill_peer(b, own, peer, sets);
    for (size_t i = 0; i < 2; i++)
        add_match(b->a, ret,
                  arena_printf(b->a, "%s %s @" STR_FMT " ", i == 0 ? "ip" : "ip6",
                               s->egress ? "daddr" : "saddr", STR_ARG(names[i])),
                  i == 0 ? V4 : V6);
}

/* --- ranges of addresses ----------------------------------------------------------------- */

/* The range as nft takes it, host bits cleared. ANY: it is none. */
static enum family parse_range(struct str s, char ret[INET6_ADDRSTRLEN + 4], uint64_t *ret_bits)
{
    struct str net, bits;
    unsigned char bytes[16] = {0};
    if (!str_cut(s, '/', &net, &bits) || !str_to_u64(bits, ret_bits))
        return ANY;
    enum family f = family_of(net, bytes);
    if (f == ANY || *ret_bits > (f == V4 ? 32u : 128u))
        return ANY;
    for (size_t i = 0; i < sizeof(bytes); i++) {
        uint64_t left = *ret_bits > 8 * i ? *ret_bits - 8 * i : 0;
        if (left < 8)
            bytes[i] &= (unsigned char)(0xff00u >> left);
    }
    inet_ntop(f == V4 ? AF_INET : AF_INET6, bytes, ret, INET6_ADDRSTRLEN);
    size_t len = strlen(ret);
    snprintf(ret + len, INET6_ADDRSTRLEN + 4 - len, "/%u", (unsigned)*ret_bits);
    return f;
}

static void match_block(struct side *s, const struct networking_v1_ip_block *block,
                        struct matches *ret)
{
    char range[INET6_ADDRSTRLEN + 4];
    const char *field = s->egress ? "daddr" : "saddr";
    uint64_t bits;
    enum family f = parse_range(block->cidr, range, &bits);
    if (f == ANY)
        return;
    AUTO_BUF text = BUF_INIT;
    const char *header = f == V4 ? "ip" : "ip6";
    if (bits == 0)
        buf_printf(&text, "meta nfproto %s ", f == V4 ? "ipv4" : "ipv6");
    else
        buf_printf(&text, "%s %s %s ", header, field, range);
    /* One by one: ranges in one set must not overlap. */
    for (size_t i = 0; i < block->except_count; i++) {
        enum family x = parse_range(block->except[i], range, &bits);
        if (x != f || bits == 0)
            return; /* Everything is excepted, or it makes no sense: allow nothing. */
        buf_printf(&text, "%s %s != %s ", header, field, range);
    }
    add_match(s->b->a, ret, arena_str(s->b->a, buf_str(&text)), f);
}

/* --- ports ----------------------------------------------------------------------------- */

static const char *protocol_name(struct str s)
{
    if (str_eqc(s, "UDP"))
        return "udp";
    return str_eqc(s, "SCTP") ? "sctp" : "tcp";
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
                if (str_eq(c->name, name) && strcmp(protocol_name(c->protocol), protocol) == 0)
                    add(p, c->container_port, arg);
            }
}

struct port_context {
    struct side *side;
    struct matches *ret;
    const char *protocol;
    struct policy_set *sets[2]; /* Egress. */
};

static void add_own_port(const struct core_v1_pod *p, int port, void *arg)
{
    struct port_context *c = arg;
    UNUSED(p);
    add_match(c->side->b->a, c->ret, arena_printf(c->side->b->a, "%s dport %d ", c->protocol, port),
              ANY);
}

static void add_pod_port(const struct core_v1_pod *p, int port, void *arg)
{
    struct port_context *c = arg;
    struct builder *b = c->side->b;
    add_addresses(b, p, c->sets, str_c(arena_printf(b->a, " . %s . %d", c->protocol, port)));
}

/* For what comes in the name is one of the pod itself, for what goes out one of the other pod. */
static void match_named_port(struct side *s, struct str name, const char *protocol,
                             struct matches *ret)
{
    struct builder *b = s->b;
    struct str names[2];
    struct port_context c = {s, ret, protocol, {NULL, NULL}};
    if (!s->egress) {
        named_ports(s->local->pod, name, protocol, add_own_port, &c);
        return;
    }
    if (make_sets(b, "n", arena_printf(b->a, STR_FMT "/%s", STR_ARG(name), protocol),
                  " . inet_proto . inet_service", names, c.sets))
        for (size_t i = 0; i < b->in->pod_count; i++)
            if (policy_pod_counts(b->in->pods[i]))
                named_ports(b->in->pods[i], name, protocol, add_pod_port, &c);
    for (size_t i = 0; i < 2; i++)
        add_match(b->a, ret,
                  arena_printf(b->a, "%s daddr . meta l4proto . th dport @" STR_FMT " ",
                               i == 0 ? "ip" : "ip6", STR_ARG(names[i])),
                  i == 0 ? V4 : V6);
}

static void match_port(struct side *s, const struct networking_v1_network_policy_port *p,
                       struct matches *ret)
{
    struct arena *a = s->b->a;
    const char *protocol = protocol_name(p->protocol);
    if (p->port == NULL)
        add_match(a, ret, arena_printf(a, "meta l4proto %s ", protocol), ANY);
    else if (p->port->type == 1)
        match_named_port(s, p->port->str_val, protocol, ret);
    else if (p->has_end_port && p->end_port > p->port->int_val)
        add_match(a, ret,
                  arena_printf(a, "%s dport %d-%d ", protocol, p->port->int_val, p->end_port), ANY);
    else
        add_match(a, ret, arena_printf(a, "%s dport %d ", protocol, p->port->int_val), ANY);
}

/* --- one pod ---------------------------------------------------------------------------- */

/* A rule allows what matches any of its peers and any of its ports. */
static void write_rule(struct side *s, struct str own,
                       const struct networking_v1_network_policy_peer *peers, size_t peer_count,
                       const struct networking_v1_network_policy_port *ports, size_t port_count)
{
    struct matches from = {0}, to = {0};
    for (size_t i = 0; i < peer_count; i++) {
        if (peers[i].ip_block != NULL)
            match_block(s, peers[i].ip_block, &from);
        else if (peers[i].pod_selector != NULL || peers[i].namespace_selector != NULL)
            match_pods(s, own, &peers[i], &from);
    }
    for (size_t i = 0; i < port_count; i++)
        match_port(s, &ports[i], &to);
    if (peer_count == 0)
        add_match(s->b->a, &from, STR_NULL, ANY);
    if (port_count == 0)
        add_match(s->b->a, &to, STR_NULL, ANY);
    for (size_t i = 0; i < from.count; i++)
        for (size_t k = 0; k < to.count; k++)
            if (from.items[i].family == ANY || to.items[k].family == ANY ||
                from.items[i].family == to.items[k].family)
                buf_printf(&s->rules, STR_FMT STR_FMT "return\n", STR_ARG(from.items[i].text),
                           STR_ARG(to.items[k].text));
}

static bool has_type(const struct networking_v1_network_policy_spec *s, const char *type)
{
    for (size_t i = 0; i < s->policy_types_count; i++)
        if (str_eqc(s->policy_types[i], type))
            return true;
    /* As defaulted: ingress always, egress when there are rules for it. */
    return s->policy_types_count == 0 && (strcmp(type, "Ingress") == 0 || s->egress_count > 0);
}

static void write_policy(struct side *s, const struct networking_v1_network_policy *p)
{
    struct str own = p->metadata.namespace;
    for (size_t i = 0; s->egress && i < p->spec.egress_count; i++)
        write_rule(s, own, p->spec.egress[i].to, p->spec.egress[i].to_count,
                   p->spec.egress[i].ports, p->spec.egress[i].ports_count);
    for (size_t i = 0; !s->egress && i < p->spec.ingress_count; i++)
        write_rule(s, own, p->spec.ingress[i].from, p->spec.ingress[i].from_count,
                   p->spec.ingress[i].ports, p->spec.ingress[i].ports_count);
}

static void add_element(struct builder *b, const char *set, struct str text)
{
    bool is_new;
    policy_set_add(b->state, policy_state_set(b->state, str_of(set), NULL, &is_new), text);
}

static void lead_to(struct side *s, struct str chain)
{
    unsigned char bytes[16];
    struct builder *b = s->b;
    for (size_t i = 0; i < s->local->ip_count; i++) {
        enum family f = family_of(str_of(s->local->ips[i]), bytes);
        const char *ip = s->local->ips[i];
        if (f == ANY)
            continue;
        add_element(b, f == V4 ? (s->egress ? "out4" : "in4") : (s->egress ? "out6" : "in6"),
                    arena_printf(b->a, "%s : jump " STR_FMT, ip, STR_ARG(chain)));
        add_element(b, f == V4 ? "self4" : "self6", arena_printf(b->a, "%s . %s", ip, ip));
    }
}

static int by_name(const void *x, const void *y)
{
    const struct networking_v1_network_policy *const *a = x, *const *b = y;
    return str_cmp((*a)->metadata.name, (*b)->metadata.name);
}

static void write_side(struct builder *b, struct policy_local *local, bool egress,
                       const struct networking_v1_network_policy **policies, size_t count)
{
    struct side s = {.b = b, .local = local, .egress = egress};
    bool selected = false;
    for (size_t i = 0; i < count; i++) {
        if (!has_type(&policies[i]->spec, egress ? "Egress" : "Ingress"))
            continue;
        selected = true;
        write_policy(&s, policies[i]);
    }
    if (selected) {
        local->selected = local->held = true;
        buf_puts(&s.rules, "drop\n");
        struct str name = arena_printf(b->a, "%s-%016llx", egress ? "e" : "i",
                                       (unsigned long long)name_hash(b, buf_str(&s.rules)));
        policy_state_add_chain(b->state, name, buf_str(&s.rules));
        lead_to(&s, name);
    }
    buf_done(&s.rules);
}

static void write_local(struct builder *b, struct policy_local *local)
{
    const struct core_v1_pod *pod = local->pod;
    const struct networking_v1_network_policy **chosen =
        ARENA_ARRAY(b->a, const struct networking_v1_network_policy *, b->in->policy_count + 1);
    size_t count = 0;
    local->selected = local->held = false;
    if (pod->spec.host_network)
        return;
    for (size_t i = 0; i < b->in->policy_count; i++) {
        const struct networking_v1_network_policy *p = b->in->policies[i];
        if (str_eq(p->metadata.namespace, pod->metadata.namespace) &&
            selects(b, &p->spec.pod_selector, pod->metadata.labels, pod->metadata.labels_count))
            chosen[count++] = p;
    }
    if (count == 0)
        return;
    qsort(chosen, count, sizeof(const struct networking_v1_network_policy *), by_name);
    write_side(b, local, false, chosen, count);
    write_side(b, local, true, chosen, count);
}

struct policy_state *policy_rules(const struct policy_inputs *in, bool *ret_needs_pods)
{
    static const struct {
        const char *name, *type;
        enum policy_set_kind kind;
    } fixed[] = {
        {"in4", "ipv4_addr", POLICY_VERDICTS},
        {"in6", "ipv6_addr", POLICY_VERDICTS},
        {"out4", "ipv4_addr", POLICY_VERDICTS},
        {"out6", "ipv6_addr", POLICY_VERDICTS},
        {"self4", "ipv4_addr . ipv4_addr", POLICY_SET},
        {"self6", "ipv6_addr . ipv6_addr", POLICY_SET},
    };
    AUTO_ARENA *a = arena_new(0);
    struct builder b = {.in = in, .a = a, .state = policy_state_new(&policy_table)};
    bool is_new;
    for (size_t i = 0; i < ARRAY_SIZE(fixed); i++)
        policy_state_set(b.state, str_of(fixed[i].name), fixed[i].type, &is_new)->kind =
            fixed[i].kind;
    for (size_t i = 0; i < in->local_count; i++)
        write_local(&b, &in->locals[i]);
    policy_state_sort(b.state);
    *ret_needs_pods = b.needs_pods;
    return b.state;
}

/* --- the table ------------------------------------------------------------------------- */

/* What every packet meets: few lookups, whatever the number of policies and pods. Only forwarded
 * packets are looked at: what the node itself sends and gets is always let through. */
static void write_hooks(struct buf *out)
{
    static const char *const rules[] = {
        "ct state established,related accept",
        /* On the link alone (RFC 4861): what is routed has lost one of its 255 hops. */
        ("ip6 hoplimit 255 meta l4proto ipv6-icmp icmpv6 type { nd-neighbor-solicit, "
         "nd-neighbor-advert, nd-router-solicit, nd-router-advert } accept"),
        /* Through a Service back to itself. */
        "ip saddr . ip daddr @self4 accept",
        "ip6 saddr . ip6 daddr @self6 accept",
        "ip saddr vmap @out4",
        "ip6 saddr vmap @out6",
        "ip daddr vmap @in4",
        "ip6 daddr vmap @in6",
    };
    buf_puts(out, "add chain inet " POLICY_TABLE
                  " forward { type filter hook forward priority -5; policy accept; }\n");
    for (size_t i = 0; i < ARRAY_SIZE(rules); i++)
        buf_printf(out, "add rule inet " POLICY_TABLE " forward %s\n", rules[i]);
}

const struct policy_table policy_table = {POLICY_TABLE, write_hooks};
