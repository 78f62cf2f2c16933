/* pod_topology_labels.c - PodTopologyLabels: a pod shows the zone and region of
 * its node among its labels, from when it gets the node. */
#include "api/core_v1.h"
#include "apiserver/admission/plugins.h"
#include "apiserver/registry.h"
#include "lib/base/arena.h"

/* Keys stay sorted, as maps are stored; labels of the pod's own stay. */
static void add_label(struct arena *a, struct meta_v1_object_meta *m, struct str key,
                      struct str value)
{
    size_t at = 0, n = m->labels_count;
    while (at < n && str_cmp(m->labels[at].key, key) < 0)
        at++;
    if (at < n && str_eq(m->labels[at].key, key))
        return;
    struct api_str_entry *list = ARENA_ARRAY(a, struct api_str_entry, n + 1);
    for (size_t i = 0; i <= n; i++)
        list[i] = i == at ? (struct api_str_entry){key, value} : m->labels[i > at ? i - 1 : i];
    m->labels = list;
    m->labels_count = n + 1;
}

static struct meta_v1_status *mutate(const struct admission *adm)
{
    static const char *const keys[] = {"topology.kubernetes.io/region",
                                       "topology.kubernetes.io/zone"};
    struct meta_v1_object_meta *m;
    struct str name;
    if (admission_is(adm, "", "pods")) {
        struct core_v1_pod *pod = adm->obj;
        m = &pod->metadata;
        name = pod->spec.node_name;
    } else if (admission_is_any(adm, "", "pods") && strcmp(adm->subresource, "binding") == 0) {
        struct core_v1_binding *b = adm->obj; /* Its labels become the pod's. */
        m = &b->metadata;
        name = b->target.name;
    } else {
        return NULL;
    }
    if (name.len == 0)
        return NULL;
    const struct core_v1_node *node = kind_lookup(adm->ctx, "", "nodes", STR_NULL, name);
    for (size_t i = 0; node != NULL && i < ARRAY_SIZE(keys); i++) {
        const struct str *v =
            api_str_map_get(node->metadata.labels, node->metadata.labels_count, str_of(keys[i]));
        if (v != NULL)
            add_label(adm->ctx->arena, m, str_of(keys[i]), *v);
    }
    return NULL;
}

const struct admission_plugin admission_pod_topology_labels = {
    .name = "PodTopologyLabels", .ops = ADMIT_BIT(ADMIT_CREATE), .mutate = mutate};
