/* cri_security.c - as whom a container runs, and what it may do; see cri_config.h. */
#include "kubelet/cri_config_internal.h"
#include "kubelet/resources.h"

#include "lib/base/arena.h"

#include "api/core_v1.h"

CRI(Int64Value) * cri_int64(struct arena *a, int64_t v)
{
    CRI(Int64Value) *x = CRI_NEW(a, Int64Value, int64_value);
    x->value = v;
    return x;
}

CRI(IDMapping) * *cri_id_mapping(struct arena *a, const struct user_range *users)
{
    CRI(IDMapping) **list = ARENA_ARRAY(a, CRI(IDMapping) *, 1);
    list[0] = CRI_NEW(a, IDMapping, idmapping);
    list[0]->host_id = users->first;
    list[0]->length = users->length;
    return list;
}

CRI(NamespaceOption) * cri_namespaces(struct arena *a, const struct core_v1_pod_spec *spec,
                                      const char *target_id, const struct user_range *users)
{
    CRI(NamespaceOption) *n = CRI_NEW(a, NamespaceOption, namespace_option);
    n->network =
        spec->host_network ? CRI_ENUM(NAMESPACE_MODE__NODE) : CRI_ENUM(NAMESPACE_MODE__POD);
    n->ipc = spec->host_ipc ? CRI_ENUM(NAMESPACE_MODE__NODE) : CRI_ENUM(NAMESPACE_MODE__POD);
    n->pid = CRI_ENUM(NAMESPACE_MODE__CONTAINER);
    if (spec->host_pid)
        n->pid = CRI_ENUM(NAMESPACE_MODE__NODE);
    else if (spec->share_process_namespace)
        n->pid = CRI_ENUM(NAMESPACE_MODE__POD);
    if (target_id != NULL && !spec->host_pid && !spec->share_process_namespace) {
        n->pid = CRI_ENUM(NAMESPACE_MODE__TARGET);
        n->target_id = cri_textc(a, target_id);
    }
    if (users->length > 0) {
        n->userns_options = CRI_NEW(a, UserNamespace, user_namespace);
        n->userns_options->mode = CRI_ENUM(NAMESPACE_MODE__POD);
        n->userns_options->uids = cri_id_mapping(a, users);
        n->userns_options->gids = cri_id_mapping(a, users);
        n->userns_options->n_uids = n->userns_options->n_gids = 1;
    }
    return n;
}

static CRI(SecurityProfile) *
    seccomp(struct arena *a, const struct core_v1_seccomp_profile *p, const char *seccomp_root)
{
    CRI(SecurityProfile) *s = CRI_NEW(a, SecurityProfile, security_profile);
    s->profile_type = CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__Unconfined);
    if (p != NULL && str_eqc(p->type, "RuntimeDefault"))
        s->profile_type = CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault);
    if (p != NULL && str_eqc(p->type, "Localhost")) {
        s->profile_type = CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__Localhost);
        s->localhost_ref = cri_text(
            a, arena_printf(a, "%s/" STR_FMT, seccomp_root, STR_ARG(p->localhost_profile)));
    }
    return s;
}

static CRI(SecurityProfile) * apparmor(struct arena *a, const struct core_v1_app_armor_profile *p)
{
    if (p == NULL)
        return NULL;
    CRI(SecurityProfile) *s = CRI_NEW(a, SecurityProfile, security_profile);
    if (str_eqc(p->type, "Unconfined"))
        s->profile_type = CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__Unconfined);
    if (str_eqc(p->type, "Localhost")) {
        s->profile_type = CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__Localhost);
        s->localhost_ref = cri_text(a, p->localhost_profile);
    }
    return s;
}

CRI(SELinuxOption) * cri_selinux(struct arena *a, const struct core_v1_se_linux_options *o)
{
    if (o == NULL)
        return NULL;
    CRI(SELinuxOption) *s = CRI_NEW(a, SELinuxOption, selinux_option);
    s->user = cri_text(a, o->user);
    s->role = cri_text(a, o->role);
    s->type = cri_text(a, o->type);
    s->level = cri_text(a, o->level);
    return s;
}

void cri_groups(struct arena *a, const struct core_v1_pod_security_context *sc, size_t *ret_count,
                int64_t **ret)
{
    size_t n = sc != NULL ? sc->supplemental_groups_count : 0;
    int64_t *list = ARENA_ARRAY(a, int64_t, n + 1);
    for (size_t i = 0; i < n; i++)
        list[i] = sc->supplemental_groups[i];
    if (sc != NULL && sc->has_fs_group)
        list[n++] = sc->fs_group;
    *ret = n > 0 ? list : NULL;
    *ret_count = n;
}

/* Paths the runtime hides or protects unless procMount is Unmasked. */
static const char *const masked_paths[] = {
    "/proc/asound",      "/proc/acpi",          "/proc/interrupts", "/proc/kcore",
    "/proc/keys",        "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats",
    "/proc/sched_debug", "/proc/scsi",          "/sys/firmware",    "/sys/devices/virtual/powercap",
};
static const char *const readonly_paths[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger",
};

static CRI(Capability) * capabilities(struct arena *a, const struct core_v1_capabilities *caps)
{
    if (caps == NULL)
        return NULL;
    CRI(Capability) *c = CRI_NEW(a, Capability, capability);
    c->add_capabilities = ARENA_ARRAY(a, char *, caps->add_count + 1);
    for (size_t i = 0; i < caps->add_count; i++)
        c->add_capabilities[c->n_add_capabilities++] = cri_text(a, caps->add[i]);
    c->drop_capabilities = ARENA_ARRAY(a, char *, caps->drop_count + 1);
    for (size_t i = 0; i < caps->drop_count; i++)
        c->drop_capabilities[c->n_drop_capabilities++] = cri_text(a, caps->drop[i]);
    return c;
}

/* runAsNonRoot, judged before anything is made. */
static int check_non_root(const struct container_inputs *in, bool has_user, int64_t user,
                          bool non_root, struct error *err)
{
    const struct core_v1_pod *pod = in->pod;
    if (!non_root)
        return 0;
    if (has_user && user == 0)
        return error_set(err, E_INVALID,
                         "container's runAsUser breaks non-root policy (pod: \"" STR_FMT "_" STR_FMT
                         "(" STR_FMT ")\", container: " STR_FMT ")",
                         STR_ARG(pod->metadata.name), STR_ARG(pod->metadata.namespace),
                         STR_ARG(pod->metadata.uid), STR_ARG(in->container->name));
    if (has_user)
        return 0;
    if (in->image_uid == 0 || (in->image_uid < 0 && in->image_user[0] == '\0'))
        return error_set(err, E_INVALID,
                         "container has runAsNonRoot and image will run as root (pod: \"" STR_FMT
                         "_" STR_FMT "(" STR_FMT ")\", container: " STR_FMT ")",
                         STR_ARG(pod->metadata.name), STR_ARG(pod->metadata.namespace),
                         STR_ARG(pod->metadata.uid), STR_ARG(in->container->name));
    if (in->image_uid < 0)
        return error_set(err, E_INVALID,
                         "container has runAsNonRoot and image has non-numeric user (%s), cannot "
                         "verify user is non-root (pod: \"" STR_FMT "_" STR_FMT "(" STR_FMT
                         ")\", container: " STR_FMT ")",
                         in->image_user, STR_ARG(pod->metadata.name),
                         STR_ARG(pod->metadata.namespace), STR_ARG(pod->metadata.uid),
                         STR_ARG(in->container->name));
    return 0;
}

static int set_user(struct arena *a, const struct container_inputs *in,
                    CRI(LinuxContainerSecurityContext) * s, struct error *err)
{
    const struct core_v1_pod_security_context *p = in->pod->spec.security_context;
    const struct core_v1_security_context *c = in->container->security_context;
    bool has_user = (c != NULL && c->has_run_as_user) || (p != NULL && p->has_run_as_user);
    int64_t user = c != NULL && c->has_run_as_user ? c->run_as_user : has_user ? p->run_as_user : 0;
    bool non_root =
        c != NULL && c->has_run_as_non_root ? c->run_as_non_root : p != NULL && p->run_as_non_root;
    bool has_group = (c != NULL && c->has_run_as_group) || (p != NULL && p->has_run_as_group);
    int64_t group = c != NULL && c->has_run_as_group ? c->run_as_group
                    : has_group                      ? p->run_as_group
                                                     : 0;
    int rc = check_non_root(in, has_user, user, non_root, err);
    if (rc != 0)
        return rc;
    if (has_user)
        s->run_as_user = cri_int64(a, user);
    else if (in->image_uid >= 0)
        s->run_as_user = cri_int64(a, in->image_uid);
    else if (in->image_user[0] != '\0')
        s->run_as_username = cri_textc(a, in->image_user);
    else
        s->run_as_user = cri_int64(a, 0);
    if (has_group)
        s->run_as_group = cri_int64(a, group);
    return 0;
}

int cri_security(struct arena *a, const struct container_inputs *in,
                 CRI(LinuxContainerSecurityContext) * *ret, struct error *err)
{
    const struct core_v1_pod_security_context *p = in->pod->spec.security_context;
    const struct core_v1_security_context *c = in->container->security_context;
    CRI(LinuxContainerSecurityContext) *s =
        CRI_NEW(a, LinuxContainerSecurityContext, linux_container_security_context);
    int rc = set_user(a, in, s, err);
    if (rc != 0)
        return rc;
    cri_groups(a, p, &s->n_supplemental_groups, &s->supplemental_groups);
    if (p != NULL && str_eqc(p->supplemental_groups_policy, "Strict"))
        s->supplemental_groups_policy = CRI_ENUM(SUPPLEMENTAL_GROUPS_POLICY__Strict);
    s->namespace_options = cri_namespaces(a, &in->pod->spec, in->target_id, &in->users);
    s->privileged = container_is_privileged(in->container);
    s->readonly_rootfs = c != NULL && c->read_only_root_filesystem;
    s->no_new_privs =
        c != NULL && c->has_allow_privilege_escalation && !c->allow_privilege_escalation;
    s->capabilities = capabilities(a, c != NULL ? c->capabilities : NULL);
    s->selinux_options =
        cri_selinux(a, c != NULL && c->se_linux_options != NULL ? c->se_linux_options
                       : p != NULL                              ? p->se_linux_options
                                                                : NULL);
    if (!s->privileged)
        s->seccomp = seccomp(a,
                             c != NULL && c->seccomp_profile != NULL ? c->seccomp_profile
                             : p != NULL                             ? p->seccomp_profile
                                                                     : NULL,
                             in->seccomp_root);
    s->apparmor = apparmor(a, c != NULL && c->app_armor_profile != NULL ? c->app_armor_profile
                              : p != NULL                               ? p->app_armor_profile
                                                                        : NULL);
    if (!s->privileged && !(c != NULL && str_eqc(c->proc_mount, "Unmasked"))) {
        s->masked_paths = cri_texts(a, masked_paths, ARRAY_SIZE(masked_paths));
        s->n_masked_paths = ARRAY_SIZE(masked_paths);
        s->readonly_paths = cri_texts(a, readonly_paths, ARRAY_SIZE(readonly_paths));
        s->n_readonly_paths = ARRAY_SIZE(readonly_paths);
    }
    *ret = s;
    return 0;
}
