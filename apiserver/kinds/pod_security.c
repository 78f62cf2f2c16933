/* pod_security.c - security contexts of pods and containers, and what an
 * operating system rules out. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"

#define ID_MAX INT32_MAX
#define SYSCTL_NAME_MAX 253u
#define SYSCTLS_END 4u /* Of the rules for Windows, those before process namespaces. */

/* --- profiles ---------------------------------------------------------------------------- */

static const char *const profile_types[] = {"Localhost", "RuntimeDefault", "Unconfined", NULL};

static void check_seccomp(struct field_errors *errs, const struct field_path *path,
                          const struct core_v1_seccomp_profile *p)
{
    const struct field_path *local = PATH(path, "localhostProfile");
    if (p == NULL)
        return;
    if (str_empty(p->type))
        field_required(errs, PATH(path, "type"), "type is required when seccompProfile is set");
    else
        validate_listed(errs, PATH(path, "type"), p->type, profile_types);
    if (str_eqc(p->type, "Localhost")) {
        if (!p->has_localhost_profile)
            field_required(errs, local, "must be set when seccomp type is Localhost");
        else
            validate_descending_path(errs, local, p->localhost_profile);
    } else if (p->has_localhost_profile) {
        field_invalid_msg(errs, local, &core_v1_seccomp_profile_msg, p,
                          "can only be set when seccomp type is Localhost");
    }
}

static void check_app_armor(struct field_errors *errs, const struct field_path *path,
                            const struct core_v1_app_armor_profile *p)
{
    const struct field_path *local = PATH(path, "localhostProfile");
    if (p == NULL)
        return;
    if (str_empty(p->type))
        field_required(errs, PATH(path, "type"), "type is required when appArmorProfile is set");
    else
        validate_listed(errs, PATH(path, "type"), p->type, profile_types);
    if (!str_eqc(p->type, "Localhost")) {
        if (p->has_localhost_profile)
            field_invalid(errs, local, p->localhost_profile,
                          "can only be set when AppArmor type is Localhost");
    } else if (!p->has_localhost_profile || str_empty(str_trim(p->localhost_profile))) {
        field_required(errs, local, "must be set when AppArmor type is Localhost");
    } else if (str_trim(p->localhost_profile).len != p->localhost_profile.len) {
        field_invalid(errs, local, p->localhost_profile, "must not be padded with whitespace");
    } else if (p->localhost_profile.len > 4095) {
        field_too_long(errs, local, 4095);
    }
}

/* ^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$ */
static bool sysctl_form(struct str s)
{
    bool edge = true; /* At the begin of a segment. */
    if (s.len == 0 || s.len > SYSCTL_NAME_MAX)
        return false;
    for (size_t i = 0; i < s.len; i++) {
        char c = s.data[i];
        bool alnum = (c >= 'a' && c <= 'z') || (c >= '0' && c <= '9'), sep = c == '.' || c == '/';
        bool last = i + 1 == s.len || s.data[i + 1] == '.' || s.data[i + 1] == '/';
        if (sep ? edge : !alnum && (edge || last || (c != '-' && c != '_')))
            return false;
        edge = sep;
    }
    return !edge;
}

/* Dots and slashes may change places in names of sysctls. */
static bool begins_with(struct str name, const char *prefix)
{
    size_t n = strlen(prefix);
    for (size_t i = 0; i < n; i++)
        if (i >= name.len || (name.data[i] == '/' ? '.' : name.data[i]) != prefix[i])
            return false;
    return true;
}

static bool is_of_network(struct str name)
{
    return begins_with(name, "net.");
}

static bool is_of_ipc(struct str name)
{
    return begins_with(name, "kernel.shm") || begins_with(name, "kernel.msg") ||
           begins_with(name, "fs.mqueue.") || str_eqc(name, "kernel.sem") ||
           str_eqc(name, "kernel/sem");
}

static void check_sysctls(struct pod_check *k, const struct field_path *path,
                          const struct core_v1_sysctl *s, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *name = PATH(PATH_INDEX(path, i), "name");
        if (str_empty(s[i].name))
            field_required(k->errs, name, NULL);
        else if (!sysctl_form(s[i].name))
            field_invalid(
                k->errs, name, s[i].name,
                "must have at most 253 characters and match regex "
                "^([a-z0-9]([-_a-z0-9]*[a-z0-9])?[\\./])*[a-z0-9]([-_a-z0-9]*[a-z0-9])?$");
        for (size_t j = 0; j < i && sysctl_form(s[i].name); j++)
            if (str_eq(s[j].name, s[i].name)) {
                field_duplicate(k->errs, name, s[i].name);
                break;
            }
        if (k->spec->host_network && is_of_network(s[i].name))
            field_invalid(k->errs, name, s[i].name,
                          "may not be specified when 'hostNetwork' is true");
        else if (k->spec->host_ipc && is_of_ipc(s[i].name))
            field_invalid(k->errs, name, s[i].name, "may not be specified when 'hostIPC' is true");
    }
}

/* --- pods ---------------------------------------------------------------------------------- */

static void check_host_network(struct pod_check *k, const struct field_path *path,
                               const struct core_v1_container *c, size_t count)
{
    for (size_t i = 0; k->spec->host_network && i < count; i++)
        for (size_t j = 0; j < c[i].ports_count; j++)
            /* In templates none means the same: it is filled in when a pod is made. */
            if (c[i].ports[j].host_port != c[i].ports[j].container_port &&
                (c[i].ports[j].host_port != 0 || (k->flags & POD_SPEC_TEMPLATE) == 0))
                field_invalid_int(
                    k->errs, PATH(PATH_INDEX(PATH(PATH_INDEX(path, i), "ports"), j), "hostPort"),
                    c[i].ports[j].host_port,
                    "must match `containerPort` when `hostNetwork` is true");
}

void check_pod_security(struct pod_check *k, const struct field_path *spec)
{
    static const char *const group_changes[] = {"Always", "OnRootMismatch", NULL};
    static const char *const group_policies[] = {"Merge", "Strict", NULL};
    static const char *const label_changes[] = {"MountOption", "Recursive", NULL};
    const struct core_v1_pod_security_context *s = k->spec->security_context;
    const struct field_path *path = PATH(spec, "securityContext");
    check_host_network(k, PATH(spec, "containers"), k->spec->containers, k->spec->containers_count);
    check_host_network(k, PATH(spec, "initContainers"), k->spec->init_containers,
                       k->spec->init_containers_count);
    if (k->spec->has_share_process_namespace && k->spec->share_process_namespace &&
        k->spec->host_pid)
        field_invalid_bool(k->errs, PATH(path, "shareProcessNamespace"), true,
                           "ShareProcessNamespace and HostPID cannot both be enabled");
    if (s == NULL)
        return;
    if (s->has_fs_group)
        validate_range(k->errs, PATH(path, "fsGroup"), s->fs_group, 0, ID_MAX);
    if (s->has_run_as_user)
        validate_range(k->errs, PATH(path, "runAsUser"), s->run_as_user, 0, ID_MAX);
    if (s->has_run_as_group)
        validate_range(k->errs, PATH(path, "runAsGroup"), s->run_as_group, 0, ID_MAX);
    for (size_t i = 0; i < s->supplemental_groups_count; i++)
        validate_range(k->errs, PATH_INDEX(PATH(path, "supplementalGroups"), i),
                       s->supplemental_groups[i], 0, ID_MAX);
    check_sysctls(k, PATH(path, "sysctls"), s->sysctls, s->sysctls_count);
    if (s->has_fs_group_change_policy)
        validate_listed(k->errs, PATH(path, "fsGroupChangePolicy"), s->fs_group_change_policy,
                        group_changes);
    check_seccomp(k->errs, PATH(path, "seccompProfile"), s->seccomp_profile);
    check_windows_options(k->errs, PATH(path, "windowsOptions"), s->windows_options);
    check_app_armor(k->errs, PATH(path, "appArmorProfile"), s->app_armor_profile);
    if (s->has_supplemental_groups_policy)
        validate_listed(k->errs, PATH(path, "supplementalGroupsPolicy"),
                        s->supplemental_groups_policy, group_policies);
    if (s->has_se_linux_change_policy)
        validate_listed(k->errs, PATH(path, "seLinuxChangePolicy"), s->se_linux_change_policy,
                        label_changes);
}

/* --- containers ----------------------------------------------------------------------------- */

static void check_escalation(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_security_context *s)
{
    if (!s->has_allow_privilege_escalation || s->allow_privilege_escalation)
        return;
    if (s->has_privileged && s->privileged)
        field_invalid_msg(
            errs, path, &core_v1_security_context_msg, s,
            "cannot set `allowPrivilegeEscalation` to false and `privileged` to true");
    for (size_t i = 0; s->capabilities != NULL && i < s->capabilities->add_count; i++)
        if (str_eqc(s->capabilities->add[i], "CAP_SYS_ADMIN"))
            field_invalid_msg(errs, path, &core_v1_security_context_msg, s,
                              "cannot set `allowPrivilegeEscalation` to false and "
                              "`capabilities.Add` CAP_SYS_ADMIN");
}

void check_container_security(struct pod_check *k, const struct field_path *path,
                              const struct core_v1_security_context *s)
{
    static const char *const proc_mounts[] = {"Default", "Unmasked", NULL};
    if (s == NULL)
        return;
    if (s->has_run_as_user)
        validate_range(k->errs, PATH(path, "runAsUser"), s->run_as_user, 0, ID_MAX);
    if (s->has_run_as_group)
        validate_range(k->errs, PATH(path, "runAsGroup"), s->run_as_group, 0, ID_MAX);
    if (s->has_proc_mount) {
        bool host_users = !k->spec->has_host_users || k->spec->host_users;
        validate_listed(k->errs, PATH(path, "procMount"), s->proc_mount, proc_mounts);
        if (host_users && str_eqc(s->proc_mount, "Unmasked"))
            field_invalid(k->errs, PATH(path, "procMount"), s->proc_mount,
                          "`hostUsers` must be false to use `Unmasked`");
    }
    check_seccomp(k->errs, PATH(path, "seccompProfile"), s->seccomp_profile);
    check_escalation(k->errs, path, s);
    check_windows_options(k->errs, PATH(path, "windowsOptions"), s->windows_options);
    check_app_armor(k->errs, PATH(path, "appArmorProfile"), s->app_armor_profile);
}

/* --- operating systems ------------------------------------------------------------------------ */

struct ruled_out {
    bool given;
    const char *name;
};

static void forbid(struct field_errors *errs, const struct field_path *path,
                   const struct ruled_out *r, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (r[i].given)
            field_forbidden(errs, PATH(path, r[i].name), "cannot be set for a windows pod");
}

static void check_windows_containers(struct pod_check *k, const struct field_path *path,
                                     const struct core_v1_container *c, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct core_v1_security_context *s = c[i].security_context;
        if (s == NULL)
            continue;
        const struct ruled_out r[] = {
            {s->app_armor_profile != NULL, "appArmorProfile"},
            {s->se_linux_options != NULL, "seLinuxOptions"},
            {s->seccomp_profile != NULL, "seccompProfile"},
            {s->capabilities != NULL, "capabilities"},
            {s->has_read_only_root_filesystem, "readOnlyRootFilesystem"},
            {s->has_privileged, "privileged"},
            {s->has_allow_privilege_escalation, "allowPrivilegeEscalation"},
            {s->has_proc_mount, "procMount"},
            {s->has_run_as_user, "runAsUser"},
            {s->has_run_as_group, "runAsGroup"}};
        forbid(k->errs, PATH(PATH_INDEX(path, i), "securityContext"), r, ARRAY_SIZE(r));
    }
}

static void check_windows(struct pod_check *k, const struct field_path *spec)
{
    const struct core_v1_pod_spec *p = k->spec;
    const struct core_v1_pod_security_context *s = p->security_context;
    const struct ruled_out host[] = {
        {p->has_host_users, "hostUsers"}, {p->host_pid, "hostPID"}, {p->host_ipc, "hostIPC"}};
    if (s != NULL) {
        const struct ruled_out first[] = {{s->app_armor_profile != NULL, "appArmorProfile"},
                                          {s->se_linux_options != NULL, "seLinuxOptions"}};
        const struct ruled_out then[] = {
            {s->seccomp_profile != NULL, "seccompProfile"},
            {s->has_fs_group, "fsGroup"},
            {s->has_fs_group_change_policy, "fsGroupChangePolicy"},
            {s->sysctls_count != 0, "sysctls"},
            {s->has_run_as_user, "runAsUser"},
            {s->has_run_as_group, "runAsGroup"},
            {s->supplemental_groups_count != 0, "supplementalGroups"},
            {s->has_supplemental_groups_policy, "supplementalGroupsPolicy"},
            {s->has_se_linux_change_policy, "seLinuxChangePolicy"}};
        forbid(k->errs, PATH(spec, "securityContext"), first, ARRAY_SIZE(first));
        forbid(k->errs, spec, host, ARRAY_SIZE(host));
        forbid(k->errs, PATH(spec, "securityContext"), then, SYSCTLS_END);
        if (p->has_share_process_namespace)
            field_forbidden(k->errs, PATH(spec, "shareProcessNamespace"),
                            "cannot be set for a windows pod");
        forbid(k->errs, PATH(spec, "securityContext"), then + SYSCTLS_END,
               ARRAY_SIZE(then) - SYSCTLS_END);
    } else {
        forbid(k->errs, spec, host, ARRAY_SIZE(host));
    }
    check_windows_containers(k, PATH(spec, "initContainers"), p->init_containers,
                             p->init_containers_count);
    check_windows_containers(k, PATH(spec, "containers"), p->containers, p->containers_count);
}

static void check_linux_containers(struct pod_check *k, const struct field_path *path,
                                   const struct core_v1_container *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (c[i].security_context != NULL && c[i].security_context->windows_options != NULL)
            field_forbidden(k->errs,
                            PATH(PATH(PATH_INDEX(path, i), "securityContext"), "windowsOptions"),
                            "windows options cannot be set for a linux pod");
}

void check_os(struct pod_check *k, const struct field_path *spec)
{
    static const char *const names[] = {"linux", "windows", NULL};
    const struct core_v1_pod_spec *p = k->spec;
    if (p->os == NULL)
        return;
    require_listed(k->errs, PATH(PATH(spec, "os"), "name"), p->os->name, names);
    if (str_eqc(p->os->name, "windows"))
        check_windows(k, spec);
    if (!str_eqc(p->os->name, "linux"))
        return;
    if (p->security_context != NULL && p->security_context->windows_options != NULL)
        field_forbidden(k->errs, PATH(PATH(spec, "securityContext"), "windowsOptions"),
                        "windows options cannot be set for a linux pod");
    check_linux_containers(k, PATH(spec, "initContainers"), p->init_containers,
                           p->init_containers_count);
    check_linux_containers(k, PATH(spec, "containers"), p->containers, p->containers_count);
}
