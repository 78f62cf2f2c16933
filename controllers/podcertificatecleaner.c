/* podcertificatecleaner.c - removes PodCertificateRequests: nodes take what they need of one within
 * minutes and make another for the next certificate. */
#include "controllers/controller.h"

#include "api/certificates_v1beta1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"

#define KEEP_S ((int64_t)15 * 60) /* As upstream. */

static void touch_request(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    if (old == NULL && o != NULL)
        controller_enqueue_object(r, o);
}

static void clean(struct reconcile *c)
{
    struct informer *i =
        controller_informer(c->run, "certificates.k8s.io", "PodCertificateRequest");
    struct api_object *o = informer_get_key(i, c->key);
    if (o == NULL)
        return;
    const struct certificates_v1beta1_pod_certificate_request *r = o->msg;
    int64_t left_s = r->metadata.creation_timestamp.seconds + KEEP_S - controller_now_s(c->run);
    if (left_s > 0)
        reconcile_again_after(c, (uint64_t)left_s * 1000);
    else
        reconcile_delete(c, informer_kind(i), &r->metadata);
}

static bool wanted(void)
{
    return controller_options()->pod_certificate_request;
}

static const struct controller_watch watches[] = {
    {"certificates.k8s.io", "v1beta1", "PodCertificateRequest", touch_request},
    {0},
};

const struct controller controller_podcertificatecleaner = {
    .name = "podcertificaterequest-cleaner-controller",
    .wanted = wanted,
    .workers = 1,
    .watches = watches,
    .reconcile = clean,
};
