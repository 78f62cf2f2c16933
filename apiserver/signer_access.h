/* signer_access.h - who may approve, sign or attest for a signer: virtual verbs on the resource
 * "signers" of certificates.k8s.io, by the signer's name or "domain/" followed by a star. */
#ifndef APISERVER_SIGNER_ACCESS_H
#define APISERVER_SIGNER_ACCESS_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct kind_ctx;

/* Of the request's user. Without a server (tests of rules alone) everything is allowed. */
bool user_may_for_signer(const struct kind_ctx *ctx, const char *verb, struct str signer);

#endif
