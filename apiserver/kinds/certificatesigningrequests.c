/* certificatesigningrequests.c - CertificateSigningRequest: who asked is
 * recorded by the server; approval and certificate are given through
 * subresources and never taken back. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/signer_name.h"
#include "apiserver/kinds/value_diff.h"
#include "apiserver/user.h"
#include "api/certificates_v1.h"
#include "lib/api/codec.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#include <string.h>

#define EXPIRATION_MIN_S 600

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
    csr->spec.extra =
        ARENA_ARRAY(ctx->arena, struct certificates_v1_extra_value_entry, ctx->user->extra_count);
    csr->spec.extra_count = ctx->user->extra_count;
    for (size_t i = 0; i < ctx->user->extra_count; i++) {
        const struct user_extra *e = &ctx->user->extra[i];
        csr->spec.extra[i].key = e->key;
        csr->spec.extra[i].value.items =
            arena_memdup(ctx->arena, e->values, e->count * sizeof(struct str));
        csr->spec.extra[i].value.items_count = e->count;
    }
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
    struct str s = csr->spec.signer_name;
    const struct field_path *at = PATH(PATH(PATH_ROOT, "spec"), "signerName");
    if (str_eqc(s, "kubernetes.io/legacy-unknown"))
        field_invalid(errs, at, s, "the legacy signerName is not allowed via this API version");
    else
        validate_signer_name(errs, at, s);
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
    }
    for (size_t i = 0; i < csr->spec.usages_count; i++) {
        const struct field_path *path = PATH_INDEX(PATH(spec, "usages"), i);
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

/* --- conditions ------------------------------------------------------------------------ */

static const csr_condition *find(const csr_object *csr, struct str type)
{
    for (size_t i = 0; i < csr->status.conditions_count; i++)
        if (str_eq(csr->status.conditions[i].type, type))
            return &csr->status.conditions[i];
    return NULL;
}

static size_t count_of(const csr_object *csr, const char *type)
{
    size_t n = 0;
    for (size_t i = 0; i < csr->status.conditions_count; i++)
        n += str_eqc(csr->status.conditions[i].type, type);
    return n;
}

/* Times of new conditions are the server's; one of an unchanged status keeps its own. */
static void stamp_conditions(const struct kind_ctx *ctx, csr_object *csr, const csr_object *old)
{
    struct meta_v1_time now = {.seconds = ctx->now_ns / 1000000000};
    for (size_t i = 0; i < csr->status.conditions_count; i++) {
        csr_condition *c = &csr->status.conditions[i];
        if (time_is_zero(&c->last_update_time))
            c->last_update_time = now;
        if (!time_is_zero(&c->last_transition_time))
            continue;
        c->last_transition_time = now;
        for (size_t k = 0; k < old->status.conditions_count; k++) {
            const csr_condition *before = &old->status.conditions[k];
            if (str_eq(before->type, c->type) && str_eq(before->status, c->status) &&
                !time_is_zero(&before->last_transition_time)) {
                c->last_transition_time = before->last_transition_time;
                break;
            }
        }
    }
}

static const char *const decisions[] = {"Approved", "Denied", "Failed"};
#define APPROVAL_COUNT 2 /* Of them, those that only an approver sets. */

static void prepare_approval(const struct kind_ctx *ctx, void *obj, const void *old)
{
    csr_object *csr = obj;
    const csr_object *o = old;
    csr->spec = o->spec;
    csr->status.certificate = o->status.certificate;
    stamp_conditions(ctx, csr, o);
}

/* Instances of a condition of one type stay as they are, unless their number changes, which
 * validation refuses. */
static void keep_conditions(csr_object *csr, const csr_object *old, const char *type)
{
    if (count_of(csr, type) != count_of(old, type))
        return;
    for (size_t i = 0, k = 0; i < csr->status.conditions_count; i++) {
        if (!str_eqc(csr->status.conditions[i].type, type))
            continue;
        while (!str_eqc(old->status.conditions[k].type, type))
            k++;
        csr->status.conditions[i] = old->status.conditions[k++];
    }
}

static void prepare_status(const struct kind_ctx *ctx, void *obj, const void *old)
{
    csr_object *csr = obj;
    const csr_object *o = old;
    csr->spec = o->spec;
    for (size_t i = 0; i < APPROVAL_COUNT; i++)
        keep_conditions(csr, o, decisions[i]);
    stamp_conditions(ctx, csr, o);
}

static bool has_doubled(const csr_object *csr)
{
    for (size_t i = 0; i < csr->status.conditions_count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(csr->status.conditions[k].type, csr->status.conditions[i].type))
                return true;
    return false;
}

static void validate_condition_status(const csr_condition *c, const struct field_path *at,
                                      struct field_errors *errs)
{
    static const char *const true_only[] = {"True", NULL};
    static const char *const all[] = {"False", "True", "Unknown", NULL};
    bool decides = false;
    for (size_t i = 0; i < ARRAY_SIZE(decisions); i++)
        decides = decides || str_eqc(c->type, decisions[i]);
    require_listed(errs, PATH(at, "status"), c->status, decides ? true_only : all);
}

/* What was wrong before may stay so. */
static void validate_csr_conditions(const csr_object *csr, const csr_object *old,
                                    struct field_errors *errs)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "conditions");
    bool was_both = find(old, STR("Approved")) != NULL && find(old, STR("Denied")) != NULL;
    bool was_doubled = has_doubled(old), was_empty = find(old, STR("")) != NULL;
    bool approved = false, denied = false;
    for (size_t i = 0; i < csr->status.conditions_count; i++) {
        const csr_condition *c = &csr->status.conditions[i];
        const struct field_path *at = PATH_INDEX(path, i);
        if (str_empty(c->type) && !was_empty)
            field_required(errs, PATH(at, "type"), NULL);
        validate_condition_status(c, at, errs);
        approved = approved || str_eqc(c->type, "Approved");
        denied = denied || str_eqc(c->type, "Denied");
        if (approved && denied && !was_both &&
            (str_eqc(c->type, "Approved") || str_eqc(c->type, "Denied")))
            field_invalid(errs, path, c->type,
                          "Approved and Denied conditions are mutually exclusive");
        for (size_t k = 0; k < i && !was_doubled; k++)
            if (str_eq(csr->status.conditions[k].type, c->type)) {
                field_duplicate(errs, PATH(at, "type"), c->type);
                break;
            }
    }
}

/* In the order of the list, those of one type as one value. */
static struct str conditions_diff(struct arena *a, const csr_object *csr, const csr_object *old,
                                  const char *type)
{
    csr_object x = {0}, y = {0};
    const csr_object *from[] = {old, csr};
    csr_object *to[] = {&x, &y};
    for (size_t n = 0; n < 2; n++) {
        struct certificates_v1_certificate_signing_request_status *s = &to[n]->status;
        s->conditions = ARENA_ARRAY(a, csr_condition, from[n]->status.conditions_count);
        for (size_t i = 0; i < from[n]->status.conditions_count; i++)
            if (str_eqc(from[n]->status.conditions[i].type, type))
                s->conditions[s->conditions_count++] = from[n]->status.conditions[i];
    }
    return value_diff_member(a, &certificates_v1_certificate_signing_request_status_msg,
                             "conditions", &x.status, &y.status);
}

static void validate_decisions(const struct kind_ctx *ctx, const csr_object *csr,
                               const csr_object *old, bool approver, struct field_errors *errs)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "conditions");
    for (size_t i = 0; i < ARRAY_SIZE(decisions); i++)
        if (count_of(csr, decisions[i]) < count_of(old, decisions[i]))
            field_forbidden(errs, path, "updates may not remove a condition of type \"%s\"",
                            decisions[i]);
    for (size_t i = 0; i < APPROVAL_COUNT && !approver; i++) {
        size_t now = count_of(csr, decisions[i]), before = count_of(old, decisions[i]);
        if (now < before)
            continue;
        struct str diff = conditions_diff(ctx->arena, csr, old, decisions[i]);
        if (now > before)
            field_forbidden(errs, path, "updates may not add a condition of type \"%s\"",
                            decisions[i]);
        else if (diff.len != 0)
            field_forbidden(errs, path, "updates may not modify a condition of type \"%s\"" STR_FMT,
                            decisions[i], STR_ARG(diff));
    }
}

static void validate_certificate(const csr_object *csr, const csr_object *old,
                                 struct field_errors *errs)
{
    struct error err = {0};
    struct str cert = csr->status.certificate;
    if (str_empty(cert) || str_eq(cert, old->status.certificate))
        return;
    if (pki_certs_check(cert, &err) != 0 &&
        (str_empty(old->status.certificate) || pki_certs_check(old->status.certificate, NULL) == 0))
        field_invalid(errs, PATH(PATH(PATH_ROOT, "status"), "certificate"),
                      STR("<certificate data>"), "%s", error_message(&err));
}

/* Spec was judged when it was made and never changes. */
static void validate_change(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const csr_object *csr = obj, *o = old;
    bool approver = strcmp(ctx->subresource, "approval") == 0;
    const struct field_path *path = PATH(PATH(PATH_ROOT, "status"), "certificate");
    validate_csr_conditions(csr, o, errs);
    validate_certificate(csr, o, errs);
    validate_decisions(ctx, csr, o, approver, errs);
    if (!str_eq(csr->status.certificate, o->status.certificate) &&
        !str_empty(o->status.certificate))
        field_forbidden(errs, path, "updates may not modify existing certificate content");
}

static const struct kind_sub subs[] = {
    {"approval", prepare_approval, validate_change},
    {"status", prepare_status, validate_change},
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
    .validate_name = name_path_segment,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_change,
    .subs = subs,
    .fields = fields,
    .columns = columns,
    .row = row,
};
