/* flowschemas.c - FlowSchema: which requests go to which priority level. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/flow_objects.h"
#include "apiserver/kinds/rules.h"
#include "api/flowcontrol_v1.h"
#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"

#define PRECEDENCE_DEFAULT 1000
#define PRECEDENCE_MAX 10000

static void set_defaults(const struct kind_ctx *ctx, void *obj)
{
    UNUSED(ctx);
    struct flowcontrol_v1_flow_schema_spec *s = &((struct flowcontrol_v1_flow_schema *)obj)->spec;
    if (s->matching_precedence == 0)
        s->matching_precedence = PRECEDENCE_DEFAULT;
}

/* Of the part that the subject's kind wants. */
static void check_names(struct field_errors *errs, const struct field_path *at,
                        const struct flowcontrol_v1_subject *s)
{
    if (str_eqc(s->kind, "User") && s->user != NULL && str_empty(s->user->name))
        field_required(errs, PATH(PATH(at, "user"), "name"), NULL);
    if (str_eqc(s->kind, "Group") && s->group != NULL && str_empty(s->group->name))
        field_required(errs, PATH(PATH(at, "group"), "name"), NULL);
    if (!str_eqc(s->kind, "ServiceAccount") || s->service_account == NULL)
        return;
    const struct field_path *account = PATH(at, "serviceAccount");
    if (str_empty(s->service_account->name))
        field_required(errs, PATH(account, "name"), NULL);
    else if (!str_eqc(s->service_account->name, "*"))
        validate_form(errs, PATH(account, "name"), s->service_account->name,
                      api_check_dns_subdomain);
    if (str_empty(s->service_account->namespace))
        field_required(errs, PATH(account, "namespace"),
                       "must specify namespace for service account");
    else
        validate_form(errs, PATH(account, "namespace"), s->service_account->namespace,
                      api_check_dns_label);
}

static void check_subject(struct field_errors *errs, const struct field_path *at,
                          const struct flowcontrol_v1_subject *s)
{
    static const char *const kinds[] = {"Group", "ServiceAccount", "User", NULL};
    const struct {
        const char *kind, *field;
        bool given;
    } parts[] = {{"ServiceAccount", "serviceAccount", s->service_account != NULL},
                 {"User", "user", s->user != NULL},
                 {"Group", "group", s->group != NULL}};
    if (!is_listed(s->kind, kinds)) {
        field_not_supported(errs, PATH(at, "kind"), s->kind, kinds);
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (str_eqc(s->kind, parts[i].kind) && !parts[i].given)
            field_required(errs, PATH(at, parts[i].field),
                           "%s is required when subject kind is '%s'", parts[i].field,
                           parts[i].kind);
    check_names(errs, at, s);
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++)
        if (!str_eqc(s->kind, parts[i].kind) && parts[i].given)
            field_forbidden(errs, PATH(at, parts[i].field),
                            "%s is forbidden when subject kind is not '%s'", parts[i].field,
                            parts[i].kind);
}

/* At least one, and '*' alone; true: neither fault nor '*'. */
static bool check_list(struct field_errors *errs, const struct field_path *path,
                       const struct str *list, size_t count, const char *missing,
                       const char *others)
{
    bool all = list_has(list, count, "*");
    if (count == 0)
        field_required(errs, path, "%s", missing);
    else if (count > 1 && all)
        field_invalid_raw(errs, path, field_strings_render(errs->arena, list, count),
                          "if '*' is present, must not specify other %s", others);
    return count != 0 && !all;
}

static void check_verbs(struct field_errors *errs, const struct field_path *path,
                        const struct str *list, size_t count)
{
    static const char *const verbs[] = {"create", "delete", "deletecollection", "get",   "list",
                                        "patch",  "proxy",  "update",           "watch", NULL};
    if (!check_list(errs, path, list, count, "verbs must contain at least one value", "verbs"))
        return;
    for (size_t i = 0; i < count; i++)
        if (!is_listed(list[i], verbs)) {
            field_not_supported_raw(errs, path, field_strings_render(errs->arena, list, count),
                                    verbs);
            return;
        }
}

static void check_url(struct field_errors *errs, const struct field_path *path, struct str url)
{
    size_t stars = 0;
    for (size_t i = 0; i < url.len; i++)
        stars += url.data[i] == '*';
    const char *why = NULL;
    if (str_empty(url))
        why = "must not be empty";
    else if (str_eqc(url, "/"))
        return;
    else if (url.data[0] != '/')
        why = "must start with slash";
    else if (str_find(url, ' ', 0) >= 0)
        why = "must not contain white-space";
    else if (str_find_str(url, STR("//")) >= 0)
        why = "must not contain double slash";
    else if (stars > 1 || (stars == 1 && !str_has_suffix(url, STR("/*"))))
        why = "wildcard can only do suffix matching";
    if (why != NULL)
        field_invalid(errs, path, url, "%s", why);
}

static void check_namespaces(struct field_errors *errs, const struct field_path *path,
                             const struct flowcontrol_v1_resource_policy_rule *p)
{
    if (p->namespaces_count == 0 && p->cluster_scope)
        return;
    if (!check_list(errs, path, p->namespaces, p->namespaces_count,
                    "resource rules that are not cluster scoped must supply at least one namespace",
                    "namespaces"))
        return;
    for (size_t i = 0; i < p->namespaces_count; i++) {
        struct api_faults f = api_check_dns_label(p->namespaces[i]);
        for (size_t k = 0; k < f.count; k++)
            field_invalid(errs, PATH_INDEX(path, i), p->namespaces[i],
                          "each member of this list must be '*' or a DNS-1123 label; %s",
                          f.items[k]);
    }
}

static void check_rule(struct field_errors *errs, const struct field_path *at,
                       const struct flowcontrol_v1_policy_rules_with_subjects *r)
{
    if (r->subjects_count == 0)
        field_required(errs, PATH(at, "subjects"), "subjects must contain at least one value");
    for (size_t i = 0; i < r->subjects_count; i++)
        check_subject(errs, PATH_INDEX(PATH(at, "subjects"), i), &r->subjects[i]);
    if (r->resource_rules_count == 0 && r->non_resource_rules_count == 0)
        field_required(errs, at,
                       "at least one of resourceRules and nonResourceRules has to be non-empty");
    for (size_t i = 0; i < r->resource_rules_count; i++) {
        const struct flowcontrol_v1_resource_policy_rule *p = &r->resource_rules[i];
        const struct field_path *rule = PATH_INDEX(PATH(at, "resourceRules"), i);
        check_verbs(errs, PATH(rule, "verbs"), p->verbs, p->verbs_count);
        check_list(errs, PATH(rule, "apiGroups"), p->api_groups, p->api_groups_count,
                   "resource rules must supply at least one api group", "api groups");
        check_list(errs, PATH(rule, "resources"), p->resources, p->resources_count,
                   "resource rules must supply at least one resource", "resources");
        check_namespaces(errs, PATH(rule, "namespaces"), p);
    }
    for (size_t i = 0; i < r->non_resource_rules_count; i++) {
        const struct flowcontrol_v1_non_resource_policy_rule *p = &r->non_resource_rules[i];
        const struct field_path *rule = PATH_INDEX(PATH(at, "nonResourceRules"), i);
        const struct field_path *urls = PATH(rule, "nonResourceURLs");
        check_verbs(errs, PATH(rule, "verbs"), p->verbs, p->verbs_count);
        if (check_list(errs, urls, p->non_resource_urls, p->non_resource_urls_count,
                       "nonResourceURLs must contain at least one value", "non-resource URLs"))
            for (size_t k = 0; k < p->non_resource_urls_count; k++)
                check_url(errs, PATH_INDEX(urls, k), p->non_resource_urls[k]);
    }
}

static void check_status(struct field_errors *errs, const struct flowcontrol_v1_flow_schema *f)
{
    validate_condition_types(errs, PATH(PATH(PATH_ROOT, "status"), "conditions"),
                             f->status.conditions, f->status.conditions_count,
                             sizeof(struct flowcontrol_v1_flow_schema_condition),
                             offsetof(struct flowcontrol_v1_flow_schema_condition, type));
}

static void validate_create(const struct kind_ctx *ctx, const void *obj, struct field_errors *errs)
{
    UNUSED(ctx);
    static const char *const methods[] = {"ByNamespace", "ByUser", NULL};
    const struct flowcontrol_v1_flow_schema *f = obj;
    const struct flowcontrol_v1_flow_schema_spec *s = &f->spec;
    const struct field_path *spec = PATH(PATH_ROOT, "spec");
    const struct field_path *level = PATH(PATH(spec, "priorityLevelConfiguration"), "name");
    if (s->matching_precedence <= 0)
        field_invalid_int(errs, PATH(spec, "matchingPrecedence"), s->matching_precedence,
                          "must be a positive value");
    if (s->matching_precedence > PRECEDENCE_MAX)
        field_invalid_int(errs, PATH(spec, "matchingPrecedence"), s->matching_precedence,
                          "must not be greater than %d", PRECEDENCE_MAX);
    if (s->matching_precedence == 1 && !str_eqc(f->metadata.name, "exempt"))
        field_invalid_int(errs, PATH(spec, "matchingPrecedence"), 1,
                          "only the schema named 'exempt' may have matchingPrecedence 1");
    if (s->distinguisher_method != NULL && !is_listed(s->distinguisher_method->type, methods))
        field_not_supported_raw(errs, PATH(PATH(spec, "distinguisherMethod"), "type"),
                                field_value_render(errs->arena,
                                                   &flowcontrol_v1_flow_distinguisher_method_msg,
                                                   s->distinguisher_method),
                                methods);
    if (str_empty(s->priority_level_configuration.name))
        field_required(errs, level, "must reference a priority level");
    else
        validate_form(errs, level, s->priority_level_configuration.name, api_check_dns_subdomain);
    for (size_t i = 0; i < s->rules_count; i++)
        check_rule(errs, PATH_INDEX(PATH(spec, "rules"), i), &s->rules[i]);
    const struct flowcontrol_v1_flow_schema *fixed = flow_mandatory_object(
        errs->arena, &flowcontrol_v1_flow_schema_msg, false, f->metadata.name);
    if (fixed != NULL && !api_msg_equal(&flowcontrol_v1_flow_schema_spec_msg, s, &fixed->spec))
        field_invalid_msg(errs, spec, &flowcontrol_v1_flow_schema_spec_msg, s,
                          "spec of '" STR_FMT "' must equal the fixed value",
                          STR_ARG(f->metadata.name));
    check_status(errs, f);
}

static void validate_status(const struct kind_ctx *ctx, const void *obj, const void *old,
                            struct field_errors *errs)
{
    UNUSED(ctx);
    UNUSED(old);
    check_status(errs, obj);
}

static const struct kind_sub subs[] = {{"status", NULL, validate_status}, {0}};

static const struct table_column columns[] = {
    {"Name", "string", "name", "", 0},
    {"PriorityLevel", "string", "", "Where matching requests go.", 0},
    {"MatchingPrecedence", "string", "", "The lower, the sooner it is tried.", 0},
    {"DistinguisherMethod", "string", "", "What tells flows apart.", 0},
    {"Age", "string", "", "", 0},
    {"MissingPL", "string", "", "Whether its priority level is missing.", 0},
    {0},
};

static void row(struct table_row *r, const void *obj)
{
    const struct flowcontrol_v1_flow_schema *f = obj;
    struct str missing = STR("?");
    for (size_t i = 0; i < f->status.conditions_count; i++)
        if (str_eqc(f->status.conditions[i].type, "Dangling"))
            missing = f->status.conditions[i].status;
    cell_str(r, f->metadata.name);
    cell_str(r, f->spec.priority_level_configuration.name);
    cell_int(r, f->spec.matching_precedence);
    cell_str(r, f->spec.distinguisher_method != NULL ? f->spec.distinguisher_method->type
                                                     : STR("<none>"));
    cell_age(r, &f->metadata.creation_timestamp);
    cell_str(r, missing);
}

const struct kind_ops kind_flowschemas = {
    .group = "flowcontrol.apiserver.k8s.io",
    .version = "v1",
    .resource = "flowschemas",
    .flags = KIND_STATUS | KIND_GENERATION,
    .default_ = set_defaults,
    .validate_create = validate_create,
    .validate_update = kind_validate_as_new,
    .subs = subs,
    .columns = columns,
    .row = row,
};
