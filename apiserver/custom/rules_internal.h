/* rules_internal.h - a compiled rule, for rules.c and rules_check.c. */
#ifndef APISERVER_CUSTOM_RULES_INTERNAL_H
#define APISERVER_CUSTOM_RULES_INTERNAL_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiextensions_v1_validation_rule;
struct arena;
struct cel_program;
struct cel_type;

#define rule_t struct apiextensions_v1_validation_rule

struct compiled {
    const rule_t *rule;
    const struct cel_program *program; /* NULL: it does not compile. */
    const struct cel_program *message; /* NULL: no expression makes the message. */
    struct str error, message_error;   /* Of compiling. */
    bool transition;                   /* Looks at what was there before. */
};

void custom_rule_compile(struct arena *a, const struct cel_type *type, const rule_t *rule,
                         struct compiled *ret);

#endif
