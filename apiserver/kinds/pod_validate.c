/* pod_validate.c - the rules of a pod spec, part by part in upstream's order;
 * the parts with many rules stand in pod_*.c. Pure. */
#include "apiserver/kinds/pod_check.h"

#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define DNS_NAMESERVERS_MAX 3u
#define DNS_SEARCHES_MAX 32u
#define DNS_SEARCH_BYTES_MAX 2048u

static void check_dns_config(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_pod_dns_config *d = k->spec->dns_config;
    bool none = str_eqc(k->spec->dns_policy, "None");
    if (none && d == NULL) {
        field_required(k->errs, path, "must provide `dnsConfig` when `dnsPolicy` is None");
        return;
    }
    if (none && d->nameservers_count == 0) {
        field_required(k->errs, PATH(path, "nameservers"),
                       "must provide at least one DNS nameserver when `dnsPolicy` is None");
        return;
    }
    if (d == NULL)
        return;
    const struct field_path *servers = PATH(path, "nameservers"),
                            *searches = PATH(path, "searches");
    if (d->nameservers_count > DNS_NAMESERVERS_MAX)
        field_too_many(k->errs, servers, (int64_t)d->nameservers_count, DNS_NAMESERVERS_MAX);
    for (size_t i = 0; i < d->nameservers_count; i++)
        validate_ip(k->errs, PATH_INDEX(servers, i), d->nameservers[i]);
    size_t bytes = d->searches_count == 0 ? 0 : d->searches_count - 1;
    for (size_t i = 0; i < d->searches_count; i++)
        bytes += d->searches[i].len;
    if (d->searches_count > DNS_SEARCHES_MAX)
        field_too_many(k->errs, searches, (int64_t)d->searches_count, DNS_SEARCHES_MAX);
    if (bytes > DNS_SEARCH_BYTES_MAX)
        field_too_long(k->errs, searches, DNS_SEARCH_BYTES_MAX);
    for (size_t i = 0; i < d->searches_count; i++) {
        struct str s = d->searches[i];
        if (str_eqc(s, "."))
            continue;
        struct str plain = str_has_suffix(s, STR(".")) ? str_sub(s, 0, s.len - 1) : s;
        validate_form(k->errs, PATH_INDEX(searches, i), plain, api_check_dns_subdomain);
    }
    for (size_t i = 0; i < d->options_count; i++)
        if (str_empty(d->options[i].name))
            field_required(k->errs, PATH_INDEX(PATH(path, "options"), i), "must not be empty");
}

/* Of gates a pod has to pass; each is named once. */
static void check_gates(struct pod_check *k, const struct field_path *spec)
{
    const struct core_v1_pod_spec *s = k->spec;
    for (size_t i = 0; i < s->readiness_gates_count; i++)
        validate_qualified_name(k->errs,
                                PATH(PATH_INDEX(PATH(spec, "readinessGates"), i), "conditionType"),
                                s->readiness_gates[i].condition_type);
    for (size_t i = 0; i < s->scheduling_gates_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(spec, "schedulingGates"), i);
        validate_qualified_name(k->errs, at, s->scheduling_gates[i].name);
        for (size_t j = 0; j < i; j++)
            if (str_eq(s->scheduling_gates[j].name, s->scheduling_gates[i].name)) {
                field_duplicate(k->errs, at, s->scheduling_gates[i].name);
                break;
            }
    }
}

static void check_claims(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_pod_resource_claim *c = k->spec->resource_claims;
    for (size_t i = 0; i < k->spec->resource_claims_count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        require_form(k->errs, PATH(at, "name"), c[i].name, api_check_dns_label);
        for (size_t j = 0; j < i; j++)
            if (!str_empty(c[i].name) && str_eq(c[j].name, c[i].name)) {
                field_duplicate(k->errs, PATH(at, "name"), c[i].name);
                break;
            }
        if (c[i].has_resource_claim_name == c[i].has_resource_claim_template_name)
            field_invalid_msg(
                k->errs, at, &core_v1_pod_resource_claim_msg, &c[i],
                c[i].has_resource_claim_name
                    ? "at most one of `resourceClaimName` or `resourceClaimTemplateName` may be "
                      "specified"
                    : "must specify one of: `resourceClaimName`, `resourceClaimTemplateName`");
        if (c[i].has_resource_claim_name)
            validate_form(k->errs, PATH(at, "resourceClaimName"), c[i].resource_claim_name,
                          api_check_dns_subdomain);
        if (c[i].has_resource_claim_template_name)
            validate_form(k->errs, PATH(at, "resourceClaimTemplateName"),
                          c[i].resource_claim_template_name, api_check_dns_subdomain);
    }
}

/* A dot is the commonest fault of a host name and has a text of its own. */
static void check_host_label(struct field_errors *errs, const struct field_path *path,
                             struct str name)
{
    if (str_empty(name))
        return;
    if (str_find(name, '.', 0) >= 0)
        field_invalid(errs, path, name, "must not contain dots");
    else
        validate_form(errs, path, name, api_check_dns_label);
}

static void check_host_users(struct pod_check *k, const struct field_path *spec)
{
    const struct core_v1_pod_spec *s = k->spec;
    static const char why[] = "when `hostUsers` is false";
    if (!s->has_host_users || s->host_users)
        return;
    if (s->host_network)
        field_forbidden(k->errs, PATH(spec, "hostNetwork"), "%s", why);
    if (s->host_pid)
        field_forbidden(k->errs, PATH(spec, "HostPID"), "%s", why);
    if (s->host_ipc)
        field_forbidden(k->errs, PATH(spec, "HostIPC"), "%s", why);
}

static void check_names(struct pod_check *k, const struct field_path *path)
{
    const struct core_v1_pod_spec *s = k->spec;
    struct field_errors *errs = k->errs;
    if (!str_empty(s->service_account_name))
        validate_form(errs, PATH(path, "serviceAccountName"), s->service_account_name,
                      api_check_dns_subdomain);
    if (!str_empty(s->node_name))
        validate_form(errs, PATH(path, "nodeName"), s->node_name, api_check_dns_subdomain);
    if (s->has_active_deadline_seconds)
        validate_range(errs, PATH(path, "activeDeadlineSeconds"), s->active_deadline_seconds, 1,
                       INT32_MAX);
    check_host_label(errs, PATH(path, "hostname"), s->hostname);
    if (!str_empty(s->subdomain))
        validate_form(errs, PATH(path, "subdomain"), s->subdomain, api_check_dns_label);
}

static void check_host_aliases(struct pod_check *k, const struct field_path *path)
{
    for (size_t i = 0; i < k->spec->host_aliases_count; i++) {
        const struct core_v1_host_alias *h = &k->spec->host_aliases[i];
        const struct field_path *at = PATH_INDEX(path, i);
        validate_ip(k->errs, PATH(at, "ip"), h->ip);
        for (size_t j = 0; j < h->hostnames_count; j++)
            validate_form(k->errs, PATH_INDEX(PATH(at, "hostnames"), j), h->hostnames[j],
                          api_check_dns_subdomain);
    }
}

static void check_priority(struct pod_check *k, const struct field_path *path)
{
    static const char *const preemption[] = {"PreemptLowerPriority", "Never", NULL};
    const struct core_v1_pod_spec *s = k->spec;
    if (!str_empty(s->priority_class_name))
        validate_form(k->errs, PATH(path, "priorityClassName"), s->priority_class_name,
                      api_check_dns_subdomain);
    if (s->has_runtime_class_name)
        validate_form(k->errs, PATH(path, "runtimeClassName"), s->runtime_class_name,
                      api_check_dns_subdomain);
    if (s->has_preemption_policy)
        require_listed(k->errs, PATH(path, "preemptionPolicy"), s->preemption_policy, preemption);
    for (size_t i = 0; i < s->overhead_count; i++) {
        const struct field_path *at =
            PATH_KEY(PATH(PATH(path, "overhead"), "limits"), s->overhead[i].key);
        validate_container_resource_name(k->errs, at, s->overhead[i].key);
        validate_quantity_value(k->errs, at, s->overhead[i].key, &s->overhead[i].value);
    }
}

void validate_pod_spec(const struct kind_ctx *ctx, struct field_errors *errs,
                       const struct field_path *path, const struct core_v1_pod_spec *s,
                       unsigned flags)
{
    static const char *const restart_policies[] = {"Always", "OnFailure", "Never", NULL};
    static const char *const dns_policies[] = {"ClusterFirstWithHostNet", "ClusterFirst", "Default",
                                               "None", NULL};
    struct pod_check k = {.errs = errs, .spec = s, .flags = flags};
    if ((flags & POD_SPEC_TEMPLATE) == 0)
        k.pod_name = ctx->name;
    check_volumes(&k, PATH(path, "volumes"));
    check_claims(&k, PATH(path, "resourceClaims"));
    check_containers(&k, PATH(path, "containers"));
    check_init_containers(&k, PATH(path, "initContainers"));
    check_ephemeral_containers(&k, PATH(path, "ephemeralContainers"));
    check_pod_resources(&k, PATH(path, "resources"));
    require_listed(errs, PATH(path, "restartPolicy"), s->restart_policy, restart_policies);
    require_listed(errs, PATH(path, "dnsPolicy"), s->dns_policy, dns_policies);
    validate_labels(errs, PATH(path, "nodeSelector"), s->node_selector, s->node_selector_count);
    check_pod_security(&k, path);
    check_affinity(&k, PATH(path, "affinity"));
    check_dns_config(&k, PATH(path, "dnsConfig"));
    check_gates(&k, path);
    check_spread(&k, PATH(path, "topologySpreadConstraints"));
    check_host_process(&k, path);
    check_host_users(&k, path);
    check_names(&k, path);
    check_tolerations(&k, PATH(path, "tolerations"));
    check_host_aliases(&k, PATH(path, "hostAliases"));
    check_priority(&k, path);
    if (s->has_termination_grace_period_seconds && s->termination_grace_period_seconds < 0 &&
        (flags & POD_SPEC_CREATE) != 0)
        field_invalid_int(errs, PATH(path, "terminationGracePeriodSeconds"),
                          s->termination_grace_period_seconds,
                          "must be greater than or equal to 0");
    check_os(&k, path);
}

/* Only of pods: an image in a template may be filled in by someone else. */
static void check_image_space(struct field_errors *errs, const struct field_path *path,
                              const struct core_v1_container *c, size_t count)
{
    for (size_t i = 0; i < count; i++)
        if (str_trim(c[i].image).len != c[i].image.len)
            field_invalid(errs, PATH(PATH_INDEX(path, i), "image"), c[i].image,
                          "must not have leading or trailing whitespace");
}

void validate_pod_images(struct field_errors *errs, const struct field_path *path,
                         const struct core_v1_pod_spec *s)
{
    check_image_space(errs, PATH(path, "containers"), s->containers, s->containers_count);
    check_image_space(errs, PATH(path, "initContainers"), s->init_containers,
                      s->init_containers_count);
}

void validate_pod_template(const struct kind_ctx *ctx, struct field_errors *errs,
                           const struct field_path *path, const struct core_v1_pod_template_spec *t)
{
    const struct field_path *meta = PATH(path, "metadata");
    validate_labels(errs, PATH(meta, "labels"), t->metadata.labels, t->metadata.labels_count);
    validate_annotations(errs, PATH(meta, "annotations"), t->metadata.annotations,
                         t->metadata.annotations_count);
    check_pod_annotations(errs, PATH(meta, "annotations"), &t->metadata, &t->spec);
    validate_pod_spec(ctx, errs, PATH(path, "spec"), &t->spec, POD_SPEC_TEMPLATE | POD_SPEC_CREATE);
    check_pod_profiles(errs, PATH(path, "spec"), &t->metadata, &t->spec, false);
    if (t->spec.ephemeral_containers_count != 0)
        field_forbidden(errs, PATH(PATH(path, "spec"), "ephemeralContainers"),
                        "ephemeral containers not allowed in pod template");
}
