/* server_metrics.c - see server_metrics.h. Thread-safe. */
#include "apiserver/server_metrics.h"

#include "apiserver/request.h"
#include "lib/base/metrics.h"
#include "lib/net/http_server.h"

#include <stdio.h>

static struct metric_family *requests, *latency, *sli, *inflight, *longrunning, *watchers,
    *terminations, *post_timeout, *deprecated;
static struct metric *inflight_now[2]; /* Reads, writes. */

/* The series of requests that came lately, since finding them by their labels costs a twelfth of
 * a get. Only of built-in kinds: what stands for those stays where it is. */
#define SERIES_KEPT 64u
struct series {
    const struct resource *res;
    const struct api_subresource *sub;
    const char *scope, *verb; /* Of scope_of() and verb_of(). */
    int status;
    struct metric *requests, *latency, *sli;
};
static _Thread_local struct series series_kept[SERIES_KEPT];

static const double latency_bounds[] = {0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8,
                                        1.0,   1.25,  1.5,  2,   3,   4,   5,   6,
                                        8,     10,    15,   20,  30,  45,  60};

void server_metrics_init(void)
{
    struct metrics *m = metrics_default();
    requests = metric_counter(
        m, "apiserver_request_total",
        "Requests by verb, group, version, resource, subresource, scope and HTTP code.",
        METRIC_LABELS("code", "group", "resource", "scope", "subresource", "verb", "version"));
    latency = metric_histogram(
        m, "apiserver_request_duration_seconds",
        "Time from a request's arrival to its answer, by verb and resource.",
        METRIC_LABELS("group", "resource", "scope", "subresource", "verb", "version"),
        latency_bounds, ARRAY_SIZE(latency_bounds));
    sli = metric_histogram(
        m, "apiserver_request_sli_duration_seconds", "The same for what the server is judged by.",
        METRIC_LABELS("group", "resource", "scope", "subresource", "verb", "version"),
        latency_bounds + 2, ARRAY_SIZE(latency_bounds) - 2);
    inflight = metric_gauge(m, "apiserver_current_inflight_requests",
                            "Requests being served, by kind.", METRIC_LABELS("request_kind"));
    longrunning =
        metric_gauge(m, "apiserver_longrunning_requests", "Watches and streams being served.",
                     METRIC_LABELS("group", "resource", "scope", "subresource", "verb", "version"));
    inflight_now[0] = METRIC_OF(inflight, STR("readOnly"));
    inflight_now[1] = METRIC_OF(inflight, STR("mutating"));
    watchers = metric_gauge(m, "apiserver_registered_watchers", "Watchers by resource.",
                            METRIC_LABELS("group", "kind", "version"));
    terminations = metric_counter(m, "apiserver_request_terminations_total",
                                  "Requests that were ended to protect the server.",
                                  METRIC_LABELS("code", "component", "group", "resource", "scope",
                                                "subresource", "verb", "version"));
    deprecated = metric_gauge(
        m, "apiserver_requested_deprecated_apis",
        "Gauge of deprecated APIs that have been requested, broken out by "
        "API group, version, resource, subresource, and removed_release.",
        METRIC_LABELS("group", "removed_release", "resource", "subresource", "version"));
    post_timeout = metric_counter(m, "apiserver_request_post_timeout_total",
                                  "Requests that came to an end after their client had its 504.",
                                  METRIC_LABELS("source", "status"));
    metrics_add_process(m);
}

static struct str scope_of(const struct req *r)
{
    if (!r->info.is_resource)
        return STR("");
    if (r->info.name.len != 0 || r->info.selected_name.len != 0)
        return STR("resource");
    return r->info.ns.len != 0 ? STR("namespace") : STR("cluster");
}

static struct str verb_of(const struct req *r)
{
    static const char *const names[][2] = {
        {"get", "GET"},       {"list", "LIST"},
        {"watch", "WATCH"},   {"create", "POST"},
        {"update", "PUT"},    {"patch", "PATCH"},
        {"delete", "DELETE"}, {"deletecollection", "DELETECOLLECTION"},
    };
    if (req_connects(r))
        return STR("CONNECT");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(r->info.verb, names[i][0]) == 0)
            return str_of(names[i][1]);
    return STR("other");
}

/* Only names that exist become labels: paths from outside must not. */
static struct str known(const struct req *r, struct str s)
{
    return r->res != NULL ? s : STR("");
}

static bool mutating(const struct req *r)
{
    return !str_eqc(r->http->method, "GET") && !str_eqc(r->http->method, "HEAD");
}

void server_metrics_begin(struct req *r)
{
    metric_add(inflight_now[mutating(r)], 1);
}

static struct series series_find(const struct req *r, const struct series *key)
{
    char code[16];
    struct str scope = str_of(key->scope), verb = str_of(key->verb);
    struct str sub = r->sub != NULL ? str_of(r->sub->name) : STR("");
    struct series s = *key;
    snprintf(code, sizeof(code), "%d", key->status);
    s.requests = METRIC_OF(requests, str_of(code), known(r, r->info.group),
                           known(r, r->info.resource), scope, sub, verb, known(r, r->info.version));
    if (!r->long_running) {
        s.latency = METRIC_OF(latency, known(r, r->info.group), known(r, r->info.resource), scope,
                              sub, verb, known(r, r->info.version));
        s.sli = METRIC_OF(sli, known(r, r->info.group), known(r, r->info.resource), scope, sub,
                          verb, known(r, r->info.version));
    }
    return s;
}

static struct series series_of(const struct req *r, int http_status)
{
    struct series key = {.res = r->res,
                         .sub = r->sub,
                         .scope = scope_of(r).data,
                         .verb = verb_of(r).data,
                         .status = http_status};
    if (r->res == NULL || r->res->custom != NULL || r->long_running)
        return series_find(r, &key);
    uintptr_t mixed = (uintptr_t)key.res / sizeof(*key.res) + (uintptr_t)key.verb +
                      (uintptr_t)key.sub / 8 + (uintptr_t)http_status * 7;
    struct series *kept = &series_kept[mixed % SERIES_KEPT];
    if (kept->res != key.res || kept->sub != key.sub || kept->scope != key.scope ||
        kept->verb != key.verb || kept->status != key.status)
        *kept = series_find(r, &key);
    return *kept;
}

void server_metrics_request(struct req *r, int http_status)
{
    if (r->info.verb == NULL)
        return;
    metric_add(inflight_now[mutating(r)], -1);
    struct series s = series_of(r, http_status);
    metric_inc(s.requests);
    if (!r->long_running) {
        double seconds = (double)(uv_hrtime() - r->start_ns) / 1e9;
        metric_observe(s.latency, seconds);
        metric_observe(s.sli, seconds);
    }
}

void server_metrics_deprecated(struct req *r, const char *when)
{
    static const char before[] = "unavailable in v";
    const char *release = strstr(when, before);
    struct str removed = STR("");
    if (release != NULL) {
        release += sizeof(before) - 1;
        removed = str_n(release, strcspn(release, "+;"));
    }
    metric_set(METRIC_OF(deprecated, known(r, r->info.group), removed, known(r, r->info.resource),
                         r->sub != NULL ? str_of(r->sub->name) : STR(""),
                         known(r, r->info.version)),
               1);
}

void server_metrics_terminated(struct req *r, int http_status)
{
    char code[16];
    snprintf(code, sizeof(code), "%d", http_status);
    metric_inc(METRIC_OF(terminations, str_of(code), STR("apiserver"), known(r, r->info.group),
                         known(r, r->info.resource), scope_of(r), STR(""), verb_of(r),
                         known(r, r->info.version)));
}

void server_metrics_post_timeout(struct req *r, int http_status)
{
    struct str source = r->write_bounded ? STR("rest-handler") : STR("timeout-handler");
    metric_inc(METRIC_OF(post_timeout, source, http_status < 400 ? STR("ok") : STR("error")));
}

void server_metrics_watchers(struct req *r, int delta)
{
    metric_add(METRIC_OF(watchers, r->res->gr.group, str_of(r->res->kind->kind), r->info.version),
               delta);
    metric_add(METRIC_OF(longrunning, r->res->gr.group, r->res->gr.resource, scope_of(r), STR(""),
                         STR("WATCH"), r->info.version),
               delta);
}

struct metric *server_metrics_connection(struct req *r)
{
    if (r->res == NULL) /* Another server's: what is connected to is its affair. */
        return METRIC_OF(longrunning, r->info.group, STR(""), STR("resource"), STR(""),
                         STR("CONNECT"), r->info.version);
    return METRIC_OF(longrunning, r->res->gr.group, r->res->gr.resource, scope_of(r),
                     str_of(r->sub->name), STR("CONNECT"), r->info.version);
}
