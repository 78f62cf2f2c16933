/* class_key.c - all that plugins read of a pod, as bytes: pods with the same key
 * are decided alike. What tells apart pods of one template and matters to nobody
 * (names, the generated volume of the service account) stays out. */
#include "scheduler/class_key.h"

#include "api/core_v1.h"
#include "lib/api/codec.h"
#include "lib/base/buf.h"
#include "scheduler/snapshot.h"

static void put_count(struct buf *b, size_t n)
{
    buf_put_varint(b, n);
}

static void put_str(struct buf *b, struct str s)
{
    put_count(b, s.len);
    buf_append_str(b, s);
}

static void put_msg(struct buf *b, const struct api_msg *m, const void *msg)
{
    size_t at = b->len;
    buf_put_le32(b, 0);
    size_t from = b->len;
    api_pb_encode(m, msg, b);
    uint32_t len = (uint32_t)(b->len - from);
    memcpy(b->data + at, &len, sizeof(len));
}

static void put_entries(struct buf *b, const struct api_str_entry *e, size_t count)
{
    put_count(b, count);
    for (size_t i = 0; i < count; i++) {
        put_str(b, e[i].key);
        put_str(b, e[i].value);
    }
}

static void put_resources(struct buf *b, const struct pod_info *p)
{
    const struct resources *r = &p->needs->requests;
    const int64_t numbers[] = {r->milli_cpu, r->memory, r->ephemeral_storage,
                               p->needs->nonzero_milli_cpu, p->needs->nonzero_memory};
    buf_append(b, numbers, sizeof(numbers));
    put_count(b, r->scalar_count);
    for (size_t i = 0; i < r->scalar_count; i++) {
        put_str(b, str_of(r->scalars[i].name));
        buf_put_le64(b, (uint64_t)r->scalars[i].amount);
    }
}

static void put_containers(struct buf *b, const struct core_v1_container *cs, size_t count)
{
    put_count(b, count);
    for (size_t i = 0; i < count; i++) {
        put_str(b, cs[i].image);
        buf_putc(b, cs[i].has_restart_policy && str_eqc(cs[i].restart_policy, "Always"));
        for (size_t k = 0; k < cs[i].ports_count; k++)
            if (cs[i].ports[k].host_port > 0)
                put_msg(b, &core_v1_container_port_msg, &cs[i].ports[k]);
        buf_putc(b, '\0');
    }
}

/* Services and controllers select by labels; which controller is asked by name. */
static void put_owner(struct buf *b, const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->metadata.owner_references_count; i++) {
        const struct meta_v1_owner_reference *o = &pod->metadata.owner_references[i];
        if (!o->controller)
            continue;
        put_str(b, o->api_version);
        put_str(b, o->kind);
        put_str(b, o->name);
    }
}

static bool has_claims(const struct core_v1_pod_spec *spec)
{
    if (spec->resource_claims_count != 0)
        return true;
    for (size_t i = 0; i < spec->volumes_count; i++)
        if (spec->volumes[i].volume_source.persistent_volume_claim != NULL ||
            spec->volumes[i].volume_source.ephemeral != NULL)
            return true;
    return false;
}

bool class_key(const struct pod_info *p, struct buf *b)
{
    const struct core_v1_pod *pod = p->pod;
    const struct core_v1_pod_spec *spec = &pod->spec;
    if (has_claims(spec))
        return false;
    put_str(b, pod->metadata.namespace);
    put_entries(b, pod->metadata.labels, pod->metadata.labels_count);
    put_owner(b, pod);
    put_str(b, spec->node_name);
    buf_put_le32(b, (uint32_t)pod_priority(pod));
    put_resources(b, p);
    buf_putc(b, p->needs->reclaims);
    put_entries(b, spec->node_selector, spec->node_selector_count);
    buf_putc(b, spec->affinity != NULL);
    if (spec->affinity != NULL)
        put_msg(b, &core_v1_affinity_msg, spec->affinity);
    put_count(b, spec->tolerations_count);
    for (size_t i = 0; i < spec->tolerations_count; i++)
        put_msg(b, &core_v1_toleration_msg, &spec->tolerations[i]);
    put_count(b, spec->topology_spread_constraints_count);
    for (size_t i = 0; i < spec->topology_spread_constraints_count; i++)
        put_msg(b, &core_v1_topology_spread_constraint_msg, &spec->topology_spread_constraints[i]);
    put_containers(b, spec->containers, spec->containers_count);
    put_containers(b, spec->init_containers, spec->init_containers_count);
    return true;
}
