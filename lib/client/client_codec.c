/* client_codec.c - API calls to HTTP requests and answers back. Pure. */
#include "lib/client/client_internal.h"

#include "api/meta_v1.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/pb_wire.h"
#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/net/bytes.h"
#include "lib/net/url.h"

#include <string.h>

#define TYPE_PROTOBUF "application/vnd.kubernetes.protobuf"
#define TYPE_JSON "application/json"
#define AS_METADATA ";as=PartialObjectMetadata;g=meta.k8s.io;v=v1"
#define AS_METADATA_LIST ";as=PartialObjectMetadataList;g=meta.k8s.io;v=v1"

/* --- targets ------------------------------------------------------------------ */

static void put_segment(struct buf *b, struct str s)
{
    buf_putc(b, '/');
    url_escape_path_segment(b, s);
}

static void put_path(struct buf *b, const struct api_kind *kind,
                     const struct client_resource *resource, struct str namespace_name,
                     struct str name, const char *subresource)
{
    const char *group = resource != NULL ? resource->group : kind->group;
    bool namespaced = resource != NULL ? resource->namespaced : kind->namespaced;
    buf_puts(b, group[0] == '\0' ? "/api" : "/apis");
    if (group[0] != '\0')
        put_segment(b, str_of(group));
    put_segment(b, str_of(resource != NULL ? resource->version : kind->version));
    if (namespaced && !str_empty(namespace_name)) {
        buf_puts(b, "/namespaces");
        put_segment(b, namespace_name);
    }
    put_segment(b, str_of(resource != NULL ? resource->resource : kind->resource));
    if (!str_empty(name))
        put_segment(b, name);
    if (subresource != NULL) /* May be a path of its own: proxy/x. */
        buf_printf(b, "/%s", subresource);
}

struct str client_path(struct arena *a, const struct client_call *call)
{
    AUTO_BUF b = BUF_INIT;
    put_path(&b, call->kind, call->resource, call->namespace_name, call->name, call->subresource);
    return arena_str(a, buf_str(&b));
}

struct query {
    struct buf *out;
    bool any;
};

static void put_query(struct query *q, const char *key, struct str value)
{
    if (str_empty(value))
        return;
    buf_printf(q->out, "%c%s=", q->any ? '&' : '?', key);
    url_escape_query(q->out, value);
    q->any = true;
}

static void put_query_int(struct query *q, const char *key, int64_t value)
{
    if (value == 0)
        return;
    buf_printf(q->out, "%c%s=%lld", q->any ? '&' : '?', key, (long long)value);
    q->any = true;
}

static void put_list_query(struct query *q, const struct client_list_options *o)
{
    put_query(q, "labelSelector", o->label_selector);
    put_query(q, "fieldSelector", o->field_selector);
    put_query(q, "resourceVersion", o->resource_version);
    put_query(q, "resourceVersionMatch", o->resource_version_match);
    put_query_int(q, "limit", o->limit);
    put_query(q, "continue", o->continue_token);
}

static void put_call_query(struct buf *b, const struct client_call *call)
{
    struct query q = {b, false};
    bool selects = call->verb == CLIENT_LIST || call->verb == CLIENT_DELETE_COLLECTION;
    bool writes =
        call->verb == CLIENT_CREATE || call->verb == CLIENT_UPDATE || call->verb == CLIENT_PATCH;
    if (selects)
        put_list_query(&q, &call->list);
    else if (call->verb == CLIENT_GET)
        put_query(&q, "resourceVersion", call->list.resource_version);
    if (writes && call->field_manager != NULL)
        put_query(&q, "fieldManager", str_of(call->field_manager));
    if (call->verb == CLIENT_PATCH && call->force)
        put_query(&q, "force", STR("true"));
    if (call->dry_run)
        put_query(&q, "dryRun", STR("All"));
}

/* --- bodies -------------------------------------------------------------------- */

static void put_delete_options(struct buf *b, const struct client_call *call)
{
    static const char *const policies[] = {NULL, "Background", "Foreground", "Orphan"};
    buf_puts(b, "{\"kind\":\"DeleteOptions\",\"apiVersion\":\"v1\"");
    if (call->has_grace_period)
        buf_printf(b, ",\"gracePeriodSeconds\":%lld", (long long)call->grace_period_s);
    bool has_uid = !str_empty(call->uid_precondition);
    bool has_rv = !str_empty(call->rv_precondition);
    if (has_uid || has_rv) {
        buf_puts(b, ",\"preconditions\":{");
        if (has_uid) {
            buf_puts(b, "\"uid\":");
            json_write_string(call->uid_precondition, b);
        }
        if (has_rv) {
            buf_puts(b, has_uid ? ",\"resourceVersion\":" : "\"resourceVersion\":");
            json_write_string(call->rv_precondition, b);
        }
        buf_putc(b, '}');
    }
    if (call->propagation != CLIENT_PROPAGATE_DEFAULT)
        buf_printf(b, ",\"propagationPolicy\":\"%s\"", policies[call->propagation]);
    buf_putc(b, '}');
}

static int put_body(const struct client_call *call, struct buf *b, const char **ret_type,
                    struct error *err)
{
    *ret_type = NULL;
    switch (call->verb) {
    case CLIENT_GET:
    case CLIENT_LIST:
        return 0;
    case CLIENT_DELETE:
    case CLIENT_DELETE_COLLECTION:
        put_delete_options(b, call);
        *ret_type = TYPE_JSON;
        return 0;
    case CLIENT_PATCH:
        if (call->patch_type == NULL)
            return error_set(err, E_INVALID, "a patch needs a type");
        buf_append_str(b, call->raw_body);
        *ret_type = call->patch_type;
        return 0;
    case CLIENT_CREATE:
    case CLIENT_UPDATE:
        break;
    }
    const struct api_kind *kind = call->body_kind != NULL ? call->body_kind : call->kind;
    if (call->body == NULL) {
        buf_append_str(b, call->raw_body);
        *ret_type = TYPE_JSON;
    } else if (kind == NULL) {
        return error_set(err, E_INVALID, "a typed body needs its kind");
    } else {
        api_envelope_encode(kind->msg, call->body, str_of(kind->api_version), str_of(kind->kind),
                            b);
        *ret_type = TYPE_PROTOBUF;
    }
    return 0;
}

static bool wants_metadata(const struct api_kind *kind)
{
    return kind != NULL && kind->msg == &meta_v1_partial_object_metadata_msg;
}

static const char *accept_of(const struct api_kind *kind, bool list)
{
    if (kind == NULL)
        return TYPE_JSON;
    if (wants_metadata(kind))
        return list ? TYPE_PROTOBUF AS_METADATA_LIST "," TYPE_JSON AS_METADATA_LIST "," TYPE_JSON
                    : TYPE_PROTOBUF AS_METADATA "," TYPE_JSON AS_METADATA "," TYPE_JSON;
    return TYPE_PROTOBUF "," TYPE_JSON;
}

static int check_call(const struct client_call *call, struct error *err)
{
    if (call->kind == NULL && call->resource == NULL)
        return error_set(err, E_INVALID, "a call needs a kind or a resource");
    if (call->resource == NULL && call->kind->resource == NULL)
        return error_set(err, E_INVALID, "kind %s has no resource", call->kind->kind);
    bool by_name = call->verb == CLIENT_GET || call->verb == CLIENT_UPDATE ||
                   call->verb == CLIENT_PATCH || call->verb == CLIENT_DELETE;
    if (by_name && str_empty(call->name))
        return error_set(err, E_INVALID, "resource name may not be empty");
    return 0;
}

int client_encode_call(struct arena *a, const char *prefix, const struct client_call *call,
                       struct client_message *ret, struct error *err)
{
    static const char *const methods[] = {"GET", "GET", "POST", "PUT", "PATCH", "DELETE", "DELETE"};
    AUTO_BUF target = BUF_INIT, body = BUF_INIT;
    int rc = check_call(call, err);
    if (rc != 0)
        return rc;
    const char *type;
    rc = put_body(call, &body, &type, err);
    if (rc != 0)
        return rc;
    buf_puts(&target, prefix);
    put_path(&target, call->kind, call->resource, call->namespace_name, call->name,
             call->subresource);
    put_call_query(&target, call);
    *ret = (struct client_message){
        .method = methods[call->verb],
        .target = arena_str(a, buf_str(&target)).data,
        .content_type = type,
        .accept = accept_of(call->kind, call->verb == CLIENT_LIST),
        .body = type != NULL ? net_bytes_steal(&body) : NULL,
        .is_read = call->verb == CLIENT_GET || call->verb == CLIENT_LIST,
    };
    return 0;
}

int client_encode_watch(struct arena *a, const char *prefix,
                        const struct client_watch_config *config, struct client_message *ret,
                        struct error *err)
{
    AUTO_BUF target = BUF_INIT;
    if (config->kind == NULL && config->resource == NULL)
        return error_set(err, E_INVALID, "a watch needs a kind or a resource");
    buf_puts(&target, prefix);
    put_path(&target, config->kind, config->resource, config->namespace_name, STR_NULL, NULL);
    struct query q = {&target, false};
    put_query(&q, "watch", STR("true"));
    put_list_query(&q, &config->list);
    if (!config->no_bookmarks)
        put_query(&q, "allowWatchBookmarks", STR("true"));
    if (config->send_initial_events)
        put_query(&q, "sendInitialEvents", STR("true"));
    put_query_int(&q, "timeoutSeconds", config->timeout_s);
    *ret = (struct client_message){
        .method = "GET",
        .target = arena_str(a, buf_str(&target)).data,
        .accept = accept_of(config->kind, false),
        .is_read = true,
    };
    return 0;
}

/* --- answers ------------------------------------------------------------------- */

int client_status_code(const struct meta_v1_status *status, int http_status)
{
    static const int codes[] = {
        E_INVALID,  E_UNAUTHORIZED, E_FORBIDDEN,   E_NOT_FOUND, E_METHOD,          E_NOT_ACCEPTABLE,
        E_EXISTS,   E_CONFLICT,     E_EXPIRED,     E_TOO_LARGE, E_MEDIA_TYPE,      E_UNPROCESSABLE,
        E_TOO_MANY, E_INTERNAL,     E_UNAVAILABLE, E_TIMEOUT,   E_NOT_IMPLEMENTED,
    };
    if (status != NULL && !str_empty(status->reason)) {
        for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
            if (str_eqc(status->reason, error_reason(codes[i])))
                return codes[i];
        if (str_eqc(status->reason, "Gone"))
            return E_EXPIRED;
        if (str_eqc(status->reason, "ServerTimeout"))
            return E_TIMEOUT;
    }
    if (http_status == 409)
        return E_CONFLICT;
    for (size_t i = 0; i < ARRAY_SIZE(codes); i++)
        if (error_http_status(codes[i]) == http_status)
            return codes[i];
    return http_status >= 500 ? E_INTERNAL : E_INVALID;
}

static const struct api_kind *kind_said(struct str api_version, struct str kind)
{
    return api_kind_by_api_version(api_version, kind);
}

static int decode_json_object(const struct api_kind *kind, struct str text, struct api_object **ret,
                              struct error *err)
{
    AUTO_ARENA *scratch = arena_new(0);
    struct json *tree;
    int rc = json_parse(scratch, text, &tree, err);
    if (rc != 0)
        return rc;
    struct str api_version = json_get_str(tree, "apiVersion"), name = json_get_str(tree, "kind");
    const struct api_kind *said = kind_said(api_version, name);
    /* A server that cannot convert to metadata sends the whole object: its
     * metadata stands where ours is. */
    if (kind == NULL || (said != NULL && !wants_metadata(kind)))
        kind = said;
    if (kind == NULL)
        return error_set(err, E_NOT_FOUND, "kind \"" STR_FMT "\" of \"" STR_FMT "\" is not known",
                         STR_ARG(name), STR_ARG(api_version));
    struct api_object *o = api_object_new(kind);
    rc = api_json_decode_tree(o->arena, kind->msg, tree, API_LENIENT, NULL, o->msg, err);
    if (rc != 0) {
        api_object_unref(o);
        return rc;
    }
    *ret = o;
    return 0;
}

int client_decode_object(const struct api_kind *kind, struct str bytes, struct api_object **ret,
                         struct error *err)
{
    if (!api_envelope_is(bytes))
        return decode_json_object(kind, bytes, ret, err);
    struct str api_version, name, raw;
    int rc = api_envelope_open(bytes, &api_version, &name, &raw, err);
    if (rc != 0)
        return rc;
    if (kind == NULL || !str_eqc(name, kind->kind) || !str_eqc(api_version, kind->api_version)) {
        const struct api_kind *said = kind_said(api_version, name);
        if (said == NULL)
            return error_set(err, E_NOT_FOUND,
                             "kind \"" STR_FMT "\" of \"" STR_FMT "\" is not known", STR_ARG(name),
                             STR_ARG(api_version));
        kind = said;
    }
    struct api_object *o = api_object_new(kind);
    rc = api_pb_decode(o->arena, kind->msg, raw, o->msg, err);
    if (rc != 0) {
        api_object_unref(o);
        return rc;
    }
    *ret = o;
    return 0;
}

static bool is_status(const struct api_object *o)
{
    return o->kind->msg == &meta_v1_status_msg;
}

static void release_object(void *o)
{
    api_object_unref(o);
}

/* A Status if the body is one; it lives in a. */
static const struct meta_v1_status *decode_status(struct arena *a, struct str body)
{
    struct api_object *o = NULL;
    if (client_decode_object(NULL, body, &o, NULL) != 0)
        return NULL;
    ASSERT(o != NULL);
    arena_hold(a, o, release_object);
    return is_status(o) ? o->msg : NULL;
}

static void decode_failure(struct arena *a, int http_status, struct str body,
                           struct client_result *ret)
{
    ret->status = decode_status(a, body);
    ret->code = client_status_code(ret->status, http_status);
    if (ret->status != NULL && !str_empty(ret->status->message)) {
        ret->message = arena_str(a, ret->status->message).data;
        if (ret->status->details != NULL && ret->status->details->retry_after_seconds > 0)
            ret->retry_after_s = (uint32_t)ret->status->details->retry_after_seconds;
        return;
    }
    struct str text = str_trim(str_sub(body, 0, 256));
    ret->message = arena_printf(a, "the server answered %d%s" STR_FMT, http_status,
                                str_empty(text) ? "" : ": ", STR_ARG(text))
                       .data;
}

void client_decode_answer(struct arena *a, const struct api_kind *kind, bool decode,
                          int http_status, struct str content_type, struct str body,
                          struct client_result *ret)
{
    ret->http_status = http_status;
    ret->body = body;
    ret->message = "";
    if (http_status < 200 || http_status > 299) {
        decode_failure(a, http_status, body, ret);
        return;
    }
    bool is_protobuf = str_has_prefix(content_type, STR(TYPE_PROTOBUF));
    bool is_json = str_has_prefix(content_type, STR(TYPE_JSON));
    if (!decode || str_empty(body) || !(is_protobuf || is_json))
        return;
    if (kind == NULL && !is_protobuf)
        return;
    struct error err = {0};
    struct api_object *o = NULL;
    int rc = client_decode_object(NULL, body, &o, &err);
    if (rc == E_NOT_FOUND && wants_metadata(kind)) /* Unconverted custom resource. */
        rc = client_decode_object(kind, body, &o, &err);
    if (rc == E_NOT_FOUND)
        return; /* Not in the scheme: the bytes are there. */
    if (rc != 0) {
        ret->code = E_INVALID;
        ret->message = arena_printf(a, "cannot decode the answer: %s", error_message(&err)).data;
        return;
    }
    arena_hold(a, o, release_object);
    ret->object = o;
}

int client_decode_frame(struct str frame, struct str *ret_type, struct str *ret_object,
                        struct error *err)
{
    struct pb_cursor c = pb_cursor_of(frame);
    struct pb_item f;
    struct str type = STR_NULL, extension = STR_NULL, raw = STR_NULL;
    int r;
    while ((r = pb_next(&c, &f, NULL)) > 0) {
        if (f.number == 1 && f.type == PB_BYTES)
            type = f.bytes;
        else if (f.number == 2 && f.type == PB_BYTES)
            extension = f.bytes;
    }
    if (r < 0 || str_empty(type))
        return error_set(err, E_INVALID, "a watch frame of %zu bytes is no WatchEvent", frame.len);
    c = pb_cursor_of(extension);
    while (str_empty(raw) && pb_next(&c, &f, NULL) > 0)
        if (f.number == 1 && f.type == PB_BYTES)
            raw = f.bytes;
    *ret_type = type;
    *ret_object = raw;
    return 0;
}

/* --- lists ---------------------------------------------------------------------- */

static const struct api_field *list_field(const struct api_object *list, const char *name)
{
    return api_field_by_json(list->kind->msg, str_of(name));
}

static const struct meta_v1_list_meta *list_meta(const struct api_object *list)
{
    const struct api_field *f = list_field(list, "metadata");
    if (f == NULL || f->msg != &meta_v1_list_meta_msg)
        return NULL;
    return (const void *)((const char *)list->msg + f->offset);
}

size_t client_list_count(const struct api_object *list)
{
    const struct api_field *f = list_field(list, "items");
    if (f == NULL || f->label != API_REPEATED)
        return 0;
    size_t count;
    memcpy(&count, (const char *)list->msg + f->has_offset, sizeof(count));
    return count;
}

void *client_list_item(const struct api_object *list, size_t i)
{
    const struct api_field *f = list_field(list, "items");
    ASSERT(f != NULL);
    ASSERT_CMP(i, <, client_list_count(list));
    char *items;
    memcpy(&items, (const char *)list->msg + f->offset, sizeof(items));
    return items + i * f->elem_size;
}

struct str client_list_resource_version(const struct api_object *list)
{
    const struct meta_v1_list_meta *m = list_meta(list);
    return m != NULL ? m->resource_version : STR_NULL;
}

struct str client_list_continue(const struct api_object *list)
{
    const struct meta_v1_list_meta *m = list_meta(list);
    return m != NULL ? m->continue_ : STR_NULL;
}

static int walk_protobuf(struct arena *a, const struct api_kind *kind, struct str raw,
                         void (*on_item)(struct api_object *item, void *arg), void *arg,
                         struct meta_v1_list_meta *meta, struct error *err)
{
    /* All lists of Kubernetes have metadata as field 1 and items as field 2. */
    struct pb_cursor c = pb_cursor_of(raw);
    struct pb_item f;
    int more;
    while ((more = pb_next(&c, &f, NULL)) > 0) {
        int rc = 0;
        if (f.number == 1 && f.type == PB_BYTES) {
            rc = api_pb_decode(a, &meta_v1_list_meta_msg, f.bytes, meta, err);
        } else if (f.number == 2 && f.type == PB_BYTES) {
            struct api_object *o = api_object_new(kind);
            rc = api_pb_decode(o->arena, kind->msg, f.bytes, o->msg, err);
            if (rc == 0)
                on_item(o, arg);
            else
                api_object_unref(o);
        }
        if (rc != 0)
            return rc;
    }
    return more < 0 ? error_set(err, E_INVALID, "damaged list of %s", kind->kind) : 0;
}

static int walk_json(struct arena *a, const struct api_kind *kind, struct str body,
                     void (*on_item)(struct api_object *item, void *arg), void *arg,
                     struct meta_v1_list_meta *meta, struct error *err)
{
    AUTO_ARENA *scratch = arena_new(0);
    struct json *tree;
    int rc = json_parse(scratch, body, &tree, err);
    if (rc != 0)
        return rc;
    const struct json *items = json_getc(tree, "items"), *m = json_getc(tree, "metadata");
    meta->resource_version = arena_str(a, json_get_str(m, "resourceVersion"));
    meta->continue_ = arena_str(a, json_get_str(m, "continue"));
    for (size_t i = 0; items != NULL && items->type == JSON_ARRAY && i < items->array.count; i++) {
        struct api_object *o = api_object_new(kind);
        rc = api_json_decode_tree(o->arena, kind->msg, items->array.items[i], API_LENIENT, NULL,
                                  o->msg, err);
        if (rc != 0) {
            api_object_unref(o);
            return rc;
        }
        on_item(o, arg);
    }
    return 0;
}

int client_list_walk(struct arena *a, const struct api_kind *kind, struct str body,
                     void (*on_item)(struct api_object *item, void *arg), void *arg,
                     struct str *ret_resource_version, struct str *ret_continue, struct error *err)
{
    struct meta_v1_list_meta meta = {0};
    int rc;
    if (api_envelope_is(body)) {
        struct str api_version, name, raw;
        rc = api_envelope_open(body, &api_version, &name, &raw, err);
        if (rc == 0)
            rc = walk_protobuf(a, kind, raw, on_item, arg, &meta, err);
    } else {
        rc = walk_json(a, kind, body, on_item, arg, &meta, err);
    }
    if (rc != 0)
        return rc;
    *ret_resource_version = meta.resource_version;
    *ret_continue = meta.continue_;
    return 0;
}
