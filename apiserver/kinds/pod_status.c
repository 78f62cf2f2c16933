/* pod_status.c - what a report about a pod may say; see pod_subs.h. Pure. */
#include "apiserver/kinds/pod_subs.h"

#include "apiserver/kinds/pod_check.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "lib/api/pod.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

void pod_keep_observed(struct core_v1_pod_status *s, const struct core_v1_pod_status *old)
{
    if (s->observed_generation == 0)
        s->observed_generation = old->observed_generation;
    /* The n-th condition of a type follows the n-th of it. */
    for (size_t i = 0; i < s->conditions_count; i++) {
        size_t n = 0;
        for (size_t k = 0; k < i; k++)
            n += str_eq(s->conditions[k].type, s->conditions[i].type) ? 1 : 0;
        for (size_t k = 0; k < old->conditions_count && s->conditions[i].observed_generation == 0;
             k++)
            if (str_eq(old->conditions[k].type, s->conditions[i].type) && n-- == 0) {
                s->conditions[i].observed_generation = old->conditions[k].observed_generation;
                break;
            }
    }
}

static void check_conditions(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_pod_status *s)
{
    static const char *const own[] = {"PodScheduled", "Ready", "Initialized", NULL};
    for (size_t i = 0; i < s->conditions_count; i++)
        if (!is_listed(s->conditions[i].type, own))
            validate_qualified_name(errs, PATH(PATH_INDEX(path, i), "Type"), s->conditions[i].type);
}

static bool is_sidecar(const struct core_v1_pod_spec *s, struct str name)
{
    for (size_t i = 0; i < s->init_containers_count; i++)
        if (str_eq(s->init_containers[i].name, name))
            return s->init_containers[i].has_restart_policy &&
                   str_eqc(s->init_containers[i].restart_policy, "Always");
    return false;
}

struct states {
    const struct core_v1_container_status *now, *was;
    size_t now_count, was_count;
    const char *name;
    struct str restart_policy;
};

/* What has ended for good stays ended. */
static void check_transitions(struct field_errors *errs, const struct field_path *status,
                              const struct core_v1_pod_spec *spec, const struct states *s)
{
    if (str_eqc(s->restart_policy, "Always"))
        return;
    for (size_t i = 0; i < s->was_count; i++) {
        const struct core_v1_container_state_terminated *t = s->was[i].state.terminated;
        if (t == NULL || (t->exit_code != 0 && str_eqc(s->restart_policy, "OnFailure")) ||
            is_sidecar(spec, s->was[i].name))
            continue;
        for (size_t k = 0; k < s->now_count; k++)
            if (str_eq(s->now[k].name, s->was[i].name) && s->now[k].state.terminated == NULL)
                field_forbidden(errs, PATH(PATH_INDEX(PATH(status, s->name), i), "state"),
                                "may not be transitioned to non-terminated state");
    }
}

/* The same rules for podIPs and hostIPs: at most one of each family. */
static void check_ips(struct field_errors *errs, const struct field_path *path,
                      const struct str *ips, size_t count, struct str shown)
{
    size_t v4 = 0;
    for (size_t i = 0; i < count; i++) {
        struct ip_text ip;
        validate_ip(errs, PATH_INDEX(path, i), ips[i]);
        v4 += ip_text_parse(ips[i], &ip) && ip.v4 ? 1 : 0;
    }
    for (size_t i = 0; i < count; i++)
        for (size_t k = 0; k < i; k++)
            if (str_eq(ips[k], ips[i])) {
                field_duplicate_raw(
                    errs, PATH_INDEX(path, i),
                    arena_printf(errs->arena, "{\"IP\":\"" STR_FMT "\"}", STR_ARG(ips[i])));
                break;
            }
    if (count > 2 || (count == 2 && v4 != 1))
        field_invalid_raw(errs, path, shown, "may specify no more than one IP for each IP family");
}

static struct str ips_shown(struct arena *a, const struct str *ips, size_t count)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < count; i++)
        buf_printf(&b, "%s{\"IP\":\"" STR_FMT "\"}", i == 0 ? "[" : ",", STR_ARG(ips[i]));
    buf_putc(&b, ']');
    return arena_str(a, buf_str(&b));
}

static void check_addresses(struct field_errors *errs, const struct field_path *status,
                            const struct core_v1_pod_status *s)
{
    size_t n = s->pod_ips_count, m = s->host_ips_count;
    struct str *ips = ARENA_ARRAY(errs->arena, struct str, n + m + 1);
    for (size_t i = 0; i < n; i++)
        ips[i] = s->pod_ips[i].ip;
    for (size_t i = 0; i < m; i++)
        ips[n + i] = s->host_ips[i].ip;
    check_ips(errs, PATH(status, "podIPs"), ips, n, ips_shown(errs->arena, ips, n));
    if (m == 0)
        return;
    if (!str_eq(s->host_ip, ips[n]))
        field_invalid(errs, PATH_INDEX(PATH(status, "hostIPs"), 0), ips[n],
                      "must be equal to `hostIP`");
    check_ips(errs, PATH(status, "hostIPs"), ips + n, m, ips_shown(errs->arena, ips + n, m));
}

static void check_claims(struct field_errors *errs, const struct field_path *path,
                         const struct core_v1_pod *p)
{
    const struct core_v1_pod_resource_claim_status *c = p->status.resource_claim_statuses;
    for (size_t i = 0; i < p->status.resource_claim_statuses_count; i++) {
        const struct field_path *name = PATH(PATH_INDEX(path, i), "name");
        bool known = false;
        for (size_t k = 0; k < p->spec.resource_claims_count; k++)
            known = known || str_eq(p->spec.resource_claims[k].name, c[i].name);
        if (!known)
            field_invalid(errs, name, c[i].name,
                          "must match the name of an entry in `spec.resourceClaims`");
        for (size_t k = 0; k < i; k++)
            if (str_eq(c[k].name, c[i].name)) {
                field_duplicate(errs, name, c[i].name);
                break;
            }
        if (c[i].has_resource_claim_name)
            validate_form(errs, name, c[i].resource_claim_name, api_check_dns_subdomain);
    }
}

static const struct core_v1_container *find_container(const struct core_v1_pod_spec *s,
                                                      struct str name)
{
    for (size_t i = 0; i < s->containers_count; i++)
        if (str_eq(s->containers[i].name, name))
            return &s->containers[i];
    for (size_t i = 0; i < s->init_containers_count; i++)
        if (str_eq(s->init_containers[i].name, name))
            return &s->init_containers[i];
    return NULL;
}

static bool requests(const struct core_v1_container *c, struct str resource)
{
    for (size_t i = 0; i < c->resources.requests_count; i++)
        if (str_eq(c->resources.requests[i].key, resource))
            return true;
    return false;
}

static void check_mapping(struct field_errors *errs, const struct field_path *path,
                          const struct field_path *at, const struct core_v1_pod *p,
                          const struct core_v1_container_extended_resource_request *m)
{
    const struct core_v1_container *c = find_container(&p->spec, m->container_name);
    if (c == NULL)
        field_invalid(errs, PATH(at, "containerName"), m->container_name,
                      "must match the name of an entry in spec.initContainers.name or "
                      "spec.containers.name");
    else if (!requests(c, m->resource_name))
        field_invalid(errs, PATH(at, "resourceName"), m->resource_name,
                      "must match the extended resource name of an entry in "
                      "spec.initContainers.resources.requests or "
                      "spec.containers.resources.requests");
    validate_form(errs, PATH(path, "requestName"), m->request_name, api_check_dns_label);
}

/* The claim that the scheduler made for extended resources, and whose its requests are. */
static void check_extended(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_pod *p)
{
    const struct core_v1_pod_extended_resource_claim_status *s =
        p->status.extended_resource_claim_status;
    const struct field_path *list = PATH(path, "requestMappings");
    if (s == NULL)
        return;
    if (s->request_mappings_count == 0)
        field_required(errs, list, "at least one request mapping is required");
    for (size_t i = 0; i < s->request_mappings_count; i++) {
        const struct core_v1_container_extended_resource_request *m = &s->request_mappings[i], *x;
        const struct field_path *at = PATH_INDEX(list, i);
        check_mapping(errs, path, at, p, m);
        for (x = s->request_mappings; x < m; x++)
            if (str_eq(x->container_name, m->container_name) &&
                str_eq(x->resource_name, m->resource_name) &&
                str_eq(x->request_name, m->request_name)) {
                field_duplicate(errs, PATH(at, "containerName"), m->container_name);
                field_duplicate(errs, PATH(at, "resourceName"), m->resource_name);
                field_duplicate(errs, PATH(at, "requestName"), m->request_name);
                break;
            }
    }
    if (str_empty(s->resource_claim_name))
        field_required(errs, PATH(path, "resourceClaimName"), NULL);
    else
        validate_form(errs, PATH(path, "resourceClaimName"), s->resource_claim_name,
                      api_check_dns_subdomain);
}

void pod_validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                         struct field_errors *errs)
{
    UNUSED(ctx);
    const struct core_v1_pod *p = obj, *o = old;
    const struct core_v1_pod_status *s = &p->status, *t = &o->status;
    const struct field_path *meta = PATH(PATH_ROOT, "metadata"),
                            *status = PATH(PATH_ROOT, "status");
    check_pod_annotation_changes(errs, PATH(meta, "annotations"), &p->metadata, &o->metadata);
    check_pod_annotations(errs, PATH(meta, "annotations"), &p->metadata, &p->spec);
    check_conditions(errs, PATH(meta, "conditions"), s);
    if (!str_empty(s->nominated_node_name) &&
        !str_eq(s->nominated_node_name, t->nominated_node_name))
        validate_form(errs, PATH(status, "nominatedNodeName"), s->nominated_node_name,
                      api_check_dns_subdomain);
    validate_immutable_str(errs, PATH(status, "qosClass"), s->qos_class, t->qos_class);
    const struct states lists[] = {
        {s->container_statuses, t->container_statuses, s->container_statuses_count,
         t->container_statuses_count, "containerStatuses", o->spec.restart_policy},
        {s->init_container_statuses, t->init_container_statuses, s->init_container_statuses_count,
         t->init_container_statuses_count, "initContainerStatuses", o->spec.restart_policy},
        {s->ephemeral_container_statuses, t->ephemeral_container_statuses,
         s->ephemeral_container_statuses_count, t->ephemeral_container_statuses_count,
         "ephemeralContainerStatuses", STR("Never")}};
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        check_transitions(errs, status, &o->spec, &lists[i]);
    check_claims(errs, PATH(status, "resourceClaimStatuses"), p);
    check_extended(errs, PATH(status, "extendedResourceClaimStatus"), p);
    check_addresses(errs, status, s);
}
