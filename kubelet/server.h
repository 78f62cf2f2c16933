/* server.h - the kubelet's own HTTPS API, as kube-apiserver uses it.
 *
 *   /healthz /pods /runningpods
 *   /metrics                      of the agent itself
 *   /metrics/resource, /cadvisor, /probes, /stats/summary   of what runs
 *   /containerLogs/{ns}/{pod}/{container}
 *   /exec /attach /portForward    passed on to the runtime's streaming server
 *   /localVolumes/{name}          folders that are volumes, see local_volumes.h
 *
 * Only health checks are served without credentials. A client shows a
 * certificate signed by --client-ca-file; what it may do is decided by its
 * groups, or by the API server (SubjectAccessReview on nodes/...). */
#ifndef KUBELET_SERVER_H
#define KUBELET_SERVER_H

#include "lib/base/error.h"
#include "lib/base/str.h"

struct http_request;
struct kubelet;
struct kubelet_server;
struct pod_worker;

int kubelet_server_start(struct kubelet *k, struct kubelet_server **ret, struct error *err);
/* A new serving certificate: used for new connections. */
void kubelet_server_set_cert(struct kubelet_server *s);
void kubelet_server_stop(struct kubelet_server *s); /* NULL is a no-op. */

/* --- handlers; each owns the request --- */
/* segments: of the path behind the first one, unescaped. */
void server_logs(struct kubelet *k, struct http_request *r, const struct str *segments,
                 size_t count);
void server_exec(struct kubelet *k, struct http_request *r, const struct str *segments,
                 size_t count);
void server_attach(struct kubelet *k, struct http_request *r, const struct str *segments,
                   size_t count);
void server_port_forward(struct kubelet *k, struct http_request *r, const struct str *segments,
                         size_t count);
void server_stats_summary(struct kubelet *k, struct http_request *r);
void server_metrics_resource(struct kubelet *k, struct http_request *r);
void server_metrics_cadvisor(struct kubelet *k, struct http_request *r);

/* --- what they write; pure --- */
struct buf;
struct usage_view;
void resource_metrics_write(const struct usage_view *v, struct buf *b);
void cadvisor_metrics_write(const struct usage_view *v, int64_t cpu_milli, struct buf *b);

/* Plain text with a newline behind it. */
void server_text(struct http_request *r, int status, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
/* {ns}/{pod}, the uid in between being optional; NULL once 404 was answered. */
struct pod_worker *server_find_pod(struct kubelet *k, struct http_request *r,
                                   const struct str *segments, size_t count);
/* A parameter of the query; empty when absent. */
struct str server_param(const struct http_request *r, const char *name);
bool server_flag(const struct http_request *r, const char *name);

#endif
