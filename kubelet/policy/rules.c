/* rules.c - see rules.h. */
#include "kubelet/policy/rules_internal.h"

#include "lib/api/pod.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"

#include "api/core_v1.h"
#include "api/networking_v1.h"

#include <arpa/inet.h>

#define POLICY_TABLE "trireme-policy"

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

/* --- one pod ---------------------------------------------------------------------------- */

/* A rule allows what matches any of its peers and any of its ports. Both are gathered into a few
 * matches first: what a policy lists is bounded by an object's size, all its pairs are not. */
static void write_rule(struct side *s, struct str own,
                       const struct networking_v1_network_policy_peer *peers, size_t peer_count,
                       const struct networking_v1_network_policy_port *ports, size_t port_count)
{
    struct matches from = {0}, to = {0};
    match_blocks(s, peers, peer_count, &from);
    match_pods(s, own, peers, peer_count, &from);
    match_ports(s, ports, port_count, &to);
    if (peer_count == 0)
        matches_add(s->b->a, &from, STR_NULL, ANY);
    if (port_count == 0)
        matches_add(s->b->a, &to, STR_NULL, ANY);
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
        enum family f = matches_family_of(str_of(s->local->ips[i]), bytes);
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
                                       (unsigned long long)matches_name_hash(b, buf_str(&s.rules)));
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

struct policy_state *policy_rules(const struct policy_inputs *in, struct policy_needs *ret_needs)
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
    *ret_needs = b.needs;
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
