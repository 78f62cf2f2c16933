/* crd.h - the schemas of definitions of custom kinds: which ones are allowed. */
#ifndef APISERVER_KINDS_CRD_H
#define APISERVER_KINDS_CRD_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiextensions_v1_custom_resource_validation;
struct field_errors;
struct field_path;

/* path: of openAPIV3Schema; status: there is a status subresource. */
void crd_check_schema(struct field_errors *errs, const struct field_path *path,
                      const struct apiextensions_v1_custom_resource_validation *v, bool status);
/* A selectable field must be a scalar of the schema. */
void crd_check_selectable(struct field_errors *errs, const struct field_path *path,
                          const struct apiextensions_v1_custom_resource_validation *v,
                          struct str json_path);

#endif
