/* pod_security_check.c - which checks a level and a version have; see pod_security_check.h. */
#include "apiserver/admission/pod_security_check.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <inttypes.h>

/* --- levels and versions ----------------------------------------------------------------- */
static const char *const level_names[] = {"privileged", "baseline", "restricted"};

const char *ps_level_name(enum ps_level level)
{
    return level_names[level];
}

bool ps_level_parse(struct str s, enum ps_level *ret)
{
    for (size_t i = 0; i < ARRAY_SIZE(level_names); i++)
        if (str_eqc(s, level_names[i])) {
            *ret = (enum ps_level)i;
            return true;
        }
    *ret = PS_RESTRICTED;
    return false;
}

bool ps_version_parse(struct str s, int32_t *ret)
{
    uint64_t minor;
    *ret = PS_LATEST;
    if (str_eqc(s, "latest"))
        return true;
    if (!str_has_prefix(s, STR("v1.")))
        return false;
    struct str digits = str_sub(s, 3, s.len);
    if ((digits.len > 1 && digits.data[0] == '0') || !str_to_u64(digits, &minor) ||
        minor >= PS_LATEST)
        return false;
    *ret = (int32_t)minor;
    return true;
}

struct str ps_policy_text(struct arena *a, struct ps_policy p)
{
    if (p.minor == PS_LATEST)
        return arena_printf(a, "%s:latest", ps_level_name(p.level));
    return arena_printf(a, "%s:v1.%" PRId32, ps_level_name(p.level), p.minor);
}

bool ps_policy_equal(struct ps_policy x, struct ps_policy y)
{
    return x.level == y.level && x.minor == y.minor;
}

/* --- the table ---------------------------------------------------------------------------------
 */
/* In the order of reporting: baseline first, each level by upstream's names of
 * the checks. Several lines of one name are its versions, oldest first. */
static const struct entry {
    const char *name;
    enum ps_level level;
    int32_t since; /* The minor version. */
    ps_check *check;
    const char *replaces; /* Of the level below. */
} entries[] = {
    {"appArmorProfile", PS_BASELINE, 0, ps_app_armor, NULL},
    {"capabilities_baseline", PS_BASELINE, 0, ps_capabilities_baseline, NULL},
    {"hostNamespaces", PS_BASELINE, 0, ps_host_namespaces, NULL},
    {"hostPathVolumes", PS_BASELINE, 0, ps_host_path, NULL},
    {"hostPorts", PS_BASELINE, 0, ps_host_ports, NULL},
    {"hostProbesAndHostLifecycle", PS_BASELINE, 34, ps_host_probes, NULL},
    {"privileged", PS_BASELINE, 0, ps_privileged, NULL},
    {"procMount", PS_BASELINE, 0, ps_proc_mount, NULL},
    {"procMount", PS_BASELINE, 35, ps_proc_mount_user_namespace, NULL},
    {"seLinuxOptions", PS_BASELINE, 0, ps_se_linux, NULL},
    {"seccompProfile_baseline", PS_BASELINE, 0, ps_seccomp_annotations, NULL},
    {"seccompProfile_baseline", PS_BASELINE, 19, ps_seccomp_baseline, NULL},
    {"sysctls", PS_BASELINE, 0, ps_sysctls, NULL},
    {"windowsHostProcess", PS_BASELINE, 0, ps_windows_host_process, NULL},
    {"allowPrivilegeEscalation", PS_RESTRICTED, 8, ps_privilege_escalation, NULL},
    {"allowPrivilegeEscalation", PS_RESTRICTED, 25, ps_privilege_escalation_linux, NULL},
    {"capabilities_restricted", PS_RESTRICTED, 22, ps_capabilities_restricted,
     "capabilities_baseline"},
    {"capabilities_restricted", PS_RESTRICTED, 25, ps_capabilities_restricted_linux,
     "capabilities_baseline"},
    {"procMount_restricted", PS_RESTRICTED, 35, ps_proc_mount, "procMount"},
    {"restrictedVolumes", PS_RESTRICTED, 0, ps_volumes, "hostPathVolumes"},
    {"runAsNonRoot", PS_RESTRICTED, 0, ps_run_as_non_root, NULL},
    {"runAsNonRoot", PS_RESTRICTED, 35, ps_run_as_non_root_user_namespace, NULL},
    {"runAsUser", PS_RESTRICTED, 23, ps_run_as_user, NULL},
    {"runAsUser", PS_RESTRICTED, 35, ps_run_as_user_user_namespace, NULL},
    {"seccompProfile_restricted", PS_RESTRICTED, 19, ps_seccomp_restricted,
     "seccompProfile_baseline"},
    {"seccompProfile_restricted", PS_RESTRICTED, 25, ps_seccomp_restricted_linux,
     "seccompProfile_baseline"},
};

/* Is it the newest of its name that the version has? */
static bool applies(size_t i, struct ps_policy p)
{
    if (entries[i].level > p.level || entries[i].since > p.minor)
        return false;
    return i + 1 == ARRAY_SIZE(entries) || strcmp(entries[i + 1].name, entries[i].name) != 0 ||
           entries[i + 1].since > p.minor;
}

static bool replaced(size_t i, struct ps_policy p)
{
    for (size_t k = i + 1; k < ARRAY_SIZE(entries); k++)
        if (entries[k].replaces != NULL && strcmp(entries[k].replaces, entries[i].name) == 0 &&
            applies(k, p))
            return true;
    return false;
}

static void find_containers(struct ps_run *r)
{
    const struct core_v1_pod_spec *s = r->spec;
    r->containers = (const struct core_v1_container **)arena_alloc(
        r->arena, (s->init_containers_count + s->containers_count + s->ephemeral_containers_count) *
                          sizeof(*r->containers) +
                      1);
    for (size_t i = 0; i < s->init_containers_count; i++)
        r->containers[r->count++] = &s->init_containers[i];
    for (size_t i = 0; i < s->containers_count; i++)
        r->containers[r->count++] = &s->containers[i];
    /* The two structs have the same members. */
    static_assert(offsetof(struct core_v1_container, security_context) ==
                      offsetof(struct core_v1_ephemeral_container_common, security_context),
                  "containers differ");
    for (size_t i = 0; i < s->ephemeral_containers_count; i++)
        r->containers[r->count++] =
            (const void *)&s->ephemeral_containers[i].ephemeral_container_common;
}

void ps_evaluate(struct arena *a, struct ps_policy p, const struct meta_v1_object_meta *meta,
                 const struct core_v1_pod_spec *spec, struct ps_result *ret)
{
    struct ps_run r = {.arena = a, .meta = meta, .spec = spec, .minor = p.minor};
    ret->count = 0;
    if (p.level == PS_PRIVILEGED)
        return;
    find_containers(&r);
    static_assert(ARRAY_SIZE(entries) <= PS_FINDINGS_MAX + 7, "more checks than findings");
    for (size_t i = 0; i < ARRAY_SIZE(entries) && ret->count < PS_FINDINGS_MAX; i++)
        if (applies(i, p) && !replaced(i, p) && !entries[i].check(&r))
            ret->findings[ret->count++] = r.finding;
}

struct str ps_reasons(struct arena *a, const struct ps_result *r)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < r->count; i++)
        buf_printf(&b, "%s" STR_FMT, i != 0 ? ", " : "", STR_ARG(r->findings[i].reason));
    return arena_str(a, buf_str(&b));
}

struct str ps_details(struct arena *a, const struct ps_result *r)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < r->count; i++) {
        buf_printf(&b, "%s" STR_FMT, i != 0 ? ", " : "", STR_ARG(r->findings[i].reason));
        if (r->findings[i].detail.len != 0)
            buf_printf(&b, " (" STR_FMT ")", STR_ARG(r->findings[i].detail));
    }
    return arena_str(a, buf_str(&b));
}

/* --- lists of names ------------------------------------------------------------------------------
 */
void ps_add(struct ps_run *r, struct ps_names *n, struct str s)
{
    n->items = arena_grow(r->arena, n->items, n->count, &n->cap, sizeof(*n->items));
    n->items[n->count++] = s;
}

void ps_insert(struct ps_run *r, struct ps_names *n, struct str s)
{
    size_t at = 0;
    while (at < n->count && str_cmp(n->items[at], s) < 0)
        at++;
    if (at < n->count && str_eq(n->items[at], s))
        return;
    ps_add(r, n, s);
    memmove(&n->items[at + 1], &n->items[at], (n->count - 1 - at) * sizeof(*n->items));
    n->items[at] = s;
}

struct str ps_join(struct ps_run *r, const struct ps_names *n, const char *separator)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < n->count; i++)
        buf_printf(&b, "%s" STR_FMT, i != 0 ? separator : "", STR_ARG(n->items[i]));
    return arena_str(r->arena, buf_str(&b));
}

struct str ps_quote(struct ps_run *r, const struct ps_names *n)
{
    return arena_printf(r->arena, "\"" STR_FMT "\"", STR_ARG(ps_join(r, n, "\", \"")));
}

struct str ps_containers(struct ps_run *r, const struct ps_names *n)
{
    return arena_printf(r->arena, "container%s " STR_FMT, n->count == 1 ? "" : "s",
                        STR_ARG(ps_quote(r, n)));
}

struct str ps_setters(struct ps_run *r, bool pod, const struct ps_names *containers)
{
    if (containers->count == 0)
        return STR("pod");
    return arena_printf(r->arena, "%s" STR_FMT, pod ? "pod and " : "",
                        STR_ARG(ps_containers(r, containers)));
}

bool ps_forbid(struct ps_run *r, const char *reason, struct str detail)
{
    r->finding = (struct ps_finding){str_of(reason), detail};
    return false;
}
