/* spans.h - many ranges of addresses or ports as few that do not overlap, so
 * that a rule of a policy becomes few rules of nftables however much it lists.
 *
 * Pure. Lists live in the arena that they are given. */
#ifndef KUBELET_POLICY_SPANS_H
#define KUBELET_POLICY_SPANS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;

struct cidr {
    bool v6;
    unsigned bits;
    unsigned char bytes[16]; /* Host bits are 0. */
};

struct cidr_list {
    struct cidr *items;
    size_t count, cap;
};

/* "10.1.2.3/8"; false: it is none. */
bool cidr_parse(struct str s, struct cidr *ret);
struct str cidr_text(struct arena *a, const struct cidr *c); /* "10.0.0.0/8" */
void cidr_list_add(struct arena *a, struct cidr_list *l, const struct cidr *c);
/* Sorts, and drops what lies in another one: ranges of this kind contain each other or are apart.
 */
void cidr_list_reduce(struct cidr_list *l);

struct port_span {
    int first, last;
};

struct port_spans {
    struct port_span *items;
    size_t count, cap;
};

void port_spans_add(struct arena *a, struct port_spans *l, int first, int last);
/* "80", "80-90" or "{ 80, 90-95 }", sorted and joined; the list may not be empty. */
struct str port_spans_text(struct arena *a, struct port_spans *l);

#endif
