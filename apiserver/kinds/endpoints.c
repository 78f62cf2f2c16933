/* endpoints.c - Endpoints: all addresses behind a Service, the old way. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define SHOWN_MAX 3u

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct core_v1_endpoints *e = obj;
    for (size_t i = 0; i < e->subsets_count; i++)
        for (size_t j = 0; j < e->subsets[i].ports_count; j++)
            default_str(&e->subsets[i].ports[j].protocol, STR("TCP"));
}

static void check_address(struct field_errors *errs, const struct field_path *at,
                          const struct core_v1_endpoint_address *a)
{
    validate_ip(errs, PATH(at, "ip"), a->ip);
    if (!str_empty(a->hostname))
        validate_form(errs, PATH(at, "hostname"), a->hostname, api_check_dns_label);
    if (a->has_node_name)
        validate_form(errs, PATH(at, "nodeName"), a->node_name, api_check_dns_subdomain);
    validate_non_special_ip(errs, PATH(at, "ip"), a->ip);
}

static void check_port(struct field_errors *errs, const struct field_path *at,
                       const struct core_v1_endpoint_port *p, bool needs_name)
{
    static const char *const protocols[] = {"SCTP", "TCP", "UDP", NULL};
    if (needs_name && str_empty(p->name))
        field_required(errs, PATH(at, "name"), NULL);
    else if (!str_empty(p->name))
        validate_form(errs, PATH(at, "name"), p->name, api_check_dns_label);
    validate_port(errs, PATH(at, "port"), p->port);
    require_listed(errs, PATH(at, "protocol"), p->protocol, protocols);
    if (p->has_app_protocol)
        validate_qualified_name(errs, PATH(at, "appProtocol"), p->app_protocol);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    const struct core_v1_endpoints *e = obj;
    UNUSED(ctx);
    for (size_t i = 0; i < e->subsets_count; i++) {
        const struct core_v1_endpoint_subset *s = &e->subsets[i];
        const struct field_path *at = PATH_INDEX(PATH(PATH_ROOT, "subsets"), i);
        if (s->addresses_count == 0 && s->not_ready_addresses_count == 0)
            field_required(errs, at, "must specify `addresses` or `notReadyAddresses`");
        for (size_t j = 0; j < s->addresses_count; j++)
            check_address(errs, PATH_INDEX(PATH(at, "addresses"), j), &s->addresses[j]);
        for (size_t j = 0; j < s->not_ready_addresses_count; j++)
            check_address(errs, PATH_INDEX(PATH(at, "notReadyAddresses"), j),
                          &s->not_ready_addresses[j]);
        for (size_t j = 0; j < s->ports_count; j++)
            check_port(errs, PATH_INDEX(PATH(at, "ports"), j), &s->ports[j], s->ports_count > 1);
    }
}

static void warn_addresses(const struct kind_ctx *ctx, const struct field_path *path,
                           const struct core_v1_endpoint_address *a, size_t count)
{
    for (size_t i = 0; i < count; i++)
        warn_ip(ctx, PATH(PATH_INDEX(path, i), "ip"), a[i].ip);
}

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    UNUSED(old);
    const struct core_v1_endpoints *e = obj;
    for (size_t i = 0; i < e->subsets_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(PATH_ROOT, "subsets"), i);
        warn_addresses(ctx, PATH(at, "addresses"), e->subsets[i].addresses,
                       e->subsets[i].addresses_count);
        warn_addresses(ctx, PATH(at, "notReadyAddresses"), e->subsets[i].not_ready_addresses,
                       e->subsets[i].not_ready_addresses_count);
    }
}

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Endpoints", "string", "", "Addresses and ports.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void cell_endpoints(struct table_row *r, const struct core_v1_endpoints *e)
{
    AUTO_BUF b = BUF_INIT;
    size_t n = 0;
    for (size_t i = 0; i < e->subsets_count; i++) {
        const struct core_v1_endpoint_subset *s = &e->subsets[i];
        size_t ports = MAX_OF(s->ports_count, (size_t)1);
        for (size_t p = 0; p < ports; p++)
            for (size_t a = 0; a < s->addresses_count; a++) {
                if (n++ >= SHOWN_MAX)
                    continue;
                bool v6 = str_find(s->addresses[a].ip, ':', 0) >= 0;
                buf_puts(&b, n == 1 ? "" : ",");
                if (s->ports_count == 0)
                    buf_append_str(&b, s->addresses[a].ip);
                else
                    buf_printf(&b, v6 ? "[" STR_FMT "]:%d" : STR_FMT ":%d",
                               STR_ARG(s->addresses[a].ip), s->ports[p].port);
            }
    }
    if (n == 0)
        buf_puts(&b, "<none>");
    else if (n > SHOWN_MAX)
        buf_printf(&b, " + %zu more...", n - SHOWN_MAX);
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

static void row(struct table_row *r, const void *obj)
{
    const struct core_v1_endpoints *e = obj;
    cell_str(r, e->metadata.name);
    cell_endpoints(r, e);
    cell_age(r, &e->metadata.creation_timestamp);
}

const struct kind_ops kind_endpoints = {
    .group = "",
    .version = "v1",
    .resource = "endpoints",
    .flags = KIND_CREATE_ON_UPDATE,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .warn = warn,
    .columns = columns,
    .row = row,
};
