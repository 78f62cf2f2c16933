/* certificatesigningrequests.c - CertificateSigningRequest: who asked is
 * recorded by the server; approval and certificate are given through
 * subresources and never taken back. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/user.h"
#include "api/certificates_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#include <string.h>

#define EXPIRATION_MIN_S 600
#define DEFAULT_NAMESPACE_LIMIT 571

#define csr_object struct certificates_v1_certificate_signing_request
#define csr_condition struct certificates_v1_certificate_signing_request_condition

/* The requester is what authentication says, not what the body says. */
static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    csr_object *csr = obj;
    csr->spec.username = ctx->user->name;
    csr->spec.uid = ctx->user->uid;
    csr->spec.groups =
        arena_memdup(ctx->arena, ctx->user->groups, ctx->user->group_count * sizeof(struct str));
    csr->spec.groups_count = ctx->user->group_count;
    csr->spec.extra = NULL;
    csr->spec.extra_count = 0;
    memset(&csr->status, 0, sizeof(csr->status));
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    csr_object *csr = obj;
    const csr_object *o = old;
    csr->spec = o->spec;
    csr->status = o->status;
}

/* --- validation ---------------------------------------------------------------------- */

static const char *const usages[] = {"any",
                                     "cert sign",
                                     "client auth",
                                     "code signing",
                                     "content commitment",
                                     "crl sign",
                                     "data encipherment",
                                     "decipher only",
                                     "digital signature",
                                     "email protection",
                                     "encipher only",
                                     "ipsec end system",
                                     "ipsec tunnel",
                                     "ipsec user",
                                     "key agreement",
                                     "key encipherment",
                                     "microsoft sgc",
                                     "netscape sgc",
                                     "ocsp signing",
                                     "s/mime",
                                     "server auth",
                                     "signing",
                                     "timestamping",
                                     NULL};

static void validate_request(const struct kind_ctx *ctx, const csr_object *csr,
                             struct field_errors *errs)
{
    struct pki_csr parsed;
    struct error err = {0};
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "request");
    if (pki_csr_parse(ctx->arena, csr->spec.request, &parsed, &err) == 0)
        return;
    AUTO_BUF b64 = BUF_INIT;
    base64_encode(BASE64_STD, csr->spec.request.data, csr->spec.request.len, &b64);
    bool pem = str_find_str(csr->spec.request, STR("-----BEGIN CERTIFICATE REQUEST-----")) >= 0;
    field_invalid(errs, path, buf_str(&b64), "%s",
                  pem ? error_message(&err) : "PEM block type must be CERTIFICATE REQUEST");
}

static void validate_signer(const csr_object *csr, struct field_errors *errs)
{
    struct str s = csr->spec.signer_name, domain, path;
    const struct field_path *at = PATH(PATH(PATH_ROOT, "spec"), "signerName");
    if (str_empty(s)) {
        field_required(errs, at, NULL);
        return;
    }
    if (!str_cut(s, '/', &domain, &path) || str_empty(domain) || str_empty(path) ||
        str_find(path, '/', 0) >= 0) {
        field_invalid(
            errs, at, s,
            "must be a fully qualified domain and path of the form 'example.com/signer-name'");
        return;
    }
    field_faults(errs, at, domain, api_check_dns_subdomain(domain));
    if (str_find(domain, '.', 0) < 0)
        field_invalid(errs, at, s,
                      "should be a domain with at least two segments separated by dots");
    field_faults(errs, at, path, api_check_dns_subdomain(path));
    if (s.len > DEFAULT_NAMESPACE_LIMIT)
        field_too_long(errs, at, DEFAULT_NAMESPACE_LIMIT);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const csr_object *csr = obj;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_request(ctx, csr, errs);
    if (csr->spec.usages_count == 0)
        field_required(errs, PATH(spec, "usages"), NULL);
    for (size_t i = 0; i < csr->spec.usages_count; i++) {
        const struct field_path *path = PATH_INDEX(PATH(spec, "usages"), i);
        validate_listed(errs, path, csr->spec.usages[i], usages);
        for (size_t k = 0; k < i; k++)
            if (str_eq(csr->spec.usages[k], csr->spec.usages[i])) {
                field_duplicate(errs, path, csr->spec.usages[i]);
                break;
            }
    }
    validate_signer(csr, errs);
    if (csr->spec.has_expiration_seconds && csr->spec.expiration_seconds < EXPIRATION_MIN_S)
        field_invalid_int(errs, PATH(spec, "expirationSeconds"), csr->spec.expiration_seconds,
                          "may not specify a duration less than 600 seconds (10 minutes)");
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(obj);
    UNUSED(old);
    UNUSED(errs);
}

/* --- conditions ------------------------------------------------------------------------ */

static const csr_condition *find(const csr_object *csr, struct str type)
{
    for (size_t i = 0; i < csr->status.conditions_count; i++)
        if (str_eq(csr->status.conditions[i].type, type))
            return &csr->status.conditions[i];
    return NULL;
}

/* Times of new conditions are the server's; an unchanged one keeps its own. */
static void stamp_conditions(const struct kind_ctx *ctx, csr_object *csr, const csr_object *old)
{
    struct meta_v1_time now = {.seconds = ctx->now_ns / 1000000000};
    for (size_t i = 0; i < csr->status.conditions_count; i++) {
        csr_condition *c = &csr->status.conditions[i];
        const csr_condition *before = find(old, c->type);
        if (c->last_update_time.seconds == 0)
            c->last_update_time = now;
        if (c->last_transition_time.seconds == 0)
            c->last_transition_time = before != NULL && str_eq(before->status, c->status)
                                          ? before->last_transition_time
                                          : now;
    }
}

static bool is_decision(struct str type)
{
    return str_eqc(type, "Approved") || str_eqc(type, "Denied");
}

static void prepare_approval(const struct kind_ctx *ctx, void *obj, const void *old)
{
    csr_object *csr = obj;
    const csr_object *o = old;
    csr->spec = o->spec;
    csr->status.certificate = o->status.certificate;
    stamp_conditions(ctx, csr, o);
}

/* The signer may not decide: Approved and Denied stay as they are. */
static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    csr_object *csr = obj;
    const csr_object *o = old;
    csr->spec = o->spec;
    size_t n = 0;
    csr_condition *list = ARENA_ARRAY(ctx->arena, csr_condition,
                                      csr->status.conditions_count + o->status.conditions_count);
    for (size_t i = 0; i < o->status.conditions_count; i++)
        if (is_decision(o->status.conditions[i].type))
            list[n++] = o->status.conditions[i];
    for (size_t i = 0; i < csr->status.conditions_count; i++)
        if (!is_decision(csr->status.conditions[i].type))
            list[n++] = csr->status.conditions[i];
    csr->status.conditions = list;
    csr->status.conditions_count = n;
    stamp_conditions(ctx, csr, o);
}

static void validate_conditions(const csr_object *csr, const csr_object *old,
                                struct field_errors *errs)
{
    static const char *const statuses[] = {"True", NULL};
    static const char *const decision_types[] = {"Approved", "Denied", "Failed"};
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "conditions");
    for (size_t i = 0; i < ARRAY_SIZE(decision_types); i++)
        if (find(old, str_of(decision_types[i])) != NULL &&
            find(csr, str_of(decision_types[i])) == NULL)
            field_forbidden(errs, path, "updates may not remove a condition of type \"%s\"",
                            decision_types[i]);
    if (find(csr, STR("Approved")) != NULL && find(csr, STR("Denied")) != NULL)
        field_invalid(errs, path, STR("Denied"),
                      "Approved and Denied conditions are mutually exclusive");
    for (size_t i = 0; i < csr->status.conditions_count; i++) {
        const csr_condition *c = &csr->status.conditions[i];
        if (str_empty(c->type))
            field_required(errs, PATH(PATH_INDEX(path, i), "type"), NULL);
        if (str_empty(c->status))
            field_required(errs, PATH(PATH_INDEX(path, i), "status"), NULL);
        else if ((is_decision(c->type) || str_eqc(c->type, "Failed")) &&
                 !str_eqc(c->status, "True"))
            field_not_supported(errs, PATH(PATH_INDEX(path, i), "status"), c->status, statuses);
        for (size_t k = 0; k < i; k++)
            if (str_eq(csr->status.conditions[k].type, c->type))
                field_duplicate(errs, PATH(PATH_INDEX(path, i), "type"), c->type);
    }
}

static void validate_approval(const struct kind_ctx *ctx, const void *obj, const void *old,
                              struct field_errors *errs)
{
    UNUSED(ctx);
    validate_conditions(obj, old, errs);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const csr_object *csr = obj, *o = old;
    struct str cert = csr->status.certificate;
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "certificate");
    struct pki_cert **list = NULL;
    size_t count = 0;
    validate_conditions(csr, o, errs);
    if (!str_empty(o->status.certificate) && !str_eq(cert, o->status.certificate))
        field_forbidden(errs, path, "updates may not change certificate content");
    else if (!str_empty(cert) &&
             (pki_certs_parse(ctx->arena, cert, &list, &count, NULL) != 0 || count == 0))
        field_invalid(errs, path, STR("<certificate data>"),
                      "must contain at least one CERTIFICATE PEM block");
}

static const struct kind_sub subs[] = {
    {"approval", prepare_approval, validate_approval},
    {"status", prepare_status, validate_status},
    {0},
};

static struct str get_signer(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const csr_object *)obj)->spec.signer_name;
}

static const struct kind_field fields[] = {{"spec.signerName", get_signer}, {0}};

/* --- table -------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Age", "string", "", "", 0},
    {"SignerName", "string", "", "Who is to sign.", 0},
    {"Requestor", "string", "", "Who asked.", 0},
    {"RequestedDuration", "string", "", "How long it shall be valid.", 0},
    {"Condition", "string", "", "What became of it.", 0},
    {0},
};

static void cell_condition(struct table_row *r, const csr_object *csr)
{
    const char *decision = find(csr, STR("Denied")) != NULL     ? "Denied"
                           : find(csr, STR("Approved")) != NULL ? "Approved"
                                                                : "Pending";
    cell_printf(r, "%s%s%s", decision, find(csr, STR("Failed")) != NULL ? ",Failed" : "",
                str_empty(csr->status.certificate) ? "" : ",Issued");
}

static void row(struct table_row *r, const void *obj)
{
    const csr_object *csr = obj;
    cell_str(r, csr->metadata.name);
    cell_age(r, &csr->metadata.creation_timestamp);
    cell_str(r, str_empty(csr->spec.signer_name) ? STR("<none>") : csr->spec.signer_name);
    cell_str(r, csr->spec.username);
    if (csr->spec.has_expiration_seconds)
        cell_duration(r, csr->spec.expiration_seconds);
    else
        cell_strc(r, "<none>");
    cell_condition(r, csr);
}

const struct kind_ops kind_certificatesigningrequests = {
    .group = "certificates.k8s.io",
    .version = "v1",
    .resource = "certificatesigningrequests",
    .flags = KIND_UNMANAGED,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .subs = subs,
    .fields = fields,
    .columns = columns,
    .row = row,
};
