/* rules_check.c - rules as definitions are validated: their form, whether they
 * compile, what they may cost; see rules.h. */
#include "apiserver/custom/rules.h"

#include "api/apiextensions_v1.h"
#include "apiserver/custom/rules_internal.h"
#include "apiserver/field_error.h"
#include "apiserver/kinds/crd.h"
#include "lib/api/cel/cel.h"
#include "lib/api/codec.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"

#include <stdio.h>

/* --- form ------------------------------------------------------------------------------- */
static bool has_newlines(struct str s)
{
    return str_find(s, '\n', 0) >= 0 || str_find(s, '\r', 0) >= 0;
}

static void check_texts(struct field_errors *errs, const struct field_path *at, const rule_t *rule)
{
    struct str text = str_trim(rule->rule), message = str_trim(rule->message);
    if (text.len == 0)
        field_required(errs, PATH(at, "rule"), "rule is not specified");
    else if (rule->message.len != 0 && message.len == 0)
        field_invalid(errs, PATH(at, "message"), rule->message, "must be non-empty if specified");
    else if (has_newlines(message))
        field_invalid(errs, PATH(at, "message"), rule->message, "must not contain line breaks");
    else if (has_newlines(text) && message.len == 0)
        field_required(errs, PATH(at, "message"),
                       "message must be specified if rule contains line breaks");
    if (rule->message_expression.len != 0 && str_trim(rule->message_expression).len == 0)
        field_required(errs, PATH(at, "messageExpression"),
                       "messageExpression must be non-empty if specified");
}

static void check_reason(struct field_errors *errs, const struct field_path *at, const rule_t *rule)
{
    static const char *const reasons[] = {"FieldValueDuplicate", "FieldValueForbidden",
                                          "FieldValueInvalid", "FieldValueRequired", NULL};
    if (!rule->has_reason)
        return;
    for (size_t i = 0; reasons[i] != NULL; i++)
        if (str_eqc(rule->reason, reasons[i]))
            return;
    field_not_supported(errs, PATH(at, "reason"), rule->reason, reasons);
}

static void check_field_path(struct field_errors *errs, const struct field_path *at,
                             const struct apiextensions_v1_json_schema_props *node,
                             const rule_t *rule)
{
    const struct field_path *path = PATH(at, "fieldPath");
    struct str canonical, why;
    if (rule->field_path.len == 0)
        return;
    if (str_trim(rule->field_path).len == 0)
        field_invalid(errs, path, rule->field_path, "must be non-empty if specified");
    if (has_newlines(rule->field_path))
        field_invalid(errs, path, rule->field_path, "must not contain line breaks");
    if (crd_field_path(errs->arena, node, rule->field_path, true, &canonical, &why) == NULL)
        field_invalid(errs, path, rule->field_path, "must be a valid path");
}

void custom_rules_check_form(struct field_errors *errs, const struct field_path *path,
                             const struct apiextensions_v1_json_schema_props *node)
{
    for (size_t i = 0; i < node->x_kubernetes_validations_count; i++) {
        const rule_t *rule = &node->x_kubernetes_validations[i];
        const struct field_path *at = PATH_INDEX(PATH(path, "x-kubernetes-validations"), i);
        check_texts(errs, at, rule);
        check_reason(errs, at, rule);
        check_field_path(errs, at, node, rule);
    }
}

/* --- costs --------------------------------------------------------------------------------- */
/* "estimated rule cost exceeds budget by factor of 1.3x (...)" */
static struct str cost_text(struct arena *a, const char *what, uint64_t cost, uint64_t limit)
{
    double factor = (double)cost / (double)limit;
    char text[32] = "more than 100x";
    if (factor < 1.5)
        snprintf(text, sizeof(text), "%fx", factor);
    else if (factor <= 100)
        snprintf(text, sizeof(text), "%.1fx", factor);
    return arena_printf(a,
                        "%s exceeds budget by factor of %s (try simplifying the rule, or adding "
                        "maxItems, maxProperties, and maxLength where arrays, maps, and strings "
                        "are declared)",
                        what, text);
}

/* Keeps the most expensive first. */
static void observe(struct arena *a, struct rule_costs *c, const struct field_path *path,
                    uint64_t cost)
{
    c->total = c->total > UINT64_MAX - cost ? UINT64_MAX : c->total + cost;
    if (cost < RULES_COST_MAX / 100)
        return;
    size_t at = c->count;
    while (at > 0 && c->most[at - 1].cost < cost)
        at--;
    if (at == ARRAY_SIZE(c->most))
        return;
    c->count = MIN_OF(c->count + 1, ARRAY_SIZE(c->most));
    for (size_t i = c->count - 1; i > at; i--)
        c->most[i] = c->most[i - 1];
    AUTO_BUF b = BUF_INIT;
    field_path_write(path, &b);
    c->most[at].path = arena_str(a, buf_str(&b));
    c->most[at].cost = cost;
}

static void judge_cost(struct field_errors *errs, const struct field_path *path, const char *what,
                       uint64_t cost, const struct rule_place *place, struct rule_costs *costs)
{
    if (!place->stored && cost > RULE_COST_MAX) {
        struct str text = cost_text(errs->arena, what, cost, RULE_COST_MAX);
        field_forbidden(errs, path, STR_FMT, STR_ARG(text));
    }
    observe(errs->arena, costs, path, cost);
}

void custom_rules_check_costs(struct field_errors *errs, const struct field_path *path,
                              const struct rule_costs *costs)
{
    if (costs->total <= RULES_COST_MAX)
        return;
    for (size_t i = 0; i < costs->count; i++) {
        const struct field_path at = {NULL, str_c(costs->most[i].path), STR_NULL, -1};
        field_forbidden(errs, &at,
                        "contributed to estimated rule cost total exceeding cost limit for entire "
                        "OpenAPIv3 schema");
    }
    struct str text =
        cost_text(errs->arena,
                  "x-kubernetes-validations estimated rule cost total for entire OpenAPIv3 schema",
                  costs->total, RULES_COST_MAX);
    field_forbidden(errs, path, STR_FMT, STR_ARG(text));
}

/* --- code ------------------------------------------------------------------------------------ */
/* How often the values can stand in one request, when no limit around them says. */
static uint64_t cardinality_of(const struct rule_place *place, const struct cel_type *type)
{
    return place->bounded ? place->cardinality : CEL_REQUEST_BYTES_MAX / (type->json_bytes_min + 1);
}

static void check_message(struct field_errors *errs, const struct field_path *at,
                          const struct compiled *c, const struct cel_type *type,
                          const struct rule_place *place, struct rule_costs *costs)
{
    const struct field_path *path = PATH(at, "messageExpression");
    if (c->message_error.len != 0)
        field_invalid_msg(errs, path, &apiextensions_v1_validation_rule_msg, c->rule, STR_FMT,
                          STR_ARG(c->message_error));
    else if (c->message != NULL)
        judge_cost(errs, path, "estimated messageExpression cost",
                   cel_program_cost(c->message, type), place, costs);
}

static void check_old_self(struct field_errors *errs, const struct field_path *at,
                           const struct compiled *c, const struct rule_place *place)
{
    if (c->transition && place->uncorrelated != NULL) {
        AUTO_BUF b = BUF_INIT;
        field_path_write(place->uncorrelated, &b);
        struct str within = buf_str(&b);
        field_invalid(
            errs, PATH(at, "rule"), c->rule->rule,
            "oldSelf cannot be used on the uncorrelatable portion of the schema within " STR_FMT,
            STR_ARG(within));
    } else if (!c->transition && c->rule->has_optional_old_self) {
        field_invalid_bool(errs, PATH(at, "optionalOldSelf"), c->rule->optional_old_self,
                           "may not be set if oldSelf is not used in rule");
    }
}

void custom_rules_check_code(struct field_errors *errs, const struct field_path *path,
                             const struct apiextensions_v1_json_schema_props *node,
                             const struct rule_place *place, struct rule_costs *costs)
{
    struct arena *a = errs->arena;
    const struct cel_type *type = cel_schema_sized_type(
        a, api_json_tree(a, &apiextensions_v1_json_schema_props_msg, node, STR_NULL, STR_NULL),
        place->root);
    if (type == NULL) {
        field_internal(errs, PATH(path, "x-kubernetes-validations"),
                       "internal error: failed to construct type information for "
                       "x-kubernetes-validations rules: unable to convert structural schema to CEL "
                       "declarations");
        return;
    }
    for (size_t i = 0; i < node->x_kubernetes_validations_count; i++) {
        const struct field_path *at = PATH_INDEX(PATH(path, "x-kubernetes-validations"), i);
        struct compiled c;
        custom_rule_compile(a, type, &node->x_kubernetes_validations[i], &c);
        uint64_t cost = c.program != NULL ? cel_program_cost(c.program, type) : 0;
        judge_cost(errs, PATH(at, "rule"), "estimated rule cost",
                   rule_times(cost, cardinality_of(place, type)), place, costs);
        if (c.program == NULL)
            field_invalid_msg(errs, PATH(at, "rule"), &apiextensions_v1_validation_rule_msg, c.rule,
                              STR_FMT, STR_ARG(c.error));
        check_message(errs, at, &c, type, place, costs);
        check_old_self(errs, at, &c, place);
    }
}
