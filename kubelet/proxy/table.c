/* table.c - see table.h. */
#include "kubelet/proxy/table.h"

#include "kubelet/proxy/affinity.h"

#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <linux/netfilter.h>
#include <stdio.h>

#define AFFINITY_MAX 65536

struct family {
    const char *name; /* "ip", as nft calls the table's family and the header. */
    const char *type; /* "ipv4_addr" */
    uint8_t number;
};

static const struct family families[PROXY_FAMILY_COUNT] = {
    [PROXY_V4] = {"ip", "ipv4_addr", NFPROTO_IPV4},
    [PROXY_V6] = {"ip6", "ipv6_addr", NFPROTO_IPV6},
};

static const char *const set_names[PROXY_SET_COUNT] = {
    [PROXY_SERVICES] = "services",       [PROXY_ENDPOINTS] = "endpoints",
    [PROXY_SHORTCUTS] = "shortcuts",     [PROXY_STICKY] = "sticky",
    [PROXY_RESTRICTED] = "restricted",   [PROXY_ALLOWED] = "allowed",
    [PROXY_REFUSED] = "refused",         [PROXY_DROPPED] = "dropped",
    [PROXY_CLUSTER_IPS] = "cluster-ips", [PROXY_HAIRPIN] = "hairpin",
};

const char *proxy_family_name(enum proxy_family f)
{
    return families[f].name;
}

uint8_t proxy_family_number(enum proxy_family f)
{
    return families[f].number;
}

const char *proxy_set_name(enum proxy_set s)
{
    return set_names[s];
}

bool proxy_set_has_verdicts(enum proxy_set s)
{
    return s == PROXY_SERVICES || s == PROXY_SHORTCUTS || s == PROXY_STICKY;
}

void proxy_chain_name(enum proxy_chain kind, bool sticky, size_t count,
                      char ret[PROXY_DATA_MAX + 1])
{
    static const char *const names[] = {
        [PROXY_PLAIN] = "lb", [PROXY_MASQUERADED] = "ext", [PROXY_SHORTCUT] = "short"};
    snprintf(ret, PROXY_DATA_MAX + 1, "%s%s-%zu", names[kind], sticky ? "-sticky" : "", count);
}

void proxy_learn_name(int64_t timeout_s, char ret[PROXY_DATA_MAX + 1])
{
    snprintf(ret, PROXY_DATA_MAX + 1, "learn-%lld", (long long)timeout_s);
}

/* --- chains that elements lead to ------------------------------------------------------------ */

static void begin_chain(struct buf *b, const struct family *f, const char *table, const char *name)
{
    /* In one transaction: nobody meets an empty chain, and twice is as once. */
    buf_printf(b, "add chain %s %s %s\nflush chain %s %s %s\n", f->name, table, name, f->name,
               table, name);
}

#define RULE "add rule %s %s %s "
#define TO_PORT "meta l4proto { tcp, udp, sctp } dnat %s to %s daddr . meta l4proto . th dport . "

static void write_choice(struct buf *b, const struct family *f, const char *table,
                         const char *chain, size_t count, unsigned first)
{
    buf_printf(b, RULE TO_PORT "numgen random mod %zu", f->name, table, chain, f->name, f->name,
               count);
    if (first > 0)
        buf_printf(b, " offset %u", first);
    buf_puts(b, " map @endpoints\n");
}

static void write_mark(struct buf *b, const struct family *f, const char *table, const char *chain,
                       const char *condition)
{
    buf_printf(b, RULE "%smeta mark set meta mark or 0x%x\n", f->name, table, chain, condition,
               PROXY_MARK);
}

static void write_goto(struct buf *b, const struct family *f, const char *table, const char *chain,
                       const char *to)
{
    buf_printf(b, RULE "goto %s\n", f->name, table, chain, to);
}

/* See affinity.h for the chain of IPv6. */
static bool is_text(const struct family *f)
{
    return f->number == NFPROTO_IPV4;
}

static void write_remembered(struct buf *b, const struct family *f, const char *table)
{
    begin_chain(b, f, table, AFFINITY_REMEMBERED);
    if (is_text(f))
        buf_printf(b, RULE TO_PORT "%s saddr map @affinity\n", f->name, table, AFFINITY_REMEMBERED,
                   f->name, f->name, f->name);
}

static void write_sticky(struct buf *b, const struct family *f, const char *table,
                         const char *chain)
{
    buf_printf(b, RULE "jump " AFFINITY_REMEMBERED "\n", f->name, table, chain);
}

static void write_count(struct buf *b, const struct family *f, const char *table, size_t count)
{
    char plain[2][PROXY_DATA_MAX + 1], name[PROXY_DATA_MAX + 1], other[PROXY_DATA_MAX + 1];
    proxy_chain_name(PROXY_PLAIN, false, count, plain[0]);
    proxy_chain_name(PROXY_PLAIN, true, count, plain[1]);
    begin_chain(b, f, table, plain[0]);
    write_choice(b, f, table, plain[0], count, 0);
    /* The rules change under a packet's eyes: its number may be gone, the first one is there. */
    if (count > 1)
        write_choice(b, f, table, plain[0], 1, 0);
    begin_chain(b, f, table, plain[1]);
    write_sticky(b, f, table, plain[1]);
    write_goto(b, f, table, plain[1], plain[0]);
    for (int sticky = 0; sticky < 2; sticky++) {
        proxy_chain_name(PROXY_MASQUERADED, sticky, count, name);
        begin_chain(b, f, table, name);
        write_mark(b, f, table, name, "");
        write_goto(b, f, table, name, plain[sticky]);
    }
    proxy_chain_name(PROXY_SHORTCUT, false, count, other);
    begin_chain(b, f, table, other);
    write_mark(b, f, table, other, "fib saddr type local ");
    write_choice(b, f, table, other, count, PROXY_SHORTCUT_FIRST);
    if (count > 1)
        write_choice(b, f, table, other, 1, PROXY_SHORTCUT_FIRST);
    proxy_chain_name(PROXY_SHORTCUT, true, count, name);
    begin_chain(b, f, table, name);
    write_mark(b, f, table, name, "fib saddr type local ");
    write_sticky(b, f, table, name);
    write_goto(b, f, table, name, other);
}

void proxy_table_add_count(const char *table, size_t count, struct buf *out)
{
    for (size_t i = 0; i < ARRAY_SIZE(families); i++)
        write_count(out, &families[i], table, count);
}

static const char *const protocols[] = {"tcp", "udp", "sctp"};

void proxy_table_add_learn(const char *table, int64_t timeout_s, struct buf *out)
{
    char name[PROXY_DATA_MAX + 1];
    proxy_learn_name(timeout_s, name);
    for (size_t i = 0; i < ARRAY_SIZE(families); i++) {
        const struct family *f = &families[i];
        begin_chain(out, f, table, name);
        for (size_t k = 0; is_text(f) && k < ARRAY_SIZE(protocols); k++)
            buf_printf(out,
                       RULE "meta l4proto %s update @affinity { ct original %s daddr . meta "
                            "l4proto . ct original proto-dst . %s saddr timeout %llds : %s daddr . "
                            "th dport }\n",
                       f->name, table, name, protocols[k], f->name, f->name, (long long)timeout_s,
                       f->name);
    }
}

/* --- the table ------------------------------------------------------------------------------- */

#define FRONTEND "daddr . meta l4proto . th dport"

static void write_sets(struct buf *b, const struct family *f, const char *table)
{
    AUTO_FREE char *frontend = xasprintf("%s . inet_proto . inet_service", f->type);
    const char *where = f->name;
    static const enum proxy_set plain[] = {PROXY_RESTRICTED, PROXY_REFUSED, PROXY_DROPPED};
    for (enum proxy_set s = 0; s < PROXY_SET_COUNT; s++)
        if (proxy_set_has_verdicts(s))
            buf_printf(b, "add map %s %s %s { type %s : verdict; }\n", where, table, set_names[s],
                       frontend);
    for (size_t i = 0; i < ARRAY_SIZE(plain); i++)
        buf_printf(b, "add set %s %s %s { type %s; }\n", where, table, set_names[plain[i]],
                   frontend);
    buf_printf(b,
               "add map %s %s endpoints { typeof %s " FRONTEND
               " . numgen random mod 2 : %s daddr . th dport; }\n",
               where, table, f->name, f->name);
    buf_printf(b,
               "add map %s %s affinity { type %s . %s : %s . inet_service; flags "
               "dynamic,timeout; timeout 3h; size %d; }\n",
               where, table, frontend, f->type, f->type, AFFINITY_MAX);
    buf_printf(b, "add set %s %s allowed { type %s . %s; flags interval; }\n", where, table,
               frontend, f->type);
    buf_printf(b, "add set %s %s cluster-ips { type %s; }\n", where, table, f->type);
    buf_printf(b, "add set %s %s hairpin { type %s . %s; }\n", where, table, f->type, f->type);
}

static bool is_of(struct str cidr, enum proxy_family f)
{
    char text[INET6_ADDRSTRLEN];
    unsigned char bytes[16];
    struct str address, bits;
    uint64_t n;
    if (!str_cut(cidr, '/', &address, &bits) || !str_to_u64(bits, &n) ||
        n > (f == PROXY_V4 ? 32u : 128u) || address.len >= sizeof(text))
        return false;
    memcpy(text, address.data, address.len);
    text[address.len] = '\0';
    return inet_pton(f == PROXY_V4 ? AF_INET : AF_INET6, text, bytes) == 1;
}

/* What the list has of this family, divided by commas. */
static void write_cidrs(const struct str *list, size_t count, enum proxy_family f, struct buf *b)
{
    for (size_t i = 0; i < count; i++)
        if (is_of(list[i], f))
            buf_printf(b, "%s" STR_FMT, b->len > 0 ? ", " : "", STR_ARG(list[i]));
}

static void write_translation(const struct proxy_table_config *c, enum proxy_family v,
                              const char *table, struct buf *b)
{
    const char *f = families[v].name;
    AUTO_BUF cluster = BUF_INIT, pods = BUF_INIT;
    write_cidrs(c->cluster_cidrs, c->cluster_cidr_count, v, &cluster);
    if (cluster.len > 0)
        buf_append_str(&pods, buf_str(&cluster));
    else
        write_cidrs(c->pod_cidrs, c->pod_cidr_count, v, &pods);
    if (c->masquerade_all)
        buf_printf(b, RULE "%s daddr @cluster-ips meta mark set meta mark or 0x%x\n", f, table,
                   "translate", f, PROXY_MARK);
    else if (cluster.len > 0)
        buf_printf(b,
                   RULE "%s daddr @cluster-ips %s saddr != { " STR_FMT
                        " } meta mark set meta mark or 0x%x\n",
                   f, table, "translate", f, f, STR_ARG(buf_str(&cluster)), PROXY_MARK);
    if (c->masquerade_bridge)
        buf_printf(b, RULE "iifname \"cni*\" meta mark set meta mark or 0x%x\n", f, table,
                   "translate", PROXY_BRIDGE_MARK);
    buf_printf(b, RULE "fib saddr type local %s " FRONTEND " vmap @shortcuts\n", f, table,
               "translate", f);
    if (pods.len > 0)
        buf_printf(b, RULE "%s saddr { " STR_FMT " } %s " FRONTEND " vmap @shortcuts\n", f, table,
                   "translate", f, STR_ARG(buf_str(&pods)), f);
    buf_printf(b, RULE "%s " FRONTEND " vmap @services\n", f, table, "translate", f);
}

static void write_base_chain(struct buf *b, const char *f, const char *table, const char *name,
                             const char *type, const char *hook, const char *priority)
{
    buf_printf(b, "add chain %s %s %s { type %s hook %s priority %s; policy accept; }\n", f, table,
               name, type, hook, priority);
}

static void write_filters(const struct family *family, const char *table, struct buf *b)
{
    const char *f = family->name;
    static const struct {
        const char *name, *hook, *priority, *rule;
    } hooks[] = {
        {"firewall-prerouting", "prerouting", "-110", "jump firewall"},
        {"firewall-output", "output", "-110", "jump firewall"},
        {"filter-input", "input", "-110", "jump unserved"},
        {"filter-forward", "forward", "-110", "jump unserved"},
        /* Behind the translation, at -100: what has been translated has an endpoint. */
        {"filter-output", "output", "-90", "jump unserved"},
    };
    buf_printf(b, "add chain %s %s firewall\nadd chain %s %s unserved\n", f, table, f, table);
    buf_printf(b, RULE "%s " FRONTEND " @restricted %s " FRONTEND " . %s saddr != @allowed drop\n",
               f, table, "firewall", f, f, f);
    buf_printf(b, RULE "%s " FRONTEND " @refused reject\n", f, table, "unserved", f);
    buf_printf(b, RULE "%s " FRONTEND " @dropped drop\n", f, table, "unserved", f);
    buf_printf(b, RULE "%s daddr @cluster-ips reject\n", f, table, "unserved", f);
    for (size_t i = 0; i < ARRAY_SIZE(hooks); i++) {
        write_base_chain(b, f, table, hooks[i].name, "filter", hooks[i].hook, hooks[i].priority);
        buf_printf(b, RULE "ct state new %s\n", f, table, hooks[i].name, hooks[i].rule);
    }
}

/* Who was led where, seen behind the translation and before the source is changed. */
static void write_learning(const struct family *family, const char *table, struct buf *b)
{
    const char *f = family->name;
    buf_printf(b, "add chain %s %s learn\n", f, table);
    for (size_t i = 0; i < ARRAY_SIZE(protocols); i++)
        buf_printf(b,
                   RULE "meta l4proto %s ct original %s daddr . meta l4proto . ct original "
                        "proto-dst vmap @sticky\n",
                   f, table, "learn", protocols[i], f);
    write_base_chain(b, f, table, "learn-postrouting", "filter", "postrouting", "srcnat - 1");
    write_base_chain(b, f, table, "learn-input", "filter", "input", "-109");
    buf_printf(b, RULE "ct state new ct status dnat jump learn\n", f, table, "learn-postrouting");
    buf_printf(b, RULE "ct state new ct status dnat jump learn\n", f, table, "learn-input");
}

static void write_family(const struct proxy_table_config *c, enum proxy_family v, const char *table,
                         struct buf *b)
{
    const struct family *family = &families[v];
    const char *f = family->name;
    buf_printf(b, "add table %s %s\n", f, table);
    write_sets(b, family, table);
    write_remembered(b, family, table);
    for (size_t i = 1; i <= PROXY_COUNT_READY; i++)
        write_count(b, family, table, i);
    buf_printf(b, "add chain %s %s translate\n", f, table);
    write_translation(c, v, table, b);
    write_filters(family, table, b);
    write_learning(family, table, b);
    write_base_chain(b, f, table, "postrouting", "nat", "postrouting", "srcnat");
    buf_printf(b,
               RULE "meta mark & 0x%x == 0x%x meta mark set meta mark xor 0x%x masquerade "
                    "fully-random\n",
               f, table, "postrouting", PROXY_MARK, PROXY_MARK, PROXY_MARK);
    if (c->masquerade_bridge)
        buf_printf(b,
                   RULE "meta mark & 0x%x == 0x%x ct status dnat oifname \"cni*\" masquerade "
                        "fully-random\n",
                   f, table, "postrouting", PROXY_BRIDGE_MARK, PROXY_BRIDGE_MARK);
    buf_printf(b, RULE "ct status dnat %s saddr . %s daddr @hairpin masquerade fully-random\n", f,
               table, "postrouting", f, f);
    write_base_chain(b, f, table, "prerouting", "nat", "prerouting", "dstnat");
    write_base_chain(b, f, table, "output", "nat", "output", "-100");
    buf_printf(b, RULE "jump translate\n", f, table, "prerouting");
    buf_printf(b, RULE "jump translate\n", f, table, "output");
}

static void write_all(const struct proxy_table_config *c, const char *table, struct buf *out)
{
    for (enum proxy_family v = 0; v < PROXY_FAMILY_COUNT; v++)
        write_family(c, v, table, out);
}

void proxy_table_write(const struct proxy_table_config *c, struct buf *out,
                       char ret_name[PROXY_TABLE_NAME_MAX])
{
    static const uint64_t seed[2] = {0x736572766963u, 0x7461626c65u};
    AUTO_BUF text = BUF_INIT;
    write_all(c, "x", &text);
    snprintf(ret_name, PROXY_TABLE_NAME_MAX, PROXY_TABLE_PREFIX "%08x",
             (unsigned)base_siphash(seed, text.data, text.len));
    write_all(c, ret_name, out);
}
