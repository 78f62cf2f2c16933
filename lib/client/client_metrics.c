/* client_metrics.c - see client_metrics.h. */
#include "lib/client/client_metrics.h"

#include "lib/base/base.h"
#include "lib/base/metrics.h"
#include "lib/net/url.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static const double seconds[] = {0.005, 0.025, 0.1, 0.25, 0.5, 1, 2, 4, 8, 15, 30, 60};
static const double bytes[] = {64,    256,    512,     1024,    4096,    16384,
                               65536, 262144, 1048576, 4194304, 16777216};

/* Series that do not depend on the answer, of one method. */
struct by_method {
    const char *method;
    struct metric *took, *waited, *sent, *received;
};

struct client_metrics {
    char *host;
    struct metric_family *requests, *retries;
    struct by_method methods[8]; /* HTTP has no more that are used. */
    /* The last one looked up: nearly all calls of a program end alike. */
    struct metric *last;
    const char *last_method;
    int last_status;
};

/* "host:port" of a URL. */
static char *host_of(const char *server)
{
    struct url url;
    if (url_parse(str_of(server), &url, NULL) != 0)
        return xstrdup(server); /* It was refused before. */
    return xstrndup(url.authority.data, url.authority.len);
}

struct client_metrics *client_metrics_new(const char *server)
{
    struct client_metrics *m = xzalloc(sizeof(*m));
    struct metrics *all = metrics_default();
    m->host = host_of(server);
    m->requests =
        metric_counter(all, "rest_client_requests_total",
                       "Number of HTTP requests, partitioned by status code, method, and host.",
                       METRIC_LABELS("code", "method", "host"));
    m->retries = metric_counter(all, "rest_client_request_retries_total",
                                "Number of request retries, partitioned by status code, verb, and "
                                "host.",
                                METRIC_LABELS("code", "verb", "host"));
    return m;
}

void client_metrics_free(struct client_metrics *m)
{
    if (m == NULL)
        return;
    free(m->host);
    free(m);
}

static struct metric *histogram(const struct client_metrics *m, const char *method,
                                const char *name, const char *help, const double *bounds,
                                size_t count)
{
    return METRIC_OF(metric_histogram(metrics_default(), name, help, METRIC_LABELS("verb", "host"),
                                      bounds, count),
                     str_of(method), str_of(m->host));
}

static struct by_method *find_method(struct client_metrics *m, const char *method)
{
    for (size_t i = 0; i < ARRAY_SIZE(m->methods); i++) {
        struct by_method *b = &m->methods[i];
        if (b->method != NULL && strcmp(b->method, method) != 0)
            continue;
        if (b->method != NULL)
            return b;
        /* The name of a metric's series is kept with it: the method's own text may go. */
        static const char *const known[] = {"GET",    "POST", "PUT",    "PATCH",
                                            "DELETE", "HEAD", "OPTIONS"};
        for (size_t k = 0; k < ARRAY_SIZE(known); k++)
            if (strcmp(known[k], method) == 0)
                b->method = known[k];
        if (b->method == NULL)
            return NULL;
        b->took = histogram(m, b->method, "rest_client_request_duration_seconds",
                            "Request latency in seconds. Broken down by verb, and host.", seconds,
                            ARRAY_SIZE(seconds));
        b->waited = histogram(m, b->method, "rest_client_rate_limiter_duration_seconds",
                              "Client side rate limiter latency in seconds. Broken down by verb, "
                              "and host.",
                              seconds, ARRAY_SIZE(seconds));
        b->sent = histogram(m, b->method, "rest_client_request_size_bytes",
                            "Request size in bytes. Broken down by verb and host.", bytes,
                            ARRAY_SIZE(bytes));
        b->received = histogram(m, b->method, "rest_client_response_size_bytes",
                                "Response size in bytes. Broken down by verb and host.", bytes,
                                ARRAY_SIZE(bytes));
        return b;
    }
    return NULL;
}

static struct metric *by_code(const struct client_metrics *m, struct metric_family *f, int status,
                              const char *method)
{
    char code[16] = "<error>";
    if (status != 0)
        snprintf(code, sizeof(code), "%d", status);
    return METRIC_OF(f, str_of(code), str_of(method), str_of(m->host));
}

void client_metrics_add(struct client_metrics *m, const struct client_try *t)
{
    struct by_method *b = find_method(m, t->method);
    if (b == NULL)
        return;
    if (m->last == NULL || m->last_status != t->status || m->last_method != b->method) {
        m->last = by_code(m, m->requests, t->status, b->method);
        m->last_status = t->status;
        m->last_method = b->method;
    }
    metric_inc(m->last);
    metric_observe(b->took, (double)t->took_ms / 1000);
    metric_observe(b->sent, (double)t->sent);
    if (t->status != 0)
        metric_observe(b->received, (double)t->received);
}

void client_metrics_add_retry(struct client_metrics *m, const char *method, int status)
{
    metric_inc(by_code(m, m->retries, status, method));
}

void client_metrics_add_wait(struct client_metrics *m, const char *method, uint64_t waited_ms)
{
    struct by_method *b = find_method(m, method);
    if (b != NULL)
        metric_observe(b->waited, (double)waited_ms / 1000);
}
