/* hostpath.c - a CSI driver for tests: a volume is a folder of the host, staged
 * and published by bind mounts. Every call is a line in its output.
 *
 * usage: csi-hostpath NAME DATA_DIR ENDPOINT_SOCKET REGISTRATION_SOCKET */
#include "lib/base/arena.h"
#include "lib/base/buf.h"
#include "lib/base/error.h"
#include "lib/base/file.h"
#include "lib/net/bytes.h"
#include "lib/net/grpc.h"
#include "lib/net/http_server.h"
#include "lib/net/proto.h"
#include "lib/net/stream.h"

#include "pb/csi/csi_v1.pb-c.h"
#include "pb/csi/pluginregistration_v1.pb-c.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/mount.h>
#include <sys/stat.h>
#include <unistd.h>
#include <uv.h>

static const char *driver_name, *data_dir, *endpoint;

static void say(const char *what, const char *volume, const char *path)
{
    printf("%s %s %s\n", what, volume, path);
    fflush(stdout);
}

static void reply(struct grpc_stream *s, const ProtobufCMessage *m)
{
    struct net_bytes *b = proto_pack(m);
    grpc_stream_reply(s, b);
    net_bytes_unref(b);
}

static void reply_empty(struct grpc_stream *s, const ProtobufCMessageDescriptor *d)
{
    ProtobufCMessage *m = arena_zalloc(grpc_stream_arena(s), d->sizeof_message);
    protobuf_c_message_init(d, m);
    reply(s, m);
}

static void fail(struct grpc_stream *s, const char *what)
{
    grpc_stream_finish(s, GRPC_INTERNAL,
                       str_c(arena_printf(grpc_stream_arena(s), "%s: %s", what, strerror(errno))));
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

static bool is_mounted(const char *path)
{
    struct stat st, up;
    AUTO_FREE char *parent = xasprintf("%s/..", path);
    return stat(path, &st) == 0 && stat(parent, &up) == 0 &&
           (st.st_dev != up.st_dev || st.st_ino == up.st_ino);
}

/* Bind mounts of one file system look like plain folders: the kernel's list tells. */
static bool is_bound(const char *path)
{
    FILE *f = fopen("/proc/self/mountinfo", "r");
    char line[4096], at[2048];
    bool found = is_mounted(path);
    while (f != NULL && !found && fgets(line, sizeof(line), f) != NULL)
        found = sscanf(line, "%*s %*s %*s %*s %2047s", at) == 1 && strcmp(at, path) == 0;
    if (f != NULL)
        fclose(f);
    return found;
}

/* A device is bound to a file. */
static bool bind_device(const char *device, const char *to)
{
    int fd = open(to, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0)
        return false;
    close(fd);
    return is_bound(to) || mount(device, to, NULL, MS_BIND, NULL) == 0;
}

static const char *entry(void *entries, size_t count, const char *key)
{
    Csi__V1__NodePublishVolumeRequest__VolumeContextEntry **e = entries;
    for (size_t i = 0; i < count; i++)
        if (strcmp(e[i]->key, key) == 0)
            return e[i]->value;
    return "";
}

static bool bind_at(const char *from, const char *to)
{
    if (mkdir(to, 0750) != 0 && errno != EEXIST)
        return false;
    return is_bound(to) || mount(from, to, NULL, MS_BIND, NULL) == 0;
}

static bool unbind(const char *path)
{
    while (is_bound(path))
        if (umount2(path, UMOUNT_NOFOLLOW) != 0)
            return false;
    return true;
}

/* --- CSI ----------------------------------------------------------------------------------------
 */

static void on_stage(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    Csi__V1__NodeStageVolumeRequest *r =
        unpack(s, &csi__v1__node_stage_volume_request__descriptor, message);
    if (r == NULL)
        return;
    AUTO_FREE char *folder = xasprintf("%s/%s", data_dir, r->volume_id);
    say("stage", r->volume_id, r->staging_target_path);
    if (r->volume_capability->access_type_case == CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK)
        reply_empty(s, &csi__v1__node_stage_volume_response__descriptor);
    else if ((!file_exists(folder) &&
              (file_mkdir_p(folder, 0777, NULL) != 0 || chmod(folder, 0777) != 0)) ||
             !bind_at(folder, r->staging_target_path))
        fail(s, "stage");
    else
        reply_empty(s, &csi__v1__node_stage_volume_response__descriptor);
}

static void on_unstage(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    Csi__V1__NodeUnstageVolumeRequest *r =
        unpack(s, &csi__v1__node_unstage_volume_request__descriptor, message);
    if (r == NULL)
        return;
    say("unstage", r->volume_id, r->staging_target_path);
    AUTO_FREE char *busy = xasprintf("%s/keep-staged", data_dir);
    if (file_exists(busy))
        grpc_stream_finish(s, GRPC_INTERNAL, "the volume is busy");
    else if (!unbind(r->staging_target_path))
        fail(s, "unstage");
    else
        reply_empty(s, &csi__v1__node_unstage_volume_response__descriptor);
}

static void on_publish(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    Csi__V1__NodePublishVolumeRequest *r =
        unpack(s, &csi__v1__node_publish_volume_request__descriptor, message);
    if (r == NULL)
        return;
    say("publish", r->volume_id, r->target_path);
    if (r->volume_capability->access_type_case == CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_MOUNT)
        for (size_t i = 0; i < r->volume_capability->mount->n_mount_flags; i++)
            say("option", r->volume_id, r->volume_capability->mount->mount_flags[i]);
    const char *pod = entry(r->volume_context, r->n_volume_context, "csi.storage.k8s.io/pod.name");
    if (pod[0] != '\0')
        say("pod", pod,
            entry(r->volume_context, r->n_volume_context, "csi.storage.k8s.io/ephemeral"));
    const char *tokens =
        entry(r->volume_context, r->n_volume_context, "csi.storage.k8s.io/serviceAccount.tokens");
    if (tokens[0] != '\0')
        say("tokens", r->volume_id, tokens);
    for (size_t i = 0; i < r->n_secrets; i++)
        say("secret", r->secrets[i]->key, r->secrets[i]->value);
    AUTO_FREE char *own = xasprintf("%s/%s", data_dir, r->volume_id);
    bool done;
    if (r->volume_capability->access_type_case == CSI__V1__VOLUME_CAPABILITY__ACCESS_TYPE_BLOCK)
        done = bind_device(entry(r->volume_context, r->n_volume_context, "device"), r->target_path);
    else if (r->staging_target_path[0] != '\0')
        done = bind_at(r->staging_target_path, r->target_path);
    else
        done = file_mkdir_p(own, 0777, NULL) == 0 && bind_at(own, r->target_path);
    if (!done)
        fail(s, "publish");
    else
        reply_empty(s, &csi__v1__node_publish_volume_response__descriptor);
}

static void on_unpublish(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    Csi__V1__NodeUnpublishVolumeRequest *r =
        unpack(s, &csi__v1__node_unpublish_volume_request__descriptor, message);
    if (r == NULL)
        return;
    say("unpublish", r->volume_id, r->target_path);
    if (!unbind(r->target_path) || (remove(r->target_path) != 0 && errno != ENOENT))
        fail(s, "unpublish");
    else
        reply_empty(s, &csi__v1__node_unpublish_volume_response__descriptor);
}

/* Larger than the file "limit" says: never. */
static void on_expand(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    AUTO_FREE char *limit_path = xasprintf("%s/limit", data_dir);
    AUTO_BUF limit = BUF_INIT;
    Csi__V1__NodeExpandVolumeRequest *r =
        unpack(s, &csi__v1__node_expand_volume_request__descriptor, message);
    if (r == NULL)
        return;
    long long want = r->capacity_range != NULL ? (long long)r->capacity_range->required_bytes : 0;
    printf("expand %s %lld %s %s\n", r->volume_id, want,
           is_bound(r->volume_path) ? "published" : "absent",
           is_bound(r->staging_target_path) ? "staged" : "absent");
    for (size_t i = 0; i < r->n_secrets; i++)
        say("expandsecret", r->secrets[i]->key, r->secrets[i]->value);
    fflush(stdout);
    if (file_read(limit_path, 64, &limit, NULL) == 0) {
        buf_append(&limit, "", 1);
        if (want > strtoll(buf_str(&limit).data, NULL, 10)) {
            grpc_stream_finish(s, GRPC_OUT_OF_RANGE, "the disk is too small");
            return;
        }
    }
    reply_empty(s, &csi__v1__node_expand_volume_response__descriptor);
}

/* A volume is abnormal for the reason that the file "abnormal-VOLUME" has. */
static void on_stats(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(arg);
    Csi__V1__NodeGetVolumeStatsRequest *q =
        unpack(s, &csi__v1__node_get_volume_stats_request__descriptor, message);
    if (q == NULL)
        return;
    AUTO_FREE char *path = xasprintf("%s/abnormal-%s", data_dir, q->volume_id);
    AUTO_BUF reason = BUF_INIT;
    Csi__V1__VolumeCondition condition = CSI__V1__VOLUME_CONDITION__INIT;
    Csi__V1__NodeGetVolumeStatsResponse r = CSI__V1__NODE_GET_VOLUME_STATS_RESPONSE__INIT;
    Csi__V1__VolumeUsage bytes = CSI__V1__VOLUME_USAGE__INIT, *list[] = {&bytes};
    bytes.unit = CSI__V1__VOLUME_USAGE__UNIT__BYTES;
    bytes.total = 1000;
    bytes.used = 400;
    bytes.available = 600;
    r.usage = list;
    r.n_usage = 1;
    condition.message = (char *)(uintptr_t) "all is well";
    if (file_read(path, 256, &reason, NULL) == 0) {
        buf_append(&reason, "", 1);
        condition.abnormal = true;
        condition.message = (char *)reason.data;
    }
    r.volume_condition = &condition;
    reply(s, &r.base);
}

static void on_capabilities(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    Csi__V1__NodeGetCapabilitiesResponse r = CSI__V1__NODE_GET_CAPABILITIES_RESPONSE__INIT;
    static const Csi__V1__NodeServiceCapability__RPC__Type types[] = {
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__STAGE_UNSTAGE_VOLUME,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__EXPAND_VOLUME,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__GET_VOLUME_STATS,
        CSI__V1__NODE_SERVICE_CAPABILITY__RPC__TYPE__VOLUME_CONDITION};
    Csi__V1__NodeServiceCapability c[ARRAY_SIZE(types)], *list[ARRAY_SIZE(types)];
    Csi__V1__NodeServiceCapability__RPC rpc[ARRAY_SIZE(types)];
    for (size_t i = 0; i < ARRAY_SIZE(types); i++) {
        csi__v1__node_service_capability__init(&c[i]);
        csi__v1__node_service_capability__rpc__init(&rpc[i]);
        rpc[i].type = types[i];
        c[i].type_case = CSI__V1__NODE_SERVICE_CAPABILITY__TYPE_RPC;
        c[i].rpc = &rpc[i];
        list[i] = &c[i];
    }
    r.capabilities = list;
    r.n_capabilities = ARRAY_SIZE(types);
    reply(s, &r.base);
}

static void on_info(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    Csi__V1__NodeGetInfoResponse r = CSI__V1__NODE_GET_INFO_RESPONSE__INIT;
    Csi__V1__Topology t = CSI__V1__TOPOLOGY__INIT;
    Csi__V1__Topology__SegmentsEntry e = CSI__V1__TOPOLOGY__SEGMENTS_ENTRY__INIT, *list[] = {&e};
    e.key = "topology.hostpath.test/node";
    e.value = "this-one";
    t.segments = list;
    t.n_segments = 1;
    r.node_id = "node-id-of-the-driver";
    AUTO_FREE char *path = xasprintf("%s/max", data_dir);
    AUTO_BUF max = BUF_INIT;
    r.max_volumes_per_node = 16;
    if (file_read(path, 64, &max, NULL) == 0) {
        buf_append(&max, "", 1);
        r.max_volumes_per_node = strtoll(buf_str(&max).data, NULL, 10);
    }
    r.accessible_topology = &t;
    reply(s, &r.base);
}

/* --- registration -------------------------------------------------------------------------------
 */

static void on_plugin_info(struct grpc_stream *s, struct str message, void *arg)
{
    UNUSED(message), UNUSED(arg);
    Pluginregistration__PluginInfo r = PLUGINREGISTRATION__PLUGIN_INFO__INIT;
    char *versions[] = {"1.0.0"};
    r.type = "CSIPlugin";
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
    if (r == NULL)
        return;
    say(r->plugin_registered ? "registered" : "refused", driver_name, r->error);
    reply_empty(s, &pluginregistration__registration_status_response__descriptor);
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

static void serve(uv_loop_t *loop, struct grpc_server *methods, const char *socket)
{
    struct http_server_config config = {
        .name = "csi", .on_headers = on_headers, .on_request = on_request, .arg = methods};
    struct net_listen_config where = {.address = socket};
    struct http_server *server;
    struct error err;
    if (http_server_new(loop, &config, &server, &err) != 0 ||
        http_server_listen(server, &where, &err) != 0) {
        fprintf(stderr, "%s: %s\n", socket, error_message(&err));
        exit(EXIT_FAILURE);
    }
}

int main(int argc, char **argv)
{
    static const struct grpc_method methods[] = {
        {.path = "/csi.v1.Node/NodeStageVolume", .on_unary = on_stage},
        {.path = "/csi.v1.Node/NodeUnstageVolume", .on_unary = on_unstage},
        {.path = "/csi.v1.Node/NodePublishVolume", .on_unary = on_publish},
        {.path = "/csi.v1.Node/NodeUnpublishVolume", .on_unary = on_unpublish},
        {.path = "/csi.v1.Node/NodeExpandVolume", .on_unary = on_expand},
        {.path = "/csi.v1.Node/NodeGetVolumeStats", .on_unary = on_stats},
        {.path = "/csi.v1.Node/NodeGetCapabilities", .on_unary = on_capabilities},
        {.path = "/csi.v1.Node/NodeGetInfo", .on_unary = on_info},
        {.path = "/pluginregistration.Registration/GetInfo", .on_unary = on_plugin_info},
        {.path = "/pluginregistration.Registration/NotifyRegistrationStatus",
         .on_unary = on_status},
    };
    if (argc != 5) {
        fprintf(stderr, "usage: csi-hostpath NAME DATA_DIR ENDPOINT_SOCKET REGISTRATION_SOCKET\n");
        return EXIT_FAILURE;
    }
    /* Who asked may be gone when we answer. */
    signal(SIGPIPE, SIG_IGN);
    driver_name = argv[1];
    data_dir = argv[2];
    endpoint = argv[3];
    struct grpc_server *g = grpc_server_new();
    for (size_t i = 0; i < ARRAY_SIZE(methods); i++)
        grpc_server_add(g, &methods[i]);
    serve(uv_default_loop(), g, endpoint);
    serve(uv_default_loop(), g, argv[4]);
    return uv_run(uv_default_loop(), UV_RUN_DEFAULT);
}
