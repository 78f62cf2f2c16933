/* pod_validate.c - the rules of a pod spec that every author meets: containers,
 * images, ports, environment, volumes and mounts, resources, policies. */
#include "apiserver/kinds/pod_spec.h"

#include "apiserver/validate.h"
#include "api/core_v1.h"
#include "api/resource.h"
#include "lib/api/codec.h"
#include "lib/api/quantity.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include <string.h>

struct walk {
    const struct kind_ctx *ctx;
    struct field_errors *errs;
    const struct core_v1_pod_spec *spec;
    unsigned flags;
};

static bool is_listed(struct str s, const char *const *list)
{
    for (; *list != NULL; list++)
        if (str_eqc(s, *list))
            return true;
    return false;
}

/* Empty: required; else one of the list. */
static void one_of(struct field_errors *errs, const struct field_path *path, struct str s,
                   const char *const *list)
{
    if (str_empty(s))
        field_required(errs, path, NULL);
    else if (!is_listed(s, list))
        field_not_supported(errs, path, s, list);
}

/* --- resources ------------------------------------------------------------------------ */

static bool is_standard_resource(struct str name)
{
    static const char *const names[] = {"cpu", "memory", "ephemeral-storage", NULL};
    return is_listed(name, names) || str_has_prefix(name, STR("hugepages-"));
}

static void validate_resource_name(struct walk *w, const struct field_path *path, struct str name)
{
    struct faults f = check_qualified_name(name, w->ctx->arena);
    if (f.count != 0)
        field_faults(w->errs, path, name, f);
    else if (str_find(name, '/', 0) < 0 && !is_standard_resource(name))
        field_invalid(w->errs, path, name, "must be a standard resource for containers");
}

static const struct api_quantity_entry *find(const struct api_quantity_entry *e, size_t count,
                                             struct str key)
{
    for (size_t i = 0; i < count; i++)
        if (str_eq(e[i].key, key))
            return &e[i];
    return NULL;
}

static void validate_quantities(struct walk *w, const struct field_path *path,
                                const struct api_quantity_entry *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_KEY(path, e[i].key);
        struct quantity q = quantity_of(&e[i].value);
        validate_resource_name(w, at, e[i].key);
        if (quantity_sign(&q) < 0)
            field_invalid(w->errs, at, e[i].value.string, "must be greater than or equal to 0");
    }
}

static void validate_resources(struct walk *w, const struct field_path *path,
                               const struct core_v1_resource_requirements *r)
{
    validate_quantities(w, PATH(path, "limits"), r->limits, r->limits_count);
    validate_quantities(w, PATH(path, "requests"), r->requests, r->requests_count);
    for (size_t i = 0; i < r->requests_count; i++) {
        const struct api_quantity_entry *limit =
            find(r->limits, r->limits_count, r->requests[i].key);
        struct quantity q = quantity_of(&r->requests[i].value);
        bool extended = str_find(r->requests[i].key, '/', 0) >= 0 ||
                        str_has_prefix(r->requests[i].key, STR("hugepages-"));
        if (limit == NULL) {
            if (extended)
                field_required(w->errs, PATH(path, "limits"),
                               "Limit must be set for non overcommitable resources");
            continue;
        }
        struct quantity l = quantity_of(&limit->value);
        if (extended && quantity_cmp(&q, &l) != 0)
            field_invalid(w->errs, PATH(path, "requests"), r->requests[i].value.string,
                          "must be equal to " STR_FMT " limit of " STR_FMT,
                          STR_ARG(r->requests[i].key), STR_ARG(limit->value.string));
        else if (quantity_cmp(&q, &l) > 0)
            field_invalid(w->errs, PATH(path, "requests"), r->requests[i].value.string,
                          "must be less than or equal to " STR_FMT " limit of " STR_FMT,
                          STR_ARG(r->requests[i].key), STR_ARG(limit->value.string));
    }
}

/* --- ports and environment -------------------------------------------------------------- */

static void validate_ports(struct walk *w, const struct field_path *path,
                           const struct core_v1_container_port *p, size_t count)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        if (!str_empty(p[i].name)) {
            const char *msgs[5];
            unsigned n = 0;
            check_port_name(p[i].name, msgs, &n);
            for (unsigned k = 0; k < n; k++)
                field_invalid(w->errs, PATH(at, "name"), p[i].name, "%s", msgs[k]);
            for (size_t k = 0; n == 0 && k < i; k++)
                if (str_eq(p[k].name, p[i].name)) {
                    field_duplicate(w->errs, PATH(at, "name"), p[i].name);
                    break;
                }
        }
        if (p[i].container_port == 0)
            field_required(w->errs, PATH(at, "containerPort"), NULL);
        else
            validate_port(w->errs, PATH(at, "containerPort"), p[i].container_port);
        if (p[i].host_port != 0) {
            validate_port(w->errs, PATH(at, "hostPort"), p[i].host_port);
            if (w->spec->host_network && p[i].host_port != p[i].container_port)
                field_invalid_int(w->errs, PATH(at, "hostPort"), p[i].host_port,
                                  "must match `containerPort` when `hostNetwork` is true");
        }
        one_of(w->errs, PATH(at, "protocol"), p[i].protocol, protocols);
    }
}

static void validate_env_source(struct walk *w, const struct field_path *path,
                                const struct core_v1_env_var *e)
{
    const struct core_v1_env_var_source *s = e->value_from;
    int given = (s->field_ref != NULL) + (s->resource_field_ref != NULL) +
                (s->config_map_key_ref != NULL) + (s->secret_key_ref != NULL) +
                (s->file_key_ref != NULL);
    if (given == 0)
        field_invalid(w->errs, path, STR(""),
                      "must specify one of: `fieldRef`, `resourceFieldRef`, `configMapKeyRef`, "
                      "`secretKeyRef` or "
                      "`fileKeyRef`");
    else if (!str_empty(e->value))
        field_invalid(w->errs, path, STR(""), "may not be specified when `value` is not empty");
    if (given > 1)
        field_invalid(w->errs, path, STR(""),
                      "may not have more than one field specified at a time");
    if (s->config_map_key_ref != NULL) {
        const struct field_path *at = PATH(path, "configMapKeyRef");
        if (str_empty(s->config_map_key_ref->key))
            field_required(w->errs, PATH(at, "key"), NULL);
        else
            field_faults(w->errs, PATH(at, "key"), s->config_map_key_ref->key,
                         check_config_map_key(s->config_map_key_ref->key));
    }
    if (s->secret_key_ref != NULL) {
        const struct field_path *at = PATH(path, "secretKeyRef");
        if (str_empty(s->secret_key_ref->key))
            field_required(w->errs, PATH(at, "key"), NULL);
        else
            field_faults(w->errs, PATH(at, "key"), s->secret_key_ref->key,
                         check_config_map_key(s->secret_key_ref->key));
    }
    if (s->field_ref != NULL) {
        const struct field_path *at = PATH(path, "fieldRef");
        if (str_empty(s->field_ref->api_version))
            field_required(w->errs, PATH(at, "apiVersion"), NULL);
        if (str_empty(s->field_ref->field_path))
            field_required(w->errs, PATH(at, "fieldPath"), NULL);
    }
}

static void validate_env(struct walk *w, const struct field_path *path,
                         const struct core_v1_env_var *e, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        if (str_empty(e[i].name))
            field_required(w->errs, PATH(at, "name"), NULL);
        else
            field_faults(w->errs, PATH(at, "name"), e[i].name, check_env_var_name(e[i].name));
        if (e[i].value_from != NULL)
            validate_env_source(w, PATH(at, "valueFrom"), &e[i]);
    }
}

/* --- volumes ------------------------------------------------------------------------------- */

static const struct core_v1_volume *find_volume(const struct core_v1_pod_spec *s, struct str name)
{
    for (size_t i = 0; i < s->volumes_count; i++)
        if (str_eq(s->volumes[i].name, name))
            return &s->volumes[i];
    return NULL;
}

static bool has_dotdot(struct str path)
{
    struct str rest = path, part;
    do {
        str_cut(rest, '/', &part, &rest);
        if (str_eqc(part, ".."))
            return true;
    } while (!str_empty(rest));
    return false;
}

static size_t count_sources(const struct core_v1_volume_source *s)
{
    /* The struct is nothing but pointers, one per kind of source. */
    const void *const *p = (const void *const *)(const void *)s;
    size_t n = 0;
    for (size_t i = 0; i < sizeof(*s) / sizeof(void *); i++)
        n += p[i] != NULL;
    return n;
}

static void validate_host_path(struct walk *w, const struct field_path *path,
                               const struct core_v1_host_path_volume_source *h)
{
    static const char *const types[] = {
        "",     "BlockDevice",  "CharDevice", "Directory", "DirectoryOrCreate",
        "File", "FileOrCreate", "Socket",     NULL};
    if (str_empty(h->path))
        field_required(w->errs, PATH(path, "path"), NULL);
    else if (has_dotdot(h->path))
        field_invalid(w->errs, PATH(path, "path"), h->path, "must not contain '..'");
    if (h->has_type && !is_listed(h->type, types))
        field_not_supported(w->errs, PATH(path, "type"), h->type, types);
}

static void validate_volume(struct walk *w, const struct field_path *path,
                            const struct core_v1_volume *v)
{
    const struct core_v1_volume_source *s = &v->volume_source;
    size_t sources = count_sources(s);
    if (sources == 0)
        field_required(w->errs, path, "must specify a volume type");
    else if (sources > 1)
        field_forbidden(w->errs, path, "may not specify more than 1 volume type");
    if (s->host_path != NULL)
        validate_host_path(w, PATH(path, "hostPath"), s->host_path);
    if (s->secret != NULL && str_empty(s->secret->secret_name))
        field_required(w->errs, PATH(PATH(path, "secret"), "secretName"), NULL);
    if (s->config_map != NULL && str_empty(s->config_map->local_object_reference.name))
        field_required(w->errs, PATH(PATH(path, "configMap"), "name"), NULL);
    if (s->persistent_volume_claim != NULL && str_empty(s->persistent_volume_claim->claim_name))
        field_required(w->errs, PATH(PATH(path, "persistentVolumeClaim"), "claimName"), NULL);
}

static void validate_volumes(struct walk *w, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = w->spec;
    for (size_t i = 0; i < s->volumes_count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        validate_volume(w, at, &s->volumes[i]);
        if (str_empty(s->volumes[i].name)) {
            field_required(w->errs, PATH(at, "name"), NULL);
            continue;
        }
        struct faults f = check_dns_label(s->volumes[i].name);
        field_faults(w->errs, PATH(at, "name"), s->volumes[i].name, f);
        for (size_t k = 0; f.count == 0 && k < i; k++)
            if (str_eq(s->volumes[k].name, s->volumes[i].name)) {
                field_duplicate(w->errs, PATH(at, "name"), s->volumes[i].name);
                break;
            }
    }
}

static void validate_mounts(struct walk *w, const struct field_path *path,
                            const struct core_v1_volume_mount *m, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        if (str_empty(m[i].name))
            field_required(w->errs, PATH(at, "name"), NULL);
        if (find_volume(w->spec, m[i].name) == NULL)
            field_not_found(w->errs, PATH(at, "name"), m[i].name);
        if (str_empty(m[i].mount_path))
            field_required(w->errs, PATH(at, "mountPath"), NULL);
        for (size_t k = 0; k < i; k++)
            if (str_eq(m[k].mount_path, m[i].mount_path)) {
                field_invalid(w->errs, PATH(at, "mountPath"), m[i].mount_path, "must be unique");
                break;
            }
        if (!str_empty(m[i].sub_path)) {
            if (m[i].sub_path.data[0] == '/')
                field_invalid(w->errs, PATH(at, "subPath"), m[i].sub_path,
                              "must be a relative path");
            if (has_dotdot(m[i].sub_path))
                field_invalid(w->errs, PATH(at, "subPath"), m[i].sub_path, "must not contain '..'");
        }
    }
}

/* --- probes and hooks --------------------------------------------------------------------------
 */

static void validate_handler(struct walk *w, const struct field_path *path,
                             const struct core_v1_exec_action *exec,
                             const struct core_v1_http_get_action *http, size_t count)
{
    static const char *const schemes[] = {"HTTP", "HTTPS", NULL};
    if (count == 0)
        field_required(w->errs, path, "must specify a handler type");
    if (count > 1)
        field_forbidden(w->errs, path, "may not specify more than 1 handler type");
    if (exec != NULL && exec->command_count == 0)
        field_required(w->errs, PATH(PATH(path, "exec"), "command"), NULL);
    if (http != NULL) {
        const struct field_path *at = PATH(path, "httpGet");
        if (str_empty(http->path))
            field_required(w->errs, PATH(at, "path"), NULL);
        if (http->port.type == 0)
            validate_port(w->errs, PATH(at, "port"), http->port.int_val);
        one_of(w->errs, PATH(at, "scheme"), http->scheme, schemes);
    }
}

static void validate_probe(struct walk *w, const struct field_path *path,
                           const struct core_v1_probe *p, bool only_one)
{
    if (p == NULL)
        return;
    const struct core_v1_probe_handler *h = &p->handler;
    size_t n = (size_t)((h->exec != NULL) + (h->http_get != NULL) + (h->tcp_socket != NULL) +
                        (h->grpc != NULL));
    validate_handler(w, path, h->exec, h->http_get, n);
    if (h->tcp_socket != NULL && h->tcp_socket->port.type == 0)
        validate_port(w->errs, PATH(PATH(path, "tcpSocket"), "port"), h->tcp_socket->port.int_val);
    if (h->grpc != NULL)
        validate_port(w->errs, PATH(PATH(path, "grpc"), "port"), h->grpc->port);
    validate_non_negative(w->errs, PATH(path, "initialDelaySeconds"), p->initial_delay_seconds);
    validate_non_negative(w->errs, PATH(path, "timeoutSeconds"), p->timeout_seconds);
    validate_non_negative(w->errs, PATH(path, "periodSeconds"), p->period_seconds);
    validate_non_negative(w->errs, PATH(path, "successThreshold"), p->success_threshold);
    validate_non_negative(w->errs, PATH(path, "failureThreshold"), p->failure_threshold);
    if (p->has_termination_grace_period_seconds && p->termination_grace_period_seconds <= 0)
        field_invalid_int(w->errs, PATH(path, "terminationGracePeriodSeconds"),
                          p->termination_grace_period_seconds, "must be greater than 0");
    if (only_one && p->success_threshold != 1)
        field_invalid_int(w->errs, PATH(path, "successThreshold"), p->success_threshold,
                          "must be 1");
}

static void validate_hook(struct walk *w, const struct field_path *path,
                          const struct core_v1_lifecycle_handler *h)
{
    if (h == NULL)
        return;
    size_t n = (size_t)((h->exec != NULL) + (h->http_get != NULL) + (h->tcp_socket != NULL) +
                        (h->sleep != NULL));
    validate_handler(w, path, h->exec, h->http_get, n);
}

/* --- containers
 * ------------------------------------------------------------------------------------ */

static void validate_name(struct walk *w, const struct field_path *path, struct str name)
{
    if (str_empty(name))
        field_required(w->errs, PATH(path, "name"), NULL);
    else
        field_faults(w->errs, PATH(path, "name"), name, check_dns_label(name));
}

static void validate_container(struct walk *w, const struct field_path *path,
                               const struct core_v1_container *c)
{
    static const char *const pull_policies[] = {"Always", "IfNotPresent", "Never", NULL};
    static const char *const message_policies[] = {"FallbackToLogsOnError", "File", NULL};
    validate_name(w, path, c->name);
    if (str_empty(c->image)) {
        field_required(w->errs, PATH(path, "image"), NULL);
    } else if (str_trim(c->image).len != c->image.len) {
        field_invalid(w->errs, PATH(path, "image"), c->image,
                      "must not have leading or trailing whitespace");
    }
    one_of(w->errs, PATH(path, "terminationMessagePolicy"), c->termination_message_policy,
           message_policies);
    validate_ports(w, PATH(path, "ports"), c->ports, c->ports_count);
    validate_env(w, PATH(path, "env"), c->env, c->env_count);
    validate_mounts(w, PATH(path, "volumeMounts"), c->volume_mounts, c->volume_mounts_count);
    one_of(w->errs, PATH(path, "imagePullPolicy"), c->image_pull_policy, pull_policies);
    validate_resources(w, PATH(path, "resources"), &c->resources);
}

static void duplicate_name(struct walk *w, const struct field_path *path,
                           const struct core_v1_container *list, size_t index)
{
    for (size_t k = 0; k < index; k++)
        if (!str_empty(list[index].name) && str_eq(list[k].name, list[index].name)) {
            field_duplicate(w->errs, PATH(path, "name"), list[index].name);
            return;
        }
}

static void validate_containers(struct walk *w, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = w->spec;
    if (s->containers_count == 0) {
        field_required(w->errs, path, NULL);
        return;
    }
    for (size_t i = 0; i < s->containers_count; i++) {
        const struct core_v1_container *c = &s->containers[i];
        const struct field_path *at = PATH_INDEX(path, i);
        validate_container(w, at, c);
        duplicate_name(w, at, s->containers, i);
        if (c->lifecycle != NULL) {
            validate_hook(w, PATH(PATH(at, "lifecycle"), "postStart"), c->lifecycle->post_start);
            validate_hook(w, PATH(PATH(at, "lifecycle"), "preStop"), c->lifecycle->pre_stop);
        }
        validate_probe(w, PATH(at, "livenessProbe"), c->liveness_probe, true);
        validate_probe(w, PATH(at, "readinessProbe"), c->readiness_probe, false);
        validate_probe(w, PATH(at, "startupProbe"), c->startup_probe, true);
    }
}

static void validate_init_containers(struct walk *w, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = w->spec;
    for (size_t i = 0; i < s->init_containers_count; i++) {
        const struct core_v1_container *c = &s->init_containers[i];
        const struct field_path *at = PATH_INDEX(path, i);
        bool sidecar = c->has_restart_policy && str_eqc(c->restart_policy, "Always");
        validate_container(w, at, c);
        for (size_t k = 0; k < s->containers_count; k++)
            if (!str_empty(c->name) && str_eq(s->containers[k].name, c->name)) {
                field_duplicate(w->errs, PATH(at, "name"), c->name);
                break;
            }
        duplicate_name(w, at, s->init_containers, i);
        if (sidecar)
            continue;
        if (c->lifecycle != NULL)
            field_forbidden(w->errs, PATH(at, "lifecycle"),
                            "may not be set for init containers without restartPolicy=Always");
        if (c->liveness_probe != NULL)
            field_forbidden(w->errs, PATH(at, "livenessProbe"),
                            "may not be set for init containers without restartPolicy=Always");
        if (c->readiness_probe != NULL)
            field_forbidden(w->errs, PATH(at, "readinessProbe"),
                            "may not be set for init containers without restartPolicy=Always");
        if (c->startup_probe != NULL)
            field_forbidden(w->errs, PATH(at, "startupProbe"),
                            "may not be set for init containers without restartPolicy=Always");
    }
}

/* --- the rest of the spec
 * ------------------------------------------------------------------------------ */

static void validate_tolerations(struct walk *w, const struct field_path *path)
{
    static const char *const operators[] = {"Equal", "Exists", NULL};
    static const char *const effects[] = {"NoSchedule", "PreferNoSchedule", "NoExecute", NULL};
    for (size_t i = 0; i < w->spec->tolerations_count; i++) {
        const struct core_v1_toleration *t = &w->spec->tolerations[i];
        const struct field_path *at = PATH_INDEX(path, i);
        if (!str_empty(t->key))
            validate_label_name(w->errs, PATH(at, "key"), t->key);
        if (str_empty(t->key) && !str_eqc(t->operator, "Exists"))
            field_invalid(w->errs, PATH(at, "operator"), t->operator,
                          "operator must be Exists when `key` is empty, which means \"match all "
                          "values and all keys\"");
        if (t->has_toleration_seconds && !str_eqc(t->effect, "NoExecute"))
            field_invalid(w->errs, PATH(at, "effect"), t->effect,
                          "effect must be 'NoExecute' when `tolerationSeconds` is set");
        if (str_empty(t->operator) || str_eqc(t->operator, "Equal"))
            field_faults(w->errs, PATH(at, "operator"), t->value, check_label_value(t->value));
        else if (!str_eqc(t->operator, "Exists"))
            field_not_supported(w->errs, PATH(at, "operator"), t->operator, operators);
        else if (!str_empty(t->value))
            field_invalid(w->errs, PATH(at, "operator"), t->value,
                          "value must be empty when `operator` is 'Exists'");
        if (!str_empty(t->effect) && !is_listed(t->effect, effects))
            field_not_supported(w->errs, PATH(at, "effect"), t->effect, effects);
    }
}

static void validate_names(struct walk *w, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = w->spec;
    if (!str_empty(s->service_account_name))
        field_faults(w->errs, PATH(path, "serviceAccountName"), s->service_account_name,
                     check_dns_subdomain(s->service_account_name));
    if (!str_empty(s->node_name))
        field_faults(w->errs, PATH(path, "nodeName"), s->node_name,
                     check_dns_subdomain(s->node_name));
    if (s->has_active_deadline_seconds &&
        (s->active_deadline_seconds < 1 || s->active_deadline_seconds > INT32_MAX))
        field_invalid_int(w->errs, PATH(path, "activeDeadlineSeconds"), s->active_deadline_seconds,
                          "must be between 1 and %d, inclusive", INT32_MAX);
    if (!str_empty(s->hostname))
        field_faults(w->errs, PATH(path, "hostname"), s->hostname, check_dns_label(s->hostname));
    if (!str_empty(s->subdomain))
        field_faults(w->errs, PATH(path, "subdomain"), s->subdomain, check_dns_label(s->subdomain));
}

void validate_pod_spec(const struct kind_ctx *ctx, struct field_errors *errs,
                       const struct field_path *path, const struct core_v1_pod_spec *s,
                       unsigned flags)
{
    static const char *const restart_policies[] = {"Always", "OnFailure", "Never", NULL};
    static const char *const dns_policies[] = {"ClusterFirst", "ClusterFirstWithHostNet", "Default",
                                               "None", NULL};
    struct walk w = {ctx, errs, s, flags};
    validate_volumes(&w, PATH(path, "volumes"));
    validate_containers(&w, PATH(path, "containers"));
    validate_init_containers(&w, PATH(path, "initContainers"));
    one_of(errs, PATH(path, "restartPolicy"), s->restart_policy, restart_policies);
    one_of(errs, PATH(path, "dnsPolicy"), s->dns_policy, dns_policies);
    validate_labels(errs, PATH(path, "nodeSelector"), s->node_selector, s->node_selector_count);
    validate_names(&w, path);
    validate_tolerations(&w, PATH(path, "tolerations"));
    if (s->has_termination_grace_period_seconds && s->termination_grace_period_seconds < 0 &&
        (flags & POD_SPEC_CREATE) != 0)
        field_invalid_int(errs, PATH(path, "terminationGracePeriodSeconds"),
                          s->termination_grace_period_seconds,
                          "must be greater than or equal to 0");
}

void validate_pod_template(const struct kind_ctx *ctx, struct field_errors *errs,
                           const struct field_path *path, const struct core_v1_pod_template_spec *t)
{
    const struct field_path *meta = PATH(path, "metadata");
    validate_labels(errs, PATH(meta, "labels"), t->metadata.labels, t->metadata.labels_count);
    validate_annotations(errs, PATH(meta, "annotations"), t->metadata.annotations,
                         t->metadata.annotations_count);
    validate_pod_spec(ctx, errs, PATH(path, "spec"), &t->spec, POD_SPEC_TEMPLATE | POD_SPEC_CREATE);
}
