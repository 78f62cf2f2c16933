/* isolation.h - holds the pods of this node to what they declare to depend on
 * (lib/api/depends.h).
 *
 * Loop-confined. Keeps nftables as rules.h says, by a policy keeper of its own; tells pod workers
 * which dependencies a pod still waits for and which Services' addresses it is given; reads back
 * from the kernel which of the declared edges are used and what was refused.
 *
 * Where a struct isolation is taken, NULL (--isolation=false) holds nobody and waits for nothing.
 */
#ifndef KUBELET_ISOLATION_ISOLATION_H
#define KUBELET_ISOLATION_ISOLATION_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct api_object;
struct arena;
struct buf;
struct core_v1_pod;
struct core_v1_service;
struct http_request;
struct isolation;
struct kubelet;
struct rt_sandbox;

/* The kubelet's informers of Services and EndpointSlices are there. */
struct isolation *isolation_start(struct kubelet *k);
/* --isolation=false: removes what an earlier run has left. */
void isolation_withdraw(struct kubelet *k);

/* As keeper_pod_seen() and keeper_pod_gone(). */
bool isolation_pod_seen(struct isolation *i, const char *uid, struct api_object *pod,
                        const struct rt_sandbox *sandbox);
void isolation_pod_gone(struct isolation *i, const char *uid);

/* Why the containers of a pod that has started none yet have to wait: a message for people, owned
 * by the caller. NULL: they need not. While they must, the pod's worker is kicked when that may
 * have changed. */
char *isolation_awaits(struct isolation *i, const char *uid, const struct core_v1_pod *pod);

/* True when the pod is held to a declaration: then *ret are the Services whose variables it gets,
 * in ascending precedence, an array in a. Those of other namespaces are named NAMESPACE-NAME, and
 * headless ones have their DNS name for an address. False: as for any pod. */
bool isolation_services(struct isolation *i, struct arena *a, const struct core_v1_pod *pod,
                        const struct core_v1_service *const **ret, size_t *ret_count);

/* The node objects have changed. */
void isolation_nodes_changed(struct isolation *i);

/* The counts of edges as they were read last, in Prometheus' text format; has them read again. */
void isolation_metrics(struct isolation *i, struct buf *out);
/* GET /edges: what is declared, used and refused, as JSON (edges.h). */
void isolation_serve_edges(struct isolation *i, struct http_request *r);

#endif
