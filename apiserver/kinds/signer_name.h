/* signer_name.h - the names of those who sign: "example.com/path". Pure. */
#ifndef APISERVER_KINDS_SIGNER_NAME_H
#define APISERVER_KINDS_SIGNER_NAME_H

#include "apiserver/field_error.h"

/* Required, and of that form, in upstream's words. */
void validate_signer_name(struct field_errors *errs, const struct field_path *at, struct str name);
/* The name of a ClusterTrustBundle: one of a signer begins with the signer's own, ':' in place of
 * '/', and another ':'. generate: as in kind_ops.validate_name. */
void validate_trust_bundle_name(struct field_errors *errs, const struct field_path *at,
                                struct str name, struct str signer, bool generate);
/* Signers of Kubernetes itself: below kubernetes.io or a domain in it. */
bool is_kubernetes_signer(struct str name);

#endif
