/* cri_config.c - see cri_config.h. */
#include "kubelet/cri_config_internal.h"

#include "kubelet/resources.h"
#include "kubelet/runtime_state.h"

#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include "api/core_v1.h"

char *cri_text(struct arena *a, struct str s)
{
    return (char *)(uintptr_t)str_c(arena_str(a, s));
}

char *cri_textc(struct arena *a, const char *s)
{
    return arena_strdup(a, s != NULL ? s : "");
}

char **cri_texts(struct arena *a, const char *const *items, size_t count)
{
    char **list = ARENA_ARRAY(a, char *, count + 1);
    for (size_t i = 0; i < count; i++)
        list[i] = cri_textc(a, items[i]);
    return list;
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
    l->cgroup_parent = cri_textc(a, in->cgroup_parent);
    l->security_context = s;
    s->namespace_options = cri_namespaces(a, spec, NULL, &in->users);
    s->privileged = any_privileged(spec);
    /* The sandbox's own process runs confined whatever the containers ask for. */
    s->seccomp = CRI_NEW(a, SecurityProfile, security_profile);
    s->seccomp->profile_type = CRI_ENUM(SECURITY_PROFILE__PROFILE_TYPE__RuntimeDefault);
    cri_groups(a, sc, &s->n_supplemental_groups, &s->supplemental_groups);
    if (sc == NULL)
        return l;
    if (str_eqc(sc->supplemental_groups_policy, "Strict"))
        s->supplemental_groups_policy = CRI_ENUM(SUPPLEMENTAL_GROUPS_POLICY__Strict);
    if (sc->has_run_as_user)
        s->run_as_user = cri_int64(a, sc->run_as_user);
    if (sc->has_run_as_group && sc->has_run_as_user)
        s->run_as_group = cri_int64(a, sc->run_as_group);
    s->selinux_options = cri_selinux(a, sc->se_linux_options);
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
        m->host_ip = cri_text(a, c->ports[i].host_ip);
        CRI(PortMapping) **grown = ARENA_ARRAY(a, CRI(PortMapping) *, config->n_port_mappings + 1);
        for (size_t k = 0; k < config->n_port_mappings; k++)
            grown[k] = config->port_mappings[k];
        grown[config->n_port_mappings++] = m;
        config->port_mappings = grown;
    }
}

static CRI(DNSConfig) * dns_config(struct arena *a, const struct dns_settings *d)
{
    CRI(DNSConfig) *c = CRI_NEW(a, DNSConfig, dnsconfig);
    c->servers = cri_texts(a, d->servers, d->server_count);
    c->n_servers = d->server_count;
    c->searches = cri_texts(a, d->searches, d->search_count);
    c->n_searches = d->search_count;
    c->options = cri_texts(a, d->options, d->option_count);
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
    c->metadata->name = cri_text(a, m->name);
    c->metadata->namespace_ = cri_text(a, m->namespace);
    c->metadata->uid = cri_text(a, m->uid);
    c->metadata->attempt = in->attempt;
    if (!pod->spec.host_network)
        c->hostname = cri_textc(a, in->hostname);
    c->log_directory = cri_textc(a, in->log_dir);
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

static void set_envs(struct arena *a, CRI(ContainerConfig) * c, const struct env_list *env)
{
    c->envs = ARENA_ARRAY(a, CRI(KeyValue) *, env->count + 1);
    for (size_t i = 0; i < env->count; i++) {
        CRI(KeyValue) *kv = CRI_NEW(a, KeyValue, key_value);
        kv->key = cri_text(a, env->items[i].name);
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
        list[i] = cri_text(a, env_expand(a, items[i], env, NULL));
    return list;
}

static void set_mounts(struct arena *a, CRI(ContainerConfig) * c, const struct container_inputs *in)
{
    c->mounts = ARENA_ARRAY(a, CRI(Mount) *, in->mount_count + 1);
    for (size_t i = 0; i < in->mount_count; i++) {
        CRI(Mount) *m = CRI_NEW(a, Mount, mount);
        m->container_path = cri_textc(a, in->mounts[i].container_path);
        m->host_path = cri_textc(a, in->mounts[i].host_path);
        m->readonly = in->mounts[i].read_only;
        m->recursive_read_only = in->mounts[i].recursive_read_only;
        m->selinux_relabel = in->mounts[i].relabel;
        m->propagation = in->mounts[i].propagation;
        if (in->users.length > 0) {
            m->uidmappings = cri_id_mapping(a, &in->users);
            m->gidmappings = cri_id_mapping(a, &in->users);
            m->n_uidmappings = m->n_gidmappings = 1;
        }
        if (in->mounts[i].image_ref != NULL) {
            m->image = CRI_NEW(a, ImageSpec, image_spec);
            m->image->image = cri_textc(a, in->mounts[i].image_ref);
            m->image->user_specified_image = cri_textc(a, in->mounts[i].image_given);
            m->image_sub_path = cri_textc(a, in->mounts[i].image_sub_path);
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
        d->container_path = cri_textc(a, in->devices[i].container_path);
        d->host_path = cri_textc(a, in->devices[i].host_path);
        const char *permissions = in->devices[i].permissions;
        d->permissions = cri_textc(a, permissions != NULL        ? permissions
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
        c->cdi_devices[i]->name = cri_textc(a, in->cdi_devices[i]);
    }
    c->n_cdi_devices = in->cdi_device_count;
}

int container_config(struct arena *a, const struct container_inputs *in,
                     CRI(ContainerConfig) * *ret, struct error *err)
{
    const struct core_v1_container *k = in->container;
    CRI(ContainerConfig) *c = CRI_NEW(a, ContainerConfig, container_config);
    c->metadata = CRI_NEW(a, ContainerMetadata, container_metadata);
    c->metadata->name = cri_text(a, k->name);
    c->metadata->attempt = in->attempt;
    c->image = CRI_NEW(a, ImageSpec, image_spec);
    c->image->image = cri_textc(a, in->image_ref);
    c->image->user_specified_image = cri_text(a, k->image);
    c->command = expanded(a, k->command, k->command_count, in->env);
    c->n_command = k->command_count;
    c->args = expanded(a, k->args, k->args_count, in->env);
    c->n_args = k->args_count;
    c->working_dir = cri_text(a, k->working_dir);
    set_envs(a, c, in->env);
    set_mounts(a, c, in);
    set_labels(a, c, in);
    set_devices(a, c, in);
    set_cdi_devices(a, c, in);
    c->log_path = cri_text(a, arena_printf(a, STR_FMT "/%u.log", STR_ARG(k->name), in->attempt));
    c->stdin = k->stdin;
    c->stdin_once = k->stdin_once;
    c->tty = k->tty;
    c->stop_signal = container_stop_signal(a, k->lifecycle);
    c->linux = CRI_NEW(a, LinuxContainerConfig, linux_container_config);
    c->linux->resources = container_resources(a, in);
    int rc = cri_security(a, in, &c->linux->security_context, err);
    if (rc != 0)
        return rc;
    *ret = c;
    return 0;
}
