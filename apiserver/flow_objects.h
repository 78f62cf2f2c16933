/* flow_objects.h - the priority levels and flow schemas that every server has,
 * and the condition that tells whether a schema's level exists. Pure. */
#ifndef APISERVER_FLOW_OBJECTS_H
#define APISERVER_FLOW_OBJECTS_H

#include "lib/base/str.h"

#include <stdbool.h>
#include <stddef.h>

struct api_msg;
struct arena;
struct builtin;
struct kind_ctx;
struct txn_build;

/* As builtin_make(), of this group. */
bool flow_builtin_make(const struct kind_ctx *ctx, size_t index, struct builtin *ret);
/* The spec that the object of this name must have, decoded into a new object; NULL: it is not one
 * of those that every cluster must have. */
const void *flow_mandatory_object(struct arena *a, const struct api_msg *m, bool level,
                                  struct str name);
/* Is one of the objects gone that every cluster must have: exempt and catch-all? */
bool flow_mandatory_missing(const struct kind_ctx *ctx);
/* Brings the Dangling conditions of FlowSchemas up to date. False: they are. */
bool flow_conditions_plan(const struct kind_ctx *ctx, struct txn_build *t);

#endif
