/* pod_support.c - see pod_support.h. */
#include "kubelet/pod_support.h"

#include "kubelet/admission.h"

#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/flags.h"

#include "api/core_v1.h"

bool node_has_apparmor(void)
{
    AUTO_BUF b = BUF_INIT;
    return file_read("/sys/module/apparmor/parameters/enabled", 16, &b, NULL) == 0 && b.len > 0 &&
           b.data[0] == 'Y';
}

static bool refuse(struct admission_refusal *ret, const char *reason, struct str message)
{
    ret->reason = reason;
    ret->message = str_c(message);
    return false;
}

/* --- handlers ---------------------------------------------------------------------- */

struct runtime_handler node_support_handler(const struct node_support *s, const char *name)
{
    for (size_t i = 0; i < s->handler_count; i++)
        if (strcmp(s->handlers[i].name, name) == 0)
            return s->handlers[i];
    return (struct runtime_handler){0};
}

static bool same_handlers(const struct node_support *s, const struct runtime_handler *list,
                          size_t count)
{
    bool same = s->handler_count == count;
    for (size_t i = 0; same && i < count; i++)
        same = strcmp(s->handlers[i].name, list[i].name) == 0 &&
               s->handlers[i].recursive_read_only == list[i].recursive_read_only &&
               s->handlers[i].user_namespaces == list[i].user_namespaces;
    return same;
}

bool node_support_set_handlers(struct node_support *s, const struct runtime_handler *list,
                               size_t count)
{
    if (same_handlers(s, list, count))
        return false;
    for (size_t i = 0; i < s->handler_count; i++)
        free(s->handlers[i].name);
    free(s->handlers);
    s->handlers = xzalloc((count + 1) * sizeof(*s->handlers));
    s->handler_count = count;
    for (size_t i = 0; i < count; i++) {
        s->handlers[i] = list[i];
        s->handlers[i].name = xstrdup(list[i].name);
    }
    return true;
}

/* --- sysctls ---------------------------------------------------------------------- */

/* Those that cannot harm the node or its other pods. */
static const char *const safe_sysctls[] = {
    "kernel.shm_rmid_forced",
    "net.ipv4.ip_local_port_range",
    "net.ipv4.tcp_syncookies",
    "net.ipv4.ping_group_range",
    "net.ipv4.ip_unprivileged_port_start",
    "net.ipv4.ip_local_reserved_ports",
    "net.ipv4.tcp_keepalive_time",
    "net.ipv4.tcp_fin_timeout",
    "net.ipv4.tcp_keepalive_intvl",
    "net.ipv4.tcp_keepalive_probes",
    "net.ipv4.tcp_rmem",
    "net.ipv4.tcp_wmem",
};

/* The namespace that keeps others from seeing it; NULL: it is the whole machine's. */
static const char *namespace_of(struct str name)
{
    static const char *const ipc[] = {"kernel.shm", "kernel.msg", "fs.mqueue."};
    for (size_t i = 0; i < ARRAY_SIZE(ipc); i++)
        if (str_has_prefix(name, str_of(ipc[i])))
            return "ipc";
    if (str_eqc(name, "kernel.sem"))
        return "ipc";
    return str_has_prefix(name, STR("net.")) ? "net" : NULL;
}

/* "net/ipv4/x.y" is another way to write "net.ipv4.x/y". */
static struct str normal_name(struct arena *a, struct str name)
{
    ptrdiff_t slash = str_find(name, '/', 0), dot = str_find(name, '.', 0);
    if (slash < 0 || (dot >= 0 && dot < slash))
        return name;
    char *out = arena_strdup(a, str_c(arena_str(a, name)));
    for (char *c = out; *c != '\0'; c++)
        *c = *c == '/' ? '.' : *c == '.' ? '/' : *c;
    return str_of(out);
}

static bool is_listed(const struct flag_list *list, struct str name)
{
    for (size_t i = 0; list != NULL && i < list->count; i++) {
        struct str p = str_of(list->items[i]);
        if (str_has_suffix(p, STR("*")) ? str_has_prefix(name, str_sub(p, 0, p.len - 1))
                                        : str_eq(p, name))
            return true;
    }
    return false;
}

static bool is_safe(struct str name)
{
    for (size_t i = 0; i < ARRAY_SIZE(safe_sysctls); i++)
        if (str_eqc(name, safe_sysctls[i]))
            return true;
    return false;
}

static bool check_sysctl(struct arena *a, const struct node_support *s,
                         const struct core_v1_pod_spec *spec, struct str given,
                         struct admission_refusal *ret)
{
    struct str name = normal_name(a, given);
    if (!is_safe(name) && !is_listed(s->unsafe_sysctls, name))
        return refuse(
            ret, "SysctlForbidden",
            arena_printf(a, "forbidden sysctl: \"" STR_FMT "\" not allowlisted", STR_ARG(name)));
    const char *ns = namespace_of(name);
    if (ns == NULL || (strcmp(ns, "ipc") == 0 ? spec->host_ipc : spec->host_network))
        return refuse(
            ret, "SysctlForbidden",
            arena_printf(a, "forbidden sysctl: \"" STR_FMT "\" not allowed with host %s enabled",
                         STR_ARG(name), ns != NULL ? ns : "namespaces"));
    return true;
}

int unsafe_sysctls_check(const struct flag_list *list, struct error *err)
{
    for (size_t i = 0; i < list->count; i++) {
        if (namespace_of(str_of(list->items[i])) == NULL)
            return error_set(err, E_INVALID,
                             "--allowed-unsafe-sysctls: '%s' has no namespace of its own in pods: "
                             "only kernel.shm*, kernel.msg*, kernel.sem, fs.mqueue.* and net.* "
                             "can be allowed",
                             list->items[i]);
    }
    return 0;
}

/* --- AppArmor ----------------------------------------------------------------------- */

static bool is_confined(const struct core_v1_app_armor_profile *p)
{
    return p != NULL && !str_eqc(p->type, "Unconfined");
}

static bool wants_apparmor(const struct core_v1_pod_spec *spec)
{
    if (spec->security_context != NULL && is_confined(spec->security_context->app_armor_profile))
        return true;
    for (size_t i = 0; i < spec->containers_count + spec->init_containers_count; i++) {
        const struct core_v1_security_context *c =
            i < spec->containers_count
                ? spec->containers[i].security_context
                : spec->init_containers[i - spec->containers_count].security_context;
        if (c != NULL && is_confined(c->app_armor_profile))
            return true;
    }
    return false;
}

/* --- all ----------------------------------------------------------------------------- */

bool pod_support_check(struct arena *a, const struct node_support *s, const struct core_v1_pod *pod,
                       struct admission_refusal *ret)
{
    const struct core_v1_pod_security_context *sc = pod->spec.security_context;
    for (size_t i = 0; sc != NULL && i < sc->sysctls_count; i++)
        if (!check_sysctl(a, s, &pod->spec, sc->sysctls[i].name, ret))
            return false;
    if (!s->apparmor && wants_apparmor(&pod->spec))
        return refuse(ret, "AppArmor",
                      STR("Cannot enforce AppArmor: AppArmor is not enabled on the host"));
    if (s->features_known && !s->strict_groups && sc != NULL &&
        str_eqc(sc->supplemental_groups_policy, "Strict"))
        return refuse(ret, "SupplementalGroupsPolicyNotSupported",
                      STR("SupplementalGroupsPolicy=Strict is not supported in this node"));
    return true;
}

bool mount_is_recursive(const struct core_v1_volume_mount *m, bool can)
{
    return m->read_only && m->has_recursive_read_only &&
           (str_eqc(m->recursive_read_only, "Enabled") ||
            (can && str_eqc(m->recursive_read_only, "IfPossible")));
}

static bool rule_holds(const struct core_v1_container_restart_rule *r, int32_t exit_code)
{
    const struct core_v1_container_restart_rule_on_exit_codes *e = r->exit_codes;
    if (e == NULL)
        return false;
    bool in = false;
    for (size_t i = 0; i < e->values_count; i++)
        in = in || e->values[i] == exit_code;
    return str_eqc(e->operator, "NotIn") ? !in : in;
}

bool container_exit_decides(const struct core_v1_container *c, int32_t exit_code,
                            bool *ret_restarts)
{
    for (size_t i = 0; i < c->restart_policy_rules_count; i++) {
        if (str_eqc(c->restart_policy_rules[i].action, "Restart") &&
            rule_holds(&c->restart_policy_rules[i], exit_code)) {
            *ret_restarts = true;
            return true;
        }
    }
    if (!c->has_restart_policy)
        return false;
    *ret_restarts = str_eqc(c->restart_policy, "Always") ||
                    (str_eqc(c->restart_policy, "OnFailure") && exit_code != 0);
    return true;
}
