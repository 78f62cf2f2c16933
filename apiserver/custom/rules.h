/* rules.h - x-kubernetes-validations: the rules of a schema that are CEL
 * expressions. The one place that knows the expression library. */
#ifndef APISERVER_CUSTOM_RULES_H
#define APISERVER_CUSTOM_RULES_H

#include "lib/base/base.h"

struct apiextensions_v1_json_schema_props;
struct arena;
struct field_errors;
struct field_path;
struct json;
struct structural;

/* Evaluates every rule that applies to j, an object's whole document; old is
 * NULL for a new one. */
void custom_rules_check(struct field_errors *errs, const struct structural *s, const struct json *j,
                        const struct json *old);
/* Faults of the rules of one schema node, which stands at path, as
 * definitions are validated. root: of the whole object. */
void custom_rules_compile(struct field_errors *errs, const struct field_path *path,
                          const struct apiextensions_v1_json_schema_props *node, bool root);
/* Compiles the rules of a schema, which is given as JSON as well, for
 * custom_rules_check(). What does not compile never holds. */
void custom_rules_prepare(struct arena *a, const struct structural *s, const struct json *schema);

#endif
