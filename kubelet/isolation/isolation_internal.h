/* isolation_internal.h - what isolation.c (rules, pods) and edges_read.c (what was counted) share.
 */
#ifndef KUBELET_ISOLATION_ISOLATION_INTERNAL_H
#define KUBELET_ISOLATION_ISOLATION_INTERNAL_H

#include "kubelet/isolation/isolation.h"
#include "kubelet/isolation/rules.h"

#include "lib/base/buf.h"

#define ISOLATION_ASKING_MAX 64 /* Requests that wait for the same reading. */

struct isolation {
    struct kubelet *k;
    struct policy_keeper *keeper;
    struct informer *namespaces; /* Those with the label: no others matter. */
    bool namespaces_synced;
    struct map watched; /* "namespace/name" of Services that a pod of this node declares. */
    struct map waiting; /* uid of pods that wait for one of them. */
    /* Of what is in the kernel. */
    struct buf edges, metrics;
    uint64_t edges_ms;
    bool reading;
    size_t reading_index; /* In edges_commands. */
    struct buf listed;
    struct http_request *asking[ISOLATION_ASKING_MAX];
    size_t asking_count;
};

/* key: "namespace/name". What is found lives in a, or is borrowed until the loop runs on. */
const struct isolation_service *isolation_find_service(const struct isolation *i, struct arena *a,
                                                       struct str key);

#endif
