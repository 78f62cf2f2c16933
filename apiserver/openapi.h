/* openapi.h - the OpenAPI documents: what is served, in the form that other
 * people's tools read (kubectl explain and its validation, code generators).
 *
 * Pure: from resources and their schemas to JSON or protobuf. The documents
 * are written from start to end, one path or definition at a time; nothing
 * holds one as a tree. openapi_serve.c says who asks and what is kept. */
#ifndef APISERVER_OPENAPI_H
#define APISERVER_OPENAPI_H

#include "lib/api/scheme.h"
#include "lib/base/base.h"
#include "lib/base/str.h"

struct buf;
struct json;

enum openapi_version { OPENAPI_V2, OPENAPI_V3 };

/* A kind without a generated table: its schema says what it is. */
static inline bool openapi_is_custom(const struct api_kind *k)
{
    return k->msg == NULL || k->msg->special == API_CUSTOM;
}

/* One resource of a group version. */
struct openapi_resource {
    const struct api_kind *kind; /* Names, scope, verbs, subresources; openapi_is_custom() tells. */
    const struct json *schema;   /* Of a custom kind: OpenAPI v3, as its definition gives it. */
    bool returns_deleted;        /* Deleting answers with the object. */
};

struct openapi_group_version {
    const char *group; /* "" for core. */
    const char *version;
    const struct openapi_resource *resources;
    size_t count;
};

/* Everything that is served: group versions in any order, built-in and custom
 * ones alike. Borrowed; must not change while a document is written. */
struct openapi_sources {
    const struct openapi_group_version *versions;
    size_t count;
};

/* Called for each document of /openapi/v3, in the order of names: "api",
 * "api/v1", "apis", "apis/apps", "apis/apps/v1" ... */
void openapi_v3_names(const struct openapi_sources *s, void (*each)(struct str name, void *arg),
                      void *arg);
/* Appends the document. */
void openapi_v2_document(const struct openapi_sources *s, bool protobuf, struct buf *out);
/* The same, item by item, as what others' documents are joined to: openapi_merge.h. */
struct openapi_merge;
void openapi_v2_items(const struct openapi_sources *s, struct openapi_merge *m);
/* False, and out unchanged, when there is none of that name. */
bool openapi_v3_document(const struct openapi_sources *s, struct str name, bool protobuf,
                         struct buf *out);

/* --- openapi_serve.c ------------------------------------------------------------------------
 * From now on these are the sources; requests that are under way end with the
 * ones before. release is called once nothing needs them any more, on any
 * thread. Documents of group versions whose resources are the same array are
 * kept. Any thread. */
void openapi_publish(const struct openapi_sources *s, void (*release)(struct openapi_sources *s));

/* Those of the built-in kinds; they last for ever. */
const struct openapi_sources *openapi_built_in(void);

#endif
