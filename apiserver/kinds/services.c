/* services.c - Service: defaults, rules and columns. Addresses and node ports
 * are claimed in apiserver/alloc.c, in the transaction that writes the object. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/alloc.h"
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "apiserver/kinds/service_rules.h"
#include "apiserver/kinds/workload.h"
#include "api/core_v1.h"
#include "api/intstr.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define AFFINITY_TIMEOUT_S 10800

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
    if (service_is_external(s) && str_empty(s->external_traffic_policy))
        s->external_traffic_policy = STR("Cluster");
    if (!s->has_internal_traffic_policy && !service_is(s, "ExternalName")) {
        s->has_internal_traffic_policy = true;
        s->internal_traffic_policy = STR("Cluster");
    }
    if (service_is(s, "LoadBalancer") && !s->has_allocate_load_balancer_node_ports) {
        s->has_allocate_load_balancer_node_ports = true;
        s->allocate_load_balancer_node_ports = true;
    }
}

static void set_cluster_ips(struct arena *a, struct core_v1_service_spec *s)
{
    s->cluster_ips = arena_memdup(a, &s->cluster_ip, sizeof(s->cluster_ip));
    s->cluster_ips_count = 1;
}

static void prepare_create(const struct kind_ctx *ctx, void *obj)
{
    struct core_v1_service *s = obj;
    s->status = (struct core_v1_service_status){0};
    if (!str_empty(s->spec.cluster_ip) && s->spec.cluster_ips_count == 0)
        set_cluster_ips(ctx->arena, &s->spec);
}

static bool same_strings(const struct str *x, size_t x_count, const struct str *y, size_t y_count)
{
    for (size_t i = 0; x_count == y_count && i < x_count; i++)
        if (!str_eq(x[i], y[i]))
            return false;
    return x_count == y_count;
}

static bool same_cluster_ips(const struct core_v1_service_spec *x,
                             const struct core_v1_service_spec *y)
{
    return same_strings(x->cluster_ips, x->cluster_ips_count, y->cluster_ips, y->cluster_ips_count);
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
static void drop_addresses(struct core_v1_service_spec *s, const struct core_v1_service_spec *o)
{
    if (str_eq(s->cluster_ip, o->cluster_ip) && same_cluster_ips(s, o)) {
        s->cluster_ip = STR_NULL;
        s->cluster_ips = NULL;
        s->cluster_ips_count = 0;
    }
    if (same_strings(s->ip_families, s->ip_families_count, o->ip_families, o->ip_families_count))
        s->ip_families_count = 0;
    if (s->has_ip_family_policy == o->has_ip_family_policy &&
        str_eq(s->ip_family_policy, o->ip_family_policy)) {
        s->has_ip_family_policy = false;
        s->ip_family_policy = STR_NULL;
    }
    if (str_eq(s->internal_traffic_policy, o->internal_traffic_policy)) {
        s->has_internal_traffic_policy = false;
        s->internal_traffic_policy = STR_NULL;
    }
}

static bool has_node_ports(const struct core_v1_service_spec *s)
{
    return service_is(s, "NodePort") || service_is(s, "LoadBalancer");
}

static void drop_type_dependent(struct core_v1_service_spec *s,
                                const struct core_v1_service_spec *o)
{
    if (!service_is(o, "ExternalName") && service_is(s, "ExternalName"))
        drop_addresses(s, o);
    if (has_node_ports(o) && !has_node_ports(s) && same_ports(s, o))
        for (size_t i = 0; i < s->ports_count; i++)
            s->ports[i].node_port = 0;
    if (service_needs_health_port(o) && !service_needs_health_port(s) &&
        s->health_check_node_port == o->health_check_node_port)
        s->health_check_node_port = 0;
    if (service_is(o, "LoadBalancer") && !service_is(s, "LoadBalancer")) {
        if (s->allocate_load_balancer_node_ports == o->allocate_load_balancer_node_ports)
            s->has_allocate_load_balancer_node_ports = s->allocate_load_balancer_node_ports = false;
        if (str_eq(s->load_balancer_class, o->load_balancer_class)) {
            s->has_load_balancer_class = false;
            s->load_balancer_class = STR_NULL;
        }
    }
    if (service_is_external(o) && !service_is_external(s) &&
        str_eq(s->external_traffic_policy, o->external_traffic_policy))
        s->external_traffic_policy = STR_NULL;
}

static bool has_node_port(const struct core_v1_service_spec *s, int32_t port)
{
    for (size_t i = 0; i < s->ports_count; i++)
        if (s->ports[i].node_port == port)
            return true;
    return false;
}

/* A port keeps its number by its name, unless another one has it now. */
static void keep_node_ports(struct core_v1_service_spec *s, const struct core_v1_service_spec *o)
{
    for (size_t i = 0; i < s->ports_count; i++)
        for (size_t k = o->ports_count; s->ports[i].node_port == 0 && k-- > 0;)
            if (str_eq(o->ports[k].name, s->ports[i].name)) {
                if (!has_node_port(s, o->ports[k].node_port))
                    s->ports[i].node_port = o->ports[k].node_port;
                break;
            }
}

/* What was allocated and is not mentioned stays. */
static void patch_allocated(struct core_v1_service_spec *s, const struct core_v1_service_spec *o)
{
    if (!service_is(o, "ExternalName") && !service_is(s, "ExternalName")) {
        if (str_empty(s->cluster_ip))
            s->cluster_ip = o->cluster_ip;
        if (s->cluster_ips_count == 0 && str_eq(s->cluster_ip, o->cluster_ip)) {
            s->cluster_ips = o->cluster_ips;
            s->cluster_ips_count = o->cluster_ips_count;
        }
    }
    if (has_node_ports(o) && has_node_ports(s))
        keep_node_ports(s, o);
    if (service_needs_health_port(o) && service_needs_health_port(s) &&
        s->health_check_node_port == 0)
        s->health_check_node_port = o->health_check_node_port;
}

/* clusterIP and clusterIPs are one value; a client that knows the first alone
 * changes both. */
static void join_cluster_ips(struct arena *a, struct core_v1_service_spec *s,
                             const struct core_v1_service_spec *o)
{
    if (str_eq(o->cluster_ip, s->cluster_ip)) {
        if (s->cluster_ips_count == 0) {
            s->cluster_ips = o->cluster_ips;
            s->cluster_ips_count = o->cluster_ips_count;
        }
    } else if (same_cluster_ips(s, o)) {
        if (str_empty(s->cluster_ip))
            s->cluster_ips_count = 0;
        else
            set_cluster_ips(a, s);
    }
}

static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    struct core_v1_service *s = obj;
    const struct core_v1_service *o = old;
    s->status = o->status;
    patch_allocated(&s->spec, &o->spec);
    join_cluster_ips(ctx->arena, &s->spec, &o->spec);
    service_keep_families(&s->spec, &o->spec);
    drop_type_dependent(&s->spec, &o->spec);
    if (!service_is(&s->spec, "LoadBalancer"))
        s->status.load_balancer = (struct core_v1_load_balancer_status){0};
}

/* --- warnings and validation ------------------------------------------------------------- */

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
    bool external_name = service_is(s, "ExternalName"), none = str_eqc(s->cluster_ip, "None"),
         headless = service_is(s, "ClusterIP") && none;
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
    UNUSED(ctx);
    service_validate(errs, obj, NULL);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    if (service_addresses_agree(errs->arena, obj))
        service_validate_change(errs, obj, old);
    service_validate(errs, obj, old);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    service_validate_status(errs, obj);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status, NULL}, {0}};

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
    if (service_is(&s->spec, "ExternalName")) {
        cell_str(r, s->spec.external_name);
        return;
    }
    for (size_t i = 0; service_is(&s->spec, "LoadBalancer") && i < lb->ingress_count; i++)
        buf_printf(
            &b, "%s" STR_FMT, b.len != 0 ? "," : "",
            STR_ARG(str_empty(lb->ingress[i].ip) ? lb->ingress[i].hostname : lb->ingress[i].ip));
    for (size_t i = 0; i < s->spec.external_ips_count; i++)
        buf_printf(&b, "%s" STR_FMT, b.len != 0 ? "," : "", STR_ARG(s->spec.external_ips[i]));
    if (b.len == 0)
        buf_puts(&b, service_is(&s->spec, "LoadBalancer") ? "<pending>" : "<none>");
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
    .flags = KIND_STATUS | KIND_RETURN_DELETED | KIND_CHECKED_AS_NEW | KIND_CREATE_ON_UPDATE,
    .validate_name = name_dns_label,
    .default_ = set_defaults,
    .prepare_create = prepare_create,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .allocate = service_allocate,
    .fields = fields,
    .columns = columns,
    .row = row,
};
