/* monitor.c - see monitor.h. */
#include "apiserver/monitor.h"

#include "apiserver/apiserver.h"
#include "apiserver/registry.h"
#include "apiserver/request.h"
#include "lib/base/arena.h"
#include "lib/base/env.h"
#include "lib/base/metrics.h"
#include "lib/base/version.h"
#include "lib/net/http_server.h"
#include "lib/net/tls.h"
#include "raftstore/store.h"

static struct metric_family *storage_objects, *resource_objects;
static struct metric *attempts[2], *certificates;
static struct metrics *slis;
static struct metric_family *check_now, *check_total;

static const double certificate_bounds[] = {0,       1800,    3600,     7200,    21600,
                                            43200,   86400,   172800,   345600,  604800,
                                            2592000, 7776000, 15552000, 31104000};

/* --- objects ---------------------------------------------------------------------------------- */
static void count_objects(const struct store_view *v, const struct resource *r)
{
    AUTO_ARENA *a = arena_new(0);
    struct str prefix = r->prefix, group = str_of(r->kind->group),
               resource = str_of(r->kind->resource);
    char *end = arena_strdup(a, arena_str(a, prefix).data);
    end[prefix.len - 1]++; /* '/' */
    double n = (double)store_view_count(v, prefix, str_n(end, prefix.len), 0);
    struct str both = group.len == 0
                          ? resource
                          : arena_printf(a, STR_FMT "." STR_FMT, STR_ARG(resource), STR_ARG(group));
    metric_set(METRIC_OF(storage_objects, both), n);
    metric_set(METRIC_OF(resource_objects, group, resource), n);
}

static void on_render(void *arg)
{
    const struct apiserver *s = arg;
    if (s->store == NULL)
        return;
    struct store_view *v = store_view(s->store);
    for (size_t i = 0; i < registry_count(); i++) {
        const struct resource *r = registry_at(i);
        if (r->primary == r && r->prefix.len != 0)
            count_objects(v, r);
    }
    store_view_unref(v);
}

/* --- all
 * ------------------------------------------------------------------------------------------ */
void monitor_init(struct apiserver *s)
{
    struct metrics *m = metrics_default();
    struct metric_family *f =
        metric_counter(m, "authentication_attempts",
                       "Requests by the outcome of authenticating them.", METRIC_LABELS("result"));
    attempts[0] = METRIC_OF(f, STR("failure"));
    attempts[1] = METRIC_OF(f, STR("success"));
    certificates =
        metric_single(metric_histogram(m, "apiserver_client_certificate_expiration_seconds",
                                       "How long the certificates of requests are still valid.",
                                       NULL, certificate_bounds, ARRAY_SIZE(certificate_bounds)));
    storage_objects = metric_gauge(m, "apiserver_storage_objects",
                                   "Stored objects by resource.group.", METRIC_LABELS("resource"));
    resource_objects =
        metric_gauge(m, "apiserver_resource_objects", "Stored objects by group and resource.",
                     METRIC_LABELS("group", "resource"));
    slis = metrics_new();
    check_now =
        metric_gauge(slis, "kubernetes_healthcheck", "1: the check passed when it ran last.",
                     METRIC_LABELS("name", "type"));
    check_total =
        metric_counter(slis, "kubernetes_healthchecks_total", "Checks that ran, by the outcome.",
                       METRIC_LABELS("name", "status", "type"));
    metrics_on_render(m, on_render, s);
}

void monitor_authenticated(const struct req *r, bool ok)
{
    const struct tls_peer *p = r->http->peer;
    metric_inc(attempts[ok]);
    if (ok && p != NULL && p->verified)
        metric_observe(certificates, (double)(p->not_after - r->now_ns / 1000000000));
}

void monitor_checked(const char *name, const char *type, bool ok)
{
    struct str n = str_of(name), t = str_of(type);
    metric_set(METRIC_OF(check_now, n, t), ok);
    metric_inc(METRIC_OF(check_total, n, ok ? STR("success") : STR("error"), t));
}

void monitor_write_slis(struct buf *out)
{
    metrics_render(slis, out);
}
