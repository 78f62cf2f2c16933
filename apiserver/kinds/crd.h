/* crd.h - the schemas of definitions of custom kinds: which ones are allowed. */
#ifndef APISERVER_KINDS_CRD_H
#define APISERVER_KINDS_CRD_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct apiextensions_v1_custom_resource_validation;
struct apiextensions_v1_json_schema_props;
struct arena;
struct field_errors;
struct field_path;

#define CRD_DEPTH_MAX 64u /* Of schemas in each other, as STRUCTURAL_DEPTH_MAX. */

/* path: of openAPIV3Schema; status: there is a status subresource; stored: the
 * same schema was accepted before, and so its single rules cost what they cost. */
void crd_check_schema(struct field_errors *errs, const struct field_path *path,
                      const struct apiextensions_v1_custom_resource_validation *v, bool status,
                      bool stored);

/* crd_structure.c: a schema must be structural: every place in it says its type,
 * and combinations (allOf, anyOf, oneOf, not) only narrow down what stands beside
 * them. Errors are sorted by their text. */
void crd_check_structure(struct field_errors *errs, const struct field_path *path,
                         const struct apiextensions_v1_json_schema_props *p);

/* crd_field_path.c: a path of plain names (".spec.a", with arrays ".spec['a.b']")
 * to a place that the schema declares; NULL when it is nothing, with the
 * canonical form or the reason why not. An empty path is the schema itself. */
const struct apiextensions_v1_json_schema_props *
crd_field_path(struct arena *a, const struct apiextensions_v1_json_schema_props *p, struct str path,
               bool arrays, struct str *ret_canonical, struct str *ret_why);

/* A member of properties; NULL: it is not declared. */
const struct apiextensions_v1_json_schema_props *
crd_property(const struct apiextensions_v1_json_schema_props *p, struct str name);

#endif
