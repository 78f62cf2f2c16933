/* services.c - Service: defaults, rules and columns. Addresses and node ports
 * are claimed in apiserver/alloc.c, in the transaction that writes the object. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/alloc.h"
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/workload.h"
#include "api/core_v1.h"
#include "api/intstr.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define AFFINITY_TIMEOUT_S 10800
#define AFFINITY_TIMEOUT_MAX_S 86400

static bool is_type(const struct core_v1_service_spec *s, const char *type)
{
    return str_eqc(s->type, type);
}

static bool is_external(const struct core_v1_service_spec *s)
{
    return is_type(s, "NodePort") || is_type(s, "LoadBalancer") ||
           (is_type(s, "ClusterIP") && s->external_ips_count > 0);
}

static bool needs_health_port(const struct core_v1_service_spec *s)
{
    return is_type(s, "LoadBalancer") && str_eqc(s->external_traffic_policy, "Local");
}

static void default_ports(struct core_v1_service_spec *s)
{
    for (size_t i = 0; i < s->ports_count; i++) {
        struct core_v1_service_port *p = &s->ports[i];
        default_str(&p->protocol, STR("TCP"));
        bool no_target = p->target_port.type == 0 ? p->target_port.int_val == 0
                                                  : str_empty(p->target_port.str_val);
        if (no_target)
            p->target_port = (struct intstr_int_or_string){.int_val = p->port};
    }
}

static void default_affinity(struct arena *a, struct core_v1_service_spec *s)
{
    default_str(&s->session_affinity, STR("None"));
    if (str_eqc(s->session_affinity, "None"))
        s->session_affinity_config = NULL;
    if (!str_eqc(s->session_affinity, "ClientIP"))
        return;
    if (s->session_affinity_config == NULL)
        s->session_affinity_config = ARENA_NEW(a, struct core_v1_session_affinity_config);
    if (s->session_affinity_config->client_ip == NULL)
        s->session_affinity_config->client_ip = ARENA_NEW(a, struct core_v1_client_ip_config);
    struct core_v1_client_ip_config *c = s->session_affinity_config->client_ip;
    default_opt_int(&c->has_timeout_seconds, &c->timeout_seconds, AFFINITY_TIMEOUT_S);
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_service_spec *s = &((struct core_v1_service *)obj)->spec;
    struct core_v1_load_balancer_status *balancer =
        &((struct core_v1_service *)obj)->status.load_balancer;
    for (size_t i = 0; i < balancer->ingress_count; i++)
        if (!str_empty(balancer->ingress[i].ip) && !balancer->ingress[i].has_ip_mode) {
            balancer->ingress[i].has_ip_mode = true;
            balancer->ingress[i].ip_mode = STR("VIP");
        }
    default_str(&s->type, STR("ClusterIP"));
    default_affinity(ctx->arena, s);
    default_ports(s);
    if (is_external(s) && str_empty(s->external_traffic_policy))
        s->external_traffic_policy = STR("Cluster");
    if (!s->has_internal_traffic_policy && !is_type(s, "ExternalName")) {
        s->has_internal_traffic_policy = true;
        s->internal_traffic_policy = STR("Cluster");
    }
    if (is_type(s, "LoadBalancer") && !s->has_allocate_load_balancer_node_ports) {
        s->has_allocate_load_balancer_node_ports = true;
        s->allocate_load_balancer_node_ports = true;
    }
}

/* clusterIP and clusterIPs[0] are one value; either may be given alone. */
static void join_cluster_ips(struct arena *a, struct core_v1_service_spec *s)
{
    if (!str_empty(s->cluster_ip) && s->cluster_ips_count == 0) {
        s->cluster_ips = arena_memdup(a, &s->cluster_ip, sizeof(s->cluster_ip));
        s->cluster_ips_count = 1;
    } else if (str_empty(s->cluster_ip) && s->cluster_ips_count > 0) {
        s->cluster_ip = s->cluster_ips[0];
    }
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_service *s = obj;
    s->status = (struct core_v1_service_status){0};
    join_cluster_ips(ctx->arena, &s->spec);
}

static bool same_ports(const struct core_v1_service_spec *x, const struct core_v1_service_spec *y)
{
    if (x->ports_count != y->ports_count)
        return false;
    for (size_t i = 0; i < x->ports_count; i++)
        if (x->ports[i].node_port != y->ports[i].node_port)
            return false;
    return true;
}

/* Fields that the new type does not have go, when the user did not touch them. */
static void drop_type_dependent(struct core_v1_service_spec *s,
                                const struct core_v1_service_spec *o)
{
    bool had_ip = !is_type(o, "ExternalName"), has_ip = !is_type(s, "ExternalName");
    if (had_ip && !has_ip && str_eq(s->cluster_ip, o->cluster_ip)) {
        s->cluster_ip = STR_NULL;
        s->cluster_ips = NULL;
        s->cluster_ips_count = s->ip_families_count = 0;
        s->has_ip_family_policy = s->has_internal_traffic_policy = false;
        s->ip_family_policy = s->internal_traffic_policy = STR_NULL;
    }
    bool had_ports = is_type(o, "NodePort") || is_type(o, "LoadBalancer");
    bool has_ports = is_type(s, "NodePort") || is_type(s, "LoadBalancer");
    if (had_ports && !has_ports && same_ports(s, o))
        for (size_t i = 0; i < s->ports_count; i++)
            s->ports[i].node_port = 0;
    if (needs_health_port(o) && !needs_health_port(s) &&
        s->health_check_node_port == o->health_check_node_port)
        s->health_check_node_port = 0;
    if (is_type(o, "LoadBalancer") && !is_type(s, "LoadBalancer")) {
        s->has_allocate_load_balancer_node_ports = s->allocate_load_balancer_node_ports = false;
        if (str_eq(s->load_balancer_class, o->load_balancer_class)) {
            s->has_load_balancer_class = false;
            s->load_balancer_class = STR_NULL;
        }
    }
    if (is_external(o) && !is_external(s) &&
        str_eq(s->external_traffic_policy, o->external_traffic_policy))
        s->external_traffic_policy = STR_NULL;
}

/* What was allocated and is not mentioned stays. */
static void patch_allocated(struct core_v1_service_spec *s, const struct core_v1_service_spec *o)
{
    if (!is_type(o, "ExternalName") && !is_type(s, "ExternalName")) {
        if (str_empty(s->cluster_ip) && s->cluster_ips_count == 0) {
            s->cluster_ip = o->cluster_ip;
            s->cluster_ips = o->cluster_ips;
            s->cluster_ips_count = o->cluster_ips_count;
        }
        if (s->ip_families_count == 0) {
            s->ip_families = o->ip_families;
            s->ip_families_count = o->ip_families_count;
        }
        if (!s->has_ip_family_policy) {
            s->has_ip_family_policy = o->has_ip_family_policy;
            s->ip_family_policy = o->ip_family_policy;
        }
    }
    bool node_ports = is_type(s, "NodePort") || is_type(s, "LoadBalancer");
    for (size_t i = 0; node_ports && i < s->ports_count; i++)
        for (size_t k = 0; s->ports[i].node_port == 0 && k < o->ports_count; k++)
            if (o->ports[k].port == s->ports[i].port &&
                str_eq(o->ports[k].protocol, s->ports[i].protocol))
                s->ports[i].node_port = o->ports[k].node_port;
    if (needs_health_port(s) && s->health_check_node_port == 0)
        s->health_check_node_port = o->health_check_node_port;
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct core_v1_service *s = obj;
    const struct core_v1_service *o = old;
    s->status = o->status;
    /* clusterIP alone changed: clusterIPs follows. */
    if (str_empty(s->spec.cluster_ip) && s->spec.cluster_ips_count > 0 &&
        !str_empty(o->spec.cluster_ip) && str_eq(s->spec.cluster_ips[0], o->spec.cluster_ip))
        s->spec.cluster_ips_count = 0;
    patch_allocated(&s->spec, &o->spec);
    drop_type_dependent(&s->spec, &o->spec);
    join_cluster_ips(ctx->arena, &s->spec);
}

/* --- validation -------------------------------------------------------------------------- */

static void validate_one_port(struct field_errors *errs, const struct field_path *path,
                              const struct core_v1_service_spec *s, size_t index)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const struct core_v1_service_port *p = &s->ports[index];
    if (s->ports_count > 1 && str_empty(p->name)) {
        field_required(errs, PATH(path, "name"), NULL);
    } else if (!str_empty(p->name)) {
        struct api_faults f = api_check_dns_label(p->name);
        field_faults(errs, PATH(path, "name"), p->name, f);
        for (size_t k = 0; f.count == 0 && k < index; k++)
            if (str_eq(s->ports[k].name, p->name)) {
                field_duplicate(errs, PATH(path, "name"), p->name);
                break;
            }
    }
    validate_port(errs, PATH(path, "port"), p->port);
    require_listed(errs, PATH(path, "protocol"), p->protocol, protocols);
    validate_port_or_name(errs, PATH(path, "targetPort"), &p->target_port);
    if (p->has_app_protocol)
        validate_qualified_name(errs, PATH(path, "appProtocol"), p->app_protocol);
    if (p->node_port != 0 && !is_type(s, "NodePort") && !is_type(s, "LoadBalancer"))
        field_forbidden(errs, PATH(path, "nodePort"),
                        "may not be used when `type` is '" STR_FMT "'", STR_ARG(s->type));
}

static void validate_ports(struct field_errors *errs, const struct field_path *spec,
                           const struct core_v1_service_spec *s)
{
    const struct field_path *path = PATH(spec, "ports");
    bool headless = str_eqc(s->cluster_ip, "None");
    if (s->ports_count == 0 && !headless && !is_type(s, "ExternalName"))
        field_required(errs, path, NULL);
    for (size_t i = 0; i < s->ports_count; i++)
        validate_one_port(errs, PATH_INDEX(path, i), s, i);
    for (size_t i = 0; i < s->ports_count; i++)
        for (size_t k = 0; k < i; k++)
            if (s->ports[k].port == s->ports[i].port &&
                str_eq(s->ports[k].protocol, s->ports[i].protocol)) {
                struct core_v1_service_port shown = {.protocol = s->ports[i].protocol,
                                                     .port = s->ports[i].port};
                field_duplicate_raw(
                    errs, PATH_INDEX(path, i),
                    field_value_render(errs->arena, &core_v1_service_port_msg, &shown));
                break;
            }
}

static void validate_affinity(struct field_errors *errs, const struct field_path *spec,
                              const struct core_v1_service_spec *s)
{
    static const char *const kinds[] = {"ClientIP", "None", NULL};
    require_listed(errs, PATH(spec, "sessionAffinity"), s->session_affinity, kinds);
    if (!str_eqc(s->session_affinity, "ClientIP") || s->session_affinity_config == NULL ||
        s->session_affinity_config->client_ip == NULL)
        return;
    const struct core_v1_client_ip_config *c = s->session_affinity_config->client_ip;
    if (c->timeout_seconds <= 0 || c->timeout_seconds > AFFINITY_TIMEOUT_MAX_S)
        field_invalid_int(
            errs, PATH(PATH(PATH(spec, "sessionAffinityConfig"), "clientIP"), "timeoutSeconds"),
            c->timeout_seconds, "must be greater than 0 and less than %d", AFFINITY_TIMEOUT_MAX_S);
}

static void validate_addresses(struct field_errors *errs, const struct field_path *spec,
                               const struct core_v1_service_spec *s)
{
    for (size_t i = 0; i < s->cluster_ips_count; i++) {
        struct str value = s->cluster_ips[i];
        if (!str_eqc(value, "None") && !str_empty(value))
            validate_ip(errs, PATH_INDEX(PATH(spec, "clusterIPs"), i), value);
    }
    if (is_type(s, "ExternalName") && s->cluster_ips_count > 0)
        field_forbidden(errs, PATH(spec, "clusterIPs"), "may not be set for ExternalName services");
    for (size_t i = 0; i < s->external_ips_count; i++) {
        const struct field_path *path = PATH_INDEX(PATH(spec, "externalIPs"), i);
        size_t before = errs->count;
        validate_ip(errs, path, s->external_ips[i]);
        if (errs->count == before)
            validate_non_special_ip(errs, path, s->external_ips[i]);
    }
    for (size_t i = 0; i < s->load_balancer_source_ranges_count; i++)
        validate_cidr(errs, PATH_INDEX(PATH(spec, "LoadBalancerSourceRanges"), i),
                      s->load_balancer_source_ranges[i]);
}

static void validate_families(struct field_errors *errs, const struct field_path *spec,
                              const struct core_v1_service_spec *s)
{
    static const char *const families[] = {"IPv4", "IPv6", NULL};
    static const char *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack",
                                           NULL};
    for (size_t i = 0; i < s->ip_families_count; i++)
        validate_listed(errs, PATH_INDEX(PATH(spec, "ipFamilies"), i), s->ip_families[i], families);
    if (!s->has_ip_family_policy)
        return;
    if (!is_listed(s->ip_family_policy, policies))
        field_not_supported(errs, PATH(spec, "ipFamilyPolicy"), s->ip_family_policy, policies);
    else if (str_eqc(s->ip_family_policy, "RequireDualStack") &&
             !(str_eqc(s->cluster_ip, "None") && s->selector_count == 0))
        field_invalid(errs, PATH(spec, "ipFamilyPolicy"), s->ip_family_policy,
                      "this cluster is not configured for dual-stack services");
}

static void validate_traffic(struct field_errors *errs, const struct field_path *spec,
                             const struct core_v1_service_spec *s)
{
    static const char *const policies[] = {"Cluster", "Local", NULL};
    static const char *const distributions[] = {"PreferClose", "PreferSameNode", "PreferSameZone",
                                                NULL};
    if (!str_empty(s->external_traffic_policy)) {
        if (!is_external(s))
            field_invalid(errs, PATH(spec, "externalTrafficPolicy"), s->external_traffic_policy,
                          "may only be set for externally-accessible services");
        else
            validate_listed(errs, PATH(spec, "externalTrafficPolicy"), s->external_traffic_policy,
                            policies);
    }
    if (s->has_internal_traffic_policy)
        validate_listed(errs, PATH(spec, "internalTrafficPolicy"), s->internal_traffic_policy,
                        policies);
    if (s->has_traffic_distribution)
        validate_listed(errs, PATH(spec, "trafficDistribution"), s->traffic_distribution,
                        distributions);
    if (s->health_check_node_port != 0 && !needs_health_port(s))
        field_invalid_int(
            errs, PATH(spec, "healthCheckNodePort"), s->health_check_node_port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    if (s->has_load_balancer_class && !is_type(s, "LoadBalancer"))
        field_forbidden(errs, PATH(spec, "loadBalancerClass"),
                        "may only be used when `type` is 'LoadBalancer'");
    if (s->has_allocate_load_balancer_node_ports && !is_type(s, "LoadBalancer"))
        field_forbidden(errs, PATH(spec, "allocateLoadBalancerNodePorts"),
                        "may only be used when `type` is 'LoadBalancer'");
}

static void validate_spec(const struct core_v1_service_spec *s, struct field_errors *errs)
{
    static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort",
                                        NULL};
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    validate_ports(errs, spec, s);
    validate_labels(errs, PATH(spec, "selector"), s->selector, s->selector_count);
    validate_affinity(errs, spec, s);
    validate_listed(errs, PATH(spec, "type"), s->type, types);
    if (is_type(s, "ExternalName"))
        require_form(errs, PATH(spec, "externalName"), s->external_name, api_check_dns_subdomain);
    validate_addresses(errs, spec, s);
    validate_families(errs, spec, s);
    validate_traffic(errs, spec, s);
}

static void warn_headless(const struct kind_ctx *ctx, const struct core_v1_service_spec *s)
{
    if (!str_empty(s->load_balancer_ip))
        kind_warn(ctx, "spec.loadBalancerIP is ignored for headless services");
    if (s->external_ips_count != 0)
        kind_warn(ctx, "spec.externalIPs is ignored for headless services");
    if (!str_eqc(s->session_affinity, "None"))
        kind_warn(ctx, "spec.SessionAffinity is ignored for headless services");
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct core_v1_service *service = obj;
    const struct core_v1_service_spec *s = &service->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    bool external_name = is_type(s, "ExternalName"), none = str_eqc(s->cluster_ip, "None"),
         headless = is_type(s, "ClusterIP") && none;
    if (api_str_map_get(service->metadata.annotations, service->metadata.annotations_count,
                        STR("service.kubernetes.io/topology-aware-hints")) != NULL)
        kind_warn(ctx, "annotation service.kubernetes.io/topology-aware-hints is deprecated, "
                       "please use service.kubernetes.io/topology-mode instead");
    for (size_t i = 0; !none && i < s->cluster_ips_count; i++)
        warn_ip(ctx, PATH_INDEX(PATH(spec, "clusterIPs"), i), s->cluster_ips[i]);
    if (headless)
        warn_headless(ctx, s);
    for (size_t i = 0; i < s->external_ips_count; i++)
        warn_ip(ctx, PATH_INDEX(PATH(spec, "externalIPs"), i), s->external_ips[i]);
    if (s->external_ips_count != 0 && !headless && !external_name)
        kind_warn(
            ctx,
            "spec.externalIPs is deprecated and may no longer be implemented in some clusters");
    warn_ip(ctx, PATH(spec, "loadBalancerIP"), s->load_balancer_ip);
    for (size_t i = 0; i < s->load_balancer_source_ranges_count; i++)
        warn_cidr(ctx, PATH_INDEX(PATH(spec, "loadBalancerSourceRanges"), i),
                  s->load_balancer_source_ranges[i]);
    if (external_name && s->external_ips_count != 0)
        kind_warn(ctx, "spec.externalIPs is ignored when spec.type is \"ExternalName\"");
    if (!external_name && !str_empty(s->external_name))
        kind_warn(ctx, "spec.externalName is ignored when spec.type is not \"ExternalName\"");
    if (s->has_traffic_distribution && str_eqc(s->traffic_distribution, "PreferClose"))
        kind_warn(
            ctx, "spec.trafficDistribution: \"PreferClose\" is deprecated; use \"PreferSameZone\"");
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct core_v1_service_spec *s = &((const struct core_v1_service *)obj)->spec;
    UNUSED(ctx);
    validate_spec(s, errs);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct core_v1_service_spec *s = &((const struct core_v1_service *)obj)->spec;
    const struct core_v1_service_spec *o = &((const struct core_v1_service *)old)->spec;
    if (!is_type(s, "ExternalName") && !is_type(o, "ExternalName") && !str_empty(o->cluster_ip) &&
        !str_eq(o->cluster_ip, s->cluster_ip))
        field_invalid_raw(
            errs, PATH_INDEX(PATH(PATH(PATH_ROOT, "spec"), "clusterIPs"), 0),
            s->cluster_ips_count == 0
                ? STR("null")
                : field_strings_render(errs->arena, s->cluster_ips, s->cluster_ips_count),
            "may not change once set");
    UNUSED(ctx);
    validate_spec(s, errs);
}

/* --- table ------------------------------------------------------------------------------- */

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Type", "string", "", "How the service is reached.", 0},
    {"Cluster-IP", "string", "", "Its address within the cluster.", 0},
    {"External-IP", "string", "", "Its addresses from outside.", 0},
    {"Port(s)", "string", "", "Its ports.", 0},
    {"Age", "string", "", "", 0},
    {"Selector", "string", "", "", 1},
    {0},
};

static void cell_external(struct table_row *r, const struct core_v1_service *s)
{
    AUTO_BUF b = BUF_INIT;
    const struct core_v1_load_balancer_status *lb = &s->status.load_balancer;
    if (is_type(&s->spec, "ExternalName")) {
        cell_str(r, s->spec.external_name);
        return;
    }
    for (size_t i = 0; is_type(&s->spec, "LoadBalancer") && i < lb->ingress_count; i++)
        buf_printf(
            &b, "%s" STR_FMT, b.len != 0 ? "," : "",
            STR_ARG(str_empty(lb->ingress[i].ip) ? lb->ingress[i].hostname : lb->ingress[i].ip));
    for (size_t i = 0; i < s->spec.external_ips_count; i++)
        buf_printf(&b, "%s" STR_FMT, b.len != 0 ? "," : "", STR_ARG(s->spec.external_ips[i]));
    if (b.len == 0)
        buf_puts(&b, is_type(&s->spec, "LoadBalancer") ? "<pending>" : "<none>");
    cell_str(r, buf_str(&b));
}

static void cell_ports(struct table_row *r, const struct core_v1_service_spec *s)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s->ports_count; i++) {
        buf_printf(&b, "%s%d", i != 0 ? "," : "", s->ports[i].port);
        if (s->ports[i].node_port != 0)
            buf_printf(&b, ":%d", s->ports[i].node_port);
        buf_printf(&b, "/" STR_FMT, STR_ARG(s->ports[i].protocol));
    }
    cell_str(r, b.len != 0 ? buf_str(&b) : STR("<none>"));
}

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_service *s = obj;
    cell_str(r, s->metadata.name);
    cell_str(r, s->spec.type);
    cell_str(r, str_empty(s->spec.cluster_ip) ? STR("<none>") : s->spec.cluster_ip);
    cell_external(r, s);
    cell_ports(r, &s->spec);
    cell_age(r, &s->metadata.creation_timestamp);
    cell_labels(r, s->spec.selector, s->spec.selector_count);
}

static struct str get_type(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct core_v1_service *)obj)->spec.type;
}

static struct str get_cluster_ip(struct arena *a, const void *obj)
{
    UNUSED(a);
    return ((const struct core_v1_service *)obj)->spec.cluster_ip;
}

static const struct kind_field fields[] = {
    {"spec.clusterIP", get_cluster_ip}, {"spec.type", get_type}, {0}};

const struct kind_ops kind_services = {
    .group = "",
    .version = "v1",
    .resource = "services",
    .flags = KIND_STATUS | KIND_RETURN_DELETED,
    .validate_name = name_dns_label,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .allocate = service_allocate,
    .fields = fields,
    .columns = columns,
    .row = row,
};
