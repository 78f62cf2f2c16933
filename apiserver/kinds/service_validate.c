/* service_validate.c - the rules of Services, in upstream's order; see
 * service_rules.h. Pure. */
#include "apiserver/kinds/service_rules.h"

#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/intstr.h"
#include "lib/base/arena.h"

#define AFFINITY_TIMEOUT_MAX_S 86400
#define KUBELET_PORT 10250
#define ADDRESSES_MAX 2u
#define HINTS "service.kubernetes.io/topology-aware-hints"
#define MODE "service.kubernetes.io/topology-mode"
#define RANGES "service.beta.kubernetes.io/load-balancer-source-ranges"

bool service_is(const struct core_v1_service_spec *s, const char *type)
{
    return str_eqc(s->type, type);
}

bool service_is_external(const struct core_v1_service_spec *s)
{
    return service_is(s, "NodePort") || service_is(s, "LoadBalancer") ||
           (service_is(s, "ClusterIP") && s->external_ips_count > 0);
}

bool service_needs_health_port(const struct core_v1_service_spec *s)
{
    return service_is(s, "LoadBalancer") && str_eqc(s->external_traffic_policy, "Local");
}

bool service_is_headless(const struct core_v1_service_spec *s)
{
    return s->cluster_ips_count == 1 && str_eqc(s->cluster_ips[0], "None");
}

static struct str shown(struct field_errors *errs, const struct str *list, size_t count)
{
    return count == 0 ? STR("null") : field_strings_render(errs->arena, list, count);
}

static const struct str *annotation(const struct core_v1_service *s, const char *key)
{
    return api_str_map_get(s->metadata.annotations, s->metadata.annotations_count, str_of(key));
}

/* --- ports ------------------------------------------------------------------------------ */

static void check_port(struct field_errors *errs, const struct field_path *path,
                       const struct core_v1_service_spec *s, size_t index)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    const struct core_v1_service_port *p = &s->ports[index];
    if (s->ports_count > 1 && str_empty(p->name)) {
        field_required(errs, PATH(path, "name"), NULL);
    } else if (!str_empty(p->name)) {
        field_faults(errs, PATH(path, "name"), p->name, api_check_dns_label(p->name));
        for (size_t k = 0; k < index; k++)
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
}

/* Numbers are had once for each protocol. */
static void check_port_pairs(struct field_errors *errs, const struct field_path *path,
                             const struct core_v1_service_spec *s, bool is_new)
{
    /* Of new objects, a number that is wanted twice cannot be allocated. */
    bool told_later = is_new && (service_is(s, "NodePort") || service_is(s, "LoadBalancer"));
    for (size_t i = 0; i < s->ports_count && service_is(s, "ClusterIP"); i++)
        if (s->ports[i].node_port != 0)
            field_forbidden(errs, PATH(PATH_INDEX(path, i), "nodePort"),
                            "may not be used when `type` is 'ClusterIP'");
    for (size_t i = 0; i < s->ports_count && !told_later; i++)
        for (size_t k = 0; k < i && s->ports[i].node_port != 0; k++)
            if (s->ports[k].node_port == s->ports[i].node_port &&
                str_eq(s->ports[k].protocol, s->ports[i].protocol)) {
                field_duplicate_int(errs, PATH(PATH_INDEX(path, i), "nodePort"),
                                    s->ports[i].node_port);
                break;
            }
    for (size_t i = 0; i < s->ports_count; i++)
        for (size_t k = 0; k < i; k++)
            if (s->ports[k].port == s->ports[i].port &&
                str_eq(s->ports[k].protocol, s->ports[i].protocol)) {
                struct core_v1_service_port key = {.protocol = s->ports[i].protocol,
                                                   .port = s->ports[i].port};
                field_duplicate_raw(
                    errs, PATH_INDEX(path, i),
                    field_value_render(errs->arena, &core_v1_service_port_msg, &key));
                break;
            }
}

/* --- types -------------------------------------------------------------------------------- */

static void check_type(struct field_errors *errs, const struct field_path *spec,
                       const struct core_v1_service_spec *s)
{
    static const char none[] = "may not be set for ExternalName services";
    const struct field_path *first = PATH_INDEX(PATH(spec, "clusterIPs"), 0);
    if (service_is(s, "LoadBalancer") || service_is(s, "NodePort")) {
        for (size_t i = 0; i < s->ports_count && service_is(s, "LoadBalancer"); i++)
            if (s->ports[i].port == KUBELET_PORT)
                field_invalid_int(errs, PATH_INDEX(PATH(spec, "ports"), i), KUBELET_PORT,
                                  "may not expose port %d externally since it is used by kubelet",
                                  KUBELET_PORT);
        if (service_is_headless(s))
            field_invalid(errs, first, s->cluster_ips[0],
                          "may not be set to 'None' for " STR_FMT " services", STR_ARG(s->type));
    } else if (service_is(s, "ExternalName")) {
        struct str name = s->external_name;
        if (s->cluster_ips_count > 0)
            field_forbidden(errs, PATH(spec, "clusterIPs"), "%s", none);
        if (s->ip_families_count > 0)
            field_forbidden(errs, PATH(spec, "ipFamilies"), "%s", none);
        if (s->has_ip_family_policy)
            field_forbidden(errs, PATH(spec, "ipFamilyPolicy"), "%s", none);
        if (str_has_suffix(name, STR(".")))
            name = str_sub(name, 0, name.len - 1);
        require_form(errs, PATH(spec, "externalName"), name, api_check_dns_subdomain);
    }
}

static void check_affinity(struct field_errors *errs, const struct field_path *spec,
                           const struct core_v1_service_spec *s)
{
    static const char *const kinds[] = {"ClientIP", "None", NULL};
    static const char why[] = "when session affinity type is ClientIP";
    const struct core_v1_session_affinity_config *config = s->session_affinity_config;
    const struct field_path *path = PATH(spec, "sessionAffinityConfig");
    const struct field_path *timeout = PATH(PATH(path, "clientIP"), "timeoutSeconds");
    require_listed(errs, PATH(spec, "sessionAffinity"), s->session_affinity, kinds);
    if (str_eqc(s->session_affinity, "None")) {
        if (config != NULL)
            field_forbidden(errs, path, "must not be set when session affinity is None");
        return;
    }
    if (!str_eqc(s->session_affinity, "ClientIP"))
        return;
    if (config == NULL)
        field_required(errs, path, why);
    else if (config->client_ip == NULL)
        field_required(errs, PATH(path, "clientIP"), why);
    else if (!config->client_ip->has_timeout_seconds)
        field_required(errs, timeout, why);
    else if (config->client_ip->timeout_seconds <= 0 ||
             config->client_ip->timeout_seconds > AFFINITY_TIMEOUT_MAX_S)
        field_invalid_int(errs, timeout, config->client_ip->timeout_seconds,
                          "must be greater than 0 and less than %d", AFFINITY_TIMEOUT_MAX_S);
}

/* --- addresses and families ------------------------------------------------------------------ */

static void check_families(struct field_errors *errs, const struct field_path *spec,
                           const struct core_v1_service_spec *s)
{
    static const char *const families[] = {"IPv4", "IPv6", NULL};
    static const char *const policies[] = {"PreferDualStack", "RequireDualStack", "SingleStack",
                                           NULL};
    const struct field_path *path = PATH(spec, "ipFamilies");
    for (size_t i = 0; i < s->ip_families_count; i++) {
        validate_listed(errs, PATH_INDEX(path, i), s->ip_families[i], families);
        for (size_t k = 0; k < i; k++)
            if (str_eq(s->ip_families[k], s->ip_families[i])) {
                field_duplicate(errs, PATH_INDEX(path, i), s->ip_families[i]);
                break;
            }
    }
    if (s->has_ip_family_policy)
        validate_listed(errs, PATH(spec, "ipFamilyPolicy"), s->ip_family_policy, policies);
}

/* Are all of clusterIPs addresses? */
static bool check_each_address(struct field_errors *errs, const struct field_path *path,
                               const struct core_v1_service_spec *s)
{
    bool good = true;
    for (size_t i = 0; i < s->cluster_ips_count; i++) {
        size_t before = errs->count;
        if (i == 0 && str_eqc(s->cluster_ips[0], "None")) {
            if (s->cluster_ips_count > 1) {
                good = false;
                field_invalid_raw(errs, path, shown(errs, s->cluster_ips, s->cluster_ips_count),
                                  "'None' must be the first and only value");
            }
            continue;
        }
        validate_ip(errs, PATH_INDEX(path, i), s->cluster_ips[i]);
        good = good && errs->count == before;
    }
    if (s->cluster_ips_count > ADDRESSES_MAX)
        field_invalid_raw(errs, path, shown(errs, s->cluster_ips, s->cluster_ips_count),
                          "may only hold up to 2 values");
    return good;
}

static bool is_v4(struct str ip)
{
    struct ip_text parsed;
    return ip_text_parse(ip, &parsed) && parsed.v4;
}

static void check_address_families(struct field_errors *errs, const struct field_path *path,
                                   const struct core_v1_service_spec *s)
{
    size_t v4 = 0;
    for (size_t i = 0; i < s->cluster_ips_count; i++)
        v4 += is_v4(s->cluster_ips[i]) ? 1 : 0;
    if (s->cluster_ips_count > 1 && (s->cluster_ips_count != ADDRESSES_MAX || v4 != 1))
        field_invalid_raw(errs, path, shown(errs, s->cluster_ips, s->cluster_ips_count),
                          "may specify no more than one IP for each IP family");
    for (size_t i = 0;
         !service_is_headless(s) && i < s->cluster_ips_count && i < s->ip_families_count; i++) {
        bool want_v4 = str_eqc(s->ip_families[i], "IPv4");
        if ((want_v4 || str_eqc(s->ip_families[i], "IPv6")) && want_v4 != is_v4(s->cluster_ips[i]))
            field_invalid(errs, PATH_INDEX(path, i), s->cluster_ips[i],
                          "expected an IPv%d value as indicated by `ipFamilies[%zu]`",
                          want_v4 ? 4 : 6, i);
    }
}

static void check_addresses(struct field_errors *errs, const struct field_path *spec,
                            const struct core_v1_service_spec *s)
{
    const struct field_path *path = PATH(spec, "clusterIPs");
    if (service_is(s, "ExternalName"))
        return;
    if (!str_empty(s->cluster_ip)) {
        if (s->cluster_ips_count == 0)
            field_required(errs, path, NULL);
        else if (!str_eq(s->cluster_ip, s->cluster_ips[0]))
            field_invalid_raw(errs, path, shown(errs, s->cluster_ips, s->cluster_ips_count),
                              "first value must match `clusterIP`");
    } else if (s->cluster_ips_count != 0) {
        field_invalid_raw(errs, path, shown(errs, s->cluster_ips, s->cluster_ips_count),
                          "must be empty when `clusterIP` is not specified");
    }
    check_families(errs, spec, s);
    if (check_each_address(errs, path, s))
        check_address_families(errs, path, s);
}

bool service_addresses_agree(struct arena *a, const struct core_v1_service *s)
{
    struct field_errors errs = {.arena = a};
    check_addresses(&errs, PATH(PATH_ROOT, "spec"), &s->spec);
    return errs.count == 0;
}

static void check_external_ips(struct field_errors *errs, const struct field_path *spec,
                               const struct core_v1_service_spec *s)
{
    for (size_t i = 0; i < s->external_ips_count; i++) {
        const struct field_path *path = PATH_INDEX(PATH(spec, "externalIPs"), i);
        size_t before = errs->count;
        validate_ip(errs, path, s->external_ips[i]);
        if (errs->count == before)
            validate_non_special_ip(errs, path, s->external_ips[i]);
    }
}

/* --- load balancers and traffic -------------------------------------------------------------- */

/* Ranges stand in the field, or in the annotation that was before it. */
static void check_source_ranges(struct field_errors *errs, const struct field_path *spec,
                                const struct core_v1_service *service,
                                const struct core_v1_service *old)
{
    static const char why[] = "may only be used when `type` is 'LoadBalancer'";
    const struct core_v1_service_spec *s = &service->spec;
    const struct field_path *path = PATH(spec, "LoadBalancerSourceRanges");
    const struct field_path *note =
        PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), STR(RANGES));
    const struct str *text = annotation(service, RANGES);
    bool balanced = service_is(s, "LoadBalancer");
    if (s->load_balancer_source_ranges_count != 0) {
        if (!balanced)
            field_forbidden(errs, path, why);
        for (size_t i = 0; i < s->load_balancer_source_ranges_count; i++)
            validate_cidr(errs, PATH_INDEX(path, i), str_trim(s->load_balancer_source_ranges[i]));
        return;
    }
    if (text == NULL)
        return;
    if (!balanced)
        field_forbidden(errs, note, why);
    const struct str *was = old != NULL ? annotation(old, RANGES) : NULL;
    struct str rest = str_trim(*text), part;
    bool more = !str_empty(rest) && (was == NULL || !str_eq(*was, *text));
    while (more) {
        more = str_cut(rest, ',', &part, &rest);
        if (!more)
            part = str_empty(part) ? rest : part;
        validate_cidr(errs, note, str_trim(part));
    }
}

static void check_class(struct field_errors *errs, const struct core_v1_service_spec *s,
                        const struct core_v1_service_spec *old)
{
    const struct field_path *path = PATH(PATH(PATH_ROOT, "spec"), "loadBalancerClass");
    bool balanced = service_is(s, "LoadBalancer");
    if (old != NULL && balanced && service_is(old, "LoadBalancer") &&
        (s->has_load_balancer_class != old->has_load_balancer_class ||
         !str_eq(s->load_balancer_class, old->load_balancer_class))) {
        if (s->has_load_balancer_class)
            field_invalid(errs, path, s->load_balancer_class, "may not change once set");
        else
            field_invalid_raw(errs, path, STR("null"), "may not change once set");
    }
    if (!s->has_load_balancer_class)
        return;
    if (balanced)
        validate_qualified_name(errs, path, s->load_balancer_class);
    else
        field_forbidden(errs, path, "may only be used when `type` is 'LoadBalancer'");
}

static void check_traffic(struct field_errors *errs, const struct field_path *spec,
                          const struct core_v1_service_spec *s)
{
    static const char *const policies[] = {"Cluster", "Local", NULL};
    static const char *const distributions[] = {"PreferClose", "PreferSameNode", "PreferSameZone",
                                                NULL};
    const struct field_path *outer = PATH(spec, "externalTrafficPolicy");
    const struct field_path *health = PATH(spec, "healthCheckNodePort");
    if (service_is_external(s))
        require_listed(errs, outer, s->external_traffic_policy, policies);
    else if (!str_empty(s->external_traffic_policy))
        field_invalid(errs, outer, s->external_traffic_policy,
                      "may only be set for externally-accessible services");
    if (s->health_check_node_port != 0 && !service_needs_health_port(s))
        field_invalid_int(
            errs, health, s->health_check_node_port,
            "may only be set when `type` is 'LoadBalancer' and `externalTrafficPolicy` is 'Local'");
    if (s->has_internal_traffic_policy)
        validate_listed(errs, PATH(spec, "internalTrafficPolicy"), s->internal_traffic_policy,
                        policies);
    if (s->has_traffic_distribution)
        validate_listed(errs, PATH(spec, "trafficDistribution"), s->traffic_distribution,
                        distributions);
}

static void check_topology(struct field_errors *errs, const struct core_v1_service *s)
{
    const struct str *mode = annotation(s, MODE), *hints = annotation(s, HINTS);
    if (mode != NULL && hints != NULL && !str_eq(*mode, *hints))
        field_invalid(errs, PATH_KEY(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), STR(MODE)),
                      *mode, "must match annotations[%s] when both are specified", HINTS);
}

void service_validate(struct field_errors *errs, const struct core_v1_service *service,
                      const struct core_v1_service *old)
{
    static const char *const types[] = {"ClusterIP", "ExternalName", "LoadBalancer", "NodePort",
                                        NULL};
    const struct core_v1_service_spec *s = &service->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *ports = PATH(spec, "ports");
    /* Addresses and families are looked at when they are allocated, before all
     * the rest: what is wrong with them is told alone. */
    size_t before = errs->count;
    check_addresses(errs, spec, s);
    if (errs->count != before)
        return;
    check_topology(errs, service);
    if (s->ports_count == 0 && !service_is_headless(s) && !service_is(s, "ExternalName"))
        field_required(errs, ports, NULL);
    check_type(errs, spec, s);
    for (size_t i = 0; i < s->ports_count; i++)
        check_port(errs, PATH_INDEX(ports, i), s, i);
    validate_labels(errs, PATH(spec, "selector"), s->selector, s->selector_count);
    check_affinity(errs, spec, s);
    check_external_ips(errs, spec, s);
    require_listed(errs, PATH(spec, "type"), s->type, types);
    check_port_pairs(errs, ports, s, old == NULL);
    check_source_ranges(errs, spec, service, old);
    if (s->has_allocate_load_balancer_node_ports && !service_is(s, "LoadBalancer"))
        field_forbidden(errs, PATH(spec, "allocateLoadBalancerNodePorts"),
                        "may only be used when `type` is 'LoadBalancer'");
    check_class(errs, s, NULL);
    check_traffic(errs, spec, s);
}

/* --- updates ------------------------------------------------------------------------------------
 */

struct change {
    const struct str *now, *was;
    size_t now_count, was_count;
    const char *list;  /* "clusterIPs" */
    const char *unset; /* "primary clusterIP can not be unset" */
    const char *second;
};

static bool is_single(const struct core_v1_service_spec *s)
{
    return s->has_ip_family_policy && str_eqc(s->ip_family_policy, "SingleStack");
}

/* What stands first stays; the second may come, and go when a single one is asked for. */
static void check_change(struct field_errors *errs, const struct core_v1_service_spec *s,
                         const struct change *c)
{
    static const char why[] = "may not change once set";
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *path = PATH(spec, c->list);
    struct str value = shown(errs, c->now, c->now_count);
    if (c->now_count == c->was_count) {
        for (size_t i = 0; i < c->was_count; i++)
            if (!str_eq(c->was[i], c->now[i]))
                field_invalid_raw(errs, PATH_INDEX(path, i), value, why);
        return;
    }
    if (c->now_count == 0)
        field_invalid_raw(errs, PATH_INDEX(path, 0), value, "%s", c->unset);
    if (c->was_count > 0 && c->now_count > 0 && !str_eq(c->now[0], c->was[0]))
        field_invalid_raw(errs, PATH_INDEX(path, 0), value, why);
    if (c->was_count > c->now_count && c->now_count == 1 && !is_single(s))
        field_invalid(errs, PATH(spec, "ipFamilyPolicy"), s->ip_family_policy,
                      "must be set to 'SingleStack' when releasing the secondary %s", c->second);
}

void service_validate_change(struct field_errors *errs, const struct core_v1_service *service,
                             const struct core_v1_service *old)
{
    const struct core_v1_service_spec *s = &service->spec, *o = &old->spec;
    bool headless = service_is_headless(s), was_headless = service_is_headless(o);
    struct change ips = {s->cluster_ips,       o->cluster_ips, s->cluster_ips_count,
                         o->cluster_ips_count, "clusterIPs",   "primary clusterIP can not be unset",
                         "clusterIP"};
    struct change families = {s->ip_families,
                              o->ip_families,
                              s->ip_families_count,
                              o->ip_families_count,
                              "ipFamilies",
                              "primary ipFamily can not be unset",
                              "ipFamily"};
    bool named = service_is(s, "ExternalName") || service_is(o, "ExternalName");
    if (!named && !(headless && was_headless))
        check_change(errs, s, &ips);
    if (!named && !headless && !was_headless)
        check_change(errs, s, &families);
    check_class(errs, s, o);
}

void service_keep_families(struct core_v1_service_spec *s, const struct core_v1_service_spec *old)
{
    if (service_is(s, "ExternalName"))
        return;
    if (!s->has_ip_family_policy) {
        s->has_ip_family_policy = old->has_ip_family_policy;
        s->ip_family_policy = old->ip_family_policy;
    }
    if (s->ip_families_count == 0 && !service_is(old, "ExternalName")) {
        s->ip_families = old->ip_families;
        s->ip_families_count = old->ip_families_count;
    }
    if (!is_single(s))
        return;
    /* Unchanged lists of two: to ask for one is to let the second go. */
    if (s->cluster_ips_count == ADDRESSES_MAX && old->cluster_ips_count == ADDRESSES_MAX &&
        str_eq(s->cluster_ips[0], old->cluster_ips[0]) &&
        str_eq(s->cluster_ips[1], old->cluster_ips[1]))
        s->cluster_ips_count = 1;
    if (s->ip_families_count == ADDRESSES_MAX && old->ip_families_count == ADDRESSES_MAX &&
        str_eq(s->ip_families[0], old->ip_families[0]) &&
        str_eq(s->ip_families[1], old->ip_families[1]))
        s->ip_families_count = 1;
}

void service_validate_status(struct field_errors *errs, const struct core_v1_service *s)
{
    static const char *const modes[] = {"Proxy", "VIP", NULL};
    const struct core_v1_load_balancer_status *b = &s->status.load_balancer;
    const struct field_path *list =
        PATH(PATH(PATH(PATH_ROOT, "status"), "loadBalancer"), "ingress");
    if (!service_is(&s->spec, "LoadBalancer") && b->ingress_count != 0) {
        field_forbidden(errs, list, "may only be used when `spec.type` is 'LoadBalancer'");
        return;
    }
    for (size_t i = 0; i < b->ingress_count; i++) {
        const struct core_v1_load_balancer_ingress *g = &b->ingress[i];
        const struct field_path *at = PATH_INDEX(list, i);
        struct ip_text ip;
        if (!str_empty(g->ip))
            validate_ip(errs, PATH(at, "ip"), g->ip);
        if (!g->has_ip_mode) {
            if (!str_empty(g->ip))
                field_required(errs, PATH(at, "ipMode"), "must be specified when `ip` is set");
        } else if (str_empty(g->ip)) {
            field_forbidden(errs, PATH(at, "ipMode"), "may not be specified when `ip` is not set");
        } else {
            validate_listed(errs, PATH(at, "ipMode"), g->ip_mode, modes);
        }
        if (str_empty(g->hostname))
            continue;
        validate_form(errs, PATH(at, "hostname"), g->hostname, api_check_dns_subdomain);
        if (ip_text_parse(g->hostname, &ip))
            field_invalid(errs, PATH(at, "hostname"), g->hostname,
                          "must be a DNS name, not an IP address");
    }
}
