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

#endif
