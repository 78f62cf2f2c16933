/* policy_check.h - type checking of a ValidatingAdmissionPolicy: which kinds its
 * expressions see, and what is wrong with them there.
 *
 * Pure: from the policy, discovery and OpenAPI documents to warnings. Checking
 * never changes what the policy does. Limits and texts are upstream's. */
#ifndef CONTROLLERS_POLICY_CHECK_H
#define CONTROLLERS_POLICY_CHECK_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct admissionregistration_v1_expression_warning;
struct admissionregistration_v1_validating_admission_policy_spec;
struct arena;
struct json;

/* Kinds of one rule that are checked. */
#define POLICY_KINDS_MAX 10u
/* Group versions that are looked up for one policy. */
#define POLICY_VERSIONS_MAX 64u

/* A group version that a policy names, and what the server says of it. */
struct policy_version {
    struct str group, version;      /* group is "" for core. */
    const struct json *resources;   /* An APIResourceList; NULL: not served. */
    const struct json *definitions; /* components.schemas of its OpenAPI document; NULL: none. */
    bool used;                      /* Some kind of it is checked. */
};

struct policy_kind {
    struct policy_version *in;
    struct str kind;
};

struct policy_check {
    struct arena *arena;
    const struct admissionregistration_v1_validating_admission_policy_spec *spec;
    struct policy_version *versions;
    size_t version_count, version_cap;
    struct policy_kind *kinds; /* In the order of group, version, kind. */
    size_t kind_count, kind_cap;
    struct policy_version *params; /* Of the kind of parameters; NULL: there is none. */
};

/* Fills versions. resources are to be asked for then. */
void policy_check_begin(struct policy_check *c);
/* Fills kinds; definitions of the versions that are used are to be asked for then. */
void policy_check_find_kinds(struct policy_check *c);
size_t policy_check_warnings(struct policy_check *c,
                             struct admissionregistration_v1_expression_warning **ret);

/* The path of its APIResourceList or, with "/openapi/v3" before it, of its document. */
struct str policy_version_path(struct arena *a, const struct policy_version *v);

#endif
