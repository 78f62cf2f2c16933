/* node_certificates.h - the part of NodeRestriction about certificates that a node asks for. */
#ifndef APISERVER_ADMISSION_NODE_CERTIFICATES_H
#define APISERVER_ADMISSION_NODE_CERTIFICATES_H

#include "apiserver/admission.h"

/* A CertificateSigningRequest: of a node's own only for itself. NULL: fine. */
struct meta_v1_status *node_certificate_check(const struct admission *adm, struct str node);
/* A PodCertificateRequest: made for a pod that runs on the node, as it is, with a signer that the
 * pod names; never changed. */
struct meta_v1_status *node_pod_certificate_check(const struct admission *adm, struct str node);

#endif
