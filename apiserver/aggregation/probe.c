/* probe.c - see probe.h. */
#include "apiserver/aggregation/probe.h"

#include "apiserver/aggregation/clients.h"
#include "apiserver/aggregation/documents.h"
#include "apiserver/aggregation/set.h"
#include "apiserver/connect.h"
#include "lib/api/json.h"
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/net/http_client.h"

#include <uv.h>

#define ANSWER_BYTES_MAX (8u << 20)
#define V2_BYTES_MAX (32u << 20)
#define TIMEOUT_MS 5000u
#define AGGREGATED_TYPE "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"

enum step { STEP_VERSION, STEP_DISCOVERY, STEP_OPENAPI, STEP_OPENAPI_V2, STEP_DONE };

struct probe {
    struct probe_config config;
    struct arena *arena;
    struct aggregated_client *client;
    struct http_call *call;
    enum step step;
    struct buf body;
    bool canceled;
    struct str problem;
    const char *path;       /* "/apis/G/V" */
    struct json *list;      /* Its answer, for want of a better one. */
    struct json *resources; /* Aggregated. */
    struct str openapi;
    uv_timer_t timer; /* Of probes that could not start: done comes later all the same. */
};

static void ask(struct probe *p);

/* --- conversion ----------------------------------------------------------------------------- */
static void move_text(struct arena *a, struct json *to, const char *as, const struct json *from,
                      const char *name)
{
    json_setc(a, to, as, json_string(a, json_get_str(from, name)));
}

static void copy_list(struct arena *a, struct json *to, const struct json *from, const char *name)
{
    const struct json *list = json_getc(from, name);
    if (list != NULL && list->type == JSON_ARRAY && list->array.count != 0)
        json_setc(a, to, name, json_clone(a, list));
}

static struct json *response_kind(struct arena *a, const struct json *from)
{
    struct json *k = json_object(a);
    move_text(a, k, "group", from, "group");
    move_text(a, k, "version", from, "version");
    move_text(a, k, "kind", from, "kind");
    return k;
}

static struct json *find_resource(const struct json *list, struct str name)
{
    for (size_t i = 0; i < list->array.count; i++)
        if (str_eq(json_get_str(list->array.items[i], "resource"), name))
            return list->array.items[i];
    return NULL;
}

static struct json *convert_resource(struct arena *a, const struct json *from)
{
    struct json *to = json_object(a);
    move_text(a, to, "resource", from, "name");
    json_setc(a, to, "responseKind", response_kind(a, from));
    json_setc(a, to, "scope",
              json_string(a, json_get_bool(from, "namespaced", false) ? STR("Namespaced")
                                                                      : STR("Cluster")));
    move_text(a, to, "singularResource", from, "singularName");
    copy_list(a, to, from, "verbs");
    copy_list(a, to, from, "shortNames");
    copy_list(a, to, from, "categories");
    return to;
}

static void add_subresource(struct arena *a, struct json *resource, struct str name,
                            const struct json *from)
{
    struct json *sub = json_object(a), *subs = json_getc(resource, "subresources");
    json_setc(a, sub, "subresource", json_string(a, name));
    json_setc(a, sub, "responseKind", response_kind(a, from));
    copy_list(a, sub, from, "verbs");
    if (subs == NULL) {
        subs = json_array(a);
        json_setc(a, resource, "subresources", subs);
    }
    json_append(a, subs, sub);
}

struct json *probe_convert_resources(struct arena *a, const struct json *list)
{
    struct json *to = json_array(a);
    const struct json *from = json_getc(list, "resources");
    struct str name, sub;
    for (int pass = 0; from != NULL && from->type == JSON_ARRAY && pass < 2; pass++)
        for (size_t i = 0; i < from->array.count; i++) {
            const struct json *x = from->array.items[i];
            bool below = str_cut(json_get_str(x, "name"), '/', &name, &sub);
            struct json *parent = below ? find_resource(to, name) : NULL;
            if (pass == 0 && !below && !str_empty(name))
                json_append(a, to, convert_resource(a, x));
            else if (pass == 1 && parent != NULL)
                add_subresource(a, parent, sub, x);
        }
    return to;
}

/* --- ending ---------------------------------------------------------------------------------- */
static void finish(struct probe *p)
{
    struct probe_config c = p->config;
    if (!p->canceled && str_empty(p->problem)) {
        AUTO_BUF b = BUF_INIT;
        struct aggregated_documents d = {.openapi = p->openapi};
        struct json *r =
            p->resources != NULL ? p->resources : probe_convert_resources(p->arena, p->list);
        json_write(r, false, &b);
        d.resources = buf_str(&b);
        aggregated_documents_put(c.service->name, &d);
    } else if (!p->canceled) {
        aggregated_documents_stale(c.service->name);
    }
    c.done(c.arg, p->canceled, p->problem);
    aggregated_service_unref(c.service);
    buf_done(&p->body);
    struct arena *a = p->arena;
    arena_free(a);
}

static void on_timer_closed(uv_handle_t *h)
{
    finish(CONTAINER_OF(h, struct probe, timer));
}

static void on_timer(uv_timer_t *t)
{
    uv_close((uv_handle_t *)t, on_timer_closed);
}

static void set_problem(struct probe *p, struct str why)
{
    p->problem = arena_printf(p->arena, "failing or missing response from https://%s%s: " STR_FMT,
                              p->config.endpoint, p->path, STR_ARG(why));
}

/* --- answers ---------------------------------------------------------------------------------- */
static bool good(int status)
{
    return status >= 200 && status < 300;
}

static void take_discovery(struct probe *p, const struct json *j)
{
    const struct json *groups = json_getc(j, "items");
    if (!str_eqc(json_get_str(j, "kind"), "APIGroupDiscoveryList") || groups == NULL ||
        groups->type != JSON_ARRAY)
        return;
    for (size_t i = 0; i < groups->array.count; i++) {
        const struct json *g = groups->array.items[i], *versions = json_getc(g, "versions");
        if (!str_eq(json_get_str(json_getc(g, "metadata"), "name"), p->config.service->group) ||
            versions == NULL || versions->type != JSON_ARRAY)
            continue;
        for (size_t k = 0; k < versions->array.count; k++) {
            struct json *v = versions->array.items[k], *r = json_getc(v, "resources");
            if (str_eq(json_get_str(v, "version"), p->config.service->version) && r != NULL &&
                r->type == JSON_ARRAY)
                p->resources = r;
        }
    }
}

static void take_openapi(struct probe *p, const struct json *j)
{
    const struct json *paths = json_getc(j, "paths");
    const struct json *one = json_get(paths, str_of(p->path + 1));
    struct str url = json_get_str(one, "serverRelativeURL");
    if (str_has_prefix(url, STR("/openapi/v3/")))
        p->openapi = url;
}

/* As it is: what is in it is looked at when somebody wants to see it. */
static void take_openapi_v2(struct probe *p, struct http_call *call)
{
    const struct aggregated_service *s = p->config.service;
    if (http_call_status(call) != 200 || p->body.len == 0)
        return;
    struct aggregated_v2 d = {
        .name = s->name,
        .group = s->group,
        .prefix = arena_printf(p->arena, "%s/", p->path),
        .priority = s->group_priority,
        .text = buf_str(&p->body),
        .tag = http_call_header(call, "etag"),
    };
    aggregated_documents_put_v2(&d);
}

static void take_answer(struct probe *p, int status)
{
    struct json *j = NULL;
    if (p->step == STEP_VERSION && !good(status)) {
        set_problem(p, arena_printf(p->arena, "bad status from https://%s%s: %d",
                                    p->config.endpoint, p->path, status));
        return;
    }
    if (!good(status) ||
        json_parse(p->arena, arena_str(p->arena, buf_str(&p->body)), &j, NULL) != 0 ||
        j->type != JSON_OBJECT)
        return;
    if (p->step == STEP_VERSION)
        p->list = j;
    else if (p->step == STEP_DISCOVERY)
        take_discovery(p, j);
    else
        take_openapi(p, j);
}

static void on_data(struct http_call *call, const uint8_t *data, size_t len, void *arg)
{
    struct probe *p = arg;
    if (p->body.len + len > (p->step == STEP_OPENAPI_V2 ? V2_BYTES_MAX : ANSWER_BYTES_MAX))
        http_call_cancel(call);
    else
        buf_append(&p->body, data, len);
}

static struct str failure(struct probe *p, const struct error *err)
{
    if (err->code == E_TIMEOUT)
        return arena_printf(p->arena,
                            "Get \"https://%s%s\": context deadline exceeded (Client.Timeout "
                            "exceeded while awaiting headers)",
                            p->config.endpoint, p->path);
    return arena_printf(p->arena, "Get \"https://%s%s\": " STR_FMT, p->config.endpoint, p->path,
                        STR_ARG(connect_error_text(p->arena, err)));
}

static void on_end(struct http_call *call, const struct error *err, void *arg)
{
    struct probe *p = arg;
    p->call = NULL;
    aggregated_client_give(take(p->client));
    if (err == NULL && p->step == STEP_OPENAPI_V2 && !p->canceled)
        take_openapi_v2(p, call);
    else if (err == NULL)
        take_answer(p, http_call_status(call));
    else if (p->step == STEP_VERSION)
        set_problem(p, failure(p, err));
    p->step++;
    if (p->canceled || !str_empty(p->problem) || p->step == STEP_DONE)
        finish(p);
    else
        ask(p);
}

/* --- questions ---------------------------------------------------------------------------------
 */
static void ask(struct probe *p)
{
    static const struct http_header headers[] = {
        {.name = {"x-remote-user", 13}, .value = {"system:kube-aggregator", 22}},
        {.name = {"x-remote-group", 14}, .value = {"system:masters", 14}},
        {.name = {"accept", 6}, .value = {"application/json", 16}},
    };
    struct http_header tagged[] = {
        headers[0], headers[1], headers[2], {.name = {"if-none-match", 13}}};
    static const struct http_header aggregated[] = {
        {.name = {"x-remote-user", 13}, .value = {"system:kube-aggregator", 22}},
        {.name = {"x-remote-group", 14}, .value = {"system:masters", 14}},
        {.name = {"accept", 6},
         .value = {AGGREGATED_TYPE ",application/json;q=0.9",
                   sizeof(AGGREGATED_TYPE ",application/json;q=0.9") - 1}},
    };
    struct error err = {0};
    bool v2 = p->step == STEP_OPENAPI_V2;
    struct str tag = v2 ? aggregated_documents_v2_tag(p->arena, p->config.service->name) : STR_NULL;
    tagged[3].value = tag;
    struct http_call_config c = {.target = p->step == STEP_VERSION     ? p->path
                                           : p->step == STEP_DISCOVERY ? "/apis"
                                           : v2                        ? "/openapi/v2"
                                                                       : "/openapi/v3",
                                 .headers = p->step == STEP_DISCOVERY ? aggregated
                                            : v2                      ? tagged
                                                                      : headers,
                                 .header_count = ARRAY_SIZE(headers) + (tag.len != 0),
                                 .timeout_ms = TIMEOUT_MS,
                                 .on_data = on_data,
                                 .on_end = on_end,
                                 .arg = p};
    buf_clear(&p->body);
    int code = aggregated_clients_take(p->config.clients, p->config.service, p->config.endpoint,
                                       &p->client, &err);
    if (code == 0) {
        code = http_call_start(p->client->http, &c, &p->call, &err);
        if (code != 0)
            aggregated_client_give(take(p->client));
    }
    if (code == 0)
        return;
    if (p->step == STEP_VERSION)
        set_problem(p, failure(p, &err));
    uv_timer_init(p->config.loop, &p->timer);
    uv_timer_start(&p->timer, on_timer, 0, 0);
}

struct probe *probe_start(const struct probe_config *c)
{
    struct arena *a = arena_new(0);
    struct probe *p = ARENA_NEW(a, struct probe);
    p->arena = a;
    p->config = *c;
    p->config.endpoint = str_c(arena_strc(a, c->endpoint));
    aggregated_service_ref(p->config.service);
    p->path = str_c(arena_printf(a, "/apis/" STR_FMT "/" STR_FMT, STR_ARG(c->service->group),
                                 STR_ARG(c->service->version)));
    ask(p);
    return p;
}

void probe_cancel(struct probe *p)
{
    p->canceled = true;
    if (p->call != NULL)
        http_call_cancel(p->call);
}
