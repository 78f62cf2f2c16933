/* content.h - which form an answer takes and which a body came in. Pure. */
#ifndef APISERVER_CONTENT_H
#define APISERVER_CONTENT_H

#include "lib/base/base.h"
#include "lib/base/str.h"

struct arena;

enum media { MEDIA_JSON, MEDIA_YAML, MEDIA_PROTOBUF };

enum transform { AS_OBJECT, AS_TABLE, AS_PARTIAL, AS_PARTIAL_LIST };

struct accepted {
    enum media media;
    enum transform transform;
    const char *version; /* Of the transform: "v1" or "v1beta1". */
    bool stream;         /* ;stream=watch */
    bool pretty;
};

#define TYPE_JSON "application/json"
#define TYPE_YAML "application/yaml"
#define TYPE_PROTOBUF "application/vnd.kubernetes.protobuf"
#define TYPES_ACCEPTED_CUSTOM TYPE_JSON ", " TYPE_YAML
#define TYPES_ACCEPTED TYPE_JSON ", " TYPE_YAML ", " TYPE_PROTOBUF

const char *media_type(enum media m);

enum accept_limit {
    ACCEPT_NO_PROTOBUF = 1, /* Objects have no protobuf form; their metadata has. */
    ACCEPT_NO_TABLE = 2,    /* Nobody shows these in columns. */
};

/* The first form of the Accept header that can be served; limits: enum accept_limit. False: none
 * (406). *ret_bad_transform is set when a known type asked for a transform that there is not. */
bool accept_negotiate(struct str accept, unsigned limits, struct accepted *ret,
                      bool *ret_bad_transform);
/* Does Accept ask for aggregated discovery (v2)? Before plain JSON, that is.
 * *ret_type is the content type to answer with. */
bool accept_aggregated(struct str accept, const char **ret_type, bool *ret_v2beta1);

/* Which of the types Accept wants most, -1 when it takes none; any will do for an
 * empty one. */
int accept_choose(struct str accept, const char *const *types, size_t count);

enum body_type {
    BODY_UNKNOWN,
    BODY_JSON,
    BODY_YAML,
    BODY_PROTOBUF,
    BODY_JSON_PATCH,
    BODY_MERGE_PATCH,
    BODY_STRATEGIC_PATCH,
    BODY_APPLY_PATCH
};
/* Of a Content-Type header; empty is JSON. */
enum body_type body_type_of(struct str content_type);

#endif
