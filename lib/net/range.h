/* range.h - addresses and ranges of addresses of both families. Pure.
 *
 * An address is a range of one: 32 or 128 bits of prefix. */
#ifndef NET_RANGE_H
#define NET_RANGE_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stdint.h>

#define NET_RANGE_TEXT_MAX 64

struct net_range {
    uint8_t addr[16]; /* IPv4 in the first four; bits behind the prefix are nought. */
    unsigned prefix;
    bool v6;
};

/* "10.0.0.1", "fd00::1". */
bool net_range_parse_address(struct str s, struct net_range *ret);
/* "10.0.0.0/8", "fd00::/64"; what stands behind the prefix is dropped. */
bool net_range_parse(struct str s, struct net_range *ret);
/* "a" or "a,b" of different families, as flags have them. 0: they are not. */
unsigned net_range_parse_pair(struct str s, struct net_range ret[2]);

bool net_range_equal(const struct net_range *x, const struct net_range *y);
/* Is y within x? */
bool net_range_contains(const struct net_range *x, const struct net_range *y);

/* The index-th of the ranges of that prefix, not shorter than its own, that r consists of. */
struct net_range net_range_nth(const struct net_range *r, unsigned prefix, uint64_t index);
/* Which of those y overlaps, both inclusive. False: none. Only the lower 63 bits of indexes count:
 * prefix - r->prefix must not be more. */
bool net_range_overlap(const struct net_range *r, unsigned prefix, const struct net_range *y,
                       uint64_t *ret_first, uint64_t *ret_last);

/* With "/prefix", and without it. */
void net_range_text(const struct net_range *r, char ret[NET_RANGE_TEXT_MAX]);
void net_range_address_text(const struct net_range *r, char ret[NET_RANGE_TEXT_MAX]);

#endif
