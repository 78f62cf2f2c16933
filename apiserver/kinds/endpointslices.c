/* endpointslices.c - EndpointSlice: some of the addresses behind a Service. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/discovery_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define ENDPOINTS_MAX 1000
#define PORTS_MAX 20000
#define ADDRESSES_MAX 100
#define ADDRESSES_SHOWN_MAX 3u

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct discovery_v1_endpoint_slice *s = obj;
    for (size_t i = 0; i < s->ports_count; i++) {
        if (!s->ports[i].has_name)
            s->ports[i].has_name = true;
        default_opt_str(&s->ports[i].has_protocol, &s->ports[i].protocol, STR("TCP"));
    }
}

/* Everything but metadata counts as what is wanted. */
static void prepare_update(const struct kind_ctx *ctx, void *obj, const void *old)
{
    UNUSED(ctx);
    struct discovery_v1_endpoint_slice *s = obj, x = *s,
                                       y = *(const struct discovery_v1_endpoint_slice *)old;
    memset(&x.metadata, 0, sizeof(x.metadata));
    memset(&y.metadata, 0, sizeof(y.metadata));
    if (!api_msg_equal(&discovery_v1_endpoint_slice_msg, &x, &y))
        s->metadata.generation++;
}

/* --- validation ----------------------------------------------------------------------------------
 */

static void check_address(struct field_errors *errs, const struct field_path *at, struct str type,
                          struct str address)
{
    uint8_t ip[16];
    bool v4 = false;
    if (str_eqc(type, "FQDN")) {
        struct str name =
            str_has_suffix(address, STR(".")) ? str_sub(address, 0, address.len - 1) : address;
        validate_form(errs, at, name, api_check_dns_subdomain);
        if (str_find(name, '.', 0) < 0)
            field_invalid(errs, at, address,
                          "should be a domain with at least two segments separated by dots");
        return;
    }
    if (!str_eqc(type, "IPv4") && !str_eqc(type, "IPv6"))
        return;
    if (!ip_parse(address, ip, &v4)) {
        validate_ip(errs, at, address);
        return;
    }
    if (v4 != str_eqc(type, "IPv4"))
        field_invalid(errs, at, address, "must be an %s address", v4 ? "IPv6" : "IPv4");
    else
        validate_non_special_ip(errs, at, address);
}

static void check_endpoint(struct field_errors *errs, const struct field_path *at, struct str type,
                           const struct discovery_v1_endpoint *e)
{
    const struct field_path *list = PATH(at, "addresses");
    if (e->addresses_count == 0)
        field_required(errs, list, "must contain at least 1 address");
    else if (e->addresses_count > ADDRESSES_MAX)
        field_too_many(errs, list, (int64_t)e->addresses_count, ADDRESSES_MAX);
    for (size_t i = 0; i < e->addresses_count; i++)
        check_address(errs, PATH_INDEX(list, i), type, e->addresses[i]);
    if (e->has_node_name)
        validate_form(errs, PATH(at, "nodeName"), e->node_name, api_check_dns_subdomain);
    if (e->has_hostname)
        validate_form(errs, PATH(at, "hostname"), e->hostname, api_check_dns_label);
    for (size_t i = 0; i < e->deprecated_topology_count; i++)
        validate_qualified_name(errs, PATH(at, "deprecatedTopology"),
                                e->deprecated_topology[i].key);
    for (size_t i = 0; e->hints != NULL && i < e->hints->for_zones_count; i++)
        validate_qualified_name(errs,
                                PATH(PATH_INDEX(PATH(PATH(at, "hints"), "forZones"), i), "name"),
                                e->hints->for_zones[i].name);
}

static void check_ports(struct field_errors *errs, const struct field_path *path,
                        const struct discovery_v1_endpoint_slice *s)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    if (s->ports_count > PORTS_MAX) {
        field_too_many(errs, path, (int64_t)s->ports_count, PORTS_MAX);
        return;
    }
    for (size_t i = 0; i < s->ports_count; i++) {
        const struct discovery_v1_endpoint_port *p = &s->ports[i];
        const struct field_path *at = PATH_INDEX(path, i);
        if (!str_empty(p->name))
            validate_form(errs, PATH(at, "name"), p->name, api_check_dns_label);
        for (size_t j = 0; j < i; j++)
            if (str_eq(s->ports[j].name, p->name)) {
                field_duplicate(errs, PATH(at, "name"), p->name);
                break;
            }
        require_listed(errs, PATH(at, "protocol"), p->protocol, protocols);
        if (p->has_app_protocol)
            validate_qualified_name(errs, PATH(at, "appProtocol"), p->app_protocol);
    }
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const types[] = {"FQDN", "IPv4", "IPv6", NULL};
    const struct discovery_v1_endpoint_slice *s = obj;
    const struct field_path *list = PATH(PATH_ROOT, "endpoints");
    require_listed(errs, PATH(PATH_ROOT, "addressType"), s->address_type, types);
    if (s->endpoints_count > ENDPOINTS_MAX)
        field_too_many(errs, list, (int64_t)s->endpoints_count, ENDPOINTS_MAX);
    for (size_t i = 0; i < s->endpoints_count && i < ENDPOINTS_MAX; i++)
        check_endpoint(errs, PATH_INDEX(list, i), s->address_type, &s->endpoints[i]);
    check_ports(errs, PATH(PATH_ROOT, "ports"), s);
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    const struct discovery_v1_endpoint_slice *s = obj, *o = old;
    if (str_eq(s->address_type, o->address_type))
        validate_create(ctx, obj, errs);
    validate_immutable_str(errs, PATH(PATH_ROOT, "addressType"), s->address_type, o->address_type);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct discovery_v1_endpoint_slice *s = obj;
    if (str_eqc(s->address_type, "FQDN")) {
        kind_warn(ctx, "spec.addressType: FQDN endpoints are deprecated");
        return;
    }
    for (size_t i = 0; i < s->endpoints_count; i++)
        for (size_t j = 0; j < s->endpoints[i].addresses_count; j++)
            warn_ip(ctx,
                    PATH_INDEX(PATH(PATH_INDEX(PATH(PATH_ROOT, "endpoints"), i), "addresses"), j),
                    s->endpoints[i].addresses[j]);
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0}, {"AddressType", "string", "", "Form of the addresses.", 0},
    {"Ports", "string", "", "", 0},    {"Endpoints", "string", "", "", 0},
    {"Age", "string", "", "", 0},      {0},
};

static void cell_ports(struct table_row *r, const struct discovery_v1_endpoint_slice *s)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s->ports_count; i++) {
        buf_puts(&b, i == 0 ? "" : ",");
        if (s->ports[i].has_port)
            buf_printf(&b, "%d", s->ports[i].port);
        else if (s->ports[i].has_name && !str_empty(s->ports[i].name))
            buf_append_str(&b, s->ports[i].name);
        else
            buf_putc(&b, '*');
    }
    if (b.len == 0)
        buf_puts(&b, "<unset>");
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

static void cell_endpoints(struct table_row *r, const struct discovery_v1_endpoint_slice *s)
{
    AUTO_BUF b = BUF_INIT;
    size_t n = 0;
    for (size_t i = 0; i < s->endpoints_count; i++)
        for (size_t j = 0; j < s->endpoints[i].addresses_count; j++)
            if (n++ < ADDRESSES_SHOWN_MAX) {
                buf_puts(&b, n == 1 ? "" : ",");
                buf_append_str(&b, s->endpoints[i].addresses[j]);
            }
    if (n == 0)
        buf_puts(&b, "<unset>");
    else if (n > ADDRESSES_SHOWN_MAX)
        buf_printf(&b, " + %zu more...", n - ADDRESSES_SHOWN_MAX);
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

static void row(struct table_row *r, const void *obj)
{
    const struct discovery_v1_endpoint_slice *s = obj;
    cell_str(r, s->metadata.name);
    cell_str(r, s->address_type);
    cell_ports(r, s);
    cell_endpoints(r, s);
    cell_age(r, &s->metadata.creation_timestamp);
}

const struct kind_ops kind_endpointslices = {
    .group = "discovery.k8s.io",
    .version = "v1",
    .resource = "endpointslices",
    .flags = KIND_GENERATION,
    .default_ = set_defaults,
    .prepare_update = prepare_update,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .columns = columns,
    .row = row,
};
