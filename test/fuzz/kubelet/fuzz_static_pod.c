/* fuzz_static_pod.c - manifests, and all that is derived from a pod's spec. */
#include "kubelet/cri_config.h"
#include "kubelet/pod_sources.h"
#include "kubelet/pod_status.h"
#include "kubelet/static_pods.h"
#include "kubelet/volumes.h"

#include "lib/api/scheme.h"
#include "lib/base/arena.h"
#include "lib/base/error.h"

#include "api/core_v1.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    struct api_object *o;
    struct error err;
    if (static_pod_parse(str_n((const char *)data, size), "node", "file", &o, &err) != 0)
        return 0;
    AUTO_ARENA *a = arena_new(0);
    const struct core_v1_pod *pod = o->msg;
    struct field_context ctx = {.pod = pod, .node_name = "node", .cluster_domain = "cluster.local"};
    struct source_set *sources = source_set_new(pod);
    struct volume_config config = {.root_dir = "/nowhere", .pod_logs_dir = "/nowhere"};
    struct volume_set *volumes;
    if (volume_plan(&config, &ctx, sources, &volumes, &err) == 0)
        volume_set_free(volumes);
    for (size_t i = 0; i < pod->spec.containers_count; i++) {
        struct env_list env = {0};
        CRI(ContainerConfig) * c;
        struct container_inputs in = {.pod = pod,
                                      .container = &pod->spec.containers[i],
                                      .image_ref = "x",
                                      .env = &env,
                                      .image_uid = -1,
                                      .image_user = "",
                                      .seccomp_root = "/s"};
        container_env(a, &ctx, in.container, sources, NULL, 0, &env, &err);
        container_config(a, &in, &c, &err);
    }
    struct pod_status_inputs in = {.pod = pod, .runtime_name = "r"};
    pod_status_compute(a, &in);
    source_set_free(sources);
    api_object_unref(o);
    return 0;
}

static const char *const seeds[] = {
    "apiVersion: v1\nkind: Pod\nmetadata: {name: p, labels: {a: b}}\nspec:\n  containers:\n"
    "  - {name: c, image: busybox, env: [{name: A, value: \"$(B)\"}], ports: [{containerPort: "
    "80}]}\n",
    "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"p\"},\"spec\":{"
    "\"containers\":[{\"name\":"
    "\"c\",\"image\":\"x:1\",\"resources\":{\"limits\":{\"cpu\":\"100m\",\"memory\":\"1Gi\"}},"
    "\"securityContext\":"
    "{\"runAsUser\":1,\"capabilities\":{\"drop\":[\"ALL\"]}}}],\"volumes\":[{\"name\":\"v\","
    "\"emptyDir\":{}},"
    "{\"name\":\"d\",\"downwardAPI\":{\"items\":[{\"path\":\"l\",\"fieldRef\":{\"fieldPath\":"
    "\"metadata.name\"}}]}}]}}",
};

size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap);
size_t fuzz_seed(unsigned i, uint8_t *p, size_t cap)
{
    if (i >= ARRAY_SIZE(seeds) || strlen(seeds[i]) > cap)
        return 0;
    memcpy(p, seeds[i], strlen(seeds[i]));
    return strlen(seeds[i]);
}
