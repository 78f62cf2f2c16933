/* plugin.c - a device plugin for tests, in v1beta1. Its devices stand in the file DEVICES of the
 * working directory, one in a line: ID HEALTH [NUMA_NODE]; it is read again whenever it changes.
 * What calls it gets is a line each in its output. A file REFUSE makes it refuse.
 *
 * usage: device-plugin RESOURCE FOLDER SOCKET [REGISTRATION_SOCKET]
 *
 * It serves on FOLDER/SOCKET and registers at FOLDER/kubelet.sock, again whenever that is a new
 * one; with a REGISTRATION_SOCKET it waits there to be asked instead. */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/file.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_server.h"
#include "lib/net/proto.h"
#include "lib/net/stream.h"

#include "pb/csi/deviceplugin_v1beta1.pb-c.h"
#include "pb/csi/pluginregistration_v1.pb-c.h"

#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

#define DEVICES_MAX 64
#define WATCHERS_MAX 8
#define LOOK_MS 100

static const char *resource, *folder, *socket_name, *endpoint;
static struct grpc_server *methods;
static struct grpc_stream *watchers[WATCHERS_MAX];
static char *devices; /* The file as sent last. */
static uint64_t seen_agent;
static bool registering;

static void say(const char *what, const char *more)
{
    printf("%s %s\n", what, more);
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
    if (access("REFUSE", F_OK) == 0)
        grpc_stream_finish(s, GRPC_UNKNOWN, "it is to be refused");
    else if (proto_unpack(grpc_stream_arena(s), d, message, &m, NULL) == 0)
        return m;
    else
        grpc_stream_finish(s, GRPC_INVALID_ARGUMENT, "malformed request");
    return NULL;
}

static const char *joined(struct arena *a, char **ids, size_t count)
{
    const char *text = "";
    for (size_t i = 0; i < count; i++)
        text = str_c(arena_printf(a, "%s%s%s", text, i > 0 ? "," : "", ids[i]));
    return text;
}

/* --- devices -------------------------------------------------------------------------------- */

static void send_devices(struct grpc_stream *s)
{
    Deviceplugin__V1beta1__ListAndWatchResponse out =
        DEVICEPLUGIN__V1BETA1__LIST_AND_WATCH_RESPONSE__INIT;
    static Deviceplugin__V1beta1__Device list[DEVICES_MAX], *pointers[DEVICES_MAX];
    static Deviceplugin__V1beta1__TopologyInfo where[DEVICES_MAX];
    static Deviceplugin__V1beta1__NUMANode nodes[DEVICES_MAX], *node_pointers[DEVICES_MAX];
    AUTO_FREE char *text = xstrdup(devices);
    char *rest = text, *line, *word;
    while ((line = strtok_r(rest, "\n", &rest)) != NULL && out.n_devices < DEVICES_MAX) {
        size_t i = out.n_devices++;
        deviceplugin__v1beta1__device__init(&list[i]);
        deviceplugin__v1beta1__topology_info__init(&where[i]);
        deviceplugin__v1beta1__numanode__init(&nodes[i]);
        pointers[i] = &list[i];
        list[i].id = strtok_r(line, " ", &line);
        if ((word = strtok_r(line, " ", &line)) != NULL)
            list[i].health = word;
        if ((word = strtok_r(line, " ", &line)) == NULL)
            continue;
        nodes[i].id = atoi(word);
        node_pointers[i] = &nodes[i];
        where[i].nodes = &node_pointers[i];
        where[i].n_nodes = 1;
        list[i].topology = &where[i];
    }
    out.devices = pointers;
    struct net_bytes *b = proto_pack(&out.base);
    grpc_stream_send(s, b);
    net_bytes_unref(b);
}

static void on_watcher_gone(struct grpc_stream *s, void *arg)
{
    UNUSED(arg);
    for (size_t i = 0; i < WATCHERS_MAX; i++)
        if (watchers[i] == s)
            watchers[i] = NULL;
    grpc_stream_finish(s, GRPC_CANCELLED, NULL);
}

static void on_watch(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    for (size_t i = 0; i < WATCHERS_MAX; i++) {
        if (watchers[i] != NULL)
            continue;
        watchers[i] = s;
        grpc_stream_on_cancel(s, on_watcher_gone, NULL);
        say("watch", resource);
        send_devices(s);
        return;
    }
    grpc_stream_finish(s, GRPC_RESOURCE_EXHAUSTED, "too many watchers");
}

/* --- calls ---------------------------------------------------------------------------------- */

static void on_options(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    Deviceplugin__V1beta1__DevicePluginOptions out =
        DEVICEPLUGIN__V1BETA1__DEVICE_PLUGIN_OPTIONS__INIT;
    out.pre_start_required = true;
    out.get_preferred_allocation_available = true;
    reply(s, &out.base);
}

static int last_first(const void *x, const void *y)
{
    return strcmp(*(char *const *)y, *(char *const *)x);
}

/* The last ones are liked best. */
static void on_prefer(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    const Deviceplugin__V1beta1__PreferredAllocationRequest *r =
        unpack(s, &deviceplugin__v1beta1__preferred_allocation_request__descriptor, message);
    Deviceplugin__V1beta1__PreferredAllocationResponse out =
        DEVICEPLUGIN__V1BETA1__PREFERRED_ALLOCATION_RESPONSE__INIT;
    Deviceplugin__V1beta1__ContainerPreferredAllocationResponse one =
        DEVICEPLUGIN__V1BETA1__CONTAINER_PREFERRED_ALLOCATION_RESPONSE__INIT;
    Deviceplugin__V1beta1__ContainerPreferredAllocationResponse *list[] = {&one};
    if (r == NULL)
        return;
    const Deviceplugin__V1beta1__ContainerPreferredAllocationRequest *q = r->container_requests[0];
    say("prefer", joined(grpc_stream_arena(s), q->available_deviceids, q->n_available_deviceids));
    qsort(q->available_deviceids, q->n_available_deviceids, sizeof(char *), last_first);
    one.deviceids = q->available_deviceids;
    one.n_deviceids = MIN_OF((size_t)q->allocation_size, q->n_available_deviceids);
    out.container_responses = list;
    out.n_container_responses = 1;
    reply(s, &out.base);
}

static void on_allocate(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    struct arena *a = grpc_stream_arena(s);
    const Deviceplugin__V1beta1__AllocateRequest *r =
        unpack(s, &deviceplugin__v1beta1__allocate_request__descriptor, message);
    Deviceplugin__V1beta1__AllocateResponse out = DEVICEPLUGIN__V1BETA1__ALLOCATE_RESPONSE__INIT;
    Deviceplugin__V1beta1__ContainerAllocateResponse one =
        DEVICEPLUGIN__V1BETA1__CONTAINER_ALLOCATE_RESPONSE__INIT;
    Deviceplugin__V1beta1__ContainerAllocateResponse *list[] = {&one};
    Deviceplugin__V1beta1__ContainerAllocateResponse__EnvsEntry env =
        DEVICEPLUGIN__V1BETA1__CONTAINER_ALLOCATE_RESPONSE__ENVS_ENTRY__INIT;
    Deviceplugin__V1beta1__ContainerAllocateResponse__EnvsEntry *envs[] = {&env};
    Deviceplugin__V1beta1__Mount mount = DEVICEPLUGIN__V1BETA1__MOUNT__INIT, *mounts[] = {&mount};
    Deviceplugin__V1beta1__DeviceSpec node = DEVICEPLUGIN__V1BETA1__DEVICE_SPEC__INIT;
    Deviceplugin__V1beta1__DeviceSpec *nodes[] = {&node};
    char cwd[4096];
    if (r == NULL)
        return;
    const char *ids =
        joined(a, r->container_requests[0]->devices_ids, r->container_requests[0]->n_devices_ids);
    say("allocate", ids);
    env.key = "DEVICE_IDS";
    env.value = (char *)(uintptr_t)ids;
    one.envs = envs;
    one.n_envs = 1;
    mount.container_path = "/gift";
    mount.host_path =
        (char *)(uintptr_t)str_c(arena_printf(a, "%s/gift", getcwd(cwd, sizeof(cwd))));
    mount.read_only = true;
    one.mounts = mounts;
    one.n_mounts = 1;
    node.container_path = "/dev/given";
    node.host_path = "/dev/zero";
    node.permissions = "r";
    one.devices = nodes;
    one.n_devices = 1;
    out.container_responses = list;
    out.n_container_responses = 1;
    reply(s, &out.base);
}

static void on_pre_start(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    const Deviceplugin__V1beta1__PreStartContainerRequest *r =
        unpack(s, &deviceplugin__v1beta1__pre_start_container_request__descriptor, message);
    Deviceplugin__V1beta1__PreStartContainerResponse out =
        DEVICEPLUGIN__V1BETA1__PRE_START_CONTAINER_RESPONSE__INIT;
    if (r == NULL)
        return;
    say("prestart", joined(grpc_stream_arena(s), r->devices_ids, r->n_devices_ids));
    reply(s, &out.base);
}

/* --- registration --------------------------------------------------------------------------- */

static void on_plugin_info(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    Pluginregistration__PluginInfo r = PLUGINREGISTRATION__PLUGIN_INFO__INIT;
    char *versions[] = {"v1beta1"};
    r.type = "DevicePlugin";
    r.name = (char *)(uintptr_t)resource;
    r.endpoint = (char *)(uintptr_t)endpoint;
    r.supported_versions = versions;
    r.n_supported_versions = 1;
    reply(s, &r.base);
}

static void on_status(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    const Pluginregistration__RegistrationStatus *r =
        unpack(s, &pluginregistration__registration_status__descriptor, message);
    Pluginregistration__RegistrationStatusResponse out =
        PLUGINREGISTRATION__REGISTRATION_STATUS_RESPONSE__INIT;
    if (r == NULL)
        return;
    say(r->plugin_registered ? "registered" : "refused", r->error);
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

static void serve(const char *path)
{
    struct http_server_config config = {
        .name = "device", .on_headers = on_headers, .on_request = on_request, .arg = methods};
    struct net_listen_config where = {.address = path};
    struct http_server *server;
    struct error err;
    if (http_server_new(uv_default_loop(), &config, &server, &err) != 0 ||
        http_server_listen(server, &where, &err) != 0) {
        fprintf(stderr, "%s: %s\n", path, error_message(&err));
        exit(EXIT_FAILURE);
    }
}

static void on_registered(struct grpc_call *call, enum grpc_status status, struct str message,
                          void *arg)
{
    UNUSED(call), UNUSED(arg);
    registering = false;
    if (status != GRPC_OK)
        seen_agent = 0; /* Again. */
    AUTO_FREE char *text = xasprintf(STR_FMT, STR_ARG(message));
    say(status == GRPC_OK ? "registered" : "refused", text);
}

static void register_at(const char *agent)
{
    static struct http_client *client;
    Deviceplugin__V1beta1__RegisterRequest r = DEVICEPLUGIN__V1BETA1__REGISTER_REQUEST__INIT;
    struct error err;
    if (client == NULL &&
        grpc_socket_client_new(uv_default_loop(), agent, "device-plugin", &client, &err) != 0) {
        fprintf(stderr, "%s: %s\n", agent, error_message(&err));
        exit(EXIT_FAILURE);
    }
    r.version = "v1beta1";
    r.endpoint = (char *)(uintptr_t)socket_name;
    r.resource_name = (char *)(uintptr_t)resource;
    struct net_bytes *body = proto_pack(&r.base);
    struct grpc_call_config call = {.method = "/v1beta1.Registration/Register",
                                    .request = body,
                                    .timeout_ms = 10000,
                                    .on_end = on_registered};
    registering = true;
    grpc_call_start(client, &call, NULL, NULL);
    net_bytes_unref(body);
}

/* A new agent takes the sockets of plugins away. */
static void look_for_agent(void)
{
    AUTO_FREE char *agent = xasprintf("%s/kubelet.sock", folder);
    struct stat st;
    if (registering || stat(agent, &st) != 0)
        return;
    uint64_t now =
        (uint64_t)st.st_ino ^ ((uint64_t)st.st_ctim.tv_sec << 32) ^ (uint64_t)st.st_ctim.tv_nsec;
    if (now == seen_agent)
        return;
    seen_agent = now;
    if (stat(endpoint, &st) != 0)
        serve(endpoint);
    register_at(agent);
}

static void look_for_devices(void)
{
    AUTO_BUF b = BUF_INIT;
    if (file_read("DEVICES", 65536, &b, NULL) != 0)
        return;
    buf_putc(&b, '\0');
    if (devices != NULL && strcmp(devices, (const char *)b.data) == 0)
        return;
    free(devices);
    devices = xstrdup((const char *)b.data);
    for (size_t i = 0; i < WATCHERS_MAX; i++)
        if (watchers[i] != NULL)
            send_devices(watchers[i]);
}

static void on_look(uv_timer_t *t)
{
    look_for_devices();
    if (t->data == NULL)
        look_for_agent();
}

int main(int argc, char **argv)
{
    static const struct grpc_method list[] = {
        {.path = "/v1beta1.DevicePlugin/GetDevicePluginOptions", .on_unary = on_options},
        {.path = "/v1beta1.DevicePlugin/ListAndWatch", .on_unary = on_watch},
        {.path = "/v1beta1.DevicePlugin/GetPreferredAllocation", .on_unary = on_prefer},
        {.path = "/v1beta1.DevicePlugin/Allocate", .on_unary = on_allocate},
        {.path = "/v1beta1.DevicePlugin/PreStartContainer", .on_unary = on_pre_start},
        {.path = "/pluginregistration.Registration/GetInfo", .on_unary = on_plugin_info},
        {.path = "/pluginregistration.Registration/NotifyRegistrationStatus",
         .on_unary = on_status},
    };
    if (argc != 4 && argc != 5) {
        fprintf(stderr, "usage: device-plugin RESOURCE FOLDER SOCKET [REGISTRATION_SOCKET]\n");
        return EXIT_FAILURE;
    }
    resource = argv[1];
    folder = argv[2];
    socket_name = argv[3];
    endpoint = xasprintf("%s/%s", folder, socket_name);
    devices = xstrdup("");
    methods = grpc_server_new();
    for (size_t i = 0; i < ARRAY_SIZE(list); i++)
        grpc_server_add(methods, &list[i]);
    look_for_devices();
    serve(endpoint);
    if (argc == 5)
        serve(argv[4]);
    uv_timer_t timer;
    uv_timer_init(uv_default_loop(), &timer);
    timer.data = argc == 5 ? argv[4] : NULL;
    uv_timer_start(&timer, on_look, 0, LOOK_MS);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
