/* field_filter.c - see field_filter.h. */
#include "apiserver/field_filter.h"

#include "apiserver/registry.h"
#include "lib/base/arena.h"

#define NAME(s)                                                                                    \
    {                                                                                              \
        .kind = FIELDPATH_NAME, .name = {(s), sizeof(s) - 1 }                                      \
    }
#define MEMBER(s)                                                                                  \
    {                                                                                              \
        .elem = NAME(s), .member = true                                                            \
    }
#define SET(items)                                                                                 \
    {                                                                                              \
        (items), ARRAY_SIZE(items), ARRAY_SIZE(items)                                              \
    }
#define BELOW(s, items)                                                                            \
    {                                                                                              \
        .elem = NAME(s), .children = SET(items)                                                    \
    }

/* --- metadata ---------------------------------------------------------------------- */
static struct fieldset_item meta_items[] = {
    MEMBER("clusterName"),
    MEMBER("creationTimestamp"),
    MEMBER("generation"),
    MEMBER("managedFields"),
    MEMBER("name"),
    MEMBER("namespace"),
    MEMBER("resourceVersion"),
    MEMBER("selfLink"),
    MEMBER("uid"),
};
static struct fieldset_item strip_items[] = {
    MEMBER("apiVersion"),
    MEMBER("kind"),
    {.elem = NAME("metadata"), .member = true, .children = SET(meta_items)},
};
static const struct fieldset strip = SET(strip_items);

struct fieldset field_filter_meta(struct arena *a, const struct fieldset *s)
{
    return fieldset_difference(a, s, &strip);
}

/* --- what a resource resets --------------------------------------------------------- */
static struct fieldset_item status_items[] = {MEMBER("status")};
static struct fieldset_item spec_items[] = {MEMBER("spec")};
static struct fieldset_item meta_spec_items[] = {MEMBER("metadata"), MEMBER("spec")};
static struct fieldset_item labels_items[] = {MEMBER("labels")};
static struct fieldset_item labels_spec_items[] = {BELOW("metadata", labels_items), MEMBER("spec")};
static struct fieldset_item pod_meta_items[] = {MEMBER("deletionTimestamp"),
                                                MEMBER("ownerReferences")};
static struct fieldset_item pod_status_items[] = {BELOW("metadata", pod_meta_items),
                                                  MEMBER("spec")};
static struct fieldset_item conditions_items[] = {MEMBER("conditions")};
static struct fieldset_item csr_status_items[] = {MEMBER("spec"),
                                                  BELOW("status", conditions_items)};
static struct fieldset_item certificate_items[] = {MEMBER("certificate")};
static struct fieldset_item csr_approval_items[] = {MEMBER("spec"),
                                                    BELOW("status", certificate_items)};
static const struct fieldset none = FIELDSET_EMPTY;
static const struct fieldset status_alone = SET(status_items);
static const struct fieldset spec_alone = SET(spec_items);

/* What differs from the rule: status in the object itself, spec in status. */
static const struct {
    const char *group, *resource, *sub;
    struct fieldset set;
} exceptions[] = {
    {"", "pods", "status", SET(pod_status_items)},
    {"", "namespaces", "finalize", SET(status_items)},
    {"apps", "deployments", "status", SET(labels_spec_items)},
    {"admissionregistration.k8s.io", "validatingadmissionpolicies", "status", SET(meta_spec_items)},
    {"apiextensions.k8s.io", "customresourcedefinitions", "status", SET(meta_spec_items)},
    {"apiregistration.k8s.io", "apiservices", "status", SET(meta_spec_items)},
    {"certificates.k8s.io", "certificatesigningrequests", "status", SET(csr_status_items)},
    {"certificates.k8s.io", "certificatesigningrequests", "approval", SET(csr_approval_items)},
    {"flowcontrol.apiserver.k8s.io", "flowschemas", "status", SET(meta_spec_items)},
    {"flowcontrol.apiserver.k8s.io", "prioritylevelconfigurations", "status", SET(meta_spec_items)},
    {"resource.k8s.io", "resourceclaims", "status", SET(meta_spec_items)},
    {"resource.k8s.io", "devicetaintrules", "status", SET(meta_spec_items)},
    {"storage.k8s.io", "volumeattachments", "status", SET(meta_spec_items)},
};

static const struct fieldset *reset_set(const struct resource *res, const char *sub)
{
    for (size_t i = 0; i < ARRAY_SIZE(exceptions); i++)
        if (strcmp(exceptions[i].sub, sub) == 0 &&
            strcmp(exceptions[i].resource, res->kind->resource) == 0 &&
            strcmp(exceptions[i].group, res->kind->group) == 0)
            return &exceptions[i].set;
    if (strcmp(sub, "status") == 0)
        return &spec_alone;
    return sub[0] == '\0' && res->status ? &status_alone : &none;
}

/* What the set says of one member of the object. */
static struct fieldset member_alone(struct arena *a, const struct fieldset *s, const char *name)
{
    struct fieldset out = FIELDSET_EMPTY;
    const struct fieldpath_elem elem = {.kind = FIELDPATH_NAME, .name = str_of(name)};
    const struct fieldset_item *found = fieldset_find(s, &elem);
    if (found == NULL)
        return out;
    struct fieldset_item *item = fieldset_add(a, &out, &elem);
    item->member = found->member;
    item->children = found->children;
    return out;
}

struct fieldset field_filter_reset(struct arena *a, const struct resource *res,
                                   const char *subresource, const struct fieldset *s)
{
    if (s->count == 0 || res == NULL)
        return *s;
    if (res->custom != NULL && strcmp(subresource, "status") == 0)
        return member_alone(a, s, "status");
    const struct fieldset *reset = reset_set(res, subresource);
    return reset->count == 0 ? *s : fieldset_recursive_difference(a, s, reset);
}
