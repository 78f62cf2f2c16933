/* podcertificaterequests.c - PodCertificateRequest: a node asks a signer for a certificate of one
 * of its pods. NodeRestriction holds it against the pod; here is what it must look like. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/pod_certificate_status.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/signer_name.h"
#include "apiserver/signer_access.h"
#include "apiserver/user.h"
#include "api/certificates_v1beta1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#include <string.h>

#define UID_BYTES_MAX 128
#define KEY_BYTES_MAX (10 * 1024) /* Each of the key, its proof and the PKCS#10 request. */
#define EXPIRATION_MIN_S 3600
#define EXPIRATION_MAX_S (91 * 24 * 3600)
#define EXPIRATION_KUBERNETES_MAX_S (24 * 3600)
#define ANNOTATION_BYTES_MAX (256 * 1024)

#define request_object struct certificates_v1beta1_pod_certificate_request
#define request_spec struct certificates_v1beta1_pod_certificate_request_spec

/* --- who it is for ------------------------------------------------------------------------------
 */

static void check_uid(struct field_errors *errs, const struct field_path *at, struct str uid)
{
    if (str_empty(uid))
        field_invalid(errs, at, uid, "must not be empty");
    if (uid.len > UID_BYTES_MAX)
        field_too_long(errs, at, UID_BYTES_MAX);
}

static void check_identity(struct field_errors *errs, const struct field_path *at,
                           const request_spec *s)
{
    name_dns_subdomain(errs, PATH(at, "podName"), s->pod_name, false);
    check_uid(errs, PATH(at, "podUID"), s->pod_uid);
    name_dns_subdomain(errs, PATH(at, "serviceAccountName"), s->service_account_name, false);
    check_uid(errs, PATH(at, "serviceAccountUID"), s->service_account_uid);
    name_dns_subdomain(errs, PATH(at, "nodeName"), s->node_name, false);
    check_uid(errs, PATH(at, "nodeUID"), s->node_uid);
}

static void check_annotations(struct field_errors *errs, const struct field_path *at,
                              const request_spec *s)
{
    size_t bytes = 0;
    for (size_t i = 0; i < s->unverified_user_annotations_count; i++) {
        const struct api_str_entry *e = &s->unverified_user_annotations[i];
        validate_domain_prefixed_key(errs, at, e->key);
        bytes += e->key.len + e->value.len;
    }
    if (bytes > ANNOTATION_BYTES_MAX)
        field_too_long(errs, at, ANNOTATION_BYTES_MAX);
}

/* False: nothing further is worth judging. */
static bool check_expiration(struct field_errors *errs, const struct field_path *at,
                             const request_spec *s)
{
    int32_t max =
        is_kubernetes_signer(s->signer_name) ? EXPIRATION_KUBERNETES_MAX_S : EXPIRATION_MAX_S;
    if (!s->has_max_expiration_seconds) {
        field_required(errs, at, "must be set");
        return false;
    }
    if (s->max_expiration_seconds < EXPIRATION_MIN_S || s->max_expiration_seconds > max)
        field_invalid_int(errs, at, s->max_expiration_seconds, "must be in the range [%d, %d]",
                          EXPIRATION_MIN_S, max);
    return true;
}

/* --- its key ---------------------------------------------------------------------------------- */

static struct str base64(struct arena *a, struct str bytes)
{
    AUTO_BUF b = BUF_INIT;
    base64_encode(BASE64_STD, bytes.data, bytes.len, &b);
    return arena_str(a, buf_str(&b));
}

static bool check_form(struct field_errors *errs, const struct field_path *at, struct str given,
                       const struct pki_key *key)
{
    struct pki_key_form f = pki_key_form(key);
    switch (f.kind) {
    case PKI_KIND_ED25519:
        return true;
    case PKI_KIND_EC:
        if (strcmp(f.curve, "P-256") == 0 || strcmp(f.curve, "P-384") == 0 ||
            strcmp(f.curve, "P-521") == 0)
            return true;
        field_invalid(errs, at, arena_printf(errs->arena, "curve %s", f.curve),
                      "elliptic public keys must use curve P256 or P384");
        return false;
    case PKI_KIND_RSA:
        if (f.bits == 3072 || f.bits == 4096)
            return true;
        field_invalid(errs, at, arena_printf(errs->arena, "%u-bit modulus", f.bits),
                      "RSA keys must have modulus size 3072 or 4096");
        return false;
    default:
        field_invalid(errs, at, base64(errs->arena, given),
                      "unknown public key type; supported types are Ed25519, ECDSA, and RSA");
        return false;
    }
}

/* The older form: a key, and a signature of the pod's UID. */
static void check_proof(struct field_errors *errs, const struct field_path *spec,
                        const request_spec *s)
{
    const struct field_path *at = PATH(spec, "pkixPublicKey");
    struct pki_key *key;
    if (pki_key_parse_spki(s->pkix_public_key, &key, NULL) != 0) {
        field_invalid(errs, at, base64(errs->arena, s->pkix_public_key),
                      "must be a valid PKIX-serialized public key");
        return;
    }
    if (check_form(errs, at, s->pkix_public_key, key) &&
        !pki_proof_ok(key, s->pod_uid, s->proof_of_possession))
        field_invalid_raw(errs, PATH(spec, "proofOfPossession"), STR_NULL,
                          "could not verify proof-of-possession signature");
    pki_key_unref(key);
}

/* Signed with the key that it asks for; what else stands in it is nobody's business. */
static void check_stub(struct field_errors *errs, const struct field_path *spec,
                       const request_spec *s)
{
    const struct field_path *at = PATH(spec, "stubPKCS10Request");
    struct str given = s->stub_pkcs10_request;
    struct pki_csr csr;
    int code = pki_csr_parse_der(errs->arena, given, &csr, NULL);
    if (code == E_UNAUTHORIZED)
        field_invalid_raw(errs, at, STR_NULL,
                          "could not verify the signature of the PKCS#10 "
                          "request");
    else if (code != 0)
        field_invalid(errs, at, base64(errs->arena, given), "must be a valid PKCS#10 request");
    else
        check_form(errs, at, given, csr.key);
}

static bool fits(struct field_errors *errs, const struct field_path *at, struct str bytes)
{
    if (bytes.len > KEY_BYTES_MAX)
        field_too_long(errs, at, KEY_BYTES_MAX);
    return bytes.len <= KEY_BYTES_MAX;
}

static void check_key(struct field_errors *errs, const struct field_path *spec,
                      const request_spec *s)
{
    bool stub = s->stub_pkcs10_request.len != 0;
    bool key = s->pkix_public_key.len != 0, proof = s->proof_of_possession.len != 0;
    if (!fits(errs, PATH(spec, "stubPKCS10Request"), s->stub_pkcs10_request) ||
        !fits(errs, PATH(spec, "pkixPublicKey"), s->pkix_public_key) ||
        !fits(errs, PATH(spec, "proofOfPossession"), s->proof_of_possession))
        return;
    if (stub && !key && !proof)
        check_stub(errs, spec, s);
    else if (!stub && key && proof)
        check_proof(errs, spec, s);
    else
        field_invalid_raw(errs, spec, STR_NULL,
                          "exactly one of (stubPKCS10Request) or (pkixPublicKey, "
                          "proofOfPossession) must be set");
}

/* --- the kind -----------------------------------------------------------------------------------
 */

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const request_spec *s = &((const request_object *)obj)->spec;
    const struct field_path *at = PATH(PATH_ROOT, "spec");
    validate_signer_name(errs, PATH(at, "signerName"), s->signer_name);
    check_annotations(errs, PATH(at, "unverifiedUserAnnotations"), s);
    check_identity(errs, at, s);
    if (check_expiration(errs, PATH(at, "maxExpirationSeconds"), s))
        check_key(errs, at, s);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const request_object *r = obj, *o = old;
    const struct api_msg *msg = &certificates_v1beta1_pod_certificate_request_spec_msg;
    if (!api_msg_equal(msg, &r->spec, &o->spec))
        field_invalid_msg(errs, PATH(PATH_ROOT, "spec"), msg, &r->spec, "field is immutable");
}

/* Whose certificate it becomes is the signer's to say, or of whom the signer lets. */
static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const request_object *r = obj, *o = old;
    validate_pod_certificate_status(errs, r, o, ctx->now_ns);
    if (errs->count == 0 && !str_eq(r->status.certificate_chain, o->status.certificate_chain) &&
        !user_may_for_signer(ctx, "sign", o->spec.signer_name))
        field_forbidden(errs, PATH(PATH(PATH_ROOT, "spec"), "signerName"),
                        "User \"" STR_FMT "\" is not permitted to \"sign\" for signer \"" STR_FMT
                        "\"",
                        STR_ARG(ctx->user->name), STR_ARG(o->spec.signer_name));
}

static const struct kind_sub subs[] = {
    {.name = "status", .validate_update = validate_status},
    {0},
};

static struct str get_signer(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const request_object *)obj)->spec.signer_name;
}

static struct str get_pod(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const request_object *)obj)->spec.pod_name;
}

static struct str get_node(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const request_object *)obj)->spec.node_name;
}

static const struct kind_field fields[] = {
    {"spec.signerName", get_signer}, {"spec.podName", get_pod}, {"spec.nodeName", get_node}, {0}};

const struct kind_ops kind_podcertificaterequests = {
    .group = "certificates.k8s.io",
    .version = "v1beta1",
    .resource = "podcertificaterequests",
    .flags = KIND_STATUS | KIND_STATUS_ALONE | KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .subs = subs,
    .fields = fields,
};
