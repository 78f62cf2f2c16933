/* pod_containers.c - containers of all three kinds: names, images, ports,
 * environment, policies. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "lib/base/arena.h"

/* An ephemeral container is a container under another name. */
static_assert(sizeof(struct core_v1_container) == sizeof(struct core_v1_ephemeral_container_common),
              "ephemeral containers have the fields of containers");

/* --- ports and environment -------------------------------------------------------------- */

static void check_ports(struct pod_check *k, const struct field_path *path,
                        const struct core_v1_container_port *p, size_t count)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        size_t before = k->errs->count;
        if (!str_empty(p[i].name)) {
            validate_port_name(k->errs, PATH(at, "name"), p[i].name);
            for (size_t j = 0; k->errs->count == before && j < i; j++)
                if (str_eq(p[j].name, p[i].name))
                    field_duplicate(k->errs, PATH(at, "name"), p[i].name);
        }
        if (p[i].container_port == 0)
            field_required(k->errs, PATH(at, "containerPort"), NULL);
        else
            validate_port(k->errs, PATH(at, "containerPort"), p[i].container_port);
        if (p[i].host_port != 0)
            validate_port(k->errs, PATH(at, "hostPort"), p[i].host_port);
        require_listed(k->errs, PATH(at, "protocol"), p[i].protocol, protocols);
    }
}

static void check_key_ref(struct field_errors *errs, const struct field_path *path, struct str name,
                          struct str key)
{
    /* An empty name is tolerated: some old clients write it. */
    if (!str_empty(name))
        validate_form(errs, PATH(path, "name"), name, api_check_dns_subdomain);
    require_form(errs, PATH(path, "key"), key, api_check_config_key);
}

static void check_file_ref(struct pod_check *k, const struct field_path *path,
                           const struct core_v1_file_key_selector *f)
{
    if (str_empty(f->volume_name))
        field_required(k->errs, PATH(path, "volumeName"), NULL);
    else
        validate_form(k->errs, PATH(path, "volumeName"), f->volume_name, api_check_dns_label);
    if (str_empty(f->path))
        field_required(k->errs, PATH(path, "path"), NULL);
    else
        validate_non_reserved_path(k->errs, PATH(path, "path"), f->path);
    require_form(k->errs, PATH(path, "key"), f->key, api_check_env_name);
}

static void check_env_source(struct pod_check *k, const struct field_path *path,
                             const struct core_v1_env_var *e)
{
    static const char *const fields[] = {"metadata.name",
                                         "metadata.namespace",
                                         "metadata.uid",
                                         "spec.nodeName",
                                         "spec.serviceAccountName",
                                         "status.hostIP",
                                         "status.hostIPs",
                                         "status.podIP",
                                         "status.podIPs",
                                         NULL};
    const struct core_v1_env_var_source *s = e->value_from;
    int given = (s->field_ref != NULL) + (s->resource_field_ref != NULL) +
                (s->config_map_key_ref != NULL) + (s->secret_key_ref != NULL) +
                (s->file_key_ref != NULL);
    if (s->field_ref != NULL)
        check_field_ref(k->errs, PATH(path, "fieldRef"), s->field_ref, fields);
    if (s->resource_field_ref != NULL)
        check_resource_field_ref(k->errs, PATH(path, "resourceFieldRef"), s->resource_field_ref,
                                 false);
    if (s->config_map_key_ref != NULL)
        check_key_ref(k->errs, PATH(path, "configMapKeyRef"),
                      s->config_map_key_ref->local_object_reference.name,
                      s->config_map_key_ref->key);
    if (s->secret_key_ref != NULL)
        check_key_ref(k->errs, PATH(path, "secretKeyRef"),
                      s->secret_key_ref->local_object_reference.name, s->secret_key_ref->key);
    if (s->file_key_ref != NULL)
        check_file_ref(k, PATH(path, "fileKeyRef"), s->file_key_ref);
    if (given == 0)
        field_invalid(k->errs, path, STR(""),
                      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                      "`secretKeyRef` or "
                      "`fileKeyRef`");
    else if (!str_empty(e->value))
        field_invalid(k->errs, path, STR(""), "may not be specified when `value` is not empty");
    else if (given > 1)
        field_invalid(k->errs, path, STR(""),
                      "may not have more than one field specified at a time");
}

static void check_env(struct pod_check *k, const struct field_path *path,
                      const struct core_v1_container *c)
{
    for (size_t i = 0; i < c->env_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(path, "env"), i);
        require_form(k->errs, PATH(at, "name"), c->env[i].name, api_check_env_name);
        if (c->env[i].value_from != NULL)
            check_env_source(k, PATH(at, "valueFrom"), &c->env[i]);
    }
    for (size_t i = 0; i < c->env_from_count; i++) {
        const struct core_v1_env_from_source *s = &c->env_from[i];
        const struct field_path *list = PATH(path, "envFrom"), *at = PATH_INDEX(list, i);
        if (!str_empty(s->prefix))
            validate_form(k->errs, PATH(at, "prefix"), s->prefix, api_check_env_name);
        if (s->config_map_ref != NULL)
            require_form(k->errs, PATH(PATH(at, "configMapRef"), "name"),
                         s->config_map_ref->local_object_reference.name, api_check_dns_subdomain);
        if (s->secret_ref != NULL)
            require_form(k->errs, PATH(PATH(at, "secretRef"), "name"),
                         s->secret_ref->local_object_reference.name, api_check_dns_subdomain);
        if (s->config_map_ref == NULL && s->secret_ref == NULL)
            field_invalid(k->errs, list, STR(""),
                          "must specify one of: `configMapRef` or `secretRef`");
        else if (s->config_map_ref != NULL && s->secret_ref != NULL)
            field_invalid(k->errs, list, STR(""),
                          "may not have more than one field specified at a time");
    }
}

/* --- what all containers share ------------------------------------------------------------- */

static void check_resize_policy(struct pod_check *k, const struct field_path *path,
                                const struct core_v1_container *c)
{
    static const char *const resources[] = {"cpu", "memory", NULL};
    static const char *const policies[] = {"NotRequired", "RestartContainer", NULL};
    for (size_t i = 0; i < c->resize_policy_count; i++) {
        const struct core_v1_container_resize_policy *p = &c->resize_policy[i];
        for (size_t j = 0; j < i; j++)
            if (str_eq(c->resize_policy[j].resource_name, p->resource_name))
                field_duplicate(k->errs, PATH_INDEX(path, i), p->resource_name);
        require_listed(k->errs, path, p->resource_name, resources);
        require_listed(k->errs, path, p->restart_policy, policies);
        if (str_eqc(k->spec->restart_policy, "Never") &&
            str_eqc(p->restart_policy, "RestartContainer"))
            field_invalid(k->errs, path, p->restart_policy,
                          "must be 'NotRequired' when `restartPolicy` is 'Never'");
    }
}

static void check_common(struct pod_check *k, const struct field_path *path,
                         const struct core_v1_container *c)
{
    static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};
    static const char *const message_policies[] = {"File", "FallbackToLogsOnError", NULL};
    require_form(k->errs, PATH(path, "name"), c->name, api_check_dns_label);
    if (str_empty(c->image))
        field_required(k->errs, PATH(path, "image"), NULL);
    require_listed(k->errs, PATH(path, "terminationMessagePolicy"), c->termination_message_policy,
                   message_policies);
    check_ports(k, PATH(path, "ports"), c->ports, c->ports_count);
    check_env(k, path, c);
    check_mounts(k, path, c);
    require_listed(k->errs, PATH(path, "imagePullPolicy"), c->image_pull_policy, pull_policies);
    check_resources(k, PATH(path, "resources"), &c->resources);
    check_resize_policy(k, PATH(path, "resizePolicy"), c);
    check_container_security(k, PATH(path, "securityContext"), c->security_context);
}

static void check_exit_codes(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_container_restart_rule_on_exit_codes *e)
{
    static const char *const operators[] = {"In", "NotIn", NULL};
    if (e == NULL) {
        field_required(errs, path, NULL);
        return;
    }
    require_listed(errs, PATH(path, "operator"), e->operator, operators);
    if (e->values_count == 0)
        field_required(errs, PATH(path, "values"), "must specify at least one value");
    else if (e->values_count > 255)
        field_too_many(errs, PATH(path, "values"), (int64_t)e->values_count, 255);
}

static void check_restart(struct pod_check *k, const struct field_path *path,
                          const struct core_v1_container *c)
{
    static const char *const policies[] = {"Always", "Never", "OnFailure", NULL};
    static const char *const actions[] = {"Restart", NULL};
    const struct field_path *rules = PATH(path, "restartPolicyRules");
    if (c->has_restart_policy)
        validate_listed(k->errs, PATH(path, "restartPolicy"), c->restart_policy, policies);
    else if (c->restart_policy_rules_count != 0)
        field_required(k->errs, PATH(path, "restartPolicy"),
                       "must specify restartPolicy when restart rules are used");
    if (c->restart_policy_rules_count > 20)
        field_too_many(k->errs, rules, (int64_t)c->restart_policy_rules_count, 20);
    for (size_t i = 0; i < c->restart_policy_rules_count; i++) {
        const struct core_v1_container_restart_rule *r = &c->restart_policy_rules[i];
        require_listed(k->errs, PATH(PATH_INDEX(rules, i), "action"), r->action, actions);
        check_exit_codes(k->errs, PATH(PATH_INDEX(rules, i), "exitCodes"), r->exit_codes);
    }
}

/* A port of the host can be had once: from is where a list's search for the same begins. */
static void check_host_ports(struct pod_check *k, const struct field_path *path,
                             const struct core_v1_container *list, size_t from, size_t to)
{
    for (size_t c = from; c < to; c++)
        for (size_t i = 0; i < list[c].ports_count; i++) {
            const struct core_v1_container_port *p = &list[c].ports[i];
            bool taken = false;
            for (size_t d = from; p->host_port != 0 && d <= c && !taken; d++)
                for (size_t j = 0; j < (d == c ? i : list[d].ports_count) && !taken; j++) {
                    const struct core_v1_container_port *q = &list[d].ports[j];
                    taken = q->host_port == p->host_port && str_eq(q->protocol, p->protocol) &&
                            str_eq(q->host_ip, p->host_ip);
                }
            if (taken)
                field_duplicate(
                    k->errs, PATH(PATH_INDEX(PATH(PATH_INDEX(path, c), "ports"), i), "hostPort"),
                    arena_printf(k->errs->arena, STR_FMT "/" STR_FMT "/%d", STR_ARG(p->protocol),
                                 STR_ARG(p->host_ip), p->host_port));
        }
}

static bool has_name(const struct core_v1_container *list, size_t count, struct str name)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(list[i].name, name))
            return true;
    return false;
}

/* --- the three lists ----------------------------------------------------------------------------
 */

void check_containers(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = k->spec;
    if (s->containers_count == 0) {
        field_required(k->errs, path, NULL);
        return;
    }
    for (size_t i = 0; i < s->containers_count; i++) {
        const struct core_v1_container *c = &s->containers[i];
        const struct field_path *at = PATH_INDEX(path, i);
        check_common(k, at, c);
        if (has_name(s->containers, i, c->name))
            field_duplicate(k->errs, PATH(at, "name"), c->name);
        check_probes(k, at, c);
        check_restart(k, at, c);
    }
    check_host_ports(k, path, s->containers, 0, s->containers_count);
}

static void forbid_hooks(struct pod_check *k, const struct field_path *at,
                         const struct core_v1_container *c)
{
    static const char why[] = "may not be set for init containers without restartPolicy=Always";
    if (c->lifecycle != NULL)
        field_forbidden(k->errs, PATH(at, "lifecycle"), why);
    if (c->liveness_probe != NULL)
        field_forbidden(k->errs, PATH(at, "livenessProbe"), why);
    if (c->readiness_probe != NULL)
        field_forbidden(k->errs, PATH(at, "readinessProbe"), why);
    if (c->startup_probe != NULL)
        field_forbidden(k->errs, PATH(at, "startupProbe"), why);
}

void check_init_containers(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = k->spec;
    for (size_t i = 0; i < s->init_containers_count; i++) {
        const struct core_v1_container *c = &s->init_containers[i];
        const struct field_path *at = PATH_INDEX(path, i);
        check_common(k, at, c);
        check_restart(k, at, c);
        if (has_name(s->containers, s->containers_count, c->name) ||
            has_name(s->init_containers, i, c->name))
            field_duplicate(k->errs, PATH(at, "name"), c->name);
        check_host_ports(k, path, s->init_containers, i, i + 1);
        if (c->has_restart_policy && str_eqc(c->restart_policy, "Always"))
            check_probes(k, at, c);
        else
            forbid_hooks(k, at, c);
    }
}

static void forbid_for_ephemeral(struct pod_check *k, const struct field_path *at,
                                 const struct core_v1_container *c)
{
    static const char why[] = "cannot be set for an Ephemeral Container";
    const struct {
        bool given;
        const char *name;
    } fields[] = {
        {c->ports_count != 0, "ports"},
        {c->resources.limits_count + c->resources.requests_count + c->resources.claims_count != 0,
         "resources"},
        {c->resize_policy_count != 0, "resizePolicy"},
        {c->has_restart_policy, "restartPolicy"},
        {c->liveness_probe != NULL, "livenessProbe"},
        {c->readiness_probe != NULL, "readinessProbe"},
        {c->startup_probe != NULL, "startupProbe"},
        {c->lifecycle != NULL, "lifecycle"}};
    for (size_t i = 0; i < ARRAY_SIZE(fields); i++)
        if (fields[i].given)
            field_forbidden(k->errs, PATH(at, fields[i].name), why);
    for (size_t i = 0; i < c->volume_mounts_count; i++) {
        const struct field_path *mount = PATH_INDEX(PATH(at, "volumeMounts"), i);
        if (!str_empty(c->volume_mounts[i].sub_path))
            field_forbidden(k->errs, PATH(mount, "subPath"), why);
        if (!str_empty(c->volume_mounts[i].sub_path_expr))
            field_forbidden(k->errs, PATH(mount, "subPathExpr"), why);
    }
}

void check_ephemeral_containers(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = k->spec;
    for (size_t i = 0; i < s->ephemeral_containers_count; i++) {
        struct core_v1_container c;
        const struct core_v1_ephemeral_container *e = &s->ephemeral_containers[i];
        const struct field_path *at = PATH_INDEX(path, i);
        memcpy(&c, &e->ephemeral_container_common, sizeof(c));
        check_common(k, at, &c);
        bool taken = has_name(s->containers, s->containers_count, c.name) ||
                     has_name(s->init_containers, s->init_containers_count, c.name);
        for (size_t j = 0; j < i && !taken; j++)
            taken = str_eq(s->ephemeral_containers[j].ephemeral_container_common.name, c.name);
        if (!str_empty(c.name) && taken)
            field_duplicate(k->errs, PATH(at, "name"), c.name);
        if (!str_empty(e->target_container_name) &&
            !has_name(s->containers, s->containers_count, e->target_container_name) &&
            !has_name(s->init_containers, s->init_containers_count, e->target_container_name))
            field_not_found(k->errs, PATH(at, "targetContainerName"), e->target_container_name);
        forbid_for_ephemeral(k, at, &c);
    }
}
