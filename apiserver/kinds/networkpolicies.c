/* networkpolicies.c - NetworkPolicy: which pods may talk to which. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "api/intstr.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "lib/base/arena.h"

static void default_ports(struct networking_v1_network_policy_port *p, size_t count)
{
    for (size_t i = 0; i < count; i++)
        default_opt_str(&p[i].has_protocol, &p[i].protocol, STR("TCP"));
}

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    struct networking_v1_network_policy_spec *s =
        &((struct networking_v1_network_policy *)obj)->spec;
    for (size_t i = 0; i < s->ingress_count; i++)
        default_ports(s->ingress[i].ports, s->ingress[i].ports_count);
    for (size_t i = 0; i < s->egress_count; i++)
        default_ports(s->egress[i].ports, s->egress[i].ports_count);
    if (s->policy_types_count != 0)
        return;
    s->policy_types = ARENA_ARRAY(ctx->arena, struct str, 2);
    s->policy_types[s->policy_types_count++] = STR("Ingress");
    if (s->egress_count != 0)
        s->policy_types[s->policy_types_count++] = STR("Egress");
}

/* --- validation ------------------------------------------------------------------------------ */

static void check_port(struct field_errors *errs, const struct field_path *at,
                       const struct networking_v1_network_policy_port *p)
{
    static const char *const protocols[] = {"TCP", "UDP", "SCTP", NULL};
    if (p->has_protocol)
        validate_listed(errs, PATH(at, "protocol"), p->protocol, protocols);
    if (p->port == NULL) {
        if (p->has_end_port)
            field_invalid_int(errs, PATH(at, "endPort"), p->end_port,
                              "may not be specified when `port` is not specified");
        return;
    }
    validate_port_or_name(errs, PATH(at, "port"), p->port);
    if (!p->has_end_port)
        return;
    if (p->port->type != 0) {
        field_invalid_int(errs, PATH(at, "endPort"), p->end_port,
                          "may not be specified when `port` is non-numeric");
        return;
    }
    if (p->end_port < p->port->int_val)
        field_invalid_int(
            errs, PATH(at, "endPort"), p->port->int_val,
            "must be greater than or equal to `port`"); /* The value shown is upstream's choice. */
    validate_port(errs, PATH(at, "endPort"), p->end_port);
}

static bool inside(const uint8_t outer[16], const uint8_t inner[16], unsigned bits)
{
    for (unsigned i = 0; i < bits; i++)
        if ((outer[i / 8] ^ inner[i / 8]) & (0x80u >> (i % 8)))
            return false;
    return true;
}

static void check_block(struct field_errors *errs, const struct field_path *path,
                        const struct networking_v1_ip_block *b)
{
    struct ip_text net, part;
    if (str_empty(b->cidr)) {
        field_required(errs, PATH(path, "cidr"), NULL);
        return;
    }
    size_t before = errs->count;
    validate_cidr(errs, PATH(path, "cidr"), b->cidr);
    if (errs->count != before)
        return;
    ip_text_parse_cidr(b->cidr, &net);
    for (size_t i = 0; i < b->except_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(path, "except"), i);
        before = errs->count;
        validate_cidr(errs, at, b->except[i]);
        if (errs->count != before)
            continue;
        ip_text_parse_cidr(b->except[i], &part);
        if (part.v4 != net.v4 || part.prefix <= net.prefix ||
            !inside(net.addr, part.addr, net.prefix))
            field_invalid(errs, at, b->except[i], "must be a strict subset of `cidr`");
    }
}

static void warn_peers(const struct kind_ctx *ctx, const struct field_path *path,
                       const struct networking_v1_network_policy_peer *p, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct networking_v1_ip_block *b = p[i].ip_block;
        const struct field_path *at = PATH(PATH_INDEX(path, i), "ipBlock");
        if (b == NULL)
            continue;
        warn_cidr(ctx, PATH(at, "cidr"), b->cidr);
        for (size_t e = 0; e < b->except_count; e++)
            warn_cidr(ctx, PATH_INDEX(PATH(at, "except"), e), b->except[e]);
    }
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct networking_v1_network_policy_spec *s =
        &((const struct networking_v1_network_policy *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    for (size_t i = 0; i < s->ingress_count; i++)
        warn_peers(ctx, PATH(PATH_INDEX(PATH(spec, "ingress"), i), "from"), s->ingress[i].from,
                   s->ingress[i].from_count);
    for (size_t i = 0; i < s->egress_count; i++)
        warn_peers(ctx, PATH(PATH_INDEX(PATH(spec, "egress"), i), "to"), s->egress[i].to,
                   s->egress[i].to_count);
}

static void check_peer(struct field_errors *errs, const struct field_path *at,
                       const struct networking_v1_network_policy_peer *p)
{
    int given = (p->pod_selector != NULL) + (p->namespace_selector != NULL) + (p->ip_block != NULL);
    validate_label_selector(errs, PATH(at, "podSelector"), p->pod_selector);
    validate_label_selector(errs, PATH(at, "namespaceSelector"), p->namespace_selector);
    if (p->ip_block != NULL)
        check_block(errs, PATH(at, "ipBlock"), p->ip_block);
    if (given == 0)
        field_required(errs, at, "must specify a peer");
    else if (given > 1 && p->ip_block != NULL)
        field_forbidden(errs, at, "may not specify both ipBlock and another peer");
}

static void check_rule(struct field_errors *errs, const struct field_path *at,
                       const struct networking_v1_network_policy_port *ports, size_t port_count,
                       const char *direction, const struct networking_v1_network_policy_peer *peers,
                       size_t peer_count)
{
    for (size_t i = 0; i < port_count; i++)
        check_port(errs, PATH_INDEX(PATH(at, "ports"), i), &ports[i]);
    for (size_t i = 0; i < peer_count; i++)
        check_peer(errs, PATH_INDEX(PATH(at, direction), i), &peers[i]);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const types[] = {"Ingress", "Egress", NULL};
    const struct networking_v1_network_policy_spec *s =
        &((const struct networking_v1_network_policy *)obj)->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec"), *list = PATH(spec, "policyTypes");
    validate_label_selector(errs, PATH(spec, "podSelector"), &s->pod_selector);
    for (size_t i = 0; i < s->ingress_count; i++)
        check_rule(errs, PATH_INDEX(PATH(spec, "ingress"), i), s->ingress[i].ports,
                   s->ingress[i].ports_count, "from", s->ingress[i].from, s->ingress[i].from_count);
    for (size_t i = 0; i < s->egress_count; i++)
        check_rule(errs, PATH_INDEX(PATH(spec, "egress"), i), s->egress[i].ports,
                   s->egress[i].ports_count, "to", s->egress[i].to, s->egress[i].to_count);
    if (s->policy_types_count > 2) {
        field_invalid_raw(errs, list,
                          field_strings_render(errs->arena, s->policy_types, s->policy_types_count),
                          "may not specify more than two policyTypes");
        return;
    }
    for (size_t i = 0; i < s->policy_types_count; i++)
        validate_listed(errs, PATH_INDEX(list, i), s->policy_types[i], types);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Pod-Selector", "string", "", "Pods that the policy is for.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct networking_v1_network_policy *p = obj;
    cell_str(r, p->metadata.name);
    cell_selector(r, &p->spec.pod_selector);
    cell_age(r, &p->metadata.creation_timestamp);
}

const struct kind_ops kind_networkpolicies = {
    .group = "networking.k8s.io",
    .version = "v1",
    .resource = "networkpolicies",
    .flags = KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .warn = warn,
    .columns = columns,
    .row = row,
};
