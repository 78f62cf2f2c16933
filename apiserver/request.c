/* request.c - a request's beginning and its answer; see request.h. */
#include "apiserver/request.h"

#include "apiserver/admission/webhook.h"
#include "apiserver/ask.h"
#include "apiserver/aggregation/forward.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/audit.h"
#include "apiserver/authn.h"
#include "apiserver/authz.h"
#include "apiserver/custom/definition.h"
#include "apiserver/custom/keeper.h"
#include "apiserver/custom/set.h"
#include "apiserver/custom/stored.h"
#include "apiserver/deadline.h"
#include "apiserver/encode.h"
#include "apiserver/encryption.h"
#include "apiserver/flow_control.h"
#include "apiserver/monitor.h"
#include "apiserver/server_metrics.h"
#include "apiserver/subresource.h"
#include "apiserver/table.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/log.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"
#include "lib/net/url.h"
#include "raftstore/store.h"

#include <inttypes.h>
#include <stdio.h>
#include <strings.h>

/* --- query --------------------------------------------------------------------- */
struct str req_query(const struct req *r, const char *key)
{
    struct str v;
    return url_query_get(r->arena, r->http->query, key, &v) == 0 ? v : STR_NULL;
}

bool req_query_has(const struct req *r, const char *key)
{
    struct str v;
    return url_query_get(r->arena, r->http->query, key, &v) == 0;
}

bool req_query_bool(const struct req *r, const char *key)
{
    struct str v = req_query(r, key);
    if (!req_query_has(r, key))
        return false;
    return !((v.len == 5 && strncasecmp(v.data, "false", 5) == 0) || str_eqc(v, "0"));
}

struct str *req_query_all(const struct req *r, const char *key, size_t *ret_count)
{
    struct str *list = NULL, rest = r->http->query, k, v;
    size_t cap = 0;
    *ret_count = 0;
    while (url_query_next(&rest, &k, &v)) {
        if (url_unescape_query(r->arena, k, &k) != 0 || !str_eqc(k, key) ||
            url_unescape_query(r->arena, v, &v) != 0)
            continue;
        list = arena_grow(r->arena, list, *ret_count, &cap, sizeof(*list));
        list[(*ret_count)++] = v;
    }
    return list;
}

struct meta_v1_status *req_query_i64(const struct req *r, const char *key, bool *ret_has,
                                     int64_t *ret)
{
    struct str v = req_query(r, key);
    *ret_has = req_query_has(r, key);
    if (!*ret_has || str_to_i64(v, ret))
        return NULL;
    bool number = v.len > (size_t)(v.len != 0 && (v.data[0] == '-' || v.data[0] == '+'));
    for (size_t i = 0; i < v.len; i++)
        number &= (v.data[i] >= '0' && v.data[i] <= '9') ||
                  (i == 0 && (v.data[i] == '-' || v.data[i] == '+'));
    AUTO_BUF quoted = BUF_INIT;
    json_write_string(v, &quoted);
    return status_bad_request(r->arena, "strconv.ParseInt: parsing " STR_FMT ": %s",
                              STR_ARG(buf_str(&quoted)),
                              number ? "value out of range" : "invalid syntax");
}

/* --- context --------------------------------------------------------------------- */
struct held_view {
    struct held_view *next;
    struct store_view *view;
};

void req_release_views(struct req *r)
{
    for (struct held_view *h = r->views; h != NULL; h = h->next)
        store_view_unref(h->view);
    r->views = NULL;
}

static void release_views(void *r)
{
    req_release_views(r);
}

struct store_view *req_view(struct req *r)
{
    struct held_view *h = ARENA_NEW(r->arena, struct held_view);
    if (r->views == NULL)
        arena_hold(r->arena, r, release_views);
    h->view = store_view(r->server->store);
    h->next = r->views;
    r->views = h;
    return h->view;
}

void req_ctx(struct req *r, const struct store_view *view, struct kind_ctx *ret)
{
    *ret = (struct kind_ctx){
        .arena = r->arena,
        .ops = r->res->ops,
        .kind = r->res->storage,
        .request_kind = r->res->kind,
        .user = r->user,
        .view = view,
        .server = r->server,
        .env = r->server->env,
        .now_ns = r->now_ns,
        .namespace_ = r->info.ns,
        .name = r->info.name,
        .subresource = r->sub != NULL ? r->sub->name : "",
        .verb = r->info.verb,
        .dry_run = str_eqc(req_query(r, "dryRun"), "All"),
        .warnings = &r->warnings,
        .audit = r->audit,
        .policies = r->thread->policies,
    };
}

/* --- admission ------------------------------------------------------------------- */
struct meta_v1_status *req_admit(struct req *r, const struct kind_ctx *ctx, enum admit_op op,
                                 const struct api_kind *kind, void *obj)
{
    struct kind_ctx own = *ctx;
    if (r->webhooks == NULL)
        r->webhooks = webhook_state_new(r->arena);
    own.webhooks = r->webhooks;
    own.asks = r->asks;
    struct admission adm = {.ctx = &own,
                            .op = op,
                            .res = r->res,
                            .subresource = r->sub != NULL ? r->sub->name : "",
                            .kind = kind,
                            .obj = obj};
    struct meta_v1_status *s = admission_mutate(&adm);
    return s != NULL ? s : admission_validate(&adm);
}

static void on_webhooks(void *arg)
{
    struct req *r = arg;
    if (atomic_load(&r->server->stopping))
        req_status(r, status_unavailable(r->arena, "the server is shutting down"));
    else
        r->webhooks_again(r);
}

bool req_admit_waits(struct req *r, const struct meta_v1_status *s, void (*again)(struct req *r))
{
    if (s != &webhook_wait)
        return false;
    r->webhooks_again = again;
    if (asks_waiting(r->asks)) {
        req_ask(r, on_webhooks, r);
        return true;
    }
    webhook_start(r->webhooks, r->thread, on_webhooks, r);
    return true;
}

/* --- answers --------------------------------------------------------------------- */
static void release_slot(struct req *r)
{
    if (r->inflight >= 0)
        atomic_fetch_sub(&r->server->inflight[r->inflight], 1);
    r->inflight = -1;
}

static bool connects(struct str subresource)
{
    static const char *const names[] = {"exec", "attach", "portforward", "proxy"};
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (str_eqc(subresource, names[i]))
            return true;
    return false;
}

bool req_connects(const struct req *r)
{
    return r->sub != NULL && connects(str_of(r->sub->name));
}

/* Without priority and fairness: bounds what is served at once, as upstream's max-in-flight
 * filter does: watches and streams do not count, those who repair the cluster always pass. */
static bool take_slot(struct req *r)
{
    const struct apiserver_config *c = &r->server->config;
    const char *verb = r->info.verb;
    bool stream = strcmp(verb, "watch") == 0 || str_eqc(r->info.subresource, "log") ||
                  connects(r->info.subresource);
    bool reads = strcmp(verb, "get") == 0 || strcmp(verb, "list") == 0 || strcmp(verb, "head") == 0;
    int64_t max = reads ? c->max_inflight : c->max_mutating_inflight;
    r->inflight = -1;
    if (stream)
        return true;
    r->inflight = reads ? 0 : 1;
    int before = atomic_fetch_add(&r->server->inflight[r->inflight], 1);
    return max == 0 || before < max || user_in_group(r->user, GROUP_MASTERS);
}

#define AUDIT_ID_BYTES_MAX 64u

struct str req_audit_id(struct req *r)
{
    char uuid[37];
    struct str given = http_request_header(r->http, "audit-id");
    if (r->audit_id.len != 0)
        return r->audit_id;
    if (given.len != 0 && given.len <= AUDIT_ID_BYTES_MAX) {
        r->audit_id = arena_str(r->arena, given);
    } else {
        env_uuid(r->server->env, uuid);
        r->audit_id = arena_strc(r->arena, uuid);
    }
    return r->audit_id;
}

void req_headers(struct req *r, const char *content_type)
{
    if (r->long_running)
        audit_started(r, 200);
    http_response_header_str(r->http, STR("Audit-Id"), req_audit_id(r));
    http_response_header_fixed(
        r->http, STR("cache-control"),
        str_of(r->cache_control != NULL ? r->cache_control : "no-cache, private"));
    if (content_type != NULL)
        http_response_header(r->http, "Content-Type", content_type);
    for (size_t i = 0; i < r->warnings.count; i++) {
        AUTO_BUF b = BUF_INIT;
        buf_puts(&b, "299 - \"");
        for (size_t j = 0; j < r->warnings.items[i].len; j++) {
            char c = r->warnings.items[i].data[j];
            if (c == '"' || c == '\\')
                buf_putc(&b, '\\');
            buf_putc(&b, c == '\n' || c == '\r' ? ' ' : c);
        }
        buf_putc(&b, '"');
        http_response_header_str(r->http, STR("Warning"), buf_str(&b));
    }
}

void req_done(struct req *r, int http_status)
{
    if (r->timed_out) { /* All was said when its time was over. */
        flow_request_end(r);
        server_metrics_post_timeout(r, http_status);
        return;
    }
    deadline_end(r);
    release_slot(r);
    flow_request_end(r);
    audit_complete(r, http_status);
    server_metrics_request(r, http_status);
}

void req_bytes(struct req *r, int http_status, const char *content_type, struct net_bytes *b)
{
    req_headers(r, NULL);
    audit_answer(r, content_type, b);
    req_done(r, http_status);
    http_respond_typed(r->http, http_status, content_type, b);
    net_bytes_unref(b);
}

void req_text(struct req *r, int http_status, const char *content_type, struct str text)
{
    req_headers(r, content_type);
    http_response_header(r->http, "X-Content-Type-Options", "nosniff");
    req_done(r, http_status);
    http_respond(r->http, http_status, arena_str(r->arena, text));
}

void req_status(struct req *r, struct meta_v1_status *s)
{
    struct buf b = BUF_INIT;
    char text[32];
    if (s->details != NULL && s->details->retry_after_seconds > 0) {
        snprintf(text, sizeof(text), "%" PRId32, s->details->retry_after_seconds);
        http_response_header(r->http, "Retry-After", text);
    }
    audit_status(r, s);
    encode_status(r->arena, &r->accept, s, &b);
    req_bytes(r, s->code != 0 ? s->code : 200, media_type(r->accept.media), net_bytes_steal(&b));
}

/* Table and metadata forms of one typed object of the request's resource. */
static bool transform_object(struct req *r, const struct api_kind *kind, void *msg, struct buf *out,
                             struct meta_v1_status **ret_refused)
{
    struct meta_v1_object_meta *m = api_meta_of(kind, msg);
    if (r->accept.transform == AS_PARTIAL && m != NULL) {
        encode_partial_json(&r->accept, m, out);
        return true;
    }
    if (r->accept.transform != AS_TABLE || r->res == NULL || m == NULL)
        return false;
    bool scale = r->sub != NULL && strcmp(r->sub->name, "scale") == 0;
    const struct resource *shown = scale ? scale_table() : r->res;
    if (kind != shown->storage)
        return false;
    enum include_object include;
    struct str policy = req_query(r, "includeObject");
    if (!table_include_parse(policy, &include)) {
        *ret_refused = status_bad_request(
            r->arena,
            "Unable to convert to Table as requested: includeObject: Invalid value: "
            "\"" STR_FMT "\": must be 'Metadata', 'Object', 'None', or empty",
            STR_ARG(policy));
        return true;
    }
    table_open(&r->accept, out);
    buf_printf(out, ",\"metadata\":{\"resourceVersion\":\"" STR_FMT "\"},",
               STR_ARG(m->resource_version));
    table_columns(shown, out);
    buf_puts(out, ",\"rows\":[");
    table_row_write(r->arena, &r->accept, shown, msg, include, r->now_ns, out);
    buf_puts(out, "]}");
    return true;
}

static void finish_json(struct req *r, int http_status, struct buf *json)
{
    struct buf out = BUF_INIT;
    if ((r->accept.media == MEDIA_YAML || r->accept.pretty) &&
        encode_reformat(r->arena, &r->accept, buf_str(json), &out, NULL) == 0) {
        buf_done(json);
    } else {
        out = *json;
    }
    if (r->accept.media == MEDIA_JSON)
        buf_putc(&out, '\n');
    req_bytes(r, http_status, media_type(r->accept.media), net_bytes_steal(&out));
}

void req_object(struct req *r, int http_status, const struct api_kind *kind, void *msg)
{
    struct buf b = BUF_INIT;
    struct meta_v1_status *refused = NULL;
    if (transform_object(r, kind, msg, &b, &refused)) {
        if (refused != NULL)
            req_status(r, refused);
        else
            finish_json(r, http_status, &b);
        return;
    }
    if (r->res != NULL && kind == r->res->storage && kind != r->res->kind) {
        msg = registry_from_storage(r->arena, r->res, msg);
        kind = r->res->kind;
    }
    encode_object(r->arena, &r->accept, kind, msg, &b);
    req_bytes(r, http_status, media_type(r->accept.media), net_bytes_steal(&b));
}

void req_stored(struct req *r, int http_status, const struct kv *kv)
{
    struct error err = {0};
    int code;
    if (r->accept.transform == AS_TABLE || (r->res->ops->flags & KIND_DEFAULT_ON_READ) != 0) {
        void *msg;
        conversions_enter(&r->conversions);
        code = stored_decode(r->arena, r->res, stored_value(kv), kv->mod_rev, &msg, &err);
        conversions_leave();
        if (code == 0) {
            if (r->res->ops->default_ != NULL && (r->res->ops->flags & KIND_DEFAULT_ON_READ) != 0) {
                struct kind_ctx ctx;
                req_ctx(r, NULL, &ctx);
                r->res->ops->default_(&ctx, msg);
            }
            req_object(r, http_status, r->res->storage, msg);
            return;
        }
    } else {
        struct buf b = BUF_INIT;
        conversions_enter(&r->conversions);
        code = encode_stored(r->arena, &r->accept, r->res, stored_value(kv), kv->mod_rev, false, &b,
                             &err);
        conversions_leave();
        if (code == 0) {
            if (r->accept.media == MEDIA_PROTOBUF)
                req_bytes(r, http_status, media_type(r->accept.media), net_bytes_steal(&b));
            else
                finish_json(r, http_status, &b);
            return;
        }
        buf_done(&b);
    }
    log_error("stored object " STR_FMT ": %s", STR_ARG(kv_key(kv)), error_message(&err));
    req_status(r, status_internal(r->arena, "%s", error_message(&err)));
}

/* --- conversions ----------------------------------------------------------------- */
struct conversion_wait {
    struct req *req;
    void (*next)(struct req *r);
};

static void on_converted(void *arg)
{
    struct conversion_wait *w = arg;
    w->next(w->req);
}

static void drop_conversions(void *arg)
{
    conversions_drop(arg);
}

bool req_converted(struct req *r, const struct kv *const *kvs, size_t count,
                   void (*next)(struct req *r))
{
    struct meta_v1_status *s;
    if (!conversions_needed(r->res))
        return true;
    if (r->conversions.thread == NULL) {
        r->conversions.thread = r->thread;
        arena_hold(r->arena, &r->conversions, drop_conversions);
    }
    conversions_enter(&r->conversions);
    for (size_t i = 0; i < count; i++) {
        AUTO_ARENA *a = arena_new(0);
        void *ignored;
        if (custom_stored_converts(r->res, stored_value(kvs[i])))
            (void)stored_decode(a, r->res, stored_value(kvs[i]), kvs[i]->mod_rev, &ignored, NULL);
    }
    conversions_leave();
    struct conversion_wait *w = ARENA_NEW(r->arena, struct conversion_wait);
    *w = (struct conversion_wait){r, next};
    if (conversions_ask(&r->conversions, on_converted, w))
        return false;
    s = conversions_failure(&r->conversions, r->arena);
    if (s != NULL)
        req_status(r, s);
    return s == NULL;
}

/* --- barrier --------------------------------------------------------------------- */
struct barrier {
    struct req *req;
    void (*next)(struct req *r);
};

static void on_barrier(int code, int64_t rev, void *arg)
{
    struct barrier *b = arg;
    UNUSED(rev);
    if (code != 0)
        req_status(b->req, status_from_code(b->req->arena, code, error_text(code)));
    else
        b->next(b->req);
}

void req_barrier(struct req *r, void (*next)(struct req *r))
{
    struct barrier *b = ARENA_NEW(r->arena, struct barrier);
    *b = (struct barrier){r, next};
    store_read_barrier(r->server->store, &r->thread->mailbox, on_barrier, b);
}

/* --- routing --------------------------------------------------------------------- */
static bool has_verb(const char *verbs, const char *verb)
{
    return api_list_has(verbs, str_of(verb));
}

static struct meta_v1_status *check_forms(struct req *r)
{
    const struct accepted *a = &r->accept;
    bool collection = r->info.name.len == 0 &&
                      (strcmp(r->info.verb, "list") == 0 || strcmp(r->info.verb, "watch") == 0);
    if (a->transform == AS_PARTIAL && strcmp(r->info.verb, "list") == 0)
        return status_printf(
            r->arena, 406, "NotAcceptable",
            "you requested PartialObjectMetadata, but the requested object is a list (*%s.%s)",
            r->res->kind->group[0] != '\0' ? r->res->kind->group : "core", r->res->kind->list_kind);
    if (a->transform == AS_PARTIAL_LIST && !collection)
        return status_printf(r->arena, 406, "NotAcceptable",
                             "you requested PartialObjectMetadataList, but the requested object is "
                             "not a list (*%s.%s)",
                             r->res->kind->group[0] != '\0' ? r->res->kind->group : "core",
                             r->res->kind->kind);
    return NULL;
}

/* Which resource and subresource; 404 and 405 as upstream's router gives them. */
static struct meta_v1_status *find_resource(struct req *r)
{
    struct request_info *i = &r->info;
    const char *verb = i->verb;
    r->res = registry_find(i->group, i->version, i->resource);
    if (r->res == NULL)
        return status_path_not_found(r->arena);
    const struct api_kind *k = r->res->kind;
    bool proxy = str_eqc(i->subresource, "proxy"); /* Any method is the other side's to judge. */
    if (str_eqc(r->http->method, "HEAD") && !proxy)
        return status_method(r->arena);
    if (i->subresource.len != 0) {
        r->sub = api_kind_sub(k, i->subresource);
        if (r->sub == NULL || (k->namespaced && i->ns.len == 0))
            return status_path_not_found(r->arena);
        if (proxy)
            return NULL;
        if (!has_verb(r->sub->verbs, strcmp(verb, "deletecollection") == 0 ? "delete" : verb))
            return status_method(r->arena);
        return NULL;
    }
    bool object = i->name.len != 0;
    if (k->namespaced ? (i->ns.len == 0 && strcmp(verb, "list") != 0 && strcmp(verb, "watch") != 0)
                      : (i->ns.len != 0 && strcmp(k->resource, "namespaces") != 0))
        return k->namespaced && !object ? status_method(r->arena) : status_path_not_found(r->arena);
    if (!has_verb(k->verbs, verb))
        return status_method(r->arena);
    if (object ? strcmp(verb, "create") == 0
               : (strcmp(verb, "update") == 0 || strcmp(verb, "patch") == 0))
        return status_method(r->arena);
    return NULL;
}

static bool plain_subresource(const struct req *r)
{
    static const char *const own[] = {"binding", "eviction",    "scale", "log",  "exec",
                                      "attach",  "portforward", "proxy", "token"};
    for (size_t i = 0; i < ARRAY_SIZE(own); i++)
        if (strcmp(r->sub->name, own[i]) == 0)
            return false;
    return true;
}

/* Versions and kinds that will go tell so in every answer. */
static void warn_deprecated(struct req *r)
{
    static const struct {
        const char *group, *version, *kind, *text; /* No kind: all of the version. */
    } past[] = {
        {"", "v1", "ComponentStatus", "1.19+"},
        {"", "v1", "Endpoints", "1.33+; use discovery.k8s.io/v1 EndpointSlice"},
        {"networking.k8s.io", "v1beta1", NULL, "1.34+, unavailable in v1.37+"},
        {"storage.k8s.io", "v1beta1", NULL,
         "1.34+, unavailable in v1.37+; use storage.k8s.io/v1 VolumeAttributesClass"},
        {"resource.k8s.io", "v1beta1", NULL, "1.35+, unavailable in v1.38+"},
        {"resource.k8s.io", "v1beta2", NULL, "1.36+, unavailable in v1.39+"},
        {"coordination.k8s.io", "v1beta1", NULL, "1.36+, unavailable in v1.39+"},
    };
    const struct api_kind *k = r->res->kind;
    for (size_t i = 0; i < ARRAY_SIZE(past) && r->res->custom == NULL; i++)
        if (strcmp(k->group, past[i].group) == 0 && strcmp(k->version, past[i].version) == 0 &&
            (past[i].kind == NULL || strcmp(k->kind, past[i].kind) == 0)) {
            str_list_add(&r->warnings, arena_printf(r->arena, "%s%s%s %s is deprecated in v%s",
                                                    k->group, k->group[0] != '\0' ? "/" : "",
                                                    k->version, k->kind, past[i].text));
            server_metrics_deprecated(r, past[i].text);
        }
}

static void dispatch(struct req *r)
{
    warn_deprecated(r);
    const char *verb = r->info.verb;
    if (strcmp(verb, "get") != 0 && strcmp(verb, "list") != 0 && !req_connects(r))
        deadline_handle_write(r);
    if ((r->sub != NULL && !plain_subresource(r)) || !r->res->stored)
        subresource_handle(r);
    else if (strcmp(verb, "get") == 0)
        read_get(r);
    else if (strcmp(verb, "list") == 0)
        list_handle(r);
    else if (strcmp(verb, "watch") == 0)
        watch_handle(r);
    else if (strcmp(verb, "create") == 0)
        write_create(r);
    else if (strcmp(verb, "update") == 0)
        write_update(r);
    else if (strcmp(verb, "patch") == 0)
        write_patch(r);
    else if (strcmp(verb, "delete") == 0)
        write_delete(r);
    else if (strcmp(verb, "deletecollection") == 0)
        write_delete_collection(r);
    else
        req_status(r, status_method(r->arena));
}

/* Pretty unless said otherwise for people with curl, wget or a browser. */
static bool wants_pretty(struct req *r)
{
    if (req_query_has(r, "pretty")) {
        struct str v = req_query(r, "pretty");
        return !(str_eqc(v, "false") || str_eqc(v, "0"));
    }
    struct str agent = http_request_header(r->http, "user-agent");
    return str_has_prefix(agent, STR("curl")) || str_has_prefix(agent, STR("Wget")) ||
           str_has_prefix(agent, STR("Mozilla/5.0"));
}

/* Reviews, bindings, evictions and tokens are answers, not objects that anybody lists. */
static bool shown_in_columns(const struct req *r)
{
    struct str sub = r->info.subresource;
    return (r->res->stored || r->res->computed) && !str_eqc(sub, "binding") &&
           !str_eqc(sub, "eviction") && !str_eqc(sub, "token");
}

static struct meta_v1_status *negotiate(struct req *r)
{
    bool bad_transform;
    struct str accept = http_request_header(r->http, "accept");
    bool pretty = wants_pretty(r);
    bool custom = r->res->custom != NULL;
    unsigned limits = custom ? ACCEPT_NO_PROTOBUF : 0;
    if (!shown_in_columns(r))
        limits |= ACCEPT_NO_TABLE;
    if (accept_negotiate(accept, limits, &r->accept, &bad_transform)) {
        r->accept.pretty = r->accept.pretty || pretty;
        return NULL;
    }
    r->accept = (struct accepted){.version = "v1", .pretty = pretty};
    if (bad_transform)
        return status_new(
            r->arena, 406, "NotAcceptable",
            custom ? STR("only the following media types are accepted: " TYPES_ACCEPTED_CUSTOM)
                   : STR("only the following media types are accepted: " TYPES_ACCEPTED));
    struct meta_v1_status *s =
        status_new(r->arena, 406, "NotAcceptable",
                   STR("406: Not Acceptable\n\nAvailable representations: " TYPES_ACCEPTED
                       ", " TYPE_JSON ";stream=watch, " TYPE_PROTOBUF ";stream=watch"));
    status_details(r->arena, s);
    return s;
}

/* The kind stays for as long as the request. */
static struct meta_v1_status *hold_custom(struct req *r)
{
    const struct custom_version *v = r->res->custom;
    arena_hold(r->arena, custom_definition_ref(v->definition), custom_definition_unref);
    if (v->warning.len != 0)
        str_list_add(&r->warnings, v->warning);
    if (!v->definition->deleting || strcmp(r->info.verb, "create") != 0)
        return NULL;
    struct meta_v1_status *s =
        status_printf(r->arena, 405, "MethodNotAllowed",
                      "create not allowed while custom resource definition is terminating");
    status_details(r->arena, s);
    return s;
}

static void hold_aggregated(struct req *r)
{
    struct aggregated_service *s = aggregated_set_route(r->http->path);
    if (s == NULL)
        return;
    r->aggregated = aggregated_service_ref(s);
    arena_hold(r->arena, s, aggregated_service_unref);
}

static bool is_known(const struct req *r)
{
    size_t pos = 0;
    return r->info.is_resource
               ? registry_find(r->info.group, r->info.version, r->info.resource) != NULL
               : registry_next(r->info.group, r->info.version, &pos) != NULL;
}

/* An APIService may be news to this thread. */
static void look_for_aggregated(struct req *r)
{
    struct store_view *v = store_view(r->server->store);
    if (aggregated_set_sync(r->server, v))
        hold_aggregated(r);
    store_view_unref(v);
}

static void route(struct req *r)
{
    struct meta_v1_status *s;
    if (r->aggregated == NULL && r->info.group.len != 0 && !is_known(r))
        look_for_aggregated(r);
    if (r->aggregated != NULL) {
        aggregated_forward(r);
        return;
    }
    if (!r->info.is_resource) {
        discovery_handle(r);
        return;
    }
    if (r->info.group.len != 0 &&
        registry_find(r->info.group, r->info.version, r->info.resource) == NULL)
        custom_keeper_sync(r->thread); /* Its definition may be news to this thread. */
    /* Or it is known, but not ready yet. */
    if (r->info.group.len != 0 && custom_set_incomplete() &&
        registry_find(r->info.group, r->info.version, r->info.resource) == NULL) {
        list_push_back(&r->thread->parked, &r->parked);
        return;
    }
    /* An unknown group is nobody's path; an unknown version or resource is ours. */
    if (r->info.group.len != 0 && registry_has_group(r->info.group) == false) {
        req_text(r, 404, "text/plain; charset=utf-8", STR("404 page not found\n"));
        return;
    }
    s = find_resource(r);
    if (s == NULL && r->res->custom != NULL)
        s = hold_custom(r);
    if (s == NULL && !req_connects(r)) {
        s = negotiate(r);
        if (s == NULL)
            s = check_forms(r);
    }
    if (s != NULL)
        req_status(r, s);
    else
        dispatch(r);
}

void req_ask(struct req *r, void (*next)(void *arg), void *arg)
{
    asks_run(r->asks, &r->thread->loop, &r->thread->webhooks, next, arg);
}

static void authorize(struct req *r)
{
    authz_check_then(r, route);
}

/* Sooner or later, or it is answered. */
static void wait_for_seat(struct req *r)
{
    if (r->server->flow != NULL) {
        flow_control_then(r, authorize);
    } else if (take_slot(r)) {
        authorize(r);
    } else {
        http_response_header(r->http, "Retry-After", "1");
        server_metrics_terminated(r, 429);
        req_text(r, 429, "text/plain; charset=utf-8",
                 STR("Too many requests, please try again later.\n"));
    }
}

static void impersonate(void *arg)
{
    struct req *r = arg;
    struct meta_v1_status *s = authn_impersonate(r);
    if (s == &webhook_wait) {
        req_ask(r, impersonate, r);
        return;
    }
    if (s != NULL) {
        req_status(r, s);
        return;
    }
    wait_for_seat(r);
}

/* It is known who asks, and that it was asked is recorded. */
static void received(struct req *r)
{
    if (r->timed_out)
        req_status(r, status_from_code(r->arena, E_TIMEOUT, "context deadline exceeded"));
    else if (r->refused != NULL)
        req_status(r, r->refused);
    else
        impersonate(r);
}

static void authenticate(void *arg)
{
    struct req *r = arg;
    struct meta_v1_status *s = authn_request(r);
    if (s == &webhook_wait) {
        req_ask(r, authenticate, r);
        return;
    }
    monitor_authenticated(r, s == NULL);
    r->refused = s != NULL ? s : deadline_begin(r);
    audit_begin_then(r, received);
}

void req_unpark(struct server_thread *t)
{
    struct list waiting;
    list_init(&waiting);
    list_splice(&waiting, &t->parked);
    for (struct list *n; (n = list_pop_front(&waiting)) != NULL;)
        route(LIST_ENTRY(n, struct req, parked));
}

void req_begin(struct http_request *http, struct server_thread *t, bool streams_body)
{
    if (serving_begin(t, http))
        return;
    struct req *r = ARENA_NEW(http->arena, struct req);
    r->http = http;
    r->thread = t;
    r->server = t->server;
    r->arena = http->arena;
    r->warnings.arena = r->arena;
    r->accept.version = "v1";
    r->start_ns = uv_hrtime();
    r->now_ns = env_wall_ns(r->server->env);
    r->inflight = -1;
    list_init(&r->deadline);
    r->streams_body = streams_body;
    http->user = r;
    hold_aggregated(r);
    if (request_info_parse(r->arena, http->method, http->path, http->query, &r->info) != 0) {
        req_text(r, 400, "text/plain; charset=utf-8", STR("400 Bad Request\n"));
        return;
    }
    server_metrics_begin(r);
    bool bad;
    if (!accept_negotiate(http_request_header(http, "accept"), 0, &r->accept, &bad))
        r->accept = (struct accepted){.version = "v1"};
    r->asks = asks_new(r->arena);
    authenticate(r);
}
