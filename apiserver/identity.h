/* identity.h - every API server's Lease in kube-system, by which others learn which servers there
 * are (APIServerIdentity, KEP-1965): apiserver-HASH, labelled
 * apiserver.kubernetes.io/identity=kube-apiserver, good for an hour.
 *
 * Upstream renews it every ten seconds; every ten minutes does for an hour, and lets a store at
 * rest be at rest. Hosts may have several servers, so the hash is of host and address. */
#ifndef APISERVER_IDENTITY_H
#define APISERVER_IDENTITY_H

#include "apiserver/kind.h"

struct txn_build;

#define IDENTITY_NAMESPACE "kube-system"
#define IDENTITY_PREFIX "apiserver-"
/* Annotations: which member of the store the server is, in hexadecimal, and where it listens. */
#define IDENTITY_MEMBER "trireme.io/store-member"
#define IDENTITY_ADDRESS "trireme.io/address"

/* What to write now: our own Lease made or renewed, those removed that have run out. False:
 * nothing. */
bool identity_plan(const struct kind_ctx *ctx, struct txn_build *t);

#endif
