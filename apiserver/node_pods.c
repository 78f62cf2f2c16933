/* node_pods.c - see node_pods.h. */
#include "apiserver/node_pods.h"

#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/authz_feed.h"
#include "apiserver/list_options.h"
#include "apiserver/node_graph.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "raftstore/store.h"

struct names {
    struct arena *arena;
    struct str prefix;
    struct str *keys;
    size_t count;
};

struct str node_pods_selected(const struct resource *res, const struct list_options *o)
{
    if (strcmp(res->kind->resource, "pods") != 0 || res->kind->group[0] != '\0')
        return STR_NULL;
    for (size_t i = 0; i < o->fields.count; i++)
        if (str_eqc(o->fields.items[i].field, "spec.nodeName") && !o->fields.items[i].negated)
            return o->fields.items[i].value; /* Empty: the index has none of those. */
    return STR_NULL;
}

static void add_name(struct str pod, void *arg)
{
    struct names *n = arg;
    n->keys[n->count++] = arena_printf(n->arena, STR_FMT STR_FMT, STR_ARG(n->prefix), STR_ARG(pod));
}

static int compare(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

/* The revision that the names are those of; 0: of none in particular. What the feed has passed is
 * in, and of what comes behind that pods_rev is the newest change of a pod. */
static int64_t take_names(struct req *r, struct str node, struct names *n)
{
    struct authz *z = r->server->authz;
    const struct authz_index *x = authz_lock(z);
    int64_t rev = MAX_OF(x->pods_rev, authz_feed_rev(r->server->authz_feed));
    n->count = 0;
    if (x->pods_partial || x->pods_lack) {
        rev = 0;
    } else {
        n->keys = ARENA_ARRAY(n->arena, struct str, node_graph_pod_count(x->graph, node) + 1);
        node_graph_visit_pods(x->graph, node, add_name, n);
    }
    authz_unlock(z);
    return rev;
}

enum node_pods_found node_pods_find(struct req *r, struct arena *a, const struct store_view *v,
                                    struct str node, int64_t min_rev, void (*again)(void *arg),
                                    void *arg, struct node_pods *ret)
{
    struct names n = {.arena = a, .prefix = r->res->prefix};
    struct node_pods found = {.rev = take_names(r, node, &n)};
    if (found.rev != 0 && found.rev < min_rev) {
        if (authz_feed_wait(r->server->authz_feed, r->arena, &r->thread->mailbox, again, arg))
            return NODE_PODS_LATER;
        found.rev = take_names(r, node, &n); /* It came up with the store just now. */
    }
    if (found.rev < min_rev || found.rev > store_view_rev(v) || found.rev < store_view_compacted(v))
        return NODE_PODS_UNKNOWN;
    qsort(n.keys, n.count, sizeof(*n.keys), compare);
    found.kvs = ARENA_ARRAY(a, const struct kv *, n.count + 1);
    for (size_t i = 0; i < n.count; i++) {
        const struct kv *kv = store_view_get(v, n.keys[i], found.rev);
        if (kv == NULL)
            return NODE_PODS_UNKNOWN; /* The index is not what it should be. */
        found.kvs[found.count++] = kv;
    }
    *ret = found;
    return NODE_PODS_FOUND;
}
