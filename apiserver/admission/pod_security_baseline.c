/* pod_security_baseline.c - what is forbidden at the baseline level: the known
 * ways to more than a container's own rights. */
#include "apiserver/admission/pod_security_check.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <inttypes.h>

#define SECCOMP_POD "seccomp.security.alpha.kubernetes.io/pod"
#define SECCOMP_CONTAINER "container.seccomp.security.alpha.kubernetes.io/"
#define APP_ARMOR_CONTAINER "container.apparmor.security.beta.kubernetes.io/"

static bool listed(struct str s, const char *const *list)
{
    for (; *list != NULL; list++)
        if (str_eqc(s, *list))
            return true;
    return false;
}

/* --- profiles ---------------------------------------------------------------------------- */
bool ps_seccomp_valid(struct str type)
{
    return str_eqc(type, "Localhost") || str_eqc(type, "RuntimeDefault");
}

static bool app_armor_valid(const struct core_v1_app_armor_profile *p)
{
    return p == NULL || ps_seccomp_valid(p->type);
}

static bool app_armor_annotation_valid(struct str v)
{
    return v.len == 0 || str_eqc(v, "runtime/default") || str_has_prefix(v, STR("localhost/"));
}

bool ps_app_armor(struct ps_run *r)
{
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    struct ps_names bad = {0}, values = {0}, annotations = {0}, setters = {0};
    if (pod != NULL && !app_armor_valid(pod->app_armor_profile)) {
        ps_add(r, &setters, STR("pod"));
        ps_insert(r, &values, pod->app_armor_profile->type);
    }
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c == NULL || app_armor_valid(c->app_armor_profile))
            continue;
        ps_add(r, &bad, r->containers[i]->name);
        ps_insert(r, &values, c->app_armor_profile->type);
    }
    if (bad.count != 0)
        ps_add(r, &setters, ps_containers(r, &bad));
    for (size_t i = 0; i < r->meta->annotations_count; i++) {
        const struct api_str_entry *e = &r->meta->annotations[i];
        if (str_has_prefix(e->key, STR(APP_ARMOR_CONTAINER)) &&
            !app_armor_annotation_valid(e->value))
            ps_insert(r, &annotations,
                      arena_printf(r->arena, STR_FMT "=\"" STR_FMT "\"", STR_ARG(e->key),
                                   STR_ARG(e->value)));
    }
    for (size_t i = 0; i < annotations.count; i++)
        ps_add(r, &values, annotations.items[i]);
    if (annotations.count != 0)
        ps_add(r, &setters, annotations.count == 1 ? STR("annotation") : STR("annotations"));
    if (setters.count == 0)
        return true;
    return ps_forbid(
        r, values.count == 1 ? "forbidden AppArmor profile" : "forbidden AppArmor profiles",
        arena_printf(r->arena, STR_FMT " must not set AppArmor profile type to " STR_FMT,
                     STR_ARG(ps_join(r, &setters, " and ")), STR_ARG(ps_quote(r, &values))));
}

static bool seccomp_annotation_valid(struct str v)
{
    return str_eqc(v, "runtime/default") || str_eqc(v, "docker/default") ||
           str_has_prefix(v, STR("localhost/"));
}

static void check_seccomp_annotation(struct ps_run *r, struct str key, struct ps_names *forbidden)
{
    const struct str *v = api_str_map_get(r->meta->annotations, r->meta->annotations_count, key);
    if (v != NULL && !seccomp_annotation_valid(*v))
        ps_insert(r, forbidden,
                  arena_printf(r->arena, STR_FMT "=\"" STR_FMT "\"", STR_ARG(key), STR_ARG(*v)));
}

bool ps_seccomp_annotations(struct ps_run *r)
{
    struct ps_names forbidden = {0};
    check_seccomp_annotation(r, STR(SECCOMP_POD), &forbidden);
    for (size_t i = 0; i < r->count; i++)
        check_seccomp_annotation(
            r, arena_printf(r->arena, SECCOMP_CONTAINER STR_FMT, STR_ARG(r->containers[i]->name)),
            &forbidden);
    if (forbidden.count == 0)
        return true;
    return ps_forbid(r, "seccompProfile",
                     arena_printf(r->arena, "forbidden annotation%s " STR_FMT,
                                  forbidden.count == 1 ? "" : "s",
                                  STR_ARG(ps_join(r, &forbidden, ", "))));
}

bool ps_seccomp_baseline(struct ps_run *r)
{
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    struct ps_names bad = {0}, values = {0};
    bool bad_pod = pod != NULL && pod->seccomp_profile != NULL &&
                   !ps_seccomp_valid(pod->seccomp_profile->type);
    if (bad_pod)
        ps_insert(r, &values, pod->seccomp_profile->type);
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c == NULL || c->seccomp_profile == NULL || ps_seccomp_valid(c->seccomp_profile->type))
            continue;
        ps_add(r, &bad, r->containers[i]->name);
        ps_insert(r, &values, c->seccomp_profile->type);
    }
    if (!bad_pod && bad.count == 0)
        return true;
    return ps_forbid(
        r, "seccompProfile",
        arena_printf(r->arena,
                     STR_FMT " must not set securityContext.seccompProfile.type to " STR_FMT,
                     STR_ARG(ps_setters(r, bad_pod, &bad)), STR_ARG(ps_quote(r, &values))));
}

struct se_linux {
    struct ps_names types;
    bool user, role;
};

static bool se_linux_valid(struct ps_run *r, const struct core_v1_se_linux_options *o,
                           struct se_linux *l)
{
    static const char *const types[] = {"", "container_t", "container_init_t", "container_kvm_t",
                                        NULL};
    if (o == NULL)
        return true;
    bool type =
        listed(o->type, types) || (r->minor >= 31 && str_eqc(o->type, "container_engine_t"));
    if (!type)
        ps_insert(r, &l->types, o->type);
    l->user |= o->user.len != 0;
    l->role |= o->role.len != 0;
    return type && o->user.len == 0 && o->role.len == 0;
}

bool ps_se_linux(struct ps_run *r)
{
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    struct se_linux l = {0};
    struct ps_names bad = {0}, data = {0};
    bool bad_pod = pod != NULL && !se_linux_valid(r, pod->se_linux_options, &l);
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c != NULL && !se_linux_valid(r, c->se_linux_options, &l))
            ps_add(r, &bad, r->containers[i]->name);
    }
    if (!bad_pod && bad.count == 0)
        return true;
    if (l.types.count != 0)
        ps_add(r, &data,
               arena_printf(r->arena, "type%s " STR_FMT, l.types.count == 1 ? "" : "s",
                            STR_ARG(ps_quote(r, &l.types))));
    if (l.user)
        ps_add(r, &data, STR("user may not be set"));
    if (l.role)
        ps_add(r, &data, STR("role may not be set"));
    return ps_forbid(
        r, "seLinuxOptions",
        arena_printf(r->arena, STR_FMT " set forbidden securityContext.seLinuxOptions: " STR_FMT,
                     STR_ARG(ps_setters(r, bad_pod, &bad)), STR_ARG(ps_join(r, &data, "; "))));
}

/* --- the host -----------------------------------------------------------------------------------
 */
bool ps_host_namespaces(struct ps_run *r)
{
    struct ps_names n = {0};
    if (r->spec->host_ipc)
        ps_add(r, &n, STR("hostIPC"));
    if (r->spec->host_network)
        ps_add(r, &n, STR("hostNetwork"));
    if (r->spec->host_pid)
        ps_add(r, &n, STR("hostPID"));
    return n.count == 0 || ps_forbid(r, "host namespaces", ps_join(r, &n, ", "));
}

bool ps_host_path(struct ps_run *r)
{
    struct ps_names n = {0};
    for (size_t i = 0; i < r->spec->volumes_count; i++)
        if (r->spec->volumes[i].volume_source.host_path != NULL)
            ps_add(r, &n, r->spec->volumes[i].name);
    if (n.count == 0)
        return true;
    return ps_forbid(r, "hostPath volumes",
                     arena_printf(r->arena, "volume%s " STR_FMT, n.count == 1 ? "" : "s",
                                  STR_ARG(ps_quote(r, &n))));
}

bool ps_host_ports(struct ps_run *r)
{
    struct ps_names bad = {0}, ports = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_container *c = r->containers[i];
        bool any = false;
        for (size_t k = 0; k < c->ports_count; k++) {
            if (c->ports[k].host_port == 0)
                continue;
            any = true;
            ps_insert(r, &ports, arena_printf(r->arena, "%" PRId32, c->ports[k].host_port));
        }
        if (any)
            ps_add(r, &bad, c->name);
    }
    if (bad.count == 0)
        return true;
    return ps_forbid(r, "hostPort",
                     arena_printf(r->arena, STR_FMT " use%s hostPort%s " STR_FMT,
                                  STR_ARG(ps_containers(r, &bad)), bad.count == 1 ? "s" : "",
                                  ports.count == 1 ? "" : "s", STR_ARG(ps_join(r, &ports, ", "))));
}

static bool add_hosts(struct ps_run *r, const struct core_v1_http_get_action *http,
                      const struct core_v1_tcp_socket_action *tcp, struct ps_names *hosts)
{
    bool by_http = http != NULL && http->host.len != 0, by_tcp = tcp != NULL && tcp->host.len != 0;
    if (by_http)
        ps_insert(r, hosts, http->host);
    if (by_tcp)
        ps_insert(r, hosts, tcp->host);
    return by_http || by_tcp;
}

bool ps_host_probes(struct ps_run *r)
{
    struct ps_names bad = {0}, hosts = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_container *c = r->containers[i];
        const struct core_v1_probe *probes[] = {c->liveness_probe, c->readiness_probe,
                                                c->startup_probe};
        const struct core_v1_lifecycle_handler *handlers[] = {
            c->lifecycle != NULL ? c->lifecycle->post_start : NULL,
            c->lifecycle != NULL ? c->lifecycle->pre_stop : NULL};
        bool any = false;
        for (size_t k = 0; k < ARRAY_SIZE(probes); k++)
            if (probes[k] != NULL)
                any |= add_hosts(r, probes[k]->handler.http_get, probes[k]->handler.tcp_socket,
                                 &hosts);
        for (size_t k = 0; k < ARRAY_SIZE(handlers); k++)
            if (handlers[k] != NULL)
                any |= add_hosts(r, handlers[k]->http_get, handlers[k]->tcp_socket, &hosts);
        if (any)
            ps_insert(r, &bad, c->name);
    }
    if (bad.count == 0)
        return true;
    return ps_forbid(r, "probe or lifecycle host",
                     arena_printf(r->arena, STR_FMT " use%s probe or lifecycle host%s " STR_FMT,
                                  STR_ARG(ps_containers(r, &bad)), bad.count == 1 ? "s" : "",
                                  hosts.count == 1 ? "" : "s", STR_ARG(ps_quote(r, &hosts))));
}

bool ps_windows_host_process(struct ps_run *r)
{
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    struct ps_names bad = {0};
    bool bad_pod =
        pod != NULL && pod->windows_options != NULL && pod->windows_options->host_process;
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c != NULL && c->windows_options != NULL && c->windows_options->host_process)
            ps_add(r, &bad, r->containers[i]->name);
    }
    if (!bad_pod && bad.count == 0)
        return true;
    return ps_forbid(r, "hostProcess",
                     arena_printf(r->arena,
                                  STR_FMT
                                  " must not set securityContext.windowsOptions.hostProcess=true",
                                  STR_ARG(ps_setters(r, bad_pod, &bad))));
}

/* --- rights
 * --------------------------------------------------------------------------------------- */
bool ps_capabilities_baseline(struct ps_run *r)
{
    static const char *const allowed[] = {
        "AUDIT_WRITE",      "CHOWN",   "DAC_OVERRIDE", "FOWNER",  "FSETID", "KILL",       "MKNOD",
        "NET_BIND_SERVICE", "SETFCAP", "SETGID",       "SETPCAP", "SETUID", "SYS_CHROOT", NULL};
    struct ps_names bad = {0}, added = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        const struct core_v1_capabilities *caps = c != NULL ? c->capabilities : NULL;
        bool any = false;
        for (size_t k = 0; caps != NULL && k < caps->add_count; k++) {
            if (listed(caps->add[k], allowed))
                continue;
            any = true;
            ps_insert(r, &added, caps->add[k]);
        }
        if (any)
            ps_add(r, &bad, r->containers[i]->name);
    }
    if (bad.count == 0)
        return true;
    return ps_forbid(r, "non-default capabilities",
                     arena_printf(r->arena,
                                  STR_FMT " must not include " STR_FMT
                                          " in securityContext.capabilities.add",
                                  STR_ARG(ps_containers(r, &bad)), STR_ARG(ps_quote(r, &added))));
}

bool ps_privileged(struct ps_run *r)
{
    struct ps_names bad = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c != NULL && c->privileged)
            ps_add(r, &bad, r->containers[i]->name);
    }
    if (bad.count == 0)
        return true;
    return ps_forbid(r, "privileged",
                     arena_printf(r->arena, STR_FMT " must not set securityContext.privileged=true",
                                  STR_ARG(ps_containers(r, &bad))));
}

bool ps_proc_mount(struct ps_run *r)
{
    struct ps_names bad = {0}, types = {0};
    for (size_t i = 0; i < r->count; i++) {
        const struct core_v1_security_context *c = r->containers[i]->security_context;
        if (c == NULL || !c->has_proc_mount || str_eqc(c->proc_mount, "Default"))
            continue;
        ps_add(r, &bad, r->containers[i]->name);
        ps_insert(r, &types, c->proc_mount);
    }
    if (bad.count == 0)
        return true;
    return ps_forbid(r, "procMount",
                     arena_printf(r->arena,
                                  STR_FMT " must not set securityContext.procMount to " STR_FMT,
                                  STR_ARG(ps_containers(r, &bad)), STR_ARG(ps_quote(r, &types))));
}

bool ps_proc_mount_user_namespace(struct ps_run *r)
{
    return (r->spec->has_host_users && !r->spec->host_users) || ps_proc_mount(r);
}

bool ps_sysctls(struct ps_run *r)
{
    static const struct {
        const char *name;
        int32_t since;
    } allowed[] = {{"kernel.shm_rmid_forced", 0},
                   {"net.ipv4.ip_local_port_range", 0},
                   {"net.ipv4.tcp_syncookies", 0},
                   {"net.ipv4.ping_group_range", 0},
                   {"net.ipv4.ip_unprivileged_port_start", 0},
                   {"net.ipv4.ip_local_reserved_ports", 27},
                   {"net.ipv4.tcp_keepalive_time", 29},
                   {"net.ipv4.tcp_fin_timeout", 29},
                   {"net.ipv4.tcp_keepalive_intvl", 29},
                   {"net.ipv4.tcp_keepalive_probes", 29},
                   {"net.ipv4.tcp_rmem", 32},
                   {"net.ipv4.tcp_wmem", 32}};
    const struct core_v1_pod_security_context *pod = r->spec->security_context;
    struct ps_names bad = {0};
    for (size_t i = 0; pod != NULL && i < pod->sysctls_count; i++) {
        bool ok = false;
        for (size_t k = 0; k < ARRAY_SIZE(allowed); k++)
            ok |= allowed[k].since <= r->minor && str_eqc(pod->sysctls[i].name, allowed[k].name);
        if (!ok)
            ps_add(r, &bad, pod->sysctls[i].name);
    }
    return bad.count == 0 || ps_forbid(r, "forbidden sysctls", ps_join(r, &bad, ", "));
}
