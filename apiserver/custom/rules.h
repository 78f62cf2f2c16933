/* rules.h - x-kubernetes-validations: the rules of a schema that are CEL
 * expressions. The one place that knows the expression library. */
#ifndef APISERVER_CUSTOM_RULES_H
#define APISERVER_CUSTOM_RULES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiextensions_v1_json_schema_props;
struct arena;
struct field_errors;
struct field_path;
struct json;
struct structural;

/* Evaluates every rule that applies to j, which stands at path and mostly is an
 * object's whole document; old is NULL for a new one. */
void custom_rules_check(struct field_errors *errs, const struct field_path *path,
                        const struct structural *s, const struct json *j, const struct json *old);

/* --- as definitions are validated --------------------------------------------------- */
/* What one expression and all of a schema may cost, as estimated. */
#define RULE_COST_MAX 10000000u
#define RULES_COST_MAX 100000000u

/* Where rules stand. */
struct rule_place {
    bool root;                             /* Of the whole object. */
    const struct field_path *uncorrelated; /* Inside of what values cannot be compared with
                                            * those before; NULL: they can. */
    bool bounded;                          /* So many values are judged at most. */
    uint64_t cardinality;
    bool stored; /* They were accepted before: what each costs is not judged. */
};

struct rule_costs {
    uint64_t total;
    struct {
        struct str path;
        uint64_t cost;
    } most[4]; /* The most expensive, if they matter. */
    size_t count;
};

static inline uint64_t rule_times(uint64_t x, uint64_t y)
{
    return x != 0 && UINT64_MAX / x < y ? UINT64_MAX : x * y;
}

/* Faults in what rules say beside their expressions. */
void custom_rules_check_form(struct field_errors *errs, const struct field_path *path,
                             const struct apiextensions_v1_json_schema_props *node);
/* Faults of the expressions of one schema node, which stands at path. */
void custom_rules_check_code(struct field_errors *errs, const struct field_path *path,
                             const struct apiextensions_v1_json_schema_props *node,
                             const struct rule_place *place, struct rule_costs *costs);
/* Is all of it together too expensive? path: of openAPIV3Schema. */
void custom_rules_check_costs(struct field_errors *errs, const struct field_path *path,
                              const struct rule_costs *costs);
/* Compiles the rules of a schema, which is given as JSON as well, for
 * custom_rules_check(). What does not compile never holds. */
void custom_rules_prepare(struct arena *a, const struct structural *s, const struct json *schema);

#endif
