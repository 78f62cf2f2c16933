/* pod_resources_serve.c - see pod_resources.h: the socket. Limits, texts and metrics are
 * upstream's. */
#include "kubelet/pod_resources.h"

#include "kubelet/kubelet.h"

#include "lib/base/arena.h"
#include "lib/base/file.h"
#include "lib/base/metrics.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_server.h"
#include "lib/net/proto.h"
#include "lib/net/stream.h"

#include "pb/csi/podresources_v1.pb-c.h"

#define CALLS_PER_SECOND 100
#define CALLS_BURST 10

enum call { CALL_LIST, CALL_ALLOCATABLE, CALL_GET, CALL_COUNT };

struct server {
    struct kubelet *k;
    struct grpc_server *methods;
    uint64_t tokens_milli; /* Thousandths of calls that may come now. */
    uint64_t filled_ms;
    struct metric_family *requests, *by_call[CALL_COUNT], *errors[CALL_COUNT];
};

/* One method under one version of the API, whose messages only grew. */
struct route {
    struct server *server;
    const char *path, *version;
    enum call call;
};

static struct metric_family *count(const char *name, const char *help)
{
    return metric_counter(metrics_default(), name, help, METRIC_LABELS("server_api_version"));
}

static void add_metrics(struct server *s)
{
    s->requests = count("kubelet_pod_resources_endpoint_requests_total",
                        "Cumulative number of requests to the PodResource endpoint. Broken down "
                        "by server api version.");
    s->by_call[CALL_LIST] = count("kubelet_pod_resources_endpoint_requests_list",
                                  "Number of requests to the PodResource List endpoint.");
    s->by_call[CALL_ALLOCATABLE] =
        count("kubelet_pod_resources_endpoint_requests_get_allocatable",
              "Number of requests to the PodResource GetAllocatableResources endpoint.");
    s->by_call[CALL_GET] = count("kubelet_pod_resources_endpoint_requests_get",
                                 "Number of requests to the PodResource Get endpoint.");
    s->errors[CALL_LIST] = count("kubelet_pod_resources_endpoint_errors_list",
                                 "Number of failed requests to the PodResource List endpoint.");
    s->errors[CALL_ALLOCATABLE] =
        count("kubelet_pod_resources_endpoint_errors_get_allocatable",
              "Number of failed requests to the PodResource GetAllocatableResources endpoint.");
    s->errors[CALL_GET] = count("kubelet_pod_resources_endpoint_errors_get",
                                "Number of failed requests to the PodResource Get endpoint.");
}

/* A call that is too many is not counted, either, as upstream. */
static bool may_call(struct server *s)
{
    uint64_t now_ms = kubelet_now_ms(s->k);
    uint64_t more = (now_ms - s->filled_ms) * CALLS_PER_SECOND;
    s->tokens_milli = MIN_OF(s->tokens_milli + more, (uint64_t)CALLS_BURST * 1000);
    s->filled_ms = now_ms;
    if (s->tokens_milli < 1000)
        return false;
    s->tokens_milli -= 1000;
    return true;
}

static void reply(struct grpc_stream *s, const ProtobufCMessage *m)
{
    struct net_bytes *b = proto_pack(m);
    grpc_stream_reply(s, b);
    net_bytes_unref(b);
}

static void answer_get(const struct route *r, struct grpc_stream *s, struct str message)
{
    struct arena *a = grpc_stream_arena(s);
    Podresources__V1__GetPodResourcesResponse out =
        PODRESOURCES__V1__GET_POD_RESOURCES_RESPONSE__INIT;
    ProtobufCMessage *m;
    struct error err;
    if (proto_unpack(a, &podresources__v1__get_pod_resources_request__descriptor, message, &m,
                     &err) != 0) {
        metric_inc(METRIC_OF(r->server->errors[CALL_GET], str_of(r->version)));
        grpc_stream_finish(s, GRPC_INVALID_ARGUMENT, error_message(&err));
        return;
    }
    const Podresources__V1__GetPodResourcesRequest *q = (const void *)m;
    out.pod_resources =
        pod_resources_get(r->server->k, a, str_of(q->pod_namespace), str_of(q->pod_name));
    if (out.pod_resources != NULL) {
        reply(s, &out.base);
        return;
    }
    metric_inc(METRIC_OF(r->server->errors[CALL_GET], str_of(r->version)));
    grpc_stream_finish(
        s, GRPC_UNKNOWN,
        str_c(arena_printf(a, "pod %s in namespace %s not found", q->pod_name, q->pod_namespace)));
}

static void on_call(struct grpc_stream *s, struct str message, void *arg)
{
    const struct route *r = arg;
    const struct kubelet *k = r->server->k;
    Podresources__V1__ListPodResourcesResponse list =
        PODRESOURCES__V1__LIST_POD_RESOURCES_RESPONSE__INIT;
    Podresources__V1__AllocatableResourcesResponse all =
        PODRESOURCES__V1__ALLOCATABLE_RESOURCES_RESPONSE__INIT;
    if (!may_call(r->server)) {
        grpc_stream_finish(s, GRPC_RESOURCE_EXHAUSTED, "rejected by rate limit");
        return;
    }
    metric_inc(METRIC_OF(r->server->requests, str_of(r->version)));
    metric_inc(METRIC_OF(r->server->by_call[r->call], str_of(r->version)));
    if (r->call == CALL_GET) {
        answer_get(r, s, message);
    } else if (r->call == CALL_LIST) {
        pod_resources_list(k, grpc_stream_arena(s), &list);
        reply(s, &list.base);
    } else {
        pod_resources_allocatable(k, grpc_stream_arena(s), &all);
        reply(s, &all.base);
    }
}

static void on_headers(struct http_request *r, void *arg)
{
    struct server *s = arg;
    grpc_server_handle(s->methods, r);
}

/* All requests are gRPC. */
static void on_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    http_respond(r, 404, STR_NULL);
}

int pod_resources_start(struct kubelet *k, struct error *err)
{
    static struct server server; /* One in a program, as long as that. */
    static const struct route routes[] = {
        {&server, "/v1.PodResourcesLister/List", "v1", CALL_LIST},
        {&server, "/v1.PodResourcesLister/GetAllocatableResources", "v1", CALL_ALLOCATABLE},
        {&server, "/v1.PodResourcesLister/Get", "v1", CALL_GET},
        {&server, "/v1alpha1.PodResourcesLister/List", "v1alpha1", CALL_LIST},
    };
    AUTO_FREE char *folder = xasprintf("%s/pod-resources", k->config.root_dir);
    AUTO_FREE char *socket = xasprintf("%s/kubelet.sock", folder);
    struct http_server_config config = {.name = "pod-resources",
                                        .on_headers = on_headers,
                                        .on_request = on_request,
                                        .arg = &server};
    struct net_listen_config where = {.address = socket};
    struct http_server *http;
    server = (struct server){.k = k,
                             .methods = grpc_server_new(),
                             .tokens_milli = (uint64_t)CALLS_BURST * 1000,
                             .filled_ms = kubelet_now_ms(k)};
    add_metrics(&server);
    for (size_t i = 0; i < ARRAY_SIZE(routes); i++) {
        struct grpc_method m = {
            .path = routes[i].path, .on_unary = on_call, .arg = (void *)(uintptr_t)&routes[i]};
        grpc_server_add(server.methods, &m);
    }
    int rc = file_mkdir_p(folder, 0750, err);
    if (rc == 0)
        rc = file_remove(socket, err); /* Of an earlier agent. */
    if (rc == 0)
        rc = http_server_new(k->loop, &config, &http, err);
    if (rc == 0)
        rc = http_server_listen(http, &where, err);
    return rc;
}
