/* claims.c - see claims.h. */
#include "lib/client/claims.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/storage_v1.h"
#include "lib/api/quantity.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/encode.h"
#include "lib/client/labels.h"
#include "lib/client/placement.h"
#include "lib/net/pki.h"

#define CLASS_BETA "volume.beta.kubernetes.io/storage-class"

struct str claim_class(const struct core_v1_persistent_volume_claim *c)
{
    const struct str *old = annotation_get(&c->metadata, CLASS_BETA);
    return old != NULL ? *old : c->spec.storage_class_name;
}

struct str volume_class(const struct core_v1_persistent_volume *v)
{
    const struct str *old = annotation_get(&v->metadata, CLASS_BETA);
    return old != NULL ? *old : v->spec.storage_class_name;
}

bool claim_wants_default_class(const struct core_v1_persistent_volume_claim *c)
{
    return !c->spec.has_storage_class_name && annotation_get(&c->metadata, CLASS_BETA) == NULL;
}

bool class_waits_for_consumer(const struct storage_v1_storage_class *s)
{
    return s != NULL && str_eqc(s->volume_binding_mode, "WaitForFirstConsumer");
}

bool class_is_default(const struct storage_v1_storage_class *s)
{
    static const char *const names[] = {"storageclass.kubernetes.io/is-default-class",
                                        "storageclass.beta.kubernetes.io/is-default-class"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const struct str *v = annotation_get(&s->metadata, names[i]);
        if (v != NULL && str_eqc(*v, "true"))
            return true;
    }
    return false;
}

bool claim_is_block(const struct core_v1_persistent_volume_claim *c)
{
    return c->spec.has_volume_mode && str_eqc(c->spec.volume_mode, "Block");
}

bool volume_is_block(const struct core_v1_persistent_volume *v)
{
    return v->spec.has_volume_mode && str_eqc(v->spec.volume_mode, "Block");
}

static struct quantity storage_of(const struct api_quantity_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_eqc(e[i].key, "storage"))
            return quantity_of(&e[i].value);
    return (struct quantity){0};
}

struct quantity claim_request(const struct core_v1_persistent_volume_claim *c)
{
    return storage_of(c->spec.resources.requests, c->spec.resources.requests_count);
}

struct quantity volume_capacity(const struct core_v1_persistent_volume *v)
{
    return storage_of(v->spec.capacity, v->spec.capacity_count);
}

bool volume_is_of_claim(const struct core_v1_persistent_volume *v,
                        const struct core_v1_persistent_volume_claim *c)
{
    const struct core_v1_object_reference *r = v->spec.claim_ref;
    return r != NULL && str_eq(r->name, c->metadata.name) &&
           str_eq(r->namespace, c->metadata.namespace) &&
           (str_empty(r->uid) || str_eq(r->uid, c->metadata.uid));
}

bool volume_has_modes(const struct core_v1_persistent_volume *v, const struct str *modes,
                      size_t count)
{
    for (size_t i = 0; i < count; i++) {
        bool has = false;
        for (size_t k = 0; k < v->spec.access_modes_count && !has; k++)
            has = str_eq(v->spec.access_modes[k], modes[i]);
        if (!has)
            return false;
    }
    return true;
}

static bool is_too_small(const struct core_v1_persistent_volume *v,
                         const struct core_v1_persistent_volume_claim *c)
{
    struct quantity have = volume_capacity(v), want = claim_request(c);
    return quantity_cmp(&have, &want) < 0;
}

static struct str attributes_class(bool has, struct str name)
{
    return has ? name : STR_NULL;
}

static bool same_attributes_class(const struct core_v1_persistent_volume *v,
                                  const struct core_v1_persistent_volume_claim *c)
{
    return str_eq(attributes_class(v->spec.has_volume_attributes_class_name,
                                   v->spec.volume_attributes_class_name),
                  attributes_class(c->spec.has_volume_attributes_class_name,
                                   c->spec.volume_attributes_class_name));
}

const char *volume_mismatch(const struct core_v1_persistent_volume *v,
                            const struct core_v1_persistent_volume_claim *c)
{
    if (is_too_small(v, c))
        return "requested PV is too small";
    if (!str_eq(claim_class(c), volume_class(v)))
        return "storageClassName does not match";
    if (!same_attributes_class(v, c))
        return "volumeAttributesClassName does not match";
    if (claim_is_block(c) != volume_is_block(v))
        return "incompatible volumeMode";
    if (!volume_has_modes(v, c->spec.access_modes, c->spec.access_modes_count))
        return "incompatible accessMode";
    return NULL;
}

bool volume_reaches_node(const struct core_v1_persistent_volume *v, const struct core_v1_node *node)
{
    const struct core_v1_volume_node_affinity *a = v->spec.node_affinity;
    return a == NULL || a->required == NULL || node_selector_matches(a->required, node);
}

/* Free, and as the claim wants it. */
static bool is_candidate(const struct volume_choice *how, const struct core_v1_persistent_volume *v,
                         const struct core_v1_persistent_volume_claim *c)
{
    if (v->spec.claim_ref != NULL || !str_eqc(v->status.phase, "Available"))
        return false;
    if (c->spec.selector != NULL &&
        !label_selector_matches(c->spec.selector, v->metadata.labels, v->metadata.labels_count))
        return false;
    return volume_mismatch(v, c) == NULL &&
           (how->node == NULL || volume_reaches_node(v, how->node)) &&
           (how->taken == NULL || !how->taken(how->arg, v));
}

static bool is_better(const struct core_v1_persistent_volume *x,
                      const struct core_v1_persistent_volume *y)
{
    if (x->spec.access_modes_count != y->spec.access_modes_count)
        return x->spec.access_modes_count < y->spec.access_modes_count;
    struct quantity have = volume_capacity(x), other = volume_capacity(y);
    int order = quantity_cmp(&have, &other);
    return order != 0 ? order < 0 : str_cmp(x->metadata.name, y->metadata.name) < 0;
}

const struct core_v1_persistent_volume *
volume_choose(const struct volume_choice *how, const struct core_v1_persistent_volume_claim *c)
{
    const struct core_v1_persistent_volume *best = NULL;
    struct api_object *o;
    for (size_t pos = 0; (o = how->next(how->arg, &pos)) != NULL;) {
        const struct core_v1_persistent_volume *v = o->msg;
        if (v->metadata.deletion_timestamp != NULL || claim_is_block(c) != volume_is_block(v) ||
            !same_attributes_class(v, c))
            continue;
        if (volume_is_of_claim(v, c)) {
            if (is_too_small(v, c) ||
                !volume_has_modes(v, c->spec.access_modes, c->spec.access_modes_count))
                continue;
            return how->node == NULL || volume_reaches_node(v, how->node) ? v : NULL;
        }
        if (how->node == NULL && how->wait)
            continue;
        if (is_candidate(how, v, c) && (best == NULL || is_better(v, best)))
            best = v;
    }
    return best;
}

struct str pod_claim_name(struct arena *a, const struct core_v1_pod *pod,
                          const struct core_v1_volume *v)
{
    if (v->volume_source.persistent_volume_claim != NULL)
        return v->volume_source.persistent_volume_claim->claim_name;
    if (v->volume_source.ephemeral != NULL)
        return arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(pod->metadata.name), STR_ARG(v->name));
    return STR_NULL;
}

const char *ephemeral_claim_mismatch(struct arena *a, const struct core_v1_pod *pod,
                                     const struct core_v1_volume *v,
                                     const struct core_v1_persistent_volume_claim *c)
{
    if (v->volume_source.ephemeral == NULL)
        return NULL;
    for (size_t i = 0; i < c->metadata.owner_references_count; i++) {
        const struct meta_v1_owner_reference *r = &c->metadata.owner_references[i];
        if (r->has_controller && r->controller && str_eq(r->uid, pod->metadata.uid))
            return NULL;
    }
    return str_c(arena_printf(a,
                              "PVC " STR_FMT "/" STR_FMT " was not created for pod " STR_FMT
                              "/" STR_FMT " (pod is not owner)",
                              STR_ARG(c->metadata.namespace), STR_ARG(c->metadata.name),
                              STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.name)));
}

struct str attachment_name(struct arena *a, struct str handle, struct str driver, struct str node)
{
    struct str all =
        arena_printf(a, STR_FMT STR_FMT STR_FMT, STR_ARG(handle), STR_ARG(driver), STR_ARG(node));
    AUTO_BUF hex = BUF_INIT;
    uint8_t hash[32];
    net_sha256(all.data, all.len, hash);
    hex_encode(hash, sizeof(hash), &hex);
    return arena_printf(a, "csi-" STR_FMT, STR_ARG(buf_str(&hex)));
}

struct str csi_unique_name(struct arena *a, struct str handle, struct str driver)
{
    return arena_printf(a, "kubernetes.io/csi/" STR_FMT "^" STR_FMT, STR_ARG(driver),
                        STR_ARG(handle));
}

void annotation_put(struct arena *a, struct meta_v1_object_meta *m, const char *key,
                    struct str value)
{
    struct api_str_entry *all = ARENA_ARRAY(a, struct api_str_entry, m->annotations_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < m->annotations_count; i++)
        if (!str_eqc(m->annotations[i].key, key))
            all[n++] = m->annotations[i];
    if (value.data != NULL)
        all[n++] = (struct api_str_entry){str_of(key), value};
    m->annotations = all;
    m->annotations_count = n;
}

bool finalizer_has(const struct meta_v1_object_meta *m, const char *name)
{
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (str_eqc(m->finalizers[i], name))
            return true;
    return false;
}

void finalizer_drop(struct arena *a, struct meta_v1_object_meta *m, const char *name)
{
    struct str *left = ARENA_ARRAY(a, struct str, m->finalizers_count + 1);
    size_t n = 0;
    for (size_t i = 0; i < m->finalizers_count; i++)
        if (!str_eqc(m->finalizers[i], name))
            left[n++] = m->finalizers[i];
    m->finalizers = left;
    m->finalizers_count = n;
}
