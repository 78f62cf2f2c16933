/* nodeipam.c - gives every node a range of pod addresses of its own, of each family.
 *
 * Ranges are slices of --cluster-cidr. Which are taken is read from the nodes
 * themselves, so nothing can be lost or handed out twice: a slice given to a
 * node whose update is not yet in the cache is remembered until it is. */
#include "controllers/controller.h"
#include "controllers/node_slices.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/log.h"
#include "lib/base/map.h"

struct ipam {
    struct node_slices families[2];
    unsigned count;   /* 0: nodes get nothing. */
    struct map given; /* Slice text -> this, until a node in the cache shows it. */
    /* Node -> struct gift that was sent. Until the node shows what it has, or is gone, the outcome
     * may be unknown: it is offered the same again, and no other. */
    struct map sent;
    /* Slices in use are marked. What comes is added; when something went, it is read anew. */
    bool stale;
};

/* What one node is to have. */
struct gift {
    char *cidrs[2];
    unsigned count;
};

static void gift_free(struct gift *g)
{
    for (unsigned i = 0; g != NULL && i < g->count; i++)
        free(g->cidrs[i]);
    free(g);
}

static const struct api_kind *node_kind(void)
{
    return api_kind_by_gvk(STR(""), STR("v1"), STR("Node"));
}

static void mark(struct ipam *s, struct str cidr)
{
    for (unsigned i = 0; i < s->count; i++)
        node_slices_mark(&s->families[i], cidr);
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
    struct error err = {0};
    r->state = s;
    map_init(&s->given);
    map_init(&s->sent);
    const struct manager_options *o = controller_options();
    if (!o->allocate_node_cidrs)
        return;
    if (node_slices_parse(o, s->families, &s->count, &err) != 0) {
        log_error("%s: nodes get no ranges", error_message(&err));
        s->count = 0;
    }
}

static void done(struct controller_run *r)
{
    struct ipam *s = r->state;
    size_t pos = 0;
    void *g;
    while (map_next(&s->sent, &pos, NULL, &g))
        gift_free(g);
    map_done(&s->sent);
    map_done(&s->given);
    for (unsigned i = 0; i < s->count; i++)
        node_slices_done(&s->families[i]);
    free(s);
}

/* The node has what it has, and will not come to have more of what was sent to it. */
static void settle(struct ipam *s, struct str node)
{
    struct gift *g = map_remove(&s->sent, node);
    for (unsigned i = 0; g != NULL && i < g->count; i++)
        if (map_remove(&s->given, str_of(g->cidrs[i])) != NULL)
            s->stale = true; /* It is free, unless a node shows it. */
    gift_free(g);
}

static void touch(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    struct ipam *s = r->state;
    const struct core_v1_node *before = old != NULL ? old->msg : NULL;
    const struct core_v1_node *n = o != NULL ? o->msg : NULL;
    if (before != NULL && !str_empty(before->spec.pod_cidr) &&
        (n == NULL || !str_eq(before->spec.pod_cidr, n->spec.pod_cidr)))
        s->stale = true;
    if (n == NULL) {
        settle(s, api_object_meta(old)->name);
        return;
    }
    mark_node(s, n);
    if (str_empty(n->spec.pod_cidr)) {
        controller_enqueue_object(r, o);
        return;
    }
    for (size_t i = 0; i < n->spec.pod_cidrs_count; i++)
        map_remove(&s->given, n->spec.pod_cidrs[i]);
    settle(s, n->metadata.name);
}

static void read_anew(struct controller_run *r, struct ipam *s)
{
    const struct informer *nodes = controller_informer(r, "", "Node");
    struct str cidr;
    size_t pos = 0;
    for (unsigned i = 0; i < s->count; i++)
        node_slices_clear(&s->families[i]);
    for (struct api_object *o; (o = informer_next(nodes, &pos)) != NULL;)
        mark_node(s, o->msg);
    pos = 0;
    while (map_next(&s->given, &pos, &cidr, NULL))
        mark(s, cidr);
    s->stale = false;
}

/* A free slice of each family, taken; NULL: there is none of one of them. */
static struct gift *find_free(struct reconcile *c, struct ipam *s)
{
    struct str cidrs[2];
    if (s->stale)
        read_anew(c->run, s);
    for (unsigned i = 0; i < s->count; i++)
        if (!node_slices_free(&s->families[i], c->arena, &cidrs[i]))
            return NULL;
    struct gift *g = xzalloc(sizeof(*g));
    for (; g->count < s->count; g->count++) {
        g->cidrs[g->count] = xstrndup(cidrs[g->count].data, cidrs[g->count].len);
        map_set(&s->given, cidrs[g->count], s);
        mark(s, cidrs[g->count]);
    }
    map_set(&s->sent, c->name, g);
    return g;
}

static void on_patched(struct reconcile *c, const struct client_result *result, void *arg)
{
    UNUSED(arg);
    if (result->code == 0)
        return;
    if (result->code != E_UNKNOWN_OUTCOME && result->code != E_TIMEOUT)
        settle(c->run->state, c->name);
    log_warning("pod range of node " STR_FMT ": %s", STR_ARG(c->name), result->message);
    reconcile_fail(c);
}

/* For this node alone: another of its name is given its own. */
static struct str patch_of(struct arena *a, const struct core_v1_node *n, const struct gift *g)
{
    AUTO_BUF b = BUF_INIT;
    buf_printf(&b, "{\"metadata\":{\"uid\":\"" STR_FMT "\"},", STR_ARG(n->metadata.uid));
    buf_printf(&b, "\"spec\":{\"podCIDR\":\"%s\",\"podCIDRs\":[", g->cidrs[0]);
    for (unsigned i = 0; i < g->count; i++)
        buf_printf(&b, "%s\"%s\"", i != 0 ? "," : "", g->cidrs[i]);
    buf_puts(&b, "]}}");
    return arena_str(a, buf_str(&b));
}

static void reconcile(struct reconcile *c)
{
    struct ipam *s = c->run->state;
    struct api_object *o = informer_get_key(controller_informer(c->run, "", "Node"), c->key);
    if (o == NULL || s->count == 0)
        return;
    const struct core_v1_node *n = o->msg;
    if (!str_empty(n->spec.pod_cidr) || n->metadata.deletion_timestamp != NULL)
        return;
    struct gift *g = map_get(&s->sent, c->name);
    if (g == NULL)
        g = find_free(c, s);
    if (g == NULL) {
        struct event_object about = event_object_of(o);
        event_record(c->run->recorder, &about, EVENT_NORMAL, "CIDRNotAvailable",
                     "Node " STR_FMT " status is now: CIDRNotAvailable", STR_ARG(c->name));
        reconcile_fail(c);
        return;
    }
    reconcile_call(c,
                   &(struct client_call){.verb = CLIENT_PATCH,
                                         .kind = node_kind(),
                                         .name = c->name,
                                         .patch_type = CLIENT_PATCH_STRATEGIC,
                                         .raw_body = patch_of(c->arena, n, g)},
                   on_patched, NULL);
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
