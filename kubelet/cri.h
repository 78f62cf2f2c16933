/* cri.h - calls to the container runtime: CRI v1 over gRPC on a unix socket.
 *
 * Loop-confined. Requests are packed before cri_call() returns; replies are
 * borrowed for the callback. The runtime may come and go: calls fail with
 * E_UNAVAILABLE meanwhile, and the connection is made again by itself. */
#ifndef KUBELET_CRI_H
#define KUBELET_CRI_H

#include "lib/net/grpc.h"

#include "pb/cri/runtime_v1.pb-c.h"

struct arena;
struct cri;
struct cri_call;
struct uv_loop_s;

/* protobuf-c's names, once: CRI(PodSandboxConfig) *config. */
#define CRI(name) Runtime__V1__##name
#define CRI_ENUM(name) RUNTIME__V1__##name

/* A zeroed message in the arena: CRI_NEW(a, PodSandboxConfig, pod_sandbox_config). */
#define CRI_NEW(a, type, snake)                                                                    \
    ((CRI(type) *)cri_new_message((a), &runtime__v1__##snake##__descriptor))
void *cri_new_message(struct arena *a, const ProtobufCMessageDescriptor *d);

/* X(constant, service, rpc, response) */
#define CRI_METHODS(X)                                                                             \
    X(CRI_VERSION, "RuntimeService/Version", version_response)                                     \
    X(CRI_STATUS, "RuntimeService/Status", status_response)                                        \
    X(CRI_RUN_POD_SANDBOX, "RuntimeService/RunPodSandbox", run_pod_sandbox_response)               \
    X(CRI_STOP_POD_SANDBOX, "RuntimeService/StopPodSandbox", stop_pod_sandbox_response)            \
    X(CRI_REMOVE_POD_SANDBOX, "RuntimeService/RemovePodSandbox", remove_pod_sandbox_response)      \
    X(CRI_POD_SANDBOX_STATUS, "RuntimeService/PodSandboxStatus", pod_sandbox_status_response)      \
    X(CRI_LIST_POD_SANDBOX, "RuntimeService/ListPodSandbox", list_pod_sandbox_response)            \
    X(CRI_CREATE_CONTAINER, "RuntimeService/CreateContainer", create_container_response)           \
    X(CRI_START_CONTAINER, "RuntimeService/StartContainer", start_container_response)              \
    X(CRI_STOP_CONTAINER, "RuntimeService/StopContainer", stop_container_response)                 \
    X(CRI_REMOVE_CONTAINER, "RuntimeService/RemoveContainer", remove_container_response)           \
    X(CRI_LIST_CONTAINERS, "RuntimeService/ListContainers", list_containers_response)              \
    X(CRI_CONTAINER_STATUS, "RuntimeService/ContainerStatus", container_status_response)           \
    X(CRI_UPDATE_CONTAINER_RESOURCES, "RuntimeService/UpdateContainerResources",                   \
      update_container_resources_response)                                                         \
    X(CRI_REOPEN_CONTAINER_LOG, "RuntimeService/ReopenContainerLog",                               \
      reopen_container_log_response)                                                               \
    X(CRI_EXEC_SYNC, "RuntimeService/ExecSync", exec_sync_response)                                \
    X(CRI_EXEC, "RuntimeService/Exec", exec_response)                                              \
    X(CRI_ATTACH, "RuntimeService/Attach", attach_response)                                        \
    X(CRI_PORT_FORWARD, "RuntimeService/PortForward", port_forward_response)                       \
    X(CRI_LIST_CONTAINER_STATS, "RuntimeService/ListContainerStats",                               \
      list_container_stats_response)                                                               \
    X(CRI_UPDATE_RUNTIME_CONFIG, "RuntimeService/UpdateRuntimeConfig",                             \
      update_runtime_config_response)                                                              \
    X(CRI_GET_CONTAINER_EVENTS, "RuntimeService/GetContainerEvents", container_event_response)     \
    X(CRI_LIST_IMAGES, "ImageService/ListImages", list_images_response)                            \
    X(CRI_IMAGE_STATUS, "ImageService/ImageStatus", image_status_response)                         \
    X(CRI_PULL_IMAGE, "ImageService/PullImage", pull_image_response)                               \
    X(CRI_REMOVE_IMAGE, "ImageService/RemoveImage", remove_image_response)                         \
    X(CRI_IMAGE_FS_INFO, "ImageService/ImageFsInfo", image_fs_info_response)

enum cri_method {
#define X(constant, path, response) constant,
    CRI_METHODS(X)
#undef X
};

struct cri_reply {
    int code;                /* 0 or E_*. */
    enum grpc_status status; /* As the runtime said it. */
    const char *message;     /* "rpc error: code = NotFound desc = ..." on failure; never NULL. */
    const void *msg;         /* The response message on success. */
    struct arena *arena;     /* Where it lives. */
    uint64_t took_ns;        /* From the call to this. */
};

#define CRI_TIMEOUT_MS 120000u         /* Upstream's default --runtime-request-timeout. */
#define CRI_SANDBOX_TIMEOUT_MS 240000u /* Sandboxes take twice that. */

/* endpoint: "unix:///run/containerd/containerd.sock" or a path. */
bool cri_endpoint_ok(const char *endpoint);
int cri_new(struct uv_loop_s *loop, const char *endpoint, struct cri **ret, struct error *err);
/* Cancels all calls: their done comes with E_CANCELED, then on_closed. */
void cri_close(struct cri *c, void (*on_closed)(void *arg), void *arg);

/* done runs once, later. timeout_ms 0: none. The handle lives until done
 * returns. */
struct cri_call *cri_call(struct cri *c, enum cri_method method, const void *request,
                          uint64_t timeout_ms,
                          void (*done)(const struct cri_reply *reply, void *arg), void *arg);
/* done comes later, with E_CANCELED. */
void cri_call_cancel(struct cri_call *call);

/* A server stream: on_message for each message, then done. */
struct cri_call *cri_stream(struct cri *c, enum cri_method method, const void *request,
                            void (*on_message)(const void *msg, void *arg),
                            void (*done)(const struct cri_reply *reply, void *arg), void *arg);

/* Label or annotation of a map in a message; NULL when absent. Works for every
 * map<string, string> of the schema. */
const char *cri_map_get(const void *entries, size_t count, const char *key);
/* Grows the map in the arena; entry_descriptor is that of its entry message. */
void cri_map_add(struct arena *a, const ProtobufCMessageDescriptor *entry_descriptor, void *entries,
                 size_t *count, struct str key, struct str value);

#endif
