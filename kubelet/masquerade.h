/* masquerade.h - what pods send to the world leaves with the node's address;
 * between pods, also of different nodes, everybody sees who it is.
 *
 * For the network of cni_conf.h alone: other plugins do as they please. The
 * bridge plugin's own masquerading spares nothing but its node's pods, so that
 * policies on another node would see a node instead of a pod. */
#ifndef KUBELET_MASQUERADE_H
#define KUBELET_MASQUERADE_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;
struct informer;
struct kubelet;
struct masquerade;

#define MASQUERADE_TABLE "trireme-masquerade"

/* Pure: the whole table; loading it replaces the old one in one step. own: this node's ranges of
 * pods, all: those of all nodes. What is no range is left out. */
void masquerade_rules(const struct str *own, size_t own_count, const struct str *all,
                      size_t all_count, struct buf *out);

struct masquerade *masquerade_new(struct kubelet *k);
/* Nodes may have changed. nodes: the informer of all. */
void masquerade_sync(struct masquerade *m, const struct informer *nodes);

#endif
