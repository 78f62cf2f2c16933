/* policy_env.h - the variables and functions that expressions of admission see:
 * object, oldObject, request, params, namespaceObject, variables, authorizer.
 *
 * A policy_env is made once per policy and arena; its expressions are compiled
 * in it in order, since each variable may use those before it. */
#ifndef APISERVER_ADMISSION_POLICY_ENV_H
#define APISERVER_ADMISSION_POLICY_ENV_H

#include "apiserver/admission.h"
#include "lib/api/cel/cel.h"

struct admissionregistration_v1_match_condition;
struct admissionregistration_v1_variable;
struct arena;
struct cel_program;
struct json;
struct policy_env;

enum { POLICY_SHOWN_VARS = 6 }; /* object, oldObject, request, ... */

struct policy_env_config {
    bool params;    /* The policy has a paramKind. */
    bool variables; /* Policies have them, webhooks do not. */
    bool objects;   /* Object{} and JSONPatch{} can be built. */
};
/* An expression as it was compiled. */
struct policy_program {
    struct str text;
    struct cel_program *program; /* NULL: it does not compile, or there is none. */
    struct str error;            /* Why it does not. */
};

struct policy_env *policy_env_new(struct arena *a, const struct policy_env_config *config);
/* NULL with *ret_error when it does not compile. */
struct cel_program *policy_compile(struct policy_env *env, struct str text, struct str *ret_error);
/* Adds a variable for those that are compiled later. */
struct cel_program *policy_add_variable(struct policy_env *env, struct str name, struct str text,
                                        struct str *ret_error);

/* What expressions see of one write, shown in one version: made when the first
 * of them looks at it, and then shared by all. */
struct policy_shown {
    const struct resource *as;
    unsigned made; /* Bits of the variables. */
    struct cel_value values[POLICY_SHOWN_VARS];
    struct policy_shown *next;
};
struct policy_shows {
    const struct admission *adm;
    struct policy_shown *first;
};
struct policy_shown *policy_shown_as(struct policy_shows *s, const struct resource *as);

/* The values for one write and one object of parameters. */
struct policy_run {
    const struct admission *adm;
    const struct resource *as; /* In whose version the object is shown. */
    const struct json *params; /* NULL: null. */
    int64_t cost_left;         /* Of all expressions together. */
    /* Private. */
    struct policy_env *env;
    struct policy_shown *shown;
    struct cel_value *values;
};
/* What the budget is at first. */
#define POLICY_COST_BUDGET CEL_COST_BUDGET
#define POLICY_COST_CONDITIONS 2500000
#define POLICY_OUT_OF_BUDGET                                                                       \
    "validation failed due to running out of cost budget, no further validation rules will be run"

void policy_run_init(struct policy_run *run, struct policy_env *env, const struct admission *adm,
                     struct policy_shown *shown, const struct json *params);
/* Of a program that compiled. Negative cost_left then: out of budget. */
struct cel_value policy_eval(struct policy_run *run, const struct cel_program *p);
/* The object changed (adm->obj): expressions see it anew. */
void policy_run_refresh(struct policy_run *run);

/* All must hold. 1: they do; 0: not all; -1: *ret_error. They have a budget of their own. */
int policy_conditions(struct policy_run *run, const struct policy_program *c, size_t count,
                      struct str *ret_error);

/* The request as AdmissionReview and expressions show it, without objects. */
struct json *policy_request_json(const struct admission *adm, const struct resource *as);

/* --- checks for the kinds ------------------------------------------------------------- */
enum policy_want {
    POLICY_ANY,
    POLICY_BOOL,
    POLICY_STRING,
    POLICY_STRING_OR_NULL,
    POLICY_OBJECT,
    POLICY_JSON_PATCH
};
/* Adds an error at path when text does not compile to what is wanted. */
void policy_check(struct policy_env *env, struct field_errors *errs, const struct field_path *path,
                  struct str text, enum policy_want want);

#endif
