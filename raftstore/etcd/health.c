/* health.c - /health as etcd answers it, /livez and /readyz as etcd 3.6 does.
 *
 * Where a leader is asked for, a read barrier shows that a majority answers it: the
 * same that a linearizable read costs. Nobody has to say who they are. */
#include "raftstore/etcd/server_private.h"

#include "lib/base/arena.h"
#include "lib/base/metrics.h"
#include "lib/net/http_server.h"
#include "lib/net/url.h"

#include <string.h>

enum check {
    CHECK_CORRUPTION = 1,
    CHECK_SERIALIZABLE = 2,
    CHECK_LINEARIZABLE = 4,
    CHECK_VOTER = 8
};

static const struct {
    enum check check;
    const char *name;
} checks[] = {{CHECK_CORRUPTION, "data_corruption"},
              {CHECK_SERIALIZABLE, "serializable_read"},
              {CHECK_LINEARIZABLE, "linearizable_read"},
              {CHECK_VOTER, "non_learner"}};

struct question {
    struct http_request *request;
    struct etcd_thread *thread;
    bool is_health;           /* /health: JSON, alarms. */
    unsigned asked, excluded; /* enum check */
    bool verbose;
};

static bool only_get(struct http_request *r)
{
    if (str_eq(r->method, STR("GET")) || str_eq(r->method, STR("HEAD")))
        return true;
    http_response_header(r, "allow", "GET");
    http_response_header(r, "content-type", "text/plain; charset=utf-8");
    http_respond(r, 405, STR("Method Not Allowed\n"));
    return false;
}

void etcd_health_count(struct metrics *m, bool ok, unsigned n)
{
    struct metric_family *f =
        ok ? metric_counter(m, "etcd_server_health_success",
                            "The total number of successful health checks", NULL)
           : metric_counter(m, "etcd_server_health_failures",
                            "The total number of failed health checks", NULL);
    metric_add(metric_single(f), n);
}

/* --- /health --------------------------------------------------------------------------------- */

static bool excludes(const struct http_request *r, const char *word)
{
    struct str key, value, rest = r->query;
    while (url_query_next(&rest, &key, &value))
        if (str_eqc(key, "exclude") && str_eqc(value, word))
            return true;
    return false;
}

static const char *health_reason(const struct question *q, int code)
{
    const struct http_request *r = q->request;
    struct store_status s;
    store_status(etcd_thread_store(q->thread), &s);
    if ((s.alarms & STORE_ALARM_NO_SPACE) != 0 && !excludes(r, "NOSPACE"))
        return "ALARM NOSPACE";
    if ((s.alarms & STORE_ALARM_CORRUPT) != 0 && !excludes(r, "CORRUPT"))
        return "ALARM CORRUPT";
    if (s.failed)
        return "STORE FAILED";
    if ((q->asked & CHECK_LINEARIZABLE) == 0)
        return NULL;
    if (!s.has_leader)
        return "RAFT NO LEADER";
    return code < 0 ? "RANGE ERROR:etcdserver: request timed out" : NULL;
}

static void answer_health(const struct question *q, int code)
{
    struct http_request *r = q->request;
    const char *reason = health_reason(q, code);
    etcd_health_count(etcd_thread_config(q->thread)->metrics, reason == NULL, 1);
    http_response_header(r, "content-type", "text/plain; charset=utf-8"); /* As etcd. */
    http_respond(r, reason == NULL ? 200 : 503,
                 arena_printf(r->arena, "{\"health\":\"%s\",\"reason\":\"%s\"}",
                              reason == NULL ? "true" : "false", reason == NULL ? "" : reason));
}

/* --- /livez, /readyz ------------------------------------------------------------------------- */

static const char *failure(const struct question *q, enum check c, int code)
{
    struct store_status s;
    store_status(etcd_thread_store(q->thread), &s);
    switch (c) {
    case CHECK_CORRUPTION:
        return (s.alarms & STORE_ALARM_CORRUPT) != 0 ? "alarm activated: CORRUPT" : NULL;
    case CHECK_SERIALIZABLE:
        return s.failed ? "range error: the store cannot go on" : NULL;
    case CHECK_LINEARIZABLE:
        return code < 0 ? "range error: etcdserver: request timed out" : NULL;
    case CHECK_VOTER:
        return s.id != 0 && !s.is_voter ? "the member is a learner" : NULL;
    }
    return NULL;
}

static void answer_checks(const struct question *q, int code)
{
    struct http_request *r = q->request;
    struct str text = STR("");
    bool ok = true;
    for (size_t i = 0; i < ARRAY_SIZE(checks); i++) {
        if ((q->asked & checks[i].check) == 0)
            continue;
        const char *why = failure(q, checks[i].check, code);
        if ((q->excluded & checks[i].check) != 0) {
            text = arena_printf(r->arena, STR_FMT "[+]%s excluded: ok\n", STR_ARG(text),
                                checks[i].name);
        } else if (why == NULL) {
            text = arena_printf(r->arena, STR_FMT "[+]%s ok\n", STR_ARG(text), checks[i].name);
        } else {
            ok = false;
            text = arena_printf(r->arena, STR_FMT "[-]%s failed: %s\n", STR_ARG(text),
                                checks[i].name, why);
        }
    }
    etcd_health_count(etcd_thread_config(q->thread)->metrics, ok, 1);
    http_response_header(r, "content-type", "text/plain; charset=utf-8");
    http_response_header(r, "x-content-type-options", "nosniff");
    http_respond(r, ok ? 200 : 503, ok && !q->verbose ? STR("ok\n") : text);
}

/* --- asking ------------------------------------------------------------------------------------
 */

static void on_barrier(int code, int64_t rev, void *arg)
{
    const struct question *q = arg;
    UNUSED(rev);
    if (q->is_health)
        answer_health(q, code);
    else
        answer_checks(q, code);
}

static void ask(const struct question *q)
{
    struct question *kept = arena_memdup(q->request->arena, q, sizeof(*q));
    if ((q->asked & ~q->excluded & CHECK_LINEARIZABLE) != 0)
        store_read_barrier(etcd_thread_store(q->thread), &q->thread->mailbox, on_barrier, kept);
    else
        on_barrier(0, 0, kept);
}

static void serve_health(struct etcd_thread *t, struct http_request *r)
{
    struct str key, value, rest = r->query;
    struct question q = {.request = r, .thread = t, .is_health = true, .asked = CHECK_LINEARIZABLE};
    if (!only_get(r))
        return;
    while (url_query_next(&rest, &key, &value))
        if (str_eqc(key, "serializable") && str_eqc(value, "true"))
            q.asked = CHECK_SERIALIZABLE;
    ask(&q);
}

static void serve_checks(struct etcd_thread *t, struct http_request *r, const char *path,
                         unsigned asked)
{
    struct str key, value, rest = r->query;
    struct question q = {.request = r, .thread = t, .asked = asked};
    struct str one = str_sub(r->path, strlen(path) + 1, r->path.len);
    if (!only_get(r))
        return;
    while (url_query_next(&rest, &key, &value)) {
        q.verbose |= str_eqc(key, "verbose");
        for (size_t i = 0; str_eqc(key, "exclude") && i < ARRAY_SIZE(checks); i++)
            if (str_eqc(value, checks[i].name))
                q.excluded |= checks[i].check;
    }
    bool found = str_empty(one);
    for (size_t i = 0; !found && i < ARRAY_SIZE(checks); i++) {
        found = str_eqc(one, checks[i].name) && (asked & checks[i].check) != 0;
        if (found)
            q.asked = checks[i].check;
    }
    if (!found) {
        http_respond(r, 404, STR("404 page not found\n"));
        return;
    }
    ask(&q);
}

static void serve_livez(struct etcd_thread *t, struct http_request *r)
{
    serve_checks(t, r, "/livez", CHECK_SERIALIZABLE);
}

static void serve_readyz(struct etcd_thread *t, struct http_request *r)
{
    serve_checks(t, r, "/readyz",
                 CHECK_CORRUPTION | CHECK_SERIALIZABLE | CHECK_LINEARIZABLE | CHECK_VOTER);
}

static const struct etcd_route ROUTES[] = {
    {"/health", true, serve_health},  {"/livez", true, serve_livez},
    {"/livez/", true, serve_livez},   {"/readyz", true, serve_readyz},
    {"/readyz/", true, serve_readyz},
};
const struct etcd_route_list etcd_health_routes = {ROUTES, ARRAY_SIZE(ROUTES)};
