/* openapi_params.h - the parameters that operations take, each a bit of a set. */
#ifndef APISERVER_OPENAPI_PARAMS_H
#define APISERVER_OPENAPI_PARAMS_H

#include "apiserver/openapi.h"

struct openapi_defs;
struct openapi_writer;

/* In the order of names, which is that of documents. Those of one name that
 * mean different things on different paths follow each other. */
enum openapi_param {
    PARAM_ALLOW_WATCH_BOOKMARKS,
    PARAM_BODY_DELETE, /* The body is a parameter in v2 only. */
    PARAM_BODY_OBJECT,
    PARAM_BODY_PATCH,
    PARAM_COMMAND,
    PARAM_CONTAINER_ATTACH,
    PARAM_CONTAINER_EXEC,
    PARAM_CONTAINER_LOG,
    PARAM_CONTINUE,
    PARAM_DRY_RUN,
    PARAM_FIELD_MANAGER,
    PARAM_FIELD_MANAGER_PATCH,
    PARAM_FIELD_SELECTOR,
    PARAM_FIELD_VALIDATION,
    PARAM_FOLLOW,
    PARAM_FORCE,
    PARAM_GRACE_PERIOD_SECONDS,
    PARAM_IGNORE_STORE_READ_ERROR,
    PARAM_INSECURE_SKIP_TLS_VERIFY_BACKEND,
    PARAM_LABEL_SELECTOR,
    PARAM_LIMIT,
    PARAM_LIMIT_BYTES,
    PARAM_NAME,
    PARAM_NAMESPACE,
    PARAM_ORPHAN_DEPENDENTS,
    PARAM_PATH_IN_PATH,
    PARAM_PATH,
    PARAM_PORTS,
    PARAM_PRETTY,
    PARAM_PREVIOUS,
    PARAM_PROPAGATION_POLICY,
    PARAM_RESOURCE_VERSION,
    PARAM_RESOURCE_VERSION_MATCH,
    PARAM_SEND_INITIAL_EVENTS,
    PARAM_SINCE_SECONDS,
    PARAM_STDERR,
    PARAM_STDIN,
    PARAM_STDOUT,
    PARAM_STREAM,
    PARAM_TAIL_LINES,
    PARAM_TIMEOUT_SECONDS,
    PARAM_TIMESTAMPS,
    PARAM_TTY,
    PARAM_WATCH,
    PARAM_COUNT
};

typedef uint64_t openapi_params; /* A set: bits numbered by enum openapi_param. */
#define PARAM_BIT(p) (UINT64_C(1) << (p))
#define PARAMS_BODY                                                                                \
    (PARAM_BIT(PARAM_BODY_DELETE) | PARAM_BIT(PARAM_BODY_OBJECT) | PARAM_BIT(PARAM_BODY_PATCH))

/* What texts and bodies name. */
struct openapi_param_context {
    enum openapi_version version;
    const char *kind; /* Of the object that the path names. */
    struct str body;  /* Definition of the body: of an object, patch or options. */
};

/* Appends ["parameters":] a JSON array of the set; v3 leaves the body out. */
void openapi_params_put(const struct openapi_param_context *c, openapi_params set, struct buf *out);
/* v2: what operations share, and name by reference. Those of `used`. */
void openapi_params_write(openapi_params used, struct str delete_body, struct str patch_body,
                          struct openapi_writer *w);

#endif
