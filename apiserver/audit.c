/* audit.c - see audit.h. */
#include "apiserver/audit.h"

#include "api/meta_v1.h"
#include "apiserver/audit_policy.h"
#include "apiserver/authz.h"
#include "apiserver/content.h"
#include "apiserver/request.h"
#include "lib/api/codec.h"
#include "lib/api/json.h"
#include "lib/api/scheme.h"
#include "lib/api/time.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/env.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/base/log.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/http_server.h"

#include <inttypes.h>
#include <stdio.h>

#define POLICY_BYTES_MAX (1u << 20)

struct audit {
    struct audit_config config;
    struct audit_policy *policy;
    struct audit_log *log;         /* NULL: none. */
    struct audit_webhook *webhook; /* NULL: none. */
};

struct audit_event {
    struct audit_decision decision;
    bool decided, allowed, started;
    struct str reason;
    struct json *request, *response; /* NULL: none, or not wanted. */
    const struct meta_v1_status *status;
    struct json *notes; /* Annotations of admission; NULL: none. */
    int64_t received_ns;
};

/* --- life --------------------------------------------------------------------------------------
 */
static int open_backends(struct audit *a, struct error *err)
{
    const struct audit_config *c = &a->config;
    int code = c->log.path != NULL ? audit_log_open(&c->log, &a->log, err) : 0;
    if (code != 0)
        return error_prefix(err, "--audit-log-path");
    return c->webhook.file != NULL ? audit_webhook_open(&c->webhook, &a->webhook, err) : 0;
}

int audit_open(const struct audit_config *config, struct audit **ret, struct error *err)
{
    AUTO_BUF text = BUF_INIT;
    bool backend = config->log.path != NULL || config->webhook.file != NULL;
    *ret = NULL;
    if (config->policy_file == NULL || !backend) {
        if (backend)
            log_warning("nothing is audited: --audit-policy-file is not given");
        if (config->policy_file != NULL)
            log_warning("nothing is audited: neither --audit-log-path nor "
                        "--audit-webhook-config-file is given");
        return 0;
    }
    struct audit *a = xzalloc(sizeof(*a));
    a->config = *config;
    int code = file_read(config->policy_file, POLICY_BYTES_MAX, &text, err);
    if (code == 0)
        code = audit_policy_parse(buf_str(&text), &a->policy, err);
    if (code != 0)
        error_prefix(err, "--audit-policy-file %s", config->policy_file);
    if (code == 0)
        code = open_backends(a, err);
    if (code != 0) {
        audit_close(a);
        return code;
    }
    *ret = a;
    return 0;
}

void audit_close(struct audit *a)
{
    if (a == NULL)
        return;
    audit_log_close(a->log);
    audit_webhook_close(a->webhook);
    audit_policy_free(a->policy);
    free(a);
}

void audit_hurry(struct audit *a)
{
    if (a != NULL && a->webhook != NULL)
        audit_webhook_hurry(a->webhook);
}

/* --- objects as JSON -----------------------------------------------------------------------------
 */
static void drop_managed_fields(struct json *j)
{
    struct json *meta = json_getc(j, "metadata"), *items = json_getc(j, "items");
    if (meta != NULL && meta->type == JSON_OBJECT)
        json_remove(meta, STR("managedFields"));
    for (size_t i = 0; items != NULL && items->type == JSON_ARRAY && i < items->array.count; i++)
        drop_managed_fields(items->array.items[i]);
}

/* JSON, YAML or protobuf as a tree; NULL: nothing that can be shown. */
static struct json *tree_of(struct arena *a, struct str type, struct str bytes)
{
    struct json *j = NULL;
    struct str api_version, kind, raw;
    size_t consumed;
    if (bytes.len == 0)
        return NULL;
    if (str_has_prefix(type, STR(TYPE_PROTOBUF))) {
        AUTO_BUF text = BUF_INIT;
        if (api_envelope_open(bytes, &api_version, &kind, &raw, NULL) != 0)
            return NULL;
        const struct api_kind *k = api_kind_by_api_version(api_version, kind);
        if (k == NULL || api_json_from_pb(k->msg, raw, api_version, kind, &text, NULL) != 0)
            return NULL;
        return json_parse(a, arena_str(a, buf_str(&text)), &j, NULL) == 0 ? j : NULL;
    }
    if (str_find_str(type, STR("yaml")) >= 0)
        return api_yaml_parse(a, bytes, &consumed, &j, NULL) == 0 ? j : NULL;
    if (type.len != 0 && str_find_str(type, STR("json")) < 0)
        return NULL;
    return json_parse(a, bytes, &j, NULL) == 0 ? j : NULL;
}

/* --- the event
 * -------------------------------------------------------------------------------------- */
static void set_str(struct arena *a, struct json *j, const char *key, struct str s)
{
    if (s.len != 0)
        json_setc(a, j, key, json_string(a, s));
}

static struct json *user_json(struct arena *a, const struct user *u)
{
    struct json *j = json_object(a);
    set_str(a, j, "username", u->name);
    set_str(a, j, "uid", u->uid);
    if (u->group_count != 0) {
        struct json *list = json_array(a);
        for (size_t i = 0; i < u->group_count; i++)
            json_append(a, list, json_string(a, u->groups[i]));
        json_setc(a, j, "groups", list);
    }
    struct json *extra = json_object(a);
    for (size_t i = 0; i < u->extra_count; i++) {
        struct json *list = json_array(a);
        for (size_t k = 0; k < u->extra[i].count; k++)
            json_append(a, list, json_string(a, u->extra[i].values[k]));
        json_set(a, extra, u->extra[i].key, list);
    }
    if (u->extra_count != 0)
        json_setc(a, j, "extra", extra);
    return j;
}

static struct json *sources_json(struct req *r)
{
    struct arena *a = r->arena;
    struct json *list = json_array(a);
    struct str rest = http_request_header(r->http, "x-forwarded-for"), part,
               own = str_of(r->http->remote);
    for (bool more = rest.len != 0; more;) {
        more = str_cut(rest, ',', &part, &rest);
        if (str_trim(part).len != 0)
            json_append(a, list, json_string(a, str_trim(part)));
    }
    size_t n = own.len;
    while (n > 0 && own.data[n - 1] != ':')
        n--;
    if (n > 1)
        own = str_n(own.data, n - 1);
    if (own.len > 2 && own.data[0] == '[')
        own = str_sub(own, 1, own.len - 2);
    json_append(a, list, json_string(a, own));
    return list;
}

static struct json *object_json(struct req *r, const struct audit_event *e)
{
    struct arena *a = r->arena;
    const struct request_info *i = &r->info;
    struct json *j = json_object(a);
    const struct json *meta = json_getc(e->request, "metadata");
    set_str(a, j, "resource", i->resource);
    set_str(a, j, "namespace", i->ns);
    set_str(a, j, "name", i->name.len != 0 ? i->name : json_get_str(meta, "name"));
    set_str(a, j, "uid", json_get_str(meta, "uid"));
    set_str(a, j, "apiGroup", i->group);
    set_str(a, j, "apiVersion", i->version);
    set_str(a, j, "resourceVersion", json_get_str(meta, "resourceVersion"));
    set_str(a, j, "subresource", i->subresource);
    return j;
}

static struct json *status_json(struct arena *a, const struct audit_event *e, int http_status)
{
    struct json *j = json_object(a);
    const struct meta_v1_status *s = e->status;
    json_setc(a, j, "metadata", json_object(a));
    if (s != NULL) {
        set_str(a, j, "status", s->status);
        set_str(a, j, "message", s->message);
        set_str(a, j, "reason", s->reason);
        if (s->details != NULL)
            json_setc(
                a, j, "details",
                api_json_tree(a, &meta_v1_status_details_msg, s->details, STR_NULL, STR_NULL));
    }
    json_setc(a, j, "code", json_int(a, http_status));
    return j;
}

static struct json *time_json(struct arena *a, int64_t wall_ns)
{
    char text[TIME_TEXT_MAX];
    struct meta_v1_micro_time t = micro_time_from_ns(wall_ns);
    micro_time_format(&t, text);
    return json_string(a, arena_strc(a, text));
}

static struct json *annotations_json(struct arena *a, const struct audit_event *e)
{
    struct json *j = json_object(a);
    if (e->decided) {
        json_setc(a, j, "authorization.k8s.io/decision",
                  json_string(a, e->allowed ? STR("allow") : STR("forbid")));
        json_setc(a, j, "authorization.k8s.io/reason", json_string(a, e->reason));
    }
    for (size_t i = 0; e->notes != NULL && i < e->notes->object.count; i++)
        json_set(a, j, e->notes->object.members[i].key, e->notes->object.members[i].value);
    return j;
}

/* One line of text, as upstream's format "legacy" has it. */
static void write_legacy(struct req *r, enum audit_stage stage, int http_status, struct buf *b)
{
    static const struct user nobody;
    char when[TIME_TEXT_MAX];
    struct arena *a = r->arena;
    const struct user *u = r->real_user != NULL ? r->real_user : &nobody;
    AUTO_BUF groups = BUF_INIT;
    AUTO_BUF agent = BUF_INIT;
    const char *as = "<self>", *as_groups = "<lookup>";
    struct meta_v1_micro_time t = micro_time_from_ns(env_wall_ns(r->server->env));
    micro_time_format(&t, when);
    for (size_t i = 0; i < u->group_count; i++)
        buf_printf(&groups, "%s\\\"" STR_FMT "\\\"", i != 0 ? "," : "", STR_ARG(u->groups[i]));
    if (r->user != NULL && r->user != r->real_user)
        as = str_c(arena_str(a, r->user->name));
    json_write_string(http_request_header(r->http, "user-agent"), &agent);
    const struct json *sources = sources_json(r);
    buf_printf(b,
               "%s AUDIT: id=\"" STR_FMT "\" stage=\"%s\" ip=\"" STR_FMT "\" method=\"%s\" "
               "user=\"" STR_FMT "\" groups=\"" STR_FMT "\" as=\"%s\" asgroups=\"%s\" "
               "user-agent=" STR_FMT " namespace=\"" STR_FMT "\" uri=\"" STR_FMT "\" response=",
               when, STR_ARG(req_audit_id(r)), audit_stage_name(stage),
               STR_ARG(sources->array.items[0]->string), r->info.verb,
               STR_ARG(u->name.len != 0 ? u->name : STR("<none>")),
               STR_ARG(groups.len != 0 ? buf_str(&groups) : STR("<none>")), as, as_groups,
               STR_ARG(buf_str(&agent)), STR_ARG(r->info.ns.len != 0 ? r->info.ns : STR("<none>")),
               STR_ARG(r->http->target));
    if (stage == AUDIT_RECEIVED)
        buf_puts(b, "\"<deferred>\"");
    else
        buf_printf(b, "\"%d\"", http_status);
}

/* False: the event is too large even without its objects. */
static bool write_event(struct arena *a, struct json *j, int64_t bytes_max, struct buf *b)
{
    json_write(j, false, b);
    if (bytes_max == 0 || b->len <= (size_t)bytes_max)
        return true;
    struct json *cut = json_clone(a, j), *notes = json_getc(cut, "annotations");
    if (notes == NULL) {
        notes = json_object(a);
        json_setc(a, cut, "annotations", notes);
    }
    json_setc(a, notes, "audit.k8s.io/truncated", json_string(a, STR("true")));
    json_remove(cut, STR("requestObject"));
    json_remove(cut, STR("responseObject"));
    buf_clear(b);
    json_write(cut, false, b);
    if (b->len <= (size_t)bytes_max)
        return true;
    log_warning("audit: an event of %zu bytes is left out: more than %" PRId64, b->len, bytes_max);
    audit_lost("truncate", 1);
    return false;
}

/* --- waiting ---------------------------------------------------------------------------------
 *
 *   received: the request itself waits, and goes on or is refused
 *   later stages: the answer is kept back; the request may be gone before its event is stored */
struct audit_wait {
    struct req *req; /* NULL: see hold. */
    void (*next)(struct req *r);
    struct http_hold *hold;
    struct server_thread *thread;
    struct mail mail;
    atomic_uint pending;
    atomic_bool refused;
    struct audit_ticket log, webhook;
};

static void refuse(struct req *r)
{
    AUTO_BUF b = BUF_INIT;
    metric_inc(metric_single(
        metric_counter(metrics_default(), "apiserver_audit_requests_rejected_total",
                       "Requests refused because they could not be recorded.", NULL)));
    buf_puts(&b, "Internal Server Error: ");
    json_write_string(r->http->target, &b);
    buf_puts(&b, ": failed to store audit event\n");
    log_error("audit: a request is refused: its event could not be stored");
    r->audit = NULL;
    req_text(r, 500, "text/plain; charset=utf-8", buf_str(&b));
}

static void on_stored(struct mail *m)
{
    struct audit_wait *w = CONTAINER_OF(m, struct audit_wait, mail);
    struct server_thread *t = w->thread;
    struct req *r = w->req;
    if (r == NULL)
        http_hold_release(w->hold);
    else if (atomic_load(&w->refused))
        refuse(r);
    else
        w->next(r);
    free(w);
    t->audit_waits--;
    if (t->audit_waits == 0 && t->audit_left != NULL)
        t->audit_left(t);
}

static void one_less(struct audit_wait *w)
{
    if (atomic_fetch_sub(&w->pending, 1) == 1)
        mailbox_post(&w->thread->mailbox, &w->mail);
}

static void done(struct audit_wait *w, bool stored, enum audit_mode mode)
{
    if (!stored && mode == AUDIT_BLOCKING_STRICT)
        atomic_store(&w->refused, true);
    one_less(w);
}

static void on_log(struct audit_ticket *t, bool stored)
{
    struct audit_wait *w = CONTAINER_OF(t, struct audit_wait, log);
    done(w, stored, w->thread->server->audit->config.log_mode);
}

static void on_webhook(struct audit_ticket *t, bool stored)
{
    struct audit_wait *w = CONTAINER_OF(t, struct audit_wait, webhook);
    done(w, stored, w->thread->server->audit->config.webhook_mode);
}

/* NULL: nobody waits for anything. */
static struct audit_wait *wait_new(struct req *r, void (*next)(struct req *r))
{
    const struct audit *audit = r->server->audit;
    const struct audit_config *c = &audit->config;
    if ((audit->log == NULL || c->log_mode == AUDIT_BATCH) &&
        (audit->webhook == NULL || c->webhook_mode == AUDIT_BATCH))
        return NULL;
    struct audit_wait *w = xzalloc(sizeof(*w));
    w->req = next != NULL ? r : NULL;
    w->next = next;
    w->hold = next == NULL ? http_response_hold(r->http) : NULL;
    w->thread = r->thread;
    w->mail.run = on_stored;
    w->log.done = on_log;
    w->webhook.done = on_webhook;
    list_init(&w->log.link);
    list_init(&w->webhook.link);
    atomic_init(&w->pending, 1);
    atomic_init(&w->refused, false);
    r->thread->audit_waits++;
    return w;
}

/* To be handed to a backend. */
static struct audit_ticket *ticket_of(struct audit_wait *w, struct audit_ticket *t,
                                      enum audit_mode mode)
{
    if (w == NULL || mode == AUDIT_BATCH)
        return NULL;
    atomic_fetch_add(&w->pending, 1);
    return t;
}

/* True: next will run. */
static bool deliver(struct req *r, struct json *j, enum audit_stage stage, int http_status,
                    void (*next)(struct req *r))
{
    struct audit *audit = r->server->audit;
    const struct audit_config *c = &audit->config;
    AUTO_BUF line = BUF_INIT;
    struct audit_wait *w = wait_new(r, next);
    metric_inc(metric_single(metric_counter(metrics_default(), "apiserver_audit_event_total",
                                            "Audit events generated.", NULL)));
    if (audit->log != NULL) {
        bool whole = true;
        if (c->legacy)
            write_legacy(r, stage, http_status, &line);
        else
            whole = write_event(r->arena, j, c->log_event_bytes, &line);
        if (whole)
            audit_log_write(audit->log, buf_str(&line),
                            ticket_of(w, w != NULL ? &w->log : NULL, c->log_mode));
    }
    buf_clear(&line);
    if (audit->webhook != NULL && write_event(r->arena, j, c->webhook_event_bytes, &line))
        audit_webhook_write(audit->webhook, buf_str(&line),
                            ticket_of(w, w != NULL ? &w->webhook : NULL, c->webhook_mode));
    bool waits = w != NULL;
    if (waits)
        one_less(w);
    return waits && next != NULL;
}

/* True: next will run; else it is the caller's to run. */
static bool emit_then(struct req *r, enum audit_stage stage, int http_status,
                      void (*next)(struct req *r))
{
    struct arena *a = r->arena;
    const struct audit_event *e = r->audit;
    if ((e->decision.omit_stages & stage) != 0)
        return false;
    struct json *j = json_object(a);
    json_setc(a, j, "kind", json_string(a, STR("Event")));
    json_setc(a, j, "apiVersion", json_string(a, STR("audit.k8s.io/v1")));
    json_setc(a, j, "level", json_string(a, str_of(audit_level_name(e->decision.level))));
    json_setc(a, j, "auditID", json_string(a, req_audit_id(r)));
    json_setc(a, j, "stage", json_string(a, str_of(audit_stage_name(stage))));
    json_setc(a, j, "requestURI", json_string(a, r->http->target));
    json_setc(a, j, "verb", json_string(a, str_of(r->info.verb)));
    json_setc(a, j, "user", r->real_user != NULL ? user_json(a, r->real_user) : json_object(a));
    if (r->user != r->real_user && r->user != NULL)
        json_setc(a, j, "impersonatedUser", user_json(a, r->user));
    json_setc(a, j, "sourceIPs", sources_json(r));
    set_str(a, j, "userAgent", http_request_header(r->http, "user-agent"));
    if (r->info.is_resource)
        json_setc(a, j, "objectRef", object_json(r, e));
    if (stage != AUDIT_RECEIVED)
        json_setc(a, j, "responseStatus", status_json(a, e, http_status));
    if (e->decision.level >= AUDIT_REQUEST && e->request != NULL && stage != AUDIT_RECEIVED)
        json_setc(a, j, "requestObject", e->request);
    if (stage == AUDIT_COMPLETE && e->response != NULL)
        json_setc(a, j, "responseObject", e->response);
    json_setc(a, j, "requestReceivedTimestamp", time_json(a, e->received_ns));
    json_setc(a, j, "stageTimestamp", time_json(a, env_wall_ns(r->server->env)));
    if (e->decided || e->notes != NULL)
        json_setc(a, j, "annotations", annotations_json(a, e));
    return deliver(r, j, stage, http_status, next);
}

static void emit(struct req *r, enum audit_stage stage, int http_status)
{
    (void)emit_then(r, stage, http_status, NULL);
}

/* --- on the request's way
 * -------------------------------------------------------------------------- */
/* True: next will run. */
static bool begin(struct req *r, void (*next)(struct req *r))
{
    static const struct user nobody;
    struct authz_attributes at;
    if (r->server->audit == NULL)
        return false;
    authz_attributes_of(r, r->real_user != NULL ? r->real_user : &nobody, &at);
    struct audit_decision d = audit_policy_decide(r->server->audit->policy, &at);
    static const char *const labels[] = {"level", NULL};
    metric_inc(METRIC_OF(metric_counter(metrics_default(), "apiserver_audit_level_total",
                                        "Requests by the level they are recorded at.", labels),
                         str_of(audit_level_name(d.level))));
    if (d.level == AUDIT_NONE)
        return false;
    r->audit = ARENA_NEW(r->arena, struct audit_event);
    r->audit->decision = d;
    r->audit->received_ns = r->now_ns;
    bool writes = strcmp(at.verb, "create") == 0 || strcmp(at.verb, "update") == 0 ||
                  strcmp(at.verb, "patch") == 0 || strcmp(at.verb, "delete") == 0 ||
                  strcmp(at.verb, "deletecollection") == 0;
    /* The name of what is created stands in it. */
    if (at.resource_request && writes &&
        (d.level >= AUDIT_REQUEST || strcmp(at.verb, "create") == 0))
        r->audit->request =
            tree_of(r->arena, http_request_header(r->http, "content-type"), r->http->body);
    if (r->audit->request != NULL && d.omit_managed_fields)
        drop_managed_fields(r->audit->request);
    return emit_then(r, AUDIT_RECEIVED, 0, next);
}

void audit_begin_then(struct req *r, void (*next)(struct req *r))
{
    if (!begin(r, next))
        next(r);
}

bool audit_wants_reason(const struct req *r)
{
    return r->audit != NULL;
}

void audit_decision(struct req *r, bool allowed, struct str reason)
{
    if (r->audit == NULL)
        return;
    r->audit->decided = true;
    r->audit->allowed = allowed;
    r->audit->reason = reason;
}

void audit_annotate(struct audit_event *e, struct arena *a, struct str key, struct str value)
{
    if (e->notes == NULL)
        e->notes = json_object(a);
    json_set(a, e->notes, key, json_string(a, value));
}

void audit_status(struct req *r, const struct meta_v1_status *s)
{
    if (r->audit != NULL)
        r->audit->status = s;
}

void audit_answer(struct req *r, const char *content_type, const struct net_bytes *b)
{
    struct audit_event *e = r->audit;
    if (e == NULL || e->decision.level < AUDIT_REQUEST_RESPONSE || content_type == NULL ||
        !r->info.is_resource)
        return;
    e->response = tree_of(r->arena, str_of(content_type), str_n((const char *)b->data, b->len));
    if (e->response != NULL && e->decision.omit_managed_fields)
        drop_managed_fields(e->response);
}

void audit_started(struct req *r, int http_status)
{
    if (r->audit == NULL || r->audit->started)
        return;
    r->audit->started = true;
    emit(r, AUDIT_STARTED, http_status);
}

void audit_complete(struct req *r, int http_status)
{
    if (r->audit == NULL)
        return;
    emit(r, AUDIT_COMPLETE, http_status);
    r->audit = NULL;
}
