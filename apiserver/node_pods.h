/* node_pods.h - the pods of one node at one revision, found without a look at all others: when
 * thousands of nodes come back at once each asks for its own.
 *
 * The index is the one that the Node authorizer's decisions rest on (node_graph.h). It follows the
 * store, and says of which revision it is: names are taken from it together with that revision,
 * objects from a view at it. */
#ifndef APISERVER_NODE_PODS_H
#define APISERVER_NODE_PODS_H

#include "lib/base/str.h"

struct arena;
struct kv;
struct list_options;
struct req;
struct resource;
struct store_view;

struct node_pods {
    const struct kv **kvs; /* In the order of their keys; borrowed from the view. */
    size_t count;
    int64_t rev;
};

enum node_pods_found {
    NODE_PODS_FOUND,
    NODE_PODS_LATER,  /* again(arg) comes on the request's thread: ask once more. */
    NODE_PODS_UNKNOWN /* Now is not the time: look at all pods. */
};

/* The node whose pods alone these options select; empty: it is not so. Borrowed. */
struct str node_pods_selected(const struct resource *res, const struct list_options *o);

/* Its pods at min_rev or later, which is no later than the view: pass the newest one. They are
 * still to be judged by the options. The array goes to a. */
enum node_pods_found node_pods_find(struct req *r, struct arena *a, const struct store_view *v,
                                    struct str node, int64_t min_rev, void (*again)(void *arg),
                                    void *arg, struct node_pods *ret);

#endif
