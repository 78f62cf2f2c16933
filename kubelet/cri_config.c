/* cri_config.c - see cri_config.h. */
#include "kubelet/cri_config.h"

#include "kubelet/resources.h"
#include "kubelet/runtime_state.h"

#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"

/* protobuf-c wants char *; nothing behind it writes. */
static char *text(struct arena *a, struct str s)
{
    return (char *)(uintptr_t)str_c(arena_str(a, s));
}

static char *textc(struct arena *a, const char *s)
{
    return arena_strdup(a, s != NULL ? s : "");
}

uint64_t container_hash(const struct core_v1_container *c)
{
    uint64_t h = 14695981039346656037u; /* FNV-1a */
    struct str parts[] = {c->name, STR("\0"), c->image};
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        for (size_t k = 0; k < parts[i].len; k++)
            h = (h ^ (unsigned char)parts[i].data[k]) * 1099511628211u;
    }
    return h != 0 ? h : 1;
}

bool container_is_privileged(const struct core_v1_container *c)
{
    return c->security_context != NULL && c->security_context->privileged;
}

static CRI(Int64Value) * int64_value(struct arena *a, int64_t v)
{
    CRI(Int64Value) *x = CRI_NEW(a, Int64Value, int64_value);
    x->value = v;
    return x;
}

static CRI(IDMapping) * *id_mapping(struct arena *a, const struct user_range *users)
{
    CRI(IDMapping) **list = ARENA_ARRAY(a, CRI(IDMapping) *, 1);
    list[0] = CRI_NEW(a, IDMapping, idmapping);
    list[0]->host_id = users->first;
    list[0]->length = users->length;
    return list;
}

static CRI(NamespaceOption) * namespaces(struct arena *a, const struct core_v1_pod_spec *spec,
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
        n->target_id = textc(a, target_id);
    }
    if (users->length > 0) {
        n->userns_options = CRI_NEW(a, UserNamespace, user_namespace);
        n->userns_options->mode = CRI_ENUM(NAMESPACE_MODE__POD);
        n->userns_options->uids = id_mapping(a, users);
        n->userns_options->gids = id_mapping(a, users);
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
        s->localhost_ref =
            text(a, arena_printf(a, "%s/" STR_FMT, seccomp_root, STR_ARG(p->localhost_profile)));
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
        s->localhost_ref = text(a, p->localhost_profile);
    }
    return s;
}

static CRI(SELinuxOption) * selinux(struct arena *a, const struct core_v1_se_linux_options *o)
{
    if (o == NULL)
        return NULL;
    CRI(SELinuxOption) *s = CRI_NEW(a, SELinuxOption, selinux_option);
    s->user = text(a, o->user);
    s->role = text(a, o->role);
    s->type = text(a, o->type);
    s->level = text(a, o->level);
    return s;
}

static void groups(struct arena *a, const struct core_v1_pod_security_context *sc,
                   size_t *ret_count, int64_t **ret)
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

/* --- sandbox ----------------------------------------------------------------- */

static bool any_privileged(const struct core_v1_pod_spec *spec)
{
    for (size_t i = 0; i < spec->containers_count; i++) {
        if (container_is_privileged(&spec->containers[i]))
            return true;
    }
    for (size_t i = 0; i < spec->init_containers_count; i++) {
        if (container_is_privileged(&spec->init_containers[i]))
            return true;
    }
    return false;
}

static CRI(LinuxPodSandboxConfig) * sandbox_linux(struct arena *a, const struct sandbox_inputs *in)
{
    const struct core_v1_pod_spec *spec = &in->pod->spec;
    const struct core_v1_pod_security_context *sc = spec->security_context;
    CRI(LinuxPodSandboxConfig) *l = CRI_NEW(a, LinuxPodSandboxConfig, linux_pod_sandbox_config);
    CRI(LinuxSandboxSecurityContext) *s =
        CRI_NEW(a, LinuxSandboxSecurityContext, linux_sandbox_security_context);
    l->cgroup_parent = textc(a, in->cgroup_parent);
    l->security_context = s;
    s->namespace_options = namespaces(a, spec, NULL, &in->users);
    s->privileged = any_privileged(spec);
    /* The sandbox's own process runs confined whatever the containers ask for. */
    s->seccomp = CRI_NEW(a, SecurityProfile, security_profile);
    s->seccomp->profile_type = CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault);
    groups(a, sc, &s->n_supplemental_groups, &s->supplemental_groups);
    if (sc == NULL)
        return l;
    if (sc->has_run_as_user)
        s->run_as_user = int64_value(a, sc->run_as_user);
    if (sc->has_run_as_group && sc->has_run_as_user)
        s->run_as_group = int64_value(a, sc->run_as_group);
    s->selinux_options = selinux(a, sc->se_linux_options);
    for (size_t i = 0; i < sc->sysctls_count; i++)
        cri_map_add(a, &runtime__v1__linux_pod_sandbox_config__sysctls_entry__descriptor,
                    &l->sysctls, &l->n_sysctls, sc->sysctls[i].name, sc->sysctls[i].value);
    return l;
}

static CRI(Protocol) protocol(struct str s)
{
    if (str_eqc(s, "UDP"))
        return CRI_ENUM(PROTOCOL__UDP);
    return str_eqc(s, "SCTP") ? CRI_ENUM(PROTOCOL__SCTP) : CRI_ENUM(PROTOCOL__TCP);
}

static void add_ports(struct arena *a, CRI(PodSandboxConfig) * config,
                      const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->ports_count; i++) {
        if (c->ports[i].host_port <= 0)
            continue;
        CRI(PortMapping) *m = CRI_NEW(a, PortMapping, port_mapping);
        m->protocol = protocol(c->ports[i].protocol);
        m->container_port = c->ports[i].container_port;
        m->host_port = c->ports[i].host_port;
        m->host_ip = text(a, c->ports[i].host_ip);
        CRI(PortMapping) **grown = ARENA_ARRAY(a, CRI(PortMapping) *, config->n_port_mappings + 1);
        for (size_t k = 0; k < config->n_port_mappings; k++)
            grown[k] = config->port_mappings[k];
        grown[config->n_port_mappings++] = m;
        config->port_mappings = grown;
    }
}

static char **texts(struct arena *a, const char *const *items, size_t count)
{
    char **list = ARENA_ARRAY(a, char *, count + 1);
    for (size_t i = 0; i < count; i++)
        list[i] = textc(a, items[i]);
    return list;
}

static CRI(DNSConfig) * dns_config(struct arena *a, const struct dns_settings *d)
{
    CRI(DNSConfig) *c = CRI_NEW(a, DNSConfig, dnsconfig);
    c->servers = texts(a, d->servers, d->server_count);
    c->n_servers = d->server_count;
    c->searches = texts(a, d->searches, d->search_count);
    c->n_searches = d->search_count;
    c->options = texts(a, d->options, d->option_count);
    c->n_options = d->option_count;
    return c;
}

#define SANDBOX_LABEL(key, value)                                                                  \
    cri_map_add(a, &runtime__v1__pod_sandbox_config__labels_entry__descriptor, &c->labels,         \
                &c->n_labels, key, value)
#define SANDBOX_ANNOTATION(key, value)                                                             \
    cri_map_add(a, &runtime__v1__pod_sandbox_config__annotations_entry__descriptor,                \
                &c->annotations, &c->n_annotations, key, value)

CRI(PodSandboxConfig) * sandbox_config(struct arena *a, const struct sandbox_inputs *in)
{
    const struct core_v1_pod *pod = in->pod;
    const struct meta_v1_object_meta *m = &pod->metadata;
    CRI(PodSandboxConfig) *c = CRI_NEW(a, PodSandboxConfig, pod_sandbox_config);
    c->metadata = CRI_NEW(a, PodSandboxMetadata, pod_sandbox_metadata);
    c->metadata->name = text(a, m->name);
    c->metadata->namespace_ = text(a, m->namespace);
    c->metadata->uid = text(a, m->uid);
    c->metadata->attempt = in->attempt;
    if (!pod->spec.host_network)
        c->hostname = textc(a, in->hostname);
    c->log_directory = textc(a, in->log_dir);
    c->dns_config = dns_config(a, in->dns);
    for (size_t i = 0; i < pod->spec.containers_count; i++)
        add_ports(a, c, &pod->spec.containers[i]);
    for (size_t i = 0; i < pod->spec.init_containers_count; i++) {
        if (container_is_sidecar(&pod->spec.init_containers[i]))
            add_ports(a, c, &pod->spec.init_containers[i]);
    }
    for (size_t i = 0; i < m->labels_count; i++)
        SANDBOX_LABEL(m->labels[i].key, m->labels[i].value);
    SANDBOX_LABEL(STR(LABEL_POD_NAME), m->name);
    SANDBOX_LABEL(STR(LABEL_POD_NAMESPACE), m->namespace);
    SANDBOX_LABEL(STR(LABEL_POD_UID), m->uid);
    for (size_t i = 0; i < m->annotations_count; i++)
        SANDBOX_ANNOTATION(m->annotations[i].key, m->annotations[i].value);
    c->linux = sandbox_linux(a, in);
    return c;
}

/* --- containers -------------------------------------------------------------- */

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
        c->add_capabilities[c->n_add_capabilities++] = text(a, caps->add[i]);
    c->drop_capabilities = ARENA_ARRAY(a, char *, caps->drop_count + 1);
    for (size_t i = 0; i < caps->drop_count; i++)
        c->drop_capabilities[c->n_drop_capabilities++] = text(a, caps->drop[i]);
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
        s->run_as_user = int64_value(a, user);
    else if (in->image_uid >= 0)
        s->run_as_user = int64_value(a, in->image_uid);
    else if (in->image_user[0] != '\0')
        s->run_as_username = textc(a, in->image_user);
    else
        s->run_as_user = int64_value(a, 0);
    if (has_group)
        s->run_as_group = int64_value(a, group);
    return 0;
}

static int security(struct arena *a, const struct container_inputs *in,
                    CRI(LinuxContainerSecurityContext) * *ret, struct error *err)
{
    const struct core_v1_pod_security_context *p = in->pod->spec.security_context;
    const struct core_v1_security_context *c = in->container->security_context;
    CRI(LinuxContainerSecurityContext) *s =
        CRI_NEW(a, LinuxContainerSecurityContext, linux_container_security_context);
    int rc = set_user(a, in, s, err);
    if (rc != 0)
        return rc;
    groups(a, p, &s->n_supplemental_groups, &s->supplemental_groups);
    if (p != NULL && str_eqc(p->supplemental_groups_policy, "Strict"))
        s->supplemental_groups_policy = CRI_ENUM(SUPPLEMENTAL_GROUPS_POLICY__Strict);
    s->namespace_options = namespaces(a, &in->pod->spec, in->target_id, &in->users);
    s->privileged = container_is_privileged(in->container);
    s->readonly_rootfs = c != NULL && c->read_only_root_filesystem;
    s->no_new_privs =
        c != NULL && c->has_allow_privilege_escalation && !c->allow_privilege_escalation;
    s->capabilities = capabilities(a, c != NULL ? c->capabilities : NULL);
    s->selinux_options = selinux(a, c != NULL && c->se_linux_options != NULL ? c->se_linux_options
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
        s->masked_paths = texts(a, masked_paths, ARRAY_SIZE(masked_paths));
        s->n_masked_paths = ARRAY_SIZE(masked_paths);
        s->readonly_paths = texts(a, readonly_paths, ARRAY_SIZE(readonly_paths));
        s->n_readonly_paths = ARRAY_SIZE(readonly_paths);
    }
    *ret = s;
    return 0;
}

static void set_envs(struct arena *a, CRI(ContainerConfig) * c, const struct env_list *env)
{
    c->envs = ARENA_ARRAY(a, CRI(KeyValue) *, env->count + 1);
    for (size_t i = 0; i < env->count; i++) {
        CRI(KeyValue) *kv = CRI_NEW(a, KeyValue, key_value);
        kv->key = text(a, env->items[i].name);
        kv->value.data = (uint8_t *)(uintptr_t)env->items[i].value.data;
        kv->value.len = env->items[i].value.len;
        c->envs[c->n_envs++] = kv;
    }
}

static char **expanded(struct arena *a, const struct str *items, size_t count,
                       const struct env_list *env)
{
    char **list = ARENA_ARRAY(a, char *, count + 1);
    for (size_t i = 0; i < count; i++)
        list[i] = text(a, env_expand(a, items[i], env, NULL));
    return list;
}

static void set_mounts(struct arena *a, CRI(ContainerConfig) * c, const struct container_inputs *in)
{
    c->mounts = ARENA_ARRAY(a, CRI(Mount) *, in->mount_count + 1);
    for (size_t i = 0; i < in->mount_count; i++) {
        CRI(Mount) *m = CRI_NEW(a, Mount, mount);
        m->container_path = textc(a, in->mounts[i].container_path);
        m->host_path = textc(a, in->mounts[i].host_path);
        m->readonly = in->mounts[i].read_only;
        m->recursive_read_only = in->mounts[i].recursive_read_only;
        m->propagation = in->mounts[i].propagation;
        if (in->users.length > 0) {
            m->uidmappings = id_mapping(a, &in->users);
            m->gidmappings = id_mapping(a, &in->users);
            m->n_uidmappings = m->n_gidmappings = 1;
        }
        if (in->mounts[i].image_ref != NULL) {
            m->image = CRI_NEW(a, ImageSpec, image_spec);
            m->image->image = textc(a, in->mounts[i].image_ref);
            m->image->user_specified_image = textc(a, in->mounts[i].image_given);
            m->image_sub_path = textc(a, in->mounts[i].image_sub_path);
        }
        c->mounts[c->n_mounts++] = m;
    }
}

#define LABEL(key, value)                                                                          \
    cri_map_add(a, &runtime__v1__container_config__labels_entry__descriptor, &c->labels,           \
                &c->n_labels, key, value)
#define ANNOTATION(key, value)                                                                     \
    cri_map_add(a, &runtime__v1__container_config__annotations_entry__descriptor, &c->annotations, \
                &c->n_annotations, key, value)

static void set_labels(struct arena *a, CRI(ContainerConfig) * c, const struct container_inputs *in)
{
    const struct core_v1_pod *pod = in->pod;
    const struct core_v1_container *k = in->container;
    LABEL(STR(LABEL_POD_NAME), pod->metadata.name);
    LABEL(STR(LABEL_POD_NAMESPACE), pod->metadata.namespace);
    LABEL(STR(LABEL_POD_UID), pod->metadata.uid);
    LABEL(STR(LABEL_CONTAINER_NAME), k->name);
    for (size_t i = 0; in->annotations != NULL && i < in->annotations->count; i++)
        if (!str_has_prefix(in->annotations->items[i].name, STR("io.kubernetes."))) /* Our own. */
            ANNOTATION(in->annotations->items[i].name, in->annotations->items[i].value);
    ANNOTATION(STR(ANNOTATION_HASH), arena_printf(a, "%llx", (unsigned long long)in->hash));
    ANNOTATION(STR(ANNOTATION_RESTART_COUNT), arena_printf(a, "%u", in->attempt));
    ANNOTATION(STR(ANNOTATION_TERM_PATH), k->termination_message_path);
    ANNOTATION(STR(ANNOTATION_TERM_POLICY), k->termination_message_policy);
    if (pod->spec.has_termination_grace_period_seconds)
        ANNOTATION(STR(ANNOTATION_POD_GRACE),
                   arena_printf(a, "%lld", (long long)pod->spec.termination_grace_period_seconds));
    if (pod->metadata.has_deletion_grace_period_seconds)
        ANNOTATION(STR(ANNOTATION_POD_DELETION_GRACE),
                   arena_printf(a, "%lld", (long long)pod->metadata.deletion_grace_period_seconds));
    if (k->lifecycle != NULL && k->lifecycle->pre_stop != NULL) {
        AUTO_BUF b = BUF_INIT;
        api_json_encode(&core_v1_lifecycle_handler_msg, k->lifecycle->pre_stop, STR_NULL, STR_NULL,
                        &b);
        ANNOTATION(STR(ANNOTATION_PRE_STOP), arena_str(a, buf_str(&b)));
    }
}

static void set_devices(struct arena *a, CRI(ContainerConfig) * c,
                        const struct container_inputs *in)
{
    c->devices = ARENA_ARRAY(a, CRI(Device) *, in->device_count + 1);
    for (size_t i = 0; i < in->device_count; i++) {
        CRI(Device) *d = CRI_NEW(a, Device, device);
        d->container_path = textc(a, in->devices[i].container_path);
        d->host_path = textc(a, in->devices[i].host_path);
        const char *permissions = in->devices[i].permissions;
        d->permissions = textc(a, permissions != NULL        ? permissions
                                  : in->devices[i].read_only ? "r"
                                                             : "mrw");
        c->devices[c->n_devices++] = d;
    }
}

static void set_cdi_devices(struct arena *a, CRI(ContainerConfig) * c,
                            const struct container_inputs *in)
{
    c->cdi_devices = ARENA_ARRAY(a, CRI(CDIDevice) *, in->cdi_device_count + 1);
    for (size_t i = 0; i < in->cdi_device_count; i++) {
        c->cdi_devices[i] = CRI_NEW(a, CDIDevice, cdidevice);
        c->cdi_devices[i]->name = textc(a, in->cdi_devices[i]);
    }
    c->n_cdi_devices = in->cdi_device_count;
}

int container_config(struct arena *a, const struct container_inputs *in,
                     CRI(ContainerConfig) * *ret, struct error *err)
{
    const struct core_v1_container *k = in->container;
    CRI(ContainerConfig) *c = CRI_NEW(a, ContainerConfig, container_config);
    c->metadata = CRI_NEW(a, ContainerMetadata, container_metadata);
    c->metadata->name = text(a, k->name);
    c->metadata->attempt = in->attempt;
    c->image = CRI_NEW(a, ImageSpec, image_spec);
    c->image->image = textc(a, in->image_ref);
    c->image->user_specified_image = text(a, k->image);
    c->command = expanded(a, k->command, k->command_count, in->env);
    c->n_command = k->command_count;
    c->args = expanded(a, k->args, k->args_count, in->env);
    c->n_args = k->args_count;
    c->working_dir = text(a, k->working_dir);
    set_envs(a, c, in->env);
    set_mounts(a, c, in);
    set_labels(a, c, in);
    set_devices(a, c, in);
    set_cdi_devices(a, c, in);
    c->log_path = text(a, arena_printf(a, STR_FMT "/%u.log", STR_ARG(k->name), in->attempt));
    c->stdin = k->stdin;
    c->stdin_once = k->stdin_once;
    c->tty = k->tty;
    c->stop_signal = container_stop_signal(a, k->lifecycle);
    c->linux = CRI_NEW(a, LinuxContainerConfig, linux_container_config);
    c->linux->resources = container_resources(a, in);
    int rc = security(a, in, &c->linux->security_context, err);
    if (rc != 0)
        return rc;
    *ret = c;
    return 0;
}
