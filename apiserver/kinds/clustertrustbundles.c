/* clustertrustbundles.c - ClusterTrustBundle: certificates to trust, of a signer or of nobody in
 * particular. Who may vouch for a signer is admission's (ClusterTrustBundleAttest). */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/signer_name.h"
#include "apiserver/validate.h"
#include "api/certificates_v1beta1.h"
#include "api/meta_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/net/pki.h"

#include <string.h>

#define BUNDLE_BYTES_MAX (1024 * 1024)

#define bundle_object struct certificates_v1beta1_cluster_trust_bundle

/* --- names ---------------------------------------------------------------------------------- */

/* What a name may be depends on the signer, which validate_name() does not see. */
static void any_name(struct field_errors *errs, const struct field_path *path, struct str name,
                     bool generate)
{
    name_path_segment(errs, path, name, generate);
}

/* --- certificates --------------------------------------------------------------------------- */

struct anchors {
    struct field_errors *errs;
    const struct field_path *at;
    struct str *seen;
    size_t count, cap;
    size_t index; /* Of the block. */
    bool bad;
};

static bool refuse(struct anchors *s, const char *why)
{
    field_invalid(s->errs, s->at, STR("<value omitted>"), "entry %zu %s", s->index, why);
    s->bad = true;
    return true;
}

static bool check_block(struct anchors *s, const struct pki_block *b)
{
    struct pki_cert *cert;
    if (strcmp(b->type, "CERTIFICATE") != 0)
        return refuse(s, str_c(arena_printf(s->errs->arena, "has bad block type: %s", b->type)));
    if (b->headers)
        return refuse(s, "has PEM block headers");
    if (pki_cert_parse_der(b->der, &cert, NULL) != 0)
        return refuse(s, "does not parse as X.509");
    bool ca = pki_cert_has_ca_bit(cert);
    pki_cert_unref(cert);
    if (!ca)
        return refuse(s, "does not have the CA bit set");
    s->seen = arena_grow(s->errs->arena, s->seen, s->count, &s->cap, sizeof(*s->seen));
    s->seen[s->count++] = arena_str(s->errs->arena, b->der);
    return true;
}

static bool on_block(const struct pki_block *b, void *arg)
{
    struct anchors *s = arg;
    check_block(s, b);
    s->index++;
    return true;
}

/* Each certificate that is there more than once is told of, with all of its places. */
static void check_doubled(struct anchors *s)
{
    for (size_t i = 0; i < s->count; i++) {
        AUTO_BUF places = BUF_INIT;
        bool first = true;
        for (size_t k = 0; k < i && first; k++)
            first = !str_eq(s->seen[k], s->seen[i]);
        for (size_t k = i + 1; first && k < s->count; k++)
            if (str_eq(s->seen[k], s->seen[i]))
                buf_printf(&places, " %zu", k);
        if (places.len != 0)
            field_invalid(s->errs, s->at, STR("<value omitted>"),
                          "duplicate trust anchor (indices [%zu" STR_FMT "])", i,
                          STR_ARG(buf_str(&places)));
    }
}

static void check_bundle(struct field_errors *errs, const struct field_path *at, struct str pem)
{
    struct anchors s = {.errs = errs, .at = at};
    if (pem.len > BUNDLE_BYTES_MAX) {
        field_too_long(errs, at, BUNDLE_BYTES_MAX);
        return;
    }
    pki_pem_walk(pem, on_block, &s);
    if (s.bad)
        return;
    if (s.count == 0)
        field_invalid(errs, at, STR("<value omitted>"),
                      "at least one trust anchor must be provided");
    check_doubled(&s);
}

/* --- the kind --------------------------------------------------------------------------------- */

static void check(const bundle_object *b, bool parse, struct field_errors *errs)
{
    const struct field_path *meta = PATH(PATH_ROOT, "metadata"), *spec = PATH(PATH_ROOT, "spec");
    if (!str_empty(b->metadata.generate_name))
        validate_trust_bundle_name(errs, PATH(meta, "generateName"), b->metadata.generate_name,
                                   b->spec.signer_name, true);
    if (!str_empty(b->metadata.name))
        validate_trust_bundle_name(errs, PATH(meta, "name"), b->metadata.name, b->spec.signer_name,
                                   false);
    if (!str_empty(b->spec.signer_name))
        validate_signer_name(errs, PATH(spec, "signerName"), b->spec.signer_name);
    if (parse)
        check_bundle(errs, PATH(spec, "trustBundle"), b->spec.trust_bundle);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    check(obj, true, errs);
}

/* Certificates that stay are not judged again: another version may judge otherwise. */
static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    const bundle_object *b = obj, *o = old;
    check(b, !str_eq(b->spec.trust_bundle, o->spec.trust_bundle), errs);
    if (!str_eq(b->spec.signer_name, o->spec.signer_name))
        field_invalid(errs, PATH(PATH(PATH_ROOT, "spec"), "signerName"), b->spec.signer_name,
                      "field is immutable");
}

static struct str get_signer(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const bundle_object *)obj)->spec.signer_name;
}

static const struct kind_field fields[] = {{"spec.signerName", get_signer}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"SignerName", "string", "", "Whose certificates they are.", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const bundle_object *b = obj;
    cell_str(r, b->metadata.name);
    cell_str(r, str_empty(b->spec.signer_name) ? STR("<none>") : b->spec.signer_name);
}

const struct kind_ops kind_clustertrustbundles = {
    .group = "certificates.k8s.io",
    .version = "v1beta1",
    .resource = "clustertrustbundles",
    .flags = KIND_NO_UNCONDITIONAL_UPDATE,
    .validate_name = any_name,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .fields = fields,
    .columns = columns,
    .row = row,
};
