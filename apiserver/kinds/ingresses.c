/* ingresses.c - Ingress: HTTP from outside to Services. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/networking_v1.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define CLASS_ANNOTATION "kubernetes.io/ingress.class"
#define HOSTS_SHOWN_MAX 3u

/* --- validation ------------------------------------------------------------------------------ */

static void check_resource(struct field_errors *errs, const struct field_path *path,
                           const struct core_v1_typed_local_object_reference *r)
{
    if (r->has_api_group && !str_empty(r->api_group))
        validate_form(errs, PATH(path, "apiGroup"), r->api_group, api_check_dns_subdomain);
    if (str_empty(r->kind))
        field_required(errs, PATH(path, "kind"), "kind is required");
    else
        name_path_segment(errs, PATH(path, "kind"), r->kind, false);
    if (str_empty(r->name))
        field_required(errs, PATH(path, "name"), "name is required");
    else
        name_path_segment(errs, PATH(path, "name"), r->name, false);
}

static void check_backend(struct field_errors *errs, const struct field_path *path,
                          const struct networking_v1_ingress_backend *b)
{
    const struct networking_v1_ingress_service_backend *s = b->service;
    if (s != NULL && b->resource != NULL) {
        field_invalid(errs, path, STR(""), "cannot set both resource and service backends");
    } else if (b->resource != NULL) {
        check_resource(errs, PATH(path, "resource"), b->resource);
    } else if (s == NULL) {
        field_invalid(errs, path, STR(""), "resource or service backend is required");
    } else {
        const struct field_path *service = PATH(path, "service"), *port = PATH(service, "port");
        if (str_empty(s->name))
            field_required(errs, PATH(service, "name"), NULL);
        else
            validate_form(errs, PATH(service, "name"), s->name, api_check_dns_label);
        if (!str_empty(s->port.name) && s->port.number != 0)
            field_invalid(errs, path, STR(""), "cannot set both port name & port number");
        else if (!str_empty(s->port.name))
            validate_port_name(errs, PATH(port, "name"), s->port.name);
        else if (s->port.number != 0)
            validate_port(errs, PATH(port, "number"), s->port.number);
        else
            field_required(errs, path, "port name or number is required");
    }
}

static void check_path_text(struct field_errors *errs, const struct field_path *path, struct str p)
{
    static const char *const inside[] = {"//", "/./", "/../", "%2f", "%2F"};
    static const char *const behind[] = {"/..", "/."};
    if (!str_has_prefix(p, STR("/")))
        field_invalid(errs, path, p, "must be an absolute path");
    for (size_t i = 0; i < ARRAY_SIZE(inside); i++)
        if (str_find_str(p, str_of(inside[i])) >= 0)
            field_invalid(errs, path, p, "must not contain '%s'", inside[i]);
    for (size_t i = 0; i < ARRAY_SIZE(behind); i++)
        if (str_has_suffix(p, str_of(behind[i])))
            field_invalid(errs, path, p, "cannot end with '%s'", behind[i]);
}

static void check_http_path(struct field_errors *errs, const struct field_path *at,
                            const struct networking_v1_http_ingress_path *p)
{
    static const char *const types[] = {"Exact", "ImplementationSpecific", "Prefix", NULL};
    if (!p->has_path_type) {
        field_required(errs, PATH(at, "pathType"), "pathType must be specified");
    } else if (str_eqc(p->path_type, "Exact") || str_eqc(p->path_type, "Prefix")) {
        check_path_text(errs, PATH(at, "path"), p->path);
    } else if (str_eqc(p->path_type, "ImplementationSpecific")) {
        if (!str_empty(p->path) && p->path.data[0] != '/')
            field_invalid(errs, PATH(at, "path"), p->path, "must be an absolute path");
    } else {
        field_not_supported(errs, PATH(at, "pathType"), p->path_type, types);
    }
    check_backend(errs, PATH(at, "backend"), &p->backend);
}

static void check_host(struct field_errors *errs, const struct field_path *path, struct str host)
{
    if (str_find(host, '*', 0) >= 0)
        validate_form(errs, path, host, api_check_wildcard_subdomain);
    else
        validate_form(errs, path, host, api_check_dns_subdomain);
}

static void check_rule(struct field_errors *errs, const struct field_path *at,
                       const struct networking_v1_ingress_rule *r)
{
    uint8_t ip[16];
    bool v4 = false;
    if (!str_empty(r->host)) {
        if (ip_parse(r->host, ip, &v4))
            field_invalid(errs, PATH(at, "host"), r->host, "must be a DNS name, not an IP address");
        else
            check_host(errs, PATH(at, "host"), r->host);
    }
    const struct networking_v1_http_ingress_rule_value *http = r->ingress_rule_value.http;
    if (http == NULL)
        return;
    const struct field_path *paths = PATH(PATH(at, "http"), "paths");
    if (http->paths_count == 0)
        field_required(errs, paths, NULL);
    for (size_t i = 0; i < http->paths_count; i++)
        check_http_path(errs, PATH_INDEX(paths, i), &http->paths[i]);
}

static void check_tls(struct field_errors *errs, const struct field_path *at,
                      const struct networking_v1_ingress_tls *t)
{
    for (size_t i = 0; i < t->hosts_count; i++)
        check_host(errs, PATH_INDEX(PATH(at, "hosts"), i), t->hosts[i]);
    if (!str_empty(t->secret_name))
        validate_form(errs, PATH(at, "secretName"), t->secret_name, api_check_dns_subdomain);
}

static void validate_spec(const struct networking_v1_ingress_spec *s, struct field_errors *errs)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    if (s->rules_count == 0 && s->default_backend == NULL)
        field_invalid_raw(errs, spec, STR("null"),
                          "either `defaultBackend` or `rules` must be specified");
    if (s->default_backend != NULL)
        check_backend(errs, PATH(spec, "defaultBackend"), s->default_backend);
    for (size_t i = 0; i < s->rules_count; i++)
        check_rule(errs, PATH_INDEX(PATH(spec, "rules"), i), &s->rules[i]);
    for (size_t i = 0; i < s->tls_count; i++)
        check_tls(errs, PATH_INDEX(PATH(spec, "tls"), i), &s->tls[i]);
    if (s->has_ingress_class_name)
        validate_form(errs, PATH(spec, "ingressClassName"), s->ingress_class_name,
                      api_check_dns_subdomain);
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    const struct networking_v1_ingress *g = obj;
    const struct str *class = api_str_map_get(g->metadata.annotations,
                                              g->metadata.annotations_count, STR(CLASS_ANNOTATION));
    validate_spec(&g->spec, errs);
    if (class != NULL && g->spec.has_ingress_class_name &&
        !str_eq(*class, g->spec.ingress_class_name))
        field_invalid(errs,
                      PATH(PATH(PATH(PATH_ROOT, "metadata"), "annotations"), CLASS_ANNOTATION),
                      *class, "must match `ingressClassName` when both are specified");
}

static void validate_update(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    validate_spec(&((const struct networking_v1_ingress *)obj)->spec, errs);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    uint8_t ip[16];
    bool v4 = false;
    const struct networking_v1_ingress_load_balancer_status *s =
        &((const struct networking_v1_ingress *)obj)->status.load_balancer;
    const struct field_path *list =
        PATH(PATH(PATH(PATH_ROOT, "status"), "loadBalancer"), "ingress");
    for (size_t i = 0; i < s->ingress_count; i++) {
        const struct field_path *at = PATH_INDEX(list, i);
        if (!str_empty(s->ingress[i].ip))
            validate_ip(errs, PATH(at, "ip"), s->ingress[i].ip);
        if (str_empty(s->ingress[i].hostname))
            continue;
        validate_form(errs, PATH(at, "hostname"), s->ingress[i].hostname, api_check_dns_subdomain);
        if (ip_parse(s->ingress[i].hostname, ip, &v4))
            field_invalid(errs, PATH(at, "hostname"), s->ingress[i].hostname,
                          "must be a DNS name, not an IP address");
    }
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

/* --- table --------------------------------------------------------------------------------------
 */

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"Class", "string", "", "Which controller serves it.", 0},
    {"Hosts", "string", "", "Names it answers to.", 0},
    {"Address", "string", "", "Where it is reached.", 0},
    {"Ports", "string", "", "", 0},
    {"Age", "string", "", "", 0},
    {0},
};

static void warn(const struct kind_ctx *ctx, const void *obj, const void *old)
{
    const struct networking_v1_ingress *g = obj;
    if (old == NULL && !g->spec.has_ingress_class_name &&
        api_str_map_get(g->metadata.annotations, g->metadata.annotations_count,
                        STR(CLASS_ANNOTATION)) != NULL)
        kind_warn(ctx, "annotation \"" CLASS_ANNOTATION "\" is deprecated, please use "
                       "'spec.ingressClassName' instead");
}

static void cell_hosts(struct table_row *r, const struct networking_v1_ingress_spec *s)
{
    AUTO_BUF b = BUF_INIT;
    size_t n = 0, more = 0;
    for (size_t i = 0; i < s->rules_count; i++) {
        if (str_empty(s->rules[i].host))
            continue;
        if (n == HOSTS_SHOWN_MAX) {
            more++;
            continue;
        }
        buf_puts(&b, n++ == 0 ? "" : ",");
        buf_append_str(&b, s->rules[i].host);
    }
    if (n == 0)
        buf_putc(&b, '*');
    if (more != 0)
        buf_printf(&b, " + %zu more...", more);
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

static void cell_addresses(struct table_row *r,
                           const struct networking_v1_ingress_load_balancer_status *s)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < s->ingress_count; i++) {
        struct str text = !str_empty(s->ingress[i].ip) ? s->ingress[i].ip : s->ingress[i].hostname;
        buf_puts(&b, b.len == 0 || str_empty(text) ? "" : ",");
        buf_append_str(&b, text);
    }
    cell_str(r, arena_str(row_arena(r), buf_str(&b)));
}

static void row(struct table_row *r, const void *obj)
{
    const struct networking_v1_ingress *g = obj;
    const struct str *class = api_str_map_get(g->metadata.annotations,
                                              g->metadata.annotations_count, STR(CLASS_ANNOTATION));
    cell_str(r, g->metadata.name);
    cell_str(r, g->spec.has_ingress_class_name ? g->spec.ingress_class_name
                : class != NULL                ? *class
                                               : STR("<none>"));
    cell_hosts(r, &g->spec);
    cell_addresses(r, &g->status.load_balancer);
    cell_strc(r, g->spec.tls_count != 0 ? "80, 443" : "80");
    cell_age(r, &g->metadata.creation_timestamp);
}

const struct kind_ops kind_ingresses = {
    .group = "networking.k8s.io",
    .version = "v1",
    .resource = "ingresses",
    .flags = KIND_STATUS | KIND_GENERATION,
    .validate_create = validate_create,
    .validate_update = validate_update,
    .warn = warn,
    .subs = subs,
    .columns = columns,
    .row = row,
};
