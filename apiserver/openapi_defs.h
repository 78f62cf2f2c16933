/* openapi_defs.h - the definitions (schemas) of one document: who refers to a
 * type adds it, and with it all that it refers to. */
#ifndef APISERVER_OPENAPI_DEFS_H
#define APISERVER_OPENAPI_DEFS_H

#include "apiserver/openapi.h"
#include "lib/base/map.h"

struct api_msg;
struct arena;
struct openapi_writer;

struct openapi_def {
    struct str name;                       /* "io.k8s.api.core.v1.Pod" */
    const struct api_msg *msg;             /* NULL: one of the others. */
    const struct openapi_resource *custom; /* A custom kind, or its list. */
    bool custom_list;
    const char *json; /* A definition that is nobody's message. */
};

struct openapi_defs {
    enum openapi_version version;
    struct arena *arena;
    struct map by_name; /* Name -> struct openapi_def */
};

void openapi_defs_init(struct openapi_defs *d, enum openapi_version version, struct arena *a);
void openapi_defs_done(struct openapi_defs *d);

/* Each adds a definition unless it is there, and returns its name, which lives
 * in the arena. */
struct str openapi_defs_message(struct openapi_defs *d, const struct api_msg *m);
struct str openapi_defs_kind(struct openapi_defs *d, const struct openapi_resource *r);
struct str openapi_defs_list(struct openapi_defs *d, const struct openapi_resource *r);
struct str openapi_defs_version_info(struct openapi_defs *d);

/* "#/definitions/" or "#/components/schemas/" */
const char *openapi_ref_prefix(enum openapi_version version);
/* All of them by name, as the writer's schemas. */
void openapi_defs_write(const struct openapi_defs *d, struct openapi_writer *w);

/* --- openapi_schema.c and openapi_custom.c: one definition's JSON --------------------------- */
void openapi_schema_message(struct openapi_defs *d, const struct api_msg *m, struct buf *out);
void openapi_schema_custom(struct openapi_defs *d, const struct openapi_resource *r, bool list,
                           struct buf *out);

/* What stands in every kind, in our words. */
#define OPENAPI_KIND_TEXT "What kind of object this is, in CamelCase. It cannot change."
#define OPENAPI_API_VERSION_TEXT "The group and version of the object's kind, such as apps/v1."
#define OPENAPI_METADATA_TEXT "Name, namespace, labels, annotations and what else every object has."
#define OPENAPI_LIST_METADATA_TEXT "The list's revision, and where to go on when it is not whole."

#endif
