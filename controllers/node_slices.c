/* node_slices.c - see node_slices.h. */
#include "controllers/node_slices.h"

#include "controllers/controller.h"
#include "lib/base/arena.h"
#include "lib/base/base.h"
#include "lib/base/error.h"

#include <stdlib.h>
#include <string.h>

/* Upstream's defaults. */
#define PREFIX_V4 24
#define PREFIX_V6 64

/* The prefix of slices of one family: its own flag, or the one for both when there is one range. */
static int64_t prefix_of(const struct manager_options *o, bool v6, unsigned ranges,
                         const char **ret_flag)
{
    int64_t own = v6 ? o->node_cidr_mask_v6 : o->node_cidr_mask_v4;
    *ret_flag = v6 ? "--node-cidr-mask-size-ipv6" : "--node-cidr-mask-size-ipv4";
    if (own != 0)
        return own;
    if (ranges == 1 && o->node_cidr_mask != 0) {
        *ret_flag = "--node-cidr-mask-size";
        return o->node_cidr_mask;
    }
    return v6 ? PREFIX_V6 : PREFIX_V4;
}

static int cut(const struct manager_options *o, const struct net_range *range, unsigned ranges,
               struct node_slices *ret, struct error *err)
{
    const char *flag;
    int64_t prefix = prefix_of(o, range->v6, ranges, &flag);
    if (prefix < 8 || prefix > (range->v6 ? 126 : 30))
        return error_set(err, E_INVALID, "%s: %lld is not within 8 and %d", flag, (long long)prefix,
                         range->v6 ? 126 : 30);
    if ((unsigned)prefix < range->prefix)
        return error_set(
            err, E_INVALID,
            "--cluster-cidr %s: a range of /%u cannot be cut into ranges of /%lld (%s)",
            o->cluster_cidr, range->prefix, (long long)prefix, flag);
    unsigned bits = (unsigned)prefix - range->prefix;
    if (bits > 62)
        return error_set(err, E_INVALID,
                         "--cluster-cidr %s: a range of /%u is too large for %s=%lld",
                         o->cluster_cidr, range->prefix, flag, (long long)prefix);
    *ret = (struct node_slices){.range = *range,
                                .prefix = (unsigned)prefix,
                                .count = bits >= 20 ? NODE_SLICES_MAX : 1u << bits};
    ret->used = xzalloc(ret->count / 8 + 1);
    return 0;
}

int node_slices_parse(const struct manager_options *o, struct node_slices ret[2],
                      unsigned *ret_count, struct error *err)
{
    struct net_range ranges[2];
    unsigned n = net_range_parse_pair(str_of(o->cluster_cidr), ranges);
    if (n == 0)
        return error_set(
            err, E_INVALID,
            "--cluster-cidr: %s is neither a range nor two, with a comma, of different "
            "IP families",
            o->cluster_cidr);
    if (n == 2 && o->node_cidr_mask != 0)
        return error_set(err, E_INVALID,
                         "usage of --node-cidr-mask-size is not allowed with dual-stack clusters: "
                         "give --node-cidr-mask-size-ipv4 and --node-cidr-mask-size-ipv6");
    for (unsigned i = 0; i < n; i++) {
        int code = cut(o, &ranges[i], n, &ret[i], err);
        if (code != 0) {
            while (i-- > 0)
                node_slices_done(&ret[i]);
            return code;
        }
    }
    *ret_count = n;
    return 0;
}

void node_slices_done(struct node_slices *s)
{
    free(s->used);
    s->used = NULL;
}

void node_slices_mark(struct node_slices *s, struct str cidr)
{
    struct net_range r;
    uint64_t first, last;
    if (!net_range_parse(cidr, &r) || r.prefix == 0 ||
        !net_range_overlap(&s->range, s->prefix, &r, &first, &last))
        return;
    for (uint64_t i = first; i <= last && i < s->count; i++)
        s->used[i / 8] = (uint8_t)(s->used[i / 8] | 1u << (i % 8));
}

void node_slices_clear(struct node_slices *s)
{
    memset(s->used, 0, s->count / 8 + 1);
    s->first_free = 0;
}

bool node_slices_free(struct node_slices *s, struct arena *a, struct str *ret)
{
    char text[NET_RANGE_TEXT_MAX];
    while (s->first_free < s->count && (s->used[s->first_free / 8] >> (s->first_free % 8) & 1) != 0)
        s->first_free++;
    if (s->first_free >= s->count)
        return false;
    struct net_range slice = net_range_nth(&s->range, s->prefix, s->first_free);
    net_range_text(&slice, text);
    *ret = arena_strc(a, text);
    return true;
}
