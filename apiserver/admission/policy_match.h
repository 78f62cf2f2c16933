/* policy_match.h - which writes a policy or a webhook is about: rules,
 * selectors, equivalent versions. Pure on the write's view. */
#ifndef APISERVER_ADMISSION_POLICY_MATCH_H
#define APISERVER_ADMISSION_POLICY_MATCH_H

#include "apiserver/admission.h"

struct admissionregistration_v1_match_resources;
struct admissionregistration_v1_rule_with_operations;
struct json;
struct meta_v1_label_selector;

/* Configuration of admission itself is never intercepted. */
bool policy_exempt(const struct admission *adm);
const char *policy_operation(enum admit_op op); /* "CREATE" */

/* Refuses with text, which is the cause as well; reason says the code. */
struct meta_v1_status *policy_denied(const struct admission *adm, struct str text,
                                     struct str reason);

/* Whether one of the rules is about the write. *ret_as is the served resource
 * it matched, in whose version the write is shown; of equivalent ones too,
 * unless exact. */
bool policy_rules_match(const struct admission *adm,
                        const struct admissionregistration_v1_rule_with_operations *rules,
                        size_t count, bool exact, const struct resource **ret_as);
/* False with *ret_refused NULL: not about it. */
bool policy_selectors_match(const struct admission *adm,
                            const struct meta_v1_label_selector *namespaces,
                            const struct meta_v1_label_selector *objects,
                            struct meta_v1_status **ret_refused);
/* All of a policy's matchConstraints or a binding's matchResources; NULL matches. */
bool policy_matches(const struct admission *adm,
                    const struct admissionregistration_v1_match_resources *m,
                    const struct resource **ret_as, struct meta_v1_status **ret_refused);

/* What obj is shown as. */
const struct api_kind *policy_kind(const struct admission *adm, const struct resource *as);
/* obj (storage form; NULL gives NULL) as JSON of the served resource as. */
struct json *policy_object_json(const struct admission *adm, const struct resource *as,
                                const void *obj);
/* adm->obj becomes what the JSON of the served resource as says, with defaults.
 * NULL, or what is wrong with it. */
struct meta_v1_status *policy_replace_object(const struct admission *adm, const struct resource *as,
                                             const struct json *tree);
/* The object's name: of the object when it is being created. */
struct str policy_object_name(const struct admission *adm);

#endif
