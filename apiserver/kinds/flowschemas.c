/* flowschemas.c - FlowSchema: which requests go to which priority level. */
#include "apiserver/kinds/kinds.h"

#include "apiserver/kinds/rules.h"
#include "api/flowcontrol_v1.h"
#include "api/meta_v1.h"
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
    for (size_t i = 0; i < ARRAY_SIZE(parts); i++) {
        bool wanted = str_eqc(s->kind, parts[i].kind);
        if (wanted && !parts[i].given)
            field_required(errs, PATH(at, parts[i].field),
                           "%s is required when subject kind is '%s'", parts[i].field,
                           parts[i].kind);
        if (!wanted && parts[i].given)
            field_forbidden(errs, PATH(at, parts[i].field),
                            "%s is forbidden when subject kind is not '%s'", parts[i].field,
                            parts[i].kind);
    }
    if (s->user != NULL && str_empty(s->user->name))
        field_required(errs, PATH(PATH(at, "user"), "name"), NULL);
    if (s->group != NULL && str_empty(s->group->name))
        field_required(errs, PATH(PATH(at, "group"), "name"), NULL);
    if (s->service_account == NULL)
        return;
    const struct field_path *account = PATH(at, "serviceAccount");
    if (str_empty(s->service_account->name))
        field_required(errs, PATH(account, "name"), NULL);
    else if (!str_eqc(s->service_account->name, "*"))
        validate_form(errs, PATH(account, "name"), s->service_account->name,
                      api_check_dns_subdomain);
    require_form(errs, PATH(account, "namespace"), s->service_account->namespace,
                 api_check_dns_label);
}

/* Verbs and the like: at least one, and '*' alone. */
static void check_list(struct field_errors *errs, const struct field_path *path,
                       const struct str *list, size_t count, const char *what)
{
    if (count == 0)
        field_required(errs, path, "%s must contain at least one value", what);
    else if (count > 1 && list_has(list, count, "*"))
        field_invalid_raw(errs, path, field_strings_render(errs->arena, list, count),
                          "if '*' is present, must not specify other %s", what);
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
        check_list(errs, PATH(rule, "verbs"), p->verbs, p->verbs_count, "verbs");
        check_list(errs, PATH(rule, "apiGroups"), p->api_groups, p->api_groups_count, "api groups");
        check_list(errs, PATH(rule, "resources"), p->resources, p->resources_count, "resources");
        if (p->namespaces_count == 0 && !p->cluster_scope)
            field_required(
                errs, PATH(rule, "namespaces"),
                "resource rules that are not cluster scoped must supply at least one namespace");
        else if (list_has(p->namespaces, p->namespaces_count, "*") && p->namespaces_count > 1)
            field_invalid_raw(errs, PATH(rule, "namespaces"),
                              field_strings_render(errs->arena, p->namespaces, p->namespaces_count),
                              "if '*' is present, must not specify other namespaces");
    }
    for (size_t i = 0; i < r->non_resource_rules_count; i++) {
        const struct flowcontrol_v1_non_resource_policy_rule *p = &r->non_resource_rules[i];
        const struct field_path *rule = PATH_INDEX(PATH(at, "nonResourceRules"), i);
        check_list(errs, PATH(rule, "verbs"), p->verbs, p->verbs_count, "verbs");
        check_list(errs, PATH(rule, "nonResourceURLs"), p->non_resource_urls,
                   p->non_resource_urls_count, "non-resource URLs");
    }
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
}

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
    .columns = columns,
    .row = row,
};
