/* trust_anchors.c - see trust_anchors.h. */
#include "kubelet/trust_anchors.h"

#include "api/certificates_v1beta1.h"
#include "api/core_v1.h"
#include "lib/api/scheme.h"
#include "lib/api/selector.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/pki.h"

#include <limits.h>
#include <stdlib.h>
#include <string.h>

#define bundle_object struct certificates_v1beta1_cluster_trust_bundle

bool trust_bundle_is_for(const struct api_object *bundle,
                         const struct core_v1_cluster_trust_bundle_projection *p)
{
    const bundle_object *b = bundle->msg;
    if (p->has_name)
        return str_eq(b->metadata.name, p->name);
    AUTO_ARENA *a = arena_new(512);
    struct api_label_selector s;
    return str_eq(b->spec.signer_name, p->signer_name) &&
           api_label_selector_from(a, p->label_selector, &s, NULL) == 0 &&
           api_label_selector_matches(&s, b->metadata.labels, b->metadata.labels_count);
}

struct anchor {
    uint8_t rank[32]; /* Keyed by the seed. */
    struct str der;
};

struct anchors {
    struct arena *arena;
    const uint8_t *seed;
    struct anchor *items;
    size_t count, cap;
};

static bool on_block(const struct pki_block *b, void *arg)
{
    struct anchors *s = arg;
    if (strcmp(b->type, "CERTIFICATE") != 0)
        return true;
    s->items = arena_grow(s->arena, s->items, s->count, &s->cap, sizeof(*s->items));
    struct anchor *x = &s->items[s->count++];
    x->der = arena_str(s->arena, b->der);
    net_hmac_sha256(str_n((const char *)s->seed, TRUST_SEED_BYTES), x->der, x->rank);
    return true;
}

static int compare(const void *x, const void *y)
{
    return memcmp(((const struct anchor *)x)->rank, ((const struct anchor *)y)->rank,
                  sizeof(((const struct anchor *)x)->rank));
}

static int none_found(const struct core_v1_cluster_trust_bundle_projection *p, struct error *err)
{
    if (p->has_name)
        return error_set(err, E_NOT_FOUND,
                         "while getting ClusterTrustBundle: "
                         "clustertrustbundle.certificates.k8s.io \"" STR_FMT "\" not found",
                         STR_ARG(p->name));
    return error_set(
        err, E_NOT_FOUND,
        "combination of signerName and labelSelector matched zero ClusterTrustBundles");
}

int trust_anchors_merge(struct arena *a, const struct core_v1_cluster_trust_bundle_projection *p,
                        struct api_object *const *bundles, size_t count,
                        const uint8_t seed[TRUST_SEED_BYTES], struct str *ret, struct error *err)
{
    struct anchors s = {.arena = a, .seed = seed};
    AUTO_BUF pem = BUF_INIT;
    bool found = false;
    for (size_t i = 0; i < count; i++) {
        if (!trust_bundle_is_for(bundles[i], p))
            continue;
        const bundle_object *b = bundles[i]->msg;
        found = true;
        if (b->spec.trust_bundle.len <= INT_MAX)
            pki_pem_walk(b->spec.trust_bundle, on_block, &s);
    }
    if (!found && !p->optional)
        return none_found(p, err);
    if (s.count != 0)
        qsort(s.items, s.count, sizeof(*s.items), compare);
    for (size_t i = 0; i < s.count; i++)
        if (i == 0 || compare(&s.items[i - 1], &s.items[i]) != 0)
            pki_pem_write(&pem, "CERTIFICATE", s.items[i].der);
    *ret = arena_str(a, buf_str(&pem));
    return 0;
}
