/* openapi_paths.h - the paths of group versions: every verb of every resource
 * and subresource, with what it takes and what it answers. */
#ifndef APISERVER_OPENAPI_PATHS_H
#define APISERVER_OPENAPI_PATHS_H

#include "apiserver/openapi_params.h"

struct openapi_defs;
struct openapi_writer;

struct openapi_paths {
    struct openapi_defs *defs; /* What paths refer to is added. */
    struct openapi_writer *writer;
    openapi_params used; /* Parameters that v2 refers to. */
    struct str delete_body, patch_body;
};

void openapi_paths_init(struct openapi_paths *p, struct openapi_defs *defs,
                        struct openapi_writer *w);
/* The discovery path "/apis/GROUP/VERSION/" and all resources below it. */
void openapi_paths_group_version(struct openapi_paths *p, const struct openapi_group_version *gv);
/* "/apis/GROUP/" */
void openapi_paths_group(struct openapi_paths *p, const char *group);

enum openapi_single {
    OPENAPI_WELL_KNOWN, /* /.well-known/openid-configuration/ */
    OPENAPI_API,        /* /api/ */
    OPENAPI_APIS,       /* /apis/ */
    OPENAPI_JWKS,       /* /openid/v1/jwks/ */
    OPENAPI_VERSION,    /* /version/ */
    OPENAPI_SINGLE_COUNT
};
/* As /openapi/v3 calls the document: "api", ".well-known/openid-configuration" ... */
const char *openapi_single_name(enum openapi_single s);
void openapi_paths_single(struct openapi_paths *p, enum openapi_single s);

#endif
