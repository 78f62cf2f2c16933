/* names.h - which names a definition gets, and what its conditions say of them.
 * Pure: a function of all definitions. */
#ifndef APISERVER_CUSTOM_NAMES_H
#define APISERVER_CUSTOM_NAMES_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiextensions_v1_custom_resource_definition;
struct arena;

/* Sets acceptedNames and the conditions NamesAccepted and Established of crd, a
 * private copy, by the names that the others have accepted. True: something
 * has changed. */
bool custom_names_accept(struct arena *a, struct apiextensions_v1_custom_resource_definition *crd,
                         const struct apiextensions_v1_custom_resource_definition *const *all,
                         size_t count, int64_t now_s);

/* Sets a condition; the time changes with the status only. True: it differs. */
bool custom_condition_set(struct arena *a, struct apiextensions_v1_custom_resource_definition *crd,
                          const char *type, bool status, const char *reason, struct str message,
                          int64_t now_s);

/* The webhook's caBundle has no certificate. */
bool custom_bundle_broken(const struct apiextensions_v1_custom_resource_definition *crd);

/* --- groups that belong to the community ---------------------------------------------- */
#define CUSTOM_APPROVED "api-approved.kubernetes.io"

enum custom_approval { APPROVAL_INVALID, APPROVAL_GIVEN, APPROVAL_BYPASSED, APPROVAL_MISSING };

bool custom_group_protected(struct str group); /* k8s.io, kubernetes.io and what is below. */
/* What the annotation says; *ret_why is for errors and the condition. */
enum custom_approval
custom_approval_of(struct arena *a, const struct apiextensions_v1_custom_resource_definition *crd,
                   struct str *ret_why);

#endif
