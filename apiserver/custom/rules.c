/* rules.c - see rules.h. Expressions are not evaluated yet: definitions with
 * rules are taken, and their objects are judged by the rest of the schema. */
#include "apiserver/custom/rules.h"

void custom_rules_check(struct field_errors *errs, const struct structural *s, const struct json *j,
                        const struct json *old)
{
    UNUSED(errs), UNUSED(s), UNUSED(j), UNUSED(old);
}

void custom_rules_compile(struct field_errors *errs, const struct field_path *path,
                          const struct apiextensions_v1_json_schema_props *node)
{
    UNUSED(errs), UNUSED(path), UNUSED(node);
}
