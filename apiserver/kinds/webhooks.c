/* webhooks.c - see webhooks.h. Pure. */
#include "apiserver/kinds/webhooks.h"

#include "apiserver/admission/policy_env.h"

#include "apiserver/kind.h"
#include "apiserver/kinds/defaults.h"
#include "apiserver/kinds/volume_sources.h"
#include "api/admissionregistration_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#define TIMEOUT_DEFAULT_S 10
#define CONDITIONS_MAX 64
#define STATIC_SUFFIX ".static.k8s.io"

/* --- defaults -------------------------------------------------------------------------------- */

static void default_selector(struct arena *a, struct meta_v1_label_selector **s)
{
    if (*s == NULL)
        *s = ARENA_NEW(a, struct meta_v1_label_selector);
}

static void webhook_defaults(struct arena *a, const struct webhook_view *w)
{
    default_opt_str(w->has_failure_policy, w->failure_policy, STR("Fail"));
    default_opt_str(w->has_match_policy, w->match_policy, STR("Equivalent"));
    default_selector(a, w->namespace_selector);
    default_selector(a, w->object_selector);
    default_opt_int(w->has_timeout, w->timeout, TIMEOUT_DEFAULT_S);
    for (size_t i = 0; i < w->rules_count; i++)
        default_opt_str(&w->rules[i].rule.has_scope, &w->rules[i].rule.scope, STR("*"));
    struct admissionregistration_v1_service_reference *s = w->client->service;
    if (s != NULL)
        default_opt_int(&s->has_port, &s->port, 443);
    if (w->has_reinvocation != NULL)
        default_opt_str(w->has_reinvocation, w->reinvocation_policy, STR("Never"));
}

void webhooks_defaults(struct arena *a, const struct webhook_view *w, size_t count)
{
    for (size_t i = 0; i < count; i++)
        webhook_defaults(a, &w[i]);
}

void default_match_resources(struct arena *a, struct admissionregistration_v1_match_resources *m)
{
    default_opt_str(&m->has_match_policy, &m->match_policy, STR("Equivalent"));
    default_selector(a, &m->namespace_selector);
    default_selector(a, &m->object_selector);
    for (size_t i = 0; i < m->resource_rules_count; i++)
        default_opt_str(&m->resource_rules[i].rule_with_operations.rule.has_scope,
                        &m->resource_rules[i].rule_with_operations.rule.scope, STR("*"));
    for (size_t i = 0; i < m->exclude_resource_rules_count; i++)
        default_opt_str(&m->exclude_resource_rules[i].rule_with_operations.rule.has_scope,
                        &m->exclude_resource_rules[i].rule_with_operations.rule.scope, STR("*"));
}

/* --- rules -------------------------------------------------------------------------------------
 */

/* A list of at least one, where '*' stands alone. */
static void check_list(struct field_errors *errs, const struct field_path *path,
                       const struct str *list, size_t count, const char *others)
{
    if (count == 0)
        field_required(errs, path, NULL);
    if (count > 1 && list_has(list, count, "*"))
        field_invalid_raw(errs, path, field_strings_render(errs->arena, list, count),
                          "if '*' is present, must not specify other %s", others);
}

/* Of the entries before i, one that takes in all subresources of res or all resources of sub. */
static void check_covered(struct field_errors *errs, const struct field_path *path,
                          const struct admissionregistration_v1_rule *r, size_t i, struct str res,
                          struct str sub)
{
    bool all_subs = false, all_resources = false;
    for (size_t j = 0; j < i; j++) {
        struct str x, y;
        if (!str_cut(r->resources[j], '/', &x, &y))
            continue;
        all_subs = all_subs || (str_eq(x, res) && str_eqc(y, "*"));
        all_resources = all_resources || (str_eqc(x, "*") && str_eq(y, sub));
    }
    if (all_subs)
        field_invalid(errs, PATH_INDEX(path, i), r->resources[i],
                      "if '" STR_FMT "/*' is present, must not specify " STR_FMT, STR_ARG(res),
                      STR_ARG(r->resources[i]));
    if (all_resources)
        field_invalid(errs, PATH_INDEX(path, i), r->resources[i],
                      "if '*/" STR_FMT "' is present, must not specify " STR_FMT, STR_ARG(sub),
                      STR_ARG(r->resources[i]));
}

static void check_resources(struct field_errors *errs, const struct field_path *path,
                            const struct admissionregistration_v1_rule *r)
{
    bool all = false, all_plain = false, plain = false;
    if (r->resources_count == 0)
        field_required(errs, path, NULL);
    for (size_t i = 0; i < r->resources_count; i++) {
        struct str res, sub;
        if (str_empty(r->resources[i])) {
            field_required(errs, PATH_INDEX(path, i), NULL);
            continue;
        }
        all = all || str_eqc(r->resources[i], "*/*");
        all_plain = all_plain || str_eqc(r->resources[i], "*");
        if (str_cut(r->resources[i], '/', &res, &sub))
            check_covered(errs, path, r, i, res, sub);
        else
            plain = !str_eqc(r->resources[i], "*"); /* The last one counts, as upstream. */
    }
    if (all && r->resources_count > 1)
        field_invalid_raw(errs, path,
                          field_strings_render(errs->arena, r->resources, r->resources_count),
                          "if '*/*' is present, must not specify other resources");
    if (all_plain && plain)
        field_invalid_raw(
            errs, path, field_strings_render(errs->arena, r->resources, r->resources_count),
            "if '*' is present, must not specify other resources without subresources");
}

static void check_rule(struct field_errors *errs, const struct field_path *at,
                       const struct admissionregistration_v1_rule_with_operations *r)
{
    static const char *const operations[] = {"*", "CONNECT", "CREATE", "DELETE", "UPDATE", NULL};
    static const char *const scopes[] = {"*", "Cluster", "Namespaced", NULL};
    check_list(errs, PATH(at, "operations"), r->operations, r->operations_count, "operations");
    for (size_t i = 0; i < r->operations_count; i++)
        validate_listed(errs, PATH_INDEX(PATH(at, "operations"), i), r->operations[i], operations);
    check_list(errs, PATH(at, "apiGroups"), r->rule.api_groups, r->rule.api_groups_count,
               "API groups");
    check_list(errs, PATH(at, "apiVersions"), r->rule.api_versions, r->rule.api_versions_count,
               "API versions");
    for (size_t i = 0; i < r->rule.api_versions_count; i++)
        if (str_empty(r->rule.api_versions[i]))
            field_required(errs, PATH_INDEX(PATH(at, "apiVersions"), i), NULL);
    check_resources(errs, PATH(at, "resources"), &r->rule);
    if (r->rule.has_scope)
        validate_listed(errs, PATH(at, "scope"), r->rule.scope, scopes);
}

/* --- clients
 * -------------------------------------------------------------------------------------- */

void webhooks_check_url(struct field_errors *errs, const struct field_path *path, struct str url)
{
    static const char form[] = "desired format: https://host[/path]";
    ptrdiff_t colon = str_find_str(url, STR("://"));
    struct str scheme = colon > 0 ? str_sub(url, 0, (size_t)colon) : STR_NULL;
    struct str rest = colon > 0 ? str_sub(url, (size_t)colon + 3, url.len) : STR_NULL, host, tail;
    if (!str_eqc(scheme, "https"))
        field_invalid(errs, path, scheme, "'https' is the only allowed URL scheme; %s", form);
    str_cut(rest, '/', &host, &tail);
    ptrdiff_t user = str_find(host, '@', 0);
    if (user >= 0 ? (size_t)user + 1 == host.len : str_empty(host))
        field_invalid(errs, path, STR(""), "host must be specified; %s", form);
    if (user >= 0)
        field_invalid(errs, path, str_sub(host, 0, (size_t)user),
                      "user information is not permitted in the URL");
    if (str_find(rest, '#', 0) >= 0)
        field_invalid(errs, path, str_sub(rest, (size_t)str_find(rest, '#', 0) + 1, rest.len),
                      "fragments are not permitted in the URL");
    if (str_find(rest, '?', 0) >= 0)
        field_invalid(errs, path, str_sub(rest, (size_t)str_find(rest, '?', 0) + 1, rest.len),
                      "query parameters are not permitted in the URL");
}

void webhooks_check_service(struct field_errors *errs, const struct field_path *path, struct str ns,
                            struct str name, int32_t port)
{
    /* Upstream mixes these two up. */
    if (str_empty(ns))
        field_required(errs, PATH(path, "name"), NULL);
    if (str_empty(name))
        field_required(errs, PATH(path, "namespace"), NULL);
    if (port < 1 || port > 65535)
        field_invalid_int(errs, PATH(path, "port"), port,
                          "port is not valid: must be between 1 and 65535, inclusive");
}

void webhooks_check_path(struct field_errors *errs, const struct field_path *path, struct str given)
{
    if (given.len == 0 || str_eqc(given, "/"))
        return;
    if (str_eqc(given, "//")) {
        field_invalid(errs, path, given, "segment[0] may not be empty");
        return;
    }
    if (given.data[0] != '/')
        field_invalid(errs, path, given, "must start with a '/'");
    struct str rest = str_sub(given, 1, given.len - (given.data[given.len - 1] == '/')), step;
    bool more = true;
    for (unsigned i = 0; more; i++) {
        more = str_cut(rest, '/', &step, &rest);
        if (step.len == 0)
            field_invalid(errs, path, given, "segment[%u] may not be empty", i);
        struct api_faults f = api_check_dns_subdomain(step);
        for (size_t k = 0; step.len != 0 && k < f.count; k++)
            field_invalid(errs, path, given, "segment[%u]: %s", i, f.items[k]);
    }
}

static void check_client(struct field_errors *errs, const struct field_path *path,
                         const struct admissionregistration_v1_webhook_client_config *c)
{
    const struct admissionregistration_v1_service_reference *s = c->service;
    const struct field_path *service = PATH(path, "service");
    if (c->has_url == (s != NULL)) {
        field_required(errs, path, "exactly one of url or service is required");
        return;
    }
    if (c->has_url) {
        webhooks_check_url(errs, PATH(path, "url"), c->url);
        return;
    }
    webhooks_check_service(errs, service, s->namespace, s->name, s->port);
    if (s->has_path)
        webhooks_check_path(errs, PATH(service, "path"), s->path);
}

/* --- webhooks
 * --------------------------------------------------------------------------------------- */

/* All faults of a value in one cause. */
static void faults_joined(struct field_errors *errs, const struct field_path *path,
                          struct str value, const char *before, struct api_faults f)
{
    AUTO_BUF b = BUF_INIT;
    for (size_t i = 0; i < f.count; i++)
        buf_printf(&b, "%s%s", i == 0 ? before : ",", f.items[i]);
    if (f.count != 0)
        field_invalid(errs, path, value, STR_FMT, STR_ARG(buf_str(&b)));
}

static void check_name(struct field_errors *errs, const struct field_path *path, struct str name)
{
    size_t dots = 0;
    if (str_empty(name)) {
        field_required(errs, path, NULL);
        return;
    }
    struct api_faults f = api_check_dns_subdomain(name);
    faults_joined(errs, path, name, "", f);
    for (size_t i = 0; i < name.len; i++)
        dots += name.data[i] == '.';
    if (f.count == 0 && dots < 2)
        field_invalid(errs, path, name,
                      "should be a domain with at least three segments separated by dots");
}

static void check_versions(struct field_errors *errs, const struct field_path *path,
                           const struct str *v, size_t count)
{
    bool known = false;
    if (count == 0) {
        field_required(errs, path, "must specify one of v1, v1beta1");
        return;
    }
    for (size_t i = 0; i < count; i++) {
        bool doubled = false;
        for (size_t j = 0; j < i; j++)
            doubled = doubled || str_eq(v[j], v[i]);
        if (doubled)
            field_invalid(errs, PATH_INDEX(path, i), v[i], "duplicate version");
        else
            validate_form(errs, PATH_INDEX(path, i), v[i], api_check_dns1035_label);
        known = known || str_eqc(v[i], "v1") || str_eqc(v[i], "v1beta1");
    }
    if (!known)
        field_invalid_raw(errs, path, field_strings_render(errs->arena, v, count),
                          "must include at least one of v1, v1beta1");
}

void validate_match_conditions(struct field_errors *errs, const struct field_path *path,
                               struct policy_env *env,
                               const struct admissionregistration_v1_match_condition *c,
                               size_t count)
{
    if (count > CONDITIONS_MAX)
        field_too_many(errs, path, (int64_t)count, CONDITIONS_MAX);
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        if (str_empty(str_trim(c[i].expression)))
            field_required(errs, PATH(at, "expression"), NULL);
        else
            policy_check(env, errs, PATH(at, "expression"), c[i].expression, POLICY_BOOL);
        if (str_empty(c[i].name)) {
            field_required(errs, PATH(at, "name"), NULL);
            continue;
        }
        validate_qualified_name(errs, PATH(at, "name"), c[i].name);
        for (size_t j = 0; j < i; j++)
            if (str_eq(c[j].name, c[i].name)) {
                field_duplicate(errs, PATH(at, "name"), c[i].name);
                break;
            }
    }
}

static void check_webhook(struct field_errors *errs, const struct field_path *at,
                          const struct webhook_view *w)
{
    static const char *const failures[] = {"Fail", "Ignore", NULL};
    static const char *const matches[] = {"Equivalent", "Exact", NULL};
    static const char *const effects[] = {"None", "NoneOnDryRun", NULL};
    static const char *const reinvocations[] = {"IfNeeded", "Never", NULL};
    check_name(errs, PATH(at, "name"), w->name);
    for (size_t i = 0; i < w->rules_count; i++)
        check_rule(errs, PATH_INDEX(PATH(at, "rules"), i), &w->rules[i]);
    if (*w->has_failure_policy)
        validate_listed(errs, PATH(at, "failurePolicy"), *w->failure_policy, failures);
    if (*w->has_match_policy)
        validate_listed(errs, PATH(at, "matchPolicy"), *w->match_policy, matches);
    if (!*w->has_side_effects)
        field_required(errs, PATH(at, "sideEffects"), "must specify one of None, NoneOnDryRun");
    else
        validate_listed(errs, PATH(at, "sideEffects"), *w->side_effects, effects);
    if (*w->has_timeout && (*w->timeout < 1 || *w->timeout > 30))
        field_invalid_int(errs, PATH(at, "timeoutSeconds"), *w->timeout,
                          "the timeout value must be between 1 and 30 seconds");
    validate_label_selector(errs, PATH(at, "namespaceSelector"), *w->namespace_selector);
    validate_label_selector(errs, PATH(at, "objectSelector"), *w->object_selector);
    if (w->has_reinvocation != NULL && *w->has_reinvocation)
        validate_listed(errs, PATH(at, "reinvocationPolicy"), *w->reinvocation_policy,
                        reinvocations);
    check_client(errs, PATH(at, "clientConfig"), w->client);
    const struct policy_env_config plain = {0};
    if (w->conditions_count != 0)
        validate_match_conditions(errs, PATH(at, "matchConditions"),
                                  policy_env_new(errs->arena, &plain), w->conditions,
                                  w->conditions_count);
    check_versions(errs, PATH(at, "admissionReviewVersions"), w->versions, w->versions_count);
}

void webhooks_validate(struct field_errors *errs, const struct webhook_view *w, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(PATH_ROOT, "webhooks"), i);
        check_webhook(errs, at, &w[i]);
        for (size_t j = 0; j < i; j++)
            if (!str_empty(w[i].name) && str_eq(w[j].name, w[i].name)) {
                field_duplicate(errs, PATH(at, "name"), w[i].name);
                break;
            }
    }
}

bool webhooks_equal(const struct api_msg *m, const void *x, size_t x_count, const void *y,
                    size_t y_count)
{
    const char *a = x, *b = y;
    bool same = x_count == y_count;
    for (size_t i = 0; same && i < x_count; i++)
        same = api_msg_equal(m, a + i * m->size, b + i * m->size);
    return same;
}

const struct table_column webhooks_columns[] = {
    {"Name", "string", "name", "", 0},
    {"Webhooks", "integer", "", "How many there are.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

void webhooks_row(struct table_row *r, const struct meta_v1_object_meta *m, size_t count)
{
    cell_str(r, m->name);
    cell_int(r, (int64_t)count);
    cell_age(r, &m->creation_timestamp);
}

/* --- policies
 * ------------------------------------------------------------------------------------------- */

static void check_named_rules(struct field_errors *errs, const struct field_path *path,
                              const struct admissionregistration_v1_named_rule_with_operations *r,
                              size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        for (size_t j = 0; j < r[i].resource_names_count; j++) {
            const struct field_path *name = PATH_INDEX(PATH(at, "resourceNames"), j);
            name_path_segment(errs, name, r[i].resource_names[j], false);
            for (size_t k = 0; k < j; k++)
                if (str_eq(r[i].resource_names[k], r[i].resource_names[j]))
                    field_duplicate(errs, name, r[i].resource_names[j]);
        }
        check_rule(errs, at, &r[i].rule_with_operations);
    }
}

void validate_match_resources(struct field_errors *errs, const struct field_path *path,
                              const struct admissionregistration_v1_match_resources *m,
                              bool rules_required)
{
    static const char *const matches[] = {"Equivalent", "Exact", NULL};
    if (m == NULL) {
        if (rules_required)
            field_required(errs, path, NULL);
        return;
    }
    if (m->has_match_policy)
        validate_listed(errs, PATH(path, "matchPolicy"), m->match_policy, matches);
    else
        field_required(errs, PATH(path, "matchPolicy"), NULL);
    validate_label_selector(errs, PATH(path, "namespaceSelector"), m->namespace_selector);
    validate_label_selector(errs, PATH(path, "objectSelector"), m->object_selector);
    check_named_rules(errs, PATH(path, "resourceRules"), m->resource_rules,
                      m->resource_rules_count);
    check_named_rules(errs, PATH(path, "excludeResourceRules"), m->exclude_resource_rules,
                      m->exclude_resource_rules_count);
    if (rules_required && m->resource_rules_count == 0)
        field_required(errs, PATH(path, "resourceRules"), NULL);
}

static bool is_cel_identifier(struct str s)
{
    static const char *const reserved[] = {
        "true",      "false",  "null",     "in",   "as",     "break", "const", "continue",
        "else",      "for",    "function", "if",   "import", "let",   "loop",  "package",
        "namespace", "return", "var",      "void", "while",  NULL};
    return api_check_c_identifier(s).count == 0 && !is_listed(s, reserved);
}

void validate_variables(struct field_errors *errs, const struct field_path *path,
                        struct policy_env *env, const struct admissionregistration_v1_variable *v,
                        size_t count)
{
    for (size_t i = 0; i < count; i++) {
        const struct field_path *at = PATH_INDEX(path, i);
        if (str_empty(v[i].name))
            field_required(errs, PATH(at, "name"), "name is not specified");
        else if (!is_cel_identifier(v[i].name))
            field_invalid(errs, PATH(at, "name"), v[i].name, "must be a valid CEL identifier");
        if (str_empty(str_trim(v[i].expression))) {
            field_required(errs, PATH(at, "expression"), "expression is not specified");
        } else {
            policy_check(env, errs, PATH(at, "expression"), v[i].expression, POLICY_ANY);
            struct str why;
            policy_add_variable(env, v[i].name, v[i].expression, &why);
        }
        for (size_t j = 0; j < i; j++)
            if (!str_empty(v[i].name) && str_eq(v[j].name, v[i].name)) {
                field_duplicate(errs, PATH(at, "name"), v[i].name);
                break;
            }
    }
}

static void check_api_version(struct field_errors *errs, const struct field_path *path,
                              struct str text)
{
    struct str group = STR_NULL, version = text;
    if (str_empty(text)) {
        field_required(errs, path, NULL);
        return;
    }
    if (str_cut(text, '/', &group, &version)) {
        if (str_find(version, '/', 0) >= 0) {
            field_invalid(errs, path, text, "unexpected GroupVersion string: " STR_FMT,
                          STR_ARG(text));
            return;
        }
        if (!str_empty(group))
            faults_joined(errs, path, group, "", api_check_dns_subdomain(group));
    } else {
        version = text;
    }
    if (str_empty(version))
        field_invalid(errs, path, text, "version must be specified");
    else
        faults_joined(errs, path, version, "", api_check_dns1035_label(version));
}

void validate_param_kind(struct field_errors *errs, const struct field_path *path,
                         const struct admissionregistration_v1_param_kind *p)
{
    if (p == NULL)
        return;
    check_api_version(errs, PATH(path, "apiVersion"), p->api_version);
    if (str_empty(p->kind))
        field_required(errs, PATH(path, "kind"), NULL);
    else
        faults_joined(errs, PATH(path, "kind"), p->kind,
                      "may have mixed case, but should otherwise match: ",
                      api_check_dns1035_label(str_lowered(errs->arena, p->kind)));
}

static void check_param_ref(struct field_errors *errs, const struct field_path *path,
                            const struct admissionregistration_v1_param_ref *p)
{
    static const char *const actions[] = {"Deny", "Allow", NULL};
    if (p == NULL)
        return;
    if (!str_empty(p->name)) {
        name_path_segment(errs, PATH(path, "name"), p->name, false);
        if (p->selector != NULL)
            field_forbidden(errs, PATH(path, "name"), "name and selector are mutually exclusive");
    }
    validate_label_selector(errs, PATH(path, "selector"), p->selector);
    if (p->selector != NULL && !str_empty(p->name))
        field_forbidden(errs, PATH(path, "selector"), "name and selector are mutually exclusive");
    if (str_empty(p->name) && p->selector == NULL)
        field_required(errs, path, "one of name or selector must be specified");
    if (!p->has_parameter_not_found_action || str_empty(p->parameter_not_found_action))
        field_required(errs, PATH(path, "parameterNotFoundAction"), NULL);
    else
        validate_listed(errs, PATH(path, "parameterNotFoundAction"), p->parameter_not_found_action,
                        actions);
}

void validate_mutated_operations(struct field_errors *errs, const struct field_path *path,
                                 const struct admissionregistration_v1_match_resources *m)
{
    static const char *const operations[] = {"*", "CONNECT", "CREATE", "UPDATE", NULL};
    for (size_t i = 0; m != NULL && i < m->resource_rules_count; i++) {
        const struct admissionregistration_v1_rule_with_operations *r =
            &m->resource_rules[i].rule_with_operations;
        for (size_t k = 0; k < r->operations_count; k++)
            validate_listed(errs, PATH(PATH(path, "resourceRules"), "operations"), r->operations[k],
                            operations);
    }
}

void warn_static_name(const struct kind_ctx *ctx, const struct meta_v1_object_meta *m)
{
    if (str_has_suffix(m->name, STR(STATIC_SUFFIX)))
        kind_warn(ctx,
                  "metadata.name: names ending with \"%s\" are reserved for static "
                  "manifest-based configurations and cannot be managed via the API",
                  STATIC_SUFFIX);
}

void cell_param_kind(struct table_row *r, const struct admissionregistration_v1_param_kind *p)
{
    if (p == NULL)
        cell_strc(r, "<unset>");
    else
        cell_printf(r, STR_FMT "/" STR_FMT, STR_ARG(p->api_version), STR_ARG(p->kind));
}

static void cell_param_ref(struct table_row *r, const struct admissionregistration_v1_param_ref *p)
{
    if (p == NULL)
        cell_strc(r, "<unset>");
    else if (str_empty(p->name))
        cell_strc(r, "*");
    else if (str_empty(p->namespace))
        cell_printf(r, "*/" STR_FMT, STR_ARG(p->name));
    else
        cell_printf(r, STR_FMT "/" STR_FMT, STR_ARG(p->namespace), STR_ARG(p->name));
}

void validate_policy_binding(struct field_errors *errs, struct str policy_name,
                             const struct admissionregistration_v1_param_ref *p,
                             const struct admissionregistration_v1_match_resources *m)
{
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    require_form(errs, PATH(spec, "policyName"), policy_name, api_check_dns_subdomain);
    check_param_ref(errs, PATH(spec, "paramRef"), p);
    validate_match_resources(errs, PATH(spec, "matchResources"), m, false);
}

const struct table_column policy_binding_columns[] = {
    {"Name", "string", "name", "", 0},
    {"PolicyName", "string", "", "What counts.", 0},
    {"ParamRef", "string", "", "Its parameters.", 0},
    {"Age", "string", "", "", 0},
    {0},
};

void policy_binding_row(struct table_row *r, const struct meta_v1_object_meta *m,
                        struct str policy_name, const struct admissionregistration_v1_param_ref *p)
{
    cell_str(r, m->name);
    cell_str(r, policy_name);
    cell_param_ref(r, p);
    cell_age(r, &m->creation_timestamp);
}
