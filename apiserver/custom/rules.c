/* rules.c - see rules.h. */
#include "apiserver/custom/rules.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/rules_internal.h"
#include "apiserver/field_error.h"
#include "lib/api/cel/cel.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/jsonpath.h"
#include "lib/api/structural.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

enum { VAR_SELF, VAR_OLD_SELF, VAR_COUNT };

struct custom_rules {
    const struct cel_type *type;
    struct compiled *items;
    size_t count;
};

/* --- compiling ---------------------------------------------------------------------- */
/* optional: oldSelf is an optional, and there for new values as well. */
static const struct cel_program *compile(struct arena *a, const struct cel_type *type,
                                         bool optional, struct str text, struct str *ret_error)
{
    struct cel_var *vars = ARENA_ARRAY(a, struct cel_var, VAR_COUNT);
    struct cel_env *env = ARENA_NEW(a, struct cel_env);
    struct cel_program *p = NULL;
    vars[VAR_SELF] = (struct cel_var){"self", type};
    struct cel_type *maybe = ARENA_NEW(a, struct cel_type);
    *maybe = (struct cel_type){.kind = CEL_OPTIONAL, .elem = type};
    vars[VAR_OLD_SELF] = (struct cel_var){"oldSelf", optional ? maybe : type};
    *env = (struct cel_env){.vars = vars, .var_count = VAR_COUNT};
    return cel_compile(a, env, text, &p, ret_error) == 0 ? p : NULL;
}

static const struct cel_program *compile_as(struct arena *a, const struct cel_type *type,
                                            bool optional, struct str text, enum cel_kind wanted,
                                            const char *prefix, const char *otherwise,
                                            struct str *ret_error)
{
    struct str why;
    const struct cel_program *p = compile(a, type, optional, text, &why);
    if (p == NULL)
        *ret_error = arena_printf(a, "%scompilation failed: " STR_FMT, prefix, STR_ARG(why));
    else if (cel_program_type(p)->kind != wanted)
        *ret_error = str_of(otherwise);
    else
        return p;
    return NULL;
}

void custom_rule_compile(struct arena *a, const struct cel_type *type, const rule_t *rule,
                         struct compiled *ret)
{
    *ret = (struct compiled){.rule = rule};
    bool optional = rule->optional_old_self;
    ret->program = compile_as(a, type, optional, rule->rule, CEL_BOOL, "",
                              "cel expression must evaluate to a bool", &ret->error);
    if (ret->program == NULL)
        return;
    ret->transition = cel_program_uses(ret->program, VAR_OLD_SELF);
    if (rule->message_expression.len != 0)
        ret->message = compile_as(
            a, type, optional, rule->message_expression, CEL_STRING, "messageExpression ",
            "messageExpression must evaluate to a string", &ret->message_error);
}

static void prepare_below(struct arena *a, const struct structural *s, const struct json *schema,
                          bool root)
{
    struct structural *own = (struct structural *)(uintptr_t)s; /* Still ours alone. */
    if (schema == NULL || !s->has_rules_below)
        return;
    const struct cel_type *type = s->rule_count != 0 ? cel_schema_type(a, schema, root) : NULL;
    if (type != NULL) {
        struct custom_rules *r = ARENA_NEW(a, struct custom_rules);
        r->type = type;
        r->items = ARENA_ARRAY(a, struct compiled, s->rule_count);
        r->count = s->rule_count;
        for (size_t i = 0; i < s->rule_count; i++)
            custom_rule_compile(a, type, &s->rules[i], &r->items[i]);
        own->programs = r;
    }
    for (size_t i = 0; i < s->member_count; i++)
        prepare_below(a, &s->members[i].schema,
                      json_get(json_getc(schema, "properties"), s->members[i].name), false);
    if (s->items != NULL)
        prepare_below(a, s->items, json_getc(schema, "items"), false);
    if (s->additional != NULL)
        prepare_below(a, s->additional, json_getc(schema, "additionalProperties"), false);
}

void custom_rules_prepare(struct arena *a, const struct structural *s, const struct json *schema)
{
    prepare_below(a, s, schema, true);
}

/* --- evaluating ------------------------------------------------------------------------ */
struct run {
    struct field_errors *errs;
    struct arena *arena;
    int64_t cost_left;
};

static struct str shown(struct arena *a, const struct structural *s, const struct json *j)
{
    AUTO_BUF b = BUF_INIT;
    if (j->type == JSON_OBJECT || j->type == JSON_ARRAY)
        json_write_string(s->type_name, &b);
    else
        json_write(j, true, &b);
    return arena_str(a, buf_str(&b));
}

static struct str rule_text(const rule_t *rule)
{
    struct str message = str_trim(rule->message);
    return message.len != 0 ? message : str_trim(rule->rule);
}

static struct str message_of(struct run *run, const struct compiled *c,
                             const struct cel_value *vars)
{
    struct str message = str_trim(c->rule->message);
    if (c->message != NULL) {
        struct cel_value v = cel_eval(c->message, run->arena, vars, &run->cost_left);
        struct str text = v.kind == CEL_STRING ? str_trim(v.string) : STR_NULL;
        if (text.len != 0 && str_find(text, '\n', 0) < 0)
            return text;
    }
    return message.len != 0 ? message
                            : arena_printf(run->arena, "failed rule: " STR_FMT,
                                           STR_ARG(str_trim(c->rule->rule)));
}

static void report(struct run *run, const struct field_path *path, const struct structural *s,
                   const struct json *j, const rule_t *rule, struct str why)
{
    if (str_eqc(rule->reason, "FieldValueForbidden"))
        field_forbidden(run->errs, path, STR_FMT, STR_ARG(why));
    else if (str_eqc(rule->reason, "FieldValueRequired"))
        field_required(run->errs, path, STR_FMT, STR_ARG(why));
    else if (str_eqc(rule->reason, "FieldValueDuplicate"))
        field_duplicate_raw(run->errs, path, shown(run->arena, s, j));
    else
        field_invalid_raw(run->errs, path, shown(run->arena, s, j), STR_FMT, STR_ARG(why));
}

/* At the field that the rule names, or where it stands. */
static void report_at(struct run *run, const struct field_path *path, const struct structural *s,
                      const struct json *j, const rule_t *rule, struct str why)
{
    const struct jsonpath *p;
    struct str names[16];
    struct field_path steps[ARRAY_SIZE(names)];
    if (rule->field_path.len == 0 || jsonpath_parse(run->arena, rule->field_path, &p, NULL) != 0 ||
        !jsonpath_is_simple(p)) {
        report(run, path, s, j, rule, why);
        return;
    }
    size_t n = jsonpath_names(p, names, ARRAY_SIZE(names));
    for (size_t i = 0; i < n; i++)
        steps[i] = (struct field_path){i == 0 ? path : &steps[i - 1],
                                       str_c(arena_str(run->arena, names[i])), STR_NULL, -1};
    report(run, &steps[n - 1], s, j, rule, why);
}

static void check_rule(struct run *run, const struct field_path *path, const struct structural *s,
                       const struct compiled *c, const struct json *j, const struct json *old)
{
    const struct cel_type *type = s->programs->type;
    struct cel_value vars[VAR_COUNT] = {cel_of_json(j, type)};
    if (c->program == NULL) {
        field_invalid_raw(run->errs, path, shown(run->arena, s, j), "rule compile error: " STR_FMT,
                          STR_ARG(c->error));
        return;
    }
    if (c->transition && old == NULL && !c->rule->optional_old_self)
        return; /* Nothing to compare with. */
    struct cel_value before = {0};
    if (old != NULL)
        before = cel_of_json(old, type);
    vars[VAR_OLD_SELF] =
        c->rule->optional_old_self
            ? (struct cel_value){.kind = CEL_OPTIONAL, .inner = old != NULL ? &before : NULL}
            : before;
    struct cel_value v = cel_eval(c->program, run->arena, vars, &run->cost_left);
    if (v.kind == CEL_BOOL && v.boolean)
        return;
    if (v.kind == CEL_ERROR)
        field_invalid_raw(run->errs, path, shown(run->arena, s, j),
                          STR_FMT " evaluating rule: " STR_FMT, STR_ARG(v.string),
                          STR_ARG(rule_text(c->rule)));
    else
        report_at(run, path, s, j, c->rule, message_of(run, c, vars));
}

static const struct json *old_item(const struct structural *list, const struct json *item,
                                   const struct json *old)
{
    if (list->list != LIST_MAP || old == NULL || old->type != JSON_ARRAY)
        return NULL;
    for (size_t i = 0; i < old->array.count; i++) {
        bool same = true;
        for (size_t k = 0; same && k < list->key_count; k++) {
            const struct json *x = json_get(item, list->keys[k]),
                              *y = json_get(old->array.items[i], list->keys[k]);
            same = x == NULL || y == NULL ? x == y : json_equal(x, y);
        }
        if (same)
            return old->array.items[i];
    }
    return NULL;
}

static void walk(struct run *run, const struct field_path *path, const struct structural *s,
                 const struct json *j, const struct json *old)
{
    if (!s->has_rules_below || run->cost_left < 0)
        return;
    /* Null counts as not there, and so do rules on it. */
    if (j->type == JSON_NULL)
        return;
    if (old != NULL && old->type == JSON_NULL)
        old = NULL;
    for (size_t i = 0; s->programs != NULL && i < s->programs->count && run->cost_left >= 0; i++)
        check_rule(run, path, s, &s->programs->items[i], j, old);
    for (size_t i = 0; s->items != NULL && j->type == JSON_ARRAY && i < j->array.count; i++)
        walk(run, PATH_INDEX(path, i), s->items, j->array.items[i],
             old_item(s, j->array.items[i], old));
    for (size_t i = 0; j->type == JSON_OBJECT && i < j->object.count; i++) {
        const struct json_member *m = &j->object.members[i];
        const struct structural *below = structural_member(s, m->key);
        const struct json *before = old != NULL ? json_get(old, m->key) : NULL;
        if (below != NULL)
            walk(run, PATH(path, str_c(arena_str(run->arena, m->key))), below, m->value, before);
        else if (s->additional != NULL)
            walk(run, PATH_KEY(path, m->key), s->additional, m->value, before);
    }
}

void custom_rules_check(struct field_errors *errs, const struct field_path *path,
                        const struct structural *s, const struct json *j, const struct json *old)
{
    struct run run = {.errs = errs, .arena = errs->arena, .cost_left = CEL_COST_BUDGET};
    walk(&run, path, s, j, old);
}
