/* cel_net.c - addresses and networks as values. */
#include "lib/api/cel/cel_net.h"

#include "lib/api/cel/cel_table.h"
#include "lib/base/buf.h"

#include <arpa/inet.h>
#include <stdio.h>

/* As Kubernetes takes them: no zones, no IPv4 in IPv6, no leading zeros. */
static bool parse_ip(struct str s, struct cel_net *ret)
{
    char text[64];
    if (s.len == 0 || s.len >= sizeof(text) || memchr(s.data, '\0', s.len) != NULL)
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    *ret = (struct cel_net){.v6 = strchr(text, ':') != NULL};
    ret->prefix = ret->v6 ? 128 : 32;
    if (inet_pton(ret->v6 ? AF_INET6 : AF_INET, text, ret->bytes) != 1)
        return false;
    static const uint8_t mapped[12] = {[10] = 0xff, [11] = 0xff};
    return !ret->v6 ||
           (memcmp(ret->bytes, mapped, sizeof(mapped)) != 0 && strchr(text, '.') == NULL);
}

static bool parse_cidr(struct str s, struct cel_net *ret)
{
    struct str ip, bits;
    uint64_t n;
    if (!str_cut(s, '/', &ip, &bits) || !parse_ip(ip, ret) || !str_to_u64(bits, &n) ||
        n > ret->prefix || (bits.len > 1 && bits.data[0] == '0') || bits.data[0] == '+')
        return false;
    ret->prefix = (uint8_t)n;
    return true;
}

static size_t ip_text(const struct cel_net *n, char ret[64])
{
    inet_ntop(n->v6 ? AF_INET6 : AF_INET, n->bytes, ret, 64);
    return strlen(ret);
}

void cel_net_text(const struct cel_value *v, struct buf *out)
{
    char text[64];
    const struct cel_net *n = v->opaque;
    buf_append(out, text, ip_text(n, text));
    if (v->kind == CEL_CIDR)
        buf_printf(out, "/%u", n->prefix);
}

static V make(C *c, enum cel_kind kind, const struct cel_net *n)
{
    return (V){.kind = kind, .opaque = arena_memdup(c->arena, n, sizeof(*n))};
}

static V ip_of(C *c, const V *a)
{
    struct cel_net n;
    cel_charge_bytes(c, a[0].string.len);
    if (!parse_ip(a[0].string, &n))
        return cel_error(c->arena,
                         "IP Address \"" STR_FMT "\" parse error during conversion from string",
                         STR_ARG(a[0].string));
    return make(c, CEL_IP, &n);
}

static V cidr_of(C *c, const V *a)
{
    struct cel_net n;
    cel_charge_bytes(c, a[0].string.len);
    if (!parse_cidr(a[0].string, &n))
        return cel_error(
            c->arena, "network address parse error during conversion from string: \"" STR_FMT "\"",
            STR_ARG(a[0].string));
    return make(c, CEL_CIDR, &n);
}

static V is_ip(C *c, const V *a)
{
    struct cel_net n;
    cel_charge_bytes(c, a[0].string.len);
    return cel_of_bool(parse_ip(a[0].string, &n));
}

static V is_cidr(C *c, const V *a)
{
    struct cel_net n;
    cel_charge_bytes(c, a[0].string.len);
    return cel_of_bool(parse_cidr(a[0].string, &n));
}

static V is_canonical(C *c, const V *a)
{
    struct cel_net n;
    char text[64];
    if (!parse_ip(a[0].string, &n))
        return cel_error(c->arena,
                         "IP Address \"" STR_FMT "\" parse error during conversion from string",
                         STR_ARG(a[0].string));
    return cel_of_bool(str_eq(str_n(text, ip_text(&n, text)), a[0].string));
}

static V family(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_int(((const struct cel_net *)a[0].opaque)->v6 ? 6 : 4);
}

/* --- what an address is ------------------------------------------------------------------------
 */
static bool all_zero(const uint8_t *p, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (p[i] != 0)
            return false;
    return true;
}

static bool is_loopback(const struct cel_net *n)
{
    return n->v6 ? all_zero(n->bytes, 15) && n->bytes[15] == 1 : n->bytes[0] == 127;
}

static bool is_link_local(const struct cel_net *n)
{
    return n->v6 ? n->bytes[0] == 0xfe && (n->bytes[1] & 0xc0) == 0x80
                 : n->bytes[0] == 169 && n->bytes[1] == 254;
}

static bool is_link_multicast(const struct cel_net *n)
{
    return n->v6 ? n->bytes[0] == 0xff && (n->bytes[1] & 0x0f) == 2
                 : n->bytes[0] == 224 && n->bytes[1] == 0 && n->bytes[2] == 0;
}

static bool is_global(const struct cel_net *n)
{
    static const uint8_t broadcast[4] = {255, 255, 255, 255};
    bool multicast = n->v6 ? n->bytes[0] == 0xff : (n->bytes[0] & 0xf0) == 0xe0;
    return !multicast && !is_loopback(n) && !is_link_local(n) &&
           !all_zero(n->bytes, n->v6 ? 16 : 4) && (n->v6 || memcmp(n->bytes, broadcast, 4) != 0);
}

static V property(C *c, const V *a)
{
    const struct cel_net *n = a[0].opaque;
    const char *f = c->function->name + 2;
    bool r = strcmp(f, "Unspecified") == 0          ? all_zero(n->bytes, n->v6 ? 16 : 4)
             : strcmp(f, "Loopback") == 0           ? is_loopback(n)
             : strcmp(f, "LinkLocalMulticast") == 0 ? is_link_multicast(n)
             : strcmp(f, "LinkLocalUnicast") == 0   ? is_link_local(n)
                                                    : is_global(n);
    return cel_of_bool(r);
}

/* --- networks
 * ---------------------------------------------------------------------------------------- */
static void mask(struct cel_net *n)
{
    for (unsigned bit = n->prefix; bit < (n->v6 ? 128u : 32u); bit++)
        n->bytes[bit / 8] = (uint8_t)(n->bytes[bit / 8] & ~(0x80u >> bit % 8));
}

static bool within(const struct cel_net *net, struct cel_net inner)
{
    struct cel_net outer = *net;
    if (inner.v6 != net->v6 || inner.prefix < net->prefix)
        return false;
    inner.prefix = net->prefix;
    mask(&inner);
    mask(&outer);
    return memcmp(inner.bytes, outer.bytes, 16) == 0;
}

static V contains(C *c, const V *a)
{
    struct cel_net n;
    if (a[1].kind != CEL_STRING) {
        n = *(const struct cel_net *)a[1].opaque;
    } else if (c->function->name[8] == 'I' && !parse_ip(a[1].string, &n)) {
        return cel_error(c->arena,
                         "IP Address \"" STR_FMT "\" parse error during conversion from string",
                         STR_ARG(a[1].string));
    } else if (c->function->name[8] == 'C' && !parse_cidr(a[1].string, &n)) {
        return cel_error(
            c->arena, "network address parse error during conversion from string: \"" STR_FMT "\"",
            STR_ARG(a[1].string));
    }
    return cel_of_bool(within(a[0].opaque, n));
}

static V net_ip(C *c, const V *a)
{
    struct cel_net n = *(const struct cel_net *)a[0].opaque;
    n.prefix = n.v6 ? 128 : 32;
    return make(c, CEL_IP, &n);
}

static V masked(C *c, const V *a)
{
    struct cel_net n = *(const struct cel_net *)a[0].opaque;
    mask(&n);
    return make(c, CEL_CIDR, &n);
}

static V prefix_length(C *c, const V *a)
{
    UNUSED(c);
    return cel_of_int(((const struct cel_net *)a[0].opaque)->prefix);
}

#define S &cel_string
#define IP &cel_ip
#define NET &cel_cidr
#define B &cel_bool

const struct cel_function cel_functions_net[] = {
    G("ip", 1, IP, ip_of, S),
    G("isIP", 1, B, is_ip, S),
    G("ip.isCanonical", 1, B, is_canonical, S),
    M("family", 1, &cel_int, family, IP),
    M("isUnspecified", 1, B, property, IP),
    M("isLoopback", 1, B, property, IP),
    M("isLinkLocalMulticast", 1, B, property, IP),
    M("isLinkLocalUnicast", 1, B, property, IP),
    M("isGlobalUnicast", 1, B, property, IP),
    G("cidr", 1, NET, cidr_of, S),
    G("isCIDR", 1, B, is_cidr, S),
    M("containsIP", 2, B, contains, NET, S),
    M("containsIP", 2, B, contains, NET, IP),
    M("containsCIDR", 2, B, contains, NET, S),
    M("containsCIDR", 2, B, contains, NET, NET),
    M("ip", 1, IP, net_ip, NET),
    M("masked", 1, NET, masked, NET),
    M("prefixLength", 1, &cel_int, prefix_length, NET),
    {NULL},
};
