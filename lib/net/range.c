/* range.c - see range.h. */
#include "lib/net/range.h"

#include "lib/base/base.h"

#include <arpa/inet.h>
#include <stdio.h>
#include <string.h>

static unsigned full(bool v6)
{
    return v6 ? 128 : 32;
}

static bool bit(const uint8_t addr[16], unsigned at)
{
    return (addr[at / 8] >> (7 - at % 8)) & 1;
}

static void set_bit(uint8_t addr[16], unsigned at, bool on)
{
    uint8_t mask = (uint8_t)(0x80u >> (at % 8));
    addr[at / 8] = (uint8_t)(on ? addr[at / 8] | mask : addr[at / 8] & ~mask);
}

/* Do the first n bits agree? */
static bool same_bits(const uint8_t x[16], const uint8_t y[16], unsigned n)
{
    unsigned rest = n % 8;
    if (memcmp(x, y, n / 8) != 0)
        return false;
    return rest == 0 || ((x[n / 8] ^ y[n / 8]) >> (8 - rest)) == 0;
}

bool net_range_parse_address(struct str s, struct net_range *ret)
{
    char text[INET6_ADDRSTRLEN];
    *ret = (struct net_range){.v6 = str_find(s, ':', 0) >= 0};
    if (s.len >= sizeof(text))
        return false;
    memcpy(text, s.data, s.len);
    text[s.len] = '\0';
    ret->prefix = full(ret->v6);
    return inet_pton(ret->v6 ? AF_INET6 : AF_INET, text, ret->addr) == 1;
}

bool net_range_parse(struct str s, struct net_range *ret)
{
    struct str address, bits;
    uint64_t prefix;
    if (!str_cut(s, '/', &address, &bits) || !net_range_parse_address(address, ret) ||
        !str_to_u64(bits, &prefix) || prefix > ret->prefix)
        return false;
    for (unsigned i = (unsigned)prefix; i < ret->prefix; i++)
        set_bit(ret->addr, i, false);
    ret->prefix = (unsigned)prefix;
    return true;
}

unsigned net_range_parse_pair(struct str s, struct net_range ret[2])
{
    struct str first, second;
    bool two = str_cut(s, ',', &first, &second);
    if (!net_range_parse(str_trim(two ? first : s), &ret[0]))
        return 0;
    if (!two)
        return 1;
    return net_range_parse(str_trim(second), &ret[1]) && ret[0].v6 != ret[1].v6 ? 2 : 0;
}

bool net_range_equal(const struct net_range *x, const struct net_range *y)
{
    return x->v6 == y->v6 && x->prefix == y->prefix && memcmp(x->addr, y->addr, 16) == 0;
}

bool net_range_contains(const struct net_range *x, const struct net_range *y)
{
    return x->v6 == y->v6 && x->prefix <= y->prefix && same_bits(x->addr, y->addr, x->prefix);
}

struct net_range net_range_nth(const struct net_range *r, unsigned prefix, uint64_t index)
{
    struct net_range n = *r;
    ASSERT(prefix >= r->prefix && prefix <= full(r->v6));
    for (unsigned i = prefix; i-- > r->prefix; index >>= 1)
        set_bit(n.addr, i, index & 1);
    n.prefix = prefix;
    return n;
}

bool net_range_overlap(const struct net_range *r, unsigned prefix, const struct net_range *y,
                       uint64_t *ret_first, uint64_t *ret_last)
{
    uint64_t first = 0, last = 0;
    if (r->v6 != y->v6 || !same_bits(r->addr, y->addr, MIN_OF(r->prefix, y->prefix)))
        return false;
    for (unsigned i = r->prefix; i < prefix; i++) {
        bool known = i < y->prefix;
        first = first << 1 | (known && bit(y->addr, i));
        last = last << 1 | (!known || bit(y->addr, i));
    }
    *ret_first = first;
    *ret_last = last;
    return true;
}

void net_range_address_text(const struct net_range *r, char ret[NET_RANGE_TEXT_MAX])
{
    if (inet_ntop(r->v6 ? AF_INET6 : AF_INET, r->addr, ret, NET_RANGE_TEXT_MAX) == NULL)
        ret[0] = '\0';
}

void net_range_text(const struct net_range *r, char ret[NET_RANGE_TEXT_MAX])
{
    net_range_address_text(r, ret);
    size_t n = strlen(ret);
    snprintf(ret + n, NET_RANGE_TEXT_MAX - n, "/%u", r->prefix);
}
