/* node_graph.h - which objects a node has to do with, through the pods bound
 * to it: what the Node authorizer asks.
 *
 *   pod, secret, configmap, claim, account, resource claim  -> node
 *   volume -> claim -> node       secret -> volume -> claim -> node
 *   volume attachment, resource slice, request for a pod's certificate -> node
 *
 * Each relation is one counted 64-bit keyed hash, so a question costs one look. The pods of a
 * node stand in a list of their own: a node that asks for its pods gets them without a look at
 * all others.
 * Not thread-safe: authz.c locks. */
#ifndef APISERVER_NODE_GRAPH_H
#define APISERVER_NODE_GRAPH_H

#include "apiserver/pod_refs.h"

struct node_graph;

struct node_graph *node_graph_new(void);
void node_graph_free(struct node_graph *g);

/* What a pod refers to is kept while it is bound to a node. */
void node_graph_set_pod(struct node_graph *g, struct arena *scratch, const struct core_v1_pod *pod);
void node_graph_set_volume(struct node_graph *g, const struct core_v1_persistent_volume *v);
/* An attachment, a slice or a request for a pod's certificate; node empty: of no node. ns is
 * empty for what has none. */
void node_graph_set_owned(struct node_graph *g, enum ref_kind kind, struct str ns, struct str name,
                          struct str node);
void node_graph_remove(struct node_graph *g, enum ref_kind kind, struct str ns, struct str name);

/* Each pod bound to the node, as "namespace/name", in no order. The string is the graph's. */
void node_graph_visit_pods(const struct node_graph *g, struct str node,
                           void (*visit)(struct str pod, void *arg), void *arg);
size_t node_graph_pod_count(const struct node_graph *g, struct str node);

bool node_graph_has(const struct node_graph *g, struct str node, enum ref_kind kind, struct str ns,
                    struct str name);

#endif
