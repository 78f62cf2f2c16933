/* csr.h - gets a certificate signed through the API's CertificateSigningRequests.
 *
 * Creates the request (or finds the one made before a crash, by its name) and
 * waits for the certificate. Loop-confined. */
#ifndef KUBELET_CSR_H
#define KUBELET_CSR_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct client;
struct csr;
struct pki_key;
struct pki_subject;

#define SIGNER_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define SIGNER_SERVING "kubernetes.io/kubelet-serving"

struct csr_config {
    struct client *client;
    const char *signer;
    const struct pki_subject *subject;
    const struct pki_key *key;
    /* Once: the PEM chain, or empty with the reason (denied, failed). */
    void (*done)(struct str cert_pem, const char *error, void *arg);
    void *arg;
};

/* Everything is copied. The handle lives until done returns or csr_cancel(). */
struct csr *csr_start(const struct csr_config *config);
void csr_cancel(struct csr *c); /* NULL is a no-op. */

#endif
