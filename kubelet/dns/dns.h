/* dns.h - the cluster's DNS on this node: Services and EndpointSlices become
 * the zone, served on the --cluster-dns addresses without leaving the node.
 *
 *   informers -> zone (pure) -> answer (pure) -> server: UDP, TCP
 *                                  not ours   -> forward -> the node's resolvers
 *
 * When the API server is away the zone stays as it was. */
#ifndef KUBELET_DNS_DNS_H
#define KUBELET_DNS_DNS_H

#include "lib/base/base.h"

struct core_v1_service;
struct informer;
struct kubelet;

/* The kubelet's own informers; handlers are added. slices is indexed by "service". */
void dns_start(struct kubelet *k, struct informer *services, struct informer *slices);
/* --dns=false: takes back the addresses that an earlier run set. */
void dns_withdraw(const struct kubelet *k);
/* Does the node itself answer on this Service's address? */
bool dns_serves(const struct kubelet *k, const struct core_v1_service *s);

#endif
