/* pod_security_check.h - the Pod Security Standards: what a pod may ask for at
 * a level, as each Kubernetes version has it. Pure. */
#ifndef APISERVER_ADMISSION_POD_SECURITY_CHECK_H
#define APISERVER_ADMISSION_POD_SECURITY_CHECK_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;
struct buf;
struct core_v1_container;
struct core_v1_pod_spec;
struct meta_v1_object_meta;

enum ps_level { PS_PRIVILEGED, PS_BASELINE, PS_RESTRICTED };

#define PS_LATEST INT32_MAX

struct ps_policy {
    enum ps_level level;
    int32_t minor; /* Of the version v1.<minor>, or PS_LATEST. */
};

/* False: what stands in *ret is restricted, or latest. */
bool ps_level_parse(struct str s, enum ps_level *ret);
bool ps_version_parse(struct str s, int32_t *ret);
const char *ps_level_name(enum ps_level level);
struct str ps_policy_text(struct arena *a, struct ps_policy p); /* "baseline:v1.30" */
bool ps_policy_equal(struct ps_policy x, struct ps_policy y);

#define PS_FINDINGS_MAX 24

struct ps_finding {
    struct str reason, detail; /* detail may be empty. */
};

struct ps_result {
    size_t count; /* 0: the pod is allowed. */
    struct ps_finding findings[PS_FINDINGS_MAX];
};

void ps_evaluate(struct arena *a, struct ps_policy p, const struct meta_v1_object_meta *meta,
                 const struct core_v1_pod_spec *spec, struct ps_result *ret);
struct str ps_reasons(struct arena *a, const struct ps_result *r); /* "hostPort, privileged" */
struct str ps_details(struct arena *a, const struct ps_result *r); /* "hostPort (container ...)" */

/* --- between the table and the checks -------------------------------------------------- */
/* A list of texts; a set when filled by ps_insert(). */
struct ps_names {
    struct str *items;
    size_t count, cap;
};

struct ps_run {
    struct arena *arena;
    const struct meta_v1_object_meta *meta;
    const struct core_v1_pod_spec *spec;
    const struct core_v1_container **containers; /* Init, normal and ephemeral ones. */
    size_t count;
    int32_t minor; /* Of the version asked for. */
    struct ps_finding finding;
};

void ps_add(struct ps_run *r, struct ps_names *n, struct str s);
void ps_insert(struct ps_run *r, struct ps_names *n, struct str s); /* Sorted, each once. */
struct str ps_join(struct ps_run *r, const struct ps_names *n, const char *separator);
struct str ps_quote(struct ps_run *r, const struct ps_names *n); /* "a", "b" with the quotes */
/* container "a", or containers "a", "b" */
struct str ps_containers(struct ps_run *r, const struct ps_names *n);
/* Who sets what must not be set: pod and container "a" */
struct str ps_setters(struct ps_run *r, bool pod, const struct ps_names *containers);
/* Sets the finding; false, so that a check can return it. */
bool ps_forbid(struct ps_run *r, const char *reason, struct str detail);

/* True: allowed. */
typedef bool ps_check(struct ps_run *r);
ps_check ps_app_armor, ps_capabilities_baseline, ps_host_namespaces, ps_host_path, ps_host_ports,
    ps_host_probes, ps_privileged, ps_proc_mount, ps_proc_mount_user_namespace, ps_se_linux,
    ps_seccomp_annotations, ps_seccomp_baseline, ps_sysctls, ps_windows_host_process;
ps_check ps_privilege_escalation, ps_privilege_escalation_linux, ps_capabilities_restricted,
    ps_capabilities_restricted_linux, ps_volumes, ps_run_as_non_root,
    ps_run_as_non_root_user_namespace, ps_run_as_user, ps_run_as_user_user_namespace,
    ps_seccomp_restricted, ps_seccomp_restricted_linux;
bool ps_seccomp_valid(struct str type);

#endif
