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

/* The objects of a resource of admissionregistration.k8s.io in the write's view,
 * decoded into its arena, by name; NULL items are none. */
size_t policy_objects(const struct kind_ctx *ctx, const char *resource, void ***ret);

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
