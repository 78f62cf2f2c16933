/* pod_certificate_status.c - see pod_certificate_status.h.
 *
 *   pending -> Issued (chain and times)   pending -> Denied, Failed (nothing else)
 *
 * What has been decided stays. */
#include "apiserver/kinds/pod_certificate_status.h"

#include "apiserver/validate.h"
#include "api/certificates_v1beta1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/net/pki.h"

#include <stdio.h>
#include <string.h>
#include <time.h>

#define CHAIN_BYTES_MAX (100 * 1024)
#define CLOCK_SKEW_S ((int64_t)5 * 60)
#define LIFETIME_MIN_S ((int64_t)3600)
#define REFRESH_MARGIN_S ((int64_t)10 * 60) /* From either end of a certificate's life. */

#define request_object struct certificates_v1beta1_pod_certificate_request
#define request_status struct certificates_v1beta1_pod_certificate_request_status

static const char *const decisions[] = {"Denied", "Failed", "Issued", NULL};

struct judgement {
    struct field_errors *errs;
    const request_object *now, *old;
    const struct field_path *status, *chain;
    struct pki_cert *leaf; /* Owned. */
};

static bool is_decision(struct str type)
{
    for (size_t i = 0; decisions[i] != NULL; i++)
        if (str_eqc(type, decisions[i]))
            return true;
    return false;
}

static bool is_decided(const request_object *r, const char *type)
{
    for (size_t i = 0; i < r->status.conditions_count; i++)
        if (str_eqc(r->status.conditions[i].type, type) &&
            str_eqc(r->status.conditions[i].status, "True"))
            return true;
    return false;
}

static bool same(const request_status *x, const request_status *y)
{
    return api_msg_equal(&certificates_v1beta1_pod_certificate_request_status_msg, x, y);
}

/* --- conditions ------------------------------------------------------------------------------ */

static void check_conditions(struct judgement *j)
{
    static const char *const types[] = {"Issued", "Denied", "Failed", NULL};
    static const char *const true_only[] = {"True", NULL};
    const request_status *s = &j->now->status;
    const struct field_path *list = PATH(j->status, "conditions");
    size_t known = 0;
    for (size_t i = 0; i < s->conditions_count; i++) {
        /* Upstream writes the index as a name of its own. */
        const char *index = str_c(arena_printf(j->errs->arena, "[%zu]", i));
        const struct field_path *at = PATH(list, index);
        const struct meta_v1_condition *c = &s->conditions[i];
        if (!is_decision(c->type)) {
            field_not_supported(j->errs, PATH(at, "type"), c->type, types);
            continue;
        }
        if (++known > 1)
            field_invalid(j->errs, PATH(at, "type"), c->type,
                          "There may be at most one condition with type \"Issued\", \"Denied\", or "
                          "\"Failed\"");
        if (!str_eqc(c->status, "True"))
            field_not_supported(j->errs, PATH(at, "status"), c->status, true_only);
    }
    validate_conditions(j->errs, list, s->conditions, s->conditions_count);
}

/* --- the chain ------------------------------------------------------------------------------- */

struct chain_walk {
    struct judgement *j;
    size_t count;
    const char *wrong; /* What is; NULL: nothing. */
};

static bool on_block(const struct pki_block *b, void *arg)
{
    struct chain_walk *w = arg;
    struct pki_cert *cert = NULL;
    bool leaf = w->count++ == 0;
    if (strcmp(b->type, "CERTIFICATE") != 0)
        w->wrong = "issued certificate chain must consist entirely of CERTIFICATE PEM blocks";
    else if (pki_cert_parse_der(b->der, &cert, NULL) != 0)
        w->wrong = leaf ? "leaf certificate does not parse as valid X.509"
                        : "intermediate certificate does not parse as valid X.509";
    if (leaf)
        w->j->leaf = cert;
    else
        pki_cert_unref(cert);
    return w->wrong == NULL;
}

static void check_dns_name(struct judgement *j, struct str name)
{
    if (str_empty(name))
        field_invalid(j->errs, j->chain, name, "leaf certificate should not contain empty DNSName");
    if (str_find_str(name, STR("..")) >= 0)
        field_invalid(j->errs, j->chain, name,
                      "leaf certificate's DNSName should not contain '..'");
    if (str_has_prefix(name, STR(".")) || str_has_suffix(name, STR(".")))
        field_invalid(j->errs, j->chain, name,
                      "leaf certificate's DNSName should not start or end with '.'");
}

static bool is_email(struct str s)
{
    ptrdiff_t at = str_find(s, '@', 0);
    return at > 0 && (size_t)at + 1 < s.len && str_find(s, '@', (size_t)at + 1) < 0 &&
           str_find(s, ' ', 0) < 0;
}

static void check_names(struct judgement *j)
{
    const struct pki_subject *s = pki_cert_subject(j->leaf);
    for (size_t i = 0; i < s->dns_name_count; i++)
        check_dns_name(j, s->dns_names[i]);
    for (size_t i = 0; i < s->email_count; i++)
        if (!is_email(s->emails[i]))
            field_invalid(j->errs, j->chain, s->emails[i],
                          "leaf certificate should not contain invalid EmailAddress");
}

struct pki_key *pod_certificate_key(struct arena *a, const request_object *request)
{
    struct pki_key *key = NULL;
    struct pki_csr csr;
    if (request->spec.stub_pkcs10_request.len == 0)
        return pki_key_parse_spki(request->spec.pkix_public_key, &key, NULL) == 0 ? key : NULL;
    return pki_csr_parse_der(a, request->spec.stub_pkcs10_request, &csr, NULL) == 0
               ? pki_key_ref(csr.key)
               : NULL;
}

static bool is_for_key(struct judgement *j)
{
    struct pki_key *key = pod_certificate_key(j->errs->arena, j->old);
    bool matches = key != NULL && pki_cert_matches_key(j->leaf, key);
    pki_key_unref(key);
    return matches;
}

/* --- times ----------------------------------------------------------------------------------- */

/* As Go shows a time. */
static struct str time_shown(struct judgement *j, const struct meta_v1_time *t)
{
    char text[TIME_TEXT_MAX];
    struct tm tm;
    time_t s = (time_t)t->seconds;
    gmtime_r(&s, &tm);
    strftime(text, sizeof(text), "%Y-%m-%d %H:%M:%S +0000 UTC", &tm);
    return arena_strc(j->errs->arena, text);
}

/* And a duration. */
static struct str duration_shown(struct judgement *j, int64_t s)
{
    if (s < 0)
        return arena_printf(j->errs->arena, "-" STR_FMT, STR_ARG(duration_shown(j, -s)));
    if (s < 60)
        return arena_printf(j->errs->arena, "%llds", (long long)s);
    if (s < 3600)
        return arena_printf(j->errs->arena, "%lldm%llds", (long long)(s / 60), (long long)(s % 60));
    return arena_printf(j->errs->arena, "%lldh%lldm%llds", (long long)(s / 3600),
                        (long long)(s / 60 % 60), (long long)(s % 60));
}

static bool bad_time(struct judgement *j, const char *field, const struct meta_v1_time *t,
                     const char *why)
{
    field_invalid_raw(j->errs, PATH(j->status, field), time_shown(j, t), "%s", why);
    return false;
}

static bool has_times(struct judgement *j)
{
    const request_status *s = &j->now->status;
    if (s->not_before == NULL)
        field_required(j->errs, PATH(j->status, "notBefore"),
                       "must be present and consistent with the issued certificate");
    if (s->not_after == NULL)
        field_required(j->errs, PATH(j->status, "notAfter"),
                       "must be present and consistent with the issued certificate");
    if (s->begin_refresh_at == NULL)
        field_required(j->errs, PATH(j->status, "beginRefreshAt"),
                       "must be present and in the range [notbefore+10min, notafter-10min]");
    return j->errs->count == 0;
}

static bool is_of_leaf(struct judgement *j, int64_t wall_s)
{
    const request_status *s = &j->now->status;
    if (s->not_before->seconds != pki_cert_not_before(j->leaf))
        return bad_time(j, "notBefore", s->not_before,
                        "must be set to the NotBefore time encoded in the leaf certificate");
    if (s->not_before->seconds <= wall_s - CLOCK_SKEW_S ||
        s->not_before->seconds >= wall_s + CLOCK_SKEW_S)
        return bad_time(j, "notBefore", s->not_before,
                        "must be set to within 5 minutes of kube-apiserver's current time");
    if (s->not_after->seconds != pki_cert_not_after(j->leaf))
        return bad_time(j, "notAfter", s->not_after,
                        "must be set to the NotAfter time encoded in the leaf certificate");
    return true;
}

static bool lives_as_asked(struct judgement *j)
{
    int64_t life_s = pki_cert_not_after(j->leaf) - pki_cert_not_before(j->leaf);
    int64_t max_s = j->old->spec.max_expiration_seconds;
    if (life_s < LIFETIME_MIN_S)
        field_invalid_raw(j->errs, j->chain, duration_shown(j, life_s),
                          "leaf certificate lifetime must be >= 1 hour");
    else if (life_s > max_s)
        field_invalid_raw(j->errs, j->chain, duration_shown(j, life_s),
                          "leaf certificate lifetime must be <= spec.maxExpirationSeconds (%lld)",
                          (long long)max_s);
    return j->errs->count == 0;
}

static void check_refresh(struct judgement *j)
{
    const request_status *s = &j->now->status;
    if (s->begin_refresh_at->seconds < s->not_before->seconds + REFRESH_MARGIN_S)
        bad_time(j, "beginRefreshAt", s->begin_refresh_at,
                 "must be at least 10 minutes after status.notBefore");
    else if (s->begin_refresh_at->seconds > s->not_after->seconds - REFRESH_MARGIN_S)
        bad_time(j, "beginRefreshAt", s->begin_refresh_at,
                 "must be at least 10 minutes before status.notAfter");
}

/* --- the change --------------------------------------------------------------------------------
 */

static void check_issued(struct judgement *j, int64_t wall_s)
{
    struct str chain = j->now->status.certificate_chain;
    struct chain_walk walk = {.j = j};
    if (chain.len > CHAIN_BYTES_MAX) {
        field_too_long(j->errs, j->chain, CHAIN_BYTES_MAX);
        return;
    }
    pki_pem_walk(chain, on_block, &walk);
    if (walk.count == 0)
        walk.wrong = "issued certificate chain must contain at least one certificate";
    if (walk.wrong == NULL) {
        check_names(j);
        if (!is_for_key(j))
            walk.wrong = "leaf certificate was not issued to the requested public key";
    }
    if (walk.wrong != NULL) {
        field_invalid(j->errs, j->chain, chain, "%s", walk.wrong);
        return;
    }
    if (has_times(j) && is_of_leaf(j, wall_s) && lives_as_asked(j))
        check_refresh(j);
}

void validate_pod_certificate_status(struct field_errors *errs, const request_object *now,
                                     const request_object *old, int64_t wall_ns)
{
    const struct field_path *status = PATH(PATH_ROOT, "status");
    struct judgement j = {.errs = errs,
                          .now = now,
                          .old = old,
                          .status = status,
                          .chain = PATH(status, "certificateChain")};
    check_conditions(&j);
    if (errs->count != 0)
        return;
    if (is_decided(old, "Issued") || is_decided(old, "Denied") || is_decided(old, "Failed")) {
        if (!same(&now->status, &old->status))
            field_invalid_raw(errs, status, STR_NULL,
                              "immutable after PodCertificateRequest is issued, denied, or failed");
    } else if (is_decided(now, "Denied") || is_decided(now, "Failed")) {
        request_status bare = {.conditions = now->status.conditions,
                               .conditions_count = now->status.conditions_count};
        if (!same(&now->status, &bare))
            field_invalid_raw(errs, status, STR_NULL,
                              "non-condition status fields must be empty when denying or failing "
                              "the PodCertificateRequest");
    } else if (is_decided(now, "Issued")) {
        check_issued(&j, wall_ns / 1000000000);
    } else if (!same(&now->status, &old->status)) {
        field_invalid_raw(errs, status, STR_NULL,
                          "status is immutable unless transitioning to \"Issued\", \"Denied\", or "
                          "\"Failed\"");
    }
    pki_cert_unref(j.leaf);
}
