/* policy_check.c - see policy_check.h. */
#include "controllers/policy_check.h"

#include "api/admissionregistration_v1.h"
#include "lib/api/cel/cel_admission.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

typedef struct admissionregistration_v1_validating_admission_policy_spec policy_spec;
typedef struct admissionregistration_v1_named_rule_with_operations policy_rule;

/* --- which kinds ---------------------------------------------------------------------------- */
static struct policy_version *version_of(struct policy_check *c, struct str group,
                                         struct str version)
{
    for (size_t i = 0; i < c->version_count; i++)
        if (str_eq(c->versions[i].group, group) && str_eq(c->versions[i].version, version))
            return &c->versions[i];
    return NULL;
}

static void add_version(struct policy_check *c, struct str group, struct str version)
{
    if (c->version_count == POLICY_VERSIONS_MAX || version_of(c, group, version) != NULL)
        return;
    c->versions =
        arena_grow(c->arena, c->versions, c->version_count, &c->version_cap, sizeof(*c->versions));
    c->versions[c->version_count++] = (struct policy_version){.group = group, .version = version};
}

static int by_text(const void *x, const void *y)
{
    return str_cmp(*(const struct str *)x, *(const struct str *)y);
}

static bool has_any(struct str s, const char *chars)
{
    for (size_t i = 0; i < s.len; i++)
        if (strchr(chars, s.data[i]) != NULL)
            return true;
    return false;
}

/* Sorted; none at all when one of them is a pattern. */
static size_t exact(struct arena *a, const struct str *names, size_t count, struct str **ret)
{
    *ret = ARENA_ARRAY(a, struct str, count + 1);
    for (size_t i = 0; i < count; i++) {
        if (has_any(names[i], "*"))
            return 0;
        (*ret)[i] = names[i];
    }
    qsort(*ret, count, sizeof(**ret), by_text);
    return count;
}

/* Sorted, without patterns and subresources. */
static size_t plain(struct arena *a, const struct str *names, size_t count, struct str **ret)
{
    size_t n = 0;
    *ret = ARENA_ARRAY(a, struct str, count + 1);
    for (size_t i = 0; i < count; i++)
        if (!has_any(names[i], "*/"))
            (*ret)[n++] = names[i];
    qsort(*ret, n, sizeof(**ret), by_text);
    return n;
}

static size_t rules_of(const struct policy_check *c, const policy_rule **ret)
{
    if (c->spec->match_constraints == NULL)
        return 0;
    *ret = c->spec->match_constraints->resource_rules;
    return c->spec->match_constraints->resource_rules_count;
}

/* What one rule names, in order. Zero of one: it is not checked. */
struct named {
    struct str *groups, *versions, *resources;
    size_t group_count, version_count, resource_count;
};

static struct named named_by(struct arena *a, const policy_rule *r)
{
    struct named n;
    const struct admissionregistration_v1_rule *rule = &r->rule_with_operations.rule;
    n.group_count = exact(a, rule->api_groups, rule->api_groups_count, &n.groups);
    n.version_count = exact(a, rule->api_versions, rule->api_versions_count, &n.versions);
    n.resource_count = plain(a, rule->resources, rule->resources_count, &n.resources);
    return n;
}

static bool params_version(const struct policy_check *c, struct str *ret_group,
                           struct str *ret_version)
{
    const struct admissionregistration_v1_param_kind *k = c->spec->param_kind;
    if (k == NULL)
        return false;
    ssize_t slash = str_find(k->api_version, '/', 0);
    *ret_group = slash < 0 ? STR("") : str_sub(k->api_version, 0, (size_t)slash);
    *ret_version =
        slash < 0 ? k->api_version : str_sub(k->api_version, (size_t)slash + 1, k->api_version.len);
    return true;
}

void policy_check_begin(struct policy_check *c)
{
    const policy_rule *rules = NULL;
    struct str group, version;
    size_t count = rules_of(c, &rules);
    if (params_version(c, &group, &version))
        add_version(c, group, version);
    for (size_t i = 0; i < count; i++) {
        struct named n = named_by(c->arena, &rules[i]);
        for (size_t g = 0; n.resource_count != 0 && g < n.group_count; g++)
            for (size_t v = 0; v < n.version_count; v++)
                add_version(c, n.groups[g], n.versions[v]);
    }
}

static struct str kind_of_resource(const struct policy_version *v, struct str resource)
{
    const struct json *list = json_getc(v->resources, "resources");
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++)
        if (str_eq(json_get_str(list->array.items[i], "name"), resource))
            return json_get_str(list->array.items[i], "kind");
    return STR_NULL;
}

static void add_kind(struct policy_check *c, struct policy_version *in, struct str kind)
{
    for (size_t i = 0; i < c->kind_count; i++)
        if (c->kinds[i].in == in && str_eq(c->kinds[i].kind, kind))
            return;
    c->kinds = arena_grow(c->arena, c->kinds, c->kind_count, &c->kind_cap, sizeof(*c->kinds));
    c->kinds[c->kind_count++] = (struct policy_kind){in, kind};
    in->used = true;
}

/* False: the rule has as many kinds as are looked at, and no further rules are either. */
static bool find_rule_kinds(struct policy_check *c, const struct named *n)
{
    size_t found = 0;
    for (size_t g = 0; g < n->group_count; g++)
        for (size_t v = 0; v < n->version_count; v++) {
            struct policy_version *in = version_of(c, n->groups[g], n->versions[v]);
            for (size_t r = 0; in != NULL && r < n->resource_count; r++) {
                struct str kind = kind_of_resource(in, n->resources[r]);
                if (str_empty(kind))
                    continue;
                add_kind(c, in, kind);
                if (++found == POLICY_KINDS_MAX)
                    return false;
            }
        }
    return true;
}

static int by_kind(const void *x, const void *y)
{
    const struct policy_kind *a = x, *b = y;
    int r = str_cmp(a->in->group, b->in->group);
    r = r != 0 ? r : str_cmp(a->in->version, b->in->version);
    return r != 0 ? r : str_cmp(a->kind, b->kind);
}

void policy_check_find_kinds(struct policy_check *c)
{
    const policy_rule *rules = NULL;
    struct str group, version;
    size_t count = rules_of(c, &rules);
    bool more = true;
    for (size_t i = 0; i < count && more; i++) {
        struct named n = named_by(c->arena, &rules[i]);
        more = find_rule_kinds(c, &n);
    }
    if (c->kind_count > 1)
        qsort(c->kinds, c->kind_count, sizeof(*c->kinds), by_kind);
    if (params_version(c, &group, &version) && (c->params = version_of(c, group, version)) != NULL)
        c->params->used = true;
}

struct str policy_version_path(struct arena *a, const struct policy_version *v)
{
    return str_empty(v->group) ? arena_printf(a, "/api/" STR_FMT, STR_ARG(v->version))
                               : arena_printf(a, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(v->group),
                                              STR_ARG(v->version));
}

/* --- what is wrong -----------------------------------------------------------------------------
 */
static bool is_kind(const struct json *schema, const struct policy_version *in, struct str kind)
{
    const struct json *list = json_getc(schema, "x-kubernetes-group-version-kind");
    for (size_t i = 0; list != NULL && list->type == JSON_ARRAY && i < list->array.count; i++) {
        const struct json *g = list->array.items[i];
        if (str_eq(json_get_str(g, "group"), in->group) &&
            str_eq(json_get_str(g, "version"), in->version) &&
            str_eq(json_get_str(g, "kind"), kind))
            return true;
    }
    return false;
}

static const struct json *schema_of(const struct policy_version *in, struct str kind)
{
    const struct json *all = in->definitions;
    for (size_t i = 0; all != NULL && all->type == JSON_OBJECT && i < all->object.count; i++)
        if (is_kind(all->object.members[i].value, in, kind))
            return all->object.members[i].value;
    return NULL;
}

/* dyn when its schema is not known. */
static const struct cel_type *type_of(struct arena *a, const struct policy_version *in,
                                      struct str kind)
{
    const struct json *schema = in != NULL ? schema_of(in, kind) : NULL;
    const struct cel_type *t =
        schema != NULL ? cel_openapi_type(a, in->definitions, schema, kind) : NULL;
    return t != NULL ? t : &cel_dyn;
}

/* The environment of one kind: its variables are compiled in it once. */
struct kind_env {
    const struct policy_kind *of;
    struct cel_env cel;
    struct cel_var vars[8];
};

#define NO_RUN(function) NULL
static const struct cel_function functions[] = CEL_ADMISSION_FUNCTIONS(NO_RUN);

static void add_variables(struct policy_check *c, struct kind_env *e, struct cel_type *t)
{
    struct cel_field *fields =
        ARENA_ARRAY(c->arena, struct cel_field, c->spec->variables_count + 1);
    t->fields = fields;
    for (size_t i = 0; i < c->spec->variables_count; i++) {
        struct cel_program *p;
        struct str why, name = c->spec->variables[i].name;
        const struct cel_type *type = &cel_dyn;
        if (cel_compile(c->arena, &e->cel, c->spec->variables[i].expression, &p, &why) == 0)
            type = cel_program_type(p);
        size_t at = t->field_count;
        for (; at > 0 && str_cmp(fields[at - 1].name, name) > 0; at--)
            fields[at] = fields[at - 1];
        fields[at] = (struct cel_field){name, name, type};
        t->field_count++;
    }
}

static void make_env(struct policy_check *c, struct kind_env *e, const struct policy_kind *k,
                     const struct cel_type *params)
{
    const struct cel_type *object = type_of(c->arena, k->in, k->kind);
    struct cel_type *variables = ARENA_NEW(c->arena, struct cel_type);
    size_t n = 0;
    *variables = (struct cel_type){.kind = CEL_OBJECT, .name = STR("kubernetes.variables")};
    e->of = k;
    e->vars[n++] = (struct cel_var){"object", object};
    e->vars[n++] = (struct cel_var){"oldObject", object};
    e->vars[n++] = (struct cel_var){"request", &cel_admission_request};
    e->vars[n++] = (struct cel_var){"namespaceObject", &cel_admission_namespace};
    e->vars[n++] = (struct cel_var){"authorizer", &cel_admission_authorizer};
    e->vars[n++] = (struct cel_var){"authorizer.requestResource", &cel_admission_resource_check};
    e->vars[n++] = (struct cel_var){"variables", variables};
    if (params != NULL)
        e->vars[n++] = (struct cel_var){"params", params};
    e->cel = (struct cel_env){.vars = e->vars,
                              .var_count = n,
                              .functions = functions,
                              .function_count = ARRAY_SIZE(functions)};
    add_variables(c, e, variables);
}

struct warnings {
    struct admissionregistration_v1_expression_warning *items;
    size_t count, cap;
};

static void check(struct policy_check *c, const struct kind_env *envs, size_t count,
                  struct str expression, size_t index, const char *field, struct warnings *w)
{
    AUTO_BUF text = BUF_INIT;
    for (size_t i = 0; i < count; i++) {
        struct cel_program *p;
        struct str why;
        const struct policy_kind *k = envs[i].of;
        if (cel_compile(c->arena, &envs[i].cel, expression, &p, &why) == 0)
            continue;
        buf_printf(&text, "%s" STR_FMT "/" STR_FMT ", Kind=" STR_FMT ": " STR_FMT "\n",
                   text.len != 0 ? "\n" : "", STR_ARG(k->in->group), STR_ARG(k->in->version),
                   STR_ARG(k->kind), STR_ARG(why));
    }
    if (text.len == 0)
        return;
    w->items = arena_grow(c->arena, w->items, w->count, &w->cap, sizeof(*w->items));
    w->items[w->count++] = (struct admissionregistration_v1_expression_warning){
        .field_ref = arena_printf(c->arena, "spec.validations[%zu].%s", index, field),
        .warning = arena_str(c->arena, buf_str(&text))};
}

size_t policy_check_warnings(struct policy_check *c,
                             struct admissionregistration_v1_expression_warning **ret)
{
    struct kind_env *envs = ARENA_ARRAY(c->arena, struct kind_env, c->kind_count + 1);
    const struct cel_type *params = c->spec->param_kind != NULL
                                        ? type_of(c->arena, c->params, c->spec->param_kind->kind)
                                        : NULL;
    struct warnings w = {0};
    size_t n = 0;
    for (size_t i = 0; i < c->kind_count; i++)
        if (schema_of(c->kinds[i].in, c->kinds[i].kind) != NULL)
            make_env(c, &envs[n++], &c->kinds[i], params);
    for (size_t i = 0; i < c->spec->validations_count; i++) {
        const struct admissionregistration_v1_validation *v = &c->spec->validations[i];
        check(c, envs, n, v->expression, i, "expression", &w);
        if (!str_empty(v->message_expression))
            check(c, envs, n, v->message_expression, i, "messageExpression", &w);
    }
    *ret = w.items;
    return w.count;
}
