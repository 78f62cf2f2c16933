/* driver.c - a driver of dynamic resources for tests: every claim gets the one device
 * "test/device=<claim>". Every call is a line in its output. A file REFUSE in the working
 * directory makes it refuse; a file SHARE holds the share of its devices; a file HEALTH what it
 * says of the device's health ("healthy 3600 all is well": state, seconds, message), each time that
 * it changes, if it is of v1.
 *
 * usage: dra-driver NAME VERSION ENDPOINT_SOCKET REGISTRATION_SOCKET   (VERSION: v1, v1beta1) */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_server.h"
#include "lib/net/proto.h"
#include "lib/net/stream.h"

#include "pb/csi/dra_health_v1alpha1.pb-c.h"
#include "pb/csi/dra_v1.pb-c.h"
#include "pb/csi/pluginregistration_v1.pb-c.h"

#include <stdio.h>
#include <unistd.h>
#include <uv.h>

#define CLAIMS_MAX 32

static const char *driver_name, *version, *endpoint;

static void say(const char *what, const char *name, const char *more)
{
    printf("%s %s %s\n", what, name, more);
    fflush(stdout);
}

static void reply(struct grpc_stream *s, const ProtobufCMessage *m)
{
    struct net_bytes *b = proto_pack(m);
    grpc_stream_reply(s, b);
    net_bytes_unref(b);
}

/* NULL: it was answered. */
static void *unpack(struct grpc_stream *s, const ProtobufCMessageDescriptor *d, struct str message)
{
    ProtobufCMessage *m = NULL;
    if (proto_unpack(grpc_stream_arena(s), d, message, &m, NULL) == 0)
        return m;
    grpc_stream_finish(s, GRPC_INVALID_ARGUMENT, "malformed request");
    return NULL;
}

/* What a file of the working directory holds; "": it is not there. */
static const char *text_of(struct arena *a, const char *path)
{
    AUTO_BUF b = BUF_INIT;
    return file_read(path, 4096, &b, NULL) == 0 ? str_c(arena_str(a, str_trim(buf_str(&b)))) : "";
}

/* --- health ---------------------------------------------------------------------------------- */

static struct grpc_stream *watcher;
static char *told; /* What it knows of HEALTH. */

static void on_watch_gone(struct grpc_stream *s, void *arg)
{
    UNUSED(s), UNUSED(arg);
    watcher = NULL;
}

static void on_watch(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    say("watch", driver_name, version);
    watcher = s;
    free(take(told));
    grpc_stream_on_cancel(s, on_watch_gone, NULL);
}

static void send_health(const char *text)
{
    DraHealth__V1alpha1__NodeWatchResourcesResponse r =
        DRA_HEALTH__V1ALPHA1__NODE_WATCH_RESOURCES_RESPONSE__INIT;
    DraHealth__V1alpha1__DeviceHealth x = DRA_HEALTH__V1ALPHA1__DEVICE_HEALTH__INIT, *list[] = {&x};
    DraHealth__V1alpha1__DeviceIdentifier id = DRA_HEALTH__V1ALPHA1__DEVICE_IDENTIFIER__INIT;
    char state[32] = "", words[512] = "";
    long long seconds = 0;
    sscanf(text, "%31s %lld %511[^\n]", state, &seconds, words);
    id.pool_name = "pool";
    id.device_name = "device";
    x.device = &id;
    x.health = strcmp(state, "healthy") == 0     ? DRA_HEALTH__V1ALPHA1__HEALTH_STATUS__HEALTHY
               : strcmp(state, "unhealthy") == 0 ? DRA_HEALTH__V1ALPHA1__HEALTH_STATUS__UNHEALTHY
                                                 : DRA_HEALTH__V1ALPHA1__HEALTH_STATUS__UNKNOWN;
    x.health_check_timeout_seconds = seconds;
    x.message = words;
    r.devices = list;
    r.n_devices = 1;
    struct net_bytes *b = proto_pack(&r.base);
    grpc_stream_send(watcher, b);
    net_bytes_unref(b);
}

static void on_look(uv_timer_t *t)
{
    AUTO_ARENA *a = arena_new(0);
    UNUSED(t);
    const char *text = text_of(a, "HEALTH");
    if (watcher == NULL || text[0] == '\0' || (told != NULL && strcmp(told, text) == 0))
        return;
    free(take(told));
    told = xstrdup(text);
    send_health(text);
}

/* --- claims ---------------------------------------------------------------------------------- */

static void on_prepare(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    struct arena *a = grpc_stream_arena(s);
    Dra__V1__NodePrepareResourcesRequest *r =
        unpack(s, &dra__v1__node_prepare_resources_request__descriptor, message);
    Dra__V1__NodePrepareResourcesResponse out = DRA__V1__NODE_PREPARE_RESOURCES_RESPONSE__INIT;
    Dra__V1__NodePrepareResourcesResponse__ClaimsEntry entries[CLAIMS_MAX], *list[CLAIMS_MAX];
    Dra__V1__NodePrepareResourceResponse answers[CLAIMS_MAX];
    Dra__V1__Device devices[CLAIMS_MAX], *device_list[CLAIMS_MAX];
    char *ids[CLAIMS_MAX];
    for (size_t i = 0; r != NULL && i < r->n_claims && i < CLAIMS_MAX; i++) {
        say("prepare", r->claims[i]->name, version);
        dra__v1__node_prepare_resources_response__claims_entry__init(&entries[i]);
        dra__v1__node_prepare_resource_response__init(&answers[i]);
        dra__v1__device__init(&devices[i]);
        ids[i] = (char *)(uintptr_t)str_c(arena_printf(a, "test/device=%s", r->claims[i]->name));
        devices[i].pool_name = "pool";
        devices[i].device_name = "device";
        devices[i].share_id = (char *)(uintptr_t)text_of(a, "SHARE");
        devices[i].cdi_device_ids = &ids[i];
        devices[i].n_cdi_device_ids = 1;
        device_list[i] = &devices[i];
        answers[i].devices = &device_list[i];
        answers[i].n_devices = 1;
        if (access("REFUSE", F_OK) == 0)
            answers[i].error = "it is to be refused";
        entries[i].key = r->claims[i]->uid;
        entries[i].value = &answers[i];
        list[out.n_claims++] = &entries[i];
    }
    out.claims = list;
    if (r != NULL)
        reply(s, &out.base);
}

static void on_unprepare(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    Dra__V1__NodeUnprepareResourcesRequest *r =
        unpack(s, &dra__v1__node_unprepare_resources_request__descriptor, message);
    Dra__V1__NodeUnprepareResourcesResponse out = DRA__V1__NODE_UNPREPARE_RESOURCES_RESPONSE__INIT;
    Dra__V1__NodeUnprepareResourcesResponse__ClaimsEntry entries[CLAIMS_MAX], *list[CLAIMS_MAX];
    Dra__V1__NodeUnprepareResourceResponse answer = DRA__V1__NODE_UNPREPARE_RESOURCE_RESPONSE__INIT;
    for (size_t i = 0; r != NULL && i < r->n_claims && i < CLAIMS_MAX; i++) {
        say("unprepare", r->claims[i]->name, version);
        dra__v1__node_unprepare_resources_response__claims_entry__init(&entries[i]);
        entries[i].key = r->claims[i]->uid;
        entries[i].value = &answer;
        list[out.n_claims++] = &entries[i];
    }
    out.claims = list;
    if (r != NULL)
        reply(s, &out.base);
}

static void on_plugin_info(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    Pluginregistration__PluginInfo r = PLUGINREGISTRATION__PLUGIN_INFO__INIT;
    char supported[32], *versions[] = {supported};
    snprintf(supported, sizeof(supported), "%s.DRAPlugin", version);
    r.type = "DRAPlugin";
    r.name = (char *)(uintptr_t)driver_name;
    r.endpoint = (char *)(uintptr_t)endpoint;
    r.supported_versions = versions;
    r.n_supported_versions = 1;
    reply(s, &r.base);
}

static void on_status(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    Pluginregistration__RegistrationStatus *r =
        unpack(s, &pluginregistration__registration_status__descriptor, message);
    Pluginregistration__RegistrationStatusResponse out =
        PLUGINREGISTRATION__REGISTRATION_STATUS_RESPONSE__INIT;
    if (r == NULL)
        return;
    say(r->plugin_registered ? "registered" : "refused", driver_name, r->error);
    reply(s, &out.base);
}

static void on_headers(struct http_request *r, void *arg)
{
    grpc_server_handle(arg, r);
}

/* All requests are gRPC. */
static void on_request(struct http_request *r, void *arg)
{
    UNUSED(arg);
    http_respond(r, 404, STR_NULL);
}

static void serve(struct grpc_server *methods, const char *socket)
{
    struct http_server_config config = {
        .name = "dra", .on_headers = on_headers, .on_request = on_request, .arg = methods};
    struct net_listen_config where = {.address = socket};
    struct http_server *server;
    struct error err;
    if (http_server_new(uv_default_loop(), &config, &server, &err) != 0 ||
        http_server_listen(server, &where, &err) != 0) {
        fprintf(stderr, "%s: %s\n", socket, error_message(&err));
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    char prepare[128], unprepare[128];
    struct grpc_method methods[] = {
        {.path = prepare, .on_unary = on_prepare},
        {.path = unprepare, .on_unary = on_unprepare},
        {.path = "/pluginregistration.Registration/GetInfo", .on_unary = on_plugin_info},
        {.path = "/pluginregistration.Registration/NotifyRegistrationStatus",
         .on_unary = on_status},
    };
    if (argc != 5) {
        fprintf(stderr, "usage: dra-driver NAME VERSION ENDPOINT_SOCKET REGISTRATION_SOCKET\n");
        return EXIT_FAILURE;
    }
    driver_name = argv[1];
    version = argv[2];
    endpoint = argv[3];
    snprintf(prepare, sizeof(prepare),
             "/k8s.io.kubelet.pkg.apis.dra.%s.DRAPlugin/NodePrepareResources", version);
    snprintf(unprepare, sizeof(unprepare),
             "/k8s.io.kubelet.pkg.apis.dra.%s.DRAPlugin/NodeUnprepareResources", version);
    struct grpc_server *g = grpc_server_new();
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        grpc_server_add(g, &methods[i]);
    const struct grpc_method watch = {.path = "/v1alpha1.DRAResourceHealth/NodeWatchResources",
                                      .on_unary = on_watch};
    if (strcmp(version, "v1") == 0)
        grpc_server_add(g, &watch);
    uv_timer_t look;
    uv_timer_init(uv_default_loop(), &look);
    uv_timer_start(&look, on_look, 100, 100);
    serve(g, endpoint);
    serve(g, argv[4]);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
