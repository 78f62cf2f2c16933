/* pod_refs.c - see pod_refs.h. */
#include "apiserver/pod_refs.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"

struct visit {
    pod_ref_fn *fn;
    void *arg;
};

static void tell(const struct visit *v, enum ref_kind kind, struct str name)
{
    if (name.len != 0)
        v->fn(kind, name, v->arg);
}

static void visit_env(const struct visit *v, const struct core_v1_env_from_source *from,
                      size_t from_count, const struct core_v1_env_var *env, size_t env_count)
{
    for (size_t i = 0; i < from_count; i++) {
        if (from[i].secret_ref != NULL)
            tell(v, REF_SECRET, from[i].secret_ref->local_object_reference.name);
        if (from[i].config_map_ref != NULL)
            tell(v, REF_CONFIG_MAP, from[i].config_map_ref->local_object_reference.name);
    }
    for (size_t i = 0; i < env_count; i++) {
        const struct core_v1_env_var_source *s = env[i].value_from;
        if (s != NULL && s->secret_key_ref != NULL)
            tell(v, REF_SECRET, s->secret_key_ref->local_object_reference.name);
        if (s != NULL && s->config_map_key_ref != NULL)
            tell(v, REF_CONFIG_MAP, s->config_map_key_ref->local_object_reference.name);
    }
}

static void visit_containers(const struct visit *v, const struct core_v1_container *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        visit_env(v, c[i].env_from, c[i].env_from_count, c[i].env, c[i].env_count);
}

static void visit_projected(const struct visit *v, const struct core_v1_projected_volume_source *p)
{
    for (size_t i = 0; p != NULL && i < p->sources_count; i++) {
        const struct core_v1_volume_projection *s = &p->sources[i];
        if (s->secret != NULL)
            tell(v, REF_SECRET, s->secret->local_object_reference.name);
        if (s->config_map != NULL)
            tell(v, REF_CONFIG_MAP, s->config_map->local_object_reference.name);
        if (s->cluster_trust_bundle != NULL)
            v->fn(REF_TRUST_BUNDLE, s->cluster_trust_bundle->name, v->arg);
    }
}

static void visit_local(const struct visit *v, const struct core_v1_local_object_reference *r)
{
    if (r != NULL)
        tell(v, REF_SECRET, r->name);
}

static void visit_volume(const struct visit *v, struct arena *a, const struct core_v1_pod *pod,
                         const struct core_v1_volume *volume)
{
    const struct core_v1_volume_source *s = &volume->volume_source;
    visit_projected(v, s->projected);
    if (s->secret != NULL)
        tell(v, REF_SECRET, s->secret->secret_name);
    if (s->config_map != NULL)
        tell(v, REF_CONFIG_MAP, s->config_map->local_object_reference.name);
    if (s->persistent_volume_claim != NULL)
        tell(v, REF_CLAIM, s->persistent_volume_claim->claim_name);
    if (s->ephemeral != NULL)
        tell(v, REF_CLAIM,
             arena_printf(a, STR_FMT "-" STR_FMT, STR_ARG(pod->metadata.name),
                          STR_ARG(volume->name)));
    if (s->azure_file != NULL)
        tell(v, REF_SECRET, s->azure_file->secret_name);
    visit_local(v, s->cephfs != NULL ? s->cephfs->secret_ref : NULL);
    visit_local(v, s->cinder != NULL ? s->cinder->secret_ref : NULL);
    visit_local(v, s->flex_volume != NULL ? s->flex_volume->secret_ref : NULL);
    visit_local(v, s->rbd != NULL ? s->rbd->secret_ref : NULL);
    visit_local(v, s->scale_io != NULL ? s->scale_io->secret_ref : NULL);
    visit_local(v, s->iscsi != NULL ? s->iscsi->secret_ref : NULL);
    visit_local(v, s->storageos != NULL ? s->storageos->secret_ref : NULL);
    visit_local(v, s->csi != NULL ? s->csi->node_publish_secret_ref : NULL);
}

static void visit_resource_claims(const struct visit *v, const struct core_v1_pod *pod)
{
    for (size_t i = 0; i < pod->spec.resource_claims_count; i++)
        tell(v, REF_RESOURCE_CLAIM, pod->spec.resource_claims[i].resource_claim_name);
    for (size_t i = 0; i < pod->status.resource_claim_statuses_count; i++)
        tell(v, REF_RESOURCE_CLAIM, pod->status.resource_claim_statuses[i].resource_claim_name);
    if (pod->status.extended_resource_claim_status != NULL)
        tell(v, REF_RESOURCE_CLAIM,
             pod->status.extended_resource_claim_status->resource_claim_name);
}

void pod_refs_visit(struct arena *a, const struct core_v1_pod *pod, pod_ref_fn *fn, void *arg)
{
    const struct core_v1_pod_spec *s = &pod->spec;
    struct visit v = {fn, arg};
    tell(&v, REF_ACCOUNT, s->service_account_name);
    for (size_t i = 0; i < s->image_pull_secrets_count; i++)
        tell(&v, REF_SECRET, s->image_pull_secrets[i].name);
    visit_containers(&v, s->init_containers, s->init_containers_count);
    visit_containers(&v, s->containers, s->containers_count);
    for (size_t i = 0; i < s->ephemeral_containers_count; i++) {
        const struct core_v1_ephemeral_container_common *c =
            &s->ephemeral_containers[i].ephemeral_container_common;
        visit_env(&v, c->env_from, c->env_from_count, c->env, c->env_count);
    }
    for (size_t i = 0; i < s->volumes_count; i++)
        visit_volume(&v, a, pod, &s->volumes[i]);
    visit_resource_claims(&v, pod);
}

void volume_secrets_visit(const struct core_v1_persistent_volume *v, volume_secret_fn *fn,
                          void *arg)
{
    const struct core_v1_persistent_volume_source *s = &v->spec.persistent_volume_source;
    struct str claim_ns = v->spec.claim_ref != NULL ? v->spec.claim_ref->namespace : STR_NULL;
    const struct core_v1_secret_reference *refs[] = {
        s->cephfs != NULL ? s->cephfs->secret_ref : NULL,
        s->cinder != NULL ? s->cinder->secret_ref : NULL,
        s->flex_volume != NULL ? s->flex_volume->secret_ref : NULL,
        s->rbd != NULL ? s->rbd->secret_ref : NULL,
        s->scale_io != NULL ? s->scale_io->secret_ref : NULL,
        s->iscsi != NULL ? s->iscsi->secret_ref : NULL,
        s->csi != NULL ? s->csi->node_stage_secret_ref : NULL,
        s->csi != NULL ? s->csi->node_publish_secret_ref : NULL,
        s->csi != NULL ? s->csi->node_expand_secret_ref : NULL,
    };
    for (size_t i = 0; i < ARRAY_SIZE(refs); i++)
        if (refs[i] != NULL && refs[i]->name.len != 0)
            fn(refs[i]->namespace.len != 0 ? refs[i]->namespace : claim_ns, refs[i]->name, arg);
    if (s->azure_file != NULL && s->azure_file->secret_name.len != 0)
        fn(s->azure_file->secret_namespace.len != 0 ? s->azure_file->secret_namespace : claim_ns,
           s->azure_file->secret_name, arg);
    if (s->storageos != NULL && s->storageos->secret_ref != NULL)
        fn(s->storageos->secret_ref->namespace, s->storageos->secret_ref->name, arg);
}
