/* nodeipam.c - gives every node a range of pod addresses of its own.
 *
 * Ranges are slices of --cluster-cidr. Which are taken is read from the nodes
 * themselves, so nothing can be lost or handed out twice: a slice given to a
 * node whose update is not yet in the cache is remembered until it is. */
#include "controllers/controller.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"

#include <arpa/inet.h>

#define SLICES_MAX (1u << 20)

struct ipam {
    uint32_t base;    /* Host order. */
    uint32_t count;   /* Slices. */
    unsigned bits;    /* Host bits of a slice. */
    struct map given; /* Slice text -> this, until a node in the cache shows it. */
    /* A bit for each slice. What comes is added; when something went, it is read anew. */
    uint8_t *used;
    uint32_t first_free; /* None before it. */
    bool stale;
};

static const struct api_kind *node_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Node"));
}

static bool parse_cidr(struct str s, uint32_t *ret_base, unsigned *ret_prefix)
{
    struct str net, prefix;
    uint64_t bits = 0;
    struct in_addr in;
    char text[64];
    if (!str_cut(s, '/', &net, &prefix) || !str_to_u64(prefix, &bits) || bits > 32 ||
        net.len >= sizeof(text))
        return false;
    memcpy(text, net.data, net.len);
    text[net.len] = '\0';
    if (inet_pton(AF_INET, text, &in) != 1)
        return false;
    *ret_base = ntohl(in.s_addr);
    *ret_prefix = (unsigned)bits;
    return true;
}

/* Marks the slices in use, whatever their size. */
static void mark(struct ipam *s, struct str cidr)
{
    uint32_t base = 0;
    unsigned prefix = 0;
    if (!parse_cidr(cidr, &base, &prefix) || prefix == 0)
        return;
    uint64_t first = base, last = first + ((uint64_t)1 << (32 - prefix)) - 1;
    uint64_t low = s->base, high = low + ((uint64_t)s->count << s->bits) - 1;
    if (last < low || first > high)
        return;
    uint64_t from = (MAX_OF(first, low) - low) >> s->bits,
             to = (MIN_OF(last, high) - low) >> s->bits;
    for (uint64_t i = from; i <= to; i++)
        s->used[i / 8] = (uint8_t)(s->used[i / 8] | 1u << (i % 8));
}

static void mark_node(struct ipam *s, const struct core_v1_node *n)
{
    mark(s, n->spec.pod_cidr);
    for (size_t i = 0; i < n->spec.pod_cidrs_count; i++)
        mark(s, n->spec.pod_cidrs[i]);
}

static void init(struct controller_run *r)
{
    struct ipam *s = xzalloc(sizeof(*s));
    r->state = s;
    map_init(&s->given);
    const struct manager_options *o = controller_options();
    unsigned prefix = 0;
    unsigned mask = (unsigned)o->node_cidr_mask;
    if (!o->allocate_node_cidrs)
        return;
    if (!parse_cidr(str_of(o->cluster_cidr), &s->base, &prefix) || prefix > mask) {
        log_error("--cluster-cidr %s cannot be cut into ranges of /%u: nodes get none",
                  o->cluster_cidr, mask);
        return;
    }
    s->bits = 32 - mask;
    s->count = mask - prefix >= 20 ? SLICES_MAX : 1u << (mask - prefix);
    s->base &= prefix == 0 ? 0 : ~(uint32_t)0 << (32 - prefix);
    s->used = xzalloc(s->count / 8 + 1);
}

static void done(struct controller_run *r)
{
    struct ipam *s = r->state;
    map_done(&s->given);
    free(s->used);
    free(s);
}

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    struct ipam *s = r->state;
    const struct core_v1_node *before = old != NULL ? old->msg : NULL;
    const struct core_v1_node *n = o != NULL ? o->msg : NULL;
    if (before != NULL && !str_empty(before->spec.pod_cidr) &&
        (n == NULL || !str_eq(before->spec.pod_cidr, n->spec.pod_cidr)))
        s->stale = true;
    if (n == NULL)
        return;
    if (s->used != NULL)
        mark_node(s, n);
    if (str_empty(n->spec.pod_cidr))
        controller_enqueue_object(r, o);
    else
        map_remove(&s->given, n->spec.pod_cidr);
}

static struct str slice_text(struct arena *a, const struct ipam *s, uint32_t index)
{
    struct in_addr in = {htonl(s->base + (index << s->bits))};
    char text[INET_ADDRSTRLEN] = "";
    inet_ntop(AF_INET, &in, text, sizeof(text));
    return arena_printf(a, "%s/%u", text, 32 - s->bits);
}

static void read_anew(struct controller_run *r, struct ipam *s)
{
    const struct informer *nodes = controller_informer(r, "", "Node");
    struct str cidr;
    size_t pos = 0;
    memset(s->used, 0, s->count / 8 + 1);
    for (struct api_object *o; (o = informer_next(nodes, &pos)) != NULL;)
        mark_node(s, o->msg);
    pos = 0;
    while (map_next(&s->given, &pos, &cidr, NULL))
        mark(s, cidr);
    s->first_free = 0;
    s->stale = false;
}

static bool find_free(struct controller_run *r, struct ipam *s, uint32_t *ret)
{
    if (s->stale)
        read_anew(r, s);
    while (s->first_free < s->count && (s->used[s->first_free / 8] >> (s->first_free % 8) & 1) != 0)
        s->first_free++;
    *ret = s->first_free;
    return s->first_free < s->count;
}

static void on_patched(struct reconcile *c, const struct client_result *result, void *arg)
{
    struct ipam *s = c->run->state;
    const struct str *cidr = arg;
    if (result->code == 0)
        return;
    if (result->code != E_UNKNOWN_OUTCOME) {
        map_remove(&s->given, *cidr);
        s->stale = true;
    }
    log_warning("pod range of node " STR_FMT ": %s", STR_ARG(c->name), result->message);
    reconcile_fail(c);
}

static void reconcile(struct reconcile *c)
{
    struct ipam *s = c->run->state;
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Node"), c->key);
    if (o == NULL || s->count == 0)
        return;
    const struct core_v1_node *n = o->msg;
    uint32_t index = 0;
    if (!str_empty(n->spec.pod_cidr) || n->metadata.deletion_timestamp != NULL)
        return;
    if (!find_free(c->run, s, &index)) {
        struct event_object about = event_object_of(o);
        event_record(c->run->recorder, &about, EVENT_NORMAL, "CIDRNotAvailable",
                     "Node " STR_FMT " status is now: CIDRNotAvailable", STR_ARG(c->name));
        reconcile_fail(c);
        return;
    }
    struct str *cidr = ARENA_NEW(c->arena, struct str);
    *cidr = slice_text(c->arena, s, index);
    map_set(&s->given, *cidr, s);
    mark(s, *cidr);
    struct str patch = arena_printf(
        c->arena, "{\"spec\":{\"podCIDR\":\"" STR_FMT "\",\"podCIDRs\":[\"" STR_FMT "\"]}}",
        STR_ARG(*cidr), STR_ARG(*cidr));
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = node_kind(),
                                         .name = c->name,
                                         .patch_type = CLIENT_PATCH_STRATEGIC,
                                         .raw_body = patch},
                   on_patched, cidr);
}

static const struct controller_watch watches[] = {
    {"", "v1", "Node", touch},
    {0},
};

/* One worker: two nodes must not be given the same slice. */
const struct controller controller_nodeipam = {
    .name = "node-ipam-controller",
    .workers = 1,
    .watches = watches,
    .init = init,
    .done = done,
    .reconcile = reconcile,
};
