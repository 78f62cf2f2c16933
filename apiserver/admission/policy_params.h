/* policy_params.h - the parameters of a policy's binding. */
#ifndef APISERVER_ADMISSION_POLICY_PARAMS_H
#define APISERVER_ADMISSION_POLICY_PARAMS_H

#include "apiserver/admission.h"

struct admissionregistration_v1_param_kind;
struct admissionregistration_v1_param_ref;
struct json;
struct resource;

/* NULL: nobody serves it. */
const struct resource *policy_param_resource(const struct admissionregistration_v1_param_kind *k);

/* What a binding is evaluated with, once for each: *ret holds a single NULL when
 * the policy has no paramKind, or none were found and that is allowed. 0 items:
 * the binding does not count. -1: *ret_error says what is wrong. */
int policy_params(const struct admission *adm, const struct admissionregistration_v1_param_kind *k,
                  const struct admissionregistration_v1_param_ref *ref, struct json ***ret,
                  struct str *ret_error);

#endif
