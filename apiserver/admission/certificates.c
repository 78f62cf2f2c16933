/* certificates.c - who may approve and sign certificate requests and vouch for
 * trust bundles: CertificateApproval, CertificateSigning,
 * ClusterTrustBundleAttest and CertificateSubjectRestriction. */
#include "apiserver/admission/plugins.h"

#include "api/certificates_v1.h"
#include "api/certificates_v1beta1.h"
#include "apiserver/signer_access.h"
#include "apiserver/apiserver.h"
#include "apiserver/authz.h"
#include "apiserver/registry.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

static bool is_request(const struct admission *adm, const char *sub)
{
    return strcmp(adm->res->kind->group, "certificates.k8s.io") == 0 &&
           strcmp(adm->res->kind->resource, "certificatesigningrequests") == 0 &&
           strcmp(adm->subresource, sub) == 0;
}

static struct meta_v1_status *approval(const struct admission *adm)
{
    const struct certificates_v1_certificate_signing_request *old = adm->old;
    if (adm->op != ADMIT_UPDATE || !is_request(adm, "approval") ||
        user_may_for_signer(adm->ctx, "approve", old->spec.signer_name))
        return NULL;
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                            "user not permitted to approve requests with signerName \"" STR_FMT
                            "\"",
                            STR_ARG(old->spec.signer_name));
}

static bool same_conditions(const struct certificates_v1_certificate_signing_request_status *x,
                            const struct certificates_v1_certificate_signing_request_status *y)
{
    if (x->conditions_count != y->conditions_count)
        return false;
    for (size_t i = 0; i < x->conditions_count; i++)
        if (!api_msg_equal(&certificates_v1_certificate_signing_request_condition_msg,
                           &x->conditions[i], &y->conditions[i]))
            return false;
    return true;
}

static struct meta_v1_status *signing(const struct admission *adm)
{
    const struct certificates_v1_certificate_signing_request *obj = adm->obj, *old = adm->old;
    if (adm->op != ADMIT_UPDATE || !is_request(adm, "status"))
        return NULL;
    if (str_eq(obj->status.certificate, old->status.certificate) &&
        same_conditions(&obj->status, &old->status))
        return NULL;
    if (user_may_for_signer(adm->ctx, "sign", old->spec.signer_name))
        return NULL;
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                            "user not permitted to sign requests with signerName \"" STR_FMT "\"",
                            STR_ARG(old->spec.signer_name));
}

static struct meta_v1_status *subject(const struct admission *adm)
{
    const struct certificates_v1_certificate_signing_request *obj = adm->obj;
    struct pki_csr csr;
    bool masters = false;
    if (adm->op != ADMIT_CREATE || !is_request(adm, "") ||
        !str_eqc(obj->spec.signer_name, "kubernetes.io/kube-apiserver-client") ||
        pki_csr_parse(adm->ctx->arena, obj->spec.request, &csr, NULL) != 0)
        return NULL; /* Validation tells of a broken request. */
    for (size_t i = 0; i < csr.subject.organization_count; i++)
        masters = masters || str_eqc(csr.subject.organizations[i], "system:masters");
    return masters ? status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                                      "use of kubernetes.io/kube-apiserver-client signer with "
                                      "system:masters group is not allowed")
                   : NULL;
}

/* A bundle of a signer is vouched for by those who may; what merely keeps or
 * collects it is free. */
static struct meta_v1_status *attest(const struct admission *adm)
{
    const struct certificates_v1beta1_cluster_trust_bundle *obj = adm->obj, *old = adm->old;
    if (strcmp(adm->res->kind->group, "certificates.k8s.io") != 0 ||
        strcmp(adm->res->kind->resource, "clustertrustbundles") != 0 ||
        obj->spec.signer_name.len == 0 ||
        (old != NULL && api_msg_equal(&certificates_v1beta1_cluster_trust_bundle_spec_msg,
                                      &obj->spec, &old->spec)) ||
        user_may_for_signer(adm->ctx, "attest", obj->spec.signer_name))
        return NULL;
    return status_forbidden(adm->ctx->arena, adm->res->gr, adm->ctx->name,
                            "user not permitted to attest for signerName \"" STR_FMT "\"",
                            STR_ARG(obj->spec.signer_name));
}

const struct admission_plugin admission_certificate_approval = {
    .name = "CertificateApproval", .ops = ADMIT_BIT(ADMIT_UPDATE), .validate = approval};
const struct admission_plugin admission_certificate_signing = {
    .name = "CertificateSigning", .ops = ADMIT_BIT(ADMIT_UPDATE), .validate = signing};
const struct admission_plugin admission_trust_bundle_attest = {
    .name = "ClusterTrustBundleAttest", .ops = ADMIT_WRITES, .validate = attest};
const struct admission_plugin admission_certificate_subject = {
    .name = "CertificateSubjectRestriction", .ops = ADMIT_BIT(ADMIT_CREATE), .validate = subject};
