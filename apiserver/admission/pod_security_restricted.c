/* pod_security_restricted.c - what is demanded at the restricted level, beyond
 * the baseline. */
#include "apiserver/admission/pod_security_check.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

/* Such settings mean nothing on Windows. */
static bool on_windows(const struct ps_run *r)
{
    return r->spec->os != NULL && str_eqc(r->spec->os->name, "windows");
}

/* Root within is nobody outside. */
static bool own_users(const struct ps_run *r)
{
    return r->spec->has_host_users && !r->spec->host_users;
}

/* --- rights ------------------------------------------------------------------------------ */
bool ps_privilege_escalation(struct ps_run *r)
{
    struct ps_names bad = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c == NULL || !c->has_allow_privilege_escalation || c->allow_privilege_escalation)
            ps_add(r, &bad, r->containers[i]->name);
    }
    if (bad.count == 0)
        return true;
    return ps_forbid(
        r, "allowPrivilegeEscalation != false",
        arena_printf(r->arena, STR_FMT " must set securityContext.allowPrivilegeEscalation=false",
                     STR_ARG(ps_containers(r, &bad))));
}

bool ps_privilege_escalation_linux(struct ps_run *r)
{
    return on_windows(r) || ps_privilege_escalation(r);
}

static bool drops_all(const struct core_v1_capabilities *caps)
{
    for (size_t i = 0; i < caps->drop_count; i++)
        if (str_eqc(caps->drop[i], "ALL"))
            return true;
    return false;
}

bool ps_capabilities_restricted(struct ps_run *r)
{
    struct ps_names keeping = {0}, adding = {0}, added = {0}, details = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        const struct core_v1_capabilities *caps = c != NULL ? c->capabilities : NULL;
        bool any = false;
        if (caps == NULL || !drops_all(caps))
            ps_add(r, &keeping, r->containers[i]->name);
        for (size_t k = 0; caps != NULL && k < caps->add_count; k++) {
            if (str_eqc(caps->add[k], "NET_BIND_SERVICE"))
                continue;
            any = true;
            ps_insert(r, &added, caps->add[k]);
        }
        if (any)
            ps_add(r, &adding, r->containers[i]->name);
    }
    if (keeping.count != 0)
        ps_add(r, &details,
               arena_printf(r->arena,
                            STR_FMT " must set securityContext.capabilities.drop=[\"ALL\"]",
                            STR_ARG(ps_containers(r, &keeping))));
    if (adding.count != 0)
        ps_add(r, &details,
               arena_printf(r->arena,
                            STR_FMT " must not include " STR_FMT
                                    " in securityContext.capabilities.add",
                            STR_ARG(ps_containers(r, &adding)), STR_ARG(ps_quote(r, &added))));
    return details.count == 0 ||
           ps_forbid(r, "unrestricted capabilities", ps_join(r, &details, "; "));
}

bool ps_capabilities_restricted_linux(struct ps_run *r)
{
    return on_windows(r) || ps_capabilities_restricted(r);
}

/* --- users ---------------------------------------------------------------------------------------
 */
bool ps_run_as_non_root(struct ps_run *r)
{
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    bool set = pod != NULL && pod->has_run_as_non_root;
    bool bad_pod = set && !pod->run_as_non_root;
    struct ps_names bad = {0}, unset = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c == NULL || !c->has_run_as_non_root) {
            if (!set || bad_pod)
                ps_add(r, &unset, r->containers[i]->name);
        } else if (!c->run_as_non_root) {
            ps_add(r, &bad, r->containers[i]->name);
        }
    }
    if (bad_pod || bad.count != 0)
        return ps_forbid(r, "runAsNonRoot != true",
                         arena_printf(r->arena,
                                      STR_FMT " must not set securityContext.runAsNonRoot=false",
                                      STR_ARG(ps_setters(r, bad_pod, &bad))));
    if (unset.count == 0)
        return true;
    return ps_forbid(r, "runAsNonRoot != true",
                     arena_printf(r->arena,
                                  "pod or " STR_FMT " must set securityContext.runAsNonRoot=true",
                                  STR_ARG(ps_containers(r, &unset))));
}

bool ps_run_as_non_root_user_namespace(struct ps_run *r)
{
    return own_users(r) || ps_run_as_non_root(r);
}

bool ps_run_as_user(struct ps_run *r)
{
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    bool bad_pod = pod != NULL && pod->has_run_as_user && pod->run_as_user == 0;
    struct ps_names bad = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c != NULL && c->has_run_as_user && c->run_as_user == 0)
            ps_add(r, &bad, r->containers[i]->name);
    }
    if (!bad_pod && bad.count == 0)
        return true;
    return ps_forbid(r, "runAsUser=0",
                     arena_printf(r->arena, STR_FMT " must not set runAsUser=0",
                                  STR_ARG(ps_setters(r, bad_pod, &bad))));
}

bool ps_run_as_user_user_namespace(struct ps_run *r)
{
    return own_users(r) || ps_run_as_user(r);
}

/* --- profiles and volumes
 * ------------------------------------------------------------------------- */
bool ps_seccomp_restricted(struct ps_run *r)
{
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    bool set =
        pod != NULL && pod->seccomp_profile != NULL && ps_seccomp_valid(pod->seccomp_profile->type);
    struct ps_names unset = {0};
    if (!ps_seccomp_baseline(r))
        return false;
    for (size_t i = 0; i < r->count && !set; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c == NULL || c->seccomp_profile == NULL)
            ps_add(r, &unset, r->containers[i]->name);
    }
    if (unset.count == 0)
        return true;
    return ps_forbid(r, "seccompProfile",
                     arena_printf(r->arena,
                                  "pod or " STR_FMT
                                  " must set securityContext.seccompProfile.type to "
                                  "\"RuntimeDefault\" or \"Localhost\"",
                                  STR_ARG(ps_containers(r, &unset))));
}

bool ps_seccomp_restricted_linux(struct ps_run *r)
{
    return on_windows(r) || ps_seccomp_restricted(r);
}

/* NULL: one that may be used. */
static const char *restricted_type(const struct core_v1_volume_source *v)
{
    if (v->config_map != NULL || v->csi != NULL || v->downward_api != NULL ||
        v->empty_dir != NULL || v->ephemeral != NULL || v->image != NULL ||
        v->persistent_volume_claim != NULL || v->projected != NULL || v->secret != NULL)
        return NULL;
    const struct {
        const void *source;
        const char *name;
    } types[] = {{v->host_path, "hostPath"},
                 {v->gce_persistent_disk, "gcePersistentDisk"},
                 {v->aws_elastic_block_store, "awsElasticBlockStore"},
                 {v->git_repo, "gitRepo"},
                 {v->nfs, "nfs"},
                 {v->iscsi, "iscsi"},
                 {v->glusterfs, "glusterfs"},
                 {v->rbd, "rbd"},
                 {v->flex_volume, "flexVolume"},
                 {v->cinder, "cinder"},
                 {v->cephfs, "cephfs"},
                 {v->flocker, "flocker"},
                 {v->fc, "fc"},
                 {v->azure_file, "azureFile"},
                 {v->vsphere_volume, "vsphereVolume"},
                 {v->quobyte, "quobyte"},
                 {v->azure_disk, "azureDisk"},
                 {v->photon_persistent_disk, "photonPersistentDisk"},
                 {v->portworx_volume, "portworxVolume"},
                 {v->scale_io, "scaleIO"},
                 {v->storageos, "storageos"}};
    for (size_t i = 0; i < ARRAY_SIZE(types); i++)
        if (types[i].source != NULL)
            return types[i].name;
    return "unknown";
}

bool ps_volumes(struct ps_run *r)
{
    struct ps_names bad = {0}, types = {0};
    for (size_t i = 0; i < r->spec->volumes_count; i++) {
        const char *type = restricted_type(&r->spec->volumes[i].volume_source);
        if (type == NULL)
            continue;
        ps_add(r, &bad, r->spec->volumes[i].name);
        ps_insert(r, &types, str_of(type));
    }
    if (bad.count == 0)
        return true;
    return ps_forbid(r, "restricted volume types",
                     arena_printf(r->arena,
                                  "volume%s " STR_FMT " use%s restricted volume type%s " STR_FMT,
                                  bad.count == 1 ? "" : "s", STR_ARG(ps_quote(r, &bad)),
                                  bad.count == 1 ? "s" : "", types.count == 1 ? "" : "s",
                                  STR_ARG(ps_quote(r, &types))));
}
