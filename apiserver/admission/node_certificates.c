/* node_certificates.c - see node_certificates.h. */
#include "apiserver/admission/node_certificates.h"

#include "api/certificates_v1.h"
#include "api/certificates_v1beta1.h"
#include "api/core_v1.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#define MIRROR_ANNOTATION "kubernetes.io/config.mirror"

#define REFUSE(adm, ...)                                                                           \
    status_forbidden((adm)->ctx->arena, (adm)->res->gr, (adm)->ctx->name, __VA_ARGS__)

struct meta_v1_status *node_certificate_check(const struct admission *adm, struct str node)
{
    const struct certificates_v1_certificate_signing_request *c = adm->obj;
    struct pki_csr csr;
    struct error err = {0};
    if (adm->op != ADMIT_CREATE ||
        !(str_eqc(c->spec.signer_name, "kubernetes.io/kubelet-serving") ||
          str_eqc(c->spec.signer_name, "kubernetes.io/kube-apiserver-client-kubelet")))
        return NULL;
    if (pki_csr_parse(adm->ctx->arena, c->spec.request, &csr, &err) != 0)
        return REFUSE(adm, "unable to parse csr: %s", error_message(&err));
    if (!str_eq(csr.subject.common_name, adm->ctx->user->name))
        return REFUSE(adm, "can only create a node CSR with CN=system:node:" STR_FMT,
                      STR_ARG(node));
    return NULL;
}

/* --- of pods ------------------------------------------------------------------------------------
 */

#define request_spec struct certificates_v1beta1_pod_certificate_request_spec

/* Who asks knows another object of that name than we: it may be right in a moment. */
#define AGAIN(adm, ...) status_internal((adm)->ctx->arena, __VA_ARGS__)

static struct meta_v1_status *check_node(const struct admission *adm, const request_spec *s,
                                         struct str pod, struct str node)
{
    if (!str_eq(s->node_name, node))
        return REFUSE(adm,
                      "PodCertificateRequest.Spec.NodeName=\"" STR_FMT
                      "\", which is not the requesting node \"" STR_FMT "\"",
                      STR_ARG(s->node_name), STR_ARG(node));
    const struct core_v1_node *n = kind_lookup(adm->ctx, "", "nodes", STR_NULL, node);
    if (n == NULL)
        return AGAIN(adm,
                     "while retrieving node \"" STR_FMT
                     "\" named in the PodCertificateRequest: node \"" STR_FMT "\" not found",
                     STR_ARG(node), STR_ARG(node));
    if (!str_eq(n->metadata.uid, s->node_uid))
        return AGAIN(adm,
                     "PodCertificateRequest for pod \"" STR_FMT "\" names node UID \"" STR_FMT
                     "\", inconsistent with the running node (\"" STR_FMT "\")",
                     STR_ARG(pod), STR_ARG(s->node_uid), STR_ARG(n->metadata.uid));
    return NULL;
}

static struct meta_v1_status *check_account(const struct admission *adm, const request_spec *s,
                                            struct str pod, const struct core_v1_pod *p)
{
    if (!str_eq(s->service_account_name, p->spec.service_account_name))
        return REFUSE(
            adm,
            "PodCertificateRequest for pod \"" STR_FMT "\" contains serviceAccountName (\"" STR_FMT
            "\") that differs from running pod (\"" STR_FMT "\")",
            STR_ARG(pod), STR_ARG(s->service_account_name), STR_ARG(p->spec.service_account_name));
    const struct core_v1_service_account *a =
        kind_lookup(adm->ctx, "", "serviceaccounts", adm->ctx->namespace_, s->service_account_name);
    if (a == NULL)
        return AGAIN(adm,
                     "while retrieving service account \"" STR_FMT "/" STR_FMT
                     "\" named in the PodCertificateRequest: serviceaccount \"" STR_FMT
                     "\" not found",
                     STR_ARG(adm->ctx->namespace_), STR_ARG(s->service_account_name),
                     STR_ARG(s->service_account_name));
    if (!str_eq(a->metadata.uid, s->service_account_uid))
        return AGAIN(adm,
                     "PodCertificateRequest for pod \"" STR_FMT
                     "\" names service account UID \"" STR_FMT
                     "\", which differs from the running service account (\"" STR_FMT "\")",
                     STR_ARG(pod), STR_ARG(s->service_account_uid), STR_ARG(a->metadata.uid));
    return NULL;
}

static bool names_signer(const struct core_v1_pod *p, struct str signer)
{
    for (size_t i = 0; i < p->spec.volumes_count; i++) {
        const struct core_v1_projected_volume_source *v =
            p->spec.volumes[i].volume_source.projected;
        for (size_t k = 0; v != NULL && k < v->sources_count; k++)
            if (v->sources[k].pod_certificate != NULL &&
                str_eq(v->sources[k].pod_certificate->signer_name, signer))
                return true;
    }
    return false;
}

static struct meta_v1_status *check_pod(const struct admission *adm, const request_spec *s,
                                        struct str pod)
{
    const struct core_v1_pod *p =
        kind_lookup(adm->ctx, "", "pods", adm->ctx->namespace_, s->pod_name);
    if (p == NULL)
        return AGAIN(adm,
                     "while retrieving pod \"" STR_FMT
                     "\" named in the PodCertificateRequest: pod \"" STR_FMT "\" not found",
                     STR_ARG(pod), STR_ARG(s->pod_name));
    if (!str_eq(p->metadata.uid, s->pod_uid))
        return AGAIN(adm,
                     "PodCertificateRequest for pod \"" STR_FMT "\" contains pod UID (\"" STR_FMT
                     "\") which differs from running pod \"" STR_FMT "\"",
                     STR_ARG(pod), STR_ARG(s->pod_uid), STR_ARG(p->metadata.uid));
    if (!str_eq(p->spec.node_name, s->node_name))
        return REFUSE(adm,
                      "pod \"" STR_FMT "\" is not running on node \"" STR_FMT
                      "\" named in the PodCertificateRequest",
                      STR_ARG(pod), STR_ARG(s->node_name));
    if (api_str_map_get(p->metadata.annotations, p->metadata.annotations_count,
                        STR(MIRROR_ANNOTATION)) != NULL)
        return REFUSE(adm, "pod \"" STR_FMT "\" is a mirror pod", STR_ARG(pod));
    if (!names_signer(p, s->signer_name))
        return REFUSE(
            adm, "no podCertificate source of pod \"" STR_FMT "\" names signer \"" STR_FMT "\"",
            STR_ARG(pod), STR_ARG(s->signer_name));
    return check_account(adm, s, pod, p);
}

struct meta_v1_status *node_pod_certificate_check(const struct admission *adm, struct str node)
{
    if (adm->op != ADMIT_CREATE)
        return REFUSE(adm, "unexpected operation \"%s\"", policy_operation(adm->op));
    if (adm->subresource[0] != '\0')
        return REFUSE(adm, "unexpected subresource %s", adm->subresource);
    const struct certificates_v1beta1_pod_certificate_request *r = adm->obj;
    struct str pod = arena_printf(adm->ctx->arena, STR_FMT "/" STR_FMT,
                                  STR_ARG(adm->ctx->namespace_), STR_ARG(r->spec.pod_name));
    struct meta_v1_status *refused = check_node(adm, &r->spec, pod, node);
    return refused != NULL ? refused : check_pod(adm, &r->spec, pod);
}
