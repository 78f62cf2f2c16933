/* certificates.c - approves the requests of nodes, signs what is approved, and
 * removes old requests.
 *
 * Approved without asking anybody: a client certificate that a bootstrap token
 * or the node itself requests for system:node:NAME, and a serving certificate
 * that a node requests for its own name and addresses. Everything else waits
 * for `kubectl certificate approve`. */
#include "controllers/controller.h"

#include "api/certificates_v1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/net/pki.h"
#include "lib/net/range.h"

#include <string.h>

#define SIGNER_CLIENT "kubernetes.io/kube-apiserver-client"
#define SIGNER_KUBELET_CLIENT "kubernetes.io/kube-apiserver-client-kubelet"
#define SIGNER_KUBELET_SERVING "kubernetes.io/kubelet-serving"
#define NODE_PREFIX "system:node:"
#define NODES_GROUP "system:nodes"
#define BOOTSTRAP_GROUP "system:bootstrappers"

#define YEAR_S ((int64_t)365 * 24 * 3600)
#define PEM_MAX (64u * 1024u)
/* How long requests are kept, by what became of them: upstream's times. */
#define KEEP_PENDING_S ((int64_t)24 * 3600)
#define KEEP_DECIDED_S ((int64_t)3600)
#define SERVING_RETRY_MS 2000

#define csr_object struct certificates_v1_certificate_signing_request

static const struct api_kind *csr_kind(void)
{
    return api_kind_by_gvk(STR("certificates.k8s.io"), STR("v1"), STR("CertificateSigningRequest"));
}

static void touch_csr(struct controller_run *r, struct api_object *old, struct api_object *o)
{
    UNUSED(old);
    if (o != NULL)
        controller_enqueue_object(r, o);
}

static bool has_condition(const csr_object *csr, const char *type)
{
    for (size_t i = 0; i < csr->status.conditions_count; i++)
        if (str_eqc(csr->status.conditions[i].type, type))
            return true;
    return false;
}

static bool contains(const struct str *items, size_t count, const char *word)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(items[i], word))
            return true;
    return false;
}

static void add_condition(struct reconcile *c, csr_object *csr, const char *type,
                          const char *reason, const char *message)
{
    size_t n = csr->status.conditions_count;
    struct certificates_v1_certificate_signing_request_condition *list =
        ARENA_ARRAY(c->arena, struct certificates_v1_certificate_signing_request_condition, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = csr->status.conditions[i];
    int64_t now = controller_now_s(c->run);
    list[n] = (struct certificates_v1_certificate_signing_request_condition){
        .type = str_of(type),
        .status = STR("True"),
        .reason = str_of(reason),
        .message = str_of(message),
        .last_update_time = {.seconds = now},
        .last_transition_time = {.seconds = now}};
    csr->status.conditions = list;
    csr->status.conditions_count = n + 1;
}

/* --- approving ------------------------------------------------------------------------ */

/* Exactly the usages of a node's certificate; key encipherment is RSA's. */
static bool usages_are(const csr_object *csr, const char *auth)
{
    if (!contains(csr->spec.usages, csr->spec.usages_count, "digital signature") ||
        !contains(csr->spec.usages, csr->spec.usages_count, auth))
        return false;
    for (size_t i = 0; i < csr->spec.usages_count; i++)
        if (!str_eqc(csr->spec.usages[i], "digital signature") &&
            !str_eqc(csr->spec.usages[i], "key encipherment") &&
            !str_eqc(csr->spec.usages[i], auth))
            return false;
    return true;
}

static bool is_node_subject(const struct pki_subject *s)
{
    return s->organization_count == 1 && str_eqc(s->organizations[0], NODES_GROUP) &&
           str_has_prefix(s->common_name, STR(NODE_PREFIX)) &&
           s->common_name.len > strlen(NODE_PREFIX) && s->email_count == 0 && s->uri_count == 0;
}

static bool is_node_client(const csr_object *csr, const struct pki_subject *s, const char **ret_why)
{
    if (!is_node_subject(s) || s->dns_name_count != 0 || s->ip_address_count != 0 ||
        !usages_are(csr, "client auth"))
        return false;
    if (str_eq(csr->spec.username, s->common_name)) {
        *ret_why = "Auto approving self kubelet client certificate after SubjectAccessReview.";
        return true;
    }
    *ret_why = "Auto approving kubelet client certificate after SubjectAccessReview.";
    return contains(csr->spec.groups, csr->spec.groups_count, BOOTSTRAP_GROUP);
}

/* Names as they are; IPv6 addresses may be written in several ways. */
static bool same_address(struct str x, struct str y)
{
    struct net_range a, b;
    return str_eq(x, y) || (net_range_parse_address(x, &a) && net_range_parse_address(y, &b) &&
                            net_range_equal(&a, &b));
}

static bool node_has_address(const struct core_v1_node *n, struct str name)
{
    if (str_eq(n->metadata.name, name))
        return true;
    for (size_t i = 0; i < n->status.addresses_count; i++)
        if (same_address(n->status.addresses[i].address, name))
            return true;
    return false;
}

/* The node asks for itself, and for names that are its own. *ret_later: the
 * node has not reported its addresses yet. */
static bool is_node_serving(struct reconcile *c, const csr_object *csr, const struct pki_subject *s,
                            bool *ret_later)
{
    if (!is_node_subject(s) || !usages_are(csr, "server auth") ||
        !str_eq(csr->spec.username, s->common_name) ||
        !contains(csr->spec.groups, csr->spec.groups_count, NODES_GROUP) ||
        s->dns_name_count + s->ip_address_count == 0)
        return false;
    struct str name = str_sub(s->common_name, strlen(NODE_PREFIX), s->common_name.len);
    struct api_object *o = informer_get(controller_informer(c->run, "", "Node"), STR_NULL, name);
    *ret_later = true;
    if (o == NULL)
        return false;
    for (size_t i = 0; i < s->dns_name_count; i++)
        if (!node_has_address(o->msg, s->dns_names[i]))
            return false;
    for (size_t i = 0; i < s->ip_address_count; i++)
        if (!node_has_address(o->msg, s->ip_addresses[i]))
            return false;
    *ret_later = false;
    return true;
}

static void approve(struct reconcile *c)
{
    struct api_object *o = informer_get_key(
        controller_informer(c->run, "certificates.k8s.io", "CertificateSigningRequest"), c->key);
    const csr_object *csr = o != NULL ? o->msg : NULL;
    if (csr == NULL || has_condition(csr, "Approved") || has_condition(csr, "Denied") ||
        csr->status.certificate.len != 0)
        return;
    struct pki_csr request;
    if (pki_csr_parse(c->arena, csr->spec.request, &request, NULL) != 0)
        return;
    const char *why = NULL;
    bool later = false, good = false;
    if (str_eqc(csr->spec.signer_name, SIGNER_KUBELET_CLIENT)) {
        good = is_node_client(csr, &request.subject, &why);
    } else if (str_eqc(csr->spec.signer_name, SIGNER_KUBELET_SERVING)) {
        good = is_node_serving(c, csr, &request.subject, &later);
        why = "Auto approving serving certificate of a node for its own name and addresses.";
    }
    if (good) {
        csr_object *copy = reconcile_copy(c, o);
        add_condition(c, copy, "Approved", "AutoApproved", why);
        reconcile_update(c, csr_kind(), copy, "approval");
    } else if (later) {
        reconcile_again_after(c, SERVING_RETRY_MS);
    }
}

static const struct controller_watch approve_watches[] = {
    {"certificates.k8s.io", "v1", "CertificateSigningRequest", touch_csr},
    {"", "v1", "Node", NULL},
    {0},
};

const struct controller controller_csrapproving = {
    .name = "certificatesigningrequest-approving-controller",
    .watches = approve_watches,
    .reconcile = approve,
};

/* --- signing ----------------------------------------------------------------------------- */

struct usage_name {
    const char *name;
    unsigned usage, key_usage;
};
static const struct usage_name usage_names[] = {
    {"digital signature", 0, PKI_KU_DIGITAL_SIGNATURE},
    {"signing", 0, PKI_KU_DIGITAL_SIGNATURE},
    {"content commitment", 0, PKI_KU_CONTENT_COMMITMENT},
    {"key encipherment", 0, PKI_KU_KEY_ENCIPHERMENT},
    {"key agreement", 0, PKI_KU_KEY_AGREEMENT},
    {"data encipherment", 0, PKI_KU_DATA_ENCIPHERMENT},
    {"client auth", PKI_USAGE_CLIENT, 0},
    {"server auth", PKI_USAGE_SERVER, 0},
};

/* What each signer puts its name under; NULL: fine, else why not. */
static const char *refuse(const csr_object *csr, const struct pki_subject *s)
{
    bool client = str_eqc(csr->spec.signer_name, SIGNER_CLIENT);
    bool node_client = str_eqc(csr->spec.signer_name, SIGNER_KUBELET_CLIENT);
    const struct str *u = csr->spec.usages;
    size_t n = csr->spec.usages_count;
    if (client && (!contains(u, n, "client auth") || contains(u, n, "server auth")))
        return "usages must be client auth, without server auth";
    if (client && contains(s->organizations, s->organization_count, "system:masters"))
        return "signer " SIGNER_CLIENT " does not sign for the group system:masters";
    if (node_client && (!is_node_subject(s) || !usages_are(csr, "client auth") ||
                        s->dns_name_count + s->ip_address_count != 0))
        return "subject organization is not system:nodes, or names or usages are not a node "
               "client's";
    if (str_eqc(csr->spec.signer_name, SIGNER_KUBELET_SERVING) &&
        (!is_node_subject(s) || !usages_are(csr, "server auth") ||
         s->dns_name_count + s->ip_address_count == 0))
        return "subject, names or usages are not those of a node's serving certificate";
    return NULL;
}

static bool is_ours(struct str signer)
{
    return str_eqc(signer, SIGNER_CLIENT) || str_eqc(signer, SIGNER_KUBELET_CLIENT) ||
           str_eqc(signer, SIGNER_KUBELET_SERVING);
}

static int read_pem(const char *path, struct buf *b, struct error *err)
{
    if (path == NULL)
        return error_set(err, E_UNAVAILABLE,
                         "--cluster-signing-cert-file and -key-file are not set");
    return file_read(path, PEM_MAX, b, err);
}

/* The files are read each time: a renewed CA is used at once. */
static int load_ca(struct pki_cert **ret_cert, struct pki_key **ret_key, struct error *err)
{
    AUTO_BUF cert = BUF_INIT;
    AUTO_BUF key = BUF_INIT;
    int rc = read_pem(controller_options()->signing_cert_file, &cert, err);
    if (rc == 0)
        rc = read_pem(controller_options()->signing_key_file, &key, err);
    if (rc == 0)
        rc = pki_cert_parse(buf_str(&cert), ret_cert, err);
    if (rc == 0)
        rc = pki_key_parse(buf_str(&key), ret_key, err);
    return rc;
}

static int make_certificate(struct reconcile *c, const csr_object *csr,
                            const struct pki_csr *request, struct str *ret, struct error *err)
{
    struct pki_cert *ca = NULL, *cert = NULL;
    struct pki_key *key = NULL;
    struct pki_cert_config config = {0};
    int64_t lifetime = YEAR_S;
    if (csr->spec.has_expiration_seconds && csr->spec.expiration_seconds < lifetime)
        lifetime = csr->spec.expiration_seconds;
    config.not_after = controller_now_s(c->run) + lifetime;
    for (size_t i = 0; i < ARRAY_SIZE(usage_names); i++)
        if (contains(csr->spec.usages, csr->spec.usages_count, usage_names[i].name)) {
            config.usages |= usage_names[i].usage;
            config.key_usages |= usage_names[i].key_usage;
        }
    int rc = load_ca(&ca, &key, err);
    if (rc == 0)
        rc = pki_csr_sign(request, &config, ca, key, &cert, err);
    if (rc == 0) {
        AUTO_BUF pem = BUF_INIT;
        pki_cert_pem(cert, &pem);
        *ret = arena_str(c->arena, buf_str(&pem));
    }
    pki_cert_unref(cert);
    pki_cert_unref(ca);
    pki_key_unref(key);
    return rc;
}

static void sign(struct reconcile *c)
{
    struct api_object *o = informer_get_key(
        controller_informer(c->run, "certificates.k8s.io", "CertificateSigningRequest"), c->key);
    const csr_object *csr = o != NULL ? o->msg : NULL;
    if (csr == NULL || !has_condition(csr, "Approved") || has_condition(csr, "Denied") ||
        has_condition(csr, "Failed") || csr->status.certificate.len != 0 ||
        !is_ours(csr->spec.signer_name))
        return;
    struct pki_csr request;
    struct error err = {0};
    csr_object *copy = reconcile_copy(c, o);
    const char *why = NULL;
    if (pki_csr_parse(c->arena, csr->spec.request, &request, &err) != 0)
        why = error_message(&err);
    else
        why = refuse(csr, &request.subject);
    if (why != NULL) {
        add_condition(c, copy, "Failed", "SignerValidationFailure", why);
        reconcile_update(c, csr_kind(), copy, "status");
        return;
    }
    if (make_certificate(c, csr, &request, &copy->status.certificate, &err) != 0) {
        log_error("sign request " STR_FMT ": %s", STR_ARG(c->key), error_message(&err));
        reconcile_fail(c);
        return;
    }
    reconcile_update(c, csr_kind(), copy, "status");
}

static const struct controller_watch csr_watches[] = {
    {"certificates.k8s.io", "v1", "CertificateSigningRequest", touch_csr},
    {0},
};

const struct controller controller_csrsigning = {
    .name = "certificatesigningrequest-signing-controller",
    .watches = csr_watches,
    .reconcile = sign,
};

/* --- cleaning ------------------------------------------------------------------------------- */

static int64_t decided_at(const csr_object *csr)
{
    int64_t at = csr->metadata.creation_timestamp.seconds;
    for (size_t i = 0; i < csr->status.conditions_count; i++)
        if (csr->status.conditions[i].last_update_time.seconds > at)
            at = csr->status.conditions[i].last_update_time.seconds;
    return at;
}

static bool certificate_expired(const csr_object *csr, int64_t now)
{
    struct pki_cert *cert = NULL;
    if (csr->status.certificate.len == 0 ||
        pki_cert_parse(csr->status.certificate, &cert, NULL) != 0)
        return false;
    bool expired = pki_cert_not_after(cert) < now;
    pki_cert_unref(cert);
    return expired;
}

static void clean(struct reconcile *c)
{
    struct api_object *o = informer_get_key(
        controller_informer(c->run, "certificates.k8s.io", "CertificateSigningRequest"), c->key);
    if (o == NULL)
        return;
    const csr_object *csr = o->msg;
    int64_t now = controller_now_s(c->run);
    bool decided = has_condition(csr, "Approved") || has_condition(csr, "Denied") ||
                   has_condition(csr, "Failed");
    int64_t until = decided ? decided_at(csr) + KEEP_DECIDED_S
                            : csr->metadata.creation_timestamp.seconds + KEEP_PENDING_S;
    if (until < now || certificate_expired(csr, now))
        reconcile_delete(c, csr_kind(), &csr->metadata);
    else
        reconcile_again_after(c, (uint64_t)(until - now + 1) * 1000);
}

const struct controller controller_csrcleaner = {
    .name = "certificatesigningrequest-cleaner-controller",
    .workers = 1,
    .watches = csr_watches,
    .reconcile = clean,
};
