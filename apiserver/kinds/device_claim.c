/* device_claim.c - see device_claim.h. Pure. */
#include "apiserver/kinds/device_claim.h"

#include "apiserver/kind.h"
#include "apiserver/kinds/device_rules.h"
#include "api/core_v1.h"
#include "api/meta_v1.h"
#include "api/resource_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

#define CONSTRAINTS_MAX 32
#define ALTERNATIVES_MAX 8
#define ADMIN_LABEL "resource.kubernetes.io/admin-access"

static void default_mode(struct str *mode, int64_t *count)
{
    if (str_empty(*mode))
        *mode = STR("ExactCount");
    if (str_eqc(*mode, "ExactCount") && *count == 0)
        *count = 1;
}

void default_device_claim(struct resource_v1_device_claim *c)
{
    for (size_t i = 0; i < c->requests_count; i++) {
        struct resource_v1_device_request *r = &c->requests[i];
        if (r->exactly != NULL)
            default_mode(&r->exactly->allocation_mode, &r->exactly->count);
        for (size_t j = 0; j < r->first_available_count; j++)
            default_mode(&r->first_available[j].allocation_mode, &r->first_available[j].count);
    }
}

/* --- requests ---------------------------------------------------------------------------- */

/* What a request and an alternative of one have in common. */
struct wish {
    struct str class_name, mode;
    int64_t count;
    const struct resource_v1_device_selector *selectors;
    size_t selectors_count;
    const struct resource_v1_device_toleration *tolerations;
    size_t tolerations_count;
};
#define WISH(of)                                                                                   \
    (&(const struct wish){(of)->device_class_name, (of)->allocation_mode, (of)->count,             \
                          (of)->selectors, (of)->selectors_count, (of)->tolerations,               \
                          (of)->tolerations_count})

static void check_wish(struct field_errors *errs, const struct field_path *path,
                       const struct wish *w)
{
    static const char *const modes[] = {"All", "ExactCount", NULL};
    require_form(errs, PATH(path, "deviceClassName"), w->class_name, api_check_dns_subdomain);
    check_device_selectors(errs, PATH(path, "selectors"), w->selectors, w->selectors_count);
    if (str_eqc(w->mode, "All")) {
        if (w->count != 0)
            field_invalid_int(errs, PATH(path, "count"), w->count,
                              "must not be specified when allocationMode is 'All'");
    } else if (str_eqc(w->mode, "ExactCount")) {
        if (w->count <= 0)
            field_invalid_int(errs, PATH(path, "count"), w->count, "must be greater than zero");
    } else {
        field_not_supported(errs, PATH(path, "allocationMode"), w->mode, modes);
    }
    for (size_t i = 0; i < w->tolerations_count; i++)
        check_device_toleration(errs, PATH_INDEX(PATH(path, "tolerations"), i), &w->tolerations[i]);
}

static void check_alternatives(struct field_errors *errs, const struct field_path *list,
                               const struct resource_v1_device_request *r)
{
    if (!check_device_count(errs, list, r->first_available_count, ALTERNATIVES_MAX))
        return;
    struct str *names = ARENA_ARRAY(errs->arena, struct str, r->first_available_count);
    for (size_t i = 0; i < r->first_available_count; i++) {
        const struct resource_v1_device_sub_request *s = &r->first_available[i];
        const struct field_path *at = PATH_INDEX(list, i);
        names[i] = s->name;
        validate_form(errs, PATH(at, "name"), s->name, api_check_dns_label);
        check_wish(errs, at, WISH(s));
    }
    check_device_doubles(errs, list, names, r->first_available_count);
}

static void check_request(struct field_errors *errs, const struct field_path *at,
                          const struct resource_v1_device_request *r)
{
    validate_form(errs, PATH(at, "name"), r->name, api_check_dns_label);
    if (r->exactly == NULL && r->first_available_count == 0)
        field_required(errs, at, "exactly one of `exactly` or `firstAvailable` is required");
    else if (r->exactly != NULL && r->first_available_count != 0)
        field_invalid_raw(errs, at, STR("null"),
                          "exactly one of `exactly` or `firstAvailable` is required, but multiple "
                          "fields are set");
    else if (r->exactly != NULL)
        check_wish(errs, PATH(at, "exactly"), WISH(r->exactly));
    else
        check_alternatives(errs, PATH(at, "firstAvailable"), r);
}

/* --- references to them --------------------------------------------------------------------- */

static bool is_request(const struct resource_v1_device_claim *c, struct str name)
{
    struct str main, sub;
    bool has_sub = str_cut(name, '/', &main, &sub);
    for (size_t i = 0; i < c->requests_count; i++) {
        const struct resource_v1_device_request *r = &c->requests[i];
        if (!str_eq(r->name, has_sub ? main : name))
            continue;
        for (size_t k = 0; has_sub && k < r->first_available_count; k++)
            if (str_eq(r->first_available[k].name, sub))
                return true;
        return !has_sub;
    }
    return false;
}

void check_device_request_ref(struct field_errors *errs, const struct field_path *path,
                              const struct resource_v1_device_claim *c, struct str name)
{
    static const char why[] = "must be the name of a request in the claim or the name of a request "
                              "and a subrequest separated by '/'";
    struct str main, sub = STR_NULL;
    bool has_sub = str_cut(name, '/', &main, &sub);
    if (has_sub && str_find(sub, '/', 0) >= 0) {
        field_invalid(errs, path, name, "%s", why);
        return;
    }
    validate_form(errs, path, has_sub ? main : name, api_check_dns_label);
    if (has_sub)
        validate_form(errs, path, sub, api_check_dns_label);
    if (!is_request(c, name))
        field_invalid(errs, path, name, "%s", why);
}

void check_device_request_refs(struct field_errors *errs, const struct field_path *path,
                               const struct resource_v1_device_claim *c, const struct str *names,
                               size_t count)
{
    if (!check_device_count(errs, path, count, DEVICE_REQUESTS_MAX))
        return;
    for (size_t i = 0; i < count; i++)
        check_device_request_ref(errs, PATH_INDEX(path, i), c, names[i]);
    check_device_doubles(errs, path, names, count);
}

static void check_constraint(struct field_errors *errs, const struct field_path *at,
                             const struct resource_v1_device_claim *c,
                             const struct resource_v1_device_constraint *x)
{
    struct str name = x->has_match_attribute ? x->match_attribute : x->distinct_attribute;
    const struct field_path *path =
        PATH(at, x->has_match_attribute ? "matchAttribute" : "distinctAttribute");
    check_device_request_refs(errs, PATH(at, "requests"), c, x->requests, x->requests_count);
    if (!x->has_match_attribute && !x->has_distinct_attribute) {
        field_required(errs, at,
                       "exactly one of \"matchAttribute\" or \"distinctAttribute\" is required, "
                       "but multiple fields are set");
        return;
    }
    check_device_attribute_name(errs, path, name);
    if (str_find(name, '/', 0) < 0)
        field_invalid(errs, path, name,
                      "a fully qualified name must be a domain and a name separated by a slash");
}

void validate_device_claim(struct field_errors *errs, const struct field_path *path,
                           const struct resource_v1_device_claim *c)
{
    const struct field_path *requests = PATH(path, "requests"),
                            *constraints = PATH(path, "constraints"),
                            *config = PATH(path, "config");
    if (check_device_count(errs, requests, c->requests_count, DEVICE_REQUESTS_MAX)) {
        struct str *names = ARENA_ARRAY(errs->arena, struct str, c->requests_count);
        for (size_t i = 0; i < c->requests_count; i++) {
            names[i] = c->requests[i].name;
            check_request(errs, PATH_INDEX(requests, i), &c->requests[i]);
        }
        check_device_doubles(errs, requests, names, c->requests_count);
    }
    if (check_device_count(errs, constraints, c->constraints_count, CONSTRAINTS_MAX))
        for (size_t i = 0; i < c->constraints_count; i++)
            check_constraint(errs, PATH_INDEX(constraints, i), c, &c->constraints[i]);
    if (check_device_count(errs, config, c->config_count, DEVICE_CONFIG_MAX))
        for (size_t i = 0; i < c->config_count; i++) {
            const struct field_path *at = PATH_INDEX(config, i);
            check_device_request_refs(errs, PATH(at, "requests"), c, c->config[i].requests,
                                      c->config[i].requests_count);
            check_device_configuration(errs, at, &c->config[i].device_configuration);
        }
}

/* --- access for administrators ---------------------------------------------------------------- */

void check_admin_namespace(const struct kind_ctx *ctx, struct field_errors *errs,
                           const struct field_path *path)
{
    const struct core_v1_namespace *n =
        kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_);
    const struct str *label =
        n == NULL ? NULL
                  : api_str_map_get(n->metadata.labels, n->metadata.labels_count, STR(ADMIN_LABEL));
    if (label == NULL || !str_eqc(*label, "true"))
        field_forbidden(errs, path,
                        "admin access to devices requires the `%s: true` label on the containing "
                        "namespace",
                        ADMIN_LABEL);
}

void check_admin_requests(const struct kind_ctx *ctx, struct field_errors *errs,
                          const struct resource_v1_device_claim *c)
{
    for (size_t i = 0; i < c->requests_count; i++) {
        const struct resource_v1_exact_device_request *r = c->requests[i].exactly;
        if (r == NULL || !r->has_admin_access || !r->admin_access)
            continue;
        const struct field_path *list = PATH(PATH(PATH(PATH_ROOT, "spec"), "devices"), "requests");
        check_admin_namespace(ctx, errs, PATH(PATH_INDEX(list, i), "adminAccess"));
        return;
    }
}
