/* service_rules.h - what services.c, service_validate.c and alloc.c share. Pure. */
#ifndef APISERVER_KINDS_SERVICE_RULES_H
#define APISERVER_KINDS_SERVICE_RULES_H

#include "apiserver/field_error.h"

struct arena;
struct core_v1_service;
struct core_v1_service_spec;

/* Is its type this one? */
bool service_is(const struct core_v1_service_spec *s, const char *type);
bool service_is_external(const struct core_v1_service_spec *s);
bool service_needs_health_port(const struct core_v1_service_spec *s);
bool service_is_headless(const struct core_v1_service_spec *s);

/* old is NULL on create. */
void service_validate(struct field_errors *errs, const struct core_v1_service *s,
                      const struct core_v1_service *old);
/* What an update may not do, whatever it makes of the object. */
void service_validate_change(struct field_errors *errs, const struct core_v1_service *s,
                             const struct core_v1_service *old);
/* Nothing is wrong with clusterIPs and families by themselves. */
bool service_addresses_agree(struct arena *a, const struct core_v1_service *s);
void service_validate_status(struct field_errors *errs, const struct core_v1_service *s);

/* An update that does not name a policy or families keeps them; one that
 * asks for a single family lets the second go. */
void service_keep_families(struct core_v1_service_spec *s, const struct core_v1_service_spec *old);

#endif
