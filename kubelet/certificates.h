/* certificates.h - the node's own certificates: got once with a bootstrap
 * token, renewed before they expire, kept in --cert-dir.
 *
 *   kubelet-client-current.pem   certificate and key towards the API server
 *   kubelet-server-current.pem   certificate and key to serve with
 *
 * Each is a link to a dated file, replaced by rename, so that a crash leaves
 * the old one or the new one. The key of a request under way is kept beside
 * them until its certificate has come. */
#ifndef KUBELET_CERTIFICATES_H
#define KUBELET_CERTIFICATES_H

#include "lib/base/error.h"

struct certificates;
struct kubelet;

/* Goes on with on_client(k) once k->client is there: at once when --kubeconfig
 * exists, else after the bootstrap. Fails for unusable files. */
int certificates_start(struct kubelet *k, void (*on_client)(struct kubelet *k),
                       struct certificates **ret, struct error *err);
/* Requests a serving certificate when it is wanted; on_serving(k) whenever
 * there is a new one. */
void certificates_serve(struct certificates *c, void (*on_serving)(struct kubelet *k));
void certificates_stop(struct certificates *c); /* NULL is a no-op. */

/* Blocking: the file to serve with now: --tls-cert-file, the requested one, or
 * one signed by itself. */
int certificates_serving_files(struct kubelet *k, const char **ret_cert, const char **ret_key,
                               struct error *err);

#endif
