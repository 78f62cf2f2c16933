/* pod_certificates.h - keys and certificates of podCertificate sources: made, asked for, renewed.
 * Loop-confined; keys are made on other threads. What is held is in memory only: an agent that
 * starts anew asks for all of them again, as upstream's does. */
#ifndef KUBELET_POD_CERTIFICATES_H
#define KUBELET_POD_CERTIFICATES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct core_v1_pod_certificate_projection;
struct error;
struct kubelet;
struct pod_certificates;
struct pod_worker;

/* Lives as long as the program. */
struct pod_certificates *pod_certificates_new(struct kubelet *k);
/* Of source number index of a volume; the first call asks for it. The pod is woken when it comes,
 * when it is renewed and when it is refused (pod_worker_object_changed()). Codes as
 * pod_certificate_read(). */
int pod_certificates_read(struct pod_certificates *s, struct pod_worker *w, struct str volume,
                          size_t index, const struct core_v1_pod_certificate_projection *p,
                          struct arena *a, struct str *ret_key, struct str *ret_chain,
                          struct error *err);
/* The pod has ended: its keys go. */
void pod_certificates_forget(struct pod_certificates *s, const char *uid);

#endif
