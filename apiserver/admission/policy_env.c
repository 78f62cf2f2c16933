/* policy_env.c - the variables that expressions of admission see; see policy_env.h. */
#include "apiserver/admission/policy_env.h"

#include "api/admissionregistration_v1.h"
#include "apiserver/admission/policy_authorizer.h"
#include "apiserver/admission/policy_match.h"
#include "apiserver/registry.h"
#include "apiserver/user.h"
#include "lib/api/cel/cel_admission.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum {
    VAR_OBJECT,
    VAR_OLD,
    VAR_REQUEST,
    VAR_NAMESPACE,
    VAR_AUTHORIZER,
    VAR_REQUEST_RESOURCE,
    VAR_EXTRA,
    VAR_MAX = 8
};
static_assert((int)VAR_EXTRA == (int)POLICY_SHOWN_VARS, "shown variables");

struct policy_env {
    struct arena *arena;
    struct cel_env cel;
    struct cel_var vars[VAR_MAX];
    size_t params, variables;      /* Indexes in vars; SIZE_MAX: there is none. */
    unsigned uses;                 /* Bits of vars that some expression looks at. */
    struct cel_type *type;         /* Of `variables`. */
    struct cel_program **programs; /* Of the variables, in the order of type's fields. */
};

/* --- types ------------------------------------------------------------------------------ */
static const struct cel_field patch_fields[] = {
    CEL_FIELD("from", &cel_string), CEL_FIELD("op", &cel_string), CEL_FIELD("path", &cel_string),
    CEL_FIELD("value", &cel_dyn)};
static CEL_OBJECT_TYPE(patch_type, "JSONPatch", patch_fields);
static const struct cel_type object_type = {.kind = CEL_DYN, .name = {"Object", 6}};

static const struct cel_type *find_type(const struct cel_env *env, struct str name)
{
    UNUSED(env);
    if (str_eqc(name, "JSONPatch"))
        return &patch_type;
    return str_eqc(name, "Object") || str_has_prefix(name, STR("Object.")) ? &object_type : NULL;
}

/* --- environments ------------------------------------------------------------------------- */
struct policy_env *policy_env_new(struct arena *a, const struct policy_env_config *config)
{
    struct policy_env *e = ARENA_NEW(a, struct policy_env);
    size_t n = VAR_EXTRA;
    e->arena = a;
    e->vars[VAR_OBJECT] = (struct cel_var){"object", NULL};
    e->vars[VAR_OLD] = (struct cel_var){"oldObject", NULL};
    e->vars[VAR_REQUEST] = (struct cel_var){"request", &cel_admission_request};
    e->vars[VAR_NAMESPACE] = (struct cel_var){"namespaceObject", &cel_admission_namespace};
    e->vars[VAR_AUTHORIZER] = (struct cel_var){"authorizer", &cel_admission_authorizer};
    e->vars[VAR_REQUEST_RESOURCE] =
        (struct cel_var){"authorizer.requestResource", &cel_admission_resource_check};
    e->params = e->variables = SIZE_MAX;
    if (config->params) {
        e->params = n;
        e->vars[n++] = (struct cel_var){"params", NULL};
    }
    if (config->variables) {
        e->type = ARENA_NEW(a, struct cel_type);
        *e->type = (struct cel_type){.kind = CEL_OBJECT, .name = STR("kubernetes.variables")};
        e->variables = n;
        e->vars[n++] = (struct cel_var){"variables", e->type};
    }
    e->cel = (struct cel_env){.vars = e->vars,
                              .var_count = n,
                              .functions = policy_functions,
                              .function_count = policy_function_count,
                              .find_type = config->objects ? find_type : NULL};
    return e;
}

struct cel_program *policy_compile(struct policy_env *env, struct str text, struct str *ret_error)
{
    struct cel_program *p;
    if (cel_compile(env->arena, &env->cel, text, &p, ret_error) != 0)
        return NULL;
    for (size_t i = 0; i < env->cel.var_count; i++)
        env->uses |= cel_program_uses(p, i) ? 1u << i : 0;
    return p;
}

struct cel_program *policy_add_variable(struct policy_env *env, struct str name, struct str text,
                                        struct str *ret_error)
{
    struct arena *a = env->arena;
    struct cel_program *p = policy_compile(env, text, ret_error);
    size_t n = env->type->field_count, at = 0;
    const struct cel_type *t = p != NULL ? cel_program_type(p) : &cel_dyn;
    struct cel_field *fields = ARENA_ARRAY(a, struct cel_field, n + 1);
    struct cel_program **programs = ARENA_ARRAY(a, struct cel_program *, n + 1);
    while (at < n && str_cmp(env->type->fields[at].name, name) < 0)
        at++;
    for (size_t i = 0; i <= n; i++) {
        size_t from = i > at ? i - 1 : i;
        fields[i] = i == at ? (struct cel_field){name, name, t} : env->type->fields[from];
        programs[i] = i == at ? p : env->programs[from];
    }
    env->type->fields = fields;
    env->type->field_count = n + 1;
    env->programs = programs;
    return p;
}

/* --- values ---------------------------------------------------------------------------------- */
static struct json *gvk_json(struct arena *a, const struct api_kind *k, bool resource)
{
    struct json *j = json_object(a);
    json_setc(a, j, "group", json_string(a, str_of(k->group)));
    json_setc(a, j, "version", json_string(a, str_of(k->version)));
    json_setc(a, j, resource ? "resource" : "kind",
              json_string(a, str_of(resource ? k->resource : k->kind)));
    return j;
}

static struct json *strings_json(struct arena *a, const struct str *items, size_t count)
{
    struct json *j = json_array(a);
    for (size_t i = 0; i < count; i++)
        json_append(a, j, json_string(a, items[i]));
    return j;
}

static struct json *user_json(struct arena *a, const struct user *u)
{
    struct json *j = json_object(a);
    json_setc(a, j, "username", json_string(a, u->name));
    if (u->uid.len != 0)
        json_setc(a, j, "uid", json_string(a, u->uid));
    json_setc(a, j, "groups", strings_json(a, u->groups, u->group_count));
    if (u->extra_count == 0)
        return j;
    struct json *extra = json_object(a);
    for (size_t i = 0; i < u->extra_count; i++)
        json_set(a, extra, u->extra[i].key, strings_json(a, u->extra[i].values, u->extra[i].count));
    json_setc(a, j, "extra", extra);
    return j;
}

static void set_text(struct arena *a, struct json *j, const char *key, struct str s)
{
    if (s.len != 0)
        json_setc(a, j, key, json_string(a, s));
}

struct json *policy_request_json(const struct admission *adm, const struct resource *as)
{
    static const char *const options[] = {"CreateOptions", "UpdateOptions", "DeleteOptions", NULL};
    struct arena *a = adm->ctx->arena;
    const struct api_kind *asked = adm->ctx->request_kind;
    struct json *j = json_object(a);
    if (asked == NULL || asked->resource == NULL)
        asked = adm->res->kind;
    json_setc(a, j, "kind", gvk_json(a, policy_kind(adm, as), false));
    json_setc(a, j, "resource", gvk_json(a, as->kind, true));
    set_text(a, j, "subResource", str_of(adm->subresource));
    json_setc(a, j, "requestKind", gvk_json(a, adm->kind != NULL ? adm->kind : asked, false));
    json_setc(a, j, "requestResource", gvk_json(a, asked, true));
    set_text(a, j, "requestSubResource", str_of(adm->subresource));
    set_text(a, j, "name", policy_object_name(adm));
    set_text(a, j, "namespace", adm->ctx->namespace_);
    json_setc(a, j, "operation", json_string(a, str_of(policy_operation(adm->op))));
    json_setc(a, j, "userInfo", user_json(a, adm->ctx->user));
    json_setc(a, j, "dryRun", json_bool(a, adm->ctx->dry_run));
    if (adm->op != ADMIT_CONNECT) {
        struct json *o = json_object(a);
        json_setc(a, o, "kind", json_string(a, str_of(options[adm->op])));
        json_setc(a, o, "apiVersion", json_string(a, STR("meta.k8s.io/v1")));
        if (adm->ctx->dry_run) {
            struct json *all = json_array(a);
            json_append(a, all, json_string(a, STR("All")));
            json_setc(a, o, "dryRun", all);
        }
        json_setc(a, j, "options", o);
    }
    return j;
}

static struct cel_value value_of(struct arena *a, const struct json *j, const struct cel_type *t)
{
    return cel_of_json(j != NULL ? j : json_null(a), t);
}

/* `variables`: each is computed when it is first looked at. */
struct variables {
    struct cel_lazy lazy;
    struct policy_run *run;
    struct cel_value *cache; /* Kind DYN: not computed yet. */
};

static void variable(struct cel_lazy *l, struct arena *a, size_t index, struct cel_value *ret)
{
    struct variables *v = CONTAINER_OF(l, struct variables, lazy);
    struct policy_env *e = v->run->env;
    if (v->cache[index].kind == CEL_DYN)
        v->cache[index] = e->programs[index] != NULL ? policy_eval(v->run, e->programs[index])
                                                     : cel_error(a, "compilation error");
    *ret = v->cache[index];
    if (ret->kind == CEL_ERROR)
        *ret = cel_error(a, "composited variable \"" STR_FMT "\" fails to evaluate: " STR_FMT,
                         STR_ARG(e->type->fields[index].name), STR_ARG(ret->string));
}

static struct cel_value namespace_value(const struct admission *adm)
{
    const struct kind_ctx *ctx = adm->ctx;
    const struct resource *r = registry_storage(STR(""), STR("namespaces"));
    const void *ns = NULL;
    struct admission of = *adm;
    if (admission_is(adm, "", "namespaces"))
        return value_of(ctx->arena, NULL, NULL);
    if (adm->res->kind->namespaced)
        ns = kind_lookup(ctx, "", "namespaces", STR_NULL, ctx->namespace_);
    of.res = r;
    of.kind = NULL;
    return value_of(ctx->arena, policy_object_json(&of, r, ns), &cel_admission_namespace);
}

struct policy_shown *policy_shown_as(struct policy_shows *s, const struct resource *as)
{
    for (struct policy_shown *i = s->first; i != NULL; i = i->next)
        if (i->as == as)
            return i;
    struct policy_shown *n = ARENA_NEW(s->adm->ctx->arena, struct policy_shown);
    n->as = as;
    n->next = s->first;
    s->first = n;
    return n;
}

static struct cel_value shown_value(const struct admission *adm, const struct resource *as, int var)
{
    struct arena *a = adm->ctx->arena;
    switch (var) {
    case VAR_OBJECT:
        return value_of(a, policy_object_json(adm, as, adm->obj), NULL);
    case VAR_OLD:
        return value_of(a, policy_object_json(adm, as, adm->old), NULL);
    case VAR_REQUEST:
        return value_of(a, policy_request_json(adm, as), &cel_admission_request);
    case VAR_NAMESPACE:
        return namespace_value(adm);
    case VAR_AUTHORIZER:
        return policy_authorizer(adm);
    default:
        return policy_request_resource(adm, as);
    }
}

static void show(struct policy_run *run, int var)
{
    if ((run->env->uses & 1u << var) == 0)
        return;
    if ((run->shown->made & 1u << var) == 0) {
        run->shown->values[var] = shown_value(run->adm, run->as, var);
        run->shown->made |= 1u << var;
    }
    run->values[var] = run->shown->values[var];
}

/* The variables are computed anew. */
static void reset_variables(struct policy_run *run)
{
    struct arena *a = run->adm->ctx->arena;
    struct policy_env *e = run->env;
    if (e->variables == SIZE_MAX)
        return;
    struct variables *v = ARENA_NEW(a, struct variables);
    v->lazy.field = variable;
    v->run = run;
    v->cache = ARENA_ARRAY(a, struct cel_value, e->type->field_count + 1);
    run->values[e->variables] =
        (struct cel_value){.kind = CEL_OBJECT, .type = e->type, .lazy = &v->lazy};
}

void policy_run_refresh(struct policy_run *run)
{
    run->shown->made &= ~(1u << VAR_OBJECT);
    show(run, VAR_OBJECT);
    reset_variables(run);
}

void policy_run_init(struct policy_run *run, struct policy_env *env, const struct admission *adm,
                     struct policy_shown *shown, const struct json *params)
{
    struct arena *a = adm->ctx->arena;
    *run = (struct policy_run){.adm = adm,
                               .as = shown->as,
                               .params = params,
                               .cost_left = POLICY_COST_BUDGET,
                               .env = env,
                               .shown = shown};
    run->values = ARENA_ARRAY(a, struct cel_value, VAR_MAX);
    for (int i = 0; i < VAR_EXTRA; i++)
        show(run, i);
    if (env->params != SIZE_MAX)
        run->values[env->params] = value_of(a, params, NULL);
    reset_variables(run);
}

struct cel_value policy_eval(struct policy_run *run, const struct cel_program *p)
{
    if (run->cost_left < 0)
        return cel_error(run->adm->ctx->arena, POLICY_OUT_OF_BUDGET);
    return cel_eval(p, run->adm->ctx->arena, run->values, &run->cost_left);
}

static struct str condition_error(struct arena *a, const struct policy_program *c,
                                  const struct cel_value *v)
{
    if (c->program == NULL)
        return arena_printf(a, "compilation error: compilation failed: " STR_FMT,
                            STR_ARG(c->error));
    return arena_printf(a, "expression '" STR_FMT "' resulted in error: " STR_FMT, STR_ARG(c->text),
                        STR_ARG(v->kind == CEL_ERROR ? v->string : STR("not a bool")));
}

int policy_conditions(struct policy_run *run, const struct policy_program *c, size_t count,
                      struct str *ret_error)
{
    struct arena *a = run->adm->ctx->arena;
    AUTO_BUF errors = BUF_INIT;
    size_t failed = 0;
    int result = 1;
    int64_t budget = run->cost_left;
    run->cost_left = POLICY_COST_CONDITIONS;
    for (size_t i = 0; i < count && result == 1; i++) {
        struct cel_value v = {.kind = CEL_ERROR};
        if (c[i].program != NULL)
            v = policy_eval(run, c[i].program);
        if (run->cost_left < 0) {
            *ret_error = STR(POLICY_OUT_OF_BUDGET);
            result = -1;
        } else if (v.kind == CEL_BOOL && !v.boolean) {
            result = 0; /* Whatever errors there were. */
        } else if (v.kind != CEL_BOOL) {
            buf_printf(&errors, "%s" STR_FMT, failed++ != 0 ? ", " : "",
                       STR_ARG(condition_error(a, &c[i], &v)));
        }
    }
    run->cost_left = budget;
    if (result != 1 || failed == 0)
        return result;
    *ret_error = arena_printf(a, failed > 1 ? "[" STR_FMT "]" : STR_FMT, STR_ARG(buf_str(&errors)));
    return -1;
}

/* --- checks for the kinds ------------------------------------------------------------------------
 */
static bool is_wanted(const struct cel_type *t, enum policy_want want, const char **ret_text)
{
    switch (want) {
    case POLICY_ANY:
        return true;
    case POLICY_BOOL:
        *ret_text = "bool";
        return t->kind == CEL_BOOL;
    case POLICY_STRING:
        *ret_text = "string";
        return t->kind == CEL_STRING;
    case POLICY_STRING_OR_NULL:
        *ret_text = "one of [string null_type]";
        return t->kind == CEL_STRING || t->kind == CEL_NULL;
    case POLICY_OBJECT:
        *ret_text = "Object";
        return t->kind == CEL_DYN;
    case POLICY_JSON_PATCH:
        *ret_text = "list(JSONPatch)";
        return t->kind == CEL_DYN ||
               (t->kind == CEL_LIST && (t->elem->kind == CEL_DYN || t->elem == &patch_type));
    }
    return false;
}

void policy_check(struct policy_env *env, struct field_errors *errs, const struct field_path *path,
                  struct str text, enum policy_want want)
{
    struct str why;
    const char *wanted = "";
    struct cel_program *p = policy_compile(env, text, &why);
    if (p == NULL)
        field_invalid(errs, path, text, "compilation failed: " STR_FMT, STR_ARG(why));
    else if (!is_wanted(cel_program_type(p), want, &wanted))
        field_invalid(errs, path, text, "must evaluate to %s but got " STR_FMT, wanted,
                      STR_ARG(cel_type_text(env->arena, cel_program_type(p))));
}
