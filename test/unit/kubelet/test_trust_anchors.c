/* test_trust_anchors.c - which bundles a projection asks for, and what becomes of them. */
#include "kubelet/trust_anchors.h"

#include "api/certificates_v1beta1.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"
#include "test/unit/unit.h"

#include <string.h>

static const uint8_t seed[TRUST_SEED_BYTES] = {1}, other_seed[TRUST_SEED_BYTES] = {2};

static struct str pem_of(struct arena *a, const char *word)
{
    AUTO_BUF b = BUF_INIT;
    pki_pem_write(&b, "CERTIFICATE", str_of(word)); /* What is in it is not looked at. */
    return arena_str(a, buf_str(&b));
}

static struct api_object *bundle(struct arena *a, const char *name, const char *signer,
                                 const char *stage, struct str pem)
{
    struct api_object *o = ARENA_NEW(a, struct api_object);
    struct certificates_v1beta1_cluster_trust_bundle *b =
        ARENA_NEW(a, struct certificates_v1beta1_cluster_trust_bundle);
    b->metadata.name = str_of(name);
    b->metadata.labels = ARENA_NEW(a, struct api_str_entry);
    *b->metadata.labels = (struct api_str_entry){STR("stage"), str_of(stage)};
    b->metadata.labels_count = 1;
    b->spec.signer_name = str_of(signer);
    b->spec.trust_bundle = pem;
    o->msg = b;
    return o;
}

struct world {
    struct api_object *bundles[4];
    struct core_v1_cluster_trust_bundle_projection p;
    struct error err;
};

static struct world make(struct arena *a)
{
    struct str one = pem_of(a, "one"), two = pem_of(a, "two"), three = pem_of(a, "three");
    struct str both =
        arena_printf(a, "words\n" STR_FMT "more\n" STR_FMT, STR_ARG(one), STR_ARG(two));
    return (struct world){.bundles = {bundle(a, "plain", "", "live", one),
                                      bundle(a, "e.com:ca:a", "e.com/ca", "live", both),
                                      bundle(a, "e.com:ca:b", "e.com/ca", "live", two),
                                      bundle(a, "e.com:ca:c", "e.com/ca", "canary", three)}};
}

static struct str merged(struct arena *a, struct world *w, const uint8_t *s)
{
    struct str out = STR("failed");
    trust_anchors_merge(a, &w->p, w->bundles, ARRAY_SIZE(w->bundles), s, &out, &w->err);
    return out;
}

static size_t count(struct str text, struct str part)
{
    size_t n = 0;
    for (ptrdiff_t at; (at = str_find_str(text, part)) >= 0; n++)
        text = str_sub(text, (size_t)at + part.len, text.len);
    return n;
}

START_TEST(by_name)
{
    AUTO_ARENA *a = arena_new(0);
    struct world w = make(a);
    w.p.has_name = true;
    w.p.name = STR("plain");
    ck_assert(str_eq(merged(a, &w, seed), pem_of(a, "one")));
    w.p.name = STR("none");
    ck_assert(str_eqc(merged(a, &w, seed), "failed"));
    ck_assert_int_eq(w.err.code, E_NOT_FOUND);
    ck_assert_str_eq(error_message(&w.err), "while getting ClusterTrustBundle: "
                                            "clustertrustbundle.certificates.k8s.io \"none\" not "
                                            "found");
    w.p.optional = true;
    ck_assert(str_eqc(merged(a, &w, seed), ""));
}
END_TEST

/* Each certificate once, without what stands between. */
START_TEST(by_signer)
{
    AUTO_ARENA *a = arena_new(0);
    struct world w = make(a);
    struct meta_v1_label_selector all = {0}, live = {.match_labels_count = 1};
    struct api_str_entry label = {STR("stage"), STR("live")};
    live.match_labels = &label;
    w.p.has_signer_name = true;
    w.p.signer_name = STR("e.com/ca");
    w.p.label_selector = &live;
    struct str text = merged(a, &w, seed);
    ck_assert_uint_eq(text.len, pem_of(a, "one").len + pem_of(a, "two").len);
    ck_assert_uint_eq(count(text, pem_of(a, "one")), 1);
    ck_assert_uint_eq(count(text, pem_of(a, "two")), 1);
    w.p.label_selector = &all;
    ck_assert_uint_eq(count(merged(a, &w, seed), STR("-----BEGIN CERTIFICATE-----\n")), 3);
    /* No selector is one for nothing. */
    w.p.label_selector = NULL;
    ck_assert(str_eqc(merged(a, &w, seed), "failed"));
    ck_assert_str_eq(
        error_message(&w.err),
        "combination of signerName and labelSelector matched zero ClusterTrustBundles");
    w.p.label_selector = &all;
    w.p.signer_name = STR("e.com/other");
    ck_assert(str_eqc(merged(a, &w, seed), "failed"));
    w.p.optional = true;
    ck_assert(str_eqc(merged(a, &w, seed), ""));
}
END_TEST

/* However the bundles come, the file is the same; another seed may order it otherwise. */
START_TEST(order)
{
    AUTO_ARENA *a = arena_new(0);
    struct world w = make(a);
    struct meta_v1_label_selector all = {0};
    w.p.has_signer_name = true;
    w.p.signer_name = STR("e.com/ca");
    w.p.label_selector = &all;
    struct str before = merged(a, &w, seed);
    struct api_object *x = w.bundles[1];
    w.bundles[1] = w.bundles[3];
    w.bundles[3] = x;
    ck_assert(str_eq(merged(a, &w, seed), before));
    ck_assert(!str_eq(merged(a, &w, other_seed), before));
    ck_assert_uint_eq(merged(a, &w, other_seed).len, before.len);
}
END_TEST

UNIT_MAIN("trust_anchors", {
    UNIT_TEST(by_name);
    UNIT_TEST(by_signer);
    UNIT_TEST(order);
})
