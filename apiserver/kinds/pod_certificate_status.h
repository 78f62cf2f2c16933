/* pod_certificate_status.h - what a signer may make of a PodCertificateRequest. Pure. */
#ifndef APISERVER_KINDS_POD_CERTIFICATE_STATUS_H
#define APISERVER_KINDS_POD_CERTIFICATE_STATUS_H

#include "apiserver/field_error.h"

struct certificates_v1beta1_pod_certificate_request;
struct pki_key;

/* The change of status from old's to now's, at this wall clock. */
void validate_pod_certificate_status(struct field_errors *errs,
                                     const struct certificates_v1beta1_pod_certificate_request *now,
                                     const struct certificates_v1beta1_pod_certificate_request *old,
                                     int64_t wall_ns);

/* The public key that a request is for, which is known to be well-formed once the request is
 * stored. NULL: it is not. The caller owns the reference. */
struct pki_key *
pod_certificate_key(struct arena *a,
                    const struct certificates_v1beta1_pod_certificate_request *request);

#endif
