/* client.h - asynchronous calls to the Kubernetes API on a uv loop.
 *
 * Typed objects travel as application/vnd.kubernetes.protobuf; kinds without
 * a schema as JSON. Loop-confined. Over one HTTP/2 connection per server; when
 * a server does not answer, the next one of the kubeconfig is used.
 *
 * Every call is repeated when the server says 429 or 5xx with Retry-After, and
 * a few times within about a second when no connection could be made, since
 * then nothing happened. Reads (GET, LIST) are repeated as often when the
 * connection is lost before the answer is complete. Repeats end at
 * call.timeout_ms. A write whose connection is lost in between ends with
 * E_UNKNOWN_OUTCOME. */
#ifndef CLIENT_CLIENT_H
#define CLIENT_CLIENT_H

#include "lib/base/str.h"

struct api_kind;
struct api_msg;
struct api_object;
struct arena;
struct client;
struct client_request;
struct client_watch;
struct env;
struct error;
struct json;
struct kubeconfig;
struct meta_v1_status;
struct uv_loop_s;

#define CLIENT_TIMEOUT_MS_DEFAULT 60000

struct client_options {
    const char *user_agent; /* Copied; NULL: "trireme". */
    double qps;             /* Calls per second on average; 0: no limit. Watches do not count. */
    unsigned burst;         /* Calls at once above the average. */
    struct env *env;        /* NULL: env_system(). */
};

/* Takes over config, whatever comes back. No connection is made yet. */
int client_new(struct uv_loop_s *loop, struct kubeconfig *config,
               const struct client_options *options, struct client **ret, struct error *err);
/* Cancels all calls and watches silently; on_closed (may be NULL) runs later
 * on the loop, when c is gone. NULL is a no-op (on_closed does not run). */
void client_close(struct client *c, void (*on_closed)(void *arg), void *arg);

struct uv_loop_s *client_loop(const struct client *c);
struct env *client_env(const struct client *c);
const struct kubeconfig *client_config(const struct client *c);
/* Takes over config: new credentials and servers for calls from now on; old
 * connections end when their calls do. */
int client_set_config(struct client *c, struct kubeconfig *config, struct error *err);

/* A resource that the scheme does not know (custom resources), or one that is
 * asked for in another form (PartialObjectMetadata). */
struct client_resource {
    const char *group; /* "" for core */
    const char *version;
    const char *resource;
    bool namespaced;
};

enum client_verb {
    CLIENT_GET,
    CLIENT_LIST,
    CLIENT_CREATE,
    CLIENT_UPDATE,
    CLIENT_PATCH,
    CLIENT_DELETE,
    CLIENT_DELETE_COLLECTION,
};

#define CLIENT_PATCH_JSON "application/json-patch+json"
#define CLIENT_PATCH_MERGE "application/merge-patch+json"
#define CLIENT_PATCH_STRATEGIC "application/strategic-merge-patch+json"
#define CLIENT_PATCH_APPLY "application/apply-patch+yaml"

enum client_propagation {
    CLIENT_PROPAGATE_DEFAULT,
    CLIENT_PROPAGATE_BACKGROUND,
    CLIENT_PROPAGATE_FOREGROUND,
    CLIENT_PROPAGATE_ORPHAN,
};

/* What to select, for lists, watches and DELETE_COLLECTION. Zero: everything. */
struct client_list_options {
    struct str label_selector;
    struct str field_selector;
    struct str resource_version;
    struct str resource_version_match; /* "Exact", "NotOlderThan" */
    int64_t limit;                     /* 0: no pages */
    struct str continue_token;
};

struct client_call;
/* The outcome of a call; everything in it is borrowed for the callback. */
struct client_result {
    int code;                            /* 0 or E_*, from the Status' reason or the transport. */
    int http_status;                     /* 0: no answer arrived. */
    const char *message;                 /* On failure: one line for a log. Never NULL. */
    const struct meta_v1_status *status; /* On failure: what the server said; NULL: nothing. */
    uint32_t retry_after_s;              /* Of a 429 or 503 that could not be waited for. */
    struct api_object
        *object;     /* Typed answers (of a LIST: the list). Keep it with api_object_ref(). */
    struct str body; /* As received. */
};

/* Copied, with all it points at, before client_start() returns. */
struct client_call {
    enum client_verb verb;
    const struct api_kind *kind; /* Gives the path; and how to decode the answer. */
    const struct client_resource
        *resource;             /* Overrides the path. With kind NULL answers are JSON text in
                                  result.body; with a kind of meta.k8s.io (PartialObjectMetadata)
                                  the server is asked to convert. */
    struct str namespace_name; /* Empty: cluster scope, or all namespaces. */
    struct str name;
    const char *subresource; /* "status", "binding", "eviction", "scale", ...; NULL without. */
    const struct api_kind *body_kind; /* Of body; NULL: kind. Answers to a subresource are decoded
                                         as whatever known kind they say they are. */
    const void *body;                 /* The message (api_object.msg) for CREATE and UPDATE. */
    const char *patch_type;           /* CLIENT_PATCH_*. */
    struct str raw_body;              /* The patch; or JSON text in place of body. */
    const char *field_manager;        /* NULL: the server derives it from the user agent. */
    bool force;                       /* Server-side apply. */
    bool dry_run;
    struct client_list_options list;
    enum client_propagation propagation; /* DELETE, DELETE_COLLECTION */
    struct str uid_precondition;         /* DELETE: only this incarnation. */
    struct str rv_precondition;          /* DELETE: only this version. */
    int64_t grace_period_s;              /* DELETE: used when has_grace_period. */
    bool has_grace_period;
    uint32_t timeout_ms; /* For all tries together; 0: CLIENT_TIMEOUT_MS_DEFAULT. */
    bool undecoded;      /* Successful answers stay bytes in result.body. */

    /* Runs once, later on the loop, unless the call is cancelled. The request
     * is gone when it returns. NULL: nobody cares. */
    void (*done)(struct client_request *r, const struct client_result *result, void *arg);
    void *arg;
};

/* On failure (a malformed call) done never runs. ret may be NULL. */
int client_start(struct client *c, const struct client_call *call, struct client_request **ret,
                 struct error *err);
/* done will not run. The server may still carry the call out. */
void client_cancel(struct client_request *r);

/* The path of a call ("/api/v1/namespaces/x/pods/y/status"), without query. */
struct str client_path(struct arena *a, const struct client_call *call);

/* --- lists -------------------------------------------------------------------
 * Items of a decoded list object. */
size_t client_list_count(const struct api_object *list);
/* The struct of item i (of the list kind's item type). */
void *client_list_item(const struct api_object *list, size_t i);
/* The list's own metadata: resourceVersion, continue. */
struct str client_list_resource_version(const struct api_object *list);
struct str client_list_continue(const struct api_object *list);

/* The same from an undecoded answer, each item decoded into an object of its
 * own, once. on_item takes over the reference. Kinds without schema are not for
 * this. rv and continue go to a. */
int client_list_walk(struct arena *a, const struct api_kind *kind, struct str body,
                     void (*on_item)(struct api_object *item, void *arg), void *arg,
                     struct str *ret_resource_version, struct str *ret_continue, struct error *err);

/* --- watches ----------------------------------------------------------------- */
enum client_event_type {
    CLIENT_ADDED,
    CLIENT_MODIFIED,
    CLIENT_DELETED,
    CLIENT_BOOKMARK,
};

struct client_event {
    enum client_event_type type;
    struct api_object *object; /* Borrowed; NULL when the kind has no schema. */
    const struct json *json;   /* Borrowed; for kinds without schema. */
};

struct client_watch_config {
    const struct api_kind *kind;
    const struct client_resource *resource; /* As in struct client_call. */
    struct str namespace_name;
    struct client_list_options list; /* resource_version: deliver what is newer. */
    bool no_bookmarks;
    bool send_initial_events; /* Streams the present state first, up to an annotated bookmark. */
    uint32_t timeout_s;       /* Asked from the server; 0: server's choice. */
    void (*on_event)(struct client_watch *w, const struct client_event *e, void *arg);
    /* The stream is over, for good; w is gone when it returns. result->code is
     * 0 for an orderly end, E_EXPIRED when the version is no longer kept. */
    void (*on_end)(struct client_watch *w, const struct client_result *result, void *arg);
    void *arg;
};
/* Everything is copied. No callback runs inside this call. */
int client_watch_start(struct client *c, const struct client_watch_config *config,
                       struct client_watch **ret, struct error *err);
/* No callback will run any more; w is gone. May be called inside on_event. */
void client_watch_stop(struct client_watch *w);

/* --- raw ---------------------------------------------------------------------
 * Any request: discovery, /healthz, logs, proxies. */
struct client_raw {
    const char *method; /* NULL: "GET" */
    struct str path;    /* With query. */
    struct str body;
    const char *content_type;
    const char *accept;  /* NULL: application/json */
    uint32_t timeout_ms; /* Until the answer is complete; 0: default; UINT32_MAX: none. */
    /* NULL: the body is collected and handed to done. Else called with each
     * piece as it comes, of an answer with a 2xx status. */
    void (*on_data)(struct client_request *r, struct str piece, void *arg);
    void (*done)(struct client_request *r, const struct client_result *result, void *arg);
    void *arg;
};
int client_raw_start(struct client *c, const struct client_raw *raw, struct client_request **ret,
                     struct error *err);

#endif
