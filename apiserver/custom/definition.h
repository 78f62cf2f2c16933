/* definition.h - a custom kind as it is served: a CustomResourceDefinition made
 * into resources, one for each version.
 *
 * Made from a stored definition, constant afterwards, shared by threads and
 * counted. Whoever holds a resource of it beyond the current call holds a
 * reference. */
#ifndef APISERVER_CUSTOM_DEFINITION_H
#define APISERVER_CUSTOM_DEFINITION_H

#include "apiserver/kind.h"
#include "apiserver/registry.h"
#include "lib/api/custom.h"
#include "lib/api/scheme.h"

#include <stdatomic.h>

struct apiextensions_v1_custom_resource_definition;
struct apiextensions_v1_custom_resource_definition_version;
struct custom_definition;
struct json;
struct jsonpath;

/* Of the columns that definitions and custom objects have alike. */
#define CUSTOM_NAME_DESCRIPTION                                                                    \
    "Name must be unique within a namespace. Is required when creating resources, although some "  \
    "resources may allow a client to request the generation of an appropriate name "               \
    "automatically. Name is primarily intended for creation idempotence and configuration "        \
    "definition. Cannot be updated. More info: "                                                   \
    "https://kubernetes.io/docs/concepts/overview/working-with-objects/names#names"
#define CUSTOM_AGE_DESCRIPTION                                                                     \
    "CreationTimestamp is a timestamp representing the server time when this object was created. " \
    "It is not guaranteed to be set in happens-before order across separate operations. Clients "  \
    "may not set this value. It is represented in RFC3339 form and is in UTC.\n\nPopulated by "    \
    "the system. Read-only. Null for lists. More info: "                                           \
    "https://git.k8s.io/community/contributors/devel/sig-architecture/api-conventions.md#metadata"

struct custom_column {
    const char *type;
    const struct jsonpath *path;
};

struct custom_version {
    struct custom_type type;
    const struct custom_definition *definition;
    struct api_kind kind;
    struct api_subresource subs[3];
    struct kind_ops ops;
    struct resource res;
    bool served;
    bool scale;
    struct str spec_replicas, status_replicas, label_selector; /* As given: ".spec.size" */
    const struct jsonpath *spec_replicas_path, *status_replicas_path;
    const struct jsonpath *label_selector_path; /* NULL: none. */
    const struct custom_column *columns;        /* Behind the name. */
    size_t column_count;
    struct str warning;        /* Of deprecated versions; empty: none. */
    struct str head;           /* How stored objects begin, up to where the version goes. */
    const struct json *schema; /* As given, for OpenAPI; NULL: none. */
};

struct custom_definition {
    _Atomic uint32_t refs;
    struct arena *arena; /* Holds everything, this struct too. */
    const struct apiextensions_v1_custom_resource_definition *object;
    struct str name, uid;
    int64_t since_rev;    /* Objects written since are as this definition has them. */
    uint32_t index;       /* Of its resources; the same for every definition of that name. */
    atomic_bool deleting; /* Its objects go: none may be created. The one thing that changes. */
    struct custom_version *versions;
    size_t count;
    struct custom_version *storage;
};

/* object is decoded and lives in a, which the definition takes over in any
 * case. E_INVALID: it cannot be served; *err says why. */
int custom_definition_new(struct arena *a,
                          const struct apiextensions_v1_custom_resource_definition *object,
                          int64_t since_rev, uint32_t index, struct custom_definition **ret,
                          struct error *err);
struct custom_definition *custom_definition_ref(const struct custom_definition *d);
void custom_definition_unref(void *d); /* NULL is a no-op. */

/* Would both serve the same? Conditions and the like do not count, nor does deletion. */
bool custom_definition_same(const struct custom_definition *d,
                            const struct apiextensions_v1_custom_resource_definition *object);

/* The condition's status is True. */
bool custom_condition(const struct apiextensions_v1_custom_resource_definition *object,
                      const char *type);

/* Of a resource; NULL for built-in ones. */
const struct custom_version *custom_version_of(const struct resource *r);
/* Of an object's table; never NULL for objects of custom kinds. */
const struct custom_version *custom_version_of_msg(const struct api_msg *m);

/* rules.c: what all custom kinds have in common. */
void custom_ops_init(struct custom_version *v);

#endif
