/* container_env.h - the environment of a container. Pure. */
#ifndef KUBELET_CONTAINER_ENV_H
#define KUBELET_CONTAINER_ENV_H

#include "kubelet/env_expand.h"
#include "kubelet/field_ref.h"

struct core_v1_service;
struct source_set;

/* SVC_SERVICE_HOST and the like for a Service; nothing for headless ones. */
void env_add_service(struct arena *a, struct env_list *l, const struct core_v1_service *s);

/* services: those the variables come from, in ascending precedence. E_*: with
 * the message of a CreateContainerConfigError. */
int container_env(struct arena *a, const struct field_context *ctx,
                  const struct core_v1_container *c, const struct source_set *sources,
                  const struct core_v1_service *const *services, size_t service_count,
                  struct env_list *ret, struct error *err);

#endif
